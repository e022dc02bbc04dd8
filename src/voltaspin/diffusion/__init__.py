"""Training and sampling of diffusion models whose noise comes through one door, a NoiseSource."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "ImageSet": "data",
    "load_images": "data",
    "TrainSpec": "training",
    "train": "training",
    "sample": "sampling",
    "load_pipeline": "sampling",
    "Samples": "sampling",
    "shipped_model": "sampling",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'voltaspin.diffusion' has no attribute {name!r}")
    return getattr(import_module(f"voltaspin.diffusion.{_HOME[name]}"), name)
