"""The voltage pulse on a junction: a trapezoid, rounded by the line on its way to the cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.units import require_positive, require_voltage
from voltaspin.device.torque import DrivenJunction, oxide_voltage


def _edge(time: NDArray[np.float64], duration: float, tau: float) -> NDArray[np.float64]:
    """Answer of a low-pass to a ramp from 0 to 1 over ``duration``: a difference of two ramp answers."""
    t = np.maximum(time, 0)
    if duration == 0:
        return -np.expm1(-t / tau)
    late = np.maximum(time - duration, 0)
    return (t - late + tau * (np.expm1(-t / tau) - np.expm1(-late / tau))) / duration


def _power(junction: DrivenJunction, voltage: float) -> float:
    """Power that a pulse draws [W] at one of its voltages [V]."""
    line = junction.line
    applied = voltage if line is None else line.gate * voltage
    across = oxide_voltage(junction, voltage)
    through = applied * across * float(junction.conductance(0.0, across))
    return through if line is None else through + voltage**2 / line.resistance


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """A trapezoidal voltage pulse, rounded by the line on its way to the cell.

    Args:
        voltage: at the top [V]; positive lowers the anisotropy.
        width: at half of the top [s], so that the area under the pulse is voltage * width.
        rise, fall: full durations of the linear edges [s]; zero is a rectangular pulse.
        tau: time constant of the first-order low-pass (RC of the line) that the trapezoid passes [s].
        jitter: standard deviation of the width from pulse to pulse [s], Gaussian.

    Raises:
        InputError: a duration is not positive, the edges do not fit into the width, or the jitter is so large
            that a width could come out at nothing.
    """

    voltage: float
    width: float
    rise: float = 0.0
    fall: float = 0.0
    tau: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        require_voltage("pulse voltage", self.voltage)
        require_positive("width", self.width, "s", "give the width at half height, e.g. 0.3 * ns")
        for name in ("rise", "fall", "tau", "jitter"):
            require_positive(name, getattr(self, name), "s", "give zero for none", zero=True)
        if self.rise + self.fall > 2 * self.width:
            raise InputError(
                f"rise {self.rise:g} s and fall {self.fall:g} s do not fit a width of {self.width:g} s at "
                "half height; their sum may be twice the width at most"
            )
        if self.jitter > (self.width - (self.rise + self.fall) / 2) / 6:
            raise InputError(
                f"jitter {self.jitter:g} s is more than a sixth of the flat part of a {self.width:g} s pulse; "
                "a Gaussian of that width would cut pulses off: give less, or average over widths yourself"
            )

    def with_width(self, width: float) -> Pulse:
        """Return the same pulse, without jitter, of another width [s]."""
        return replace(self, width=width, jitter=0.0)

    @property
    def duration(self) -> float:
        """From the first to the last moment with a voltage [s], the tail of the low-pass left out."""
        return self.width + (self.rise + self.fall) / 2

    @property
    def tail(self) -> float:
        """Return how long the low-pass gives a voltage after ``duration`` [s]: down to 1e-6 of the top."""
        return 14 * self.tau

    @property
    def knots(self) -> tuple[float, float, float, float]:
        """Times [s] at which the trapezoid bends."""
        return 0.0, self.rise, self.duration - self.fall, self.duration

    def voltage_at(self, time: ArrayLike) -> NDArray[np.float64]:
        """Return the voltage [V] at ``time`` [s] (any shape) after the pulse began."""
        time = np.asarray(time, np.float64)
        if self.tau > 0:
            return self._filtered(time)
        inside = np.interp(time, self.knots, [0.0, self.voltage, self.voltage, 0.0])
        if self.rise == 0:
            inside = np.where(time <= 0, self.voltage, inside)
        if self.fall == 0:
            inside = np.where(time >= self.duration, self.voltage, inside)
        return np.where((time < 0) | (time > self.duration), 0.0, inside)

    def _filtered(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """The trapezoid through the low-pass: each edge is answered by itself."""
        begin, top, end, off = self.knots
        return self.voltage * (_edge(time - begin, top - begin, self.tau) - _edge(time - end, off - end, self.tau))

    def energy(self, junction: DrivenJunction) -> float:
        """Return the ohmic energy of the pulse in one cell [J], charging of lines and of the cell not included.

        The conductance is the mean of the parallel and the antiparallel state at each voltage: a cell
        that is as often 0 as 1, or one that precesses through the plane. With a spin-orbit line it is the heat of the
        line and that of the junction under its gate voltage, with a series resistance that of the divider.
        """
        times = np.unique(np.clip([*self.knots, self.duration + self.tail], 0, None))
        nodes, weights = np.polynomial.legendre.leggauss(64)
        total = 0.0
        for a, b in pairwise(times):
            volts = self.voltage_at(a + (b - a) * (nodes + 1) / 2)
            power = [_power(junction, v) for v in map(float, volts)]
            total += float(weights @ power) * (b - a) / 2
        return total
