"""Terms that a junction may have beside VCMA: spin transfer, a spin-orbit line and self-heating.

Each is off where the junction does not name it. Fields and currents follow one convention: the damping-like torque
of polarisation p and field a is -gamma' [a m x (m x p) - alpha_G a m x p], and its field-like part acts as a
magnetic field along p.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from voltaspin.core import units
from voltaspin.core.errors import InputError
from voltaspin.core.units import Dimension, require_positive

Vector = tuple[float, float, float]


def unit_vector(name: str, vector: Vector) -> Vector:
    """Return the direction of three numbers; raises InputError for what is none."""
    length = math.hypot(*vector) if len(vector) == 3 else 0.0
    if not (math.isfinite(length) and length > 0):
        raise InputError(f"{name} = {vector!r} must be three finite numbers, not all zero, e.g. (0, 0, 1)")
    if abs(length - 1) < 1e-12:  # so that it stays as it is when it is read again
        length = 1.0
    x, y, z = (float(part) / length for part in vector)
    return x, y, z


def _ratio(name: str, value: float, remedy: str, *, most: float = 100.0) -> None:
    if not abs(value) <= most:
        raise InputError(f"{name} = {value!r} must lie from {-most:g} to {most:g}; {remedy}")


def _named(dimension: Dimension, name: str, default: float | None = None) -> float:
    """A field of a term that ``Junction.of`` sets by ``name``, in the units of ``dimension``."""
    about = {"parameter": (name, dimension)}
    return field(metadata=about) if default is None else field(default=default, metadata=about)


@dataclass(frozen=True, kw_only=True)
class SpinTransfer:
    """The torque of the tunnel current, which acts along the reference layer.

    A junction that has it is always under it; without it the torque enters where ``spin_torque`` asks for it, with
    the values that stand here as defaults.

    Args:
        polarity: +1 where a positive voltage favours antiparallel (bit 1), -1 where it favours parallel.
        efficiency: spin polarisation of the torque [1]; P / (1 + P^2) of the junction's TMR0 where absent.
        field_like: field-like over damping-like torque [1].

    Raises:
        InputError: a polarity that is no sign, or a ratio out of range.

    Source: J. C. Slonczewski, Phys. Rev. B 71, 024411 (2005).
    """

    polarity: float = _named(units.NUMBER, "STT_polarity", 1.0)
    efficiency: float | None = field(
        default=None, metadata={"parameter": ("STT_efficiency", units.RATIO.within(1e-6, 10))}
    )
    field_like: float = _named(units.RATIO.within(1e-9, 100), "STT_field_like", 0.0)

    def __post_init__(self) -> None:
        if self.polarity not in (1, -1):
            raise InputError(
                f"polarity = {self.polarity!r} must be 1 (a positive voltage favours antiparallel) or -1 (parallel)"
            )
        if self.efficiency is not None:
            require_positive("efficiency", self.efficiency, "", "give the spin polarisation of the torque, e.g. 0.5")
            _ratio("efficiency", self.efficiency, "give a ratio, e.g. 0.5", most=10.0)
        _ratio("field_like", self.field_like, "give field-like over damping-like torque, e.g. 0.3")


@dataclass(frozen=True, kw_only=True)
class SpinOrbitLine:
    """A line of heavy metal under the free layer: the third terminal, whose current writes by spin-orbit torque.

    The voltage of a pulse is then that between the ends of the line. The junction itself sees ``gate`` times it.

    Args:
        width, thickness, length: of the line [m]; the current flows along the length.
        resistivity: of the line [ohm m].
        theta_SH: damping-like efficiency, the spin Hall angle times the transparency of the interface [1]; its sign
            is that of the torque.
        field_like: field-like over damping-like torque [1].
        sigma: direction of the spins that enter the free layer for a positive voltage; across the line, in plane.
        gate: voltage across the junction over the voltage of the pulse [1]; zero leaves the junction unbiased.

    Raises:
        InputError: a value out of its physical range.

    Source: L. Liu et al., Science 336, 555 (2012): a field hbar theta_SH J / (2 e Ms t_F).
    """

    width: float = _named(units.JUNCTION_LENGTH, "line_width")
    thickness: float = _named(units.JUNCTION_LENGTH, "line_thickness")
    length: float = _named(units.LENGTH, "line_length")
    resistivity: float = _named(units.RESISTIVITY, "line_resistivity")
    theta_SH: float = _named(units.RATIO.within(1e-9, 100), "theta_SH")
    field_like: float = _named(units.RATIO.within(1e-9, 100), "SOT_field_like", 0.0)
    sigma: Vector = (0.0, 1.0, 0.0)
    gate: float = _named(units.RATIO.within(1e-9, 100), "gate", 0.0)

    def __post_init__(self) -> None:
        for name in ("width", "thickness", "length"):
            require_positive(f"{name} of the line", getattr(self, name), "m", "give its size, e.g. 60 * nm")
        require_positive("resistivity", self.resistivity, "ohm m", "give that of the metal, e.g. 2e-6 of tungsten")
        _ratio("theta_SH", self.theta_SH, "give the damping-like efficiency, e.g. -0.3")
        _ratio("field_like", self.field_like, "give field-like over damping-like torque, e.g. 0.3")
        _ratio("gate", self.gate, "give the junction's voltage over that of the line, e.g. 0")
        object.__setattr__(self, "sigma", unit_vector("sigma", self.sigma))

    @property
    def resistance(self) -> float:
        """Resistance between the ends of the line [ohm]."""
        return self.resistivity * self.length / (self.width * self.thickness)

    def current(self, voltage: float) -> float:
        """Return the current in the line [A] at ``voltage`` [V] between its ends."""
        return voltage / self.resistance

    def current_density(self, voltage: float) -> float:
        """Return the current density in the line [A/m^2] at ``voltage`` [V] between its ends."""
        return voltage / (self.resistivity * self.length)


@dataclass(frozen=True, kw_only=True)
class SelfHeating:
    """The warming of the free layer by the power of a pulse, through one thermal resistance and one time constant.

    Args:
        thermal_resistance: between the free layer and its surroundings [K/W].
        tau: time constant [s].

    Raises:
        InputError: a value that is not positive.
    """

    thermal_resistance: float = _named(units.THERMAL_RESISTANCE, "thermal_resistance")
    tau: float = _named(units.TIME, "thermal_tau")

    def __post_init__(self) -> None:
        require_positive("thermal_resistance", self.thermal_resistance, "K/W", "give e.g. 1e6", zero=True)
        require_positive("tau", self.tau, "s", "give the thermal time constant, e.g. 2 * ns")


#: The terms of a junction by the name of its field, in the order of messages.
TERMS = {"spin_transfer": SpinTransfer, "line": SpinOrbitLine, "heating": SelfHeating}
