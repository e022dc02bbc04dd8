"""The energy of a macrospin over k_B T: its two wells, the saddle between them, and what the wells hold.

In an effective field of the anisotropy along z and a constant field, all stations of the energy lie on the great
circle through the field. A spin torque has no energy, except along z without an in-plane field: there its field
a_J acts as a magnetic field a_J / alpha_G along z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.units import k_B
from voltaspin.device.torque import TorqueParameters, spin_torque_field

Well = Literal["up", "down"]


class EnergyParameters(TorqueParameters, Protocol):
    """The parameters of a junction on which its energy depends, in SI."""

    @property
    def alpha_G(self) -> float: ...
    @property
    def B_bias(self) -> tuple[float, float, float]: ...
    @property
    def B_in_plane(self) -> float: ...
    @property
    def volume(self) -> float: ...
    @property
    def temperature(self) -> float: ...

    def Delta(self, voltage: float = 0.0) -> float: ...
    def require_plain(self, what: str) -> None: ...


def effective_B_z(junction: EnergyParameters, voltage: float, *, spin_torque: bool) -> float:
    """Return the field along z [T] in which a junction without torque has the same wells.

    Raises:
        InputError: torque of a current together with an in-plane field, which no energy describes.

    Source: the drift of m_z is (1 - m_z^2) (alpha_G (B_k m_z + B_z) + a_J) gamma_e / (1 + alpha_G^2); see W. H.
    Butler et al., IEEE Trans. Magn. 48, 4684 (2012).
    """
    junction.require_plain("the field that stands for a torque")
    B_z = junction.B_bias[2]
    if not spin_torque or (a_J := spin_torque_field(junction, voltage)) == 0:
        return B_z
    if junction.B_in_plane > 0:
        raise InputError(
            f"spin torque at {voltage:g} V and an in-plane field of {junction.B_in_plane:g} T: no energy describes "
            "both, so there is no barrier; ask for the energy's barrier with spin_torque=False, or for the rate"
        )
    return B_z + a_J / junction.alpha_G


@dataclass(frozen=True)
class Landscape:
    """Energy -(Delta z^2 + b_x x + b_z z) in k_B T on the unit sphere.

    Args:
        Delta: of the anisotropy.
        b_x: of the in-plane field, along it; zero or positive.
        b_z: of the field along z.
    """

    Delta: float
    b_x: float
    b_z: float

    @classmethod
    def of(cls, junction: EnergyParameters, voltage: float = 0.0, *, spin_torque: bool = False) -> Landscape:
        """Return the landscape of a junction at a temperature above zero.

        Raises:
            InputError: a junction with further terms, whose energy is :class:`voltaspin.device.energy.Energy`.
        """
        junction.require_plain("the landscape of two wells")
        to_kT = junction.Ms * junction.volume / (k_B * junction.temperature)
        B_z = effective_B_z(junction, voltage, spin_torque=spin_torque)
        return cls(junction.Delta(voltage), junction.B_in_plane * to_kT, B_z * to_kT)

    def energy(self, theta: float) -> float:
        """Return the energy at a polar angle on the half circle through the field."""
        c, s = math.cos(theta), math.sin(theta)
        return -(self.Delta * c * c + self.b_x * s + self.b_z * c)

    def slope(self, theta: float) -> float:
        """Return the derivative of the energy with the polar angle."""
        c, s = math.cos(theta), math.sin(theta)
        return 2 * self.Delta * c * s - self.b_x * c + self.b_z * s

    def curvatures(self, theta: float) -> tuple[float, float]:
        """Return the second derivatives along the meridian and across it, at a station in an in-plane field."""
        c, s = math.cos(theta), math.sin(theta)
        along = 2 * self.Delta * (c * c - s * s) + self.b_x * s + self.b_z * c
        return along, self.b_x / s

    @cached_property
    def _roots(self) -> tuple[float, ...]:
        from scipy.optimize import brentq

        if self.Delta <= 0:
            return (0.0,) if self.b_z >= 0 else (math.pi,)
        if self.b_x == 0:
            top = -self.b_z / (2 * self.Delta)
            return (0.0, math.acos(top), math.pi) if abs(top) < 1 else (0.0 if top <= -1 else math.pi,)
        grid = np.linspace(0.0, math.pi, 4001)
        c, s = np.cos(grid), np.sin(grid)
        slopes = 2 * self.Delta * c * s - self.b_x * c + self.b_z * s
        at = np.flatnonzero(slopes[:-1] * slopes[1:] <= 0)
        found = {float(brentq(self.slope, grid[k], grid[k + 1], xtol=1e-15)) for k in at if slopes[k] != 0}
        return tuple(sorted(found))

    @property
    def missing(self) -> tuple[Well, ...]:
        """The wells that have no minimum of the energy."""
        if self.Delta > 0 and len(self._roots) == 3:
            return ()
        if self.Delta > 0 and self.b_z != 0:
            return ("down",) if self.b_z > 0 else ("up",)
        return ("up", "down")

    def stations(self) -> tuple[float, float, float]:
        """Return the polar angles of the well up, of the saddle and of the well down.

        Raises:
            InputError: the energy has no two wells; the message names the one that is missing.
        """
        if self.missing:
            raise InputError(
                f"the well {' and the well '.join(map(repr, self.missing))} does not exist: the energy of Delta = "
                f"{self.Delta:.3g} in fields of {self.b_x:.3g} (in plane) and {self.b_z:.3g} k_B T (along z) has no "
                "minimum there; lower the field or the voltage, or raise Delta"
            )
        up, saddle, down = self._roots
        return up, saddle, down

    def height(self, well: Well) -> float:
        """Return the energy of the saddle over the bottom of a well [k_B T]; zero where the well does not exist."""
        if self.missing:
            return 0.0
        up, saddle, down = self.stations()
        if self.b_x == 0:  # without the cancellation of two large energies
            return self.Delta * (1 - math.cos(saddle) * (1 if well == "up" else -1)) ** 2
        return self.energy(saddle) - self.energy(up if well == "up" else down)

    def log_population(self, well: Well) -> float:
        """Return ln of the integral of exp(-energy) over a well, which ends at the latitude of the saddle."""
        from scipy.special import ive

        up, saddle, down = self.stations()
        end, bottom = (1.0, up) if well == "up" else (-1.0, down)
        edge, floor = math.cos(saddle), self.energy(bottom)
        # z = end - t^2 puts the nodes where the density of a deep well is.
        nodes, weights = np.polynomial.legendre.leggauss(64)
        tops = np.sqrt(abs(end - edge)) * np.concatenate([[0], np.geomspace(2.0**-12, 1, 13)])
        total = 0.0
        for a, b in pairwise(map(float, tops)):
            t = (a + b) / 2 + (b - a) / 2 * nodes
            z = end - math.copysign(1.0, end) * t**2
            s = t * np.sqrt(2 - t**2)
            exponent = self.Delta * z * z + self.b_x * s + self.b_z * z + floor
            total += float(
                np.sum(weights * (b - a) / 2 * 2 * t * 2 * math.pi * ive(0, self.b_x * s) * np.exp(exponent))
            )
        return math.log(total) - floor
