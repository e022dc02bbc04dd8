"""One stochastic pulse on many cells: the random words, the next state, the XOR of different cells.

This is the hot loop of everything that draws bits from the memory, and it defines once which random word
belongs to which bit:

*Position.* The words of a draw are 16 bits wide. Bit ``j`` of a draw lies in group ``g = j // 128`` of
sixteen Philox blocks; with ``r = j % 128`` its word is half ``r // 16`` (0 = low half of word 0, 1 = high
half of word 0, 2 = low half of word 1, ...) of block ``first_block + 16 g + r % 16``. The layout follows the
sixteen lanes in which the blocks are computed, so that nothing has to be interleaved.

*Next state.* A cell in state ``s`` goes to 1 where ``w < q_s``, with ``q_0 = round(65536 p01)`` and
``q_1 = round(65536 (1 - p10))``. So every state of every cell answers the same word in the same direction
(common random numbers), and p01 = p10 = 1/2 gives ``w < 32768`` whatever the state.

*XOR.* Bit ``j`` owns the word ``w`` of key 0 and, for its cells 1 to k - 1, the words of keys 1 to k - 1.
Cell 0 answers ``w`` with its top bit flipped once for every other word below 32768. That word is still
uniform and independent of the others, and the XOR of the k cells is ``w < 32768`` when every p is 1/2.
"""

from __future__ import annotations

import numpy as np

from voltaspin.core.compiled import numba
from voltaspin.random.philox import high32, low32, philox4x32

GROUP = 128  #: bits served by one group of sixteen Philox blocks
BLOCKS = np.uint64(16)  #: Philox blocks per group
HALF = 32768  #: a word below it is a 1 of a fair coin


@numba.njit(inline="always")
def fill_group(key, stream, block, lanes, words):  # type: ignore[no-untyped-def]
    """The 128 words of the group that starts at ``block``: int32 (128,), through ``lanes`` uint64 (4, 16)."""
    k0, k1, s0, s1 = low32(key), high32(key), low32(stream), high32(stream)
    for j in range(16):
        b = block + np.uint64(j)
        w0, w1, w2, w3 = philox4x32(low32(b), high32(b), s0, s1, k0, k1)
        lanes[0, j] = w0
        lanes[1, j] = w1
        lanes[2, j] = w2
        lanes[3, j] = w3
    for q in range(4):
        for j in range(16):
            words[32 * q + j] = np.int32(lanes[q, j] & np.uint64(0xFFFF))
            words[32 * q + 16 + j] = np.int32(lanes[q, j] >> np.uint64(16))


@numba.njit(cache=True, nogil=True)
def fair_bits(key, stream, first_block, out):  # type: ignore[no-untyped-def]
    """Fair coins ``w < 32768``, one per byte, into ``out`` uint8 (a multiple of 128,)."""
    lanes = np.empty((4, 16), np.uint64)
    words = np.empty(GROUP, np.int32)
    for g in range(out.shape[0] // GROUP):
        fill_group(key, stream, first_block + np.uint64(g) * BLOCKS, lanes, words)
        for r in range(GROUP):
            out[g * GROUP + r] = np.uint8(words[r] < HALF)


@numba.njit(inline="always")
def _answer(words, s, q0, q1, c, m, bits, o):  # type: ignore[no-untyped-def]
    """``m`` neighbouring cells from ``c`` take their next state and XOR it onto ``bits`` from ``o``."""
    state, low, high, out = s[c : c + m], q0[c : c + m], q1[c : c + m], bits[o : o + m]
    for r in range(m):
        # Both answers, then the one of the state: 10 instead of 19 us for 25,088 pulses.
        from0 = np.int32(words[r] < low[r])
        from1 = np.int32(words[r] < high[r])
        b = np.uint8(from0 ^ ((from0 ^ from1) & np.int32(state[r])))
        state[r] = b
        out[r] ^= b


@numba.njit(cache=True, nogil=True)
def pulse_and_xor(keys, stream, first_block, factor, offset, cells, state, q0, q1, reset, n_bits, out):  # type: ignore[no-untyped-def]
    """Pulse ``k * n_bits`` different cells once and leave the XOR of each bit's k cells in ``out``.

    keys: uint64 (k,), one per cell of a bit. Bit ``j`` uses the cells ``(factor (j + i n_bits) + offset)
    mod cells`` for i = 0 to k - 1. state: uint8, as long as the highest cell used needs; changed in place.
    q0, q1: int32 thresholds on 65536. reset: write 0 first. out: uint8 (n_bits rounded up to 128,).
    """
    k = keys.shape[0]
    lanes = np.empty((4, 16), np.uint64)
    words = np.empty(GROUP, np.int32)
    flips = np.empty(GROUP, np.int32)
    kept = state
    if factor != 1:
        # Scattered cells of one of many images miss the cache: gather from a copy that was read in order.
        state = kept.copy()
    for g in range(out.shape[0] // GROUP):
        o = g * GROUP
        m = min(GROUP, n_bits - o)
        flips[:] = 0
        out[o : o + GROUP] = 0
        for back in range(k):
            i = k - 1 - back
            fill_group(keys[i], stream, first_block + np.uint64(g) * BLOCKS, lanes, words)
            if i > 0:
                for r in range(GROUP):
                    flips[r] ^= (words[r] & HALF) ^ HALF
            else:
                for r in range(GROUP):
                    words[r] ^= flips[r]
            c = (factor * (o + i * n_bits) + offset) % cells
            if factor == 1 and c + m <= cells:
                # Neighbours in memory vectorise: a third of the time of the branch below.
                if reset:
                    state[c : c + m] = 0
                _answer(words, state, q0, q1, c, m, out, o)
            else:
                for r in range(m):
                    from0 = np.int32(words[r] < q0[c])
                    from1 = from0 if reset else np.int32(words[r] < q1[c])
                    b = np.uint8(from0 ^ ((from0 ^ from1) & np.int32(state[c])))
                    state[c] = b
                    out[o + r] ^= b
                    c += factor
                    if c >= cells:
                        c -= cells
    if factor != 1:
        kept[:] = state
