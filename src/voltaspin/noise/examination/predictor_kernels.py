"""Guessing each bit from those before it: the four predictors of SP 800-90B, sections 6.3.7 to 6.3.10.

Each kernel returns how often its guess was right, its longest run of right guesses, and how many it made. Several
guess side by side and keep a score; the guess that counts is that of the one which had the best score, of equal ones
that which reached it last.
"""

from __future__ import annotations

import numpy as np

from voltaspin.core.compiled import numba

WINDOWS = np.array([63, 255, 1023, 4095])  # odd, so that two values never tie
LAGS = 128
DEPTH = 16  # bits of the longest context
ENTRIES = 100_000  # pairs of context and bit that one Markov model may keep
DICTIONARY = 65_536  # contexts that the dictionary of LZ78Y may keep


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
            if guess == s[i]:
                right += 1
                run += 1
                longest = max(longest, run)
            else:
                run = 0
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
            run = (run + 1) * hit[best]
            right += hit[best]
            longest = max(longest, run)
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
            run = run + 1 if guess == b else 0
            right += guess == b
            longest = max(longest, run)
        context = ((context << 1) | b) & ((1 << DEPTH) - 1)
    return right, longest, n - DEPTH - 1
