"""The fifteen tests of NIST SP 800-22 rev. 1a on bits from anywhere.

``run`` tests one sequence, ``assess`` many (``second_level.py``). The names of the tests are
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

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from math import erfc, exp, lgamma, log, sqrt
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.noise.examination import sp800_22_kernels as kernels

Constants = Literal["nist", "corrected"]
Bits = NDArray[np.uint8]

LONGEST = 10**7  #: bits of one sequence; more are a case for many sequences
TESTS = (
    "Frequency", "BlockFrequency", "CumulativeSums", "Runs", "LongestRun", "Rank", "FFT", "NonOverlappingTemplate",
    "OverlappingTemplate", "Universal", "ApproximateEntropy", "RandomExcursions", "RandomExcursionsVariant",
    "Serial", "LinearComplexity",
)  # fmt: skip


@dataclass(frozen=True)
class TestResult:
    """One P-value.

    Args:
        name: of the test, as in NIST's final report.
        variant: which of its P-values (a template, a state, a direction); empty where it has one.
        p_value: None where the test does not apply.
        reason: why it does not apply; empty otherwise.
    """

    __test__ = False  # it is no test of pytest's

    name: str
    variant: str
    p_value: float | None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


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
) -> list[TestResult]:
    """All fifteen tests of one sequence.

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
    """
    if constants not in get_args(Constants):
        raise InputError(f"constants {constants!r} are unknown; use 'nist' or 'corrected'")
    for name, value, low, high in (
        ("block", block, 2, 10**6), ("template", template, 2, 16), ("entropy_block", entropy_block, 1, 20),
        ("serial_block", serial_block, 3, 20), ("complexity_block", complexity_block, 16, 5000),
    ):  # fmt: skip
        if not low <= value <= high:
            raise InputError(f"{name} = {value} bits: give {low} to {high}")
    sequence = as_bits(bits, n_bits)
    exact = constants == "corrected"
    ring = kernels.cyclic_windows(sequence, max(serial_block, entropy_block + 1))
    tests: list[Callable[[], list[TestResult]]] = [
        lambda: _frequency(sequence),
        lambda: _block_frequency(sequence, block),
        lambda: _cumulative_sums(sequence),
        lambda: _runs(sequence),
        lambda: _longest_run(sequence, exact),
        lambda: _rank(sequence),
        lambda: _spectrum(sequence),
        lambda: _non_overlapping(sequence, template),
        lambda: _overlapping(sequence, template, exact),
        lambda: _universal(sequence, exact),
        lambda: _approximate_entropy(ring, sequence.size, entropy_block),
        lambda: _excursions(sequence),
        lambda: _serial(ring, sequence.size, serial_block),
        lambda: _linear_complexity(sequence, complexity_block),
    ]
    return [result for test in tests for result in test()]


def as_bits(bits: NDArray[Any] | bytes | bytearray | Path | str, n_bits: int | None = None) -> Bits:
    """Bits from anywhere as uint8 of 0 and 1, (n,), a copy or a read-only use of what was given.

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


def _short(name: str, n: int, least: int, variants: tuple[str, ...] = ("",)) -> list[TestResult]:
    return [TestResult(name, v, None, f"{n} bits are fewer than the {least} that this test needs") for v in variants]


def _igamc(a: float, x: float) -> float:
    from scipy.special import gammaincc

    return float(gammaincc(a, x))


