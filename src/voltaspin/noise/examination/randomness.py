"""Judge bits: P-values of many sequences together (SP 800-22, section 4.2), and every examination with its verdict."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from math import ceil, sqrt
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Array, Part, Result
from voltaspin.noise.examination import entropy
from voltaspin.noise.examination.entropy_limits import EntropyLimits, clumped
from voltaspin.noise.examination.p_values import TestResult
from voltaspin.noise.examination.sp800_22 import LONGEST, TESTS, Constants, run
from voltaspin.noise.examination.whole import FALSE_ALARM, SHARE, Reader, Whole
from voltaspin.noise.source import NoiseSource

ALPHA = 0.01  #: significance of one P-value, NIST's default
UNIFORM = 1e-4  #: the uniformity fails below it, NIST's choice
LEAST = 55  #: sequences that the uniformity needs

Draw = Callable[[int], NDArray[np.uint8]]  # number of bits to packed bits


class Assessed(Part):
    """One test over many sequences.

    Args:
        name, variant: as in :class:`voltaspin.noise.examination.p_values.TestResult`.
        sequences: number of sequences to which the test applied.
        passed: number of them with P >= 0.01.
        least, most: limits of ``passed``, three standard deviations around 99 %.
        uniformity: P-value of the chi-square over ten classes of the P-values; None below 55 sequences.
        histogram: P-values in [0, .1), ..., [.9, 1].
        reason: why no sequence fits, where none does.
        proportion_holds: whether as many sequences pass as must (NIST checks the lower limit only).
        uniformity_holds: whether the uniformity is not below its limit.
    """

    name: str
    variant: str
    sequences: int
    passed: int
    least: float
    most: float
    uniformity: float | None
    histogram: tuple[int, ...]
    reason: str = ""
    proportion_holds: bool = True
    uniformity_holds: bool = True


class Assessment(Result):
    """All tests over many sequences.

    Args:
        n_bits: length of each sequence.
        sequences: number of sequences.
        constants: the constants that were used.
        alpha: significance of one P-value.
        expected_failures: rows that chance alone puts among the failed ones, by the exact binomial and the limit of
            the uniformity.
        rows: one for each P-value of one sequence.
        p_values: float64 (sequences, rows), NaN where a test did not apply.
    """

    KIND: ClassVar[str] = "sp800-22-assessment"

    n_bits: int
    sequences: int
    constants: Constants
    alpha: float = ALPHA
    expected_failures: float
    rows: tuple[Assessed, ...]
    p_values: Array

    @property
    def failed(self) -> tuple[Assessed, ...]:
        """Rows whose proportion or uniformity is outside its limits."""
        return tuple(r for r in self.rows if not (r.proportion_holds and r.uniformity_holds))

    def summary(self) -> list[tuple[str, str]]:
        """Return the verdict, then one row for every failed test."""
        rows = [(f"{r.name} {r.variant}".strip(), f"{r.passed} of {r.sequences} pass") for r in self.failed]
        return [("SP 800-22, second level", str(self)), *rows]

    def __str__(self) -> str:
        return (
            f"{self.sequences} sequences of {self.n_bits} bits: {len(self.failed)} of {len(self.rows)} rows outside "
            f"their limits, {self.expected_failures:.1f} to be expected by chance"
        )


def assess(
    bits: Draw | bytes | Path | str,
    *,
    sequences: int,
    n_bits: int = 10**6,
    constants: Constants = "nist",
    progress: Callable[[int, int], None] | None = None,
) -> Assessment:
    """Test many sequences, one at a time, in the memory of one.

    Args:
        bits: a function of a number of bits that gives packed bits (``source.bits``), bytes of packed bits, or
            the path of a file of them. From a file or bytes each sequence begins at a whole byte.
        sequences: how many; 55 or more for the uniformity of the P-values.
        n_bits: length of each, at most 10**7.
        constants: as in :func:`voltaspin.noise.sp800_22.run`.
        progress: called with (sequences done, in all).

    Returns:
        The assessment. In the excursion tests only the sequences count to which they applied, as in NIST's.

    Raises:
        InputError: too few bits for the sequences, or numbers that make no sense.

    Source: NIST SP 800-22 rev. 1a (2010), section 4.2.
    """
    if sequences < 1 or not 1 <= n_bits <= LONGEST:
        raise InputError(f"{sequences} sequences of {n_bits} bits: give at least 1, of 1 to {LONGEST} bits")
    found = []
    for packed in _pieces(bits, sequences, n_bits):
        found.append(run(packed, constants, n_bits=n_bits))
        if progress is not None:
            progress(len(found), sequences)
    table = np.array([[np.nan if r.p_value is None else r.p_value for r in results] for results in found])
    rows = tuple(_assessed(r.name, r.variant, r.reason, p) for r, p in zip(found[0], table.T, strict=True))
    return Assessment(
        n_bits=n_bits, sequences=sequences, constants=constants, rows=rows, p_values=table,
        expected_failures=float(sum(map(_chance_of_failure, rows))),
    )  # fmt: skip


def _pieces(bits: Draw | bytes | Path | str, sequences: int, n_bits: int) -> Iterator[bytes]:
    size = -(-n_bits // 8)
    if callable(bits):
        for _ in range(sequences):
            yield np.ascontiguousarray(bits(n_bits), np.uint8).tobytes()
        return
    path = None if isinstance(bits, bytes | bytearray) else Path(bits)
    if path is not None and not path.is_file():
        raise InputError(f"{path} is not a file; give a file of packed bits, bytes, or a function that draws bits")
    with io.BytesIO(bits) if path is None else path.open("rb") as file:  # type: ignore[arg-type]
        there = file.seek(0, io.SEEK_END)
        if there < size * sequences:
            raise InputError(
                f"{path or 'the bytes'}: {8 * there} bits are {there // size} sequences of {8 * size} bits and not "
                f"{sequences}; ask for fewer or shorter ones, or record more"
            )
        file.seek(0)
        for _ in range(sequences):
            piece = file.read(size)
            if len(piece) < size:
                raise InputError(f"{path} became shorter while it was being read; restore the file")
            yield piece


def _assessed(name: str, variant: str, reason: str, p: NDArray[np.float64]) -> Assessed:
    from scipy.special import gammaincc

    p = p[~np.isnan(p)]
    m, mean, wide = p.size, p.size * (1 - ALPHA), 3 * sqrt(p.size * ALPHA * (1 - ALPHA))
    counts = np.bincount(np.minimum((p * 10).astype(int), 9), minlength=10)
    passed, uniformity = int((p >= ALPHA).sum()), None
    if m >= LEAST:
        uniformity = float(gammaincc(4.5, float(((counts - m / 10) ** 2).sum() / (m / 10)) / 2))
    return Assessed(
        name=name, variant=variant, sequences=m, passed=passed, least=mean - wide, most=min(float(m), mean + wide),
        uniformity=uniformity, histogram=tuple(counts.tolist()), reason="" if m else reason,
        proportion_holds=passed >= mean - wide, uniformity_holds=uniformity is None or uniformity >= UNIFORM,
    )  # fmt: skip


def _chance_of_failure(row: Assessed) -> float:
    from scipy.stats import binom

    low = float(binom.cdf(ceil(row.least) - 1, row.sequences, 1 - ALPHA)) if row.sequences else 0.0
    return low + (UNIFORM if row.uniformity is not None else 0.0)


#: The P-values are approximate: of 3,000 ideal sequences of 10^5 bits 2.7 times as many as 1e-5 were below it.
_TAIL = 3
_SIMULATED = " They are simulated: whatever the tests say, their entropy is that of their seed."


class Randomness(Result):
    """Everything that was found in bits.

    Args:
        n_bits: length of a sequence of the battery.
        sequences: number of sequences that the battery saw.
        share_tested: part of the bits that the battery saw.
        bias: P(1) - 1/2 of all bits.
        constants: of the battery.
        tests: P-values of the first sequence.
        assessment: of many sequences, where they were asked for.
        whole: everything that was found in every bit that was read.
        ideal: whether no test distinguishes the bits from ideal ones; these are called so but for ``false_alarm`` of
            the recordings.
        false_alarm: see there.
        faults: the reasons, in words, why the bits are not ideal.
        verdict: in words.
        taken_on_trust: conditioners whose output rests on a min-entropy that somebody gave.
        noise: provenance of the bits, JSON-able.
        input: how a recorded file was read, where a command read one.
        first: the first 65,536 bits, one a byte, for a picture; not saved.
    """

    KIND: ClassVar[str] = "randomness"
    VERSION: ClassVar[int] = 3  # 2: plain keys (CHANGELOG.md); 1, of version 0.1.0, told of one sequence only

    n_bits: int
    sequences: int
    share_tested: float
    bias: Estimate
    constants: Constants
    tests: tuple[TestResult, ...]
    assessment: Assessment | None
    whole: Whole
    ideal: bool
    false_alarm: float = FALSE_ALARM
    faults: tuple[str, ...]
    verdict: str
    taken_on_trust: tuple[str, ...]
    noise: dict[str, Any]
    input: dict[str, Any] | None = None
    first: Array = Field(default_factory=lambda: np.empty(0, np.uint8), exclude=True, repr=False)

    @property
    def autocorrelation(self) -> NDArray[np.float64]:
        """Autocorrelation of all bits at the lags 1 to 64; ideal ones lie within 2 / sqrt(bits) at 95 %."""
        return self.whole.autocorrelation

    @property
    def limits(self) -> EntropyLimits | None:
        """Estimates that ideal bits stay above in all segments."""
        return self.whole.limits

    @property
    def applied(self) -> tuple[TestResult, ...]:
        """The P-values of the first sequence that exist."""
        return tuple(r for r in self.tests if r.p_value is not None)

    @property
    def failed(self) -> tuple[TestResult, ...]:
        """P-values of any sequence too small for the smallest of so many (Bonferroni)."""
        return _failed(self.tests, self.assessment)

    def summary(self) -> list[tuple[str, str]]:
        """Return rows of (name, value): source, battery, min-entropy, all bits, health, and the verdict at the end."""
        whole = self.whole
        rows = [
            (self.noise["kind"], self.noise["description"]),
            *(("taken on trust", text) for text in self.taken_on_trust),
            ("bits", f"{whole.n_bits} of {whole.n_cells} cell{'s' * (whole.n_cells > 1)}"),
            ("bias", format(self.bias, "+.6f")),
            ("SP 800-22 test", f"P-values   smallest  below 0.01   (first {self.n_bits} bits)"),
        ]
        for name in TESTS:
            own = [r for r in self.tests if r.name == name]
            p = [r.p_value for r in own if r.p_value is not None]
            text = f"{len(p):8d} {min(p):10.6f} {sum(x < 0.01 for x in p):11d}" if p else f"{'-':>8} {own[0].reason}"
            rows.append((name, text))
        if self.assessment is not None:
            rows.append(("second level", str(self.assessment)))
        return [*rows, *self._entropy_rows(), *self._rows_of_all(), ("verdict", self.verdict)]

    def _entropy_rows(self) -> Iterator[tuple[str, str]]:
        whole = self.whole
        if whole.estimates is None or whole.limits is None:
            return
        orders = list(dict.fromkeys(s.order for s in whole.segments))
        yield "min-entropy, SP 800-90B", " ".join(f"{o:>12}" for o in (*orders, "ideal bits"))
        for name in entropy.ESTIMATES:
            found = [min(float(getattr(s.estimates, name)) for s in whole.segments if s.order == o) for o in orders]
            columns = " ".join(f"{x:12.4f}" for x in found)
            yield name.replace("_", " "), f"{columns}     > {whole.limits.lower[name]:.4f}"
        count = len(whole.segments)
        n = f"smallest of {count} segment{'s' * (count > 1)} of {whole.estimates.n_bits} bits"
        yield "assessed", f"{whole.assessed:.4f} bit per bit, by {whole.limited_by.replace('_', ' ')}; {n}"
        if (cell := whole.worst_cell) is not None:
            judged = "worse" if cell.proven else "no worse"
            said = f"right in {cell.p:.4f} of {cell.n_bits} bits, {judged} than the segments show"
            yield "best guessed cell", f"{cell.cell}, {said}{', and it is assessed' if cell.proven else ''}"

    def _rows_of_all(self) -> Iterator[tuple[str, str]]:
        whole, h = self.whole, self.whole.health
        yield "all bits", "P-value"
        yield from ((t.name, f"{t.p_value:.6f}   {t.said}") for t in whole.tests)
        yield "repetition", str(whole.repetition or "no 128 bits that were looked up stood before")
        if h:
            std = h["standard"]
            cuts = f"cut-offs {h['repetition_cutoff']} and {h['proportion_cutoff']} (a = {h['a']:g})"
            chance = f"which ideal bits reach in {100 * h['false_alarm']:.2g} % of such recordings"
            yield f"health tests at H = {h['H']:g}", f"{whole.alarm or 'no alarm'}; {cuts}, {chance}"
            yield (
                f"at the standard's a = {std['a']}",
                f"{std['runs']} runs and {std['windows']} windows reach {std['repetition_cutoff']} and "
                f"{std['proportion_cutoff']}, {std['expected_runs']:.2g} and {std['expected_windows']:.2g} are to be "
                "expected of ideal bits",
            )

    def __str__(self) -> str:
        return "\n".join(f"{name:30} {text}" for name, text in self.summary())


def examine(
    source: NoiseSource,
    *,
    n_bits: int = 10**6,
    sequences: int = 1,
    total: int | None = None,
    constants: Constants = "nist",
    H: float = 0.9,
    progress: Callable[[str, int, int], None] | None = None,
) -> Randomness:
    """Draw bits from a source and test them.

    A source that runs dry is read to its end; of one that does not, only the bits of the battery are read.

    Args:
        source: its next bits are drawn.
        n_bits: length of one sequence of the battery, at most 10**7.
        sequences: for the second level of SP 800-22; 1 leaves it out.
        total: bits to read in all of a source without an end; None reads those of the battery.
        constants: of the battery.
        H: min-entropy per bit at which the health tests are set.
        progress: called with (part, done, in all).

    Raises:
        InputError: numbers that make no sense, or as the source.
    """
    if not 1 <= n_bits <= LONGEST or sequences < 1:
        raise InputError(
            f"{sequences} sequences of {n_bits} bits: give 1 or more, of 1 to {LONGEST} bits; longer streams "
            "are tested as many sequences"
        )
    report = progress or (lambda part, done, total: None)
    left = source.bits_at_most
    if left is not None and left < n_bits * sequences:
        raise InputError(
            f"{source.name} has {left} bits, and {sequences} sequences of {n_bits} were asked for; ask for fewer or "
            "shorter ones"
        )
    planned = max(total or 0, n_bits * sequences) if left is None else left
    source.expect(planned)
    reader = Reader(planned, n_cells=source.n_cells, H=H)

    def draw(n: int) -> NDArray[np.uint8]:
        packed = source.bits(n)
        reader.feed(packed, n)
        report("bits read", reader.seen, planned)
        return packed

    report("bits read", 0, planned)
    first = [draw(n_bits)]
    noise = source.provenance.to_json()
    bits = np.unpackbits(first[0], count=n_bits)
    tests = tuple(run(bits, constants))
    assessment = None
    if sequences > 1:
        assessment = assess(
            lambda n: first.pop() if first else draw(n),  # the first sequence belongs to the many
            sequences=sequences, n_bits=n_bits, constants=constants,
            progress=lambda done, total: report("SP 800-22", done, total),
        )  # fmt: skip
    while reader.seen < planned:
        try:
            draw(min(entropy.SEGMENT, planned - reader.seen))
        except NoiseExhaustedError:
            # the output of a conditioner whose rate varies is known only once it was tried
            if left is None:
                raise
            if rest := source.bits_left:
                draw(rest)
            break
    whole = reader.found()
    n = whole.n_bits
    faults, share = _faults(tests, assessment, whole), n_bits * sequences / n
    return Randomness(
        n_bits=n_bits, sequences=sequences, share_tested=share,
        bias=Estimate.normal(whole.ones / n - 0.5, 0.5 / sqrt(n), n=n), constants=constants, tests=tests,
        assessment=assessment, whole=whole, ideal=not faults, faults=faults, noise=noise, first=bits[: 2**16],
        verdict=f"{_judgement(tests, faults, n)} All {n} bits were read; the battery saw {100 * share:.3g} % of them."
        f"{_SIMULATED if noise['details'].get('origin', noise)['kind'] in ('simulated', 'pseudo') else ''}",
        taken_on_trust=tuple(
            f"{c['method']} takes H = {c['H_min']:.4g} bit per bit: {c['H_from']}"
            for c in noise["details"].get("conditioning", [])
            if "H_from" in c
        ),
    )  # fmt: skip


def _failed(tests: tuple[TestResult, ...], assessment: Assessment | None) -> tuple[TestResult, ...]:
    rows = tests if assessment is None else assessment.rows
    p = np.array([[np.nan if r.p_value is None else r.p_value for r in tests]])
    p = p if assessment is None else assessment.p_values
    limit = SHARE / _TAIL / max(int(np.isfinite(p).sum()), 1)
    return tuple(
        TestResult(name=rows[j].name, variant=rows[j].variant, p_value=float(p[i, j]))
        for i, j in np.argwhere(p < limit)
    )


def _of_p_values(tests: tuple[TestResult, ...]) -> str:
    p = [r.p_value for r in tests if r.p_value is not None]
    small = sum(x < 0.01 for x in p)
    return f"{small} of {len(p)} P-values are below 0.01, {0.01 * len(p):.1f} are to be expected"


def _faults(tests: tuple[TestResult, ...], assessment: Assessment | None, whole: Whole) -> tuple[str, ...]:
    faults = []
    if whole.repetition is not None:
        faults.append(f"the recording repeats itself ({whole.repetition})")
    if whole.alarm is not None:
        faults.append(f"a health test raised an alarm ({whole.alarm})")
    faults += [f"{t.name} shows ({t.said}, P = {t.p_value:.2g})" for t in whole.failed]
    if whole.low_entropy:
        names = ", ".join(name.replace("_", " ") for name in whole.low_entropy)
        faults.append(f"the min-entropy estimate {names} is below that of ideal bits")
    if failed := _failed(tests, assessment):
        names = ", ".join(sorted({r.name for r in failed}, key=TESTS.index))
        worst = min(r.p_value for r in failed if r.p_value is not None)
        faults.append(f"{names} fail (smallest P-value {worst:.2g}; {_of_p_values(tests)})")
    if assessment is not None and assessment.failed:
        # rows fail in clumps, for their tests share words; ideal bits were seen with a variance of up to twice the mean
        outside = np.array([float(len(assessment.failed))])
        if clumped(assessment.expected_failures, outside, 0.5)[0] < SHARE:
            faults.append(str(assessment))
    return tuple(faults)


def _judgement(tests: tuple[TestResult, ...], faults: tuple[str, ...], n: int) -> str:
    if faults:
        return f"These bits are not ideal: {'; '.join(faults)}."
    if all(r.p_value is None for r in tests):
        return f"{n} bits are too few for any test of the battery."
    return (
        f"No test distinguishes these {n} bits from ideal random bits: {_of_p_values(tests)}; of ideal bits this is "
        f"said in {1 - FALSE_ALARM:.0%} of all recordings or more."
    )
