"""Two folders of generated images against one reference: the difference of their scores, pair by pair of images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_object
from voltaspin.core.folders import RECORD
from voltaspin.core.result import Result
from voltaspin.metrics.distance import Score, least_images
from voltaspin.metrics.evaluation import Metric, paired_difference, score_features, single_images
from voltaspin.metrics.moments import AnyExtractor, ImageParts, Progress, features_of
from voltaspin.metrics.shipped import Reference
from voltaspin.metrics.statistics import FeatureStatistics

#: Settings of a run that are compared, by their names for people.
_SETTINGS = {
    "model": "model", "seed": "seed", "steps": "evaluations", "sampler": "sampler", "eta": "eta", "churn": "churn",
    "label": "label", "guidance": "guidance", "compute": "compute", "noise": "noise", "condition": "conditioning",
    "cells_per_pixel": "cells a pixel", "cells": "cells", "recording": "recording",
}  # fmt: skip
_WORDS = {"simulated", "pseudo"}  # kinds of sources that answer one uniform word of the seed for each bit


class FolderComparison(Result):
    """Scores of two folders and of their difference.

    Args:
        a, b: the folders.
        pairs: images of equal number in both, whose differences were taken.
        left_out: images of either folder without a partner.
        scores_a, scores_b: KID of the paired images of each.
        differences: score of ``a`` less that of ``b``, with intervals from the pairs.
        shared: what two images of one number have in common; differing: in which settings the folders differ.
        reference: name of the real images; n_reference: how many.
        reason: why a difference is missing.
    """

    KIND: ClassVar[str] = "folder-comparison"
    a: str
    b: str
    pairs: int
    left_out: int
    scores_a: tuple[Score, ...]
    scores_b: tuple[Score, ...]
    differences: tuple[Score, ...]
    shared: str
    differing: tuple[str, ...]
    reference: str
    n_reference: int
    reason: str = ""

    def __str__(self) -> str:
        def line(score: Score) -> str:
            value, low, high = (score.factor * v for v in (score.value, score.low, score.high))
            apart = "" if "difference" not in score.name or low <= 0 <= high else ", found"
            return f"{value:.3g} ({low:.3g} to {high:.3g}){apart}"

        rows = [(f"{s.label} of {name}", line(s)) for name, scores in ((self.a, self.scores_a), (self.b, self.scores_b))
                for s in scores]  # fmt: skip
        rows += [(f"{s.label}, first less second", line(s)) for s in self.differences]
        wide = max(len(name) for name, _ in rows)
        score = self.differences[0]
        more = f"; {self.left_out} images without a partner are left out" if self.left_out else ""
        return "\n".join([
            *(f"{name:{wide}}  {text}" for name, text in rows),
            f"{self.pairs} pairs against {self.n_reference} images of {self.reference}; 95 % intervals.",
            f"Extractor {score.extractor} {score.extractor_sha256[:12]}{more}.",
            f"A pair shares {self.shared}." if self.shared else "It is not known that a pair shares anything.",
            *(f"They differ in {text}." for text in self.differing),
            *([self.reason] if self.reason else []),
        ])  # fmt: skip


def compare_folders(
    a: Path, b: Path, against: Reference | FeatureStatistics, *, extractor: AnyExtractor,
    background: str | None = None, progress: Progress | None = None,
) -> FolderComparison:  # fmt: skip
    """Compare the images of two folders, by their names.

    Args:
        a, b: folders of images, such as ``sample`` writes.
        against: the reference of both.
        extractor: that made it.
        background: behind transparent pixels.
        progress: called with (done, images of both).

    Raises:
        InputError: too few pairs, or another extractor's reference.
    """
    against.check(extractor)  # type: ignore[arg-type]
    files = [{file.name: file for file in single_images(folder)} for folder in (a, b)]
    names = sorted(files[0].keys() & files[1].keys())
    if len(names) < 4:
        raise InputError(
            f"{a} and {b} have {len(names)} images of equal names, too few to compare; give folders whose images have "
            "the same numbers"
        )
    count, features = len(names), list[NDArray[np.float32]]()
    for k, (folder, own) in enumerate(zip((a, b), files, strict=True)):
        parts = ImageParts.of_files(folder, [own[name] for name in names], background=background)

        def show(done: int, n: int, before: int = k * count) -> None:
            if progress is not None:
                progress(before + done, 2 * count)

        features.append(features_of(parts, extractor, show)[0])
    shared, differing = shared_by(_record(a), _record(b))
    x, z = features
    real = against if isinstance(against, Reference) else against.reference()
    own_scores = [(score_features(f, real).kid,) for f in (x, z)]
    least, reason = least_images(x.shape[1], extrapolate=True), ""
    metrics: tuple[Metric, ...] = ("KID", "FD", "precision", "recall")
    if min(count, len(real.target)) < least:
        metrics = metrics[:1]
        few = f"{count} pairs against {len(real.target)} are too few"
        reason = f"No difference of {extractor.frechet}: {few}; give at least {least}."
    differences = [paired_difference(x, z, real, metric=m, shared=shared) for m in metrics]
    return FolderComparison(
        a=str(a), b=str(b), pairs=count, left_out=sum(map(len, files)) - 2 * count, scores_a=own_scores[0],
        scores_b=own_scores[1], differences=tuple(differences), shared=shared, differing=tuple(differing),
        reference=against.name, n_reference=len(real.target), reason=reason,
    )  # fmt: skip


def _record(folder: Path) -> dict[str, Any]:
    try:
        return read_object(folder / RECORD)
    except InputError:  # none, or of another program: then nothing is known
        return {}


def shared_by(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return what images of one number share in two runs of ``sample``, by their ``run.json``, and in what they differ.

    Both are empty where a record does not say how its images were made.
    """
    if "seed" not in a or "seed" not in b:
        return "", []
    same, other = list[str](), list[str]()
    for field, name in _SETTINGS.items():
        x, y = (_said(record.get(field)) for record in (a, b))
        if x == y:
            if x and field in ("model", "seed", "steps", "sampler", "label"):
                same.append(f"{name} {x}")
        else:
            other.append(f"{name}: {x or 'none'} and {y or 'none'}")
    kinds = [record.get("provenance", {}).get("kind") for record in (a, b)]
    if a.get("provenance") == b.get("provenance") and kinds[0] in _WORDS:
        same.append("every number of its noise")
    elif a["seed"] == b["seed"] and set(kinds) <= _WORDS:
        same.append("the uniform word behind every bit of its noise, the first latent's included")
    return ", ".join(same), other


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("sha256", value.get("junction", value))
        return str(value)[:12] if value else ""
    return "" if value is None else str(value)
