"""Counts of all bits of a recording, one pass each."""

from __future__ import annotations

import numpy as np

from voltaspin.core.compiled import numba
from voltaspin.noise.health import _bit


@numba.njit(cache=True, nogil=True)
def cells(bits, seen, window, cutoff_run, cutoff_share, last, run, first, count, ones, same, found):  # type: ignore[no-untyped-def]
    """Of each cell its ones, and how often a bit of it equals the one before; runs and windows that reach a cut-off.

    The health tests bit for bit, which go on after an alarm here. ``found`` is (runs, windows, longest run, the place
    where it ended).
    """
    n_cells = ones.shape[0]
    cell = seen % n_cells
    place = (seen // n_cells) % window
    for i in range(bits.shape[0]):
        b = bits[i]
        _bit(b, cell, place == 0, cutoff_run, cutoff_share, last, run, first, count)
        ones[cell] += b
        same[cell] += run[cell] > 1
        found[0] += run[cell] == cutoff_run
        found[1] += count[cell] == cutoff_share and b == first[cell]
        if run[cell] > found[2]:
            found[2] = run[cell]
            found[3] = seen + i
        cell += 1
        if cell == n_cells:
            cell = 0
            place += 1
            if place == window:
                place = 0


@numba.njit(inline="always")
def _mixed(x):  # type: ignore[no-untyped-def]
    """SplitMix64's finaliser (G. Steele, D. Lea, C. Flood, OOPSLA 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(inline="always")
def _slot(keys, key):  # type: ignore[no-untyped-def]
    """Where the key stands in the table, or the free place where it would."""
    size = np.uint64(keys.shape[0] - 1)
    at = key & size
    while keys[at] != np.uint64(0) and keys[at] != key:
        at = (at + np.uint64(1)) & size
    return at


@numba.njit(cache=True, nogil=True)
def repeats(bits, seen, words, keys, places, anchors, state):  # type: ignore[no-untyped-def]
    """Windows of 128 bits that have stood before, wherever they stand.

    A window is looked up, and remembered, where a hash of its last 64 bits ends in zeros: the choice depends on the
    bits alone, so a repeated stretch is found at any offset. As the table fills, fewer windows are chosen. A period so
    short that it may hold no chosen window is found by one window that is kept whatever it is, and renewed.

    Args:
        bits: uint8 (n,), one bit a byte.
        seen: bits before.
        words: the last 64 bits, those before, the table's mask, and the kept window: uint64 (5,).
        keys, places, anchors: the table.
        state: entries; windows that stood before; the running stretch's start, end and distance; the longest
            stretch's start, end and distance; bits in such stretches before the running one; where the kept window
            stood, and when it was chosen: int64 (11,).
    """
    near, far, mask = words[0], words[1], words[2]
    for i in range(bits.shape[0]):
        far = (far << np.uint64(1)) | (near >> np.uint64(63))
        near = (near << np.uint64(1)) | np.uint64(bits[i])
        at = seen + i
        if at < 127:
            continue
        sparse = 8 * (np.int64(mask) + 1)
        if near == words[3] and far == words[4] and state[10] > 0:
            _again(at, at - state[9], sparse, state)
            state[9] = at
        elif at >= state[10] + 4096 + sparse:
            words[3], words[4], state[9], state[10] = near, far, at, at
        anchor = _mixed(near + np.uint64(0x9E3779B97F4A7C15))
        if anchor & mask:
            continue
        key = _mixed(anchor ^ _mixed(far)) | np.uint64(1)
        slot = _slot(keys, key)
        if keys[slot] == key:
            _again(at, at - places[slot], sparse, state)
            places[slot] = at
            continue
        keys[slot], places[slot], anchors[slot] = key, at, anchor
        state[0] += 1
        if 2 * state[0] > keys.shape[0]:
            mask = (mask << np.uint64(1)) | np.uint64(1)
            old = keys.copy(), places.copy(), anchors.copy()
            keys[:] = 0
            state[0] = 0
            for j in range(keys.shape[0]):
                if old[0][j] != np.uint64(0) and not old[2][j] & mask:
                    slot = _slot(keys, old[0][j])
                    keys[slot], places[slot], anchors[slot] = old[0][j], old[1][j], old[2][j]
                    state[0] += 1
    words[0], words[1], words[2] = near, far, mask


@numba.njit(cache=True, nogil=True)
def _again(at, distance, sparse, state):  # type: ignore[no-untyped-def]
    """The window that ends with bit ``at`` stood ``distance`` places before: it makes the running stretch longer."""
    state[1] += 1
    if distance == state[4] and at - 127 <= state[3] + 8 * sparse:
        state[3] = max(state[3], at + 1)
    elif at - 127 < state[3] < at + 1 and distance % state[4] == 0:
        state[3] = at + 1  # a multiple of the period
    else:
        state[8] += state[3] - state[2]
        state[2], state[3], state[4] = max(at - 127, state[3]), at + 1, distance
    if state[3] - state[2] > state[6] - state[5]:
        state[5], state[6], state[7] = state[2], state[3], state[4]
