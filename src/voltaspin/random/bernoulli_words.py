"""Bits of 64 cells at a time with given probabilities: the engine of long sequences.

Sixty-four cells lie in one 64-bit word, in the order of packed bytes (first cell, highest bit of the first
byte), so that a pulse leaves the bytes that a user gets. A cell answers a 16-bit uniform ``w`` with ``w < q``,
computed for 64 cells together from the lowest bit of q up: ``lt = (q & ~w) | (lt & ~(q ^ w))``, one random
word and a few operations per bit of q. Nothing is approximated: the probability is q / 65536 exactly.

The words come from :mod:`~voltaspin.random.splitmix`: Philox, which addresses the draws of images
(:mod:`~voltaspin.random.bernoulli`), would leave no room for sixteen words per word of bits.

*One probability.* Only a cell whose upper eight bits tie with those of q, one in 256, needs the lower eight.
Eight rows of words therefore share one row of lower comparisons. Where two of the eight want the same bit of
it, the later one is answered from fresh words: the bits are independent without exception.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.compiled import numba
from voltaspin.random.splitmix import GOLDEN, keyed_word
from voltaspin.random.streams import derive_key

WORD = 64  #: cells in a word
_ROW = 64  # words computed side by side
_ROWS = 8  # rows that share their lower comparisons
GROUP_WORDS = _ROW * _ROWS  #: words of one group of the one-probability engine
_GROUP_COUNTERS = np.uint64((8 + 8 * _ROWS + 8 * _ROWS) * _ROW)  # lower planes, upper planes, fresh ones

_ROW_STEP = np.uint64(0x9E3779B97F4A7C15 * _ROW % 2**64)
_OFFSETS = np.arange(_ROW, dtype=np.uint64) * GOLDEN
_ZERO = np.uint64(0)
_ONE, _8, _BYTE = np.uint64(1), np.uint64(8), np.uint64(0xFF)


def engine_keys(seed: int, cell: int = 0) -> NDArray[np.uint64]:
    """The two keys of one engine: uint64 (2,)."""
    return np.array([derive_key(seed, "slices", name, cell) for name in ("counter", "mix")], np.uint64)


def sliced(q: NDArray[np.int32]) -> NDArray[np.uint64]:
    """Thresholds as bit planes.

    Args:
        q: 0 to 65536, (cells,).

    Returns:
        uint64 (17, words): bit b of every threshold, lowest plane first; cells beyond the last have 0.
    """
    words = -(-q.size // WORD)
    padded = np.zeros(words * WORD, np.int32)
    padded[: q.size] = q
    bits = (padded >> np.arange(17, dtype=np.int32)[:, None] & 1).astype(np.uint8)
    return np.packbits(bits, axis=1).view(np.uint64).copy()


@numba.njit(inline="always")
def _next(lt, w, m):  # type: ignore[no-untyped-def]
    """One bit of the comparison; ``w`` is the complement of the uniform's bit, which is as uniform."""
    return (lt & w) | (m & (lt | w))


