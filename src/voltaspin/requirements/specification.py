"""The specification of a noise device: for each axis the amplitude that images tolerate, as data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Z95
from voltaspin.core.result import Part, Result
from voltaspin.requirements.axes import CONTROL, HALVED, Axis, Treatment
from voltaspin.requirements.threshold import threshold
from voltaspin.study.equivalence import Equivalence
from voltaspin.study.specification import StudySpec

COMMAND = "python scripts/specification_study.py"


class Measured(Part):
    """A difference of KID from the baseline, with its standard error, and the number of images of either side."""

    condition: str
    difference: float
    std: float
    images: int

    @classmethod
    def of(cls, v: Equivalence) -> Self:
        """From a study's verdict."""
        return cls(condition=v.name, difference=v.difference, std=v.std, images=v.images)

    @property
    def text(self) -> str:
        """In thousandths, with the 95 % interval."""
        low, high = (1e3 * (self.difference + z * Z95 * self.std) for z in (-1, 1))
        return f"{1e3 * self.difference:.1f}e-3 ({low:.1f} to {high:.1f})"


class Limit(Part):
    """The amplitude of one defect that images tolerate, in one treatment.

    Args:
        name, title, unit, per_unit, treatment, scale, falling, note: as in :class:`voltaspin.requirements.axes.Axis`.
        amplitudes: that were tested, from the least harm to the most, SI.
        points: the difference found at each.
        said: ``reached``, ``not reached`` up to the last amplitude, or ``already outside`` at the first.
        value, low, high: as in :class:`voltaspin.requirements.threshold.Threshold`; up to ``low`` the images surely
            stay within the margin, and where it is None not even at the first amplitude.
    """

    name: str
    title: str
    unit: str
    per_unit: float
    treatment: Treatment
    scale: str
    falling: bool
    note: str
    amplitudes: tuple[float, ...] = Field(min_length=1)
    points: tuple[Measured, ...]
    said: Literal["reached", "not reached", "already outside"]
    value: float | None
    low: float | None
    high: float | None

    def shown(self, amplitude: float | None) -> str:
        """An amplitude in the unit for people, without the unit."""
        if amplitude is None:
            return ""
        value = amplitude * self.per_unit
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"

    @property
    def text(self) -> str:
        """The limit with its interval and unit, for people."""
        beyond, before = ("<", ">") if self.falling else (">", "<")
        first, last = self.shown(self.amplitudes[0]), self.shown(self.amplitudes[-1])
        unit = f" {self.unit}" if self.unit else ""
        low = f"{before} {first}" if self.low is None else self.shown(self.low)
        high = f"{beyond} {last}" if self.high is None else self.shown(self.high)
        if self.said == "not reached":
            return f"not reached: {beyond} {last}{unit}" + ("" if low == last else f" (95 %: from {low})")
        if self.said == "already outside":
            return f"already outside: {before} {first}{unit}" + ("" if high == first else f" (95 %: to {high})")
        ends = (high, low) if self.falling else (low, high)
        return f"{self.shown(self.value)}{unit} ({ends[0]} to {ends[1]})"


class NoiseSpecification(Result):
    """The limits that a noise device must keep, from one study of images.

    Args:
        margin: in KID, declared before.
        images, steps: behind each point, and network evaluations.
        baseline: what the differences are taken from.
        halved, control: the effect of halving the steps, and the positive control that must be found.
        limits: one for each axis and treatment.
        command, effort, environment: what made it, how long that took, and the versions behind it.
        reduced: whether this is a trial of the pipeline and no result.
    """

    KIND: ClassVar[str] = "noise-specification"
    VERSION: ClassVar[int] = 1
    margin: float = Field(gt=0)
    images: int
    steps: int
    baseline: str
    halved: Measured
    control: Measured
    limits: tuple[Limit, ...]
    command: str = COMMAND
    effort: str = ""
    reduced: bool = False

    @classmethod
    def of(
        cls, spec: StudySpec, verdicts: Iterable[Equivalence], axes: Sequence[Axis], *,
        halving: Equivalence | None = None, effort: str = "", reduced: bool = False,
    ) -> Self:  # fmt: skip
        """From a judged study.

        Args:
            spec, verdicts: the study and its differences.
            axes: that it asked about.
            halving: the effect of halving the steps from a study of more images, instead of this one's.
            effort: how long the study took, in words.
            reduced: whether it is a trial.

        Raises:
            InputError: a study without the halved steps or the control, or without any axis.
        """
        found = {v.name: Measured.of(v) for v in verdicts}
        if missing := [n for n in (HALVED, CONTROL) if n not in found]:
            raise InputError(f"study {spec.name!r} has no condition {missing[0]!r}; let {COMMAND} write its file")
        limits = []
        for axis in axes:
            if not all(condition in found for _, condition in axis.points):
                continue
            points = [found[condition] for _, condition in axis.points]
            at = threshold(
                [a for a, _ in axis.points], [p.difference for p in points], [p.std for p in points], spec.margin,
                scale=axis.scale,
            )  # fmt: skip
            limits.append(Limit(
                name=axis.name, title=axis.title, unit=axis.unit, per_unit=axis.per_unit, treatment=axis.treatment,
                scale=axis.scale, falling=axis.falling, note=axis.note, amplitudes=tuple(a for a, _ in axis.points),
                points=tuple(points), said=at.said, value=at.value, low=at.low, high=at.high,
            ))  # fmt: skip
        if not limits:
            raise InputError(f"study {spec.name!r} has no whole axis; let {COMMAND} write its file")
        return cls(
            margin=spec.margin, images=max(m.images for m in found.values()),
            steps=spec.named()[spec.baseline].steps, baseline=spec.baseline,
            halved=found[HALVED] if halving is None else Measured.of(halving), control=found[CONTROL],
            limits=tuple(limits), effort=effort, reduced=reduced,
        )  # fmt: skip

    @classmethod
    def shipped(cls) -> Self:
        """The one of the package."""
        return cls.load(Path(str(files("voltaspin") / "data" / "noise-specification.json")))

    def limit(self, name: str, treatment: str) -> Limit | None:
        """By axis and treatment; None where it was not asked."""
        return next((x for x in self.limits if (x.name, x.treatment) == (name, treatment)), None)

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(x.name for x in self.limits))

    @property
    def margin_said(self) -> str:
        """Say whether the margin is below the effect of halving the steps, and whether the control was found."""
        low = self.halved.difference - Z95 * self.halved.std
        less = low > self.margin
        halved = f"Halving the {self.steps} steps gives {self.halved.text} ({self.halved.images:,} images), " + (
            "more than the margin." if less else "**not shown to be more than the margin**."
        )
        found = abs(self.control.difference) > Z95 * self.control.std
        outside = abs(self.control.difference) - Z95 * self.control.std > self.margin
        control = (
            f"The positive control (p = 0.55, raw) gives {self.control.text}: "
            + ("found" if found else "**not found**")
            + (", and outside the margin." if outside else ", but **not shown to be outside the margin**.")
        )
        return f"{halved} {control}"
