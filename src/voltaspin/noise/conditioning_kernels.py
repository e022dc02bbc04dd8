"""The loops of the conditioners."""

from __future__ import annotations

import numpy as np

from voltaspin.core.compiled import numba


@numba.njit(cache=True, nogil=True)
def von_neumann(bits, cells, out):  # type: ignore[no-untyped-def]
    """Von Neumann's bits of successive pairs of rows of ``cells`` bits into ``out``; how many."""
    made = 0
    for r in range(0, bits.shape[0] // cells - 1, 2):
        one = bits[r * cells : (r + 1) * cells]
        two = bits[(r + 1) * cells : (r + 2) * cells]
        for c in range(cells):
            out[made] = one[c]
            made += one[c] ^ two[c]
    return made


@numba.njit(cache=True, nogil=True)
def _peres(s, n, depth, scratch, out, made):  # type: ignore[no-untyped-def]
    """The bits of ``s[:n]`` go to ``out`` from ``made`` on; (how many are there then, pairs looked at).

    scratch: uint8, at least 2 n of it, for the two sequences of each depth.
    """
    half = n // 2
    if depth == 0 or half == 0:
        return made, 0
    differ, equal = scratch[:half], scratch[half : 2 * half]
    same = 0
    for i in range(half):
        a, b = s[2 * i], s[2 * i + 1]
        differ[i] = a ^ b
        if a == b:
            equal[same] = a
            same += 1
        else:
            out[made] = a
            made += 1
    pairs = half
    made, more = _peres(differ, half, depth - 1, scratch[2 * half :], out, made)
    pairs += more
    made, more = _peres(equal, same, depth - 1, scratch[2 * half :], out, made)
    return made, pairs + more


@numba.njit(cache=True, nogil=True)
def peres(cells, depth, out):  # type: ignore[no-untyped-def]
    """Peres' bits of each row (the bits of one cell) of uint8 (cells, n), row after row: (how many, pairs seen)."""
    scratch = np.empty(2 * cells.shape[1] + 2, np.uint8)
    made, pairs = 0, 0
    for c in range(cells.shape[0]):
        made, more = _peres(cells[c], cells.shape[1], depth, scratch, out, made)
        pairs += more
    return made, pairs


def toeplitz_tables(diagonal, n_in, n_out):  # type: ignore[no-untyped-def]
    """What each byte of a block adds to the hash: uint64 (n_in / 8, 256, words), bits in packed order.

    Row ``i`` and column ``j`` of the matrix hold ``diagonal[n_out - 1 - i + j]``.
    """
    words = -(-n_out // 64)
    columns = np.zeros((n_in, words * 64), np.uint8)
    for j in range(n_in):
        columns[j, :n_out] = diagonal[j : j + n_out][::-1]
    packed = np.packbits(columns, axis=1).view(np.uint64)
    tables = np.zeros((n_in // 8, 256, words), np.uint64)
    for bit in range(8):
        on = (np.arange(256) >> (7 - bit) & 1).astype(bool)
        tables[:, on] ^= packed[bit::8][:, None]
    return tables


@numba.njit(cache=True, nogil=True)
def toeplitz(packed, tables, blocks, size):  # type: ignore[no-untyped-def]
    """Hash of each block of ``size`` bytes: uint64 (blocks, words)."""
    words = tables.shape[2]
    out = np.zeros((blocks, words), np.uint64)
    for i in range(blocks):
        for j in range(size):
            row = tables[j, packed[i * size + j]]
            for w in range(words):
                out[i, w] ^= row[w]
    return out
