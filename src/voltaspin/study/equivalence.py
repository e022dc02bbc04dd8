"""The outcome of a study: every condition against its baseline, paired, with intervals, equivalence and power."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import as_object
from voltaspin.core.quantity import Z90, Z95
from voltaspin.core.result import Part, Result
from voltaspin.metrics import FeatureStatistics, paired_difference, reference
from voltaspin.metrics.distance import kernel_estimate, least_images
from voltaspin.metrics.evaluation import Metric
from voltaspin.metrics.shipped import Reference
from voltaspin.study.runner import folder_of
from voltaspin.study.specification import Run, StudySpec

_METRICS: tuple[Metric, ...] = ("KID", "FD", "precision", "recall")


class Equivalence(Part):
    """One condition less the condition that it is compared with, in KID.

    Args:
        name: of the condition.
        against: the other one where it is not the study's baseline.
        trainings, images: that went into it, the images of all sampling seeds together.
        difference, std: mean over the training seeds and its standard error.
        low, high: 95 % interval, with Student's t over three or more training seeds.
        equivalent: whether the 90 % interval lies within the margin: two one-sided tests at 5 %.
        power: of that test if there is no difference at all.
        fd: difference in FD extrapolated, or None with too few images; fd_std: its standard error.
        precision, recall: differences, or None with too few images; precision_std, recall_std: their standard errors.
        by_training: (difference, std) of each training seed.
        kid, baseline_kid: of the condition and of the baseline themselves, means over the training seeds.
    """

    name: str
    trainings: int
    images: int
    difference: float
    std: float
    low: float
    high: float
    equivalent: bool
    power: float
    fd: float | None = None
    fd_std: float | None = None
    by_training: tuple[tuple[float, float], ...]
    precision: float | None = None
    precision_std: float | None = None
    recall: float | None = None
    recall_std: float | None = None
    kid: float | None = None
    baseline_kid: float | None = None
    against: str = ""

    @property
    def detected(self) -> bool:
        """True if the 95 % interval excludes zero."""
        return self.low > 0 or self.high < 0

    @property
    def said(self) -> str:
        """The outcome in words."""
        return "equivalent" if self.equivalent else "different" if self.detected else "not shown equivalent"


class StudyResult(Result):
    """The outcome of a study; iterating over it gives the verdict on each condition.

    Args:
        study: the specification.
        standing: how far the study can be trusted, see :func:`standing`.
        verdicts: every condition but the baseline.
    """

    KIND: ClassVar[str] = "study-verdicts"
    study: StudySpec
    standing: tuple[str, ...]
    verdicts: tuple[Equivalence, ...]

    def __iter__(self) -> Iterator[Equivalence]:  # type: ignore[override]
        return iter(self.verdicts)

    def __len__(self) -> int:
        return len(self.verdicts)

    def to_json(self) -> dict[str, Any]:
        found = super().to_json() | {"study": self.study.to_json()}
        for verdict, record in zip(self.verdicts, found["verdicts"], strict=True):
            record["detected"] = verdict.detected
        return found

    @classmethod
    def from_json(cls, data: dict[str, Any], *, where: str = "result of a study") -> Self:
        data = dict(as_object(data, where=where))
        data["study"] = {k: v for k, v in data.get("study", {}).items() if k not in ("kind", "schema_version")}
        data["verdicts"] = [{k: x for k, x in v.items() if k != "detected"} for v in data.get("verdicts", ())]
        return super().from_json(data, where=where)

    def __str__(self) -> str:
        lines = [
            f"{v.name}: KID less {v.against or self.study.baseline} {1e3 * v.difference:.2f}e-3 ({1e3 * v.low:.2f} to "
            f"{1e3 * v.high:.2f}), {v.said}, power {v.power:.0%}" for v in self
        ]  # fmt: skip
        return "\n".join([*lines, *self.standing])


def combined(each: list[tuple[float, float]]) -> tuple[float, float, float, float]:
    """Mean over training seeds, its standard error, and the factors of 95 and 90 % intervals.

    One or two seeds: the images' own errors, which know nothing of the training's chance. Three or more: the spread
    between seeds, with Student's t, which holds both.
    """
    values = np.array([v for v, _ in each])
    if len(each) < 3:
        std = math.sqrt(sum(s * s for _, s in each)) / len(each)
    else:
        std = float(values.std(ddof=1) / math.sqrt(len(each)))
    return float(values.mean()), std, *factors(len(each))


def factors(trainings: int) -> tuple[float, float]:
    """Half widths of 95 and 90 % intervals in standard errors: normal below three trainings, Student's t from there."""
    if trainings < 3:
        return Z95, Z90
    from scipy.stats import t

    return float(t.ppf(0.975, trainings - 1)), float(t.ppf(0.95, trainings - 1))


def power_of(margin: float, std: float, factor: float) -> float:
    """Probability that two one-sided tests show equivalence where there is no difference."""
    from scipy.special import ndtr

    return max(0.0, float(2 * ndtr(margin / std - factor) - 1)) if std > 0 else 1.0


