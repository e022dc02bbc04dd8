"""Gaussian numbers from bits: the loops of the transforms."""

from __future__ import annotations

import numpy as np

from voltaspin.core.compiled import numba


@numba.njit(cache=True, nogil=True)
def look_up_bits(bits, size, count_ones, table, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` with ``table`` at the integer (first bit highest) or at the count of ones of ``size`` bits each.

    bits: uint8, one bit a byte. table: float32 (2**size,) or (size + 1,). out: float32 (n,).
    """
    n = out.shape[0]
    if count_ones:
        for i in range(n):
            total = 0
            for m in range(size):
                total += bits[i * size + m]
            out[i] = table[total]
    elif size == 16:
        # Eight bytes to eight bits by one multiplication: 1.5 instead of 8 ns per number.
        eight = bits[: 16 * n].view(np.uint64)
        magic = np.uint64(0x8040201008040201)
        top = np.uint64(56)
        for i in range(n):
            high = (eight[2 * i] * magic) >> top
            low = (eight[2 * i + 1] * magic) >> top
            out[i] = table[(high << np.uint64(8)) | low]
    else:
        for i in range(n):
            level = 0
            for m in range(size):
                level = 2 * level + bits[i * size + m]
            out[i] = table[level]


@numba.njit(cache=True, nogil=True)
def look_up16(packed, table, out):  # type: ignore[no-untyped-def]
    """``table`` float32 (65536,) at two bytes each, the first one high, into ``out`` float32 (n,)."""
    for i in range(out.shape[0]):
        out[i] = table[(np.intp(packed[2 * i]) << 8) | np.intp(packed[2 * i + 1])]


@numba.njit(inline="always")
def _level(packed, at, size):  # type: ignore[no-untyped-def]
    """``size`` (at most 24) bits from bit ``at``, the first one highest; four bytes must follow its own."""
    i = at >> 3
    word = np.uint64(packed[i]) << np.uint64(24) | np.uint64(packed[i + 1]) << np.uint64(16)
    word |= np.uint64(packed[i + 2]) << np.uint64(8) | np.uint64(packed[i + 3])
    return np.intp((word >> np.uint64(32 - size - (at & 7))) & np.uint64((1 << size) - 1))


@numba.njit(cache=True, nogil=True)
def look_up(packed, size, table, out):  # type: ignore[no-untyped-def]
    """``table`` float32 (2**size,) at ``size`` bits each; ``packed`` holds four bytes more than they fill."""
    for i in range(out.shape[0]):
        out[i] = table[_level(packed, i * size, size)]


@numba.njit(cache=True, nogil=True)
def interpolate(packed, size, table, out):  # type: ignore[no-untyped-def]
    """Quantiles of 17 to 24 bits from a table that is finer the nearer to the tail, see ``refined_table``."""
    half = 1 << (size - 1)
    knots = table.shape[1] - 1  # a power of 2
    shift = 0
    while 1 << shift < knots:
        shift += 1
    for i in range(out.shape[0]):
        level = _level(packed, i * size, size)
        upper = level >= half
        h = 2 * half - 1 - level if upper else level
        octave = 0
        while h >> octave >= 2 * knots:
            octave += 1
        # the first row holds the levels below twice the knots themselves
        if h < 2 * knots:
            z = table[0, h] if h < knots else table[1, h - knots]
        else:
            place = h - (knots << octave)
            j = place >> octave
            share = np.float32(place & ((1 << octave) - 1)) * np.float32(1.0 / (1 << octave))
            z = table[1 + octave, j] + share * (table[1 + octave, j + 1] - table[1 + octave, j])
        out[i] = -z if upper else z


@numba.njit(cache=True, nogil=True)
def count64(words, table, out):  # type: ignore[no-untyped-def]
    """``table`` float32 (65,) at the ones of each of the ``words`` uint64."""
    one, two, four = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
    for i in range(out.shape[0]):
        x = words[i]
        x -= (x >> np.uint64(1)) & one
        x = (x & two) + ((x >> np.uint64(2)) & two)
        x = (x + (x >> np.uint64(4))) & four
        out[i] = table[np.intp((x * np.uint64(0x0101010101010101)) >> np.uint64(56))]


@numba.njit(cache=True, nogil=True)
def dithered(bits, counted, size, table, out):  # type: ignore[no-untyped-def]
    """``table`` at (ones of the first ``counted`` bits, integer of the others) of each ``size`` bits."""
    for i in range(out.shape[0]):
        level = 0
        for b in bits[i * size : i * size + counted]:
            level += b
        for b in bits[i * size + counted : (i + 1) * size]:
            level = 2 * level + b
        out[i] = table[level]


@numba.njit(cache=True, nogil=True)
def box_muller16(packed, radius, cosine, out):  # type: ignore[no-untyped-def]
    """``radius[u] cosine[v]`` of two 16-bit integers each, the first byte high."""
    for i in range(out.shape[0]):
        u = (np.intp(packed[4 * i]) << 8) | np.intp(packed[4 * i + 1])
        v = (np.intp(packed[4 * i + 2]) << 8) | np.intp(packed[4 * i + 3])
        out[i] = radius[u] * cosine[v]
