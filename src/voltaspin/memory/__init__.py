"""The memory: an array of junctions that stores bits, draws random ones and computes in place."""

from typing import Any

from voltaspin.core.lazy import resolve

_HOME = {
    "Access": "access",
    "ArraySpec": "specification",
    "ClippingWarning": "ranges",
    "Coverage": "conversion",
    "Crossbar": "crossbar",
    "Imperfections": "imperfections",
    "Line": "lines",
    "MagnetoelectricMemory": "array",
    "MemoryLayer": "layers",
    "PulseLibrary": "programmable",
    "Slopes": "imperfections",
    "Variation": "variation",
    "Yield": "yields",
    "calibrate": "conversion",
    "convert": "conversion",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return resolve(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
