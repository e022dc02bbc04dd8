"""The estimates of min-entropy that perfect bits get: limits at any rate of false alarms, without simulation.

For independent fair bits the distribution behind each estimate is known, so that a limit of one in a million can be
had as well as one of one in ten:

- Every guess of a predictor is right with 1/2, whatever came before: a binomial number of right guesses, and a run of r
  among N with a probability of at most N 2^-(r+1) + 2^-r.
- Ones, collisions and transitions are binomial; the distances of the compression estimate have a mean that is
  asymptotically normal, with the standard's own factor for the dependence of neighbouring distances.
- A tuple, and a pair of equal tuples, occurs in clumps because it overlaps with itself: a Polya-Aeppli number of times
  (G. Reinert, S. Schbath, M. S. Waterman, J. Comput. Biol. 7, 1 (2000)), whose tail is bounded by Chernoff's
  inequality, summed over lengths and periods.

Bounds are added where events overlap, so the rate of false alarms is at most the one asked for;
``tests/noise/test_entropy_limits.py`` simulates it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import ceil, log2, sqrt

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.result import Part
from voltaspin.noise.examination import entropy
from voltaspin.noise.examination.entropy import ESTIMATES


class EntropyLimits(Part):
    """Limits that perfect bits stay above.

    Args:
        n_bits: length of the sequence.
        false_alarm: the probability, at most, with which perfect bits fall below any of them.
        lower: limit of each estimate by name; 0 where the sequence is too short for one.
    """

    n_bits: int
    false_alarm: float
    lower: dict[str, float]

    def below(self, found: object) -> tuple[str, ...]:
        """Return the estimates that are lower than perfect bits would give."""
        return tuple(name for name in ESTIMATES if getattr(found, name) < self.lower[name])


def limits(n_bits: int, *, false_alarm: float) -> EntropyLimits:
    """Return the limits of one sequence; the ten estimates share the probability evenly.

    Args:
        n_bits: of the sequence, at least :data:`voltaspin.noise.examination.entropy.LEAST`.
        false_alarm: with which perfect bits fall below one of the ten, at most.

    Raises:
        InputError: too few bits, or a probability outside 0 to 1.
    """
    if n_bits < entropy.LEAST or not 0 < false_alarm < 1:
        raise InputError(
            f"{n_bits} bits and a false alarm of {false_alarm:g}: give at least {entropy.LEAST} bits and a "
            "probability between 0 and 1"
        )
    each = false_alarm / len(ESTIMATES)
    lower = {name: limit(name, n_bits, each) for name in ESTIMATES}
    return EntropyLimits(n_bits=n_bits, false_alarm=false_alarm, lower=lower)


@cache
def limit(name: str, n: int, alpha: float) -> float:
    """Return the limit below which one estimate of ``n`` perfect bits lies with a probability of ``alpha``, at most."""
    made: dict[str, Callable[[int, float], float]] = {
        "most_common_value": _most_common_value, "collision": _collision, "markov": _markov,
        "compression": _compression, "t_tuple": _t_tuple, "lrs": _lrs,
    }  # fmt: skip
    return made.get(name, _predictor)(n, alpha)


def _right(alpha: float, n: int) -> int:
    """The number that fair bits exceed with a probability of at most ``alpha``."""
    from scipy.stats import binom

    return int(binom.isf(alpha, n, 0.5))


def _most_common_value(n: int, alpha: float) -> float:
    return entropy.upper(_right(alpha / 2, n) / n, n)


def _predictor(n: int, alpha: float) -> float:
    longest = ceil(log2(n / alpha)) - 1  # N 2^-(r+1) + 2^-r <= alpha / 2 for the run after it, r = longest + 1
    return entropy.predicted(_right(alpha / 2, n), longest, n)


def _collision(n: int, alpha: float) -> float:
    v = int(n / 2.5)
    for _ in range(5):  # more waits of two bits leave room for more waits
        twos = _right(alpha, v)
        v = int(n / (3 - twos / v))
    return entropy.from_collisions(twos, v - twos)


def _markov(n: int, alpha: float) -> float:
    # three ways: staying with zeros, staying with ones, alternating (which has the smaller spread)
    visits = n // 2
    stay = min(1.0, _right(alpha / 3, visits) / visits)
    first = min(1.0, _right(alpha / 3, n) / n)
    return min(1.0, -(log2(first) + 127 * log2(stay)) / 128)


def _compression(n: int, alpha: float) -> float:
    from scipy.special import ndtri

    blocks = n // 6
    v = blocks - 1000
    if v < 300:
        return 0.0  # the mean of so few distances is not normal
    u = np.arange(1, 2000)
    chance = 0.984375 ** (u - 1) / 64
    mean, square = float((chance * np.log2(u)).sum()), float((chance * np.log2(u) ** 2).sum())
    deviation = sqrt(square - mean**2)
    z = -float(ndtri(alpha))
    # of few distances the mean, and the spread that the estimate takes off it, vary more: simulated, 1.18 times at
    # v = 350, 1.13 at 666, 1.04 at 4,000, 1.01 at 15,666
    wide = entropy.Z + z * (1 + 3.5 / sqrt(v))
    return entropy.from_distances(
        entropy.expected_distance(1 / 64, blocks) - wide * 0.5907 * deviation / sqrt(v), blocks
    )


def clumped(mean: float, k: NDArray[np.float64], theta: float) -> NDArray[np.float64]:
    """Return Chernoff's bound of P(X >= k), X of Polya and Aeppli: a clump grows with ``theta``, ``mean`` in all."""
    rate = mean * (1 - theta)
    a = rate * (1 - theta)
    y = (2 * k * theta + a - np.sqrt((2 * k * theta + a) ** 2 - (2 * k * theta) ** 2)) / (2 * k * theta**2)
    bound = np.exp(np.minimum(rate * ((1 - theta) * y / (1 - theta * y) - 1) - k * np.log(y), 0.0))
    return np.where(k <= mean, 1.0, np.minimum(bound, rate))


def _root(exceeded: Callable[[float], float], alpha: float) -> float:
    """The p from 1/2 to 1 that is exceeded with a probability of ``alpha``."""
    low, high = 0.5, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if exceeded(middle) > alpha else (low, middle)
    return high


def _t_tuple(n: int, alpha: float) -> float:
    lengths = np.arange(1, int(log2(n)) + 20)

    def exceeded(p: float) -> float:
        total = 0.0
        for w in lengths:
            places = n - w + 1.0
            k = np.array(max(entropy.COMMON, ceil(p**w * places)), float)
            mean = places * 2.0**-w
            # by the period of the pattern: 2^period patterns, of which the next one overlaps with 2^-period
            for period in range(1, min(int(w), 8) + 1):
                total += 2.0**period * float(clumped(mean, k, 2.0**-period))
            if w > 8:
                total += 2.0**w * float(clumped(mean, k, 2.0**-9))
        return total

    return entropy.upper(_root(exceeded, alpha), n)


def _lrs(n: int, alpha: float) -> float:
    # shorter tuples occur 35 times; the longest repeated one of fair bits has 2 log2(n) bits and a few more
    w = np.arange(max(1, int(log2(n / entropy.COMMON))), int(2 * log2(n) - log2(alpha)) + 20, dtype=float)
    places = n - w + 1
    pairs = places * (places - 1) / 2

    def exceeded(p: float) -> float:
        k = np.maximum(1.0, np.ceil(p**w * pairs))
        return float(sum(clumped(m, x, 0.5) for m, x in zip(pairs * 2.0**-w, k, strict=True)))

    return entropy.upper(_root(exceeded, alpha), n)
