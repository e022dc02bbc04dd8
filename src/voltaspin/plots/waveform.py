"""Figures of waveforms: the trace with its thresholds and bits, its levels, and its dwell times."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from voltaspin.core.format import prefixed, quantity
from voltaspin.noise.waveform import Levels, Telegraph, Waveform
from voltaspin.plots.drawing import BLUE, GREEN, GREY, INK, ORANGE, figure, split


def _size(found: Waveform) -> tuple[float, float]:
    return (11.0, 6.4 if found.telegraph is not None else 3.6)


@figure(_size)
def trace_and_levels(found: Waveform, *, ax: Axes) -> Axes:
    """Draw the beginning of the trace with thresholds and bits, the histogram of levels, and the dwell times."""
    rows = split(ax, 2 if found.telegraph is not None else 1, 1)[:, 0]
    left, right = split(rows[0], 1, 2, width_ratios=(3, 1), sharey=True)[0]
    _trace(left, found)
    _levels(right, found.levels, _scale(found))
    if found.telegraph is not None:
        dwell_times(found.telegraph, ax=rows[1])
    return ax


@figure((11.0, 3.2))
def dwell_times(found: Telegraph, *, ax: Axes) -> Axes:
    """Draw the dwell times of both states on a logarithmic axis, with the exponential law of their mean."""
    for panel, state, colour in zip(split(ax, 1, 2)[0], (found.low, found.high), (BLUE, ORANGE), strict=True):
        edges, unit = prefixed(state.edges, "s")
        per = 1 / np.diff(np.log(edges))
        panel.stairs(state.counts * per, edges, color=colour, fill=True, alpha=0.35, label="measured")
        middle = np.sqrt(edges[1:] * edges[:-1])
        panel.plot(middle, state.expected * per, color=INK, lw=1.4, marker=".", ms=4, label="exponential law")
        panel.set_xscale("log")
        panel.set_xlabel(f"dwell [{unit}]")
        panel.set_ylabel("dwells per factor of e")
        panel.set_ylim(bottom=0)
        mean = state.mean_dwell
        panel.set_title(
            f"State {state.state}: {state.dwells:,} dwells, mean {quantity(mean.value, 's')}, P = "
            f"{state.p_exponential:.2g}"
        )
        panel.legend(fontsize=8)
    return ax


def _scale(found: Waveform) -> tuple[float, str]:
    size = max(abs(found.levels.edges[0]), abs(found.levels.edges[-1]))
    if not found.unit:
        return 1.0, "value"
    (scaled,), unit = prefixed([size], found.unit)
    return float(scaled) / size if size else 1.0, f"value [{unit}]"


def _trace(axes: Axes, found: Waveform) -> None:
    factor, label = _scale(found)
    times, unit = prefixed(found.times, "s")
    per = times[-1] / found.times[-1] if found.times[-1] else 1.0
    axes.plot(times, found.values * factor, color=GREY, lw=0.7)
    _thresholds(axes, found.levels, factor)
    if found.bits is not None:
        inside = found.bits.shown_at <= found.times[-1]
        at, bits = found.bits.shown_at[inside] * per, found.bits.shown[inside]
        low, high = (found.levels.edges[i] * factor for i in (0, -1))
        for value, colour in ((0, BLUE), (1, ORANGE)):
            chosen = at[bits == value]
            axes.plot(chosen, np.full(chosen.size, high if value else low), color=colour, marker="|", ms=9, ls="")
        if at.size <= 40:
            for x, bit in zip(at, bits, strict=True):
                axes.annotate(str(bit), (x, high), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8)
            axes.set_ylim(top=high + 0.12 * (high - low))
    axes.set_xlabel(f"time [{unit}]")
    axes.set_ylabel(label)
    what = "bits above" if found.bits is not None else "dashed: threshold, dotted: hysteresis"
    axes.set_title(f"{found.file}: the first {quantity(float(found.times[-1]), 's')}; {what}")


def _thresholds(axes: Axes, levels: Levels, factor: float) -> None:
    axes.axhline(levels.threshold * factor, color=INK, lw=1, ls="--")
    if levels.rise > levels.fall:
        for level in (levels.rise, levels.fall):
            axes.axhline(level * factor, color=GREEN, lw=0.9, ls=":")


def _levels(axes: Axes, levels: Levels, scale: tuple[float, str]) -> None:
    factor = scale[0]
    edges = levels.edges * factor
    axes.stairs(levels.counts, edges, orientation="horizontal", color=GREY, fill=True, alpha=0.4)
    _thresholds(axes, levels, factor)
    axes.set_xlabel("samples per bin")
    known: tuple[Any, ...] = (levels.low, levels.high, levels.low_spread, levels.high_spread, levels.high_share)
    if any(value is None for value in known):
        axes.set_title("Levels")
        return
    low, high, low_spread, high_spread, share = known
    x = np.linspace(edges[0], edges[-1], 400) / factor
    width, total = levels.edges[1] - levels.edges[0], levels.counts.sum()
    for mean, spread, part, colour in ((low, low_spread, 1 - share, BLUE), (high, high_spread, share, ORANGE)):
        spread = max(spread, width / 2)
        density = part * total * width * np.exp(-0.5 * ((x - mean) / spread) ** 2) / (spread * math.sqrt(2 * math.pi))
        axes.plot(density, x * factor, color=colour, lw=1.2)
    axes.set_xlim(0, 1.15 * levels.counts.max())
    axes.set_title(f"Separation {levels.separation:.3g}")
