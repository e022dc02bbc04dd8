"""What acts on the free layer at one voltage of a pulse: fields and torques, which both solvers share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from voltaspin.core.units import e_charge, hbar

if TYPE_CHECKING:
    from voltaspin.device.terms import SelfHeating, SpinOrbitLine, SpinTransfer, Vector


class TorqueParameters(Protocol):
    """The parameters of a junction on which its spin torque depends, in SI."""

    @property
    def TMR0(self) -> float: ...
    @property
    def Ms(self) -> float: ...
    @property
    def t_F(self) -> float: ...
    @property
    def RA(self) -> float: ...
    @property
    def spin_transfer(self) -> SpinTransfer | None: ...


class DrivenJunction(TorqueParameters, Protocol):
    """The parameters of a junction on which the forces of a pulse depend, in SI."""

    @property
    def B_bias(self) -> Vector: ...
    @property
    def K2(self) -> float: ...
    @property
    def K_shape(self) -> float: ...
    @property
    def R_series(self) -> float: ...
    @property
    def reference(self) -> Vector: ...
    @property
    def line(self) -> SpinOrbitLine | None: ...
    @property
    def heating(self) -> SelfHeating | None: ...

    def B_k(self, voltage: float = 0.0) -> float: ...
    def conductance(self, m_z: Any, voltage: float = 0.0) -> Any: ...


def spin_torque_field(junction: TorqueParameters, voltage: float) -> float:
    """Return the Slonczewski field a_J of the damping-like torque [T] at ``voltage`` [V] across the oxide.

    Taken at fixed voltage, where it does not depend on the angle: a_J = hbar / (2 e Ms t_F) * eta
    * voltage / RA, where eta is the efficiency of ``junction.spin_transfer``, or P / (1 + P^2) with the polarisation P
    of both electrodes from TMR0 = 2 P^2 / (1 - P^2). With the usual polarity electrons flow from the free to the
    reference layer for a positive voltage, which favours antiparallel (down, bit 1). P does not fall with the voltage
    here, so a_J is an upper estimate.

    Source: J. C. Slonczewski, Phys. Rev. B 39, 6995 (1989) and 71, 024411 (2005); the choice of polarity is
    assumed.
    """
    term = junction.spin_transfer
    if term is None or term.efficiency is None:
        P = math.sqrt(junction.TMR0 / (2 + junction.TMR0))
        efficiency = P / (1 + P**2)
    else:
        efficiency = term.efficiency
    per_voltage = hbar / (2 * e_charge * junction.Ms * junction.t_F) * efficiency / junction.RA
    return -per_voltage * voltage * (1 if term is None else term.polarity)


def spin_orbit_field(junction: DrivenJunction, voltage: float) -> float:
    """Return the damping-like field of the spin-orbit line [T], along its ``sigma``, at ``voltage`` [V] of the pulse.

    Source: L. Liu et al., Science 336, 555 (2012): hbar theta_SH J / (2 e Ms t_F).
    """
    if junction.line is None:
        return 0.0
    J = junction.line.current_density(voltage)
    return hbar / (2 * e_charge * junction.Ms * junction.t_F) * junction.line.theta_SH * J


def oxide_voltage(junction: DrivenJunction, voltage: float, cosine: float = 0.0) -> float:
    """Return the voltage across the oxide [V] where ``voltage`` [V] is that of the pulse.

    With a spin-orbit line it is ``gate`` times that of the pulse. A series resistance takes its share, which depends
    on ``cosine`` [1] between the layers; the TMR is that at the voltage of the mean state.
    """
    applied = voltage if junction.line is None else junction.line.gate * voltage
    if junction.R_series == 0 or applied == 0:
        return applied
    middle = applied / (1 + junction.R_series * float(junction.conductance(0.0, applied)))
    return applied / (1 + junction.R_series * float(junction.conductance(cosine, middle)))


@dataclass(frozen=True)
class Forces:
    """The effective field and the torques: B + field is the field, ``damping`` the vector A of the torque.

    dm/dt = -gamma' [m x B + alpha_G m x (m x B) + m x (m x A) - alpha_G m x A], with
    B = field + z (B_k m_z + B_K2 m_z (1 - m_z^2)) - y B_shape m_y.

    Args:
        B_k: of the first-order anisotropy [T].
        B_K2: 4 K2 / Ms [T].
        B_shape: mu_0 Ms (Ny - Nx) [T].
        field: bias and field-like torques (x, y, z) [T].
        damping: damping-like torques (x, y, z) [T].
    """

    B_k: float
    B_K2: float
    B_shape: float
    field: Vector
    damping: Vector


def forces(junction: DrivenJunction, voltage: float, *, spin_torque: bool = False, cosine: float = 0.0) -> Forces:
    """Return what acts on the free layer at ``voltage`` [V] of the pulse.

    Args:
        junction: its terms decide; without ``spin_transfer`` the torque of the tunnel current enters only with
            ``spin_torque``.
        voltage: of the pulse, between the ends of the line where there is one.
        spin_torque: see above.
        cosine: between the two layers, on which the share of a series resistance depends [1].
    """
    across = oxide_voltage(junction, voltage, cosine)
    term, line = junction.spin_transfer, junction.line
    a_J = spin_torque_field(junction, across) if spin_torque or term is not None else 0.0
    a_SO = spin_orbit_field(junction, voltage)
    b_J = a_J * (0.0 if term is None else term.field_like)
    b_SO = a_SO * (0.0 if line is None else line.field_like)
    sigma = (0.0, 0.0, 0.0) if line is None else line.sigma
    directions = list(zip(junction.B_bias, junction.reference, sigma, strict=True))
    fx, fy, fz = (b + b_J * r + b_SO * s for b, r, s in directions)
    ax, ay, az = (a_J * r + a_SO * s for _, r, s in directions)
    Ms = junction.Ms
    return Forces(junction.B_k(across), 4 * junction.K2 / Ms, 2 * junction.K_shape / Ms, (fx, fy, fz), (ax, ay, az))
