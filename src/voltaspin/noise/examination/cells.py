"""Examine each cell of an array that is read in turn: one pass, in memory that does not grow with the recording."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Z95, Estimate
from voltaspin.noise.base import checked_count
from voltaspin.noise.examination import cell_tests as tests
from voltaspin.noise.examination import entropy, kernels
from voltaspin.noise.examination.cell_period import BITS, stream_period
from voltaspin.noise.examination.cell_result import CellCriteria, CellEntropy, CellExamination, Population
from voltaspin.noise.examination.cell_tests import LAGS, STRETCHES, CellCounts, Floats
from voltaspin.noise.examination.statistics import beyond_chance
from voltaspin.noise.recorded import blocks
from voltaspin.noise.source import NoiseSource

MOST_CELLS = 2**20  #: cells that are told apart
_MOST_KEPT = 2**27  # bits of the cells whose ten estimates are asked for
_PIECE = 2**20  # bits that are unpacked at once


class CellReader:
    """Count the bits of cells in the order in which they are read.

    Args:
        n_cells: that deliver in turn.
        keep: cells whose bits are kept, for :attr:`kept`.
    """

    def __init__(self, n_cells: int, keep: Sequence[int] = ()) -> None:
        self.n_cells, self.seen = n_cells, 0
        self._ones, self._beside = np.zeros(n_cells, np.int64), np.zeros(n_cells, np.int64)
        self._heads, self._history = np.zeros(n_cells, np.uint64), np.zeros(n_cells, np.uint64)
        self._both = np.zeros((n_cells, LAGS), np.int64)
        self._stretches, self._filled = np.zeros((STRETCHES, n_cells), np.int64), 0
        self._length = n_cells  # bits of a stretch; two are joined when the table is full
        self._first: list[NDArray[np.uint8]] = []
        self._kept: dict[int, list[NDArray[np.uint8]]] = {int(cell): [] for cell in keep}

    def feed(self, packed: NDArray[np.uint8], n: int) -> None:
        """Take the next ``n`` bits, packed with the first highest."""
        for at in range(0, n, _PIECE):
            self.feed_bits(np.unpackbits(packed[at // 8 : -(-n // 8)], count=min(_PIECE, n - at)))

    def feed_bits(self, bits: NDArray[np.uint8]) -> None:
        """Take the next bits, one a byte."""
        if self.seen < BITS:
            self._first.append(bits[: BITS - self.seen].copy())
        for cell, found in self._kept.items():
            if (mine := bits[(cell - self.seen) % self.n_cells :: self.n_cells]).size:
                found.append(mine.copy())
        while bits.size:
            room = (self._filled + 1) * self._length - self.seen
            piece, bits = bits[:room], bits[room:]
            kernels.cell_pairs(
                piece, self.seen, self._ones, self._heads, self._history, self._both, self._beside,
                self._stretches[self._filled],
            )  # fmt: skip
            self.seen += piece.size
            if piece.size == room:
                self._next_stretch()

    def _next_stretch(self) -> None:
        self._filled += 1
        if self._filled == STRETCHES:
            joined = self._stretches.reshape(STRETCHES // 2, 2, self.n_cells).sum(axis=1)
            self._stretches[:] = 0
            self._stretches[: STRETCHES // 2] = joined
            self._filled, self._length = STRETCHES // 2, 2 * self._length

    @property
    def first(self) -> NDArray[np.uint8]:
        """The first bits, one a byte, at most :data:`voltaspin.noise.examination.cell_period.BITS`."""
        return np.concatenate(self._first) if self._first else np.empty(0, np.uint8)

    def kept(self, cell: int) -> NDArray[np.uint8]:
        """The bits of a cell that was to be kept, one a byte."""
        return np.concatenate([np.empty(0, np.uint8), *self._kept[cell]])

    def counts(self) -> CellCounts:
        """Return what was counted so far."""
        rounds, rest = divmod(self.seen, self.n_cells)
        whole = self._length // self.n_cells
        last = rounds - self._filled * whole
        stretches = self._stretches[: self._filled + (last > 0)].copy()
        if rest and last:  # only whole rounds, so that every cell has as many bits in a stretch
            stretches[-1, :rest] -= (self._history[:rest] & np.uint64(1)).astype(np.int64)
        sizes = np.array([whole] * self._filled + [last] * (last > 0), np.int64)
        return CellCounts(
            self.seen, self._ones.copy(), self._heads.copy(), self._history.copy(), self._both.copy(),
            self._beside.copy(), stretches, sizes,
        )  # fmt: skip


def examine_cells(
    source: NoiseSource,
    *,
    n_bits: int | None = None,
    criteria: CellCriteria | None = None,
    rows: int | None = None,
    columns: int | None = None,
    battery: Sequence[int] = (),
    progress: Callable[[int, int], None] | None = None,
) -> CellExamination:
    """Examine each cell of a source whose cells are read in turn (``source.n_cells``).

    Args:
        source: its next bits are drawn.
        n_bits: how many; None for all that a finite source has.
        criteria: for leaving cells out; None leaves out stuck ones only. Those of the specification of a noise device
            come from :func:`voltaspin.requirements.cells.cell_criteria`.
        rows, columns: of the array, for the map; one follows from the other. Without them it is the nearest square.
        battery: cells whose bits all ten estimates of SP 800-90B are made of: slow, 0.5 s per million bits.
        progress: called with (bits read, in all).

    Raises:
        InputError: fewer than two rounds of bits, too many cells, a layout that does not fit, or a cell that is none.
        NoiseStoppedError: as the source.
    """
    n_cells, left = source.n_cells, source.bits_left
    total = left if n_bits is None else checked_count(n_bits, "number of bits")
    if total is None:
        raise InputError(f"{source.name} has no end; give n_bits=, the number of bits to read")
    if n_cells > MOST_CELLS:
        raise InputError(f"n_cells = {n_cells} is more than the {MOST_CELLS} cells that are told apart")
    if total < 2 * n_cells:
        raise InputError(
            f"{total} bits are too few for n_cells = {n_cells}: each cell must be read twice at least, better some "
            "thousand times; give more bits or fewer cells"
        )
    layout = layout_of(n_cells, rows, columns)
    for cell in battery:
        if not 0 <= cell < n_cells:
            raise InputError(f"battery = {cell} is no cell of the {n_cells}; give cells from 0 to {n_cells - 1}")
    if battery and total // n_cells < entropy.LEAST:
        raise InputError(
            f"battery: {total // n_cells} bits a cell are too few for all estimates, which need {entropy.LEAST}; leave "
            "it out"
        )
    if len(battery) * (total // n_cells) > _MOST_KEPT:
        raise InputError(f"battery: the {len(battery)} cells have more than {_MOST_KEPT} bits; give fewer cells")
    reader = CellReader(n_cells, battery)
    for n, packed in blocks(source, total):
        reader.feed(packed, n)
        if progress is not None:
            progress(reader.seen, total)
    full = tuple(CellEntropy(cell=c, estimates=entropy.estimate(reader.kept(c))) for c in dict.fromkeys(battery))
    period = stream_period(reader.first, n_cells)
    found = judged(reader.counts(), criteria or CellCriteria(), layout)
    return CellExamination(**found, period=period, full=full, noise=source.provenance.to_json())


def layout_of(n_cells: int, rows: int | None, columns: int | None) -> tuple[int, int]:
    """Return rows and columns of a map: those that were given, the divisors nearest to a square, or a square.

    Raises:
        InputError: they do not give the number of cells.
    """
    for name, side in (("rows", rows), ("columns", columns)):
        if side is not None and (side < 1 or n_cells % side):
            raise InputError(f"{name} = {side} does not divide the {n_cells} cells; give a layout of {n_cells} cells")
    if rows is not None and columns is not None and rows * columns != n_cells:
        raise InputError(f"rows = {rows} and columns = {columns} are {rows * columns} cells and not {n_cells}")
    if rows is not None or columns is not None:
        rows = rows if rows is not None else n_cells // (columns or 1)
        return rows, n_cells // rows
    side = math.isqrt(n_cells)
    best = next(d for d in range(side, 0, -1) if n_cells % d == 0)
    if n_cells <= 2 * best * best:
        return best, n_cells // best
    side = math.isqrt(n_cells - 1) + 1
    return -(-n_cells // side), side


def judged(found: CellCounts, criteria: CellCriteria, layout: tuple[int, int]) -> dict[str, Any]:
    """Return the fields of an examination that follow from the counts."""
    from scipy.special import ndtri

    n_cells, rounds = found.n_cells, int(found.n.min())
    bad = {name: tests.holm(p, criteria.share) for name, p in tests.p_values(found, criteria).items()}
    for name in bad.keys() - {"stuck"}:
        bad[name] &= ~bad["stuck"]
    out = np.flatnonzero(np.logical_or.reduce(list(bad.values())))
    chance = 2.0 ** (1.0 - found.n)
    constant = tests.holm(np.where(found.stuck, chance, 1.0), criteria.share)
    changing = tests.holm(np.where(found.changes == found.n - 1, chance, 1.0), criteria.share)
    low, high = tests.bias_interval(found)
    lags = [tests.autocorrelation(found, lag) for lag in range(1, LAGS + 1)]
    r = [np.round(np.stack([lag[i] for lag in lags]), 7) for i in range(3)]
    beside = tests.neighbour(found)
    most_common, chain = tests.most_common_value(found), tests.markov(found)
    least = np.fmin(most_common, chain)
    amplitude, drift_p = tests.drift(found)
    kept = np.ones(n_cells, bool)
    kept[out] = False
    tail = -float(ndtri(criteria.share / n_cells / 2))
    some_bias, some_r = criteria.max_bias, criteria.max_correlation
    wanted = [(tail + 1.2816) / limit / scale for limit, scale in ((some_bias, 2), (some_r, 1)) if limit]
    return {
        "n_bits": found.n_bits, "n_cells": n_cells, "rounds": rounds, "rows": layout[0], "columns": layout[1],
        "ones": found.ones, "bias": np.round(found.p - 0.5, 7), "bias_low": np.round(low, 7),
        "bias_high": np.round(high, 7), "autocorrelation": r[0], "autocorrelation_low": r[1],
        "autocorrelation_high": r[2], "neighbour": np.round(beside[0], 7), "neighbour_low": np.round(beside[1], 7),
        "neighbour_high": np.round(beside[2], 7), "most_common_value": np.round(most_common, 6),
        "markov": np.round(chain, 6), "drift": np.round(amplitude, 7), "drift_p": drift_p,
        "stuck": tuple(map(int, np.flatnonzero(constant))), "alternating": tuple(map(int, np.flatnonzero(changing))),
        "criteria": criteria, "left_out": tuple(map(int, out)),
        "why": tuple(tuple(name for name, cells in bad.items() if cells[c]) for c in out),
        "lines": _lines(kept, *layout),
        "all_cells": population(found, np.ones(n_cells, bool), least),
        "kept": population(found, kept, least) if kept.any() and out.size else None,
        "shows_bias": min(0.5, (some_bias or 0.0) + tail / (2 * math.sqrt(rounds))),
        "shows_correlation": min(1.0, (some_r or 0.0) + tail / math.sqrt(rounds)),
        "bits_wanted": math.ceil(max(wanted) ** 2) if wanted else None,
    }  # fmt: skip


def _lines(kept: NDArray[np.bool_], rows: int, columns: int) -> tuple[str, ...]:
    """The rows and columns of two cells or more of which none is kept, unless none is kept at all."""
    grid = np.zeros((rows, columns), bool)
    grid.ravel()[: kept.size] = kept
    if not kept.any() or min(rows, columns) < 2:
        return ()
    return (
        *(f"row {i}" for i in np.flatnonzero(~grid.any(axis=1))),
        *(f"column {i}" for i in np.flatnonzero(~grid.any(axis=0))),
    )


def population(found: CellCounts, chosen: NDArray[np.bool_], least: Floats) -> Population:
    """Return what some of the cells have in common: ``chosen`` says which, ``least`` is the entropy of each."""
    from scipy.stats import t

    cells = int(chosen.sum())
    p, n, longer = found.p[chosen], found.n[chosen], found.longer[chosen]
    chance = float((p * (1 - p) * longer / np.maximum(n - 1, 1)).mean())
    spread = None
    if cells > 1:
        variance = float(p.var(ddof=1))
        half = float(t.ppf(0.975, cells - 1)) * math.sqrt(variance / cells)
    else:
        half = Z95 * math.sqrt(chance)
    if cells > 2:
        spread = beyond_chance(variance, chance, _freedom(p))
    mean = float(p.mean()) - 0.5
    return Population(
        n_cells=cells, bias=Estimate(mean, mean - half, mean + half), spread=spread, sampling=math.sqrt(chance),
        correlation=tests.pooled_correlation(found, chosen), mean_entropy=float(least[chosen].mean()),
        least_entropy=float(least[chosen].min()),
    )  # fmt: skip


def _freedom(values: Floats) -> float:
    """Return the degrees of freedom of a variance, fewer where the values have heavier tails than normal ones.

    Source: G. E. P. Box, Biometrika 40, 318 (1953).
    """
    n, centred = values.size, values - values.mean()
    square = float((centred**2).mean())
    excess = max(0.0, float((centred**4).mean()) / square**2 - 3) if square else 0.0
    return 2 * n / (excess + 2 * n / (n - 1))
