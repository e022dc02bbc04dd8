"""Figures of costs: energies of bits and of images, and the published factor in every reading."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from voltaspin.core.errors import InputError
from voltaspin.core.format import energy
from voltaspin.cost.comparison import Cost
from voltaspin.cost.jobs import RngSource, Workload
from voltaspin.cost.merit import ABOUT_A_THOUSAND, METRICS, FigureOfMerit
from voltaspin.cost.pricing import BOUNDARIES
from voltaspin.plots.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    estimate_mark,
    figure,
    is_narrow,
    named_rows,
    outer_legend,
    split,
)

_COLOURS: dict[str, str] = dict(zip(BOUNDARIES, (BLUE, PURPLE, ORANGE), strict=True))


def _against(found: FigureOfMerit) -> list[str]:
    return list(dict.fromkeys(r.against for r in found.readings))


@figure(lambda found: (11, 1.5 + 0.62 * len(_against(found))))
def ratios(found: FigureOfMerit, *, ax: Axes) -> Axes:
    """Draw conventional generators over the memory, a panel for each metric, a colour for each boundary."""
    names = _against(found)
    priced = [metric for metric in METRICS if metric in found.own["cell"]]
    panels = split(ax, 1, len(priced), sharey=True)[0]
    for panel, metric in zip(panels, priced, strict=True):
        panel.axvspan(*ABOUT_A_THOUSAND, color=GREEN, alpha=0.18, lw=0)
        panel.axvline(1, color=GREY, lw=0.8)
        for r in found.readings:
            if r.metric == metric:
                place = names.index(r.against) + 0.22 * (BOUNDARIES.index(r.boundary) - 1)
                estimate_mark(panel, place, r.ratio, _COLOURS[r.boundary], ms=4)
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(numticks=6))
        panel.set_title(metric.replace(" x ", " \N{MULTIPLICATION SIGN} "))
        named_rows(panel, names, fontsize=8)
    for b in BOUNDARIES:
        panels[0].plot([], [], color=_COLOURS[b], label=b)
    outer_legend(ax, *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  title="conventional over memory; green: about 10\u00b3")  # fmt: skip
    return ax


def _drawn(work: Workload) -> list[RngSource]:
    return [s for s in work.supplies if "image" in s.per_job]


@figure(lambda work: (11, 1.1 + 0.33 * (len(_drawn(work)) + len(work.networks))))
def image_energies(work: Workload, *, ax: Axes) -> Axes:
    """Draw the energy of the random numbers of one image by source, beside that of its arithmetic."""
    rows = [(s.name, s.per_job["image"], _COLOURS[s.key.removeprefix("ours-")] if s.kind == "memory" else INK)
            for s in _drawn(work)]  # fmt: skip
    rows += [(f"arithmetic in {name}", e, GREY) for name, e in work.networks.items()]
    for place, (_, e, colour) in enumerate(rows):
        estimate_mark(ax, place, e, colour)
    ax.set_xscale("log")
    low, high = min(e.low for _, e, _ in rows), max(e.high for _, e, _ in rows)
    ax.set_xlim(low / 3, high * 3)
    ax.xaxis.set_major_locator(LogLocator(base=1000, numticks=12))
    ax.xaxis.set_major_formatter(lambda pJ, _: energy(pJ))
    named_rows(ax, [name for name, _, _ in rows], fontsize=8.5)
    ax.set_title("Random numbers of one image, and its arithmetic")
    return ax


@figure(lambda cost: (9.6, 1.2 + 0.31 * len(cost.rows)))
def energies_per_bit(cost: Cost, *, ax: Axes) -> Axes:
    """Draw the energy per bit of every source; hollow marks were not read in their source.

    Raises:
        InputError: no source has an energy per bit.
    """
    rows = sorted(cost.rows, key=lambda row: row.energy.value)
    if not any(row.ours for row in rows):
        raise InputError("no bit of this ledger has an energy; price a ledger that counts bits")
    for place, row in enumerate(rows):
        colour = BLUE if row.ours else GREY if row.family == "cmos" else PURPLE
        face = "white" if row.grade in ("recalled", "assumed") else colour
        mark: dict[str, Any] = {"marker": "D" if row.ours else "o", "mfc": face, "mec": colour, "ms": 7, "mew": 1.6}
        estimate_mark(ax, place, row.energy, colour, bar=0.45, **mark)
        words = energy(row.energy.value)
        if not is_narrow():
            words += f"  ·  {row.grade}" + ("" if row.ours else f", {row.how}")
        ax.annotate(words, (row.energy.high, place), (9, 0), textcoords="offset points", va="center", fontsize=8,
                    color=INK if row.ours else GREY)  # fmt: skip
    named_rows(ax, [f"{row.name}, {row.boundary}" if row.ours else row.name for row in rows])
    for label, row in zip(ax.get_yticklabels(), rows, strict=True):
        label.set_fontweight("bold" if row.ours else "normal")
    energy_axis(ax, room=8 if is_narrow() else 30)
    ax.set_xlabel("energy per bit")
    return ax


def energy_axis(ax: Axes, *, room: float, per: float = 1.0) -> None:
    """Label the decades of an axis of energies [pJ times ``per``], with ``room`` to the right for words."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.set_xlim(low, high * room)
    ticks = [10.0**e for e in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    ax.set_xticks(ticks, [energy(t * per) for t in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
