"""The torque of the tunnel current on the free layer, which both solvers share."""

from __future__ import annotations

import math
from typing import Protocol

from voltaspin.core.units import e_charge, hbar


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


def spin_torque_field(junction: TorqueParameters, voltage: float) -> float:
    """Return the Slonczewski field a_J of the damping-like torque [T] at ``voltage`` [V].

    Taken at fixed voltage, where it does not depend on the angle: a_J = hbar / (2 e Ms t_F) * P / (1 + P^2)
    * voltage / RA, with the polarisation P of both electrodes from TMR0 = 2 P^2 / (1 - P^2). Polarity: for a
    positive voltage electrons flow from the free to the reference layer, which favours antiparallel (down,
    bit 1). There is no field-like part. P does not fall with the voltage here, so a_J is an upper estimate.

    Source: J. C. Slonczewski, Phys. Rev. B 39, 6995 (1989) and 71, 024411 (2005); the choice of polarity is
    assumed.
    """
    P = math.sqrt(junction.TMR0 / (2 + junction.TMR0))
    per_voltage = hbar / (2 * e_charge * junction.Ms * junction.t_F) * P / (1 + P**2) / junction.RA
    return -per_voltage * voltage
