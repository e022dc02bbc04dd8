"""A study is checked as one piece before anything runs: types, sizes, every condition built, every field in use.

A field acts on a condition if some value of it changes the noise that the condition draws or the arithmetic of its
network. That is tried out, so no table has to know which field belongs to which choice: the source (or a small network
in arrays) is built with the field at several values, and what they give is compared. Since a field may act only where
others have other values (a start in equilibrium matters only to cells that remember), the others are varied too; their
words and switches, which are the condition's choices, are not.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.extras import NeedsExtra
from voltaspin.study.specification import ARRAY, SHIPPED, SOURCE_PARTS, Condition, Run, StudySpec

if TYPE_CHECKING:
    from voltaspin.study.size import Size

#: Fields whose values may be set where they change no image, since they decide how long a simulation takes.
_SIZES = frozenset({"memory.rows", "memory.columns"})
_WORDS = ("fixed", "rotated", "hashed", "inverse_cdf", "popcount", "digital", "analog", "resistance_sum", "multilevel",
          "bit-serial", "exact", "statistical", "differential", "offset")  # fmt: skip
_CONTEXTS = 2  # in which the other numbers are varied
_TRAINED = ("train_steps", "channels", "training", "recipe", *(f"train_{part}" for part in SOURCE_PARTS))
_ARRAYS = ("compute", "calibrate", "tune", "correct")

Probe = Callable[[dict[str, Any]], str | None]


@NeedsExtra("a study")
def check(spec: StudySpec) -> Size:
    """Build every condition and refuse fields that act on none of what it does.

    Raises:
        InputError: a condition that cannot be built, a field that does not act on a condition, or two names for the
            baseline.
    """
    named = spec.named()
    base = {path for path, _ in leaves(spec.base)}
    unused, known = set(base), dict[str, bool]()
    for name, condition in named.items():
        where = f"condition {name!r} of study {spec.name!r}"
        _built(condition, where)
        own = {path for path, _ in leaves(spec.fields_of(name))}
        for path in sorted(unused | own):  # a field of the base need act on one condition only
            if why := idle(condition, path, known, varied=path in spec.grid):
                if path in own:
                    raise InputError(f"{where}: {path} does not act on it: {why}; leave it out of this condition")
            else:
                unused.discard(path)
        if name != spec.baseline and condition == named[spec.baseline]:
            raise InputError(f"{where} is the baseline {spec.baseline!r} under another name; leave one of them out")
    if len(against := {c.reference for c in named.values()}) > 1:
        raise InputError(
            f"the conditions of study {spec.name!r} are scored against {len(against)} references; give one of them in "
            "base"
        )
    if unused:
        path = sorted(unused)[0]
        raise InputError(f"base of study {spec.name!r}: {path} acts on none of its conditions; leave it out")
    if len(spec.training_seeds) > 1 and not spec.trainings():
        raise InputError(
            f"study {spec.name!r} trains nothing, so its {len(spec.training_seeds)} training seeds do not act; leave "
            "training_seeds out, or set train"
        )
    from voltaspin.study.size import Size

    return Size.of(spec)


def _built(condition: Condition, where: str) -> None:
    from voltaspin.study.arrays import tuning_of
    from voltaspin.study.size import check_fit
    from voltaspin.study.work import built_source, sampling_of, training_source, training_spec

    try:
        sampling_of(condition)
        if (training := Run("", condition, 0, 0).training) is not None:
            training_spec(training)
            if training.noise != ARRAY:
                training_source(training)
        check_fit(condition)
        if condition.diffusion == "gaussian":
            built_source(condition, seed=0)
        if condition.compute is not None:
            _small_network(condition)
            tuning_of(condition)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def leaves(fields: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted names of set fields and their values; a field of ``Condition``, or one within its dictionaries."""
    for name, value in fields.items():
        if isinstance(value, Mapping) and "." not in name:
            for inner, deep in value.items():
                yield f"{name}.{inner}", deep
        elif value is not None:
            yield name, value


def idle(condition: Condition, path: str, known: dict[str, bool] | None = None, *, varied: bool = False) -> str:
    """Return why a field does not act on a condition; empty if it does.

    Args:
        condition: whose field it is.
        path: of the field, such as ``memory.K_eff_spread``.
        known: answers to remember from one condition to the next of equal choices.
        varied: whether the study varies it; then a size must change images as well.
    """
    head, _, inner = path.partition(".")
    if head in _TRAINED or (head == "data" and condition.diffusion != "real"):
        if condition.diffusion == "real":
            return "real images need no model"
        if condition.train == SHIPPED:
            return "the shipped model is trained already"
        part = head.removeprefix("train_")
        if part not in SOURCE_PARTS or head == part:
            return ""
        if condition.train == ARRAY:
            return "the array draws by itself"
        given = {name: getattr(condition, f"train_{name}") for name in SOURCE_PARTS}
        drawing = Condition(sample=condition.train, **given)
        return idle(drawing, f"{part}.{inner}" if inner else part, known, varied=varied)
    if head in ("data", "reference"):
        return ""
    if condition.diffusion == "real" and head == "train":
        return "real images need no model"
    if condition.diffusion == "real" and head in (*SOURCE_PARTS, *_ARRAYS, "sample"):
        return "real images draw nothing"
    if condition.diffusion == "in-place" and head in (*SOURCE_PARTS, "sample", "correct"):
        return "the array draws by itself"
    if head in _ARRAYS and condition.compute is None:
        return "its network computes in floating point"
    if condition.diffusion == "real" and head == "steps":
        return "real images take no steps"
    if inner and inner not in (getattr(condition, head) or {}):
        return f"it has no {path}"  # the base gives it, and the condition takes all of it away
    if (
        head not in (*SOURCE_PARTS, "compute")
        or not inner
        or (path in _SIZES and not varied and _has_memory(condition))
    ):
        return ""
    if head in SOURCE_PARTS and condition.sample in ("software", "software-16"):
        return f"noise {condition.sample!r} has no memory"
    parts = ("compute",) if head == "compute" else SOURCE_PARTS
    fields: dict[str, Any] = {"sample": condition.sample, "calibrate": condition.calibrate}
    fields |= {part: getattr(condition, part) or {} for part in parts}
    choices = json.dumps([path, _choices(fields)], sort_keys=True)
    known = {} if known is None else known
    if choices not in known or not known[choices]:
        known[choices] = _acts(fields, head, inner, _arithmetic if head == "compute" else _noise)
    what = "the network computes" if head == "compute" else "noise it draws"
    return "" if known[choices] else f"no value of it changes what {what}, with the other choices as they are"


