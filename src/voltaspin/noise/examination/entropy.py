"""Estimates of the min-entropy of bits: the ten of SP 800-90B, section 6.3.

Each is a bound from one way in which bits can be predictable, and the smallest is the assessment. They are
conservative: perfect bits are not given 1 but, one bit at a time, about 0.83 (the compression estimate). So no
threshold is "close to 1"; ``entropy_limits.py`` says what bits of the same number from a perfect
source get. Simulated bits have the entropy of their seed, whatever these numbers say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.noise.examination import entropy_kernels as kernels
from voltaspin.noise.examination import predictor_kernels as predictors
from voltaspin.noise.examination.entropy_formulas import (
    BLOCK,
    COMMON,
    DICTIONARY,
    ESTIMATES,
    LEAST,
    SEGMENT,
    Z,
    from_collisions,
    from_distances,
    predicted,
    upper,
)
from voltaspin.noise.examination.entropy_limits import limit
from voltaspin.noise.examination.sp800_22 import as_bits
from voltaspin.random.streams import Stream

__all__ = [
    "ESTIMATES", "LEAST", "SEGMENT", "EntropyEstimates", "IdealLimits", "Z", "collision", "compression", "estimate",
    "ideal_limits", "lag", "lrs", "lz78y", "markov", "most_common_value", "multi_mcw", "multi_mmc", "suffix_array",
    "t_tuple",
]  # fmt: skip


@dataclass(frozen=True)
class EntropyEstimates:
    """Min-entropy, bit per bit, by each estimate.

    Args:
        n_bits: that were assessed.
        most_common_value, collision, markov, compression, t_tuple, lrs, multi_mcw, lag, multi_mmc, lz78y: see the
            functions of these names.
    """

    n_bits: int
    most_common_value: float
    collision: float
    markov: float
    compression: float
    t_tuple: float
    lrs: float
    multi_mcw: float
    lag: float
    multi_mmc: float
    lz78y: float

    @property
    def minimum(self) -> float:
        """The assessment: the smallest of the ten."""
        return min(getattr(self, name) for name in ESTIMATES)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "minimum": self.minimum}

    def __str__(self) -> str:
        rows = [f"{name.replace('_', ' '):18} {getattr(self, name):.4f}" for name in ESTIMATES]
        return "\n".join([*rows, f"{'assessment':18} {self.minimum:.4f} bit per bit of {self.n_bits} bits"])


def estimate(bits: NDArray[Any] | bytes | bytearray | Path | str, *, n_bits: int | None = None) -> EntropyEstimates:
    """All ten estimates.

    Args:
        bits: as in :func:`voltaspin.noise.examination.sp800_22.run`.
        n_bits: assess the first so many; the standard wants 10**6.

    Raises:
        InputError: fewer than 6,012 bits, which the compression estimate needs, or as there.
    """
    return estimate_and_guesses(as_bits(bits, n_bits))[0]


@dataclass(frozen=True)
class Guesses:
    """How a predictor fared: of fair coins every guess is right with 1/2, whatever came before.

    Args:
        right: guesses that were.
        longest: run of right ones.
        n: guesses.
    """

    right: int
    longest: int
    n: int

    @property
    def entropy(self) -> float:
        return predicted(self.right, self.longest, self.n)


def estimate_and_guesses(s: NDArray[np.uint8]) -> tuple[EntropyEstimates, tuple[Guesses, ...]]:
    """:func:`estimate` of bits that are checked, one a byte, and what its four predictors guessed."""
    if s.size < LEAST:
        raise InputError(f"{s.size} bits are too few for the estimates; give at least {LEAST}, better 1000000")
    guesses = guess(s)
    common, repeated = _tuples(s)
    found = EntropyEstimates(
        s.size, most_common_value(s), collision(s), markov(s), compression(s), _t_tuple(s.size, common),
        _lrs(s.size, common, repeated), *(g.entropy for g in guesses),
    )  # fmt: skip
    return found, guesses


def guess(s: NDArray[np.uint8]) -> tuple[Guesses, ...]:
    """What the four predictors make of bits, one a byte."""
    return tuple(Guesses(*map(int, f(s))) for f in _PREDICT)


_PREDICT = (predictors.most_common_in_window, predictors.lag, predictors.markov_models, predictors.dictionary)


def most_common_value(s: NDArray[np.uint8]) -> float:
    """From the more frequent bit (6.3.1)."""
    ones = int(np.count_nonzero(s))
    return upper(max(ones, s.size - ones) / s.size, s.size)


def collision(s: NDArray[np.uint8]) -> float:
    """From the mean number of bits until one repeats (6.3.2); for bits it is 2 + 2 p (1 - p)."""
    return from_collisions(*kernels.collisions(s))


def markov(s: NDArray[np.uint8]) -> float:
    """From the likeliest path of 128 bits of a first-order Markov chain (6.3.3)."""
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
    """From the mean logarithm of the distance between equal blocks of six bits (6.3.4)."""
    blocks = s.size // BLOCK
    v = blocks - DICTIONARY
    total, squares = kernels.block_distances(s, BLOCK, DICTIONARY)
    mean = total / v
    deviation = 0.5907 * sqrt(max(squares / (v - 1) - mean**2, 0.0))
    return from_distances(mean - Z * deviation / sqrt(v), blocks)


def t_tuple(s: NDArray[np.uint8]) -> float:
    """From the most common tuple of every length at which one occurs 35 times (6.3.5)."""
    return _t_tuple(s.size, _tuples(s)[0])


def lrs(s: NDArray[np.uint8]) -> float:
    """From the pairs of equal tuples longer than those, up to the longest repeated one (6.3.6)."""
    return _lrs(s.size, *_tuples(s))


def multi_mcw(s: NDArray[np.uint8]) -> float:
    """From guesses by the more frequent bit of the last 63 to 4,095 (6.3.7)."""
    return predicted(*predictors.most_common_in_window(s))


def lag(s: NDArray[np.uint8]) -> float:
    """From guesses by the bit 1 to 128 places before (6.3.8)."""
    return predicted(*predictors.lag(s))


def multi_mmc(s: NDArray[np.uint8]) -> float:
    """From guesses by what followed the last 1 to 16 bits most often (6.3.9)."""
    return predicted(*predictors.markov_models(s))


def lz78y(s: NDArray[np.uint8]) -> float:
    """From guesses by a dictionary of strings of up to 16 bits (6.3.10)."""
    return predicted(*predictors.dictionary(s))


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
    order = suffix_array(s)
    prefixes = kernels.common_prefixes(s, order)
    common, pairs = kernels.joined(prefixes)
    return common, pairs


def suffix_array(s: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Places of ``s`` in the alphabetical order of the suffixes that begin there, by prefix doubling."""
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


