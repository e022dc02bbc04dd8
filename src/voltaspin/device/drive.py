"""The forces of a junction with further terms as polynomials: the form in which the density and the energy take them.

Along z the field is a polynomial of m_z, because the anisotropies and the share of a series resistance depend on m_z
alone. Across z there are constant fields and the shape of an elliptical pillar.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e, k_B
from voltaspin.device.landscape import EnergyParameters
from voltaspin.device.torque import DrivenJunction, forces

Floats = NDArray[np.float64]

_NODES = 25  #: of the interpolation in the cosine between the layers
_TAIL, _WORST = 1e-10, 1e-8  #: of a field: what is cut of its Chebyshev series, and what may be left of it at the end
#: Places of the weights that are no powers of z: turn and fall about x and y, of the shape, and the diffusion.
TURN_X, TURN_Y, FALL_X, FALL_Y, TURN_SHAPE, FALL_SHAPE, DIFFUSE, AXIAL = range(8)


class TermedJunction(DrivenJunction, EnergyParameters, Protocol):
    """The parameters of a junction on which its drive and its energy depend, in SI."""

    @property
    def xi(self) -> float: ...


@dataclass(frozen=True)
class Drive:
    """What acts at one voltage [T], as :class:`voltaspin.device.torque.Forces` says it, in powers of m_z.

    Args:
        field, damping: coefficients of the powers of m_z of both along z, anisotropies included, (n,).
        across, damping_across: both along x and y.
        shape: B_shape.
    """

    field: Floats
    damping: Floats
    across: tuple[float, float]
    damping_across: tuple[float, float]
    shape: float

    @property
    def torque(self) -> bool:
        """Whether a damping-like torque acts."""
        return bool(np.any(self.damping)) or self.damping_across != (0.0, 0.0)

    @property
    def axial(self) -> bool:
        """Whether nothing distinguishes the directions across z."""
        return self.across == (0.0, 0.0) and self.damping_across == (0.0, 0.0) and self.shape == 0


def drive(junction: TermedJunction, voltage: float, *, spin_torque: bool = False) -> Drive:
    """Return the forces at ``voltage`` [V] of the pulse.

    The share of a series resistance is interpolated at Chebyshev nodes of the cosine between the layers; the series is
    cut at 1e-10 of the largest field.

    Raises:
        InputError: a series resistance with a reference layer that is not along z: its share is no polynomial of m_z.
    """
    middle = forces(junction, voltage, spin_torque=spin_torque)
    B_k, field, damping = np.array([middle.B_k]), np.array([middle.field[2]]), np.array([middle.damping[2]])
    felt = junction.xi != 0 or junction.spin_transfer is not None or spin_torque  # the voltage across the oxide
    if felt and junction.R_series > 0 and junction.TMR0 > 0 and voltage != 0:
        side = junction.reference[2]
        if abs(side) < 1 - 1e-12:
            raise InputError(
                f"R_series = {junction.R_series:g} ohm with the reference layer along {junction.reference}: the "
                "density knows a series resistance with a reference layer along z alone; use llg"
            )
        at = np.cos(math.pi * (np.arange(_NODES) + 0.5) / _NODES)
        shared = [
            forces(junction, voltage, spin_torque=spin_torque, cosine=float(c)) for c in at * math.copysign(1, side)
        ]
        values = np.array([[f.B_k, f.field[2], f.damping[2]] for f in shared])
        series = np.polynomial.chebyshev.chebfit(at, values, _NODES - 1)
        scale = float(np.abs(values).max())
        large = np.flatnonzero(np.abs(series).max(axis=1) > _TAIL * scale)
        if np.abs(series[-1]).max() > _WORST * scale:
            raise InputError(
                f"R_series = {junction.R_series:g} ohm and TMR0 = {junction.TMR0:g}: the share of the oxide follows "
                "the angle too steeply for the density; use llg"
            )
        powers = [np.polynomial.chebyshev.cheb2poly(column[: int(large[-1]) + 1]) for column in series.T]
        B_k, field, damping = powers
    along = np.zeros(max(4, len(B_k) + 1))
    along[1 : len(B_k) + 1] += B_k
    along[: len(field)] += field
    along[1] += middle.B_K2
    along[3] -= middle.B_K2
    return Drive(
        along, np.pad(damping, (0, len(along) - len(damping))), middle.field[:2], middle.damping[:2], middle.B_shape
    )


def weights(junction: TermedJunction, voltage: float, *, spin_torque: bool = False) -> Floats:
    """Return the weights [1/s] of :func:`voltaspin.device.potentials.generator` at ``voltage`` [V] of the pulse."""
    at, alpha = drive(junction, voltage, spin_torque=spin_torque), junction.alpha_G
    rate = gamma_e / (1 + alpha**2)
    out = np.empty(AXIAL + 2 * len(at.field))
    field, damping = np.array(at.across), np.array(at.damping_across)
    out[[TURN_X, TURN_Y]] = rate * (field - alpha * damping)
    out[[FALL_X, FALL_Y]] = rate * (alpha * field + damping)
    out[TURN_SHAPE], out[FALL_SHAPE] = -rate * at.shape, -alpha * rate * at.shape
    out[DIFFUSE] = diffusion(junction)
    out[AXIAL::2] = rate * (at.field - alpha * at.damping)
    out[AXIAL + 1 :: 2] = rate * (alpha * at.field + at.damping)
    return out


def diffusion(junction: TermedJunction) -> float:
    """Return the diffusion constant of m on the sphere [1/s]."""
    rate = gamma_e / (1 + junction.alpha_G**2)
    return junction.alpha_G * rate * k_B * junction.temperature / (junction.Ms * junction.volume)


def mixed(a: float, first: Floats, b: float, second: Floats) -> Floats:
    """Return a first + b second of two sets of weights, which may hold different powers of z."""
    out = np.zeros(max(len(first), len(second)))
    out[: len(first)] += a * first
    out[: len(second)] += b * second
    return out
