"""The memory: an array of junctions that stores bits, draws random ones and computes in place."""

from importlib import import_module
from typing import Any

_HOME = {"MagnetoelectricMemory": "array"}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'voltaspin.memory' has no attribute {name!r}")
    return getattr(import_module(f"voltaspin.memory.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
