"""Voltaspin runs diffusion models on voltage-controlled magnetic memory.

``import voltaspin`` costs milliseconds: a room is loaded when one of its names is first used.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from voltaspin.core.lazy import resolve

_HOME = {
    "InputError": "core.errors",
    "NoiseExhaustedError": "core.errors",
    "Junction": "device",
    "Pulse": "device",
    "SwitchingModel": "device",
    "presets": "device",
    "MagnetoelectricMemory": "memory",
    "MemorySource": "noise",
    "PseudoSource": "noise",
    "RecordedSource": "noise",
    "load_images": "diffusion",
    "sample": "diffusion",
    "train": "diffusion",
    "evaluate": "metrics",
    "price": "report",
    "Ledger": "core.ledger",
    "RunContext": "core.context",
    "Sourced": "core.quantity",
}

__all__ = [*sorted(_HOME), "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("voltaspin")
    return resolve(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
