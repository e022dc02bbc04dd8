"""The plan of a reverse step: how many cells of each pixel are redrawn, by which pulse, and which cells these are.

A pixel's count becomes b + Bin(c, q) + Bern(f): b cells are ones for certain, c cells get the coin, the pulse after
which a cell is a one with probability q = 1/2 or nearly, and at most one cell gets a programmed pulse. The mean is the
wanted one exactly; the variance, c q (1 - q) + f (1 - f), is met on average over pixels and steps by ordered dither,
which draws nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.compiled import numba
from voltaspin.core.errors import InputError

Floats = NDArray[np.float64]

NONE, COIN, TOGGLE, PROGRAMMED = 0, 1, 2, 3  #: roles of a cell; PROGRAMMED + i gets pulse i of the driver
TURNED = 128  #: added to the role of a cell that is toggled after its pulse
MOST_PULSES = TURNED - PROGRAMMED  #: for which a byte has roles

# Steps of low-discrepancy sequences: from pixel to pixel, from step to step, and for the choice of a pulse.
GOLDEN, PLASTIC, _THIRD = 0.6180339887498949, 0.7548776662466927, 0.5698402909980532


def choose(
    mean: ArrayLike, variance: ArrayLike, cells: int, *, coin: float = 0.5, step: int = 0, dither: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """The numbers b, c and f of each pixel.

    Args:
        mean: of the count that is wanted, 0 to ``cells``; variance: wanted, at least 0. Any shape, broadcast.
        cells: N of a pixel.
        coin: probability of a one after the coin.
        step: moves the pattern of the dither.
        dither: choose between the next smaller and the next larger variance so that the average is right; else the
            nearer one.

    Returns:
        b and c, int64, and f, float64, in the common shape. Where no plan has so large a variance, the largest is
        taken, and the smallest where none is so small.

    Raises:
        InputError: a mean outside of 0 to ``cells``, or a negative variance.
    """
    wanted, spread = np.broadcast_arrays(np.asarray(mean, np.float64), np.asarray(variance, np.float64))
    if not ((wanted >= 0) & (wanted <= cells)).all() or not (spread >= 0).all():
        raise InputError(f"give means of a count from 0 to {cells}, and variances that are not negative")
    b, c = np.empty((2, wanted.size), np.int64)
    f = np.empty(wanted.size)
    _choose(wanted.ravel(), spread.ravel(), cells, coin, step, dither, b, c, f)
    return b.reshape(wanted.shape), c.reshape(wanted.shape), f.reshape(wanted.shape)


@numba.njit(cache=True, nogil=True)
def _choose(mean, variance, cells, coin, step, dither, b, c, f):  # type: ignore[no-untyped-def]
    for p in range(mean.shape[0]):
        low, high, low_variance, high_variance = -1, -1, -1.0, 1e300
        for k in range(cells + 1):
            rest = mean[p] - k * coin
            if rest < 0 or rest > cells - k:
                continue  # fewer than no certain ones, or more cells than there are
            part = rest - np.floor(rest)
            v = k * coin * (1 - coin) + part * (1 - part)
            if v <= variance[p] and v >= low_variance:
                low, low_variance = k, v
            if v >= variance[p] and v < high_variance:
                high, high_variance = k, v
        if low < 0:
            low = high
        elif high >= 0 and high_variance > low_variance:
            share = (variance[p] - low_variance) / (high_variance - low_variance)
            if dither:
                at = (p * GOLDEN + step * PLASTIC) % 1.0
            else:
                at = 0.5
            if share > at:
                low = high
        rest = mean[p] - low * coin
        b[p], c[p] = np.int64(np.floor(rest)), low
        f[p] = rest - np.floor(rest)


@numba.njit(cache=True, nogil=True)
def assign(seen, b, c, f, flips, balanced, step, roles, errors):  # type: ignore[no-untyped-def]
    """Give every cell its role.

    Those that are left alone, or toggled for certain, end with b ones among them. Ones and zeros are made coins so that
    hardly any cell has to be toggled. Which cell serves rolls on by one at each step, so that all wear alike.

    Args:
        seen: bits as the controller knows them, uint8 (pixels' planes, N, pixels).
        b, c, f: of each pixel, (planes, pixels).
        flips: mean p01 and p10 of the driver's programmed pulses, rising, (n, 2); the first is no pulse.
        balanced: turn every second coin over after its pulse, and programmed cells of every second pixel, which get the
            complement: a bias that all cells share then cancels.
        step: moves the dither and the cells.
        roles: written, uint8 like ``seen``.
        errors: written, float64 (4,): sum of the given less the wanted flip probabilities of programmed cells, that of
            its magnitude, how many there were, and how many wanted more than the driver has.
    """
    planes, cells, pixels = seen.shape
    top = flips.shape[0] - 1
    roles[:] = NONE
    errors[:] = 0
    for g in range(planes):
        for p in range(pixels):
            ones = 0
            for j in range(cells):
                ones += seen[g, j, p]
            certain, coins, part = b[g, p], c[g, p], f[g, p]
            one = 0  # whether the programmed cell is a one now
            some = 1 if part > 0 else 0
            if some:
                one = 1 if part >= 0.5 else 0  # then it flips with at most 1/2
                if one and ones == 0:
                    one = 0
                elif not one and ones == cells:
                    one = 1
            free_ones, free_zeros = ones - some * one, cells - ones - some * (1 - one)
            # ones among the coins: so many that those left alone hold the certain ones
            from_ones = min(max(free_ones - certain, coins - free_zeros, 0), coins, free_ones)
            surplus = free_ones - from_ones - certain  # ones too many among those left alone; negative: too few
            from_zeros = coins - from_ones
            to_program, turn = some, (g + p + step) % 2
            at = (step + g + p) % cells
            for _ in range(cells):
                bit = seen[g, at, p]
                if to_program and bit == one:
                    to_program = 0
                    wanted = 1 - part if one else part
                    after = balanced and turn == 1
                    if after:
                        wanted = 1 - wanted
                    shade = (g * pixels + p) * GOLDEN + step * _THIRD
                    roles[g, at, p] = _pulse(flips, one, wanted, shade, top, errors) + (TURNED if after else 0)
                elif (bit and from_ones > 0) or (not bit and from_zeros > 0):
                    roles[g, at, p] = COIN + (TURNED if balanced and turn else 0)
                    turn = 1 - turn
                    from_ones -= bit
                    from_zeros -= 1 - bit
                elif bit and surplus > 0:
                    roles[g, at, p] = TOGGLE
                    surplus -= 1
                elif not bit and surplus < 0:
                    roles[g, at, p] = TOGGLE
                    surplus += 1
                at += 1
                if at == cells:
                    at = 0


@numba.njit(inline="always")
def _pulse(flips, one, wanted, shade, top, errors):  # type: ignore[no-untyped-def]
    """The role of the programmed cell: the pulse below or above the wanted probability, by ordered dither."""
    upper = 1
    while upper < top and flips[upper, one] < wanted:
        upper += 1
    low, high = flips[upper - 1, one], flips[upper, one]
    share = min(max((wanted - low) / max(high - low, 1e-12), 0.0), 1.0)
    chosen = upper if share > shade % 1.0 else upper - 1
    given = flips[chosen, one]
    errors[0] += given - wanted
    errors[1] += abs(given - wanted)
    errors[2] += 1
    errors[3] += wanted > flips[top, one]
    return NONE if chosen == 0 else PROGRAMMED + chosen - 1
