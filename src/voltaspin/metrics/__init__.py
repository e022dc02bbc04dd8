"""Image quality with error bars: a frozen extractor, KID and FD with intervals, floor and yardsticks."""

from __future__ import annotations

from typing import Any

from voltaspin.core.lazy import resolve

_HOME = {
    "Evaluation": "evaluation",
    "Extractor": "features",
    "FidelityEvaluation": "fidelity",
    "FidelityExtractor": "fidelity",
    "Reference": "shipped",
    "Row": "evaluation",
    "Score": "distance",
    "evaluate": "evaluation",
    "evaluate_fidelity": "fidelity",
    "evaluate_folder": "evaluation",
    "fd": "distance",
    "fd_extrapolated": "distance",
    "garments": "shipped",
    "kid": "distance",
    "paired_difference": "evaluation",
    "precision_recall": "manifold",
    "read_images": "evaluation",
    "reference": "shipped",
    "score_features": "evaluation",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    return resolve(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
