"""Noise defects, one per axis, and the study that measures how much of each is tolerated.

Every axis begins at ideal cells, whose images are those of 16-bit software by construction, and changes one thing.
Amplitudes are in SI. Some axes need no images of their own:

* Cells that are alike and keep no trim have two numbers, p01 and p10. A junction under another pulse is such a cell,
  and where p01 = p10 = p it is the one of correlation 1 - 2 p: the axes of the pulse's voltage and width take the
  deviations at which the generator has the correlations of the correlation's axis, and share its images.
* The field's amplitudes are those at which the generator has a given negative bias; both names share the images. The
  junction's own p01 and p10 are taken, whose correlation is not quite zero (0.08 at 37 mT).
* The XOR of two cells of bias b has bias -2 b^2, of two of correlation r and no bias r^2, whatever the sign: under
  XOR a negative bias or correlation has the images of the positive one, in distribution.
* A fair cell is fair under XOR: quantisation and a short period are asked once. The temperature's largest correlation
  is 0.03, under XOR 0.001: asked raw.

All memory's conditions share every random word with the baseline and are paired with it bit by bit, the quantised ones
through :class:`voltaspin.noise.Requantised`; a periodic source is not, since it shares no word.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from voltaspin.core.errors import InputError
from voltaspin.device import Pulse, SwitchingModel
from voltaspin.device.density import first_degree
from voltaspin.device.fokker_planck import switching_pair
from voltaspin.device.junction import Junction
from voltaspin.device.temperature import at_temperature
from voltaspin.study.cells import Cells
from voltaspin.study.specification import StudySpec

Treatment = Literal["raw", "xor"]
Scale = Literal["linear", "log"]
Fields = dict[str, Any]

BASELINE, HALVED, CONTROL = "software-16", "steps halved", "positive control, p = 0.55 raw"
MARGIN = 0.0277  #: in KID, the margin of the package's other studies
STEPS, IMAGES, SEEDS = 25, 224, (1, 2)  #: network evaluations; images for each seed of an array
_HALVING_SEEDS = (1, 2, 3, 4, 5, 6, 7, 8)  # other steps are hardly paired: more images show the same

_RAW = (0.002, 0.005, 0.01, 0.02, 0.05)
_XOR = (0.03, 0.05, 0.07, 0.1, 0.16)
_BIAS: dict[Treatment, tuple[float, ...]] = {"raw": (0.0005, 0.001, *_RAW), "xor": (0.01, 0.02, *_XOR)}
_DRIFT: dict[Treatment, tuple[float, ...]] = {"raw": _RAW, "xor": _XOR}
_CORRELATIONS: dict[Treatment, tuple[float, ...]] = {
    "raw": (0.05, 0.1, 0.2, 0.4, 0.8),
    "xor": (0.05, 0.1, 0.2, 0.3, 0.45, 0.65, 0.9),
}
_PERIOD_IMAGES = 56  # images in one period of the drift, so that each seed has four of them
_SMALL = {"rows": 112, "columns": 224}  # the 25,088 cells of a draw under XOR: moving thresholds cost by the cell
_RELAX, _FINER = 10e-9, 16  # time before the bit is read [s]; degrees of the harmonics above the least
_KELVIN = (100.0, 125.0, 150.0, 175.0, 200.0)


@dataclass(frozen=True)
class Axis:
    """One defect of noise, in one treatment.

    Args:
        name: of the axis; the same raw and under XOR.
        title: in words.
        unit: for people, and ``per_unit``, how many of it make one of the amplitude's.
        treatment: ``raw``, or ``xor`` of two cells.
        points: (amplitude, name of the condition), from the least harm to the most.
        scale: on which thresholds are interpolated.
        falling: whether harm grows as the amplitude falls.
        note: for the reader.
    """

    name: str
    title: str
    unit: str
    per_unit: float
    treatment: Treatment
    points: tuple[tuple[float, str], ...]
    scale: Scale = "linear"
    falling: bool = False
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """Axes, and the conditions that their points name."""

    axes: tuple[Axis, ...]
    conditions: dict[str, Fields]

    def study(self, *, images: int = IMAGES, steps: int = STEPS, seeds: tuple[int, ...] = SEEDS) -> StudySpec:
        """Return the study of these axes, with the baseline, the positive control and the halved steps."""
        control = {"cells": _cells(bias=0.05), "source": {"settled": True}}
        return StudySpec(
            name="The specification of a noise device",
            question="How much of each imperfection do the images of the shipped model tolerate? Ancestral sampling; "
            "the margin is the package's, declared before, and must be less than the effect of halving the steps.",
            margin=MARGIN, baseline=BASELINE, base={"sample": "memory-raw", "images": images, "steps": steps},
            conditions={
                BASELINE: {"sample": "software-16"},
                HALVED: {"sample": "software-16", "steps": max(1, steps // 2)},
                CONTROL: control, **self.conditions,
            },
            sampling_seeds=seeds,
        )  # fmt: skip


def halving_study() -> StudySpec:
    """Return the study of halving the steps, which the margin is compared with; it has more images than a plan."""
    return StudySpec(
        name="What halving the steps does",
        question="Is the margin of the specification of a noise device less than the effect of halving the steps?",
        margin=MARGIN, baseline=BASELINE, base={"sample": "software-16", "images": IMAGES, "steps": STEPS},
        conditions={BASELINE: {}, HALVED: {"steps": STEPS // 2}}, controls=(HALVED,), yardstick=HALVED,
        sampling_seeds=_HALVING_SEEDS,
    )  # fmt: skip


@dataclass
class _Making:
    axes: list[Axis]
    conditions: dict[str, Fields]

    def axis(
        self, name: str, title: str, amplitudes: Iterable[float], fields: Callable[[float], Fields],
        treatment: Treatment = "raw", *, unit: str = "", per_unit: float = 1.0, scale: Scale = "linear",
        falling: bool = False, note: str = "",
    ) -> None:  # fmt: skip
        """An axis with conditions of its own."""
        points = []
        for a in amplitudes:
            condition = f"{name}={a:g} {treatment}"
            self.conditions[condition] = {**({"sample": "memory-xor"} if treatment == "xor" else {}), **fields(a)}
            points.append((a, condition))
        self.axes.append(Axis(name, title, unit, per_unit, treatment, tuple(points), scale, falling, note))


def _cells(**what: float) -> Fields:
    made = Cells.of(**what)
    return {"p01": made.p01, "p10": made.p10, **({"spread": made.spread} if made.spread else {})}


def _stationary(cells: Fields) -> Fields:
    return {"cells": cells, "source": {"settled": True}}


def _drift(rms: float) -> Fields:
    from voltaspin.memory import Imperfections

    im = Imperfections.none()
    return {
        "cells": _cells(), "memory": _SMALL,
        "imperfections": {
            "temperature_drift": rms, "slopes": {"temperature": [1.0, -1.0]},
            "drift_period": _PERIOD_IMAGES * im.steps * im.step,
        },
    }  # fmt: skip


def _telegraph(swing: float) -> Fields:
    return {
        "cells": _cells(), "memory": _SMALL,
        "imperfections": {
            "telegraph": 1.0, "telegraph_field": swing, "telegraph_dwell": 0.01, "slopes": {"B_z": [1.0, -1.0]},
        },
    }  # fmt: skip


def _spread(mapping: str) -> Callable[[float], Fields]:
    return lambda s: {"cells": _cells(spread=s), "source": {"mapping": mapping}}


@cache
def plan(*, junction: bool = True) -> Plan:
    """All axes that have images of their own.

    Args:
        junction: whether those that need the Fokker-Planck equation of the generator (a negative bias, the
            temperature) are among them; some ten seconds.
    """
    m = _Making([], {})
    for t, grid in _BIAS.items():
        m.axis("bias", "bias of all cells, P(1) - 1/2", grid, lambda b: _stationary(_cells(bias=b)), t)
    if junction:
        m.axis("bias-negative", "bias of all cells, 1/2 - P(1)", _RAW,
               lambda b: _stationary(_in_field(_field_of_bias(b))),
               note="the generator in a field, with its r there; "
                    "under XOR it has the distribution of the positive one")  # fmt: skip
    for t in ("raw", "xor"):
        m.axis("correlation", "lag-1 correlation of a cell's bits, positive", _CORRELATIONS[t],
               lambda r: _stationary(_cells(correlation=r)), t)  # fmt: skip
    m.axis("correlation-negative", "lag-1 correlation of a cell's bits, negative", (0.01, 0.02, *_CORRELATIONS["raw"]),
           lambda r: _stationary(_cells(correlation=-r)),
           note="under XOR it has the distribution of the positive one")  # fmt: skip
    grids: dict[Treatment, tuple[float, ...]] = {
        "raw": (0.01, 0.02, 0.04, 0.08, 0.12), "xor": (0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.12),
    }  # fmt: skip
    for mapping in ("fixed", "rotated", "hashed"):
        for t, grid in grids.items():
            m.axis(f"spread-{mapping}", f"fixed bias of each cell, standard deviation, {mapping} mapping", grid,
                   _spread(mapping), t)  # fmt: skip
    for t, grid in _DRIFT.items():
        m.axis("drift", "common bias that drifts from image to image, root mean square", grid, _drift, t)
    for t in ("raw", "xor"):
        m.axis("telegraph", "telegraph noise of every cell's bias, ±", (0.05, 0.1, 0.2, 0.3, 0.45), _telegraph, t,
               note="a new level is chosen every ten draws of an image")  # fmt: skip
    m.axis("bits", "bits of a number, inverse CDF", (12, 8, 6, 5, 4), _shaped("inverse_cdf"), falling=True,
           note="fair cells; under XOR it is the same by construction")  # fmt: skip
    m.axis("popcount", "bits of a number, popcount", (16, 8, 4, 2, 1), _shaped("popcount"), falling=True, scale="log",
           note="fair cells; under XOR it is the same by construction")  # fmt: skip
    m.axis("period", "period of the bit stream", (2**19 - 1, 2**16 - 1, 2**13 - 1, 2**10 - 1, 2**7 - 1),
           lambda P: {"source": {"period": int(P)}}, unit="bits", falling=True, scale="log",
           note="not paired with the baseline; under XOR of two such streams it has the same distribution")  # fmt: skip
    if junction:
        m.axis("temperature", "temperature of the junction above 300 K", _KELVIN, lambda T: _stationary(_warm(T)),
               unit="K", note="the material's laws are assumed that far; under XOR r is below 0.001")  # fmt: skip
    return Plan(tuple(m.axes), m.conditions)


def _shaped(shaping: str) -> Callable[[float], Fields]:
    return lambda n: {"cells": _cells(), "source": {"shaping": [shaping, int(n)]}}


def chosen(whole: Plan, names: Iterable[str]) -> Plan:
    """Some axes of a plan, by name, with the conditions that they need."""
    names = set(names)
    axes = tuple(a for a in whole.axes if a.name in names)
    if unknown := names - {a.name for a in axes}:
        raise InputError(
            f"no axis is called {sorted(unknown)[0]!r}; known: {', '.join({a.name: 0 for a in whole.axes})}"
        )
    needed = {condition for a in axes for _, condition in a.points}
    return Plan(axes, {n: c for n, c in whole.conditions.items() if n in needed})


def shared_axes(of: Plan) -> tuple[Axis, ...]:
    """The axes of the junction's pulse and field that have the images of others, those of a plan.

    Solves the Fokker-Planck equation a few hundred times: a minute.
    """
    named = {(a.name, a.treatment): a for a in of.axes}
    made = []
    for t in _CORRELATIONS:
        for name, what, side in _PULSES:
            # under XOR the sign of a correlation does not matter
            of_axis = named.get(("correlation-negative" if side == "width-above" and t == "raw" else "correlation", t))
            if of_axis is None:
                continue
            sign = -1 if side == "width-above" else 1
            reached = ((_deviation(side, sign * r), condition) for r, condition in of_axis.points)
            points = tuple(point for point in reached if math.isfinite(point[0]))
            if len(points) < 2:
                continue
            unit, per_unit = ("mV", 1e3) if name == "voltage" else ("ps", 1e12)
            made.append(Axis(side, what, unit, per_unit, t, points,
                             note=f"it uses the images of {of_axis.name}, whose p01 = p10 is the same"))  # fmt: skip
        of_axis = named.get(("bias-negative" if t == "raw" else "bias", t))
        if of_axis is not None:
            points = tuple((_field_of_bias(b), condition) for b, condition in of_axis.points)
            made.append(Axis("field", "stray field along z of all cells", "mT", 1e3, t, points,
                             note=f"it uses the images of {of_axis.name}"))  # fmt: skip
    return tuple(made)


_PULSES = (
    ("voltage", "voltage of the pulse below the generator's", "voltage-below"),
    ("voltage", "voltage of the pulse above the generator's", "voltage-above"),
    ("width", "width of the pulse below the generator's", "width-below"),
    ("width", "width of the pulse above the generator's", "width-above"),
)


# -- the junction: the generator under its fair pulse -------------------------------------------------------------


@cache
def _generator() -> tuple[Junction, Pulse]:
    model = SwitchingModel.shipped()
    assert model.junction is not None
    assert model.pulse is not None
    return model.junction, model.pulse


def pair(junction: Junction, pulse: Pulse, *, finer: int = _FINER, least: int = 0) -> tuple[float, float]:
    """(p01, p10) under a pulse, from the Fokker-Planck equation, ``finer`` degrees above the least that resolves it."""
    degree = max(first_degree(junction), least) + finer
    return switching_pair(junction, pulse, relax=_RELAX, spin_torque=False, degree=degree)


def bias_and_correlation(p01: float, p10: float) -> tuple[float, float]:
    """P(1) - 1/2 in the long run and the lag-1 correlation of a cell that is not reset; (0, 1) of one that is stuck."""
    return (p01 / (p01 + p10) - 0.5 if p01 + p10 > 0 else 0.0), 1 - p01 - p10


@cache
def _correlation(side: str, share: float) -> float:
    """Of the generator whose pulse is off by a share of its voltage or width."""
    junction, pulse = _generator()
    quantity, direction = side.split("-")
    factor = 1 + share if direction == "above" else 1 - share
    moved = replace(pulse, **{quantity: factor * getattr(pulse, quantity)})
    return bias_and_correlation(*pair(junction, moved))[1]


def _deviation(side: str, correlation: float) -> float:
    """The smallest deviation of a pulse [V or s] at which the generator's bits have a correlation."""
    sign = 1 if correlation > 0 else -1
    share = first_beyond(lambda x: sign * (_correlation(side, x) - correlation), step=0.05, most=0.95)
    return share * float(getattr(_generator()[1], side.split("-")[0]))


