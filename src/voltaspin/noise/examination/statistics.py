"""Bias and autocorrelation of raw or conditioned bits, per cell and overall, and of an array before and after."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Z95, Estimate
from voltaspin.core.result import Array, Numbers, Part, Result
from voltaspin.noise.memory_source import MemorySource


class CellBits(Part):
    """Statistics of one bit stream.

    Args:
        label: ``"raw"`` or how it was conditioned.
        bias: mean of the bits less 1/2.
        lag1: autocorrelation at lag 1, per cell from cycle to cycle.
        autocorrelation: lags 1 to 8.
        autocorrelation_error: standard error of each lag.
        cell_std: standard deviation over cells of the per-cell mean.
        sampling_std: what sampling alone would give, ``sqrt(1/4 / cycles)``.
        histogram_edges, histogram_counts: per-cell mean; one edge more than counts.
        worst_cell: the per-cell mean furthest from 1/2.
        cycles: bits per cell.
        cell_lag1_mean, cell_lag1_std: lag-1 autocorrelation of single cells, over the cells.
        cell_lag1_sampling_std: the spread that sampling alone would give.
    """

    label: str
    bias: Estimate
    lag1: Estimate
    autocorrelation: Numbers
    autocorrelation_error: float = Field(ge=0)
    cell_std: float
    sampling_std: float
    histogram_edges: Numbers
    histogram_counts: Numbers
    worst_cell: float
    cycles: int = Field(ge=1)
    cell_lag1_mean: float
    cell_lag1_std: float
    cell_lag1_sampling_std: float

    @model_validator(mode="after")
    def _edges(self) -> Self:
        if len(self.histogram_edges) != len(self.histogram_counts) + 1:
            raise ValueError(
                f"{len(self.histogram_edges)} histogram edges for {len(self.histogram_counts)} counts; "
                "give one edge more than counts"
            )
        return self


class ArrayBits(Part):
    """An array and its bits before and after conditioning.

    Args:
        spreads: e.g. ``{"K_eff": "5 %"}``, as text for people.
        operation: reset before every pulse or not, and the mapping of cells to pixels.
    """

    rows: int
    columns: int
    spreads: dict[str, str]
    operation: str
    raw: CellBits
    conditioned: CellBits


class BitStatistics(Result):
    """Bias and autocorrelation of an array of cells, as :func:`bit_statistics` returns them.

    Args:
        n_cycles, n_cells: size of the data.
        bias: P(1) - 1/2 over all bits.
        autocorrelation: of lag 1, 2, ... pooled over cells, each around its own mean.
        cell_bias: bias of each cell: float64 (n_cells,).
        cell_lag1: lag-1 autocorrelation of each cell, NaN for one that never changed: float64 (n_cells,).
        cell_bias_std: standard deviation of ``cell_bias`` over the cells.
        sampling_std: the same if all cells were equal, from the finite number of cycles alone.
        device_std: spread of the bias between cells, sampling noise taken away in quadrature (at least 0).
        worst_cells: indices of the cells with the largest absolute bias, largest first.
    """

    KIND: ClassVar[str] = "bit-statistics"

    n_cycles: int
    n_cells: int
    bias: Estimate
    autocorrelation: tuple[Estimate, ...]
    cell_bias: Array
    cell_lag1: Array
    cell_bias_std: float
    sampling_std: float
    device_std: float
    worst_cells: tuple[int, ...]

    def summary(self) -> list[tuple[str, str]]:
        """Return rows of (name, value): sizes, bias, lags, spread between devices, worst cells."""
        worst = ", ".join(f"{i} ({self.cell_bias[i]:+.5f})" for i in self.worst_cells)
        return [
            ("bits", f"{self.n_cycles} cycles of {self.n_cells} cells"),
            ("bias", str(self.bias)),
            *((f"lag {i}", str(a)) for i, a in enumerate(self.autocorrelation, start=1)),
            ("spread of the bias over the cells", f"{self.cell_bias_std:.6f}"),
            ("from sampling alone", f"{self.sampling_std:.6f}"),
            ("between devices", f"{self.device_std:.6f}"),
            ("worst cells", worst),
        ]

    def brief(self, label: str) -> CellBits:
        """Return what a page shows of them; ``label`` says how the bits were made."""
        means = self.cell_bias + 0.5
        # Means come in steps of 1/cycles: bins of whole steps, their edges between two of them.
        width = max(1, self.n_cycles // 200)
        first = int(np.floor(means.min() * self.n_cycles))
        last = int(np.ceil(means.max() * self.n_cycles)) + width
        counts, edges = np.histogram(means, bins=(np.arange(first, last + width, width) - 0.5) / self.n_cycles)
        lag1 = self.autocorrelation[0]
        return CellBits(
            label=label,
            bias=self.bias,
            lag1=lag1,
            autocorrelation=tuple(a.value for a in self.autocorrelation),
            autocorrelation_error=(lag1.high - lag1.low) / (2 * Z95),
            cell_std=self.cell_bias_std,
            sampling_std=self.sampling_std,
            histogram_edges=tuple(map(float, edges)),
            histogram_counts=tuple(map(float, counts)),
            worst_cell=float(means[self.worst_cells[0]]),
            cycles=self.n_cycles,
            cell_lag1_mean=float(np.nanmean(self.cell_lag1)),
            cell_lag1_std=float(np.nanstd(self.cell_lag1)),
            cell_lag1_sampling_std=self.n_cycles**-0.5,
        )

    def __str__(self) -> str:
        return "\n".join(f"{name}: {text}" for name, text in self.summary())


def bit_statistics(bits: NDArray[np.uint8], *, lags: int = 8, worst: int = 10) -> BitStatistics:
    """Return bias and autocorrelation with 95 % intervals.

    Args:
        bits: uint8 (n_cycles, n_cells), one bit a byte; a row is one read of all cells (or of all conditioned
            bits). A single time series is (n_cycles, 1).
        lags: how many lags, from 1.
        worst: how many cells to name.

    Returns:
        The statistics. With two or more cells the intervals come from the spread between cells (cells are
        independent, the bits of one cell need not be), so they hold for correlated bits and speak about the
        population of cells; with one cell they assume independent bits. Autocorrelations are corrected by
        1/(n_cycles - 1) for the mean that is estimated from the same bits (exact for independent bits). The
        sampling spread counts correlated bits as the fewer independent ones to which they amount, by
        (1 + rho) / (1 - rho) of lag 1 (exact for a two-state Markov chain).

    Raises:
        InputError: another type or shape, values other than 0 and 1, or too few cycles.
    """
    bits = np.asarray(bits)
    if bits.dtype != np.uint8 or bits.ndim != 2 or bits.size == 0:
        raise InputError(f"bits of type {bits.dtype} and shape {bits.shape} do not fit; give uint8 (cycles, cells)")
    if bits.max() > 1:
        raise InputError("bits must be 0 or 1, one a byte; unpack packed bits with numpy.unpackbits")
    n, cells = bits.shape
    if lags < 1 or n < lags + 2:
        raise InputError(f"{n} cycles are too few for {lags} lags; give at least {lags + 2} cycles, or fewer lags")
    ones = _column_sum(bits)
    mean = ones / n
    spread = ones * (1 - mean)  # sum of squared deviations of each cell
    total = spread.sum()
    estimates, cell_lag1 = [], np.full(cells, np.nan)
    for lag in range(1, lags + 1):
        first, last = bits[:-lag], bits[lag:]
        products = (
            _column_sum(first & last)
            - mean * (2 * ones - _column_sum(bits[n - lag :]) - _column_sum(bits[:lag]))
            + (n - lag) * mean**2
        ) * (n / (n - lag))
        if lag == 1:
            np.divide(products, spread, out=cell_lag1, where=spread > 0)
            cell_lag1 += 1 / (n - 1)
        rho = products.sum() / total if total else np.nan
        if cells > 1 and total:
            error = np.sqrt(cells / (cells - 1) * np.sum((products - rho * spread) ** 2)) / total
        else:
            error = 1 / np.sqrt(n - lag)
        estimates.append(_estimate(rho + 1 / (n - 1), error, cells))
    p = mean.mean()
    std = float(mean.std(ddof=1)) if cells > 1 else 0.0
    rho1 = estimates[0].value
    longer = (1 + rho1) / (1 - rho1) if -1 < rho1 < 1 else 1.0
    sampling = float(np.sqrt(np.mean(mean * (1 - mean)) / (n - 1) * longer))
    return BitStatistics(
        n_cycles=n,
        n_cells=cells,
        bias=_estimate(p - 0.5, std / np.sqrt(cells) if cells > 1 else np.sqrt(p * (1 - p) / n), cells),
        autocorrelation=tuple(estimates),
        cell_bias=mean - 0.5,
        cell_lag1=cell_lag1,
        cell_bias_std=std,
        sampling_std=sampling,
        device_std=float(np.sqrt(max(0.0, std**2 - sampling**2))),
        worst_cells=tuple(np.argsort(-np.abs(mean - 0.5), kind="stable")[:worst].tolist()),
    )


def array_bits(
    raw: MemorySource, conditioned: MemorySource, *, cycles: int, size: int, operation: str, grade: str,
    progress: Callable[[int, int], None] | None = None,
) -> ArrayBits:  # fmt: skip
    """Return the statistics of the bits that an image of ``size`` numbers finds, with two sources of like arrays.

    Args:
        raw, conditioned: sources without and with conditioning; nothing is counted in them.
        cycles: draws of each, from a stream that no image uses.
        size: numbers per draw.
        operation: see :class:`ArrayBits`.
        grade: of the spreads.
        progress: called as ``progress(done, total)``.
    """
    found = []
    for done, (label, source) in enumerate((("raw", raw), ("conditioned", conditioned)), 1):
        found.append(bit_statistics(source.samples(cycles, size=size, stream=2**62)[1]).brief(label))
        if progress:
            progress(done, 2)
    memory = raw.memory
    spreads = {
        "K_eff": f"{100 * memory.variation.K_eff:g} % ({grade})",
        "stray field": f"{1e3 * memory.variation.stray_field:g} mT ({grade})",
        "p01 of the cells": f"{memory.p01.mean():.4f} +- {memory.p01.std():.4f}",
    }
    return ArrayBits(
        rows=memory.rows, columns=memory.columns, spreads=spreads, operation=operation, raw=found[0],
        conditioned=found[1],
    )  # fmt: skip


def beyond_chance(variance: float, chance: float, freedom: float) -> Estimate:
    """Return a standard deviation with the chance of sampling taken away, and its 95 % interval.

    Args:
        variance: that was found, with so many degrees of freedom; ``chance``: that sampling alone gives.
    """
    from scipy.stats import chi2

    ends = (variance, variance * freedom / chi2.ppf(0.975, freedom), variance * freedom / chi2.ppf(0.025, freedom))
    value, low, high = (math.sqrt(max(float(v) - chance, 0.0)) for v in ends)
    return Estimate(value, low, high)


def _column_sum(bits: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.add.reduce(bits, axis=0, dtype=np.int64).astype(np.float64)


def _estimate(value: float, error: float, cells: int) -> Estimate:
    from scipy.stats import t

    # Student's t with the number of independent cells; a single series is judged by the normal limit.
    half = float(t.ppf(0.975, cells - 1 if cells > 1 else np.inf)) * float(error)
    return Estimate(float(value), float(value) - half, float(value) + half)
