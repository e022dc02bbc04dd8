"""The fifteen tests of NIST SP 800-22 rev. 1a on bits from anywhere.

``run`` tests one sequence, ``assess`` many (``randomness.py``). The names of the tests are
those of NIST's final report, the parameters its defaults.

Two sets of constants. ``"nist"``, the default, gives the P-values of NIST's own program, so that results can be
compared with published ones. ``"corrected"`` takes the exact probabilities of the classes where the program has
rounded or approximate ones: of the longest run (four decimals in the program for blocks of 10,000), of the
overlapping template (a Poisson approximation there; exact: K. Hamano and T. Kaneko, IEICE Trans. A 90, 1788
(2007)), and in the universal test the 1000 2**L blocks for which its correction was fitted in place of all that
are there. On good bits the two differ in the second digit at most of them; over thousands of sequences the
overlapping template fails by NIST's constants alone.

What a small P-value means: bits this unusual come from a perfect source with that probability. Passing proves
nothing, least of all entropy: simulated bits pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise
from math import ceil, erfc, exp, lgamma, log, sqrt
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.noise.examination import kernels
from voltaspin.noise.examination.kernels import block_distances
from voltaspin.noise.examination.p_values import TestResult, TestResults

Constants = Literal["nist", "corrected"]
Bits = NDArray[np.uint8]

LONGEST = 10**7  #: bits of one sequence; more are a case for many sequences
TESTS = (
    "Frequency", "BlockFrequency", "CumulativeSums", "Runs", "LongestRun", "Rank", "FFT", "NonOverlappingTemplate",
    "OverlappingTemplate", "Universal", "ApproximateEntropy", "RandomExcursions", "RandomExcursionsVariant",
    "Serial", "LinearComplexity",
)  # fmt: skip


class _UnfitError(Exception):
    """The sequence does not serve a test; the message is the reason."""


#: P-values by variant, or the only one.
_Found = float | Mapping[str, float]


def run(
    bits: NDArray[Any] | bytes | bytearray | Path | str,
    constants: Constants = "nist",
    *,
    n_bits: int | None = None,
    block: int = 128,
    template: int = 9,
    entropy_block: int = 10,
    serial_block: int = 16,
    complexity_block: int = 500,
) -> TestResults:
    """Run all fifteen tests on one sequence.

    Args:
        bits: an array of 0 and 1 (bool or any integer type), bytes with eight bits each (the highest first), or
            the path of a file of such bytes. It is never changed.
        constants: ``"nist"`` or ``"corrected"``, see the top of this file.
        n_bits: test the first so many; None tests all.
        block: bits of a block of the block frequency test.
        template: bits of the templates; with 9 the non-overlapping test has 148 P-values.
        entropy_block, serial_block, complexity_block: bits of the blocks of these tests.

    Returns:
        One result per P-value, in the order of the document. A test for which the sequence is too short or
        otherwise unfit has ``p_value`` None and says why.

    Raises:
        InputError: no bits, more than 10**7, values other than 0 and 1, or unknown constants.

    Source: NIST SP 800-22 rev. 1a (2010).
    """
    if constants not in get_args(Constants):
        raise InputError(f"constants {constants!r} are unknown; use 'nist' or 'corrected'")
    for name, value, low, high in (
        ("block", block, 2, 10**6), ("template", template, 2, 16), ("entropy_block", entropy_block, 1, 20),
        ("serial_block", serial_block, 3, 20), ("complexity_block", complexity_block, 16, 5000),
    ):  # fmt: skip
        if not low <= value <= high:
            raise InputError(f"{name} = {value} bits: give {low} to {high}")
    s, exact = as_bits(bits, n_bits), constants == "corrected"
    n = s.size
    ring = kernels.windows(np.resize(s, n + (m := max(serial_block, entropy_block + 1)) - 1), m, 1)[0]
    walk = np.cumsum(2 * s.view(np.int8) - 1, dtype=np.int32)
    #: name, fewest bits, variants where there are several, test
    tests: tuple[tuple[str, int, tuple[str, ...], Callable[[], _Found]], ...] = (
        ("Frequency", 100, (), lambda: erfc(abs(int(walk[-1])) / sqrt(2 * n))),
        ("BlockFrequency", max(100, block), (), lambda: _block_frequency(s, block)),
        ("CumulativeSums", 100, ("forward", "reverse"), lambda: _cumulative_sums(walk)),
        ("Runs", 100, (), lambda: _runs(s)),
        ("LongestRun", 128, (), lambda: _longest_run(s, exact)),
        ("Rank", 38 * _RANK**2, (), lambda: _rank(s)),
        ("FFT", 1000, (), lambda: _spectrum(s)),
        # five matches to be expected in each block
        ("NonOverlappingTemplate", _BLOCKS * (5 * 2**template + template - 1), templates(template),
         lambda: _non_overlapping(s, template)),
        ("OverlappingTemplate", 0, (), lambda: _overlapping(s, template, exact)),
        ("Universal", 1010 * 2**6 * 6, (), lambda: _universal(s, exact)),
        ("ApproximateEntropy", 2 ** (entropy_block + 6), (), lambda: _approximate_entropy(ring, n, entropy_block)),
        ("RandomExcursions", 0, _STATES, lambda: _excursions(walk)),
        ("RandomExcursionsVariant", 0, _MANY_STATES, lambda: _excursions_variant(walk)),
        ("Serial", 2 ** (serial_block + 3), ("first", "second"), lambda: _serial(ring, n, serial_block)),
        ("LinearComplexity", 200 * complexity_block, (), lambda: _linear_complexity(s, complexity_block)),
    )  # fmt: skip
    results: list[TestResult] = []
    for name, least, variants, test in tests:
        try:
            _needs(n, least)
            found = test()
        except _UnfitError as reason:
            results += [TestResult(name=name, variant=v, p_value=None, reason=str(reason)) for v in variants or ("",)]
        else:
            by_variant = found if isinstance(found, Mapping) else {"": found}
            results += [TestResult(name=name, variant=v, p_value=p) for v, p in by_variant.items()]
    return TestResults(results)


def _needs(n: int, least: int) -> None:
    if n < least:
        raise _UnfitError(f"{n} bits are fewer than the {least} that this test needs")


def as_bits(bits: NDArray[Any] | bytes | bytearray | Path | str, n_bits: int | None = None) -> Bits:
    """Return bits from anywhere as uint8 of 0 and 1, (n,): a copy, or a read-only view of the argument.

    Raises:
        InputError: as :func:`run`.
    """
    if isinstance(bits, Path | str):
        path = Path(bits)
        if not path.is_file():
            raise InputError(f"{path} is not a file; give a file of packed bits, an array of 0 and 1, or bytes")
        size = path.stat().st_size
        _check_length(8 * size if n_bits is None else n_bits, 8 * size, str(path))
        with path.open("rb") as file:
            bits = file.read(size if n_bits is None else -(-n_bits // 8))
    if isinstance(bits, bytes | bytearray | memoryview):
        packed = np.frombuffer(bits, np.uint8)
        n = 8 * packed.size if n_bits is None else n_bits
        _check_length(n, 8 * packed.size, "the bytes")
        return np.unpackbits(packed[: -(-n // 8)], count=n)
    array = np.asarray(bits)
    if array.ndim != 1 or array.dtype.kind not in "bui":
        raise InputError(
            f"bits of type {array.dtype} and shape {array.shape} do not fit; give integers or bool of shape (n,), or "
            "bytes with eight bits each"
        )
    n = array.size if n_bits is None else n_bits
    _check_length(n, array.size, "the array")
    array = array[:n]
    if array.dtype == np.bool_:
        return array.view(np.uint8) if array.flags.c_contiguous else array.astype(np.uint8)
    if array.min() < 0 or array.max() > 1:
        raise InputError(
            f"an array of bits holds 0 and 1, this one {array.min()} to {array.max()}; give packed bytes as a bytes "
            "object, e.g. array.tobytes()"
        )
    return np.ascontiguousarray(array, np.uint8)


def _check_length(n: int, there: int, what: str) -> None:
    if there == 0:
        raise InputError(f"{what} is empty (0 bits); record or draw some bits first")
    if not 1 <= n <= there:
        raise InputError(f"n_bits = {n}, but {what} holds {there} bits; give 1 to {there}")
    if n > LONGEST:
        raise InputError(
            f"{n} bits are more than one sequence of {LONGEST}; test many shorter ones with assess(...), or give "
            "n_bits="
        )


def _igamc(a: float, x: float) -> float:
    from scipy.special import gammaincc

    return float(gammaincc(a, x))


def _chi_square(counts: NDArray[np.int64], probabilities: ArrayLike) -> float:
    """P-value of counts in classes of these probabilities."""
    expected = counts.sum() * np.asarray(probabilities)
    return _igamc((counts.size - 1) / 2, float(((counts - expected) ** 2 / expected).sum()) / 2)


def _block_frequency(s: Bits, m: int) -> float:
    share = s[: s.size // m * m].reshape(-1, m).sum(axis=1) / m
    return _igamc(share.size / 2, 2 * m * float(((share - 0.5) ** 2).sum()))


def _cumulative_sums(walk: NDArray[np.int32]) -> _Found:
    s, top, bottom = int(walk[-1]), max(int(walk.max()), 0), min(int(walk.min()), 0)
    largest = {"forward": max(top, -bottom), "reverse": max(top - s, s - bottom)}
    return {way: _p_of_largest_sum(z, walk.size) for way, z in largest.items()}


def _p_of_largest_sum(z: int, n: int) -> float:
    from scipy.special import ndtr

    # NIST's program divides integers, toward zero, to find the terms that count.
    def terms(first: float) -> NDArray[np.float64]:
        return np.arange(int(first / 4), int((n // z - 1) / 4) + 1, dtype=np.float64)

    k = terms(-(n // z) + 1)
    inside = ndtr((4 * k + 1) * z / sqrt(n)) - ndtr((4 * k - 1) * z / sqrt(n))
    k = terms(-(n // z) - 3)
    outside = ndtr((4 * k + 3) * z / sqrt(n)) - ndtr((4 * k + 1) * z / sqrt(n))
    return float(min(max(1 - inside.sum() + outside.sum(), 0.0), 1.0))


def _runs(s: Bits) -> float:
    n = s.size
    share = int(np.count_nonzero(s)) / n
    if abs(share - 0.5) > 2 / sqrt(n):
        return 0.0  # the document's own rule: the frequency test has failed already
    runs = 1 + int(np.count_nonzero(s[1:] != s[:-1]))
    spread = share * (1 - share)
    return erfc(abs(runs - 2 * n * spread) / (2 * spread * sqrt(2 * n)))


#: Fewest bits, block, first and last class, and NIST's probabilities of the classes.
_RUN_CLASSES = (
    (750_000, 10_000, 10, 16, (0.0882, 0.2092, 0.2483, 0.1933, 0.1208, 0.0675, 0.0727)),
    (6_272, 128, 4, 9, (0.1174035788, 0.242955959, 0.249363483, 0.17517706, 0.102701071, 0.112398847)),
    (128, 8, 1, 4, (0.21484375, 0.3671875, 0.23046875, 0.1875)),
)


def _longest_run(s: Bits, exact: bool) -> float:
    m, low, high, given = next(row[1:] for row in _RUN_CLASSES if s.size >= row[0])
    longest = kernels.runs_of_ones(s, m, 1)[0]
    counts = np.bincount(np.clip(longest, low, high) - low, minlength=high - low + 1)
    return _chi_square(counts, _run_probabilities(m, low, high) if exact else given)


@cache
def _run_probabilities(m: int, low: int, high: int) -> tuple[float, ...]:
    """Probability that the longest run of ones of ``m`` fair bits is <= low, low + 1, ..., >= high."""

    def at_most(longest: int) -> float:
        # without[i]: no run above ``longest`` in i bits; the first zero comes after j <= longest ones
        without = [1.0] * (longest + 1)
        for i in range(longest + 1, m + 1):
            without.append(sum(without[i - j - 1] * 2.0 ** -(j + 1) for j in range(longest + 1)))
        return without[m]

    below = [at_most(r) for r in range(low, high)]
    return (below[0], *(b - a for a, b in pairwise(below)), 1 - below[-1])


_RANK = 32  # rows and columns of a matrix


def _rank(s: Bits) -> float:
    size = _RANK

    def of(r: int) -> float:
        i = np.arange(r, dtype=np.float64)
        return float(
            2.0 ** (r * (2 * size - r) - size**2) * np.prod((1 - 2.0 ** (i - size)) ** 2 / (1 - 2.0 ** (i - r)))
        )

    found = kernels.ranks(s, size)
    counts = np.array([(found == size).sum(), (found == size - 1).sum(), (found < size - 1).sum()])
    return _chi_square(counts, (of(size), of(size - 1), 1 - of(size) - of(size - 1)))


def _spectrum(s: Bits) -> float:
    from scipy.fft import rfft

    n = s.size
    height = np.abs(rfft(2.0 * s - 1.0)[: n // 2])
    # 2.995732274 is the program's ln 20; 95 % of the peaks of a perfect source lie below
    below = int(np.count_nonzero(height < sqrt(2.995732274 * n)))
    return erfc(abs(below - 0.95 * n / 2) / sqrt(n / 4 * 0.95 * 0.05) / sqrt(2))


@cache
def templates(m: int) -> tuple[str, ...]:
    """Return the words of ``m`` bits that cannot overlap with themselves, ascending; 148 for m = 9."""
    words = (format(i, f"0{m}b") for i in range(2**m))
    return tuple(w for w in words if not any(w.startswith(w[i:]) for i in range(1, m)))


_BLOCKS = 8  # of the non-overlapping template test


def _non_overlapping(s: Bits, m: int) -> _Found:
    size = s.size // _BLOCKS
    # A template that cannot overlap with itself is found as often with overlaps as without.
    found = kernels.windows(s, m, _BLOCKS)[:, [int(t, 2) for t in templates(m)]]
    mean = (size - m + 1) / 2**m
    variance = size * (2.0**-m - (2 * m - 1) * 2.0 ** (-2 * m))
    chi2 = ((found - mean) ** 2).sum(axis=0) / variance
    return {t: _igamc(_BLOCKS / 2, float(x) / 2) for t, x in zip(templates(m), chi2, strict=True)}


def _overlapping(s: Bits, m: int, exact: bool) -> float:
    size, classes = 1032, 6
    p = (_exact_matches if exact else _poisson_matches)(m, size, classes)
    _needs(s.size, size * ceil(5 / min(p)))  # five blocks to be expected in each class
    matches = kernels.runs_of_ones(s, size, m)[1]
    return _chi_square(np.bincount(np.minimum(matches, classes - 1), minlength=classes), p)


@cache
def _poisson_matches(m: int, size: int, classes: int) -> tuple[float, ...]:
    """Probabilities of the numbers of matches as in NIST's program, a compound Poisson approximation."""
    eta = (size - m + 1) / 2**m / 2
    p = [exp(-eta)]
    for u in range(1, classes - 1):
        terms = (
            exp(-eta - u * log(2) + i * log(eta) - lgamma(i + 1) + lgamma(u) - lgamma(i) - lgamma(u - i + 1))
            for i in range(1, u + 1)
        )
        p.append(sum(terms))
    return (*p, 1 - sum(p))


