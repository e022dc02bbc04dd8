"""Physics of one junction: its parameters, its stochastic motion, its switching probabilities."""

from __future__ import annotations

from typing import Any

from voltaspin.core.lazy import resolve

_HOME = {
    "BestPulse": "pulse_design",
    "Characterisation": "characterisation",
    "Effort": "pulse_survey",
    "Estimate": "likelihood",
    "FairPulse": "pulse_search",
    "FitResult": "likelihood",
    "Junction": "junction",
    "JunctionSpec": "characterisation",
    "MeasuredPulse": "fitting",
    "Pulse": "junction",
    "ResistanceData": "measurements",
    "ResistanceSpread": "measurements",
    "SwitchingData": "measurements",
    "SwitchingFieldData": "measurements",
    "SwitchingModel": "switching",
    "TMRData": "measurements",
    "at_temperature": "temperature",
    "best_pulse": "pulse_design",
    "breakdown": "breakdown",
    "check_breakdown": "breakdown",
    "circuit": "circuit",
    "equilibrium": "equilibrium",
    "fair_pulse": "pulse_search",
    "fit_TMR": "resistance",
    "fit_resistance": "resistance",
    "fit_spread": "resistance",
    "fit_switching": "fitting",
    "fit_switching_fields": "switching_field",
    "fit_xi": "switching_field",
    "fitting": "fitting",
    "flip_rate": "retention",
    "fokker_planck": "fokker_planck",
    "junction": "junction",
    "llg": "llg",
    "log_flip_rate": "retention",
    "measurements": "measurements",
    "presets": "presets",
    "pulse_search": "pulse_search",
    "read_disturb": "transport",
    "retention": "retention",
    "sensitivities": "sensitivity",
    "switching": "switching",
    "switching_model_from_measurements": "fitting",
    "temperature": "temperature",
    "transport": "transport",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return resolve(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
