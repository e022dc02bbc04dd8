"""Everything that can be said of bits: the battery, min-entropy, health, drift, repetition, a verdict on every bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.noise import entropy, sp800_22
from voltaspin.noise.entropy_limits import EntropyLimits, clumped
from voltaspin.noise.health import START_UP, Alarm
from voltaspin.noise.source import NoiseSource
from voltaspin.noise.sp800_22_levels import Assessment, assess
from voltaspin.noise.whole import FALSE_ALARM, LAGS, SHARE, Reader, Whole, lag_correlations

SCHEMA_VERSION = 2  #: of the JSON report; 1, of version 0.1.0, had none and told of one sequence only

#: The P-values are approximate: of 3,000 ideal sequences of 10^5 bits 2.7 times as many as 1e-5 were below it.
_TAIL = 3

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Randomness:
    """What was found.

    Args:
        n_bits: of a sequence of the battery.
        constants: of the battery.
        tests: P-values of the first sequence.
        assessment: of many sequences, where they were asked for.
        whole: what was found in every bit that was read.
        noise: provenance of the bits, JSON-able.
        first: the first 65,536 bits, one a byte, for a picture.
    """

    n_bits: int
    constants: str
    tests: tuple[sp800_22.TestResult, ...]
    assessment: Assessment | None
    whole: Whole
    noise: dict[str, Any]
    first: NDArray[np.uint8]

    @property
    def ones(self) -> int:
        """Among all bits."""
        return self.whole.ones

    @property
    def autocorrelation(self) -> NDArray[np.float64]:
        """Of all bits, at the lags 1 to 64; ideal ones lie within 2 / sqrt(bits) at 95 %."""
        return self.whole.autocorrelation

    @property
    def estimates(self) -> entropy.EntropyEstimates | None:
        """The smallest of every estimate over segments and cells; None where the bits are too few."""
        return self.whole.estimates

    @property
    def limits(self) -> EntropyLimits | None:
        """What ideal bits stay above in all segments."""
        return self.whole.limits

    @property
    def health(self) -> dict[str, Any]:
        """Cut-offs, alarm and counts of the health tests, JSON-able; empty below 1,024 bits."""
        return self.whole.health if self.whole.n_bits >= START_UP else {}

    @property
    def alarm(self) -> Alarm | None:
        """Of the health tests."""
        return self.whole.alarm if self.whole.n_bits >= START_UP else None

    @property
    def sequences(self) -> int:
        """That the battery saw."""
        return 1 if self.assessment is None else self.assessment.sequences

    @property
    def share_tested(self) -> float:
        """Part of the bits that the battery saw."""
        return self.n_bits * self.sequences / self.whole.n_bits

    @property
    def applied(self) -> tuple[sp800_22.TestResult, ...]:
        """The P-values of the first sequence that exist."""
        return tuple(r for r in self.tests if r.p_value is not None)

    @property
    def failed(self) -> tuple[sp800_22.TestResult, ...]:
        """P-values of any sequence too small for the smallest of so many (Bonferroni)."""
        if self.assessment is None:
            limit = SHARE / _TAIL / max(len(self.applied), 1)
            return tuple(r for r in self.applied if r.p_value is not None and r.p_value < limit)
        p = self.assessment.p_values
        limit = SHARE / _TAIL / max(int(np.isfinite(p).sum()), 1)
        rows = self.assessment.rows
        return tuple(
            sp800_22.TestResult(rows[j].name, rows[j].variant, float(p[i, j])) for i, j in np.argwhere(p < limit)
        )

    @property
    def low_entropy(self) -> tuple[str, ...]:
        """Estimates of min-entropy that are somewhere below what ideal bits get."""
        return self.whole.low_entropy

    @property
    def too_many_fail(self) -> bool:
        """Whether more rows of the second level lie outside their limits than chance leaves there.

        Rows fail in clumps, for their tests share words; ideal bits were seen with a variance of up to twice the mean.
        """
        many = self.assessment
        if many is None or not many.failed:
            return False
        return float(clumped(many.expected_failures, np.array([float(len(many.failed))]), 0.5)[0]) < SHARE

    @property
    def ideal(self) -> bool:
        """Whether nothing here tells the bits from ideal ones; these are called so but for 1 % of the recordings."""
        whole = self.whole
        return not (
            self.failed or self.low_entropy or self.alarm or self.too_many_fail or whole.failed or whole.repetition
        )

    @property
    def verdict(self) -> str:
        """In words."""
        return f"{self._judgement} {self._seen}{self._origin}"

    @property
    def _judgement(self) -> str:
        small = sum(r.p_value is not None and r.p_value < 0.01 for r in self.applied)
        of = (
            f"{small} of {len(self.applied)} P-values are below 0.01, {0.01 * len(self.applied):.1f} are to be expected"
        )
        if self.ideal:
            if not self.applied:
                return f"{self.whole.n_bits} bits are too few for any test of the battery."
            return (
                f"Nothing tells these bits from ideal ones: {of}; of ideal ones this is said in "
                f"{1 - FALSE_ALARM:.0%} of all recordings or more."
            )
        parts = []
        if self.whole.repetition is not None:
            parts.append(f"the recording repeats itself ({self.whole.repetition})")
        if self.alarm is not None:
            parts.append(f"a health test raised an alarm ({self.alarm})")
        if self.whole.failed:
            parts.append("; ".join(f"{t.name} shows ({t.said}, P = {t.p_value:.2g})" for t in self.whole.failed))
        if self.low_entropy:
            names = [name.replace("_", " ") for name in self.low_entropy]
            parts.append(f"the min-entropy estimate {', '.join(names)} is below that of ideal bits")
        if self.failed:
            worst = min(self.failed, key=lambda r: r.p_value or 0.0)
            names = sorted({r.name for r in self.failed}, key=sp800_22.TESTS.index)
            parts.append(f"{', '.join(names)} fail (smallest P-value {worst.p_value:.2g}; {of})")
        if self.too_many_fail:
            parts.append(f"{self.assessment}")
        return f"These bits are not ideal: {'; '.join(parts)}."

    @property
    def _seen(self) -> str:
        n = self.whole.n_bits
        return f"All {n} bits were read; the battery saw {100 * self.share_tested:.3g} % of them."

    @property
    def _origin(self) -> str:
        origin = self.noise["details"].get("origin", self.noise)
        if origin["kind"] in ("simulated", "pseudo"):
            return " They are simulated: whatever the tests say, their entropy is that of their seed."
        return ""

    @property
    def taken_on_trust(self) -> tuple[str, ...]:
        """What the bits owe to a min-entropy that somebody gave."""
        return tuple(
            f"{c['method']} takes H = {c['H_min']:.4g} bit per bit: {c['H_from']}"
            for c in self.noise["details"].get("conditioning", [])
            if "H_from" in c
        )

    def to_json(self) -> dict[str, Any]:
        n = self.whole.n_bits
        estimates = self.estimates
        return {
            "kind": "randomness",
            "schema_version": SCHEMA_VERSION,
            "n_bits": self.n_bits,
            "sequences": self.sequences,
            "share_tested": self.share_tested,
            "bias": self.ones / n - 0.5,
            "constants": self.constants,
            "tests": [r.to_json() for r in self.tests],
            "autocorrelation": {"values": self.autocorrelation.tolist(), "half_width_95": 1.96 / sqrt(n)},
            "entropy": None if estimates is None else {**estimates.to_json(), "assessed": self.whole.assessed},
            "entropy_limits": None if self.limits is None else self.limits.to_json(),
            "health": self.health or {"alarm": None},
            "assessment": None if self.assessment is None else self.assessment.to_json(),
            "whole": self.whole.to_json(),
            "ideal": self.ideal,
            "false_alarm": FALSE_ALARM,
            "verdict": self.verdict,
            "taken_on_trust": list(self.taken_on_trust),
            "noise": self.noise,
        }

    def __str__(self) -> str:
        whole = self.whole
        n = whole.n_bits
        lines = [
            f"{self.noise['kind']}: {self.noise['description']}",
            *self.taken_on_trust,
            f"{n} bits of {whole.n_cells} cell{'s' * (whole.n_cells > 1)}, bias {self.ones / n - 0.5:+.6f} ± "
            f"{1.96 * 0.5 / sqrt(n):.6f} (95 %)",
            "",
            f"{'SP 800-22 test':26} {'P-values':>8} {'smallest':>10} {'below 0.01':>11}   (first {self.n_bits} bits)",
        ]
        for name in sp800_22.TESTS:
            p = [r.p_value for r in self.tests if r.name == name and r.p_value is not None]
            if p:
                lines.append(f"{name:26} {len(p):8d} {min(p):10.6f} {sum(x < 0.01 for x in p):11d}")
            else:
                lines.append(f"{name:26} {'-':>8} {next(r.reason for r in self.tests if r.name == name)}")
        if self.assessment is not None:
            lines.append(str(self.assessment))
        lines += [*self._entropy_lines(), "", f"{'all bits':26} {'P-value':>10}"]
        lines += [f"{t.name:26} {t.p_value:10.6f}   {t.said}" for t in whole.tests]
        lines.append(f"{'repetition':26} {whole.repetition or 'no 128 bits that were looked up stood before'}")
        if h := self.health:
            std = h["standard"]
            lines += [
                "",
                f"health tests at H = {h['H']:g}, cut-offs {h['repetition_cutoff']} and {h['proportion_cutoff']} (a = "
                f"{h['a']:g}), which ideal bits reach in {100 * h['false_alarm']:.2g} % of such recordings: "
                f"{self.alarm or 'no alarm'}",
                f"at the standard's a = {std['a']}, cut-offs {std['repetition_cutoff']} and "
                f"{std['proportion_cutoff']}: {std['runs']} runs and {std['windows']} windows reach them, "
                f"{std['expected_runs']:.2g} and {std['expected_windows']:.2g} are to be expected of ideal bits",
            ]
        return "\n".join([*lines, "", self.verdict])

    def _entropy_lines(self) -> Iterator[str]:
        whole = self.whole
        if self.estimates is None or self.limits is None:
            return
        plain, turned = ([s for s in whole.segments if s.order == o] for o in ("as read", "cell by cell"))
        yield ""
        by = f"{'as read':>10}" + (f" {'by cell':>10}" if turned else "")
        yield f"{'min-entropy, SP 800-90B':26}{by} {'ideal bits':>12}"
        for name in entropy.ESTIMATES:
            found = (min(getattr(s.estimates, name) for s in part) for part in (plain, turned) if part)
            columns = " ".join(f"{x:10.4f}" for x in found)
            yield f"{name.replace('_', ' '):26}{columns}     > {self.limits.lower[name]:.4f}"
        yield (
            f"smallest of {len(whole.segments)} segments of {self.estimates.n_bits} bits; assessed: "
            f"{whole.assessed:.4f} bit per bit"
        )
        if (cell := whole.worst_cell) is not None:
            judged = (
                "worse than the segments show, and it is assessed" if cell.proven else "no worse than the segments show"
            )
            yield f"best guessed cell: {cell.cell}, right in {cell.p:.4f} of {cell.n_bits} bits, {judged}"


def examine(
    source: NoiseSource,
    *,
    n_bits: int = 10**6,
    sequences: int = 1,
    constants: sp800_22.Constants = "nist",
    H: float = 0.9,
    progress: Progress | None = None,
) -> Randomness:
    """Draw bits from a source and test them.

    A source that runs dry is read to its end; of one that does not, what the battery takes.

    Args:
        source: its next bits are drawn.
        n_bits: of one sequence of the battery, at most 10**7.
        sequences: for the second level of SP 800-22; 1 leaves it out.
        constants: of the battery.
        H: min-entropy per bit at which the health tests are set.
        progress: called with (part, done, in all).

    Raises:
        InputError: numbers that make no sense, or as the source.
    """
    if not 1 <= n_bits <= sp800_22.LONGEST or sequences < 1:
        raise InputError(
            f"{sequences} sequences of {n_bits} bits: give 1 or more, of 1 to {sp800_22.LONGEST} bits; longer streams "
            "are tested as many sequences"
        )
    report = progress or (lambda part, done, total: None)
    left = source.bits_at_most
    if left is not None and left < n_bits * sequences:
        raise InputError(
            f"{source.name} has {left} bits, and {sequences} sequences of {n_bits} were asked for; ask for fewer or "
            "shorter ones"
        )
    planned = n_bits * sequences if left is None else left
    reader = Reader(planned, lanes=source.n_cells, H=H)

    def draw(n: int) -> NDArray[np.uint8]:
        packed = source.bits(n)
        reader.feed(packed, n)
        report("bits read", reader.seen, planned)
        return packed

    report("bits read", 0, planned)
    packed = draw(n_bits)
    noise = source.provenance.to_json()
    bits = np.unpackbits(packed, count=n_bits)
    results = sp800_22.run(bits, constants)
    assessment = None
    if sequences > 1:
        assessment = assess(
            _Resumed(packed, draw), sequences=sequences, n_bits=n_bits, constants=constants,
            progress=lambda done, total: report("SP 800-22", done, total),
        )  # fmt: skip
    while left is not None and reader.seen < planned:
        n = min(entropy.SEGMENT, planned - reader.seen)
        try:
            draw(n)
        except NoiseExhaustedError:
            # of a conditioner whose rate varies no more is known before it is tried
            if rest := source.bits_left:
                draw(rest)
            break
    return Randomness(n_bits, constants, tuple(results), assessment, reader.found(), noise, bits[: 2**16])


class _Resumed:
    """The first sequence once more, which belongs to the many, then what comes next."""

    def __init__(self, first: NDArray[np.uint8], draw: Callable[[int], NDArray[np.uint8]]) -> None:
        self._first: NDArray[np.uint8] | None = first
        self._draw = draw

    def __call__(self, n: int) -> NDArray[np.uint8]:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return self._draw(n)


def autocorrelation(bits: NDArray[np.uint8], lags: int = LAGS) -> NDArray[np.float64]:
    """Autocorrelation at the lags 1 to ``lags``: float64 (lags,); 0 where the bits are constant.

    Args:
        bits: uint8 (n,), one bit a byte.
        lags: how many; those of n and more are 0.
    """
    return lag_correlations(bits, lags)
