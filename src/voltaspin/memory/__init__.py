"""The memory: an array of junctions that stores bits, draws random ones and computes in place."""

from typing import Any

from voltaspin.lazy import resolve

_HOME = {
    "ArraySpec": "specification",
    "ClippingWarning": "layers",
    "Coverage": "conversion",
    "Crossbar": "crossbar",
    "Imperfections": "imperfections",
    "MagnetoelectricMemory": "array",
    "MemoryLayer": "layers",
    "Slopes": "imperfections",
    "calibrate": "conversion",
    "convert": "conversion",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return resolve(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
