"""Everything that can be said of a stretch of bits: the battery, min-entropy, health, correlations, a verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.noise import entropy, sp800_22
from voltaspin.noise.health import START_UP, Alarm, HealthTests
from voltaspin.noise.source import NoiseSource
from voltaspin.noise.sp800_22_levels import Assessment, assess

LAGS = 64  #: autocorrelations that are estimated
FAMILY = 1e-3  #: bits are called not ideal where ideal ones would be by one of all P-values with this probability

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Randomness:
    """What was found.

    Args:
        n_bits: of the sequence that was tested.
        ones: in it.
        constants: of the battery.
        tests: its P-values.
        autocorrelation: at the lags 1 to 64, float64 (64,); ideal bits lie within 2 / sqrt(n_bits) at 95 %.
        estimates: of min-entropy, or None where the bits are too few.
        limits: what ideal bits of this number get.
        health: cut-offs and alarm of the health tests, JSON-able.
        alarm: of the health tests.
        assessment: of many sequences, where they were asked for.
        noise: provenance of the bits, JSON-able.
        first: the first 65,536 bits, one a byte, for a picture.
    """

    n_bits: int
    ones: int
    constants: str
    tests: tuple[sp800_22.TestResult, ...]
    autocorrelation: NDArray[np.float64]
    estimates: entropy.EntropyEstimates | None
    limits: entropy.IdealLimits | None
    health: dict[str, Any]
    alarm: Alarm | None
    assessment: Assessment | None
    noise: dict[str, Any]
    first: NDArray[np.uint8]

    @property
    def applied(self) -> tuple[sp800_22.TestResult, ...]:
        """The P-values that exist."""
        return tuple(r for r in self.tests if r.p_value is not None)

    @property
    def failed(self) -> tuple[sp800_22.TestResult, ...]:
        """P-values too small for the smallest of so many (Bonferroni, 0.1 % for all together)."""
        limit = FAMILY / max(len(self.applied), 1)
        return tuple(r for r in self.applied if r.p_value is not None and r.p_value < limit)

    @property
    def low_entropy(self) -> tuple[str, ...]:
        """Estimates of min-entropy below what ideal bits get."""
        return self.limits.below(self.estimates) if self.limits is not None and self.estimates is not None else ()

    @property
    def ideal(self) -> bool:
        """Whether nothing here tells the bits from ideal ones."""
        many = self.assessment
        # as many rows outside their limits as chance leaves outside but once in some ten thousand
        chance = many is None or len(many.failed) <= many.expected_failures + 4 * sqrt(many.expected_failures) + 1
        return not self.failed and not self.low_entropy and self.alarm is None and chance

    @property
    def verdict(self) -> str:
        """In words."""
        small = sum(r.p_value is not None and r.p_value < 0.01 for r in self.applied)
        of = (
            f"{small} of {len(self.applied)} P-values are below 0.01, {0.01 * len(self.applied):.1f} are to be expected"
        )
        if not self.applied:
            text = f"{self.n_bits} bits are too few for any test of the battery."
        elif self.ideal:
            text = f"Nothing tells these bits from ideal ones: {of}."
        else:
            parts = []
            if self.failed:
                worst = min(self.failed, key=lambda r: r.p_value or 0.0)
                names = sorted({r.name for r in self.failed}, key=sp800_22.TESTS.index)
                parts.append(f"{', '.join(names)} fail (smallest P-value {worst.p_value:.2g}; {of})")
            if self.low_entropy:
                names = [name.replace("_", " ") for name in self.low_entropy]
                parts.append(f"the min-entropy estimate {', '.join(names)} is below that of ideal bits")
            if self.alarm is not None:
                parts.append(f"a health test raised an alarm ({self.alarm})")
            if not parts and self.assessment is not None:
                parts.append(f"{self.assessment}")
            text = f"These bits are not ideal: {'; '.join(parts)}."
        origin = self.noise["details"].get("origin", self.noise)
        if origin["kind"] in ("simulated", "pseudo"):
            text += " They are simulated: whatever the tests say, their entropy is that of their seed."
        return text

    def to_json(self) -> dict[str, Any]:
        return {
            "n_bits": self.n_bits,
            "bias": self.ones / self.n_bits - 0.5,
            "constants": self.constants,
            "tests": [r.to_json() for r in self.tests],
            "autocorrelation": {"values": self.autocorrelation.tolist(), "half_width_95": 1.96 / sqrt(self.n_bits)},
            "entropy": None if self.estimates is None else self.estimates.to_json(),
            "entropy_limits": None if self.limits is None else self.limits.to_json(),
            "health": self.health,
            "assessment": None if self.assessment is None else self.assessment.to_json(),
            "ideal": self.ideal,
            "verdict": self.verdict,
            "noise": self.noise,
        }

    def __str__(self) -> str:
        half = 1.96 * 0.5 / sqrt(self.n_bits)
        lines = [
            f"{self.noise['kind']}: {self.noise['description']}",
            f"{self.n_bits} bits, bias {self.ones / self.n_bits - 0.5:+.6f} ± {half:.6f} (95 %)",
            "",
            f"{'SP 800-22 test':26} {'P-values':>8} {'smallest':>10} {'below 0.01':>11}",
        ]
        for name in sp800_22.TESTS:
            p = [r.p_value for r in self.tests if r.name == name and r.p_value is not None]
            if p:
                lines.append(f"{name:26} {len(p):8d} {min(p):10.6f} {sum(x < 0.01 for x in p):11d}")
            else:
                lines.append(f"{name:26} {'-':>8} {next(r.reason for r in self.tests if r.name == name)}")
        if self.estimates is not None and self.limits is not None:
            lines += ["", f"{'min-entropy, SP 800-90B':26} {'bit/bit':>8} {'ideal bits':>17}"]
            for name in entropy.ESTIMATES:
                mean, low = self.limits.mean[name], self.limits.lower[name]
                given = getattr(self.estimates, name)
                lines.append(f"{name.replace('_', ' '):26} {given:8.4f} {mean:8.4f}, > {low:.4f}")
        h = self.health
        lines += [
            "",
            f"health tests at H = {h['H']:g}, 2^-{h['a']:.4g} false alarms per bit (cut-offs "
            f"{h['repetition_cutoff']} and {h['proportion_cutoff']}): {self.alarm or 'no alarm'}",
        ]
        if self.assessment is not None:
            lines.append(str(self.assessment))
        return "\n".join([*lines, "", self.verdict])


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

    Args:
        source: its next bits are drawn.
        n_bits: of one sequence, at most 10**7; the first is tested in every way.
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
    tests = HealthTests(H=H, lanes=min(source.lanes, 2**24))
    packed = source.bits(n_bits)
    noise = source.provenance.to_json()
    if n_bits >= START_UP:
        tests.feed(packed, n_bits)
    bits = np.unpackbits(packed, count=n_bits)
    results = sp800_22.run(bits, constants)
    report("SP 800-22", 1, sequences)
    assessment = None
    if sequences > 1:
        assessment = assess(
            _Resumed(packed, source), sequences=sequences, n_bits=n_bits, constants=constants,
            progress=lambda done, total: report("SP 800-22", done, total),
        )  # fmt: skip
    estimates = limits = None
    if n_bits >= entropy.LEAST:
        judged = bits[: 10**6]
        estimates = entropy.estimate(judged)
        limits = entropy.ideal_limits(judged.size, progress=lambda done, total: report("ideal bits", done, total))
    return Randomness(
        n_bits, int(bits.sum()), constants, tuple(results), autocorrelation(bits), estimates, limits, tests.to_json(),
        tests.alarm, assessment, noise, bits[: 2**16],
    )  # fmt: skip


class _Resumed:
    """The first sequence once more, which belongs to the many, then what comes next."""

    def __init__(self, first: NDArray[np.uint8], source: NoiseSource) -> None:
        self._first: NDArray[np.uint8] | None = first
        self._source = source

    def __call__(self, n: int) -> NDArray[np.uint8]:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return self._source.bits(n)


def autocorrelation(bits: NDArray[np.uint8], lags: int = LAGS) -> NDArray[np.float64]:
    """Autocorrelation at the lags 1 to ``lags``: float64 (lags,); 0 where the bits are constant.

    Args:
        bits: uint8 (n,), one bit a byte.
        lags: how many; those of n and more are 0.
    """
    n, ones = bits.size, int(bits.sum())
    mean = ones / n
    out = np.zeros(lags)
    if 0 < ones < n:
        for lag in range(1, min(lags, n - 1) + 1):
            both = int(np.count_nonzero(bits[:-lag] & bits[lag:]))
            first, last = ones - int(bits[n - lag :].sum()), ones - int(bits[:lag].sum())
            out[lag - 1] = (both - mean * (first + last) + (n - lag) * mean**2) / (n - lag) / (mean * (1 - mean))
    return out
