"""From a count to a min-entropy: the formulas of SP 800-90B, section 6.3, which estimates and limits share."""

from __future__ import annotations

from math import exp, log, log1p, log2, sqrt

import numpy as np

Z = 2.5758293035489008  #: normal quantile of a 99 % interval; the document rounds it to 2.576, its program does not
COMMON = 35  # a tuple counts as common from here on (section 6.3.5)
BLOCK, DICTIONARY = 6, 1000  # bits of a block of the compression estimate, blocks that fill its dictionary
LEAST = (DICTIONARY + 2) * BLOCK  #: bits that every estimate can work on
SEGMENT = 10**6  #: bits that the standard assesses at once
PREDICTORS = ("multi_mcw", "lag", "multi_mmc", "lz78y")
ESTIMATES = ("most_common_value", "collision", "markov", "compression", "t_tuple", "lrs", *PREDICTORS)


def upper(p: float, n: int) -> float:
    """Min-entropy of the upper end of the 99 % interval of a proportion."""
    return -log2(min(1.0, p + Z * sqrt(p * (1 - p) / (n - 1)))) + 0.0


def from_collisions(twos: int, threes: int) -> float:
    """The collision estimate of so many waits of two and of three bits."""
    v = twos + threes
    mean = (2 * twos + 3 * threes) / v
    deviation = sqrt(twos * threes / v / (v - 1))
    low = mean - Z * deviation / sqrt(v)
    if low >= 2.5:
        return 1.0
    return -log2(0.5 + sqrt(max(1.25 - 0.5 * max(low, 2.0), 0.0))) + 0.0


def from_distances(target: float, blocks: int) -> float:
    """The compression estimate of a mean logarithm of distances, less its spread (6.3.4, steps 7 to 9)."""
    if expected_distance(2.0**-BLOCK, blocks) <= target:
        return 1.0
    from scipy.optimize import brentq

    p = brentq(lambda p: expected_distance(p, blocks) - target, 2.0**-BLOCK, 1.0, xtol=1e-15, rtol=1e-14)
    return min(1.0, -log2(p) / BLOCK + 0.0)


def expected_distance(p: float, blocks: int) -> float:
    """Mean logarithm of the distance of equal blocks where one block has the probability ``p`` (6.3.4, step 7)."""
    v = blocks - DICTIONARY

    def g(z: float) -> float:
        if z <= 0 or z >= 1:
            return 0.0
        # beyond this distance the terms are below e**-60 of the first
        u = np.arange(1, min(blocks, int(60 / z) + DICTIONARY) + 1, dtype=np.float64)
        decay = np.exp((u - 1) * log1p(-z))
        later = np.where(u < DICTIONARY + 1, v, blocks - u)  # blocks t > u after the dictionary
        return float((np.log2(u) * decay * (z * z * later + z * (u > DICTIONARY))).sum() / v)

    return g(p) + (2**BLOCK - 1) * g((1 - p) / (2**BLOCK - 1))


def predicted(right: int, longest: int, n: int) -> float:
    """Min-entropy of bits that were guessed: from the share of right guesses and from their longest run.

    Args:
        right: guesses that were.
        longest: run of right ones.
        n: guesses.
    """
    share = right / n
    p = min(1.0, share + Z * sqrt(share * (1 - share) / (n - 1))) if right else 1 - 0.01 ** (1 / n)
    p = max(p, 0.5)
    if p < 1 and _no_run(p, longest + 1, n) > log(0.99):
        p = local_probability(longest, n)
    return -log2(p) + 0.0


def local_probability(longest: int, n: int) -> float:
    """The chance of a right guess with which a longer run than ``longest`` stays out of ``n`` guesses with 99 %."""
    low, high = 0.0, 1.0
    while True:
        p = (low + high) / 2
        if not low < p < high:
            return high
        low, high = (p, high) if _no_run(p, longest + 1, n) > log(0.99) else (low, p)


def _no_run(p: float, r: int, n: int) -> float:
    """Logarithm of the probability that ``n`` guesses, right with ``p``, have no ``r`` right ones in a row.

    W. Feller, An Introduction to Probability Theory and its Applications, vol. 1, section XIII.7.
    """
    q = 1 - p
    x = 1.0
    for _ in range(10):
        rise = log(q) + r * log(p) + (r + 1) * log(x) if p > 0 else -1e4
        x = 1 + exp(min(rise, 700.0))
        if x > 2:  # no root: the run is all but certain
            return -1e300
    if p * x >= 1 or (r + 1 - r * x) <= 0:
        return -1e300
    return log1p(-p * x) - log((r + 1 - r * x) * q) - (n + 1) * log(x)
