"""A pulse that warms the free layer, as a row of stretches of constant temperature, which both solvers follow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from voltaspin.device.junction import Junction, Pulse
from voltaspin.device.temperature import at_temperature
from voltaspin.device.torque import oxide_voltage

_STEPS = 40  #: of the time constant and of the pulse, at which the temperature is followed
_STRETCHES = 24  #: into which the largest rise is divided


def power(junction: Junction, voltage: float) -> float:
    """Return the power that warms the free layer [W] at ``voltage`` [V] of the pulse.

    That of the tunnel current, with the conductance between the two states, and that of the line.
    """
    across = oxide_voltage(junction, voltage)
    tunnel = across**2 * float(junction.conductance(0.0, across))
    return tunnel + (0.0 if junction.line is None else voltage**2 / junction.line.resistance)


def settled(junction: Junction, voltage: float) -> Junction:
    """Return the junction at the temperature that it takes on under a constant ``voltage`` [V] of the pulse."""
    if junction.heating is None or voltage == 0:
        return junction
    warm = at_temperature(
        junction, junction.temperature + junction.heating.thermal_resistance * power(junction, voltage)
    )
    return replace(warm, heating=None)


def rise(junction: Junction, pulse: Pulse, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rise of the temperature [K] at ascending ``times`` [s] after the pulse began, (n,).

    The power is taken at the temperature before the pulse, and constant between two times at its middle, so that the
    times should follow the edges.
    """
    assert junction.heating is not None
    heating = junction.heating
    middle = pulse.voltage_at((times[1:] + times[:-1]) / 2)
    target = heating.thermal_resistance * np.array([power(junction, float(V)) for V in middle])
    warm = np.zeros(len(times))
    for k, (step, final) in enumerate(zip(np.diff(times), target, strict=True)):
        warm[k + 1] = final + (warm[k] - final) * math.exp(-step / heating.tau)
    return warm


def stretches(junction: Junction, pulse: Pulse, end: float) -> Iterator[tuple[float, float, Junction]]:
    """Return (begin [s], end [s], junction at its temperature) from the beginning of a pulse to ``end`` [s].

    A junction without heating is one stretch. With it the temperature of a stretch is its mean, and changes by at
    most a 24th of the largest rise from one to the next; Ms, K_i, xi and TMR follow it
    (:func:`voltaspin.device.temperature.at_temperature`).
    """
    if junction.heating is None or junction.heating.thermal_resistance == 0 or end <= 0:
        yield 0.0, end, junction
        return
    step = min(junction.heating.tau, pulse.duration) / _STEPS
    knots = np.unique(np.clip([0.0, *pulse.knots, pulse.duration + pulse.tail, end], 0.0, end))
    times = np.unique(np.concatenate([_divided(a, b, step) for a, b in pairwise(knots)]))
    warm = rise(junction, pulse, times)
    grain = max(float(warm.max()) / _STRETCHES, 0.01)
    begin = 0
    for k in range(1, len(times)):
        last = k == len(times) - 1
        if last or abs(warm[k + 1] - warm[begin]) > grain:
            mean = float(np.trapezoid(warm[begin : k + 1], times[begin : k + 1]) / (times[k] - times[begin]))
            yield float(times[begin]), float(times[k]), at_temperature(junction, junction.temperature + mean)
            begin = k


def _divided(begin: float, end: float, step: float) -> NDArray[np.float64]:
    """Times between two knots: equal steps, the last ones after a pulse ever longer."""
    count = max(1, math.ceil((end - begin) / step))
    return np.linspace(begin, end, min(count, 4000) + 1)
