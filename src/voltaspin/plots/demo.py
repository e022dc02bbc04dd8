"""Figures of the demo's report, as PNG bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from voltaspin.core.errors import InputError
from voltaspin.cost.comparison import energy_text
from voltaspin.plots.cost import image_png, ratios_png
from voltaspin.plots.drawing import BLUE, DPI, GREEN, GREY, INK, ORANGE, PURPLE, STYLE, figure_png, mathtext
from voltaspin.report.results import (
    BitQuality,
    Cost,
    CostRow,
    DemoResults,
    Device,
    Memory,
    Quality,
    QualityRow,
    Score,
)


def switching_png(device: Device) -> bytes:
    """P_sw against pulse width, one panel per curve, with the band around 1/2 and the chosen pulse."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.5), dpi=DPI, layout="constrained")
        panels = figure.subplots(1, len(device.curves), sharey=True, squeeze=False)[0]
        tolerance, chosen = device.chosen.tolerance, device.chosen
        for axes, curve in zip(panels, device.curves, strict=True):
            widths = np.array(curve.widths) * 1e9
            axes.axhspan(0.5 - tolerance, 0.5 + tolerance, color=GREEN, alpha=0.22, lw=0)
            for values, colour, line, name in (
                (curve.p01, BLUE, "-", "$p_{01}$"),
                (curve.p10, ORANGE, (0, (4, 1.6)), "$p_{10}$"),
            ):
                p, error = np.array(values), 2 * np.array(curve.error)
                axes.fill_between(widths, p - error, p + error, color=colour, alpha=0.18, lw=0)
                axes.plot(widths, p, color=colour, linestyle=line, label=name)
            if math.isclose(curve.voltage, chosen.voltage, rel_tol=1e-3):
                axes.axvline(chosen.width * 1e9, color=INK, lw=1)
                late = chosen.width > 0.5 * curve.widths[-1]
                axes.annotate(
                    f"chosen\n{chosen.width * 1e9:.3g} ns", (chosen.width * 1e9, 0.03),
                    (-5 if late else 5, 0), textcoords="offset points", fontsize=8.5,
                    ha="right" if late else "left",
                )  # fmt: skip
            if widths[0] > 0 and widths[-1] / widths[0] > 30:
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.xaxis.set_major_formatter("{x:g}")
                axes.xaxis.set_minor_formatter(NullFormatter())
            else:
                axes.set_xlim(0, widths[-1] * 1.02)
            axes.set_title(f"{mathtext(curve.label)}: {curve.voltage:.2f} V")
            axes.set_xlabel("pulse width (ns)")
            axes.set_ylim(0, 1)
        panels[0].set_ylabel("switching probability")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
        return figure_png(figure)


def conditioning_png(memory: Memory) -> bytes:
    """Autocorrelation per lag and distribution of the cells' means, raw beside conditioned."""
    pairs = ((memory.raw, ORANGE, -0.12, "o"), (memory.conditioned, BLUE, 0.12, "s"))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.4), dpi=DPI, layout="constrained")
        left, right = figure.subplots(1, 2)
        left.axhline(0, color=GREY, lw=1)
        for bits, colour, shift, marker in pairs:
            lags = np.arange(1, len(bits.autocorrelation) + 1)
            left.errorbar(
                lags + shift, bits.autocorrelation, yerr=2 * bits.autocorrelation_error, fmt=marker,
                color=colour, ms=5, capsize=2, lw=1.2, label=bits.label,
            )  # fmt: skip
        left.set_title("Autocorrelation of a cell, ±2 standard errors")
        left.set_xlabel("lag (cycles)")
        left.legend()
        for bits, colour, _, _ in pairs:
            _cell_histogram(right, bits, colour)
        right.axvline(0.5, color=GREY, lw=1)
        right.set_title("Mean of each cell")
        right.set_xlabel("mean of the cell's bits")
        right.set_ylabel("density of cells")
        right.set_yticks([])
        right.set_ylim(top=right.get_ylim()[1] * 1.3)  # room for the legend
        right.legend(loc="upper left", ncols=2, fontsize=8)
        return figure_png(figure)


def _cell_histogram(axes: Axes, bits: BitQuality, colour: str) -> None:
    edges, counts = np.array(bits.histogram_edges), np.array(bits.histogram_counts)
    density = counts / max(counts.sum(), 1) / np.diff(edges)
    axes.stairs(density, edges, color=colour, fill=True, alpha=0.3)
    axes.stairs(density, edges, color=colour, lw=1.4, label=bits.label)
    if bits.sampling_std > 0:
        z = np.linspace(-3.5, 3.5, 141)
        expected = np.exp(-(z**2) / 2) / (bits.sampling_std * math.sqrt(2 * math.pi))
        axes.plot(
            0.5 + z * bits.sampling_std, expected, color=colour, lw=1.2, linestyle="--",
            label="sampling alone",
        )  # fmt: skip


