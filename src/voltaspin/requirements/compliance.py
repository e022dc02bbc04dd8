"""How a noise device stands to the specification: a row for each axis, and the verdict in words.

Junctions are judged in ``junction_verdict.py``, recorded bits in ``bits_verdict.py``.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from voltaspin.requirements.specification import Limit, NoiseSpecification

TREATMENTS = ("raw", "xor")
MAPPINGS = ("fixed", "rotated", "hashed")

Said = Literal["meets", "fails", "undecided"]
Interval = tuple[float, float, float]  # value, low, high


@dataclass(frozen=True)
class Row:
    """One axis in one treatment.

    Args:
        axis, title, unit, per_unit, treatment: of the specification.
        amplitude, low, high: of the device, SI; for a period that was not found, high is infinite.
        limit: of the specification, in words.
        said: ``meets`` where the whole interval of the device lies within what is surely borne, ``fails`` where it lies
            wholly beyond the limit's own interval, else ``undecided``.
        margin_left: the limit over the worse end of the device's interval (of a period the other way round); infinite
            for nothing at all. Where the limit was not reached, the largest amplitude that was asked stands for it.
    """

    axis: str
    title: str
    unit: str
    per_unit: float
    treatment: str
    amplitude: float
    low: float
    high: float
    limit: str
    said: Said
    margin_left: float


@dataclass(frozen=True)
class DeviceVerdict:
    """All axes of one device.

    Args:
        subject: what was judged.
        rows: every axis raw and under XOR of two cells.
        assumed: what was taken for granted.
    """

    subject: str
    rows: tuple[Row, ...]
    assumed: tuple[str, ...]

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

    def to_json(self) -> dict[str, Any]:
        def finite(x: Any) -> Any:
            return None if isinstance(x, float) and not math.isfinite(x) else x

        return {
            "kind": "noise-verdict", "schema_version": 1, "subject": self.subject, "assumed": list(self.assumed),
            "rows": [{k: finite(v) for k, v in asdict(r).items()} for r in self.rows],
            "treatments": {
                t: {
                    "meets": all(r.said == "meets" for r in self.of(t)),
                    "fails": [r.axis for r in self.of(t) if r.said == "fails"],
                    "first": self.of(t)[0].axis if self.of(t) else None, "verdict": self.sentence(t),
                }
                for t in TREATMENTS
            },
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [self.subject, *(f"assumed: {a}" for a in self.assumed), ""]
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
    """A device's amplitude, not negative, against its limit."""
    value, low, high = found
    down = limit.falling
    bears, outside = limit.low, limit.high if limit.said != "not reached" else None
    if bears is not None and (low >= bears if down else high <= bears):
        said: Said = "meets"
    elif outside is not None and (high <= outside if down else low >= outside):
        said = "fails"
    else:
        said = "undecided"
    at = _at(limit)
    left = low / at if down else math.inf if high == 0 else at / high
    return Row(
        limit.name, limit.title, limit.unit, limit.per_unit, limit.treatment, value, low, high, limit.text, said, left
    )


def _at(limit: Limit) -> float:
    """The limit as one number: the last amplitude stands for one that was not reached, the first for one before it."""
    if limit.value is not None:
        return limit.value
    return limit.amplitudes[-1 if limit.said == "not reached" else 0]


def signed_limit(spec: NoiseSpecification, name: str, value: float, treatment: str) -> Limit | None:
    """The limit for a sign; under XOR, or where the negative one was not asked, that of the positive one."""
    negative = spec.limit(f"{name}-negative", treatment) if value < 0 else None
    return negative or spec.limit(name, treatment)


def absolute(value: float, low: float, high: float) -> Interval:
    """An interval of a number as one of its size."""
    ends = sorted((abs(low), abs(high)))
    return abs(value), 0.0 if low <= 0 <= high else ends[0], ends[1]