@dataclass(frozen=True)
class IdealLimits:
    """What perfect bits get, simulated.

    Args:
        n_bits: per sequence.
        sequences: simulated.
        mean, deviation: of each estimate, by name.
        lower: limit of each that a perfect source stays above but once in a thousand sequences.
    """

    n_bits: int
    sequences: int
    mean: dict[str, float]
    deviation: dict[str, float]
    lower: dict[str, float]

    def below(self, found: EntropyEstimates) -> tuple[str, ...]:
        """Estimates that are lower than perfect bits would give."""
        return tuple(name for name in ESTIMATES if getattr(found, name) < self.lower[name])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def ideal_limits(
    n_bits: int, *, sequences: int = 20, progress: Callable[[int, int], None] | None = None
) -> IdealLimits:
    """Mean and spread from simulated perfect bits, kept for the rest of the process, and the computed limits.

    Args:
        n_bits: of the sequence that is to be judged.
        sequences: to simulate, at least 3.
        progress: called with (sequences done, in all).
    """
    if sequences < 3:
        raise InputError(f"{sequences} sequences show no spread; simulate at least 3")
    table = _simulated(n_bits, sequences, progress)
    mean, deviation = (
        dict(zip(ESTIMATES, map(float, row), strict=True)) for row in (table.mean(axis=0), table.std(axis=0, ddof=1))
    )
    return IdealLimits(n_bits, sequences, mean, deviation, {name: limit(name, n_bits, 1e-3) for name in ESTIMATES})


_kept: dict[tuple[int, int], NDArray[np.float64]] = {}


def _simulated(n_bits: int, sequences: int, progress: Callable[[int, int], None] | None) -> NDArray[np.float64]:
    if (n_bits, sequences) not in _kept:
        rows = []
        for i in range(sequences):
            words = Stream.of(0, "entropy", "ideal", n_bits, stream=i).words(-(-n_bits // 32))
            found = estimate(words.tobytes(), n_bits=n_bits)
            rows.append([getattr(found, name) for name in ESTIMATES])
            if progress is not None:
                progress(i + 1, sequences)
        _kept[n_bits, sequences] = np.array(rows)
    return _kept[n_bits, sequences]
