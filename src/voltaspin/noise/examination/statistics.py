"""Bias and autocorrelation of raw or conditioned bits, per cell and overall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate


@dataclass(frozen=True)
class BitStatistics:
    """What :func:`bit_statistics` found.

    Args:
        n_cycles, n_cells: size of the data.
        bias: P(1) - 1/2 over all bits.
        autocorrelation: of lag 1, 2, ... pooled over cells, each around its own mean.
        cell_bias: bias of each cell: float64 (n_cells,).
        cell_lag1: lag-1 autocorrelation of each cell, NaN for one that never changed: float64 (n_cells,).
        cell_bias_std: standard deviation of ``cell_bias`` over the cells.
        sampling_std: what it would be if all cells were equal, from the finite number of cycles alone.
        worst_cells: indices of the cells with the largest absolute bias, largest first.
    """

    n_cycles: int
    n_cells: int
    bias: Estimate
    autocorrelation: tuple[Estimate, ...]
    cell_bias: NDArray[np.float64]
    cell_lag1: NDArray[np.float64]
    cell_bias_std: float
    sampling_std: float
    worst_cells: tuple[int, ...]

    @property
    def device_std(self) -> float:
        """Spread of the bias between cells, sampling noise taken away in quadrature (at least 0)."""
        return float(np.sqrt(max(0.0, self.cell_bias_std**2 - self.sampling_std**2)))

    def to_json(self) -> dict[str, Any]:
        """Summary without the per-cell arrays."""
        lag1 = self.cell_lag1[np.isfinite(self.cell_lag1)]
        return {
            "n_cycles": self.n_cycles,
            "n_cells": self.n_cells,
            "bias": vars(self.bias),
            "autocorrelation": [vars(a) for a in self.autocorrelation],
            "cell_bias_std": self.cell_bias_std,
            "sampling_std": self.sampling_std,
            "device_std": self.device_std,
            "cell_lag1_mean": float(lag1.mean()) if lag1.size else None,
            "cell_lag1_std": float(lag1.std()) if lag1.size else None,
            "constant_cells": int(self.n_cells - lag1.size),
            "worst_cells": [{"cell": i, "bias": float(self.cell_bias[i])} for i in self.worst_cells],
        }

    def __str__(self) -> str:
        lines = [f"{self.n_cycles} cycles of {self.n_cells} cells", f"bias    {self.bias}"]
        lines += [f"lag {i}   {a}" for i, a in enumerate(self.autocorrelation, start=1)]
        lines.append(
            f"per cell: bias std {self.cell_bias_std:.6f}, from sampling alone {self.sampling_std:.6f}, "
            f"between devices {self.device_std:.6f}"
        )
        worst = ", ".join(f"{i} ({self.cell_bias[i]:+.5f})" for i in self.worst_cells)
        return "\n".join([*lines, f"worst cells: {worst}"])


def bit_statistics(bits: NDArray[np.uint8], *, lags: int = 8, worst: int = 10) -> BitStatistics:
    """Bias and autocorrelation with 95 % intervals.

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
            - mean * (ones - _column_sum(bits[n - lag :]))
            - mean * (ones - _column_sum(bits[:lag]))
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
    error = std / np.sqrt(cells) if cells > 1 else np.sqrt(p * (1 - p) / n)
    order = np.argsort(-np.abs(mean - 0.5), kind="stable")[:worst]
    return BitStatistics(
        n_cycles=n,
        n_cells=cells,
        bias=_estimate(p - 0.5, error, cells),
        autocorrelation=tuple(estimates),
        cell_bias=mean - 0.5,
        cell_lag1=cell_lag1,
        cell_bias_std=std,
        sampling_std=float(np.sqrt(np.mean(mean * (1 - mean)) / (n - 1) * longer)),
        worst_cells=tuple(int(i) for i in order),
    )


def _column_sum(bits: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.add.reduce(bits, axis=0, dtype=np.int64).astype(np.float64)


def _estimate(value: float, error: float, cells: int) -> Estimate:
    from scipy.stats import t

    # Student's t with the number of independent cells; a single series is judged by the normal limit.
    half = float(t.ppf(0.975, cells - 1 if cells > 1 else np.inf)) * float(error)
    return Estimate(float(value), float(value) - half, float(value) + half)