@cache
def _exact_matches(m: int, size: int, classes: int) -> tuple[float, ...]:
    """The same exactly: the run of ones that ends here, and the matches so far, are a Markov chain."""
    chain = np.zeros((m + 1, classes))
    chain[0, 0] = 1.0
    for _ in range(size):
        after = np.zeros_like(chain)
        after[0] = chain.sum(axis=0) / 2
        after[1:m] = chain[: m - 1] / 2
        matched = (chain[m - 1] + chain[m]) / 2
        after[m, 1:] = matched[:-1]
        after[m, -1] += matched[-1]
        chain = after
    return tuple(float(x) for x in chain.sum(axis=0))


#: Expected value and variance of one block of 6 to 16 bits (Handbook of Applied Cryptography, 1997, table 5.3).
_UNIVERSAL = {
    6: (5.2177052, 2.954), 7: (6.1962507, 3.125), 8: (7.1836656, 3.238), 9: (8.1764248, 3.311), 10: (9.1723243, 3.356),
    11: (10.170032, 3.384), 12: (11.168765, 3.401), 13: (12.168070, 3.410), 14: (13.167693, 3.416),
    15: (14.167488, 3.419), 16: (15.167379, 3.421),
}  # fmt: skip


def _universal(s: Bits, exact: bool) -> float:
    L = max(L for L in _UNIVERSAL if s.size >= 1010 * 2**L * L)
    Q = 10 * 2**L
    K = 1000 * 2**L if exact else s.size // L - Q
    mean, variance = _UNIVERSAL[L]
    found = block_distances(s[: (Q + K) * L], L, Q)[0] / K
    c = 0.7 - 0.8 / L + (4 + 32 / L) * K ** (-3 / L) / 15
    return erfc(abs(found - mean) / (sqrt(2) * c * sqrt(variance / K)))