@cache
def _field_of_bias(bias: float) -> float:
    """Field along z [T] at which the generator has the bias ``-bias``."""
    junction, pulse = _generator()

    def over(B: float) -> float:
        return -bias_and_correlation(*pair(junction.with_variation(B_z=B), pulse))[0] - bias

    return first_beyond(over, step=0.01, most=0.06)


def _in_field(B: float) -> Fields:
    junction, pulse = _generator()
    p01, p10 = pair(junction.with_variation(B_z=B), pulse)
    return {"p01": round(p01, 5), "p10": round(p10, 5)}


def _warm(kelvin: float) -> Fields:
    junction, pulse = _generator()
    p01, p10 = pair(at_temperature(junction, junction.temperature + kelvin), pulse)
    return {"p01": round(p01, 5), "p10": round(p10, 5)}


def first_beyond(over: Callable[[float], float], *, step: float, most: float) -> float:
    """The smallest size at which a function rises above zero: on a grid of ``step``, then by Brent's method.

    Returns:
        The size, to 1e-3 of ``step``; infinite where the function stays at or below zero up to ``most``.
    """
    from scipy.optimize import brentq

    low, high = 0.0, step
    while over(high) <= 0:
        low, high = high, high + step
        if high > most * (1 + 1e-9):
            return math.inf
    return float(brentq(over, low, high, xtol=1e-3 * step)) if over(low) <= 0 else low
