"""Compliance of a noise device with the specification: a row for each axis, and the outcome in words.

Junctions are compared in ``junction.py``, recorded bits in ``bits.py``.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AllowInfNan, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from voltaspin.core.result import Part, Result
from voltaspin.requirements.specification import Limit, NoiseSpecification

TREATMENTS = ("raw", "xor")
MAPPINGS = ("fixed", "rotated", "hashed")

Said = Literal["meets", "fails", "undecided"]
Interval = tuple[float, float, float]  # value, low, high
#: A number that may be infinite; ``null`` in JSON.
Unbounded = Annotated[
    float,
    AllowInfNan(True),
    BeforeValidator(lambda v: math.inf if v is None else v),
    PlainSerializer(lambda v: v if math.isfinite(v) else None, when_used="json"),
    WithJsonSchema({"type": ["number", "null"]}),
]


class Row(Part):
    """One axis in one treatment.

    Args:
        axis, title, unit, per_unit, treatment: of the specification.
        amplitude, low, high: of the device, SI; for a period that was not found, high is infinite.
        limit: of the specification, in words.
        said: ``meets`` if the interval of the device lies within the amplitude that is surely tolerated, ``fails`` if
            it lies beyond the limit's own interval, else ``undecided``.
        margin_left: the limit over the worse end of the device's interval (the inverse for a period); infinite if the
            defect is zero. The largest amplitude that was tested stands for a limit that was not reached.
    """

    axis: str
    title: str
    unit: str
    per_unit: float
    treatment: str
    amplitude: float
    low: float
    high: Unbounded
    limit: str
    said: Said
    margin_left: Unbounded


class TreatmentVerdict(Part):
    """The outcome of one treatment: whether the device meets the specification, and the axes that fail."""

    meets: bool
    fails: tuple[str, ...]
    first: str | None
    verdict: str


class Compliance(Result):
    """The outcome of all axes for one device.

    Args:
        subject: the device.
        rows: every axis raw and under XOR of two cells.
        assumed: the assumptions.
        unjudged: what the bits are too few for, and how many it takes; doubts about the number of cells.
        treatments: the outcome by treatment.
        input: what a recorded file was read as, where bits were judged.
    """

    KIND: ClassVar[str] = "noise-verdict"
    subject: str
    rows: tuple[Row, ...]
    assumed: tuple[str, ...]
    unjudged: tuple[str, ...] = ()
    treatments: dict[str, TreatmentVerdict] = Field(default_factory=dict)
    input: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _judged(self) -> Self:
        if not self.treatments:
            for t in TREATMENTS:
                rows = self.of(t)
                self.treatments[t] = TreatmentVerdict(
                    meets=all(r.said == "meets" for r in rows),
                    fails=tuple(r.axis for r in rows if r.said == "fails"),
                    first=rows[0].axis if rows else None, verdict=self.sentence(t),
                )  # fmt: skip
        return self

    def of(self, treatment: str) -> list[Row]:
        """Rows of one treatment, the one that fails first in front."""
        return sorted((r for r in self.rows if r.treatment == treatment), key=lambda r: r.margin_left)

    def sentence(self, treatment: str) -> str:
        """The verdict of one treatment in words."""
        rows = self.of(treatment)
        if not rows:
            return f"{treatment}: the specification has no axis that applies"
        first = rows[0]
        fails = [r for r in rows if r.said == "fails"]
        open_ = [r for r in rows if r.said == "undecided"]
        if fails:
            text = f"does not meet the specification: fails on {', '.join(r.axis for r in fails)}"
        elif open_:
            text = f"is not shown to meet the specification: {', '.join(r.axis for r in open_)} undecided"
        else:
            text = "meets the specification on every axis judged"
        how = "none left" if first.margin_left < 1 else "no trace of anything" if first.margin_left == math.inf else (
            f"a factor {first.margin_left:.2g} is left"
        )  # fmt: skip
        return f"{treatment}: {text}; first to fail: {first.axis} ({how})"

    def __str__(self) -> str:
        lines = [self.subject, *(f"assumed: {a}" for a in self.assumed), *self.unjudged, ""]
        lines.append(f"{'axis':22} {'':4} {'of the device (95 %)':>32}  {'limit':42} {'left':>7}  verdict")
        for t in TREATMENTS:
            for r in self.of(t):
                a, low, high = (f"{v * r.per_unit:.3g}" for v in (r.amplitude, r.low, r.high))
                own = f"at least {low}" if r.high == math.inf else a if low == high else f"{a} ({low} to {high})"
                left = "> 1000x" if r.margin_left > 1000 else f"{r.margin_left:.2g}x"
                lines.append(
                    f"{r.axis:22} {t:4} {own + (' ' + r.unit if r.unit else ''):>32}  {r.limit:42} {left:>7}  {r.said}"
                )
        return "\n".join([*lines, "", *(self.sentence(t) for t in TREATMENTS)])


def row_of(limit: Limit, found: Interval) -> Row:
    """Compare a device's amplitude, not negative, with its limit."""
    value, low, high = found
    down = limit.falling
    tolerated, outside = limit.low, limit.high if limit.said != "not reached" else None
    if tolerated is not None and (low >= tolerated if down else high <= tolerated):
        said: Said = "meets"
    elif outside is not None and (high <= outside if down else low >= outside):
        said = "fails"
    else:
        said = "undecided"
    at = limit_at(limit)
    return Row(
        axis=limit.name, title=limit.title, unit=limit.unit, per_unit=limit.per_unit, treatment=limit.treatment,
        amplitude=value, low=low, high=high, limit=limit.text, said=said,
        margin_left=low / at if down else math.inf if high == 0 else at / high,
    )  # fmt: skip


def limit_at(limit: Limit) -> float:
    """The limit as one number: the last amplitude stands for one that was not reached, the first for one before it."""
    if limit.value is not None:
        return limit.value
    return limit.amplitudes[-1 if limit.said == "not reached" else 0]


def signed_limit(spec: NoiseSpecification, name: str, value: float, treatment: str) -> Limit | None:
    """Return the limit for a sign; that of the positive one under XOR, or where the negative one was not tested."""
    negative = spec.limit(f"{name}-negative", treatment) if value < 0 else None
    return negative or spec.limit(name, treatment)


def absolute(value: float, low: float, high: float) -> Interval:
    """Turn an interval of a number into one of its magnitude."""
    ends = sorted((abs(low), abs(high)))
    return abs(value), 0.0 if low <= 0 <= high else ends[0], ends[1]


DeviceVerdict = Compliance  #: the name in 0.1.0