def _folded(ring: NDArray[np.int64], m: int) -> NDArray[np.int64]:
    """Counts of the first ``m`` bits of the words that ``ring`` counts."""
    counts: NDArray[np.int64] = ring.reshape(2**m, -1).sum(axis=1)
    return counts


def _approximate_entropy(ring: NDArray[np.int64], n: int, m: int) -> float:
    def phi(length: int) -> float:
        counts = _folded(ring, length)
        share = counts[counts > 0] / n
        return float((share * np.log(share)).sum())

    return _igamc(2 ** (m - 1), max(n * (log(2) - (phi(m) - phi(m + 1))), 0.0))


_STATES = tuple(f"x = {x:+d}" for x in range(-4, 5) if x)
_MANY_STATES = tuple(f"x = {x:+d}" for x in range(-9, 10) if x)


def _visits(walk: NDArray[np.int32]) -> tuple[int, NDArray[np.int32], NDArray[np.int64]]:
    """Cycles of the walk between its returns to 0, the last one closed; its states from -9 to 9, and their cycles."""
    near = np.flatnonzero(np.abs(walk) <= 9)
    states = walk[near]
    cycles = int(np.count_nonzero(states == 0)) + int(walk[-1] != 0)
    least = max(500.0, 0.005 * sqrt(walk.size))
    if cycles < least:
        raise _UnfitError(f"the walk has {cycles} cycles, fewer than the {least:.0f} that this test needs")
    return cycles, states, np.cumsum(states == 0)


