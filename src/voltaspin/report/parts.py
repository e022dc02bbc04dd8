"""What all results are made of: frozen pieces of versioned data, a value with its interval, and their small words."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, model_validator

from voltaspin.core.spec import Spec

Boundary = Literal["cell", "cell+line", "macro"]
Provenance = Literal["simulated", "recorded", "instrument", "operating system", "pseudo"]
Numbers = tuple[float, ...]


class Part(Spec):
    """A piece of the results: frozen, closed to unknown fields, finite numbers only."""

    KIND: ClassVar[str] = "part"
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Estimate(Part):
    """A value with its interval.

    Args:
        value, low, high: in the unit that the field's name says; ``low <= high``.
    """

    value: float
    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"interval [{self.low:g}, {self.high:g}] is upside down; swap its ends")
        return self
