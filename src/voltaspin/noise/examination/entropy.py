"""Estimates of the min-entropy of bits: the ten of SP 800-90B, section 6.3.

Each is a bound from one way in which bits can be predictable, and the smallest is the assessment. They are
conservative: perfect bits are not given 1 but, one bit at a time, about 0.83 (the compression estimate). So no
threshold is "close to 1"; ``entropy_limits.py`` says which estimates perfect bits of the same number get. Simulated
bits have the entropy of their seed, whatever these numbers say.
"""

from __future__ import annotations

from math import exp, log, log1p, log2, sqrt
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.result import Result, Unit
from voltaspin.noise.examination import kernels
from voltaspin.noise.examination.sp800_22 import as_bits

Z = 2.5758293035489008  #: normal quantile of a 99 % interval; the document rounds it to 2.576, its program does not
COMMON = 35  # a tuple counts as common from here on (section 6.3.5)
BLOCK, DICTIONARY = 6, 1000  # bits of a block of the compression estimate, blocks that fill its dictionary
LEAST = (DICTIONARY + 2) * BLOCK  #: bits that every estimate can work on
SEGMENT = 10**6  #: bits that the standard assesses at once
PREDICTORS = ("multi_mcw", "lag", "multi_mmc", "lz78y")
ESTIMATES = ("most_common_value", "collision", "markov", "compression", "t_tuple", "lrs", *PREDICTORS)

_Entropy = Annotated[float, Unit("bit/bit")]


class EntropyEstimates(Result):
    """Min-entropy, bit per bit, by each estimate.

    Args:
        n_bits: number of bits that were assessed.
        most_common_value, collision, markov, compression, t_tuple, lrs, multi_mcw, lag, multi_mmc, lz78y: see the
            functions of these names.
        minimum: the assessment, the smallest of the ten.
    """

    KIND: ClassVar[str] = "min-entropy"

    n_bits: int
    most_common_value: _Entropy
    collision: _Entropy
    markov: _Entropy
    compression: _Entropy
    t_tuple: _Entropy
    lrs: _Entropy
    multi_mcw: _Entropy
    lag: _Entropy
    multi_mmc: _Entropy
    lz78y: _Entropy
    minimum: _Entropy

    @classmethod
    def of(cls, n_bits: int, values: dict[str, Any], **more: Any) -> EntropyEstimates:
        """Build from the value of each estimate by name."""
        return cls(n_bits=n_bits, **values, minimum=min(values.values()), **more)

    @property
    def limiting(self) -> str:
        """Name of the smallest estimate."""
        return min(ESTIMATES, key=lambda name: float(getattr(self, name)))


def estimate(bits: NDArray[Any] | bytes | bytearray | Path | str, *, n_bits: int | None = None) -> EntropyEstimates:
    """Return all ten estimates.

    Args:
        bits: as in :func:`voltaspin.noise.sp800_22.run`.
        n_bits: assess the first so many; the standard wants 10**6.

    Raises:
        InputError: fewer than 6,012 bits, which the compression estimate needs, or as there.

    Source: NIST SP 800-90B (2018), section 6.3.
    """
    s = as_bits(bits, n_bits)
    return EntropyEstimates.of(s.size, estimates_and_guesses(s)[0])


class Guesses(NamedTuple):
    """Score of a predictor: right guesses, the longest run of them, and all guesses.

    A guess of a fair bit is right with 1/2, whatever came before.
    """

    right: int
    longest: int
    n: int


def estimates_and_guesses(s: NDArray[np.uint8]) -> tuple[dict[str, float], tuple[Guesses, ...]]:
    """Return the ten estimates by name and the scores of the four predictors; ``s`` is checked, one bit a byte."""
    if s.size < LEAST:
        raise InputError(f"{s.size} bits are too few for the estimates; give at least {LEAST}, better 1000000")
    guesses = guess(s)
    common, repeated = _tuples(s)
    values = (
        most_common_value(s), collision(s), markov(s), compression(s), _t_tuple(s.size, common),
        _lrs(s.size, common, repeated), *(predicted(*g) for g in guesses),
    )  # fmt: skip
    return dict(zip(ESTIMATES, values, strict=True)), guesses


def guess(s: NDArray[np.uint8]) -> tuple[Guesses, ...]:
    """Return the scores of the four predictors on bits, one a byte."""
    return tuple(Guesses(*map(int, f(s))) for f in _PREDICT)


_PREDICT = (kernels.most_common_in_window, kernels.lag, kernels.markov_models, kernels.dictionary)


def most_common_value(s: NDArray[np.uint8]) -> float:
    """Estimate from the more frequent bit (6.3.1)."""
    ones = int(np.count_nonzero(s))
    return upper(max(ones, s.size - ones) / s.size, s.size)


def collision(s: NDArray[np.uint8]) -> float:
    """Estimate from the mean number of bits until one repeats (6.3.2); it is 2 + 2 p (1 - p)."""
    return from_collisions(*kernels.collisions(s))