def _excursions(walk: NDArray[np.int32]) -> _Found:
    cycles, states, cycle = _visits(walk)
    found = {}
    for name, x in zip(_STATES, (-4, -3, -2, -1, 1, 2, 3, 4), strict=True):
        visits = np.bincount(cycle[states == x], minlength=cycles)  # of this state, in each cycle
        stay = 1 - 1 / (2 * abs(x))
        p = (stay, *(stay**k / (4 * x * x) / stay for k in range(1, 5)), stay**4 / (2 * abs(x)))
        found[name] = _chi_square(np.bincount(np.minimum(visits, 5), minlength=6), p)
    return found


def _excursions_variant(walk: NDArray[np.int32]) -> _Found:
    cycles, states, _ = _visits(walk)
    visits = np.delete(np.bincount(states + 9, minlength=19), 9)
    spread = (sqrt(2 * cycles * (4 * abs(x) - 2)) for x in range(-9, 10) if x)
    return {n: erfc(abs(int(v) - cycles) / w) for n, v, w in zip(_MANY_STATES, visits, spread, strict=True)}


def _serial(ring: NDArray[np.int64], n: int, m: int) -> _Found:
    def psi2(length: int) -> float:
        counts = _folded(ring, length).astype(np.float64)
        return float((counts**2).sum()) * 2**length / n - n

    one, two = psi2(m) - psi2(m - 1), psi2(m) - 2 * psi2(m - 1) + psi2(m - 2)
    return {"first": _igamc(2 ** (m - 2), one / 2), "second": _igamc(2 ** (m - 3), max(two, 0.0) / 2)}


#: Classes of the deviation of the linear complexity; the document's rounded 0.01047 and 0.020833.
_COMPLEXITY = (0.01047, 0.03125, 0.125, 0.5, 0.25, 0.0625, 0.020833)


def _linear_complexity(s: Bits, m: int) -> float:
    sign = 1 if m % 2 == 0 else -1
    mean = m / 2 + (9 - sign) / 36 - (m / 3 + 2 / 9) / 2.0**m
    deviation = sign * (kernels.linear_complexities(s, m) - mean) + 2 / 9
    counts = np.bincount(np.searchsorted([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], deviation), minlength=7)
    return _chi_square(counts, _COMPLEXITY)
