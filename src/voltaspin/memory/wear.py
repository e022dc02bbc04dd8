"""Retention, wear and yield: how long cells keep their bit, how many pulses an oxide survives, how many are good."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.result import Result, Unit
from voltaspin.device import Junction, Pulse
from voltaspin.device.breakdown import PowerLaw, lifetime, stress
from voltaspin.device.retention import log_flip_rate
from voltaspin.device.temperature import at_temperature
from voltaspin.random.streams import Stream

Floats = NDArray[np.float64]

#: Nodes along each quantity that moves the barrier. ln(rate) is close to linear in all three.
_NODES = {"K_eff_scale": 5, "B_z": 3, "diameter_scale": 3}


@lru_cache(maxsize=16)
def _node_rates(
    junction: Junction, temperature: float, ranges: tuple[tuple[str, float, float], ...]
) -> tuple[Floats, Floats]:
    """ln(rate) out of the upper and the lower well on the tensor of Chebyshev nodes."""
    hot = at_temperature(junction, temperature)
    shape = tuple(_NODES[q] for q, _, _ in ranges)
    up, down = np.empty(shape), np.empty(shape)
    for index in np.ndindex(*shape):
        values = {q: (low + high) / 2 + (high - low) / 2 * _nodes(_NODES[q])[i]
                  for (q, low, high), i in zip(ranges, index, strict=True)}  # fmt: skip
        cell = hot.with_variation(**values)
        up[index], down[index] = (log_flip_rate(cell, well=w).value for w in ("up", "down"))
    return up, down


def _nodes(n: int) -> Floats:
    return np.asarray(np.cos(np.pi * (np.arange(n) + 0.5) / n))


def flip_rates(junction: Junction, cells: Mapping[str, NDArray[Any]], *, temperature: float) -> tuple[Floats, Floats]:
    """Thermal flips per second out of 0 and out of 1 of each cell.

    The Fokker-Planck rate at up to 45 cells over the range of the array, its logarithm interpolated by polynomials.

    Args:
        junction: of the nominal cell.
        cells: ``K_eff_scale``, ``B_z`` and ``diameter_scale`` of the cells, as far as they differ.
        temperature: [K].

    Returns:
        (rate out of 0, rate out of 1), float64 in the shape of the cells, () where all are equal.

    Raises:
        InputError: a cell without a barrier, see :func:`voltaspin.device.log_flip_rate`.
    """
    used = {q: v for q, v in cells.items() if q in _NODES}
    ranges = []
    for q, values in used.items():
        low, high = float(values.min()), float(values.max())
        room = 1e-6 * max(abs(low), abs(high), 1e-3)
        ranges.append((q, low - room, high + room))
    places = [(2 * v - low - high) / (high - low) for v, (_, low, high) in zip(used.values(), ranges, strict=True)]
    up, down = (np.exp(_chebyshev(t, places)) for t in _node_rates(junction, float(temperature), tuple(ranges)))
    return up, down


def _chebyshev(values: Floats, places: list[NDArray[Any]]) -> Floats:
    """The polynomial through ``values`` on the tensor of nodes, at ``places``, one array for each axis."""
    from numpy.polynomial import chebyshev

    for axis, n in enumerate(values.shape):
        inverse = np.linalg.inv(chebyshev.chebvander(_nodes(n), n - 1))
        values = np.moveaxis(np.tensordot(inverse, values, (1, axis)), 0, axis)
    total: Any = values
    for i, u in enumerate(places):
        total = chebyshev.chebval(u, total, tensor=i == 0)
    return np.asarray(total)


def after(rate_0: Floats, rate_1: Floats, seconds: float) -> tuple[Floats, Floats]:
    """Probability that a 0, and that a 1, is found as the other bit after a time: of a two-state Markov process."""
    total = rate_0 + rate_1
    gone = -np.expm1(-total * seconds)
    share = np.divide(rate_0, total, out=np.full_like(np.asarray(total, float), 0.5), where=total > 0)
    return np.asarray(share * gone), np.asarray((1 - share) * gone)


def oxide_lives(junction: Junction, pulse: Pulse, cells: int, *, seed: int) -> NDArray[np.float32]:
    """Pulses until the oxide of each cell breaks down: Weibull, as in ``device.breakdown``; float32 (cells,)."""
    typical = lifetime(junction, voltage=stress(junction, pulse), failure=-math.expm1(-1.0)) / pulse.width
    u = Stream.of(seed, "memory", "breakdown").uniforms(cells)
    with np.errstate(over="ignore"):
        return (typical * (-np.log(u)) ** (1 / PowerLaw().slope.value)).astype(np.float32)


TAILS = (1e-4, 1e-3, 1e-2, 0.5, 0.99, 0.999, 0.9999)  #: quantiles that are reported, as far as there are cells


class Yield(Result):
    """The figures of one array, as a tester would state them.

    Args:
        cells: in all; stuck, broken: of these.
        eps: distance from 1/2 that is allowed.
        mean, std: of p01 over the cells that are neither stuck nor broken.
        outside: share of these with p01 or p10 outside 1/2 ± eps.
        quantiles: of p01.
        misread: share of cells whose mean current lies on the wrong side of the reference in a state; None without
            ``access``.
        seconds, temperature: for which ``lost`` was asked; None where it was not.
        lost: expected share of bits lost over that time, 0 and 1 alike; None where it was not asked for.
        leaky: share of cells that lose their bit in that time with a probability above 1 %.
    """

    KIND: ClassVar[str] = "array-yield"
    cells: int
    stuck: int
    broken: int
    eps: float
    mean: Annotated[float, Field(title="mean of p01")]
    std: Annotated[float, Field(title="standard deviation of p01")]
    outside: Annotated[float, Field(title="share of cells outside 1/2 ± eps")]
    quantiles: Annotated[dict[float, float], Field(title="quantiles of p01")]
    misread: Annotated[float | None, Field(title="share of cells on the wrong side of the read reference")] = None
    seconds: Annotated[float | None, Unit("s")] = None
    temperature: Annotated[float | None, Unit("K")] = None
    lost: Annotated[float | None, Field(title="expected share of bits lost")] = None
    leaky: Annotated[float | None, Field(title="share of cells that lose their bit with more than 1 %")] = None


def measure(memory: Any, *, eps: float = 0.01, seconds: float | None = None, temperature: float | None = None) -> Yield:
    """Figures of an array, computed from what its cells are, without any pulse.

    Args:
        memory: a ``MagnetoelectricMemory``, whose module imports this one.
        eps: allowed distance of p01 and p10 from 1/2.
        seconds, temperature: to ask for the retention over that time [s] at that temperature [K]; the junction's
            own where absent.
    """
    if not 0 < eps < 0.5:
        raise InputError(f"eps = {eps} must lie between 0 and 1/2; give e.g. 0.01")
    good = ~memory.broken
    places, _ = memory._stuck_at
    good.ravel()[places] = False
    if not good.any():
        raise InputError("every cell is stuck or broken, so there is nothing to judge; lower stuck or the wear")
    p01, p10 = memory.p01[good], memory.p10[good]
    outside = (np.abs(p01 - 0.5) > eps) | (np.abs(p10 - 0.5) > eps)
    misread = None
    if memory.access is not None:
        wrong = np.zeros(good.shape, bool)
        for bit in (0, 1):
            mean, _ = memory.access.currents(np.full(good.shape, bit, np.uint8), memory.quantities)
            wrong |= (mean < memory.access.reference()) != bit
        misread = float(wrong[good].mean())
    lost = leaky = None
    if seconds is not None:
        if memory.junction is not None and temperature is None:
            temperature = memory.junction.temperature
        p0, p1 = memory.forgetting(seconds, temperature=temperature)
        each = (p0 + p1)[good] / 2
        lost, leaky = float(each.mean()), float((each > 0.01).mean())
    n = int(good.sum())
    return Yield(
        cells=memory.cells, stuck=len(places), broken=int(memory.broken.sum()), eps=eps, mean=float(p01.mean()),
        std=float(p01.std()), outside=float(outside.mean()),
        quantiles={q: float(np.quantile(p01, q)) for q in TAILS if min(q, 1 - q) * n >= 1},
        misread=misread, seconds=seconds, temperature=temperature, lost=lost, leaky=leaky,
    )  # fmt: skip
