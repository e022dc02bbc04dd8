"""Physics of one junction: its parameters, its stochastic motion, its switching probabilities."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "FairPulse": "pulse_search",
    "Junction": "junction",
    "Pulse": "junction",
    "SwitchingModel": "switching",
    "fair_pulse": "pulse_search",
}
_MODULES = ("equilibrium", "junction", "llg", "presets", "pulse_search", "switching")

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"voltaspin.device.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"voltaspin.device.{name}")
    raise AttributeError(f"module 'voltaspin.device' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
