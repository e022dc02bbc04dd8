"""A design space as versioned data: what is fixed, what varies, and the designs that follow."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from voltaspin.core.errors import InputError, nearest
from voltaspin.core.files import as_object
from voltaspin.core.spec import Spec, shown
from voltaspin.cost.macro import Macro, MacroSpec
from voltaspin.cost.table import Draws
from voltaspin.memory import ArraySpec

Objective = Literal["quality", "energy", "latency", "area"]
Diffusion = Literal["gaussian", "in-place"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
#: Raised when equal designs give other results, so that no folder mixes the two.
RESULTS_OF = "0.2.0, lines by rows"
MOST_SETTINGS = 64  #: ways of sampling in one space, each of which has a front of its own
_OWN = ("model", "array", "steps", "diffusion", "cells_per_pixel")
#: Choices of an axis, each of which is built when a space is checked; and values of a range, of which two are.
MOST_CHOICES, MOST_VALUES = 1000, 1_000_000
_ARRAY = frozenset(ArraySpec.model_fields) - {"layers"}
_MACRO = frozenset(MacroSpec.model_fields)
_WHOLE = frozenset({"steps", "cells_per_pixel"})


class Range(Spec):
    """Numbers from ``low`` to ``high``.

    Args:
        low, high: its ends, both of which belong to it; whole numbers where both ends (and the step) are.
        log: whether equal ratios are equally likely.
        step: between neighbours; None: any number, or any whole number.

    Raises:
        InputError: an empty range, or one with a step that it has no use for.
    """

    KIND: ClassVar[str] = "design-range"
    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = None

    @model_validator(mode="after")
    def _filled(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"the range from {self.low:g} to {self.high:g} is empty; give a high above its low")
        if self.log and not self.low > 0:
            raise ValueError(f"low = {self.low:g} of a logarithmic range must be above 0")
        if self.log and self.step is not None:
            raise ValueError("a logarithmic range takes no step; leave one of them out, or list the choices")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(
                f"step = {self.step:g} does not fit from {self.low:g} to {self.high:g}; give one above 0 and at most "
                f"{self.high - self.low:g}"
            )
        if self.step is not None or self.whole:
            number = (self.high - self.low) / (1 if self.step is None else self.step)
            if not number < MOST_VALUES:
                raise ValueError(
                    f"the range from {self.low:g} to {self.high:g} has {number:.3g} values, more than {MOST_VALUES:,}; "
                    "give a larger step"
                )
        return self

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers only."""
        return all(isinstance(x, int) for x in (self.low, self.high, self.step) if x is not None)

    @property
    def values(self) -> list[Any] | None:
        """All its numbers; None where there are infinitely many."""
        if self.step is None and not self.whole:
            return None
        step = 1 if self.step is None else self.step
        n = math.floor((self.high - self.low) / step * (1 + 1e-12)) + 1
        return [self.low + i * step for i in range(n)]


Axis = list[Any] | Range
Choices = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """What the cheap stage cannot rank: designs compete within one setting.

    Args:
        model: text as of ``memory cost --model``; None for the shipped model.
        diffusion: how images are sampled; steps: evaluations of the network; cells_per_pixel: in place, else None.
    """

    model: str | None
    diffusion: Diffusion
    steps: int
    cells_per_pixel: int | None

    @property
    def name(self) -> str:
        """For people."""
        cells = "" if self.cells_per_pixel is None else f", {self.cells_per_pixel} cells per pixel"
        model = "" if self.model is None else f"{self.model}: "
        return f"{model}{'in place' if self.diffusion == 'in-place' else 'Gaussian'}, {self.steps} evaluations{cells}"

    def to_json(self) -> dict[str, Any]:
        """Return its fields."""
        return {"model": self.model, "diffusion": self.diffusion, "steps": self.steps,
                "cells_per_pixel": self.cells_per_pixel}  # fmt: skip