def _chi_square(counts: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    expected = counts.sum() * probabilities
    return float(((counts - expected) ** 2 / expected).sum())


def _frequency(bits: Bits) -> list[TestResult]:
    n = bits.size
    if n < 100:
        return _short("Frequency", n, 100)
    s = 2 * int(np.count_nonzero(bits)) - n
    return [TestResult("Frequency", "", erfc(abs(s) / sqrt(2 * n)))]


def _block_frequency(bits: Bits, m: int) -> list[TestResult]:
    n = bits.size
    if n < max(100, m):
        return _short("BlockFrequency", n, max(100, m))
    share = kernels.block_ones(bits, m) / m
    chi2 = 4 * m * float(((share - 0.5) ** 2).sum())
    return [TestResult("BlockFrequency", "", _igamc(share.size / 2, chi2 / 2))]


def _cumulative_sums(bits: Bits) -> list[TestResult]:
    n = bits.size
    if n < 100:
        return _short("CumulativeSums", n, 100, ("forward", "reverse"))
    s, top, bottom, _ = kernels.walk(bits)
    ways = (("forward", max(top, -bottom)), ("reverse", max(top - s, s - bottom)))
    return [TestResult("CumulativeSums", way, _p_of_largest_sum(z, n)) for way, z in ways]


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


def _runs(bits: Bits) -> list[TestResult]:
    n = bits.size
    if n < 100:
        return _short("Runs", n, 100)
    share = int(np.count_nonzero(bits)) / n
    if abs(share - 0.5) > 2 / sqrt(n):
        return [TestResult("Runs", "", 0.0)]  # the document's own rule: the frequency test has failed already
    runs = kernels.walk(bits)[3]
    spread = share * (1 - share)
    return [TestResult("Runs", "", erfc(abs(runs - 2 * n * spread) / (2 * spread * sqrt(2 * n))))]


#: Fewest bits, block, first and last class, and NIST's probabilities of the classes.
_RUN_CLASSES = (
    (750_000, 10_000, 10, 16, (0.0882, 0.2092, 0.2483, 0.1933, 0.1208, 0.0675, 0.0727)),
    (6_272, 128, 4, 9, (0.1174035788, 0.242955959, 0.249363483, 0.17517706, 0.102701071, 0.112398847)),
    (128, 8, 1, 4, (0.21484375, 0.3671875, 0.23046875, 0.1875)),
)


def _longest_run(bits: Bits, exact: bool) -> list[TestResult]:
    n = bits.size
    for least, m, low, high, given in _RUN_CLASSES:
        if n >= least:
            counts = np.bincount(np.clip(kernels.longest_runs(bits, m), low, high) - low, minlength=high - low + 1)
            p = np.array(_run_probabilities(m, low, high) if exact else given)
            return [TestResult("LongestRun", "", _igamc((high - low) / 2, _chi_square(counts, p) / 2))]
    return _short("LongestRun", n, 128)


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


def _rank(bits: Bits) -> list[TestResult]:
    n, size = bits.size, 32
    if n < 38 * size * size:
        return _short("Rank", n, 38 * size * size)

    def of(r: int) -> float:
        i = np.arange(r, dtype=np.float64)
        return float(
            2.0 ** (r * (2 * size - r) - size**2) * np.prod((1 - 2.0 ** (i - size)) ** 2 / (1 - 2.0 ** (i - r)))
        )

    found = kernels.ranks(bits, size)
    counts = np.array([(found == size).sum(), (found == size - 1).sum(), (found < size - 1).sum()])
    p = np.array([of(size), of(size - 1), 1 - of(size) - of(size - 1)])
    return [TestResult("Rank", "", exp(-_chi_square(counts, p) / 2))]


def _spectrum(bits: Bits) -> list[TestResult]:
    n = bits.size
    if n < 1000:
        return _short("FFT", n, 1000)
    from scipy.fft import rfft

    height = np.abs(rfft(2.0 * bits - 1.0)[: n // 2])
    # 2.995732274 is the program's ln 20; 95 % of the peaks of a perfect source lie below
    below = int(np.count_nonzero(height < sqrt(2.995732274 * n)))
    d = (below - 0.95 * n / 2) / sqrt(n / 4 * 0.95 * 0.05)
    return [TestResult("FFT", "", erfc(abs(d) / sqrt(2)))]


@cache
def templates(m: int) -> tuple[str, ...]:
    """The words of ``m`` bits that cannot overlap with themselves, ascending; 148 for m = 9."""
    words = (format(i, f"0{m}b") for i in range(2**m))
    return tuple(w for w in words if not any(w.startswith(w[i:]) for i in range(1, m)))


def _non_overlapping(bits: Bits, m: int) -> list[TestResult]:
    name, n, blocks = "NonOverlappingTemplate", bits.size, 8
    least = blocks * (5 * 2**m + m - 1)  # five matches to be expected in each block
    if n < least:
        return _short(name, n, least, templates(m))
    size = n // blocks
    # A template that cannot overlap with itself is found as often with overlaps as without.
    found = kernels.windows(bits, m, blocks)[:, [int(t, 2) for t in templates(m)]]
    mean = (size - m + 1) / 2**m
    variance = size * (2.0**-m - (2 * m - 1) * 2.0 ** (-2 * m))
    chi2 = ((found - mean) ** 2).sum(axis=0) / variance
    return [TestResult(name, t, _igamc(blocks / 2, float(x) / 2)) for t, x in zip(templates(m), chi2, strict=True)]


def _overlapping(bits: Bits, m: int, exact: bool) -> list[TestResult]:
    name, n, size, classes = "OverlappingTemplate", bits.size, 1032, 6
    p = np.array((_exact_matches if exact else _poisson_matches)(m, size, classes))
    least = size * int(np.ceil(5 / p.min()))  # five blocks to be expected in each class
    if n < least:
        return _short(name, n, least)
    counts = np.bincount(np.minimum(kernels.overlapping_ones(bits, m, size), classes - 1), minlength=classes)
    return [TestResult(name, "", _igamc((classes - 1) / 2, _chi_square(counts, p) / 2))]


@cache
def _poisson_matches(m: int, size: int, classes: int) -> tuple[float, ...]:
    """Classes of the number of matches as in NIST's program, a compound Poisson approximation."""
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


def _universal(bits: Bits, exact: bool) -> list[TestResult]:
    n = bits.size
    fitting = [L for L in _UNIVERSAL if n >= 1010 * 2**L * L]
    if not fitting:
        return _short("Universal", n, 1010 * 2**6 * 6)
    L = max(fitting)
    Q = 10 * 2**L
    K = 1000 * 2**L if exact else n // L - Q
    mean, variance = _UNIVERSAL[L]
    found = kernels.log_distances(bits[: (Q + K) * L], L, Q) / K
    c = 0.7 - 0.8 / L + (4 + 32 / L) * K ** (-3 / L) / 15
    return [TestResult("Universal", "", erfc(abs(found - mean) / (sqrt(2) * c * sqrt(variance / K))))]


def _folded(ring: NDArray[np.int64], m: int) -> NDArray[np.int64]:
    """Counts of the first ``m`` bits of the words that ``ring`` counts."""
    counts: NDArray[np.int64] = ring.reshape(2**m, -1).sum(axis=1)
    return counts


def _approximate_entropy(ring: NDArray[np.int64], n: int, m: int) -> list[TestResult]:
    name, least = "ApproximateEntropy", 2 ** (m + 6)
    if n < least:
        return _short(name, n, least)

    def phi(length: int) -> float:
        counts = _folded(ring, length)
        share = counts[counts > 0] / n
        return float((share * np.log(share)).sum())

    chi2 = 2 * n * (log(2) - (phi(m) - phi(m + 1)))
    return [TestResult(name, "", _igamc(2 ** (m - 1), max(chi2, 0.0) / 2))]


def _excursions(bits: Bits) -> list[TestResult]:
    states = (-4, -3, -2, -1, 1, 2, 3, 4)
    many = [x for x in range(-9, 10) if x]
    cycles, counts, visits = kernels.excursions(bits)
    least = max(500.0, 0.005 * sqrt(bits.size))
    if cycles < least:
        reason = f"the walk has {cycles} cycles, fewer than the {least:.0f} that this test needs"
        return [TestResult("RandomExcursions", f"x = {x:+d}", None, reason) for x in states] + [
            TestResult("RandomExcursionsVariant", f"x = {x:+d}", None, reason) for x in many
        ]
    out = []
    for i, x in enumerate(states):
        a = abs(x)
        stay = 1 - 1 / (2 * a)
        p = np.array([stay, *(stay**k / (4 * a * a) / stay for k in range(1, 5)), stay**4 / (2 * a)])
        out.append(TestResult("RandomExcursions", f"x = {x:+d}", _igamc(2.5, _chi_square(counts[i], p) / 2)))
    for x in many:
        z = abs(int(visits[x + 9]) - cycles) / sqrt(2 * cycles * (4 * abs(x) - 2))
        out.append(TestResult("RandomExcursionsVariant", f"x = {x:+d}", erfc(z)))
    return out


def _serial(ring: NDArray[np.int64], n: int, m: int) -> list[TestResult]:
    least = 2 ** (m + 3)
    if n < least:
        return _short("Serial", n, least, ("first", "second"))

    def psi2(length: int) -> float:
        counts = _folded(ring, length).astype(np.float64)
        return float((counts**2).sum()) * 2**length / n - n

    one, two = psi2(m) - psi2(m - 1), psi2(m) - 2 * psi2(m - 1) + psi2(m - 2)
    return [
        TestResult("Serial", "first", _igamc(2 ** (m - 2), one / 2)),
        TestResult("Serial", "second", _igamc(2 ** (m - 3), max(two, 0.0) / 2)),
    ]


#: Classes of the deviation of the linear complexity; the document's rounded 0.01047 and 0.020833.
_COMPLEXITY = np.array([0.01047, 0.03125, 0.125, 0.5, 0.25, 0.0625, 0.020833])


def _linear_complexity(bits: Bits, m: int) -> list[TestResult]:
    n, least = bits.size, 200 * m
    if n < least:
        return _short("LinearComplexity", n, least)
    found = kernels.linear_complexities(bits, m)
    sign = 1 if m % 2 == 0 else -1
    mean = m / 2 + (9 - sign) / 36 - (m / 3 + 2 / 9) / 2.0**m
    deviation = sign * (found - mean) + 2 / 9
    counts = np.bincount(np.searchsorted([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], deviation), minlength=7)
    return [TestResult("LinearComplexity", "", _igamc(3.0, _chi_square(counts, _COMPLEXITY) / 2))]
