"""The outcome of an exploration: designs with their objectives and parts, the fronts, and what cannot be built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from voltaspin.core.format import energies, quantity, spread
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Part, Result
from voltaspin.cost.macro import MacroSpec
from voltaspin.design.space import DesignSpace, Objective, computing
from voltaspin.memory import ArraySpec

_SHOWN = 12  # designs of the fronts that a summary lists

#: What stands in tables for each objective.
UNITS: dict[Objective, str] = {"quality": "1", "energy": "pJ", "latency": "s", "area": "mm^2"}


class DesignPoint(Part):
    """One design: medians and 90 % ranges.

    Args:
        number: in the order in which designs were asked for, from 1.
        key: of its folder.
        model, diffusion, steps, cells_per_pixel: within which it competes.
        setting: the same in words.
        choices: on each axis of arrays and macros.
        array, macro: the specifications.
        objectives: ``quality`` [1], the output error; ``energy`` of an image [pJ]; ``latency`` of an image [s];
            ``area`` of the chip [mm^2].
        energy: [pJ] by component; area: [mm^2] by component.
        arrays, cells: of the chip; utilisation: share of the arrays' cells that hold weights.
        warnings: what a designer should know.
        front: whether no other design of its setting is better in one objective and no worse in all others. Of designs
            that are the same in everything computed, the first alone may be on a front.
        equal_to: number of that first one, where this design is the same as an earlier one.
        kid: of its images, where it survived.
    """

    number: int
    key: str
    model: str | None
    diffusion: str
    steps: int
    cells_per_pixel: int | None
    setting: str
    choices: dict[str, Any]
    array: dict[str, Any] = Field(repr=False)
    macro: dict[str, Any] = Field(repr=False)
    objectives: dict[Objective, Estimate]
    energy: dict[str, Estimate] = Field(repr=False)
    area: dict[str, Estimate] = Field(repr=False)
    arrays: int
    cells: int
    utilisation: float
    warnings: tuple[str, ...] = ()
    front: bool = False
    equal_to: int | None = None
    kid: Estimate | None = None

    @property
    def said(self) -> str:
        """Its choices in one line."""
        return ", ".join(f"{name}={value}" for name, value in self.choices.items())

    @property
    def computing(self) -> dict[str, Any]:
        """Fields of the arrays as they compute in the macro: equal ones make equal images."""
        made = computing(ArraySpec.from_json(self.array), MacroSpec.from_json(self.macro)).to_json()
        return {name: value for name, value in made.items() if name not in ("kind", "schema_version")}


class PrunedPoint(Part):
    """A design that cannot be built.

    Args:
        number: as of :class:`DesignPoint`.
        setting, choices: what was asked for.
        reason: why it cannot be.
    """

    number: int
    setting: str
    choices: dict[str, Any]
    reason: str


class DesignResult(Result):
    """An exploration of designs.

    Args:
        space: that was explored.
        search: ``grid`` where every design was tried, ``NSGA-II`` where they were searched for.
        points: designs, in the order in which they were asked for.
        pruned: those that cannot be built.
        repeated: how often the search asked for a design again, which was not computed again.
        errors: how many output errors were measured for all designs.
        baseline_kid: of images by the first model in floating point, with the most evaluations.
        notes: how the numbers are to be read.
    """

    KIND: ClassVar[str] = "design"
    space: DesignSpace = Field(repr=False)
    search: Literal["grid", "NSGA-II"]
    points: tuple[DesignPoint, ...] = Field(repr=False)
    pruned: tuple[PrunedPoint, ...] = Field(repr=False)
    repeated: int = 0
    errors: int = 0
    baseline_kid: Estimate | None = None
    notes: tuple[str, ...] = ()

    @property
    def front(self) -> list[DesignPoint]:
        """The designs of all fronts."""
        return [p for p in self.points if p.front]

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people: counts, the fronts, why designs cannot be built."""
        rows = [
            ("designs", f"{len(self.points)} by {self.search}, {len(self.front)} of them on a front, "
             f"{len(self.pruned)} that cannot be built"),
            *([("equal designs", f"{n} differ from an earlier one in fields that act on nothing there")]
              if (n := sum(p.equal_to is not None for p in self.points)) else []),
            ("output errors measured", f"{self.errors}, each for all designs with the same arrays"),
        ]  # fmt: skip
        by = self.space.objectives[0]
        best = sorted(self.front, key=lambda p: (p.setting, p.objectives[by].value))
        for p in best[:_SHOWN]:
            rows.append((f"design {p.number}", f"{p.setting}; {p.said}: {objectives_text(p)}"))
        if len(best) > _SHOWN:
            rows.append(("", f"and {len(best) - _SHOWN} more on the fronts"))
        rows += [(f"{n} cannot be built", reason) for reason, n in Counter(p.reason for p in self.pruned).most_common()]
        return rows + [("note", text) for text in self.notes]


