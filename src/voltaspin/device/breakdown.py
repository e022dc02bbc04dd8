"""How long the tunnel oxide lasts under voltage: a lifetime, a warning before it ends, a refusal above it."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Sourced
from voltaspin.core.units import require_positive
from voltaspin.device.junction import Junction, Pulse
from voltaspin.device.torque import oxide_voltage

FEW_PULSES = 1e15  #: a bit that is drawn ten million times a second for three years
_NO_NUMBER = "; no source that gives the number could be read"


class BreakdownWarning(UserWarning):
    """More pulses are asked for than the oxide is expected to survive."""


@dataclass(frozen=True, kw_only=True)
class Breakdown(ABC):
    """Time-dependent breakdown of the oxide under constant stress, with a Weibull distribution.

    The breakdown of MgO follows an E-model at one polarity and a power law at the other in naturally oxidised
    barriers (Reliability study of MTJ with naturally oxidized MgO barrier, 2012, abstract); a later study
    finds the power law better, Weibull not quite right, and bipolar stress worse (Investigating the
    statistical-physical nature of MgO dielectric breakdown in STT-MRAM, IEDM 2018, abstract). Self-heating at
    the stress voltage makes such an extrapolation pessimistic, by 1e3 at 63 % and up to 1e7 at 1 ppm (Impact of
    self-heating on reliability predictions in STT-MRAM, IEDM 2018, abstract). Here polarity, heating, recovery
    and temperature are left out and the anchor is assumed: orders of magnitude, not a qualification.

    Args:
        anchor_field: at which the anchor time holds [V/m].
        anchor_time: stress to 63 % failures at that field [s].
        anchor_area: of the junctions that it holds for [m^2]; larger ones fail sooner, by area^(-1/slope).
        slope: Weibull slope [1].
        limit: field above which nothing is extrapolated [V/m].

    Raises:
        InputError: a parameter that is not positive.
    """

    anchor_field: Sourced = field(
        default=Sourced(
            1.5e9, "V/m", "middle of the 1 to 2 V/nm at which voltage ramps break MgO" + _NO_NUMBER, "assumed", 1e9, 2e9
        )
    )
    anchor_time: Sourced = field(
        default=Sourced(1.0, "s", "a voltage ramp spends about a second near its end", "assumed", 1e-2, 1e2)
    )
    anchor_area: Sourced = field(default=Sourced(2.0e-15, "m^2", "a pillar of 50 nm, as in the presets", "assumed"))
    slope: Sourced = field(default=Sourced(1.5, "1", "1 to 2 for thin MgO" + _NO_NUMBER, "recalled", 1.0, 2.0))
    limit: Sourced = field(
        default=Sourced(2.0e9, "V/m", "MgO barriers break at 1 to 2 V/nm" + _NO_NUMBER, "recalled", 1e9, 2e9)
    )

    def __post_init__(self) -> None:
        for parameter in fields(self):
            number: Sourced = getattr(self, parameter.name)
            require_positive(parameter.name, number.value, number.unit, "give a Sourced with a positive value")

    @abstractmethod
    def log_acceleration(self, E: float) -> float:
        """Return ln of the life at the field ``E`` [V/m] over the life at the anchor field [1]."""


@dataclass(frozen=True, kw_only=True)
class PowerLaw(Breakdown):
    """Life ~ field^-exponent."""

    exponent: Sourced = field(
        default=Sourced(45.0, "1", "40 to 50 for MgO of STT-MRAM" + _NO_NUMBER, "recalled", 40.0, 50.0)
    )

    def log_acceleration(self, E: float) -> float:
        return self.exponent.value * math.log(self.anchor_field.value / E) if E > 0 else math.inf


@dataclass(frozen=True, kw_only=True)
class EModel(Breakdown):
    """Life ~ exp(-acceleration field); shorter than the power law below the anchor field."""

    acceleration: Sourced = field(
        default=Sourced(
            3.0e-8, "m/V", "the slope of the power law at its anchor, 45 / (1.5 V/nm)", "assumed", 2.0e-8, 5.0e-8
        )
    )

    def log_acceleration(self, E: float) -> float:
        return self.acceleration.value * (self.anchor_field.value - E) if E > 0 else math.inf


def lifetime(junction: Junction, *, voltage: float, model: Breakdown | None = None, failure: float = 1e-6) -> float:
    """Return the time under a constant voltage after which a share of junctions has broken down.

    Args:
        junction: thickness of the oxide and area.
        voltage: constant stress across the oxide [V]; its sign does not matter here.
        model: :class:`PowerLaw` or :class:`EModel`; the power law where absent.
        failure: share of junctions that have failed [1].

    Returns:
        Stress [s]; infinite without a voltage.

    Raises:
        InputError: a field above the model's limit, a failure share outside 0 to 1.

    Source: Weibull statistics with Poisson scaling of the area, E. Y. Wu and R.-P. Vollertsen, IEEE Trans.
    Electron Devices 49, 2131 (2002) (recalled).
    """
    model = model or PowerLaw()
    if not math.isfinite(voltage):
        raise InputError(f"voltage = {voltage!r} V must be finite; give volts, e.g. 1.2")
    if not 0 < failure < 1:
        raise InputError(f"failure = {failure!r} must lie between 0 and 1; give the share of cells, e.g. 1e-6")
    stress = abs(voltage) / junction.t_ox
    if stress > model.limit.value:
        raise InputError(
            f"{voltage:g} V over {junction.t_ox * 1e9:.3g} nm of oxide is {stress / 1e9:.3g} V/nm, above the "
            f"{model.limit.value / 1e9:.3g} V/nm at which it breaks down; stay below "
            f"{model.limit.value * junction.t_ox:.3g} V or take a thicker oxide"
        )
    weakest = math.log(model.anchor_area.value / junction.area) + math.log(-math.log1p(-failure))
    log_life = math.log(model.anchor_time.value) + model.log_acceleration(stress) + weakest / model.slope.value
    return math.exp(log_life) if log_life < 709 else math.inf


def stress(junction: Junction, pulse: Pulse) -> float:
    """Return the largest voltage across the oxide under a pulse [V]: of a divider, that where antiparallel."""
    return oxide_voltage(junction, pulse.voltage, cosine=-1.0)


def statement(junction: Junction, pulse: Pulse, *, model: Breakdown | None = None, failure: float = 1e-6) -> str:
    """Return in a sentence how many such pulses the oxide survives; it begins with "warning" below ``FEW_PULSES``.

    Args:
        junction, pulse, model, failure: as in :func:`check_breakdown`.
    """
    try:
        survived = check_breakdown(junction, pulse, pulses=0, model=model, failure=failure)
    except InputError as error:
        return f"warning: {error}"
    field_of = f"{abs(stress(junction, pulse)) / junction.t_ox / 1e9:.3g} V/nm of oxide"
    if not math.isfinite(survived):
        return f"{field_of}, which wear nothing that can be told"
    few = "warning: " if survived < FEW_PULSES else ""
    return (
        f"{few}{field_of}, of which a share of {failure:g} has broken down after {survived:.1e} such pulses (an order "
        "of magnitude: the anchor is assumed)"
    )


def check_breakdown(
    junction: Junction, pulse: Pulse, *, pulses: float = 1, model: Breakdown | None = None, failure: float = 1e-6
) -> float:
    """Return how many such pulses the oxide survives, and warn where more are asked for.

    The stress adds up to pulses times width at the full voltage, pauses do not heal, and the edges count in
    full.

    Args:
        junction: thickness of the oxide and area.
        pulse: on the cell.
        pulses: asked for.
        model, failure: as in :func:`lifetime`.

    Returns:
        Pulses until that share of cells has failed.

    Raises:
        InputError: a pulse above the breakdown field, or a negative number of pulses.
    """
    require_positive("pulses", pulses, "", "give how many pulses a cell gets, e.g. 1e12", zero=True)
    survived = lifetime(junction, voltage=stress(junction, pulse), model=model, failure=failure) / pulse.width
    if pulses > survived:
        warnings.warn(
            f"{pulses:.3g} pulses of {pulse.voltage:g} V and {pulse.width:.3g} s are more than the {survived:.3g} "
            f"after which a share of {failure:g} of the oxides has broken down; lower the voltage or the count",
            BreakdownWarning,
            stacklevel=2,
        )
    return survived
