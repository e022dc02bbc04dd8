"""Counting behind the examination, compiled: one pass over a sequence of one bit a byte, or over its pieces.

In this order: the tests of SP 800-22, the estimates of min-entropy, the four predictors, and the counts of all bits.

A predictor (SP 800-90B, sections 6.3.7 to 6.3.10) guesses each bit from those before it. Its kernel returns how often
the guess was right, the longest run of right guesses, and how many it made. Several guess side by side and keep a
score; the guess that counts is that of the one which had the best score, of equal ones that which reached it last.
"""

from __future__ import annotations

import numpy as np

from voltaspin.core.compiled import numba
from voltaspin.noise.health_kernels import watch_bit

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
    """Count how often each word of ``m`` bits begins in each of ``blocks`` equal blocks: int64 (blocks, 2**m)."""
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


@numba.njit(cache=True, nogil=True)
def collisions(s):  # type: ignore[no-untyped-def]
    """Count how often two, and how often three bits in a row were needed until one repeated."""
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


WINDOWS = np.array([63, 255, 1023, 4095])  # odd, so that two values never tie
LAGS = 128
DEPTH = 16  # bits of the longest context
ENTRIES = 100_000  # pairs of context and bit that one Markov model may keep
DICTIONARY = 65_536  # contexts that the dictionary of LZ78Y may keep


@numba.njit(inline="always")
def _scored(hit, right, run, longest):  # type: ignore[no-untyped-def]
    """Right guesses, the running run and the longest one, after one guess more."""
    run = (run + 1) * hit
    return right + hit, run, max(longest, run)


@numba.njit(cache=True, nogil=True)
def most_common_in_window(s):  # type: ignore[no-untyped-def]
    """By the more frequent bit of the last 63, 255, 1023 and 4095."""
    n, k = s.shape[0], WINDOWS.shape[0]
    ones = np.zeros(k, np.int64)
    score = np.zeros(k, np.int64)
    best, right, run, longest = 0, 0, 0, 0
    for i in range(n):
        if i >= WINDOWS[0]:
            guess = 1 if 2 * ones[best] > WINDOWS[best] else 0
            right, run, longest = _scored(guess == s[i], right, run, longest)
            for j in range(k):
                if i >= WINDOWS[j] and (2 * ones[j] > WINDOWS[j]) == (s[i] == 1):
                    score[j] += 1
                    if score[j] >= score[best]:
                        best = j
        for j in range(k):
            ones[j] += s[i]
            if i >= WINDOWS[j]:
                ones[j] -= s[i - WINDOWS[j]]
    return right, longest, n - WINDOWS[0]


@numba.njit(cache=True, nogil=True)
def lag(s):  # type: ignore[no-untyped-def]
    """By the bit that stood 1 to 128 places before."""
    n = s.shape[0]
    # backwards, so that the bits before one lie behind it; twos in front of the first bit equal nothing
    back = np.full(n + LAGS, 2, np.uint8)
    for i in range(n):
        back[n - 1 - i] = s[i]
    score = np.zeros(LAGS, np.int32)
    best, highest, right, run, longest = 0, np.int32(0), 0, 0, 0
    for i in range(1, n):
        b = s[i]
        before = back[n - i : n - i + LAGS]
        if before[best] == b:
            right += 1
            run += 1
            longest = max(longest, run)
        else:
            run = 0
        most = np.int32(0)
        for d in range(LAGS):
            same = np.int32(before[d] == b)
            score[d] += same
            most = max(most, score[d] * same)
        if most >= highest and most > 0:
            # one that was right now has the best score: the last of these is next
            highest = most
            d = LAGS - 1
            while score[d] != most or before[d] != b:
                d -= 1
            best = d
    return right, longest, n - 1


