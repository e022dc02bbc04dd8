"""What the tests of SP 800-22 count, one pass each over a sequence of one bit a byte."""

from __future__ import annotations

import numpy as np

from voltaspin.core.compiled import numba

_ONE = np.uint64(1)


@numba.njit(cache=True, nogil=True)
def runs_of_ones(bits, size, m):  # type: ignore[no-untyped-def]
    """Longest run of ones, and places where ``m`` ones end, of each block of ``size`` bits: int64 (2, blocks)."""
    out = np.zeros((2, bits.shape[0] // size), np.int64)
    for i in range(out.shape[1]):
        run, longest, total = 0, 0, 0
        for b in bits[i * size : (i + 1) * size]:
            run = run + 1 if b else 0
            longest = max(longest, run)
            total += run >= m
        out[0, i] = longest
        out[1, i] = total
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
