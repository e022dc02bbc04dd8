"""What the tests of SP 800-22 count, one pass each over a sequence of one bit a byte."""

from __future__ import annotations

import numpy as np

from voltaspin.core.compiled import numba

BLOCK = 500  #: bits of a block of the linear complexity test where no other length is asked for
_ONE = np.uint64(1)


@numba.njit(cache=True, nogil=True)
def walk(bits):  # type: ignore[no-untyped-def]
    """Sum, largest and smallest partial sum (0 included), and number of runs of the walk of +1 and -1."""
    s, top, bottom, runs = 0, 0, 0, 1
    last = bits[0]
    for b in bits:
        s += 1 if b else -1
        if s > top:
            top = s
        if s < bottom:
            bottom = s
        runs += b != last
        last = b
    return s, top, bottom, runs


@numba.njit(cache=True, nogil=True)
def block_ones(bits, m):  # type: ignore[no-untyped-def]
    """Ones of each block of ``m`` bits: int64 (n // m,)."""
    out = np.zeros(bits.shape[0] // m, np.int64)
    for i in range(out.shape[0]):
        total = 0
        for b in bits[i * m : (i + 1) * m]:
            total += b
        out[i] = total
    return out


@numba.njit(cache=True, nogil=True)
def longest_runs(bits, m):  # type: ignore[no-untyped-def]
    """Longest run of ones of each block of ``m`` bits: int64 (n // m,)."""
    out = np.zeros(bits.shape[0] // m, np.int64)
    for i in range(out.shape[0]):
        run, longest = 0, 0
        for b in bits[i * m : (i + 1) * m]:
            run = run + 1 if b else 0
            if run > longest:
                longest = run
        out[i] = longest
    return out


@numba.njit(cache=True, nogil=True)
def ranks(bits, size):  # type: ignore[no-untyped-def]
    """Rank over GF(2) of each ``size`` x ``size`` matrix, ``size`` at most 64: int64 (n // size**2,)."""
    out = np.zeros(bits.shape[0] // (size * size), np.int64)
    rows = np.empty(size, np.uint64)
    for i in range(out.shape[0]):
        at = i * size * size
        for r in range(size):
            word = np.uint64(0)
            for c in range(size):
                word = (word << _ONE) | np.uint64(bits[at + r * size + c])
            rows[r] = word
        rank = 0
        for c in range(size):
            mask = _ONE << np.uint64(c)
            pivot = rank
            while pivot < size and not rows[pivot] & mask:
                pivot += 1
            if pivot == size:
                continue
            rows[rank], rows[pivot] = rows[pivot], rows[rank]
            for r in range(rank + 1, size):
                if rows[r] & mask:
                    rows[r] ^= rows[rank]
            rank += 1
        out[i] = rank
    return out


@numba.njit(cache=True, nogil=True)
def windows(bits, m, blocks):  # type: ignore[no-untyped-def]
    """How often each word of ``m`` bits begins in each of ``blocks`` equal blocks: int64 (blocks, 2**m)."""
    size = bits.shape[0] // blocks
    out = np.zeros((blocks, 2**m), np.int64)
    mask = 2**m - 1
    for i in range(blocks):
        word = 0
        for j in range(size):
            word = ((word << 1) | bits[i * size + j]) & mask
            if j >= m - 1:
                out[i, word] += 1
    return out


@numba.njit(cache=True, nogil=True)
def cyclic_windows(bits, m):  # type: ignore[no-untyped-def]
    """How often each word of ``m`` bits begins in the sequence closed to a ring: int64 (2**m,)."""
    n = bits.shape[0]
    out = np.zeros(2**m, np.int64)
    mask = 2**m - 1
    word = 0
    for j in range(m - 1):
        word = (word << 1) | bits[j % n]
    for j in range(m - 1, n):
        word = ((word << 1) | bits[j]) & mask
        out[word] += 1
    for j in range(n, n + m - 1):
        word = ((word << 1) | bits[j % n]) & mask
        out[word] += 1
    return out


@numba.njit(cache=True, nogil=True)
def overlapping_ones(bits, m, size):  # type: ignore[no-untyped-def]
    """Places where ``m`` ones begin, overlaps counted, in each block of ``size`` bits: int64 (n // size,)."""
    out = np.zeros(bits.shape[0] // size, np.int64)
    for i in range(out.shape[0]):
        run, total = 0, 0
        for b in bits[i * size : (i + 1) * size]:
            run = run + 1 if b else 0
            total += run >= m
        out[i] = total
    return out


@numba.njit(cache=True, nogil=True)
def log_distances(bits, L, Q):  # type: ignore[no-untyped-def]
    """Sum over the blocks after the first ``Q`` of log2 of the distance to the last equal block of ``L`` bits."""
    last = np.zeros(2**L, np.int64)
    total = 0.0
    for i in range(1, bits.shape[0] // L + 1):
        word = 0
        for j in range((i - 1) * L, i * L):
            word = (word << 1) | bits[j]
        if i > Q:
            total += np.log2(np.float64(i - last[word]))
        last[word] = i
    return total


@numba.njit(cache=True, nogil=True)
def excursions(bits):  # type: ignore[no-untyped-def]
    """Cycles of the walk between its returns to 0, the last one closed, and its visits.

    Returns:
        (cycles; int64 (8, 6): cycles with 0, 1, ..., 5 or more visits of -4..-1, 1..4; int64 (19,): visits
        of -9..9).
    """
    per_cycle = np.zeros(9, np.int64)
    counts = np.zeros((8, 6), np.int64)
    visits = np.zeros(19, np.int64)
    cycles, s = 0, 0
    n = bits.shape[0]
    for i in range(n):
        s += 1 if bits[i] else -1
        if -9 <= s <= 9:
            visits[s + 9] += 1
        if s != 0 and -4 <= s <= 4:
            per_cycle[s + 4] += 1
        if s == 0 or i == n - 1:
            cycles += 1
            for x in range(8):
                counts[x, min(per_cycle[x if x < 4 else x + 1], 5)] += 1
            per_cycle[:] = 0
    return cycles, counts, visits


@numba.njit(inline="always")
def _parity(x):  # type: ignore[no-untyped-def]
    x ^= x >> np.uint64(32)
    x ^= x >> np.uint64(16)
    x ^= x >> np.uint64(8)
    x ^= x >> np.uint64(4)
    x ^= x >> np.uint64(2)
    x ^= x >> _ONE
    return x & _ONE


@numba.njit(cache=True, nogil=True)
def linear_complexities(bits, m):  # type: ignore[no-untyped-def]
    """Length of the shortest linear feedback register that gives each block of ``m`` bits: int64 (n // m,).

    Berlekamp-Massey (J. L. Massey, IEEE Trans. Inf. Theory 15, 122 (1969)) with polynomials and the past in
    64-bit words.
    """
    out = np.zeros(bits.shape[0] // m, np.int64)
    words = m // 64 + 1
    c = np.empty(words, np.uint64)  # connection polynomial, bit i is the coefficient of x**i
    b = np.empty(words, np.uint64)  # the one before the last change of length
    t = np.empty(words, np.uint64)
    past = np.empty(words, np.uint64)  # bit i is s[n - i]
    for i in range(out.shape[0]):
        c[:] = 0
        b[:] = 0
        past[:] = 0
        c[0] = b[0] = _ONE
        length, since = 0, 1
        for n in range(m):
            carry = np.uint64(bits[i * m + n])
            both = np.uint64(0)
            for w in range(words):
                high = past[w] >> np.uint64(63)
                past[w] = (past[w] << _ONE) | carry
                carry = high
                both ^= past[w] & c[w]
            if _parity(both):
                grows = 2 * length <= n
                if grows:
                    t[:] = c
                whole, part = since // 64, np.uint64(since % 64)
                for w in range(words - 1, whole - 1, -1):
                    shifted = b[w - whole] << part
                    if part and w - whole > 0:
                        shifted |= b[w - whole - 1] >> (np.uint64(64) - part)
                    c[w] ^= shifted
                if grows:
                    length = n + 1 - length
                    b[:] = t
                    since = 0
            since += 1
        out[i] = length
    return out