@numba.njit(cache=True, nogil=True)
def markov_models(s):  # type: ignore[no-untyped-def]
    """By what came most often after the last 1 to 16 bits; of two equal counts the one."""
    n = s.shape[0]
    # the counts after the context of d + 1 bits with the value x begin at 2 (2**(d + 1) - 2 + x)
    count = np.zeros(2 * (2 << DEPTH), np.int32)
    kept = np.zeros(DEPTH, np.int64)
    score = np.zeros(DEPTH, np.int32)
    hit = np.zeros(DEPTH, np.int32)
    best, highest, right, run, longest = 0, np.int32(0), 0, 0, 0
    context = np.int64(0)  # the bits before s[i], the last one lowest
    for i in range(1, n):
        context = ((context << 1) | s[i - 1]) & ((1 << DEPTH) - 1)
        b = np.int64(s[i])
        depth = min(DEPTH, i)
        most = np.int32(0)
        known = np.int32(i > 1)
        guessed = False
        for d in range(depth):
            at = 2 * ((2 << d) - 2 + (context & ((2 << d) - 1)))
            zeros, ones = count[at], count[at + 1]
            # where a context was not seen, no longer one was
            known &= np.int32((zeros | ones) > 0)
            hit[d] = known & np.int32((ones >= zeros) == (b == 1))
            score[d] += hit[d]
            most = max(most, score[d] * hit[d])
            guessed |= (d == best) & (known == 1)
            if count[at + b] > 0:
                count[at + b] += 1
            elif kept[d] < ENTRIES:
                kept[d] += 1
                count[at + b] = 1
        if guessed:
            right, run, longest = _scored(hit[best], right, run, longest)
        if most >= highest and most > 0:
            highest = most
            best = depth - 1
            while score[best] != most or not hit[best]:
                best -= 1
    return right, longest, n - 2


@numba.njit(cache=True, nogil=True)
def dictionary(s):  # type: ignore[no-untyped-def]
    """LZ78Y: by the context of 1 to 16 bits after which one bit came most often of all."""
    n = s.shape[0]
    count = np.zeros(2 * (2 << DEPTH), np.int32)
    size = 0
    right, run, longest = 0, 0, 0
    context = np.int64(0)  # the bits before s[i], the last one lowest
    for i in range(DEPTH):
        context = (context << 1) | s[i]
    for i in range(DEPTH, n):
        b = np.int64(s[i])
        most, guess = np.int32(0), np.int64(2)
        for d in range(DEPTH - 1, -1, -1):
            at = 2 * ((2 << d) - 2 + (context & ((2 << d) - 1)))
            zeros, ones = count[at], count[at + 1]
            larger = max(zeros, ones)
            guess = np.int64(ones >= zeros) if larger > most else guess
            most = max(most, larger)
            if larger == 0:
                if size >= DICTIONARY:
                    continue
                size += 1
            count[at + b] += 1
        if i > DEPTH:
            right, run, longest = _scored(guess == b, right, run, longest)
        context = ((context << 1) | b) & ((1 << DEPTH) - 1)
    return right, longest, n - DEPTH - 1


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
        watch_bit(b, cell, place == 0, cutoff_run, cutoff_share, last, run, first, count)
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


@numba.njit(cache=True, nogil=True)
def cell_pairs(bits, seen, ones, heads, history, both, beside, stretch):  # type: ignore[no-untyped-def]
    """Of each cell its ones, and how often a one follows a one: of its own at each lag, and of the cell before it.

    Args:
        bits: uint8 (n,), one bit a byte; bit ``i`` is of cell ``(seen + i) % n_cells``.
        seen: bits before.
        ones, beside, stretch: int64 (n_cells,): ones, ones of which the cell before read one in the same round, and
            ones of this stretch.
        heads, history: uint64 (n_cells,): the first bits (as many as lags) and the last 64, the latest lowest.
        both: int64 (n_cells, lags).
    """
    n_cells, lags = both.shape
    cell = seen % n_cells
    turn = seen // n_cells
    before = np.uint64(0) if cell == 0 else history[cell - 1] & np.uint64(1)
    for i in range(bits.shape[0]):
        b = np.uint64(bits[i])
        past = history[cell]
        if b:
            ones[cell] += 1
            stretch[cell] += 1
            beside[cell] += np.int64(before)
            for lag in range(lags):
                both[cell, lag] += np.int64((past >> np.uint64(lag)) & np.uint64(1))
        history[cell] = (past << np.uint64(1)) | b
        if turn < lags:
            heads[cell] = history[cell]
        before = b
        cell += 1
        if cell == n_cells:
            cell = 0
            turn += 1
            before = np.uint64(0)


@numba.njit(cache=True, nogil=True)
def comb_sums(values, periods):  # type: ignore[no-untyped-def]
    """Sum of the values at the multiples of each period: float64 (periods + 1,), nothing below the period 2."""
    out = np.zeros(periods + 1)
    for period in range(2, periods + 1):
        total = 0.0
        for at in range(period, values.shape[0], period):
            total += values[at]
        out[period] = total
    return out