def quality_png(quality: Quality) -> bytes:
    """KID, FD and paired KID difference of arms, floor, yardsticks and control, with their intervals."""
    groups: list[tuple[str, Sequence[QualityRow]]] = [
        (GREY, (quality.floor, *quality.yardsticks)),
        (BLUE, quality.rows),
        (ORANGE, (quality.control.row,) if quality.control else ()),
    ]
    rows = [(colour, row) for colour, group in groups for row in group]
    differences = {d.arm: d for d in quality.differences}
    if quality.control:
        differences[quality.control.row.arm] = quality.control.difference
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.6, 1.35 + 0.34 * len(rows)), dpi=DPI, layout="constrained")
        scored = [row.fd for _, row in rows if row.fd]
        kid, *more = figure.subplots(1, 3 if scored else 2, sharey=True)
        paired = more[-1]
        for place, (colour, row) in enumerate(rows):
            _dot(kid, place, row.kid, colour)
            if row.fd:
                _dot(more[0], place, row.fd, colour)
            if row.arm in differences:
                _dot(paired, place, differences[row.arm].kid, colour)
        kid.set_yticks(range(len(rows)), [row.name for _, row in rows])
        kid.set_ylim(len(rows) - 0.4, -0.6)
        for axes in (kid, *more):
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
            axes.locator_params(axis="x", nbins=5)
        _wide_scale(kid, [row.kid for _, row in rows])
        if scored:
            _wide_scale(more[0], scored)
            more[0].set_title("FD")
        paired.axvline(0, color=GREY, lw=1)
        margins = [d.margin for d in differences.values() if d.margin]
        if margins:
            paired.axvspan(-max(margins), max(margins), color=GREEN, alpha=0.16, lw=0)
        _wide_scale(paired, [d.kid for d in differences.values()])
        kid.set_title("KID")
        paired.set_title("KID less software noise")
        return figure_png(figure)


def _dot(axes: Axes, place: int, score: Score, colour: str) -> None:
    axes.plot([score.low, score.high], [place, place], color=colour, lw=2.4, solid_capstyle="butt")
    axes.plot(score.value, place, "o", color=colour, ms=5.5, mec="white", mew=0.8)


def _wide_scale(axes: Axes, scores: Sequence[Score]) -> None:
    """A logarithmic axis where the values span it, linear near zero where some are not positive."""
    if not scores:
        return
    ends = np.array([(s.low, s.value, s.high) for s in scores])
    largest, typical = np.abs(ends).max(), float(np.median(np.abs(ends[:, 1])))
    if largest < 12 * typical or largest == 0:
        return
    if ends.min() > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    else:
        linear = float(np.median(np.abs(ends[:, 2] - ends[:, 0]))) or largest / 10
        axes.set_xscale("symlog", linthresh=linear, linscale=0.8)
        reach = math.floor(math.log10(largest))
        first = math.ceil(math.log10(linear))
        marks = [10.0**e for e in range(first, reach + 1)] or [largest]
        negative = [-m for m in marks if -m >= ends.min()]
        axes.set_xticks([*negative, 0, *marks], [f"{m:g}" for m in (*negative, 0, *marks)])
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())


def cost_png(cost: Cost) -> bytes:
    """Energy per bit of every source on one logarithmic axis; hollow marks were not read in their source."""
    rows = [row for row in cost.rows if row.energy_per_bit]
    if not rows:
        raise InputError("no row of the cost section has an energy per bit; price a ledger that counts bits")
    rows.sort(key=lambda row: row.energy_per_bit or 0.0)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 1.2 + 0.31 * len(rows)), dpi=DPI, layout="constrained")
        axes = figure.subplots()
        for place, row in enumerate(rows):
            _cost_mark(axes, place, row)
        axes.set_xscale("log")
        axes.set_ylim(len(rows) - 0.4, -0.6)
        names = [f"{row.name}, {row.boundary}" if row.ours else row.name for row in rows]
        axes.set_yticks(range(len(rows)), names)
        for label, row in zip(axes.get_yticklabels(), rows, strict=True):
            label.set_fontweight("bold" if row.ours else "normal")
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        low, high = axes.get_xlim()
        axes.set_xlim(low, high * 30)  # room for the words
        ticks = [10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
        axes.set_xticks([t for t in ticks if low <= t <= high])
        axes.set_xticklabels([energy_text(t) for t in ticks if low <= t <= high])
        axes.set_xlabel("energy per bit")
        return figure_png(figure)


def _cost_mark(axes: Axes, place: int, row: CostRow) -> None:
    colour = BLUE if row.ours else GREY if row.family == "cmos" else PURPLE
    value = row.energy_per_bit or 0.0
    if row.low and row.high and row.high > row.low:
        axes.plot([row.low, row.high], [place, place], color=colour, lw=2.2, alpha=0.45)
    face = "white" if row.grade in ("recalled", "assumed") else colour
    axes.plot(value, place, "D" if row.ours else "o", color=colour, mfc=face, ms=7, mew=1.6)
    right = max(value, row.high or 0.0)
    words = f"{energy_text(value)}  ·  {row.grade}" + ("" if row.ours else f", {row.how}")
    axes.annotate(
        words, (right, place), (9, 0), textcoords="offset points", va="center", fontsize=8,
        color=INK if row.ours else GREY,
    )  # fmt: skip


def charts(results: DemoResults) -> dict[str, bytes]:
    """The pictures of the page that follow from the numbers alone; add the pictures of images to them."""
    drawn = {
        "switching": switching_png(results.device),
        "conditioning": conditioning_png(results.memory),
        "quality_live": quality_png(results.quality.live),
        "cost": cost_png(results.cost),
    }
    if results.quality.study:
        drawn["quality_study"] = quality_png(results.quality.study)
    if claim := results.cost.claim:
        drawn["claim"] = ratios_png(claim)
        if claim.work:
            drawn["image"] = image_png(claim.work)
    return drawn