def judge(spec: StudySpec, out: Path, *, against: Reference | None = None) -> StudyResult:
    """Compare every condition with the baseline, run by run of equal seeds.

    Args:
        spec: of the study.
        out: folder of results.
        against: real images to score against; the shipped ones if None.

    Raises:
        InputError: runs are missing.
    """
    runs = spec.runs()
    if against is None:
        file = spec.named()[spec.baseline].reference
        against = FeatureStatistics.load(file).reference() if file else reference("fashion-mnist")
    missing = [r for r in runs if not (folder_of(out, r) / "features.npz").is_file()]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(runs)} runs are not done, the first one {missing[0].name!r} with seeds "
            f"{missing[0].training_seed} and {missing[0].sampling_seed}; run the study to its end, every shard of it"
        )
    by_name: dict[str, dict[tuple[int, int], Run]] = {}
    for run in runs:
        by_name.setdefault(run.name, {})[run.training_seed, run.sampling_seed] = run

    @cache
    def scored(name: str, training: int) -> tuple[NDArray[np.float64], float]:
        features = _features(out, by_name[name], training, spec.sampling_seeds)
        standard = against.standardised(features)
        return features, kernel_estimate([(1.0, standard)], against.target, against.target_sums).value

    found = []
    for name, mine in by_name.items():
        if name == spec.baseline:
            continue
        other = spec.against.get(name, spec.baseline)
        seeds = spec.training_seeds
        if all(r.training is None for r in (*mine.values(), *by_name[other].values())):
            seeds = seeds[:1]
        scores: dict[Metric, list[tuple[float, float]]] = {}
        own, images = [], 0
        for training in seeds:
            (a, a_kid), (b, b_kid) = scored(name, training), scored(other, training)
            own.append((a_kid, b_kid))
            n = min(len(a), len(b))
            images += n
            enough = min(n, len(against.target)) >= least_images(a.shape[1], extrapolate=True)
            for metric in _METRICS if enough else _METRICS[:1]:
                score = paired_difference(a[:n], b[:n], against, metric=metric)
                scores.setdefault(metric, []).append((score.value, score.standard_error))
        more: dict[str, float] = {}
        for metric, each in scores.items():
            value, std = combined(each)[:2]
            if metric != "KID":
                more |= {metric.lower(): value, f"{metric.lower()}_std": std}
        value, std, z95, z90 = combined(scores["KID"])
        kid, baseline_kid = np.mean(own, 0).tolist()
        found.append(Equivalence(
            name=name, trainings=len(seeds), images=images, difference=value, std=std, low=value - z95 * std,
            high=value + z95 * std, equivalent=abs(value) + z90 * std < spec.margin,
            power=power_of(spec.margin, std, z90), by_training=tuple(scores["KID"]), kid=kid,
            baseline_kid=baseline_kid, against=spec.against.get(name, ""), **more,
        ))  # fmt: skip
    return StudyResult(study=spec, standing=tuple(standing(spec, found)), verdicts=tuple(found))


def standing(spec: StudySpec, verdicts: Iterable[Equivalence]) -> list[str]:
    """Return how far a study can be trusted: its controls are found, its margin lies below the yardstick."""
    by_name, said = {v.name: v for v in verdicts}, []
    if spec.controls:
        missed = [c for c in spec.controls if by_name[c].said != "different"]
        said.append(
            f"Positive controls: all {len(spec.controls)} found different." if not missed else
            f"Positive controls NOT found different: {', '.join(missed)}; what is called equivalent may only be unseen."
        )  # fmt: skip
    if spec.yardstick:
        y = by_name[spec.yardstick]
        word = "below" if spec.margin < y.low else "NOT surely below" if spec.margin < y.high else "NOT below"
        said.append(
            f"The margin of {1e3 * spec.margin:g}e-3 is {word} the effect of {y.name!r}, {1e3 * y.difference:.1f}e-3 "
            f"({1e3 * y.low:.1f} to {1e3 * y.high:.1f})."
        )
    return said


def _features(
    out: Path, runs: dict[tuple[int, int], Run], training: int, sampling: tuple[int, ...]
) -> NDArray[np.float64]:
    parts = [features_of(folder_of(out, runs[training, seed])) for seed in sampling]
    if len({part.shape[1:] for part in parts}) != 1 or not all(np.isfinite(part).all() for part in parts):
        raise InputError(
            f"the features of the runs in {out} do not fit each other; a file is damaged or of another study"
        )
    return np.concatenate(parts)


def features_of(folder: Path) -> NDArray[np.float64]:
    """Return the features (images, d) that a finished run has kept in its folder; raises InputError for damage."""
    path = folder / "features.npz"
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            features: NDArray[np.float64] = file["features"].astype(np.float64)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} is damaged ({type(error).__name__}); remove its folder and run the study again"
        ) from None
    return features


Verdict = Equivalence  #: the name in 0.1.0
