"""Figures of the cells of an array that is read in turn: a map, and the distributions over the cells."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import NDArray

from voltaspin.noise.examination.cell_result import CellExamination
from voltaspin.plots.drawing import BLUE, GREY, INK, ORANGE, PALE, figure, outer_legend, split

_DIVERGING = LinearSegmentedColormap.from_list("bias", [BLUE, "#ffffff", ORANGE])
_HEIGHT = 4.2 * 72  # of the map, in points


@figure((12.4, 5.2))
def map_of_cells(found: CellExamination, *, ax: Axes) -> Axes:
    """Draw the bias of each cell in its place with the cells that are left out, and how the cells are distributed."""
    left, right = split(ax, 1, 2, width_ratios=(1, 1.25))[0]
    _map(left, found)
    (bias, memory), (entropy, drift) = split(right, 2, 2)
    _bias(bias, found)
    _memory(memory, found)
    _entropy(entropy, found)
    _drift(drift, found)
    return ax


def _map(axes: Axes, found: CellExamination) -> None:
    grid = np.full(found.rows * found.columns, np.nan)
    grid[: found.n_cells] = found.bias
    stuck, out = np.array(found.stuck, int), np.array(sorted({*found.left_out} - {*found.stuck}), int)
    grid[stuck] = np.nan  # they are marked, and would take the whole scale
    seen = np.abs(grid[np.isfinite(grid)])
    most = max(float(seen.max()), 1e-6) if seen.size else 0.5
    shape = (found.rows, found.columns)
    axes.set_facecolor(PALE)
    image = axes.imshow(grid.reshape(shape), cmap=_DIVERGING, vmin=-most, vmax=most, interpolation="nearest")
    size = min(_HEIGHT / max(shape), 14.0)
    mark = max(2.0, 0.8 * size)
    for cells, marker, label in ((out, "s", f"left out ({out.size})"), (stuck, "x", f"stuck ({stuck.size})")):
        axes.plot(
            cells % found.columns, cells // found.columns, ls="", marker=marker, ms=mark, mfc="none",
            mec=INK, mew=max(0.5, min(1.4, size / 7)), label=label,
        )  # fmt: skip
    axes.grid(visible=False)
    axes.set_title(f"{found.rows} x {found.columns} cells: bias, P(1) - 1/2")
    axes.set_xlabel("column")
    axes.set_ylabel("row")
    axes.figure.colorbar(image, ax=axes, shrink=0.8)
    outer_legend(axes, *axes.get_legend_handles_labels(), loc="outside lower left", ncols=2, markerscale=6 / mark)


def _chosen(found: CellExamination) -> NDArray[np.bool_]:
    kept = np.ones(found.n_cells, bool)
    kept[list(found.left_out)] = False
    return kept


def _histogram(axes: Axes, values: NDArray[np.float64], found: CellExamination) -> list[float]:
    """Counts of all cells and of those that are left out, in the same bins; returns their edges."""
    known = np.isfinite(values)
    edges = np.histogram_bin_edges(values[known], bins=min(60, max(8, int(known.sum() ** 0.5)))).tolist()
    axes.hist(values[known & _chosen(found)], edges, color=BLUE, alpha=0.45)
    out = values[known & ~_chosen(found)]
    if out.size:
        axes.hist(out, edges, color=ORANGE, alpha=0.9, label="left out")
        axes.legend(fontsize=8)
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylabel("cells")
    return edges


def _limits(axes: Axes, limit: float | None, *, both: bool = True) -> None:
    for at in () if limit is None else (limit, -limit) if both else (limit,):
        axes.axvline(at, color=INK, lw=1, ls=":")


def _bias(axes: Axes, found: CellExamination) -> None:
    stuck = list(found.stuck)
    values = found.bias.copy()
    values[stuck if len(stuck) < found.n_cells else []] = np.nan
    edges = _histogram(axes, values, found)
    chance = found.all_cells.sampling
    if found.n_cells > 1 and chance > 0:
        x = np.linspace(edges[0], edges[-1], 400)
        centre = float(np.nanmedian(values))
        density = np.exp(-0.5 * ((x - centre) / chance) ** 2) / (chance * math.sqrt(2 * math.pi))
        axes.plot(x, density * found.n_cells * (edges[1] - edges[0]), color=GREY, lw=1.4, label="sampling alone")
        axes.set_ylim(top=20 * axes.get_ylim()[1])  # space for the legend
        axes.legend(fontsize=8, loc="upper right", ncols=2)
    _limits(axes, found.criteria.max_bias)
    axes.set_xlabel("P(1) - 1/2; dotted: limit")
    axes.set_title("Bias of each cell" + (f", without {len(stuck)} stuck" if stuck else ""))


def _memory(axes: Axes, found: CellExamination) -> None:
    values = found.autocorrelation[0]
    if np.isfinite(values).any():
        _histogram(axes, values, found)
    _limits(axes, found.criteria.max_correlation)
    axes.set_xlabel("lag 1; dotted: limit")
    axes.set_title("Correlation of a cell's bits")


def _entropy(axes: Axes, found: CellExamination) -> None:
    _histogram(axes, found.entropy, found)
    _limits(axes, found.criteria.min_entropy, both=False)
    axes.set_xlabel("bit per bit, by most common value and Markov")
    axes.set_title("Min-entropy of each cell")


def _drift(axes: Axes, found: CellExamination) -> None:
    axes.set_title("Drift of each cell")
    known = np.flatnonzero(np.isfinite(found.drift_p))
    if not known.size:
        axes.set_axis_off()
        axes.set_title("Too few bits for a drift")
        return
    order = known[np.argsort(found.drift_p[known])]
    expected = (np.arange(order.size) + 0.5) / order.size
    p = np.maximum(found.drift_p[order], 1e-30)
    axes.plot(expected, expected, color=GREY, lw=1.4, label="no drift")
    axes.scatter(expected, p, s=9, c=np.where(_chosen(found)[order], BLUE, ORANGE), linewidths=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("P-value that chance alone gives")
    axes.set_ylabel("P-value")
    axes.legend(fontsize=8)
