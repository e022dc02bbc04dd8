"""Random bits of given probabilities from the cells of an array, for draws with an address and for long sequences.

*The draws of images* (``pulse_and_xor``): one stochastic pulse on many cells, the random words, the next state and the
XOR of different cells. This is the hot loop of everything that draws bits from the memory, and it defines once which
random word belongs to which bit.

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

*Long sequences* (``pulse_words``, ``equal_words``). Sixty-four cells lie in one 64-bit word, in the order of packed
bytes (first cell, highest bit of the first byte), so that a pulse leaves the bytes that a user gets. A cell answers a
16-bit uniform ``w`` with ``w < q``, computed for 64 cells together from the lowest bit of q up:
``lt = (q & ~w) | (lt & ~(q ^ w))``, one random word and a few operations per bit of q. Nothing is approximated: the
probability is q / 65536 exactly. The words come from :func:`keyed_word`; Philox would leave no room for sixteen words
per word of bits.

*One probability.* Only a cell whose upper eight bits tie with those of q, one in 256, needs the lower eight.
Eight rows of words therefore share one row of lower comparisons. Where two of the eight want the same bit of
it, the later one is answered from fresh words: the bits are independent without exception.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.compiled import numba
from voltaspin.random.philox import fill_lanes
from voltaspin.random.streams import derive_key

GROUP = 128  #: bits served by one group of sixteen Philox blocks
BLOCKS = np.uint64(16)  #: Philox blocks per group
HALF = 32768  #: a word below it is a 1 of a fair bit


@numba.njit(inline="always")
def fill_group(key, stream, block, lanes, words):  # type: ignore[no-untyped-def]
    """The 128 words of the group that starts at ``block``: int32 (128,), through ``lanes`` uint64 (4, 16)."""
    fill_lanes(key, stream, block, lanes)
    for q in range(4):
        for j in range(16):
            words[32 * q + j] = np.int32(lanes[q, j] & np.uint64(0xFFFF))
            words[32 * q + 16 + j] = np.int32(lanes[q, j] >> np.uint64(16))


@numba.njit(cache=True, nogil=True)
def fair_bits(key, stream, first_block, out):  # type: ignore[no-untyped-def]
    """Fair bits ``w < 32768``, one per byte, into ``out`` uint8 (a multiple of 128,)."""
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


@numba.njit(cache=True, nogil=True)
def pulse_some(key, first_block, cells, state, q0, q1):  # type: ignore[no-untyped-def]
    """Pulse the chosen cells once: each answers the word that it would in a pulse of all cells.

    key: uint64 (1,). cells: int64 (n,), rising. state: uint8 of all cells; changed in place. q0, q1: int32 thresholds
    on 65536 of the chosen cells, (n,).
    """
    lanes = np.empty((4, 16), np.uint64)
    words = np.empty(GROUP, np.int32)
    group = np.int64(-1)
    for i in range(cells.shape[0]):
        c = cells[i]
        if c // GROUP != group:
            group = c // GROUP
            fill_group(key[0], np.uint64(0), first_block + np.uint64(group) * BLOCKS, lanes, words)
        state[c] = np.uint8(words[c % GROUP] < (q1[i] if state[c] else q0[i]))


# Long sequences

GOLDEN, _C1, _C2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)


@numba.njit(inline="always")
def keyed_word(x, key):  # type: ignore[no-untyped-def]
    """The random word of a counter that was already multiplied by G: SplitMix64 with a second key.

    Word ``n`` is a bijection of the counter: ``x = (n + k0) G``, then twice an xor-shift and an odd
    multiplication, with a second key between them, and a last xor-shift. Without the second key this is SplitMix64
    (Steele, Lea and Flood, OOPSLA 2014, doi 10.1145/2660193.2660195; its finaliser is Stafford's variant 13),
    which passes BigCrush; the second key keeps the sequences of two seeds apart even where their counters meet.
    Philox costs five times as much.
    """
    x = (x ^ (x >> _30)) * _C1
    x = (x ^ (key ^ (x >> _27))) * _C2
    return x ^ (x >> _31)


WORD = 64  #: cells in a word
_ROW = 64  # words computed side by side
_ROWS = 8  # rows that share their lower comparisons
GROUP_WORDS = _ROW * _ROWS  #: words of one group of the one-probability engine
_GROUP_COUNTERS = np.uint64((8 + 8 * _ROWS + 8 * _ROWS) * _ROW)  # lower planes, upper planes, fresh ones

_ROW_STEP = np.uint64(0x9E3779B97F4A7C15 * _ROW % 2**64)
_STEPS = tuple(np.uint64(0x9E3779B97F4A7C15 * _ROW * b % 2**64) for b in range(8))
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


@numba.njit(inline="always")
def _next_or_tie(lt, tie, c, key, m):  # type: ignore[no-untyped-def]
    """One bit of the comparison by the word of a counter, and whether all bits since ``tie`` was set are equal."""
    w = keyed_word(c, key)
    return _next(lt, w, m), tie & (w ^ m)


@numba.njit(cache=True, nogil=True)
def fair_words(keys, first_group, out):  # type: ignore[no-untyped-def]
    """Words of fair bits: ``out`` uint64 (a multiple of 512,), from group ``first_group``."""
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
    """Words of bits of one probability.

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
            a = _next(a, keyed_word(c + _STEPS[1], key), m1)
            a = _next(a, keyed_word(c + _STEPS[2], key), m2)
            a = _next(a, keyed_word(c + _STEPS[3], key), m3)
            a = _next(a, keyed_word(c + _STEPS[4], key), m4)
            a = _next(a, keyed_word(c + _STEPS[5], key), m5)
            a = _next(a, keyed_word(c + _STEPS[6], key), m6)
            low[j] = _next(a, keyed_word(c + _STEPS[7], key), m7)
            used[j] = _ZERO
        for row in range(_ROWS):
            r = out[g * GROUP_WORDS + row * _ROW : g * GROUP_WORDS + (row + 1) * _ROW]
            here = start + np.uint64(8 * (row + 1)) * _ROW_STEP
            twice = _ZERO
            # Unrolled, so that sixty-four words stay in registers: 3.4 instead of 2.5 GB/s of bits.
            for j in range(_ROW):
                c = here + _OFFSETS[j]
                a, t = _next_or_tie(low[j], ~_ZERO, c, key, m8)
                a, t = _next_or_tie(a, t, c + _STEPS[1], key, m9)
                a, t = _next_or_tie(a, t, c + _STEPS[2], key, m10)
                a, t = _next_or_tie(a, t, c + _STEPS[3], key, m11)
                a, t = _next_or_tie(a, t, c + _STEPS[4], key, m12)
                a, t = _next_or_tie(a, t, c + _STEPS[5], key, m13)
                a, t = _next_or_tie(a, t, c + _STEPS[6], key, m14)
                a, t = _next_or_tie(a, t, c + _STEPS[7], key, m15)
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
