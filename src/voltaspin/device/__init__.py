"""Physics of one junction: its parameters, its stochastic motion, its switching probabilities."""

from __future__ import annotations

from typing import Any

from voltaspin.lazy import resolve

_HOME = {
    "FairPulse": "pulse_search",
    "Junction": "junction",
    "Pulse": "junction",
    "SwitchingModel": "switching",
    "equilibrium": "equilibrium",
    "fair_pulse": "pulse_search",
    "junction": "junction",
    "llg": "llg",
    "presets": "presets",
    "pulse_search": "pulse_search",
    "switching": "switching",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return resolve(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
