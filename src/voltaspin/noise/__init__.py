"""Noise: random bits from the memory, conditioned, shaped into Gaussians and tested."""

from typing import Any

from voltaspin.lazy import resolve

_HOME = {
    "NoiseSource": "source",
    "AddressableSource": "source",
    "Provenance": "source",
    "PseudoSource": "source",
    "MemorySource": "memory_source",
    "RecordedSource": "recorded",
    "SequentialSource": "sequential",
    "Stabilised": "stabilised",
    "HealthChecked": "checked",
    "HealthTests": "health",
    "Alarm": "health",
    "EntropyEstimates": "entropy",
    "InverseCDF": "gaussian",
    "Popcount": "gaussian",
    "Shaping": "gaussian",
    "xor_cells": "conditioning",
    "xor_bias": "conditioning",
    "xor_probability": "conditioning",
    "bit_statistics": "analysis",
    "BitStatistics": "analysis",
    "Estimate": "analysis",
    "cells_of_bits": "mapping",
    "assess": "sp800_22_levels",
    "Assessment": "sp800_22_levels",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return resolve(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