@numba.njit(cache=True, nogil=True)
def fair_words(keys, first_group, out):  # type: ignore[no-untyped-def]
    """Words of fair coins: ``out`` uint64 (a multiple of 512,), from group ``first_group``."""
    key = keys[1]
    for g in range(out.shape[0] // GROUP_WORDS):
        c = (keys[0] + (first_group + np.uint64(g)) * _GROUP_COUNTERS) * GOLDEN
        for row in range(_ROWS):
            r = out[g * GROUP_WORDS + row * _ROW : g * GROUP_WORDS + (row + 1) * _ROW]
            for j in range(_ROW):
                r[j] = keyed_word(c + _OFFSETS[j], key)
            c += _ROW_STEP


@numba.njit(inline="always")
def _answered(a, both, c, key, low):  # type: ignore[no-untyped-def]
    """``a`` with the bits of ``both`` answered anew, each from a byte of its own below ``low``."""
    left = 0
    x = _ZERO
    while both != _ZERO:
        if left == 0:
            x = keyed_word(c, key)
            c += _ROW_STEP
            left = 8
        bit = both & (~both + _ONE)
        a = (a | bit) if (x & _BYTE) < low else (a & ~bit)
        x >>= _8
        left -= 1
        both ^= bit
    return a


@numba.njit(cache=True, nogil=True)
def equal_words(keys, first_group, m, out):  # type: ignore[no-untyped-def]
    """Words of coins of one probability.

    m: uint64 (16,), all ones where that bit of the threshold is 1, lowest first. out: uint64 (a multiple of
    512,), from group ``first_group`` of the sequence.
    """
    key = keys[1]
    m0, m1, m2, m3, m4, m5, m6, m7 = m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7]
    m8, m9, m10, m11, m12, m13, m14, m15 = m[8], m[9], m[10], m[11], m[12], m[13], m[14], m[15]
    low = np.empty(_ROW, np.uint64)
    used = np.empty(_ROW, np.uint64)
    again = np.empty(_ROW, np.uint64)
    below = _ZERO
    for b in range(8):
        below |= (m[b] & _ONE) << np.uint64(b)
    for g in range(out.shape[0] // GROUP_WORDS):
        start = (keys[0] + (first_group + np.uint64(g)) * _GROUP_COUNTERS) * GOLDEN
        for j in range(_ROW):
            c = start + _OFFSETS[j]
            a = keyed_word(c, key) & m0
            c += _ROW_STEP
            a = _next(a, keyed_word(c, key), m1)
            c += _ROW_STEP
            a = _next(a, keyed_word(c, key), m2)
            c += _ROW_STEP
            a = _next(a, keyed_word(c, key), m3)
            c += _ROW_STEP
            a = _next(a, keyed_word(c, key), m4)
            c += _ROW_STEP
            a = _next(a, keyed_word(c, key), m5)
            c += _ROW_STEP
            a = _next(a, keyed_word(c, key), m6)
            c += _ROW_STEP
            low[j] = _next(a, keyed_word(c, key), m7)
            used[j] = _ZERO
        for row in range(_ROWS):
            r = out[g * GROUP_WORDS + row * _ROW : g * GROUP_WORDS + (row + 1) * _ROW]
            here = start + np.uint64(8 * (row + 1)) * _ROW_STEP
            twice = _ZERO
            # Unrolled, so that sixty-four words stay in registers: 3.4 instead of 2.5 GB/s of coins.
            for j in range(_ROW):
                c = here + _OFFSETS[j]
                w = keyed_word(c, key)
                a = _next(low[j], w, m8)
                t = w ^ m8
                c += _ROW_STEP
                w = keyed_word(c, key)
                a = _next(a, w, m9)
                t &= w ^ m9
                c += _ROW_STEP
                w = keyed_word(c, key)
                a = _next(a, w, m10)
                t &= w ^ m10
                c += _ROW_STEP
                w = keyed_word(c, key)
                a = _next(a, w, m11)
                t &= w ^ m11
                c += _ROW_STEP
                w = keyed_word(c, key)
                a = _next(a, w, m12)
                t &= w ^ m12
                c += _ROW_STEP
                w = keyed_word(c, key)
                a = _next(a, w, m13)
                t &= w ^ m13
                c += _ROW_STEP
                w = keyed_word(c, key)
                a = _next(a, w, m14)
                t &= w ^ m14
                c += _ROW_STEP
                w = keyed_word(c, key)
                a = _next(a, w, m15)
                t &= w ^ m15
                r[j] = a
                both = t & used[j]
                used[j] |= t
                again[j] = both
                twice |= both
            if twice != _ZERO:
                fresh = start + np.uint64(8 + 8 * _ROWS + 8 * row) * _ROW_STEP
                for j in range(_ROW):
                    if again[j] != _ZERO:
                        r[j] = _answered(r[j], again[j], fresh + _OFFSETS[j], key, below)


@numba.njit(cache=True, nogil=True)
def pulse_words(keys, first_pulse, pulses, planes0, change, reset, state, k, out):  # type: ignore[no-untyped-def]
    """Pulse every cell of an array again and again; each cell has its own thresholds and remembers its state.

    keys: uint64 (2,). planes0: uint64 (17, words), threshold of a 0 as bit planes. change: the same, planes of
    a 0 xor those of a 1. reset: take every cell for a 0. state: uint64 (words,), changed in place. k: equal
    segments of the array that are combined by XOR. out: uint64 (pulses * m,), ``m`` words of each segment
    per pulse, with ``k m <= words``.
    """
    words = state.shape[0]
    m = out.shape[0] // pulses
    rows = (words + _ROW - 1) // _ROW
    key = keys[1]
    lt = np.empty(_ROW, np.uint64)
    s = np.empty(_ROW, np.uint64)
    for pulse in range(pulses):
        counter = (keys[0] + (first_pulse + np.uint64(pulse)) * np.uint64(rows * 16 * _ROW)) * GOLDEN
        for i in range(rows):
            n = min(_ROW, words - i * _ROW)
            for j in range(_ROW):
                lt[j] = _ZERO
                s[j] = _ZERO
            if not reset:
                s[:n] = state[i * _ROW : i * _ROW + n]
            for b in range(16):
                p = planes0[b, i * _ROW : i * _ROW + n]
                d = change[b, i * _ROW : i * _ROW + n]
                if n == _ROW:
                    for j in range(_ROW):
                        q = p[j] ^ (d[j] & s[j])
                        lt[j] = _next(lt[j], keyed_word(counter + _OFFSETS[j], key), q)
                else:
                    for j in range(n):
                        q = p[j] ^ (d[j] & s[j])
                        lt[j] = _next(lt[j], keyed_word(counter + _OFFSETS[j], key), q)
                counter += _ROW_STEP
            p = planes0[16, i * _ROW : i * _ROW + n]
            d = change[16, i * _ROW : i * _ROW + n]
            for j in range(n):
                state[i * _ROW + j] = lt[j] | (p[j] ^ (d[j] & s[j]))
        o = pulse * m
        out[o : o + m] = state[:m]
        for i in range(1, k):
            for j in range(m):
                out[o + j] ^= state[i * m + j]
