"""Numbers that know their unit and how far they can be trusted: inputs with a source, results with an interval."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError

Z95 = 1.959963984540054  #: normal quantile of a two-sided 95 % interval
Z90 = 1.6448536269514722  #: and of the 90 % interval that two one-sided tests at 5 % amount to

Grade = Literal["measured", "fitted", "textbook", "derived", "recalled", "assumed"]
#: Factor up and down that holds 90 % of what a number of a grade may be, unless it has a range of its own [chosen].
FACTORS: dict[Grade, float] = {
    "measured": 1.1, "textbook": 1.2, "fitted": 1.3, "derived": 1.5, "recalled": 2.0, "assumed": 3.0,
}  # fmt: skip
_BOUND = 10.0  # how far below its value a number may lie of which only an upper bound is known [assumed]


@dataclass(frozen=True)
class Sourced:
    """A value with its provenance.

    Args:
        value: in ``unit``.
        unit: as printed, e.g. ``"pJ/bit"``.
        source: paper, table, figure; for ``assumed``, why this value was chosen.
        grade: ``measured`` (read in the source, which measured it), ``fitted``, ``textbook``, ``derived``
            (computed from graded values), ``recalled`` (quoted from memory, not yet checked against its
            source) or ``assumed``.
        low, high: range in ``unit`` where one is known.

    Raises:
        InputError: an unknown grade, an empty source, or a range that does not hold the value.
    """

    value: float
    unit: str
    source: str
    grade: Grade
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.grade not in get_args(Grade):
            raise InputError(f"grade {self.grade!r} is unknown; use one of {', '.join(get_args(Grade))}")
        if not self.source.strip():
            raise InputError(f"{self.value} {self.unit} has no source; name the paper or the assumption")
        if (self.low is not None and self.low > self.value) or (self.high is not None and self.high < self.value):
            raise InputError(f"range [{self.low}, {self.high}] {self.unit} does not hold the value {self.value}")

    def draws(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values that this number may have, in ``unit``: log-normal on either side of its value.

        Args:
            z: standard normal numbers of any shape; equal ones give equal draws.
        """
        if self.value <= 0:
            return np.full_like(z, self.value)
        factor = FACTORS[self.grade]
        up = factor if self.high is None else max(self.high / self.value, 1.0)
        down = factor if self.low is None else max(self.value / self.low if self.low > 0 else _BOUND, 1.0)
        return self.value * np.exp(np.where(z > 0, z * math.log(up), z * math.log(down)) / Z90)

    def estimate(self, unit: str, factor: float = 1.0) -> Estimate:
        """Return the value times ``factor`` with the interval that holds 90 % of its draws."""
        low, value, high = factor * self.draws(np.array([-Z90, 0.0, Z90]))
        return Estimate(float(value), float(low), float(high), level=0.9, unit=unit)

    def __str__(self) -> str:
        span = f" ({self.low:g} to {self.high:g})" if self.low is not None and self.high is not None else ""
        return f"{self.value:g}{span} {self.unit} [{self.grade}: {self.source}]"


@dataclass(frozen=True)
class Estimate:
    """A value that knows how far it can be trusted.

    Args:
        value: the best single number.
        low, high: the interval. A value that could not be resolved is ``value=0, low=0`` and ``high`` its upper bound.
        level: probability with which the interval holds the truth; 1 where the ends are bounds and nothing is random.
        std: standard error, where the interval comes from one.
        n: independent observations behind it.
        unit: as printed; empty for a pure number.

    Raises:
        InputError: a value outside its interval, or one that is no number.
    """

    value: float
    low: float
    high: float
    level: float = 0.95
    std: float | None = None
    n: int | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:  # also false for NaN
            raise InputError(f"the interval [{self.low:g}, {self.high:g}] {self.unit} does not hold {self.value:g}")
        if not 0 < self.level <= 1:
            raise InputError(f"the level {self.level:g} of an interval must lie above 0 and at most at 1")

    @classmethod
    def normal(cls, value: float, std: float, *, n: int | None = None, unit: str = "") -> Self:
        """A value with a standard error and the 95 % interval of the normal distribution."""
        return cls(value, value - Z95 * std, value + Z95 * std, std=std, n=n, unit=unit)

    @classmethod
    def at_most(cls, high: float, *, level: float = 1.0, unit: str = "") -> Self:
        """A quantity that is zero or more, and that could only be bounded from above."""
        return cls(0.0, 0.0, high, level=level, unit=unit)

    @classmethod
    def of_draws(cls, draws: NDArray[np.float64], *, level: float = 0.9, unit: str = "") -> Self:
        """The median of draws of a quantity, and the interval that holds ``level`` of them."""
        low, value, high = np.quantile(draws, (0.5 - level / 2, 0.5, 0.5 + level / 2))
        return cls(float(value), float(low), float(high), level=level, unit=unit)

    @property
    def is_bound(self) -> bool:
        """Whether only an upper bound is known."""
        return self.value == 0 and self.low == 0 and self.high > 0

    @property
    def standard_error(self) -> float:
        """``std`` of an estimate that has one.

        Raises:
            InputError: its interval does not come from a standard error.
        """
        if self.std is None:
            raise InputError(f"the interval of {self} does not come from a standard error; use its ends")
        return self.std

    def equivalent(self, margin: float) -> bool:
        """Whether the value lies within ``±margin`` by two one-sided tests at 5 %.

        Raises:
            InputError: the margin is not positive, or there is no standard error.
        """
        if not margin > 0:
            raise InputError(f"margin {margin:g} {self.unit} must be positive")
        return abs(self.value) + Z90 * self.standard_error < margin

    def scaled(self, factor: float, unit: str | None = None) -> Self:
        """The same in another unit: everything times a positive ``factor``."""
        if not factor > 0:
            raise InputError(f"factor {factor:g} must be positive")
        return replace(
            self,
            value=self.value * factor,
            low=self.low * factor,
            high=self.high * factor,
            std=None if self.std is None else self.std * factor,
            unit=self.unit if unit is None else unit,
        )

    def sourced(self, source: str) -> Sourced:
        """The value as an input that was fitted, with its interval; ``source`` names wafer, device and day."""
        return Sourced(self.value, self.unit, source, "fitted", self.low, self.high)

    def to_json(self) -> dict[str, Any]:
        """Fields that are set, as JSON data."""
        return {k: v for k, v in asdict(self).items() if v is not None and v != ""}

    def __format__(self, spec: str) -> str:
        number = spec or ".4g"
        unit = f" {self.unit}" if self.unit else ""
        if self.is_bound:
            return f"at most {format(self.high, number)}{unit}"
        if self.low == self.high:
            return f"{format(self.value, number)}{unit}"
        return f"{format(self.value, number)} ({format(self.low, number)} to {format(self.high, number)}){unit}"

    def __str__(self) -> str:
        return format(self)