def markov(s: NDArray[np.uint8]) -> float:
    """Estimate from the likeliest path of 128 bits of a first-order Markov chain (6.3.3)."""
    ones = int(np.count_nonzero(s))
    first = np.array([s.size - ones, ones]) / s.size
    pairs = np.bincount(2 * s[:-1].astype(np.int64) + s[1:], minlength=4).reshape(2, 2)
    step = pairs / np.maximum(pairs.sum(axis=1, keepdims=True), 1)
    with np.errstate(divide="ignore"):
        p, t = np.log2(first), np.log2(step)
    # staying, alternating, or changing once, from either bit; a path that is impossible counts -inf
    paths = [
        p[0] + 127 * t[0, 0], p[0] + 64 * t[0, 1] + 63 * t[1, 0], p[0] + t[0, 1] + 126 * t[1, 1],
        p[1] + t[1, 0] + 126 * t[0, 0], p[1] + 64 * t[1, 0] + 63 * t[0, 1], p[1] + 127 * t[1, 1],
    ]  # fmt: skip
    return min(1.0, -float(max(paths)) / 128 + 0.0)


def compression(s: NDArray[np.uint8]) -> float:
    """Estimate from the mean logarithm of the distance between equal blocks of six bits (6.3.4)."""
    blocks = s.size // BLOCK
    v = blocks - DICTIONARY
    total, squares = kernels.block_distances(s, BLOCK, DICTIONARY)
    mean = total / v
    deviation = 0.5907 * sqrt(max(squares / (v - 1) - mean**2, 0.0))
    return from_distances(mean - Z * deviation / sqrt(v), blocks)


def t_tuple(s: NDArray[np.uint8]) -> float:
    """Estimate from the most common tuple of every length at which one occurs 35 times (6.3.5)."""
    return _t_tuple(s.size, _tuples(s)[0])


def lrs(s: NDArray[np.uint8]) -> float:
    """Estimate from the pairs of equal tuples longer than those, up to the longest repeated one (6.3.6)."""
    return _lrs(s.size, *_tuples(s))


def multi_mcw(s: NDArray[np.uint8]) -> float:
    """Estimate from guesses by the more frequent bit of the last 63 to 4,095 (6.3.7)."""
    return predicted(*kernels.most_common_in_window(s))


def lag(s: NDArray[np.uint8]) -> float:
    """Estimate from guesses by the bit 1 to 128 places before (6.3.8)."""
    return predicted(*kernels.lag(s))


def multi_mmc(s: NDArray[np.uint8]) -> float:
    """Estimate from guesses by what followed the last 1 to 16 bits most often (6.3.9)."""
    return predicted(*kernels.markov_models(s))


def lz78y(s: NDArray[np.uint8]) -> float:
    """Estimate from guesses by a dictionary of strings of up to 16 bits (6.3.10)."""
    return predicted(*kernels.dictionary(s))


def _t_tuple(n: int, common: NDArray[np.int64]) -> float:
    lengths = np.flatnonzero(common >= COMMON)
    lengths = lengths[lengths > 0]
    if lengths.size == 0:
        return 1.0
    p = (common[lengths] / (n - lengths + 1)) ** (1 / lengths)
    return upper(float(p.max()), n)


def _lrs(n: int, common: NDArray[np.int64], repeated: NDArray[np.float64]) -> float:
    lengths = np.flatnonzero((common < COMMON) & (repeated > 0))
    lengths = lengths[lengths > 0]
    if lengths.size == 0:
        # no tuple is repeated that is not common: the longest repeated tuple is a common one
        return _t_tuple(n, common)
    windows = n - lengths + 1.0
    p = (repeated[lengths] / (windows * (windows - 1) / 2)) ** (1 / lengths)
    return upper(float(p.max()), n)


def _tuples(s: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each length the count of its most common tuple, and its pairs of equal tuples: (longest + 1,) each.

    Two places begin with the same tuple of W bits where the suffixes that begin there share W bits. In the
    order of the alphabet the neighbours share most, so joining neighbours from the longest common prefix down
    gives the classes of equal tuples of every length at once, in n log n for any bits.
    """
    common, pairs = kernels.joined(kernels.common_prefixes(s, suffix_array(s)))
    return common, pairs


def suffix_array(s: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the places of ``s`` in the alphabetical order of the suffixes that begin there, by prefix doubling."""
    n = s.size
    span = 56
    key = kernels.leading_words(s, span)
    while True:
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        rank = np.empty(n, np.int64)
        rank[order] = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])
        if rank[order[-1]] == n - 1 or span >= n:
            return order
        behind = np.zeros(n, np.int64)
        behind[: n - span] = rank[span:] + 1
        key = rank * (n + 1) + behind
        span *= 2


# From a count to a min-entropy: formulas that the limits share


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
