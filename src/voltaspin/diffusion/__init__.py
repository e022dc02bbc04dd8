"""Training and sampling of diffusion models whose noise comes through one door, a NoiseSource."""

from __future__ import annotations

from typing import Any

from voltaspin.core.lazy import resolve

_HOME = {
    "bitflip": "bitflip",
    "ImageSet": "data",
    "load_images": "data",
    "TrainSpec": "training",
    "train": "training",
    "open_model": "published",
    "sample": "sampling",
    "sample_unmodified": "published",
    "load_pipeline": "sampling",
    "Samples": "sampling",
    "shipped_model": "sampling",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return resolve(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
