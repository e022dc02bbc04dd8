"""The voltage at which a junction gives up its bit at zero temperature: the scale of a search for pulses.

VCMA, spin transfer and a spin-orbit line each have such a voltage. The least of them says which of them writes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.device.energy import Energy
from voltaspin.device.fokker_planck import sufficient_degree, switching_pair
from voltaspin.device.junction import Junction, Pulse
from voltaspin.device.parameters import AT_REST
from voltaspin.device.protocol import Protocol
from voltaspin.device.torque import oxide_voltage, spin_orbit_field, spin_torque_field

#: Relaxation times of a pulse by torque: near twice the threshold, where a torque writes with the least energy.
TORQUE_WIDTH = 3
_MULTIPLES = (0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)  # over the threshold, to search
Way = Literal["VCMA", "spin transfer", "spin-orbit torque"]
_ALONG = 0.7  # cosine between a torque's polarisation and m from which it acts against the damping


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """Where a bit 0 is lost at zero temperature.

    Args:
        voltage: of the pulse [V], with the sign that takes a 0 to a 1.
        way: what does it.
    """

    voltage: float
    way: Way


def threshold(junction: Junction) -> Threshold:
    """Return the least of the voltages at which VCMA, spin transfer or a spin-orbit line takes a 0 over.

    * VCMA: K_eff vanishes.
    * Spin transfer: a_J = alpha (B_k + B_z); where m is not on the axis, alpha times the mean curvature of the energy.
    * A spin-orbit line across m: B_k sqrt(1 - s^2) (s - h) with s = (h + sqrt(h^2 + 8)) / 4 and h the field along the
      current over B_k. A step at low damping needs some 20 % less. A line along m acts as spin transfer does.

    Args:
        junction: with two wells.

    Raises:
        InputError: no well of a 0, or nothing by which a voltage acts.

    Source: J. Z. Sun, Phys. Rev. B 62, 570 (2000); K.-S. Lee et al., Appl. Phys. Lett. 102, 112410 (2013).
    """
    m, stiffness = _bottom(junction)
    found: list[Threshold] = []
    line, at_oxide = junction.line, 1.0 if junction.line is None else junction.line.gate
    if junction.xi and junction.K_eff() > 0 and at_oxide:
        V_c = junction.K_eff() * junction.t_F * junction.t_ox / junction.xi
        found.append(Threshold(voltage=_applied(junction, V_c), way="VCMA"))
    if junction.spin_transfer is not None and at_oxide:
        found += _along("spin transfer", spin_torque_field(junction, 1.0), m, junction.reference, stiffness, junction)
    if line is not None and (a := spin_orbit_field(junction, 1.0)):
        if abs(float(m @ np.array(line.sigma))) > _ALONG:
            found += _along("spin-orbit torque", a, m, line.sigma, stiffness, junction)
        else:
            B_k = junction.B_k() if junction.B_k() > 0 else stiffness / junction.alpha_G
            across = float(np.cross(junction.B_bias, line.sigma)[2])
            h = min(abs(across) / B_k, 1.0)
            s = (h + math.sqrt(h**2 + 8)) / 4
            size = B_k * math.sqrt(max(1 - s**2, 0.0)) * max(s - h, 0.0) / abs(a)
            found.append(Threshold(voltage=-size if a * across > 0 else size, way="spin-orbit torque"))
    if not found:
        raise InputError(
            f"nothing by which a voltage acts on {junction.name}: give it xi, spin_transfer or a line, or give the "
            "voltage and width of its pulse"
        )
    return min(found, key=lambda t: abs(t.voltage))


def _bottom(junction: Junction) -> tuple[np.ndarray, float]:
    """The minimum of the energy of a 0 at zero volt, and alpha_G times the mean curvature there [T]."""
    energy = Energy.of(replace(junction, **AT_REST), kT=1.0)
    scale = junction.Ms * junction.volume
    reference = np.array(junction.reference)
    if energy.axial and reference[2]:
        m = np.array([0.0, 0.0, math.copysign(1.0, reference[2])])
        curvature = float(m[2] * np.polynomial.polynomial.polyval(m[2], energy.field))
    else:
        minima = [s for s in energy.stations if s.kind == 0 and float(s.m @ reference) > 0]
        if not minima:
            raise InputError(f"{junction.name} has no well of a 0; give the voltage and width of its pulse")
        m, curvature = minima[0].m, sum(minima[0].curvatures) / 2
    if curvature <= 0:
        raise InputError(f"{junction.name} has no well of a 0; give the voltage and width of its pulse")
    return m, junction.alpha_G * curvature / scale


def _along(
    way: Way, per_volt: float, m: np.ndarray, direction: tuple[float, float, float], field: float, junction: Junction
) -> list[Threshold]:
    """The threshold of a torque along m: it turns m towards ``direction`` where its field is positive."""
    cosine = float(m @ np.array(direction))
    if not per_volt or abs(cosine) < 1 - _ALONG:
        return []
    voltage = -field / (per_volt * cosine)
    return [Threshold(voltage=_applied(junction, voltage) if way == "spin transfer" else voltage, way=way)]


def _applied(junction: Junction, across: float) -> float:
    """The voltage of the pulse at which the oxide sees ``across`` [V]."""
    ratio = 1.0
    for _ in range(50):
        gate = 1.0 if junction.line is None else junction.line.gate
        seen = oxide_voltage(junction, across * ratio / gate)
        ratio *= across / seen
    return across * ratio / (1.0 if junction.line is None else junction.line.gate)


def half_pulse(junction: Junction, scale: float, near: float, asked: Protocol) -> tuple[Pulse, bool]:
    """Return the pulse of a torque that makes a fair bit, and whether the bit must be reset before it.

    Args:
        junction: nominal cell.
        scale: voltage of its :func:`threshold` [V].
        near: distance of p01 and p10 from 1/2 at which the bit counts as forgotten [1].
        asked: its time of relaxation and its torque.

    Raises:
        InputError: no voltage up to five thresholds makes a fair bit.
    """
    from scipy.optimize import brentq

    width = TORQUE_WIDTH * junction.relaxation_time
    weak, strong = (Pulse(voltage=k * scale, width=width) for k in (1, 2))
    degree = sufficient_degree(junction, weak, relax=asked.relax, spin_torque=asked.spin_torque)

    def flips(voltage: float) -> tuple[float, float]:
        pulse = Pulse(voltage=voltage, width=width)
        return switching_pair(junction, pulse, relax=asked.relax, spin_torque=asked.spin_torque, degree=degree)

    if max(abs(p - 0.5) for p in flips(strong.voltage)) <= near:
        return strong, False
    low = 0.5 * scale
    for k in _MULTIPLES:
        high = k * scale
        if flips(high)[0] >= 0.5:
            voltage = brentq(lambda V: flips(V)[0] - 0.5, low, high, xtol=1e-5 * abs(scale))
            return Pulse(voltage=float(voltage), width=width), True
        low = high
    raise InputError(
        f"no voltage up to {low:.3g} V for {1e9 * width:.3g} ns takes a 0 of {junction.name} to a 1 with a probability "
        "of 1/2; give the voltage and width of its pulse"
    )
