"""The loops of the health tests."""

from __future__ import annotations

import numpy as np

from voltaspin.core.compiled import numba

#: Of each byte: its ones, and the equal bits at its end.
_ONES = np.bitwise_count(np.arange(256, dtype=np.uint8))
_TAIL = np.array([next(r for r in range(1, 9) if r == 8 or (b >> r & 1) != (b & 1)) for b in range(256)], np.uint8)


@numba.njit(inline="always")
def watch_bit(b, cell, fresh, cutoff_run, cutoff_share, last, run, first, count):  # type: ignore[no-untyped-def]
    """One bit of one cell: 0, or 1 after a repetition count, 2 after an adaptive proportion."""
    if b == last[cell]:
        run[cell] += 1
    else:
        last[cell] = b
        run[cell] = 1
    if fresh:
        first[cell] = b
        count[cell] = 1
    elif b == first[cell]:
        count[cell] += 1
    if run[cell] >= cutoff_run:
        return 1
    return 2 if count[cell] >= cutoff_share else 0


@numba.njit(cache=True, nogil=True)
def _row(row, fresh, last, run, first, count):  # type: ignore[no-untyped-def]
    """One bit of every cell, in steps that vectorise: the longest run and the largest count afterwards."""
    longest, most = np.int32(0), np.int32(0)
    if fresh:
        for j in range(row.shape[0]):
            first[j] = row[j]
            count[j] = 0
    for j in range(row.shape[0]):
        r = np.int32(1) + run[j] * np.int32(row[j] == last[j])
        run[j] = r
        last[j] = row[j]
        longest = max(longest, r)
        c = count[j] + np.int32(row[j] == first[j])
        count[j] = c
        most = max(most, c)
    return longest, most


@numba.njit(cache=True, nogil=True)
def watch(packed, n, seen, cells, window, cutoff_run, cutoff_share, last, run, first, count):  # type: ignore[no-untyped-def]
    """Position, test (0 or 1) and cell of the first alarm among ``n`` bits, or (-1, 0, 0)."""
    cell = seen % cells
    place = (seen // cells) % window  # of the cell's next bit in its window
    # In a byte of unequal bits a run grows by at most seven: one that cannot reach the cut-off is only counted.
    quick = cells == 1 and cutoff_run > 8 and window % 8 == 0
    words = packed[: packed.shape[0] // 8 * 8].view(np.uint64)
    row = np.empty(cells if cells >= 32 else 0, np.uint8)
    i = 0
    while i < n:
        if row.size and cell == 0 and n - i >= cells:
            for j in range(cells):
                row[j] = (packed[(i + j) >> 3] >> (7 - ((i + j) & 7))) & 1
            longest, most = _row(row, place == 0, last, run, first, count)
            if longest >= cutoff_run or most >= cutoff_share:
                for j in range(cells):
                    if run[j] >= cutoff_run:
                        return i + j, 0, j
                    if count[j] >= cutoff_share:
                        return i + j, 1, j
            i += cells
            place += 1
            if place == window:
                place = 0
            continue
        if quick and i % 64 == 0 and place % 8 == 0 and 0 < place <= window - 64 and n - i >= 64:
            w = words[i >> 6]
            # no byte of equal bits in the word, so no run in it above 14 either
            if not _has_constant_byte(w) and run[0] + 14 < cutoff_run:
                ones = _ones64(w)
                more = count[0] + (ones if first[0] else 64 - ones)
                if more < cutoff_share:
                    count[0] = more
                    byte = packed[(i >> 3) + 7]
                    last[0] = byte & 1
                    run[0] = _TAIL[byte]
                    i += 64
                    place += 64
                    if place == window:
                        place = 0
                    continue
        if quick and i % 8 == 0 and place % 8 == 0 and place > 0 and n - i >= 8:
            byte = packed[i >> 3]
            if byte != 0 and byte != 255 and run[0] + 7 < cutoff_run:
                ones = np.int32(_ONES[byte])
                count[0] += ones if first[0] else 8 - ones
                last[0] = byte & 1
                run[0] = _TAIL[byte]
                if count[0] >= cutoff_share:
                    # which of the eight it was: take the byte back and go bit by bit
                    count[0] -= ones if first[0] else 8 - ones
                    for j in range(8):
                        count[0] += ((byte >> (7 - j)) & 1) == first[0]
                        if count[0] >= cutoff_share:
                            return i + j, 1, 0
                i += 8
                place = (place + 8) % window
                continue
        b = (packed[i >> 3] >> (7 - (i & 7))) & 1
        found = watch_bit(b, cell, place == 0, cutoff_run, cutoff_share, last, run, first, count)
        if found:
            return i, found - 1, cell
        i += 1
        cell += 1
        if cell == cells:
            cell = 0
            place += 1
            if place == window:
                place = 0
    return -1, 0, 0


@numba.njit(inline="always")
def _has_constant_byte(w):  # type: ignore[no-untyped-def]
    """Whether one of the eight bytes may be 0 or 255 (a carry may say so of one that is not)."""
    low, high = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
    v = ~w
    return (((w - low) & v & high) | ((v - low) & w & high)) != np.uint64(0)


@numba.njit(inline="always")
def _ones64(x):  # type: ignore[no-untyped-def]
    one, two, four = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
    x -= (x >> np.uint64(1)) & one
    x = (x & two) + ((x >> np.uint64(2)) & two)
    x = (x + (x >> np.uint64(4))) & four
    return np.int32((x * np.uint64(0x0101010101010101)) >> np.uint64(56))
