"""Noise: random bits from the memory, conditioned, shaped into Gaussians and tested."""

from typing import Any

from voltaspin.core.lazy import resolve

_HOME = {
    "NoiseSource": "source",
    "AddressableSource": "source",
    "Provenance": "source",
    "PseudoSource": "source",
    "MemorySource": "memory_source",
    "LoopedSource": "looped",
    "RecordedSource": "recorded",
    "SystemSource": "system",
    "record": "recorder",
    "TwoPopulations": "recorded_formats",
    "two_populations": "recorded_formats",
    "SequentialSource": "sequential",
    "Stabilised": "stabilised",
    "Conditioner": "conditioner",
    "Xor": "extractors",
    "VonNeumann": "extractors",
    "Peres": "extractors",
    "Toeplitz": "hashing",
    "Sha256": "hashing",
    "conditioned": "chain",
    "HealthChecked": "checked",
    "HealthTests": "health",
    "Alarm": "health",
    "EntropyEstimates": "entropy",
    "InverseCDF": "gaussian",
    "Popcount": "gaussian",
    "DitheredPopcount": "gaussian",
    "BoxMuller": "gaussian",
    "Requantised": "gaussian",
    "DiscreteGaussian": "discrete_gaussian",
    "Shaping": "gaussian",
    "xor_cells": "conditioning",
    "xor_bias": "conditioning",
    "xor_probability": "conditioning",
    "bit_statistics": "analysis",
    "BitStatistics": "analysis",
    "Estimate": "analysis",
    "cells_of_bits": "mapping",
    "examine": "randomness",
    "Randomness": "randomness",
    "assess": "sp800_22_levels",
    "Assessment": "sp800_22_levels",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return resolve(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
