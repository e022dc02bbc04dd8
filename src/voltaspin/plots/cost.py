"""Pictures of the published claim: every ratio with its range; random numbers of an image beside its arithmetic."""

from __future__ import annotations

import matplotlib
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator

from voltaspin.cost.claims import METRICS
from voltaspin.cost.comparison import energy_text
from voltaspin.cost.results import ABOUT_A_THOUSAND, Claim, Supply, Work
from voltaspin.cost.table import BOUNDARIES
from voltaspin.plots.drawing import BLUE, DPI, GREEN, GREY, INK, ORANGE, PURPLE, STYLE, figure_png

_COLOURS: dict[str, str] = dict(zip(BOUNDARIES, (BLUE, PURPLE, ORANGE), strict=True))


def claim_png(found: Claim) -> bytes:
    """Ratios by metric and boundary, and below them the random numbers of an image where the claim has them."""
    above = 1.5 + 0.62 * len({r.against for r in found.readings})
    below = 0.0 if found.work is None else _height(found.work)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, above + below), dpi=DPI, layout="constrained")
        if found.work is None:
            _ratios(figure, found)
        else:
            parts = figure.subfigures(2, 1, height_ratios=[above, below], squeeze=False)[:, 0]
            _ratios(parts[0], found)
            _image(parts[1], found.work)
        return figure_png(figure)


def ratios_png(found: Claim) -> bytes:
    """Ratios by metric and boundary, with the claim."""
    return claim_png(found.model_copy(update={"work": None}))


def image_png(found: Work) -> bytes:
    """Energy of the random numbers of one image by source, beside that of its arithmetic."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, _height(found)), dpi=DPI, layout="constrained")
        _image(figure, found)
        return figure_png(figure)


def _ratios(figure: Figure | SubFigure, found: Claim) -> None:
    names = list(dict.fromkeys(r.against for r in found.readings))
    panels = figure.subplots(1, len(METRICS), sharey=True)
    for axes, metric in zip(panels, METRICS, strict=True):
        axes.axvspan(*ABOUT_A_THOUSAND, color=GREEN, alpha=0.18, lw=0)
        axes.axvline(1, color=GREY, lw=0.8)
        for r in found.readings:
            if r.metric != metric:
                continue
            y = names.index(r.against) + 0.22 * (BOUNDARIES.index(r.boundary) - 1)
            axes.plot([r.ratio.low, r.ratio.high], [y, y], color=_COLOURS[r.boundary], lw=2)
            axes.plot(r.ratio.value, y, "o", color=_COLOURS[r.boundary], ms=4)
        axes.set_xscale("log")
        axes.set_title(metric.replace(" x ", " \N{MULTIPLICATION SIGN} "))
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set_ylim(len(names) - 0.4, -0.6)
    for b in BOUNDARIES:
        panels[0].plot([], [], color=_COLOURS[b], label=b)
    figure.legend(loc="outside lower center", ncols=4, title="conventional over memory; green: about 10\u00b3")


def _drawn(work: Work) -> list[Supply]:
    return [s for s in work.supplies if "image" in s.per_job]


def _height(work: Work) -> float:
    return 1.1 + 0.33 * (len(_drawn(work)) + len(work.networks))


def _image(figure: Figure | SubFigure, work: Work) -> None:
    rows = [(s.name, s.per_job["image"], _COLOURS[s.key.removeprefix("ours-")] if s.kind == "memory" else INK)
            for s in _drawn(work)]  # fmt: skip
    rows += [(f"arithmetic in {name}", e, GREY) for name, e in work.networks.items()]
    axes = figure.subplots()
    for y, (_, e, colour) in enumerate(rows):
        axes.plot([e.low, e.high], [y, y], color=colour, lw=2.2)
        axes.plot(e.value, y, "o", color=colour, ms=5)
    axes.set_xscale("log")
    low, high = min(e.low for _, e, _ in rows), max(e.high for _, e, _ in rows)
    axes.set_xlim(low / 3, high * 3)
    axes.xaxis.set_major_locator(LogLocator(base=1000, numticks=12))
    axes.xaxis.set_major_formatter(lambda pJ, _: energy_text(pJ))
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows], fontsize=8.5)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_title("Random numbers of one image, and its arithmetic")
