"""Physics of one junction: its parameters, its stochastic motion, its switching probabilities."""

from __future__ import annotations

from typing import Any

from voltaspin.lazy import resolve

_HOME = {
    "BestPulse": "pulse_design",
    "FairPulse": "pulse_search",
    "Junction": "junction",
    "Pulse": "junction",
    "SwitchingModel": "switching",
    "at_temperature": "temperature",
    "best_pulse": "pulse_design",
    "breakdown": "breakdown",
    "check_breakdown": "breakdown",
    "circuit": "circuit",
    "equilibrium": "equilibrium",
    "fair_pulse": "pulse_search",
    "flip_rate": "retention",
    "fokker_planck": "fokker_planck",
    "junction": "junction",
    "llg": "llg",
    "presets": "presets",
    "pulse_search": "pulse_search",
    "read_disturb": "transport",
    "retention": "retention",
    "sensitivities": "sensitivity",
    "switching": "switching",
    "temperature": "temperature",
    "transport": "transport",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return resolve(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