@dataclass(frozen=True)
class Design:
    """One point: a network in arrays of a macro, and how images are sampled with it."""

    setting: Setting
    array: ArraySpec
    macro: MacroSpec

    def to_json(self) -> dict[str, Any]:
        """Return its data."""
        return {**self.setting.to_json(), "array": self.array.to_json(), "macro": self.macro.to_json()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Design:
        """Read :meth:`to_json` data."""
        setting = Setting(**{name: data[name] for name in ("model", "diffusion", "steps", "cells_per_pixel")})
        return cls(setting, ArraySpec.from_json(data["array"]), MacroSpec.from_json(data["macro"]))


def computing(array: ArraySpec, macro: MacroSpec) -> ArraySpec:
    """Return arrays as they compute in a macro: where the noise of a column depends on its line, the macro decides."""
    return Macro(array, macro, _nominal()).placed if array.noise_follows_lines else array


@cache
def _nominal() -> Draws:
    return Draws(samples=100)


def key_of(what: dict[str, Any]) -> str:
    """Return the name of what is computed from JSON data."""
    text = json.dumps({**what, "voltaspin": RESULTS_OF}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


class DesignSpace(Spec):
    """What a design may be.

    Args:
        name: of the exploration; question: that it answers.
        model: text as of ``memory cost --model``, None for the shipped model, or a list of these, which is an axis:
            networks of different width.
        array: a preset, fields of an :class:`ArraySpec` (``"preset"`` among them: the preset that they change), or a
            list of these.
        macro: fields of a :class:`MacroSpec`.
        steps: evaluations of the network for an image; diffusion: ``gaussian`` or ``in-place``; cells_per_pixel: in
            place. A number or word, or a list; steps and cells_per_pixel may be ranges with a step.
        axes: fields that vary, ``array.FIELD`` or ``macro.FIELD``, with a list of choices or a range
            ``{"low", "high", "log", "step"}``. Names joined by commas take the same value, or one of a list each:
            ``"array.rows,array.columns": [128, 256]``.
        trials: designs in all; a space that has no more is tried point by point, a larger one searched.
        population: of the search, designs of a generation.
        seed: of the search.
        objectives: what a good design has little of; ``quality`` is the error of the network's output.
        images: noisy images on which that error is measured.
        survivors: how many designs of the fronts get a KID; 0 for none.
        kid_images: images of each of them.
        margin: largest difference of KID that counts as equal.

    Raises:
        InputError: an unknown field, an axis without values, or a value that its field cannot have.
    """

    KIND: ClassVar[str] = "design-space"
    VERSION: ClassVar[int] = 1
    name: str
    question: str = ""
    model: str | list[str | None] | None = None
    array: str | dict[str, Any] | list[str | dict[str, Any]] = "analog"
    macro: dict[str, Any] = Field(default_factory=dict)
    steps: int | list[int] | Range = 50
    diffusion: Diffusion | list[Diffusion] = "gaussian"
    cells_per_pixel: int | list[int] | Range = 31
    axes: dict[str, list[Any] | Range] = Field(default_factory=dict)
    trials: int = Field(default=200, ge=1, le=100_000)
    population: int = Field(default=32, ge=2, le=10_000)
    seed: int = Field(default=0, ge=0)
    objectives: tuple[Objective, ...] = OBJECTIVES
    images: int = Field(default=8, ge=2, le=1024)
    survivors: int = Field(default=0, ge=0, le=1000)
    kid_images: int = Field(default=512, ge=8, le=1_000_000)
    margin: float = Field(default=0.0277, gt=0, allow_inf_nan=False)

    @classmethod
    def from_json(cls, data: dict[str, Any], *, where: str = "specification") -> Self:
        """As :meth:`Spec.from_json`; a field or an axis that cannot be is named in words."""
        data = dict(as_object(data, where=where))
        if unknown := sorted(set(data) - set(cls.model_fields) - {"kind", "schema_version"}):
            raise InputError(f"{where}: field {unknown[0]!r} is unknown{nearest(unknown[0], cls.model_fields)}")
        axes = data.get("axes", {})
        given = dict(as_object(axes, where=f"{where}: axes")) | {n: data[n] for n in _WHOLE if n in data}
        for axis, values in given.items():
            if isinstance(values, dict):
                head = {"kind": Range.KIND, "schema_version": Range.VERSION}
                Range.from_json(head | values, where=f"{where}: axis {axis!r}")
            elif not isinstance(values, list) and axis not in _WHOLE:
                raise InputError(
                    f'{where}: axis {axis!r} = {shown(values)}: give a list of choices, or a range {{"low": 1, '
                    '"high": 8}'
                )
        return super().from_json(data, where=where)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if not self.name.strip():
            raise ValueError("name is empty; give the exploration one")
        if not self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise ValueError(f"objectives = {list(self.objectives)}: give each of {', '.join(OBJECTIVES)} at most once")
        taken: dict[str, str] = {}
        for axis, values in self.axes.items():
            for name in _names(axis):
                self._known(axis, name)
                if name in taken:
                    raise ValueError(f"axes {taken[name]!r} and {axis!r} both vary {name}; keep one of them")
                taken[name] = axis
            self._values(axis, values)
        for name in _OWN:
            if isinstance(getattr(self, name), list):
                self._values(name, getattr(self, name))
        for name in _WHOLE:
            given = getattr(self, name)
            if isinstance(given, Range) and (not given.whole or given.log):
                raise ValueError(f"{name} is a whole number: give whole low, high and step without log, or a list")
            if (least := min(_listed(given))) < 1:
                raise ValueError(f"{name} = {least} must be at least 1")
        if unknown := sorted(set(self.macro) - _MACRO):
            raise ValueError(f"macro.{unknown[0]} is unknown{nearest(unknown[0], _MACRO)}")
        for name in taken:
            head, _, field = name.partition(".")
            if head == "macro" and field in self.macro:
                raise ValueError(f"{name} is both fixed in macro and an axis; leave one of them out")
        if (many := len(self.settings())) > MOST_SETTINGS:
            raise ValueError(
                f"{many} combinations of model, diffusion, steps and cells_per_pixel are more than {MOST_SETTINGS}, "
                "each of which has a front of its own; give fewer"
            )
        if self.survivors and self.survivors < many:
            raise ValueError(
                f"survivors = {self.survivors} are fewer than the {many} combinations of model, diffusion, steps and "
                "cells_per_pixel, which only their KIDs can compare; give one for each, or 0"
            )
        if self.survivors and "quality" not in self.objectives:
            raise ValueError("survivors are chosen by their output error; add quality to objectives, or give 0")
        return self

    def _known(self, axis: str, name: str) -> None:
        head, _, field = name.partition(".")
        fields = {"array": _ARRAY, "macro": _MACRO}.get(head)
        if fields is None or not field:
            own = f"; {name} is a field of the space itself, which takes a list" if name in _OWN else ""
            raise ValueError(f"axis {axis!r}: {name!r} is no field of an array or a macro; write array.FIELD or "
                             f"macro.FIELD{own}")  # fmt: skip
        if field not in fields:
            raise ValueError(f"axis {axis!r}: {name} is unknown{nearest(field, fields)}")

    def _values(self, axis: str, values: Axis) -> None:
        if isinstance(values, Range):
            return
        if not values:
            raise ValueError(f"axis {axis!r} has no values; give at least one")
        if len(values) > MOST_CHOICES:
            raise ValueError(
                f"axis {axis!r} has {len(values):,} values, more than the {MOST_CHOICES:,} of which each is tried; "
                "give fewer, or a range"
            )
        texts = Counter(json.dumps(v, sort_keys=True) for v in values)
        if repeated := [t for t, n in texts.items() if n > 1]:
            raise ValueError(f"axis {axis!r} has the value {repeated[0]} more than once")
        names = _names(axis)
        for v in values:
            if isinstance(v, list) and (len(names) == 1 or len(v) != len(names)):
                raise ValueError(f"axis {axis!r}: {v} does not give one value for each of {', '.join(names)}")

    # Points

    def settings(self) -> list[Setting]:
        """Return the combinations within which designs compete."""
        found = []
        for model, kind, steps in itertools.product(_listed(self.model), _listed(self.diffusion), _listed(self.steps)):
            cells = _listed(self.cells_per_pixel) if kind == "in-place" else [None]
            found += [Setting(model, kind, steps, n) for n in cells]
        return found

    @property
    def varied(self) -> dict[str, Axis]:
        """The axes of arrays and macros."""
        arrays: dict[str, Axis] = {"array": self.array} if isinstance(self.array, list) else {}
        return arrays | self.axes

    @property
    def size(self) -> int | None:
        """Designs in all; None for infinitely many."""
        numbers = [None if (values := valued(axis)) is None else len(values) for axis in self.varied.values()]
        if None in numbers:
            return None
        return len(self.settings()) * math.prod(n or 0 for n in numbers)

    @property
    def is_grid(self) -> bool:
        """Whether every design is tried."""
        return self.size is not None and self.size <= self.trials

    def grid(self) -> Iterator[Choices]:
        """All choices of arrays and macros, which each setting combines with; the last axis varies fastest."""
        axes = {name: valued(axis) or [] for name, axis in self.varied.items()}
        for values in itertools.product(*axes.values()):
            yield dict(zip(axes, values, strict=True))

    def design(self, setting: Setting, choices: Choices) -> Design:
        """Return the design of a setting and a choice on each axis.

        Raises:
            InputError: arrays or a macro that cannot be, with the reason.
        """
        array: dict[str, Any] = {}
        macro = dict(self.macro)
        base = choices.get("array", self.array)
        for axis, value in choices.items():
            if axis == "array":
                continue
            names = _names(axis)
            for name, one in zip(names, value if isinstance(value, list) else [value] * len(names), strict=True):
                head, _, field = name.partition(".")
                (array if head == "array" else macro)[field] = one
        kind = {"kind": MacroSpec.KIND, "schema_version": MacroSpec.VERSION}
        fields = {"preset": base} if isinstance(base, str) else dict(base)
        built = ArraySpec.of(fields | array, where="array")
        return Design(setting, built, MacroSpec.from_json(kind | macro, where="macro"))


def valued(axis: Axis) -> list[Any] | None:
    """Return all values of an axis; None where there are infinitely many."""
    return axis if isinstance(axis, list) else axis.values


def _names(axis: str) -> list[str]:
    return [name.strip() for name in axis.split(",")]


def _listed(value: Any) -> list[Any]:
    if isinstance(value, Range):
        return value.values or []
    return value if isinstance(value, list) else [value]