def objective_text(name: Objective, e: Estimate) -> str:
    """Return an objective with its range for people."""
    if name == "energy":
        return energies(e)
    if name == "latency":
        return f"{quantity(e.value, 's')} ({quantity(e.low, 's')} to {quantity(e.high, 's')})"
    if name == "area":
        return spread(e, unit="mm²")
    return spread(e, 100, "%")


def objectives_text(p: DesignPoint) -> str:
    """Return all objectives of a design, and its KID."""
    said = [f"{name} {objective_text(name, e)}" for name, e in p.objectives.items()]
    return "; ".join(said + ([] if p.kid is None else [f"KID {spread(p.kid, 1e3)} x 1e-3"]))


def nondominated(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows no other row dominates: at most as large everywhere and smaller somewhere.

    Args:
        values: objectives of which less is better, float64 (n, k).

    Returns:
        bool (n,); equal rows do not dominate each other.
    """
    less_equal = (values[:, None, :] <= values[None, :, :]).all(-1)
    less = (values[:, None, :] < values[None, :, :]).any(-1)
    best: NDArray[np.bool_] = np.logical_not((less_equal & less).any(0))
    return best


def with_fronts(points: Sequence[DesignPoint], objectives: Sequence[Objective]) -> tuple[DesignPoint, ...]:
    """Mark the front of each setting, and the designs whose differences act on nothing.

    The fields of converters do nothing in arrays without any: such designs are equal in every part of their cost and
    in their error, so that one of them stands for all.
    """
    first: dict[str, int] = {}
    same = {p.number: first.setdefault(_computed(p), p.number) for p in sorted(points, key=lambda p: p.number)}
    marked: dict[int, bool] = {}
    for setting in dict.fromkeys(p.setting for p in points):
        here = [p for p in points if p.setting == setting and same[p.number] == p.number]
        values = np.array([[p.objectives[name].value for name in objectives] for p in here])
        marked |= {p.number: bool(best) for p, best in zip(here, nondominated(values), strict=True)}
    return tuple(
        p.model_copy(update={"front": marked.get(p.number, False),
                             "equal_to": None if same[p.number] == p.number else same[p.number]})
        for p in points
    )  # fmt: skip


def _computed(p: DesignPoint) -> str:
    """All that was computed of a design: equal texts are equal designs."""
    parts = (p.setting, p.objectives, p.energy, p.area, p.arrays, p.cells)
    return repr([sorted(x.items()) if isinstance(x, dict) else x for x in parts])


def survivors(points: Sequence[DesignPoint], most: int) -> list[DesignPoint]:
    """Return designs of the fronts for the costly stage, spread evenly over the output errors of each setting.

    Of designs whose arrays compute alike, which make the same images, the most frugal one is taken.

    Args:
        points: with their fronts marked.
        most: how many in all, shared evenly by the settings.
    """
    settings = list(dict.fromkeys(p.setting for p in points))
    chosen: list[DesignPoint] = []
    for place, setting in enumerate(settings):
        share = (most - len(chosen)) // (len(settings) - place)
        alike: dict[str, DesignPoint] = {}
        for p in sorted((p for p in points if p.setting == setting and p.front), key=_energy):
            alike.setdefault(str(sorted(p.computing.items(), key=str)), p)
        ordered = sorted(alike.values(), key=lambda p: (p.objectives["quality"].value, _energy(p)))
        n = min(share, len(ordered))
        chosen += [ordered[round(i * (len(ordered) - 1) / max(n - 1, 1))] for i in range(n)]
    return chosen


def _energy(p: DesignPoint) -> float:
    return next(p.objectives[name].value for name in ("energy", "latency", "area", "quality") if name in p.objectives)
