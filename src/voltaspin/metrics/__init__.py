"""Image quality with error bars: a frozen extractor, KID and FD with intervals, floor and yardsticks."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Evaluation": "evaluation",
    "Extractor": "features",
    "Reference": "shipped",
    "Row": "evaluation",
    "Score": "distance",
    "evaluate": "evaluation",
    "evaluate_folder": "evaluation",
    "fd": "distance",
    "fd_extrapolated": "distance",
    "garments": "shipped",
    "kid": "distance",
    "paired_difference": "evaluation",
    "reference": "shipped",
    "score_features": "evaluation",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'voltaspin.metrics' has no attribute {name!r}")
    return getattr(import_module(f"voltaspin.metrics.{_HOME[name]}"), name)
