"""Figures of macros and of networks in them: parts, published figures, floor plans."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullLocator

from voltaspin.core.format import energy, number, spread
from voltaspin.core.quantity import Estimate
from voltaspin.core.units import year
from voltaspin.cost.bill import ComputeCost
from voltaspin.cost.endurance import HORIZON, Endurance
from voltaspin.cost.macro import MacroCost
from voltaspin.cost.mapping import Mapping
from voltaspin.cost.silicon import MacroCheck
from voltaspin.plots.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    estimate_mark,
    figure,
    named_rows,
    outer_legend,
    split,
)

_TINY = 0.003  # share of a sum below which a part is left out of a figure
_COLUMNS = 12  # arrays side by side in a floor plan
_MOST_ARRAYS = 240  # that a floor plan shows
#: Ticks of a lifetime: number, unit, and the unit in seconds.
_TIMES = [
    (1, "µs", 1e-6), (1, "ms", 1e-3), (1, "s", 1.0), (1, "min", 60.0), (1, "h", 3600.0), (1, "d", 86400.0),
    *((10**k, "y", year) for k in range(0, 16, 2)),
]  # fmt: skip


def _shown(parts: dict[str, Estimate]) -> list[tuple[str, Estimate]]:
    whole = sum(e.value for e in parts.values())
    return [(name, e) for name, e in parts.items() if e.value > _TINY * whole]


def _bars(ax: Axes, parts: list[tuple[str, Estimate]], colour: str, title: str, unit: str) -> None:
    """Bars from the largest, each with its 90 % range, on a logarithmic axis."""
    for place, (_, e) in enumerate(parts):
        estimate_mark(ax, place, e, colour, ms=6)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(numticks=7))
    ax.xaxis.set_minor_locator(NullLocator())
    if unit == "pJ":
        ax.xaxis.set_major_formatter(lambda pJ, _: energy(pJ))
    else:
        ax.xaxis.set_major_formatter(lambda x, _: f"{x:g} {unit}")
    named_rows(ax, [name for name, _ in parts], fontsize=8.5)
    ax.set_title(title)


def _both(ax: Axes, energies: dict[str, Estimate], areas: dict[str, Estimate], per: str) -> Axes:
    left, right = split(ax, 1, 2)[0]
    _bars(left, _shown(energies), ORANGE, f"energy of {per}", "pJ")
    _bars(right, _shown(areas), BLUE, "area", "mm²")
    return ax


@figure(lambda cost: (11, 1.3 + 0.3 * max(len(_shown(cost.energy)), len(_shown(cost.area)))))
def breakdown(cost: MacroCost, *, ax: Axes) -> Axes:
    """Draw the energy and the area of one array by component, with 90 % ranges."""
    return _both(ax, cost.energy, cost.area, "one input")


@figure(lambda cost: (11, 1.3 + 0.3 * max(len(_shown(cost.by_component)), len(_shown(cost.area_by)))))
def network_breakdown(cost: ComputeCost, *, ax: Axes) -> Axes:
    """Draw the energy of an image and the area of the chip by component, with 90 % ranges."""
    return _both(ax, cost.by_component, cost.area_by, "an image")


@figure(lambda check: (8, 1.4 + 0.42 * len(check.comparisons)))
def published(check: MacroCheck, *, ax: Axes) -> Axes:
    """Draw what is predicted of a published macro over what was published; grey: what counts as good."""
    for place, c in enumerate(check.comparisons):
        nearest = c.predicted.value / c.ratio
        ax.add_patch(Rectangle((1 / c.within, place - 0.38), c.within - 1 / c.within, 0.76, color=PALE, lw=0))
        estimate_mark(ax, place, c.predicted.scaled(1 / nearest, ""), GREEN if c.good else ORANGE, ms=7)
        ax.annotate(f"{c.ratio:.2g} times, published {c.range}", (c.predicted.high / nearest, place), (8, 0), color=INK,
                    textcoords="offset points", va="center", fontsize=8)  # fmt: skip
    ax.axvline(1, color=GREY, lw=0.9)
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.set_xlim(low, high * 30)
    named_rows(ax, [c.quantity for c in check.comparisons], fontsize=8.5)
    ax.set_xlabel("predicted over published")
    ax.set_title(check.name)
    return ax


@figure(lambda found: (9, 1.8 + 0.62 * len(found.cases)))
def lifetimes(found: Endurance, *, ax: Axes) -> Axes:
    """Draw how long each kind of cells lasts, by its endurance and by its oxide, against ten years."""
    shown = [(i, e) for i, w in enumerate(found.cases) for e in (w.seconds, w.oxide_seconds) if e is not None]
    first = min((e.low for _, e in shown), default=HORIZON)
    last = max((e.high for _, e in shown), default=HORIZON)
    low, high = min(first, HORIZON) / 10, max(last, HORIZON) * 10
    for place, wear in enumerate(found.cases):
        if wear.seconds is None:
            runs = "" if wear.trainings is None else f"; {spread(wear.trainings)} training runs"
            ax.annotate(f"not worn by images{runs}", (low, place), (8, 0), textcoords="offset points", va="center",
                        color=GREY, fontsize=8.5)  # fmt: skip
        for e, colour, shift in ((wear.seconds, BLUE, -0.17), (wear.oxide_seconds, ORANGE, 0.17)):
            if e is not None:
                ax.barh(place + shift, e.value - low, left=low, height=0.3, color=colour, alpha=0.35, lw=0)
                estimate_mark(ax, place + shift, e, colour, ms=6)
    ax.axvline(HORIZON, color=INK, lw=1.1, ls="--")
    ax.annotate("10 y", (HORIZON, 1), (4, 2), xycoords=("data", "axes fraction"), textcoords="offset points", color=INK,
                fontsize=8.5)  # fmt: skip
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ticks = {f"{number(n)} {unit}": n * one for n, unit, one in _TIMES if low <= n * one <= high}
    ax.set_xticks(list(ticks.values()), list(ticks), fontsize=8)
    ax.xaxis.set_minor_locator(NullLocator())
    named_rows(ax, [w.case for w in found.cases], fontsize=9)
    ax.plot([], [], color=BLUE, label="endurance of the busiest cell")
    ax.plot([], [], color=ORANGE, label="breakdown of one oxide in a million")
    outer_legend(ax, loc="outside lower center", ncols=2)
    ax.set_title("Lifetime of the cells, with 90 % ranges")
    return ax


def _drawn(mapping: Mapping) -> int:
    return min(mapping.needed, _MOST_ARRAYS)


@figure(lambda mapping: (11, 1.2 + 0.86 * math.ceil(_drawn(mapping) / _COLUMNS)))
def floor_plan(mapping: Mapping, *, ax: Axes) -> Axes:
    """Draw which cells of which array hold weights, a colour for each layer in the order of execution.

    Arrays are drawn to equal size, once each, without copies; empty cells are pale.
    """
    from matplotlib import colormaps

    colours = colormaps["viridis"](np.linspace(0, 0.95, max(len(mapping.layers), 2)))
    size = {b.array: (mapping.layers[b.layer].rows, mapping.layers[b.layer].columns) for b in mapping.blocks}
    shown, pitch = _drawn(mapping), 1.12
    corner = {a: (pitch * (a % _COLUMNS), -pitch * (a // _COLUMNS)) for a in range(shown)}
    empty = [Rectangle(corner[a], 1, 1) for a in range(shown)]
    ax.add_collection(PatchCollection(empty, facecolor=PALE, edgecolor=GREY, linewidth=0.4))
    used, by = [], []
    for b in mapping.blocks:
        if b.array in corner:
            rows, columns = size[b.array]
            x, y = corner[b.array]
            used.append(
                Rectangle((x + b.column / columns, y + 1 - (b.row + b.rows) / rows), b.columns / columns, b.rows / rows)
            )
            by.append(colours[b.layer])
    ax.add_collection(PatchCollection(used, facecolor=by, edgecolor="white", linewidth=0.2))
    ax.set_xlim(-0.1, pitch * _COLUMNS)
    ax.set_ylim(-pitch * (math.ceil(shown / _COLUMNS) - 1) - 0.1, pitch)
    ax.set_aspect("equal")
    ax.set_axis_off()
    some = "" if shown == mapping.needed else f"the first {shown} of "
    ax.set_title(
        f"{some}{mapping.needed} arrays, {mapping.utilisation:.0%} of their cells hold weights; "
        "dark: first layers, bright: last ones"
    )
    return ax
