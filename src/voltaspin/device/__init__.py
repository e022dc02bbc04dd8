"""Physics of one junction: its parameters, its stochastic motion, its switching probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.core.quantity import Estimate as Estimate
    from voltaspin.device import breakdown as breakdown
    from voltaspin.device import circuit as circuit
    from voltaspin.device import equilibrium as equilibrium
    from voltaspin.device import fokker_planck as fokker_planck
    from voltaspin.device import junction as junction
    from voltaspin.device import llg as llg
    from voltaspin.device import presets as presets
    from voltaspin.device import retention as retention
    from voltaspin.device import switching as switching
    from voltaspin.device import temperature as temperature
    from voltaspin.device import transport as transport
    from voltaspin.device.breakdown import check_breakdown as check_breakdown
    from voltaspin.device.characterisation import Characterisation as Characterisation
    from voltaspin.device.fit import data as measurements  # noqa: F401
    from voltaspin.device.fit.data import ResistanceData as ResistanceData
    from voltaspin.device.fit.data import ResistanceSpread as ResistanceSpread
    from voltaspin.device.fit.data import SwitchingData as SwitchingData
    from voltaspin.device.fit.data import SwitchingFieldData as SwitchingFieldData
    from voltaspin.device.fit.data import TMRData as TMRData
    from voltaspin.device.fit.field import fit_switching_fields as fit_switching_fields
    from voltaspin.device.fit.field import fit_xi as fit_xi
    from voltaspin.device.fit.likelihood import FitResult as FitResult
    from voltaspin.device.fit.measured_pulse import MeasuredPulse as MeasuredPulse
    from voltaspin.device.fit.measured_pulse import (
        switching_model_from_measurements as switching_model_from_measurements,
    )
    from voltaspin.device.fit.resistance import fit_resistance as fit_resistance
    from voltaspin.device.fit.resistance import fit_spread as fit_spread
    from voltaspin.device.fit.resistance import fit_TMR as fit_TMR
    from voltaspin.device.fit.switching import fit_switching as fit_switching
    from voltaspin.device.fokker_planck import FokkerPlanck as FokkerPlanck
    from voltaspin.device.junction import Junction as Junction
    from voltaspin.device.junction import JunctionSpec as JunctionSpec
    from voltaspin.device.llg import LLG as LLG
    from voltaspin.device.low_barrier import relaxation as relaxation
    from voltaspin.device.protocol import Protocol as Protocol
    from voltaspin.device.pulse import Pulse as Pulse
    from voltaspin.device.pulse_design import BestPulse as BestPulse
    from voltaspin.device.pulse_design import Tolerance as Tolerance
    from voltaspin.device.pulse_design import best_pulse as best_pulse
    from voltaspin.device.pulse_design import fair_pulse as fair_pulse
    from voltaspin.device.pulse_survey import Effort as Effort
    from voltaspin.device.retention import flip_rate as flip_rate
    from voltaspin.device.retention import log_flip_rate as log_flip_rate
    from voltaspin.device.sensitivity import sensitivities as sensitivities
    from voltaspin.device.switching import SwitchingModel as SwitchingModel
    from voltaspin.device.temperature import at_temperature as at_temperature
    from voltaspin.device.transport import read_disturb as read_disturb
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
