"""The generator Philox4x32 as kernels: a block of four random words from a counter and a key.

Philox4x32-10 (Salmon et al., SC'11, doi 10.1145/2063384.2063405) serves everything that has an address; the thermal
field of trajectories takes Philox4x32-7. Both are tested on the published known answers. A key is 64 bits; the 128-bit
counter holds the stream (64 bits: an image, a device) and the block (64 bits).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from voltaspin.core.compiled import numba

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def _philox4x32(rounds: int) -> Any:
    @numba.njit(inline="always")
    def philox4x32(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
        """One block: four counter and two key words to four random words.

        All are uint64 that hold 32 bits: numba widens uint32 arithmetic anyway, and so a loop over lanes
        that only stores the four words vectorises.
        """
        for _ in range(rounds):
            p0 = (c0 & _LOW) * _M0
            p1 = (c2 & _LOW) * _M1
            c0 = (p1 >> _HALF) ^ c1 ^ k0
            c1 = p1
            c2 = (p0 >> _HALF) ^ c3 ^ k1
            c3 = p0
            k0 = (k0 + _W0) & _LOW
            k1 = (k1 + _W1) & _LOW
        return c0 & _LOW, c1 & _LOW, c2 & _LOW, c3 & _LOW

    return philox4x32


philox4x32 = _philox4x32(10)
philox4x32_7 = _philox4x32(7)  #: the fewest rounds that pass BigCrush (the paper's table 2), for the thermal field
_philox4x32_5 = _philox4x32(5)


@numba.njit(inline="always")
def philox4x32_7_stream(c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """Return the part of the first two of seven rounds that does not depend on the block's low word.

    :func:`philox4x32_7_block` continues from these four numbers. It saves a fifth of the work of a long stream.
    """
    p1 = (c2 & _LOW) * _M1
    p0 = (((p1 >> _HALF) ^ c1 ^ k0) & _LOW) * _M0
    return p1 ^ (k0 + _W0), (p0 >> _HALF) ^ (k1 + _W1), p0, c3 ^ k1


@numba.njit(inline="always")
def philox4x32_7_block(c0, a, b, c, d, k0, k1):  # type: ignore[no-untyped-def]
    """The block that begins with ``c0`` of the stream that :func:`philox4x32_7_stream` prepared."""
    p0 = (c0 & _LOW) * _M0
    p1 = (((p0 >> _HALF) ^ d) & _LOW) * _M1
    return _philox4x32_5((p1 >> _HALF) ^ a, p1, b ^ p0, c, k0 + _W0 + _W0, k1 + _W1 + _W1)


@numba.njit(inline="always")
def low32(x):  # type: ignore[no-untyped-def]
    """Low half of a uint64, as the first of the two counter or key words it fills."""
    return np.uint64(x) & _LOW


@numba.njit(inline="always")
def high32(x):  # type: ignore[no-untyped-def]
    """High half of a uint64."""
    return np.uint64(x) >> _HALF


LANES = 16  #: blocks that are computed side by side


@numba.njit(inline="always")
def fill_lanes(key, stream, first_block, lanes):  # type: ignore[no-untyped-def]
    """The words of sixteen blocks: uint64 (4, 16). Interleaving them later takes 2.3 instead of 10.5 ns a block."""
    k0, k1, s0, s1 = low32(key), high32(key), low32(stream), high32(stream)
    for j in range(LANES):
        block = first_block + np.uint64(j)
        w0, w1, w2, w3 = philox4x32(low32(block), high32(block), s0, s1, k0, k1)
        lanes[0, j] = w0
        lanes[1, j] = w1
        lanes[2, j] = w2
        lanes[3, j] = w3


@numba.njit(cache=True, nogil=True)
def fill_words(key, stream, first_block, out):  # type: ignore[no-untyped-def]
    """Blocks ``first_block`` and on of a stream into ``out`` uint32 (blocks, 4)."""
    n = out.shape[0]
    lanes = np.empty((4, LANES), np.uint64)
    for i in range(0, n, LANES):
        fill_lanes(key, stream, first_block + np.uint64(i), lanes)
        for j in range(min(LANES, n - i)):
            for q in range(4):
                out[i + j, q] = lanes[q, j]
