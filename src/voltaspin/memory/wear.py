"""Retention and wear: how long each cell of an array keeps its bit, and how many pulses its oxide survives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.device import Junction, Pulse
from voltaspin.device.breakdown import PowerLaw, lifetime
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
    typical = lifetime(junction, voltage=pulse.voltage, failure=-math.expm1(-1.0)) / pulse.width
    u = Stream.of(seed, "memory", "breakdown").uniforms(cells)
    with np.errstate(over="ignore"):
        return (typical * (-np.log(u)) ** (1 / PowerLaw().slope.value)).astype(np.float32)