def _has_memory(condition: Condition) -> bool:
    return condition.sample.startswith("memory") and "period" not in condition.source


def _choices(value: Any) -> Any:
    """The structure of fields with their words and switches, without their numbers."""
    if isinstance(value, Mapping):
        return {k: _choices(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_choices(v) for v in value]
    return value if isinstance(value, str | bool) or value is None else "number"


def _acts(fields: dict[str, Any], head: str, inner: str, probe: Probe) -> bool:
    answers: dict[str, str | None] = {}

    def ask(what: dict[str, Any]) -> str | None:
        key = json.dumps(what, sort_keys=True)
        if key not in answers:
            answers[key] = probe(what)
        return answers[key]

    value, built = fields[head][inner], False
    for turn in range(_CONTEXTS + 1):
        context = fields if turn == 0 else {k: _varied(v, turn - 1) for k, v in fields.items()}
        here = ask({**context, head: {**context[head], inner: value}})
        if here is None:
            continue
        built = True
        for other in others(value):
            there = ask({**context, head: {**context[head], inner: other}})
            if there is not None and there != here:
                return True
    return not built  # what cannot be built is refused for its own reason


def others(value: Any) -> list[Any]:
    """Other values of the same type, far and near; a reader refuses those that do not fit."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        near = (value + 1, value // 2, 2 * value, 1, 2, 8, 0)
        return [v for v in dict.fromkeys(near) if v != value]
    if isinstance(value, float):
        far = (value / 2, 2 * value, 0.3, 0.03, value / 10, 10 * value, 1.0, 0.0, 1e-3)
        return [v for v in dict.fromkeys(far) if v != value]
    if isinstance(value, str):
        return [word for word in _WORDS if word != value]
    if isinstance(value, Mapping):
        fewer = [{k: v for k, v in value.items() if k != left} for left in value]
        return [*fewer, *({k: _varied(v, turn) for k, v in value.items()} for turn in range(4))]
    if isinstance(value, list | tuple):
        return [[_varied(v, turn) for v in value] for turn in range(4)]
    return [0.3, 1, 2, True]


def _varied(value: Any, turn: int) -> Any:
    """The ``turn``-th other value of every number; words and switches stay."""
    if isinstance(value, Mapping):
        return {k: _varied(v, turn) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_varied(v, turn) for v in value]
    if isinstance(value, str | bool) or value is None:
        return value
    choice = others(value)
    return choice[turn % len(choice)]


def _noise(fields: dict[str, Any]) -> str | None:
    """Hash the noise of two images, until every cell has served again; None if the source cannot be built."""
    from voltaspin.study.work import built_source

    try:
        source = built_source(Condition(**fields, steps=9), seed=0)
        drawn = [source.normal((2, 28, 28), streams=[0, 3], step=step) for step in range(8)]
    except (InputError, TypeError, ValueError, OverflowError):
        return None
    return _digest(drawn)


def _arithmetic(fields: dict[str, Any]) -> str | None:
    """Hash the output of a small network of the same layers in arrays; None if it cannot be built."""
    import torch

    try:
        network = _small_network(Condition(compute=fields["compute"], calibrate=fields["calibrate"]))
        x = torch.from_numpy(_small_images())
        with torch.inference_mode():
            return _digest([network(x, t).sample.numpy() for t in (20, 700)])
    except (InputError, TypeError, ValueError, OverflowError):
        return None


def _small_network(condition: Condition) -> Any:
    """A network of the layers that every model of a study has, narrower, in the condition's arrays."""
    import torch

    from voltaspin.diffusion import TrainSpec
    from voltaspin.diffusion.recipe import make_model
    from voltaspin.memory import calibrate, convert
    from voltaspin.study.work import built_spec

    spec = built_spec(condition)
    small = make_model(TrainSpec(channels=(16, 16, 16)), channels=1, size=8).eval()
    if spec is None:
        return small
    network, _ = convert(small, spec)
    if condition.calibrate:
        with warnings.catch_warnings():  # of clipped conversions
            warnings.simplefilter("ignore")
            calibrate(network, [(torch.from_numpy(_small_images()), t) for t in (20, 360, 700)])
    return network


def _small_images() -> NDArray[np.float32]:
    from voltaspin.noise import PseudoSource

    return PseudoSource(seed=0).normal((2, 1, 8, 8), streams=[0, 1], step=0)


def _digest(arrays: list[Any]) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()
