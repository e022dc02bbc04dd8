"""Diffusion in place: bits that flip in the array that stores them."""

from __future__ import annotations

from typing import Any

from voltaspin.core.lazy import resolve

_HOME = {
    "BitModel": "model",
    "BitSamples": "sampling",
    "BitTrainSpec": "training",
    "Flips": "flips",
    "Levels": "levels",
    "Process": "process",
    "Rounding": "levels",
    "from_planes": "process",
    "is_bit_model": "model",
    "load_model": "model",
    "make_array": "model",
    "reverse": "process",
    "sample": "sampling",
    "to_planes": "process",
    "train": "training",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return resolve(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
