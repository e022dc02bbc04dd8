"""Figures of bits: tests, min-entropy, correlations and drift of a recording; bias and correlation of cells."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes

from voltaspin.noise import sp800_22
from voltaspin.noise.examination.entropy import ESTIMATES
from voltaspin.noise.examination.randomness import Randomness
from voltaspin.noise.examination.statistics import ArrayBits
from voltaspin.plots.drawing import BLUE, GREY, INK, ORANGE, figure, split

_FLOOR = 1e-8  #: smaller P-values are drawn here
_STRETCHES = 64  # of a recording, at most, whose ones are drawn
_ORDERS = (("as read", "o"), ("cell by cell", "D"))


@figure((14.5, 5.2))
def examined_bits(found: Randomness, *, ax: Axes) -> Axes:
    """Draw P-values of every test; of all bits the min-entropy by segment, the autocorrelation, the share of ones."""
    left, rest = split(ax, 1, 2, width_ratios=(1.4, 2))[0]
    (entropy, correlation), (ones, picture) = split(rest, 2, 2)
    _p_values(left, found)
    _entropy(entropy, found)
    _correlation(correlation, found)
    _ones(ones, found)
    side = int(min(found.first.size, 2**14) ** 0.5)
    picture.set_axis_off()
    if side:  # a report that was read back has no bits
        picture.imshow(found.first[: side * side].reshape(side, side), cmap="gray_r", interpolation="nearest")
        picture.set_title(f"The first {side} x {side} bits")
    return ax


@figure((9.6, 3.4))
def bits_of_cells(memory: ArrayBits, *, ax: Axes) -> Axes:
    """Draw the autocorrelation per lag and the distribution of the cells' means, raw beside conditioned.

    Args:
        memory: the statistics.
        ax: to draw into.
    """
    left, right = split(ax, 1, 2)[0]
    left.axhline(0, color=GREY, lw=1)
    for bits, colour, shift, marker in ((memory.raw, ORANGE, -0.12, "o"), (memory.conditioned, BLUE, 0.12, "s")):
        lags = np.arange(1, len(bits.autocorrelation) + 1)
        left.errorbar(lags + shift, bits.autocorrelation, yerr=2 * bits.autocorrelation_error, fmt=marker,
                      color=colour, ms=5, capsize=2, lw=1.2, label=bits.label)  # fmt: skip
        edges, counts = np.array(bits.histogram_edges), np.array(bits.histogram_counts)
        density = counts / max(counts.sum(), 1) / np.diff(edges)
        right.stairs(density, edges, color=colour, fill=True, alpha=0.3)
        right.stairs(density, edges, color=colour, lw=1.4, label=bits.label)
        if bits.sampling_std > 0:
            z = np.linspace(-3.5, 3.5, 141)
            expected = np.exp(-(z**2) / 2) / (bits.sampling_std * math.sqrt(2 * math.pi))
            right.plot(0.5 + z * bits.sampling_std, expected, color=colour, lw=1.2, ls="--", label="sampling alone")
    left.set_title("Autocorrelation of a cell, ±2 standard errors")
    left.set_xlabel("lag (cycles)")
    left.legend()
    right.axvline(0.5, color=GREY, lw=1)
    right.set_title("Mean of each cell")
    right.set_xlabel("mean of the cell's bits")
    right.set_ylabel("density of cells")
    right.set_yticks([])
    right.set_ylim(top=right.get_ylim()[1] * 1.3)  # space for the legend
    right.legend(loc="upper left", ncols=2, fontsize=8)
    return ax


def _p_values(axes: Axes, found: Randomness) -> None:
    names = [n for n in sp800_22.TESTS if any(r.name == n for r in found.applied)]
    spread = np.linspace(-0.28, 0.28, 7)  # so that dots of one test do not hide each other
    for y, name in enumerate(names):
        p = np.array([r.p_value for r in found.applied if r.name == name], float)
        shown = np.maximum(p, _FLOOR)
        place = y + (spread[np.arange(p.size) % 7] if p.size > 2 else np.zeros(p.size))
        axes.scatter(shown, place, s=14, c=np.where(p < 0.01, ORANGE, BLUE), alpha=0.75, linewidths=0)
    axes.axvline(0.01, color=GREY, lw=1, ls="--")
    axes.set_xscale("log")
    axes.set_xlim(_FLOOR * 0.6, 1.6)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel(f"P-value; dashed: 0.01, below which one in a hundred falls; {_FLOOR:g} stands for less")
    axes.set_title(f"SP 800-22, the first {found.n_bits:,} of {found.whole.n_bits:,} bits")


def _entropy(axes: Axes, found: Randomness) -> None:
    if found.limits is None:
        axes.set_axis_off()
        axes.set_title("Too few bits for min-entropy")
        return
    for x, name in enumerate(ESTIMATES):
        limit = found.limits.lower[name]
        axes.plot((x - 0.4, x + 0.4), (limit, limit), color=GREY, lw=2)
        for order, mark in _ORDERS:
            values = np.array([getattr(s.estimates, name) for s in found.whole.segments if s.order == order])
            shift = -0.12 if mark == "o" else 0.12
            axes.scatter(
                np.full(values.size, x + shift), values, s=16, marker=mark,
                c=np.where(values < limit, ORANGE, BLUE), alpha=0.75, linewidths=0,
            )  # fmt: skip
    axes.set_xticks(
        range(len(ESTIMATES)), [n.replace("_value", "").replace("_", " ") for n in ESTIMATES], rotation=40, ha="right"
    )
    axes.set_ylim(-0.03, 1.05)
    axes.set_title("Min-entropy by segment; grey: limit")
    if any(s.order == "cell by cell" for s in found.whole.segments):
        axes.set_xlabel("circles: as read; diamonds: cell by cell")


def _correlation(axes: Axes, found: Randomness) -> None:
    half = 1.96 / found.whole.n_bits**0.5
    lags = np.arange(1, found.autocorrelation.size + 1)
    axes.axhspan(-half, half, color=GREY, alpha=0.2, lw=0)
    outside = np.abs(found.autocorrelation) > half
    axes.vlines(lags, 0, found.autocorrelation, colors=[ORANGE if o else BLUE for o in outside], lw=2)
    axes.axhline(0, color=INK, lw=0.8)
    axes.set_xlabel("lag [bits]; band: 95 % of ideal bits")
    axes.set_title("Autocorrelation of all bits")


def _ones(axes: Axes, found: Randomness) -> None:
    size, ones = found.whole.drift_bits, found.whole.drift_ones
    n = np.full(ones.size, size)
    n[-1] = found.whole.n_bits - size * (ones.size - 1)
    step = -(-ones.size // _STRETCHES)
    starts = np.arange(0, max(ones.size - step // 2, 1), step)  # a short rest belongs to the last stretch
    n, ones = np.add.reduceat(n, starts), np.add.reduceat(ones, starts)
    place = (np.cumsum(n) - n / 2) / 1e6
    share, half = ones / n, 1.96 * 0.5 / np.sqrt(n)
    axes.fill_between(place, 0.5 - half, 0.5 + half, color=GREY, alpha=0.2, lw=0)
    axes.plot(place, share, color=BLUE, lw=1)
    axes.scatter(place, share, s=12, c=np.where(np.abs(share - 0.5) > half, ORANGE, BLUE), linewidths=0, zorder=3)
    axes.set_xlabel("place in the recording [million bits]")
    axes.set_title("Share of ones; band: 95 % of ideal bits")
