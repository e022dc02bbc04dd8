"""The loops over the samples of a trace."""

from __future__ import annotations

from voltaspin.core.compiled import numba


@numba.njit(cache=True, nogil=True)
def follow(values, low, high, state, at, edges, width, counts, sums):  # type: ignore[no-untyped-def]
    """Follow the state of a trace through hysteresis: 1 above ``high``, 0 below ``low``, unchanged between them.

    Args:
        values: float64 (n,), the next ones; ``at``: number of the first.
        state: before them, -1 where it is not known yet.
        edges: int64 (n,), filled with the numbers of the samples at which the state changed.
        width: samples of a stretch; counts, sums: (stretches, 2) samples and values of each state, added to.

    Returns:
        The state behind them, the number of edges, and the first sample of the block with a known state, -1 for none.
    """
    n, known = 0, -1
    for i in range(values.shape[0]):
        v = values[i]
        new = 1 if v > high else (0 if v < low else state)
        if new != state:
            if state >= 0:
                edges[n] = at + i
                n += 1
            state = new
        if state >= 0:
            if known < 0:
                known = i
            stretch = min((at + i) // width, counts.shape[0] - 1)
            counts[stretch, state] += 1
            sums[stretch, state] += v
    return state, n, known


@numba.njit(cache=True, nogil=True)
def resolved(edges, begin, end, least, out):  # type: ignore[no-untyped-def]
    """Join every dwell that is shorter than ``least`` samples to the one before it.

    Args:
        edges: int64 (n,), where the state changes; ``begin``, ``end``: first sample and the one behind the last.
        least: samples of the shortest dwell that counts.
        out: int64 (n,), filled with the edges that are left.

    Returns:
        The number of edges left, whether the state at the beginning is the other one, and the new beginning.
    """
    n = edges.shape[0]
    first = 0  # number of the first dwell that is long enough
    at = begin
    while first < n and edges[first] - at < least:
        at = edges[first]
        first += 1
    kept, state = 0, 0
    for i in range(first, n):
        until = edges[i + 1] if i + 1 < n else end
        other = (i + 1 - first) % 2
        if other != state and until - edges[i] >= least:
            out[kept] = edges[i]
            kept += 1
            state = other
    return kept, first % 2, at
