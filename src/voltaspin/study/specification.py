"""The file of a study as versioned data, and the single runs that follow from it."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_object
from voltaspin.core.spec import Spec
from voltaspin.study.contents import contents, recipe_fields, weights_of

MOST_CONDITIONS = 2_000  #: of a study; each is built before anything runs
MOST_RUNS = 100_000
LONGEST_NAME = 200  #: characters of a condition's name

SOURCE_PARTS = ("memory", "imperfections", "cells", "source")  #: fields that describe a noise further
SHIPPED, ARRAY = "shipped", "array"  #: the model of the package, and counts of an array, in place of a noise


class Condition(Spec):
    """One way to make images.

    Args:
        train: noise of the training, as ``--noise`` takes it, such as ``memory-xor`` or ``memory:k=1 | xor:2``;
            ``array`` trains on the counts of an array, ``shipped`` takes the model of the package.
        sample: noise of the sampling, likewise.
        images, steps: how many, and network evaluations for each.
        train_steps, channels: of a training run, and of its network, where no recipe says them.
        recipe: of the training: a name (``cifar10-small``) or a file of ``voltaspin template train``; ``training`` then
            changes its fields.
        data: images of the training, or the real ones, in place of Fashion-MNIST.
        reference: file of ``voltaspin reference`` to score against, in place of the shipped one; the same for all
            conditions of a study. Its extractor is taken.
        train_memory, train_imperfections, train_cells, train_source: of the noise of the training, as ``memory``,
            ``imperfections``, ``cells`` and ``source`` are of the sampling.
        memory: fields of ``MagnetoelectricMemory`` that differ, such as ``K_eff_spread``.
        imperfections: fields of ``Imperfections`` that differ from none; empty: none at all.
        compute: fields of an ``ArraySpec`` for the network, beside a ``preset`` such as ``analog`` if that is given;
            absent: floating point.
        cells: what one cell of the memory does, in place of a junction's model: fields of
            :class:`voltaspin.study.cells.Cells`.
        source: fields of ``MemorySource`` that differ (``mapping``, ``reset``, ``settled``), ``shaping`` as a pair such
            as ``["inverse_cdf", 8]`` (:class:`voltaspin.noise.Requantised`), or ``period`` alone: bits after which a
            looped source begins again, in place of a memory.
        diffusion: ``gaussian``; ``in-place``, whose array draws by itself; or ``real``: real images that the extractor
            has not seen, and not generated ones.
        training: fields of the ``TrainSpec`` (``InPlaceTrainSpec`` of ``array``) that differ, such as ``batch``.
        sampling: arguments of the sampler that differ: ``sampler``, ``eta``, ``churn``, ``label``, ``guidance``,
            ``precision``, ``batch``; in place ``cells_per_pixel``, ``variance``, ``dither``, ``order``, ``reads``,
            ``precision``, ``batch`` and ``cells``, the fields of a ``CellSpec``; for real images ``bits``, planes of a
            grey level that are kept.
        calibrate: choose the ranges of the network's arrays on noisy garments before sampling.
        tune: hardware-aware fine-tuning of the network in its arrays: ``steps`` and ``rate``.
        correct: images on which the noise of the arithmetic is measured, to be taken off the sampler's; 0 for none.
        model: folder of a pipeline in place of the shipped one, whose weights count into the key of a run.
    """

    KIND: ClassVar[str] = "study-condition"
    VERSION: ClassVar[int] = 1
    train: str = SHIPPED
    sample: str = "software"
    images: int = Field(default=1000, ge=4, le=1_000_000)
    steps: int = Field(default=50, ge=1, le=1000)
    train_steps: int = Field(default=2000, ge=1, le=100_000_000)
    channels: tuple[int, ...] = (32, 64, 96)
    memory: dict[str, Any] = Field(default_factory=dict)
    imperfections: dict[str, Any] = Field(default_factory=dict)
    compute: dict[str, Any] | None = None
    cells: dict[str, Any] = Field(default_factory=dict)
    source: dict[str, Any] = Field(default_factory=dict)
    diffusion: Literal["gaussian", "in-place", "real"] = "gaussian"
    training: dict[str, Any] = Field(default_factory=dict)
    sampling: dict[str, Any] = Field(default_factory=dict)
    calibrate: bool = False
    tune: dict[str, float] = Field(default_factory=dict)
    correct: int = Field(default=0, ge=0, le=100_000)
    model: str = ""
    recipe: str = ""
    data: str = ""
    reference: str = ""
    train_memory: dict[str, Any] = Field(default_factory=dict)
    train_imperfections: dict[str, Any] = Field(default_factory=dict)
    train_cells: dict[str, Any] = Field(default_factory=dict)
    train_source: dict[str, Any] = Field(default_factory=dict)

    @field_validator("train", "sample")
    @classmethod
    def _repeatable(cls, noise: str, info: ValidationInfo) -> str:
        from voltaspin.noise.grammar import LIVE, words_of

        if info.field_name == "train" and noise in (SHIPPED, ARRAY):
            return noise
        word = words_of(noise)[0]
        if word in (*LIVE, "system"):
            raise ValueError(f"{noise!r} gives each bit once, and runs must be repeatable; record it first")
        return noise

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        usual = type(self).model_fields
        for name in ("train_steps", "channels") if self.recipe else ():
            if getattr(self, name) != usual[name].default:
                inner = {"train_steps": "steps"}.get(name, name)
                raise ValueError(f"{name} is said by recipe = {self.recipe!r}; give training.{inner} instead")
        if self.data and "data" in self.training:
            raise ValueError(f"data = {self.data!r} and training.data say one thing; leave one of them out")
        return self

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if self.model and self.train != "shipped":
            raise ValueError(f"model = {self.model!r} is trained already; leave out train = {self.train!r}, or model")
        return self

    def to_json(self) -> dict[str, Any]:
        """Leave out the fields that came later where they have their defaults, so that the keys of older runs stay."""
        return {k: v for k, v in super().to_json().items() if k not in _LATER or v not in (_LATER[k], None)}


#: Fields that 0.1.0 or the first runs did not know, and their defaults.
_LATER: dict[str, Any] = {
    "cells": {}, "source": {}, "diffusion": "gaussian", "training": {}, "sampling": {}, "calibrate": False, "tune": {},
    "correct": 0, "model": "", "recipe": "", "data": "", "reference": "",
    **{f"train_{part}": {} for part in SOURCE_PARTS},
}  # fmt: skip

#: Version whose results a run has; raised when equal fields make other images, so that no study mixes the two.
RESULTS_OF: Literal["0.1.0"] = "0.1.0"


def _key(what: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps({**what, "voltaspin": RESULTS_OF}, sort_keys=True).encode()).hexdigest()[:20]


def _bit_line(compute: dict[str, Any]) -> dict[str, float]:
    """The bit line of arrays whose noise depends on it: its length by the rows is a part of what they compute."""
    from voltaspin.memory.crossbar.spec import ArraySpec

    try:
        spec = ArraySpec.of(compute, where="compute")
    except InputError:  # refused where the study is checked
        return {}
    return {"line_capacitance": spec.bit_line} if spec.noise_follows_lines else {}


@dataclass(frozen=True)
class Training:
    """One model that conditions share.

    Args:
        noise: of its training; ``array`` for counts of an array, which draws by itself.
        steps: of the optimiser; channels: of the network.
        seed: of the run.
        fields: of the specification that differ.
        source: what describes the noise further, by :data:`SOURCE_PARTS`.
    """

    noise: str
    steps: int
    channels: tuple[int, ...]
    seed: int
    fields: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"training with {self.noise}, seed {self.seed}"

    @property
    def key(self) -> str:
        """Name of its folder."""
        noises, fields = [self.noise] if self.noise != ARRAY else [], self.fields
        files = contents(noises=noises, data=str(fields.get("data", "")), start=str(fields.get("start", "")))
        return _key(self.to_json() | ({"files": files} if files else {}))

    def to_json(self) -> dict[str, Any]:
        more = {name: value for name in ("fields", "source") if (value := getattr(self, name))}
        return {"kind": "training", "noise": self.noise, "steps": self.steps, "channels": list(self.channels),
                "seed": self.seed, **more}  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Training:
        return cls(**{k: v for k, v in data.items() if k != "kind"} | {"channels": tuple(data["channels"])})


@dataclass(frozen=True)
class Run:
    """One condition with its seeds.

    Args:
        name: of the condition.
        condition: what to do.
        training_seed, sampling_seed: of the two parts.
    """

    name: str
    condition: Condition
    training_seed: int
    sampling_seed: int

    @property
    def key(self) -> str:
        """Name of its folder: a hash of all that decides its result, so that equal runs are one."""
        c, condition = self.condition, self.condition.to_json()
        if c.model:
            condition["model"] = weights_of(c.model)
        if c.compute is not None:
            condition["compute"] = {**c.compute, **_bit_line(c.compute)}
        # The training's own key holds the contents of what it reads.
        files = contents(noises=[c.sample], data=c.data, reference=c.reference)
        if self.training is not None and (c.recipe or c.data or self.training.source):
            files["training"] = self.training.key
        return _key({
            **({"files": files} if files else {}),
            "condition": condition, "sampling_seed": self.sampling_seed,
            # the shipped weights are what they are
            "training_seed": 0 if self.training is None else self.training_seed,
        })  # fmt: skip

    @property
    def training(self) -> Training | None:
        """The model that it needs; None for the shipped one and for real images."""
        c = self.condition
        if c.diffusion == "real" or c.train == SHIPPED:
            return None
        fields, steps, channels = dict(c.training), c.train_steps, c.channels
        if c.recipe:
            fields = recipe_fields(c.recipe, in_place=c.train == ARRAY) | fields
            steps, channels = int(fields.pop("steps")), tuple(fields.pop("channels"))
        if c.data:
            fields["data"] = c.data
        source = {part: given for part in SOURCE_PARTS if (given := getattr(c, f"train_{part}"))}
        return Training(c.train, steps, channels, self.training_seed, fields=fields, source=source)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "run", "name": self.name, "condition": self.condition.to_json(),
            "training_seed": self.training_seed, "sampling_seed": self.sampling_seed,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Run:
        return cls(data["name"], Condition.from_json(data["condition"]), data["training_seed"], data["sampling_seed"])


class StudySpec(Spec):
    """A grid or a list of conditions times seeds.

    Args:
        name: of the study; question: that it answers.
        margin: largest difference of KID that counts as equal, declared before anything is run.
        baseline: name of the condition that all others are compared with.
        base: fields of every condition.
        grid: field (``memory.K_eff_spread`` for a field of a field) to its values: every combination is a condition,
            called ``field=value, ...``.
        axes: field to its values, one at a time: each value is a condition, called ``field=value``, unless ``base`` has
            it.
        conditions: name to fields, instead of a grid or beside it.
        against: name of a condition to the one that it is compared with, where that is not the baseline.
        training_seeds, sampling_seeds: every combination with every condition.
        controls: names of conditions that must be found different, or the study could find nothing.
        yardstick: name of the condition whose effect the margin must be less than.
    """

    KIND: ClassVar[str] = "study"
    VERSION: ClassVar[int] = 1
    name: str
    question: str = ""
    margin: float = Field(gt=0, allow_inf_nan=False)
    baseline: str
    base: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    conditions: dict[str, dict[str, Any]] = Field(default_factory=dict)
    against: dict[str, str] = Field(default_factory=dict)
    training_seeds: tuple[int, ...] = (0,)
    sampling_seeds: tuple[int, ...] = (0,)
    controls: tuple[str, ...] = ()
    yardstick: str = ""

    model_config = ConfigDict(strict=True)

    def __init__(self, **fields: Any) -> None:
        super().__init__(**{k: _tuples(v) if k.endswith("seeds") or k == "controls" else v for k, v in fields.items()})

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a study file; a missing margin and an empty grid are said in words."""
        data = read_object(path)
        if "margin" not in data:
            raise InputError(
                f"{path} declares no margin; write the largest difference of KID that you would call equal, before "
                'anything is run: "margin": 0.01'
            )
        spec = cls.from_json(data, where=str(path))
        spec.runs()
        return spec

    @property
    def size_of_grid(self) -> int:
        """Combinations of the grid."""
        return math.prod(len(values) for values in self.grid.values()) if self.grid else 0

    def fields_of(self, name: str) -> dict[str, Any]:
        """Return the fields that a condition sets itself, beside ``base``."""
        return self._own()[name]

    def _own(self) -> dict[str, dict[str, Any]]:
        """Fields of every condition, from the list and from the grid."""
        if empty := [name for name, values in (*self.grid.items(), *self.axes.items()) if not values]:
            raise InputError(f"the grid of study {self.name!r} is empty: {', '.join(empty)} has no values")
        if (many := self.size_of_grid + len(self.conditions) + sum(map(len, self.axes.values()))) > MOST_CONDITIONS:
            raise InputError(
                f"the study {self.name!r} comes to {many} conditions, more than {MOST_CONDITIONS}; take fewer values "
                f"of {', '.join(self.grid) or 'its fields'}, or split it"
            )
        found: dict[str, dict[str, Any]] = dict(self.conditions)
        made = (
            [dict(zip(self.grid, v, strict=True)) for v in itertools.product(*self.grid.values())] if self.grid else []
        )
        made += [{k: v} for k, values in self.axes.items() for v in values if v != self.value_in_base(k)]
        for chosen in made:
            name = ", ".join(f"{k}={v}" for k, v in chosen.items())
            if name in found:
                raise InputError(f"the study {self.name!r} has two conditions called {name!r}; repeat no value")
            found[name] = chosen
        return found

    def value_in_base(self, path: str) -> Any:
        """The value of a dotted field in ``base``; None where it has none."""
        head, _, rest = path.partition(".")
        inner = self.base.get(head)
        return self.base.get(path, inner.get(rest) if isinstance(inner, dict) else inner)

    def named(self) -> dict[str, Condition]:
        """Every condition by name.

        Raises:
            InputError: none at all, an unknown field, or a baseline that is not among them.
        """
        found = self._own()
        if not found:
            raise InputError(f"the study {self.name!r} has no condition; fill its grid or its conditions")
        for name in found:
            if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
                raise InputError(
                    f"the study {self.name!r} calls a condition {name[:LONGEST_NAME]!r}; give a name of 1 to "
                    f"{LONGEST_NAME} printable characters"
                )
        made = {name: self._condition(name, fields) for name, fields in found.items()}
        if self.baseline not in made:
            raise InputError(f"baseline {self.baseline!r} is none of the conditions: {', '.join(made)}")
        for name in (*self.controls, *((self.yardstick,) if self.yardstick else ())):
            if name not in made or name == self.baseline:
                raise InputError(f"control or yardstick {name!r} is none of the other conditions: {', '.join(made)}")
        for name, other in self.against.items():
            if name not in made or other not in made or name in (other, self.baseline):
                raise InputError(
                    f"the study {self.name!r} compares {name!r} with {other!r}: give two different conditions, the "
                    f"first not the baseline, of {', '.join(made)}"
                )
        if not self.training_seeds or not self.sampling_seeds:
            raise InputError(f"the study {self.name!r} needs at least one training seed and one sampling seed")
        for what, seeds in (("training", self.training_seeds), ("sampling", self.sampling_seeds)):
            repeated = [seed for seed, times in Counter(seeds).items() if times > 1]
            if repeated:
                raise InputError(
                    f"the study {self.name!r} gives the {what} seed {repeated[0]} {seeds.count(repeated[0])} times: "
                    "equal seeds make equal images, which are no new evidence; give each seed once"
                )
            if min(seeds) < 0:
                raise InputError(f"the study {self.name!r}: {what} seed {min(seeds)} must not be negative")
        if (many := len(made) * len(self.training_seeds) * len(self.sampling_seeds)) > MOST_RUNS:
            raise InputError(
                f"the study {self.name!r} comes to {many} runs, more than {MOST_RUNS}; take fewer seeds, or split it"
            )
        return made

    def _condition(self, name: str, fields: dict[str, Any]) -> Condition:
        try:
            merged: dict[str, Any] = json.loads(json.dumps(self.base, allow_nan=False))
            fields = json.loads(json.dumps(fields, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InputError(f"condition {name!r} of study {self.name!r} is no JSON data ({error})") from None
        for path, value in fields.items():
            head, _, rest = path.partition(".")
            if rest:
                if not isinstance(merged.get(head) or {}, dict):
                    raise InputError(f"condition {name!r} of study {self.name!r}: field {head!r} has no field {rest!r}")
                inner = dict(merged.get(head) or {})
                inner[rest] = value
                merged[head] = inner
            else:
                merged[head] = value
        try:
            return Condition.model_validate({k: _tuples(v) for k, v in merged.items()}, strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise InputError(f"condition {name!r} of study {self.name!r}: field {where!r}: {first['msg']}") from None

    def runs(self) -> list[Run]:
        """Every condition with every pair of seeds, in a fixed order; runs of equal key are one."""
        seeds = list(itertools.product(self.training_seeds, self.sampling_seeds))
        return [Run(name, condition, *pair) for name, condition in self.named().items() for pair in seeds]

    def trainings(self) -> list[Training]:
        """The models that its runs need, each once."""
        found = {t.key: t for r in self.runs() if (t := r.training) is not None}
        return list(found.values())


def _tuples(value: Any) -> Any:
    """Lists of JSON as the tuples that the fields are."""
    return tuple(value) if isinstance(value, list) else value


def job_from_json(data: dict[str, Any]) -> Run | Training:
    """A run or a training from its data."""
    return Training.from_json(data) if data["kind"] == "training" else Run.from_json(data)
