"""Image quality with error bars: a frozen extractor, KID and FD with intervals, and references to read them by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltaspin.core.lazy import attach

if TYPE_CHECKING:
    from voltaspin.metrics.distance import Score as Score
    from voltaspin.metrics.distance import fd as fd
    from voltaspin.metrics.distance import fd_extrapolated as fd_extrapolated
    from voltaspin.metrics.distance import kid as kid
    from voltaspin.metrics.evaluation import Evaluation as Evaluation
    from voltaspin.metrics.evaluation import Row as Row
    from voltaspin.metrics.evaluation import evaluate as evaluate
    from voltaspin.metrics.evaluation import evaluate_folder as evaluate_folder
    from voltaspin.metrics.evaluation import paired_difference as paired_difference
    from voltaspin.metrics.evaluation import read_images as read_images
    from voltaspin.metrics.evaluation import score_features as score_features
    from voltaspin.metrics.features import Extractor as Extractor
    from voltaspin.metrics.fidelity import FidelityEvaluation as FidelityEvaluation
    from voltaspin.metrics.fidelity import FidelityExtractor as FidelityExtractor
    from voltaspin.metrics.fidelity import evaluate_fidelity as evaluate_fidelity
    from voltaspin.metrics.manifold import precision_recall as precision_recall
    from voltaspin.metrics.moments import ImageParts as ImageParts
    from voltaspin.metrics.moments import Moments as Moments
    from voltaspin.metrics.pairs import FolderComparison as FolderComparison
    from voltaspin.metrics.pairs import compare_folders as compare_folders
    from voltaspin.metrics.shipped import Reference as Reference
    from voltaspin.metrics.shipped import garments as garments
    from voltaspin.metrics.shipped import reference as reference
    from voltaspin.metrics.statistics import FeatureStatistics as FeatureStatistics
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
