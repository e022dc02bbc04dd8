"""The period of a stream of cells that are read in turn: whether another number of cells explains the bits better."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.noise.examination import kernels
from voltaspin.noise.examination.cell_result import StreamPeriod

BITS = 2**22  #: in which a period is looked for, at most
_TEETH = 16  # multiples of a period that must lie within them
_FALSE_ALARM = 1e-4  # with which independent bits seem to have a period


def stream_period(bits: NDArray[np.uint8], n_cells: int) -> StreamPeriod | None:
    """Return the number of places after which the bits resemble themselves most; None where none stands out.

    Cells that differ, or remember, make the autocorrelation of the stream positive at the multiples of their number.
    The sum over the multiples of a period, less what a slow drift adds to every lag, is compared with its standard
    error for independent bits. Its largest multiple of that is the fundamental period: twice the period has half
    as many multiples, and half of it as many again that add chance alone.

    Args:
        bits: uint8 (n,), one bit a byte.
        n_cells: that are said to take turns.
    """
    n = min(bits.size, BITS)
    most = n // _TEETH
    ones = int(bits[:n].sum(dtype=np.int64))
    if most < 3 or not 0 < ones < n:
        return None
    centred = bits[:n].astype(np.float64) - ones / n
    period, z = _strongest(centred, most)
    if not period:
        return None
    z_best, own = float(z[period]), float(z[n_cells]) if 2 <= n_cells <= most else 0.0
    if n_cells % period and period % n_cells:
        # a line of the array may hide the array: without what repeats by line, a multiple of it may show
        means = np.bincount(np.arange(n) % period, centred) / np.bincount(np.arange(n) % period)
        whole, beyond = _strongest(centred - np.resize(means, n), most, among=period)
        if whole:
            period, z_best = whole, float(beyond[whole])
    fits = n_cells % period == 0
    return StreamPeriod(period=period, z=z_best, z_given=own, fits=fits, said=_said(period, z_best, n_cells, own, fits))


def _strongest(centred: NDArray[np.floating[Any]], most: int, among: int = 1) -> tuple[int, NDArray[np.float64]]:
    """The strongest period up to ``most`` among the multiples of a number, 0 where none stands out, and all of z."""
    from scipy.fft import irfft, next_fast_len, rfft
    from scipy.special import chdtrc

    n = centred.size
    size = next_fast_len(2 * n, real=True)
    acf = irfft(np.abs(rfft(centred, size)) ** 2, size)[:n] / centred.var()
    acf[0] = 0.0
    period = np.arange(most + 1, dtype=np.float64)
    period[:2] = 1.0
    teeth = np.floor((n - 1) / period)
    error = np.sqrt(np.maximum(teeth * n - period * teeth * (teeth + 1) / 2, 1))  # of sums of n - lag products each
    # from the third lag on, so that a memory from bit to bit adds nothing to all others
    slow = float(acf[3:].sum())
    z = (kernels.comb_sums(acf, most) - slow / period) / error
    # between the bits of so many cells z is a chi-square with one degree of freedom less, in standard deviations
    freedom = np.maximum(period - 1, 1)
    seen = chdtrc(freedom, np.maximum(freedom + z * np.sqrt(2 * freedom), 0)) < _FALSE_ALARM / most
    seen[:2] = False
    seen &= np.arange(most + 1) % among == 0
    return (int(np.where(seen, z, -np.inf).argmax()) if seen.any() else 0), z


def _said(period: int, z: float, n_cells: int, own: float, fits: bool) -> str:
    seen = f"the bits resemble themselves after {period} places ({z:.0f} standard errors)"
    if period == n_cells:
        return f"{seen}, as {n_cells} cells do"
    if fits:
        return f"{seen}, which divides the {n_cells} cells: a line of the array, or fewer cells than that"
    if n_cells == 1:
        return f"{seen}, as if {period} cells took turns and not one"
    if period % n_cells == 0:
        return (
            f"{seen}, {period // n_cells} times the {n_cells} cells ({own:.0f} standard errors there): "
            f"{period} cells take turns, or the cells' own bits repeat"
        )
    return (
        f"{seen}, and not after {n_cells} ({own:.0f}): n_cells = {n_cells} is probably wrong, and the picture by cell "
        f"smeared; {period} fits, or a divisor or multiple of it"
    )
