"""A design space is checked as one piece before anything runs: models, and which designs could be built."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from voltaspin.core.errors import InputError
from voltaspin.cost.macro import Macro
from voltaspin.cost.table import Draws
from voltaspin.design.evaluate import network_of
from voltaspin.design.space import Axis, Choices, DesignSpace, Range, Setting, valued
from voltaspin.diffusion.sampling import time_steps

_SHAPE = (1, 28, 28)  # of the images that a KID has a reference for
_TRIED = 64  # designs that are tried with each value of an axis, where the space is too large for all
Reason = Callable[[Choices], str]


def check_space(space: DesignSpace) -> Counter[str]:
    """Refuse a space whose models cannot do what is asked, or in which a value belongs to no design.

    Every design of a grid is built; of a larger space the ends and choices of each axis, with others at random.

    Returns:
        How many of the designs that were built cannot be, by reason.

    Raises:
        InputError: says what cannot be, and why.
    """
    for setting in space.settings():
        _check_setting(space, setting)
    why = reason_of(space)
    if space.is_grid:
        tried = [(choices, why(choices)) for choices in space.grid()]
        axes = {name: valued(v) or [] for name, v in space.varied.items()}
    else:
        axes = {name: v if isinstance(v, list) else [v.low, v.high] for name, v in space.varied.items()}
        tried = _tried(space, axes, why)
    reasons = Counter(r for _, r in tried if r)
    if len(tried) == sum(reasons.values()):
        raise InputError(f"design space {space.name!r}: no design of it can be built: {reasons.most_common(1)[0][0]}")
    for axis, values in axes.items():
        for value in values:
            here = [r for choices, r in tried if choices[axis] == value]
            if here and all(here):
                which = f"none of the {len(here)} designs" + ("" if space.is_grid else " tried")
                raise InputError(
                    f"design space {space.name!r}: axis {axis!r} = {value}: {which} with it can be built: "
                    f"{Counter(here).most_common(1)[0][0]}"
                )
    return reasons


def reason_of(space: DesignSpace) -> Reason:
    """Return a function that says why the arrays and the macro of some choices cannot be built; empty if they can."""
    draws, setting, known = Draws(samples=100), space.settings()[0], dict[str, str]()

    def why(choices: Choices) -> str:
        try:
            made = space.design(setting, choices)
        except InputError as error:
            return str(error)
        key = f"{made.array.model_dump_json()} {made.macro.model_dump_json()}"
        if key not in known:
            try:
                Macro(made.array, made.macro, draws).check()
                known[key] = ""
            except InputError as error:
                known[key] = str(error)
        return known[key]

    return why


def _tried(space: DesignSpace, axes: dict[str, list[Any]], why: Reason) -> list[tuple[Choices, str]]:
    """Each value of each axis, with others until one design can be built or all attempts are spent."""
    found: list[tuple[Choices, str]] = []
    for axis, values in axes.items():
        for value in values:
            for others in middling(space):
                choices = others | {axis: value}
                found.append((choices, why(choices)))
                if not found[-1][1]:
                    break
    return found or [({}, why({}))]


def middling(space: DesignSpace) -> Iterator[Choices]:
    """Designs of a space from the middle of every axis on, which fill the axes evenly and without chance."""
    for attempt in range(_TRIED):
        yield {
            name: _at(axis, (0.5 + attempt * math.sqrt(2 + place)) % 1.0)
            for place, (name, axis) in enumerate(space.varied.items())
        }


def _at(axis: Axis, share: float) -> Any:
    """The value of an axis at a share of its way."""
    values = valued(axis)
    if values is not None:
        return values[int(share * len(values))]
    assert isinstance(axis, Range)
    if axis.log:
        return float(axis.low * (axis.high / axis.low) ** share)
    return float(axis.low + share * (axis.high - axis.low))


def _check_setting(space: DesignSpace, setting: Setting) -> None:
    network = network_of(setting.model)
    if "quality" in space.objectives:
        network.in_float()
    if network.pipeline is not None:
        time_steps(network.pipeline.scheduler, setting.steps)
    elif setting.diffusion == "in-place":
        raise InputError(
            f"model {setting.model} is no pipeline that voltaspin samples, so that it cannot diffuse in place; give "
            'one, or "diffusion": "gaussian"'
        )
    if space.survivors and (network.pipeline is None or network.pipeline.image_shape != _SHAPE):
        raise InputError(
            f"survivors = {space.survivors}: a KID needs a pipeline of images of {' x '.join(map(str, _SHAPE))}, which "
            f"model {setting.model} is not; give 0 survivors"
        )
    if network.trace.macs is None:
        raise InputError(
            f"model {setting.model}: {', '.join(network.trace.uncounted)} cannot be counted, so that it has no price; "
            "give another model"
        )
