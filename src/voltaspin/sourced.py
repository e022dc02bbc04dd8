"""A number that carries its unit, where it was read, and how far it can be trusted."""

from dataclasses import dataclass
from typing import Literal, get_args

from voltaspin.errors import InputError

Grade = Literal["measured", "fitted", "textbook", "derived", "recalled", "assumed"]


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

    def __str__(self) -> str:
        span = f" ({self.low:g} to {self.high:g})" if self.low is not None and self.high is not None else ""
        return f"{self.value:g}{span} {self.unit} [{self.grade}: {self.source}]"
