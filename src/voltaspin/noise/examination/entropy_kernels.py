"""Counting behind the estimates of min-entropy."""

from __future__ import annotations

import numpy as np

from voltaspin.core.compiled import numba


@numba.njit(cache=True, nogil=True)
def collisions(s):  # type: ignore[no-untyped-def]
    """How often two, and how often three bits in a row were needed until one repeated."""
    twos, threes, i, n = 0, 0, 0, s.shape[0]
    while i < n - 1:
        if s[i] == s[i + 1]:
            twos += 1
            i += 2
        elif i < n - 2:
            threes += 1
            i += 3
        else:
            break
    return twos, threes


@numba.njit(cache=True, nogil=True)
def block_distances(s, b, d):  # type: ignore[no-untyped-def]
    """Sums over the blocks after the first ``d`` of log2 of the distance to the last equal one, and its square."""
    last = np.zeros(2**b, np.int64)
    total, squares = 0.0, 0.0
    for i in range(1, s.shape[0] // b + 1):
        word = 0
        for j in range((i - 1) * b, i * b):
            word = (word << 1) | s[j]
        if i > d:
            x = np.log2(np.float64(i - last[word]))
            total += x
            squares += x * x
        last[word] = i
    return total, squares


@numba.njit(cache=True, nogil=True)
def leading_words(s, span):  # type: ignore[no-untyped-def]
    """The next ``span`` (at most 57) bits of every place and, below them, how many there are: int64 (n,).

    Their order is that of the alphabet: where the end cuts a word off, zeros stand in and the shorter is first.
    """
    n = s.shape[0]
    out = np.empty(n, np.int64)
    word = np.int64(0)
    for i in range(n - 1, -1, -1):
        word = (word >> 1) | (np.int64(s[i]) << (span - 1))
        out[i] = (word << 6) | min(span, n - i)
    return out


@numba.njit(cache=True, nogil=True)
def common_prefixes(s, order):  # type: ignore[no-untyped-def]
    """Bits that neighbours in the order of the suffixes share: int64 (n - 1,).

    T. Kasai et al., CPM 2001, LNCS 2089, 181.
    """
    n = s.shape[0]
    rank = np.empty(n, np.int64)
    for r in range(n):
        rank[order[r]] = r
    out = np.zeros(n - 1, np.int64)
    h = 0
    for i in range(n):
        if rank[i] == 0:
            h = 0
            continue
        j = order[rank[i] - 1]
        while i + h < n and j + h < n and s[i + h] == s[j + h]:
            h += 1
        out[rank[i] - 1] = h
        if h > 0:
            h -= 1
    return out


@numba.njit(cache=True, nogil=True)
def joined(prefixes):  # type: ignore[no-untyped-def]
    """Largest class, and pairs in one class, of places that share W bits, for W from 0 to the longest prefix."""
    n = prefixes.shape[0] + 1
    longest = prefixes.max()
    start = np.zeros(longest + 2, np.int64)
    for p in prefixes:
        start[p + 1] += 1
    for w in range(longest + 1):
        start[w + 1] += start[w]
    by_length = np.empty(n - 1, np.int64)
    at = start[:-1].copy()
    for i in range(n - 1):
        by_length[at[prefixes[i]]] = i
        at[prefixes[i]] += 1
    parent = np.arange(n)
    size = np.ones(n, np.int64)
    common = np.ones(longest + 1, np.int64)
    pairs = np.zeros(longest + 1, np.float64)
    largest, total = np.int64(1), 0.0
    for w in range(longest, -1, -1):
        for x in range(start[w], start[w + 1]):
            a, b = by_length[x], by_length[x] + 1
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = parent[a]
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = parent[b]
            total += np.float64(size[a]) * np.float64(size[b])
            if size[a] < size[b]:
                a, b = b, a
            parent[b] = a
            size[a] += size[b]
            largest = max(largest, size[a])
        common[w] = largest
        pairs[w] = total
    return common, pairs
