"""Image quality under several conditions: scores, paired differences from the first, yardsticks and a control.

The control must be told apart from the first condition, or the comparison is too small to say anything. A margin of
equivalence is declared beforehand, as a share of the distance that a blur adds to real images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AliasChoices, Field, model_validator

from voltaspin.core.files import as_object
from voltaspin.core.result import Part, Result
from voltaspin.diffusion.conditions import ConditionImages
from voltaspin.metrics.distance import Score
from voltaspin.metrics.evaluation import paired_difference, score_features
from voltaspin.metrics.features import Extractor
from voltaspin.metrics.shipped import Reference

#: Largest difference of KID from the first condition that still counts as equal, as a share of the KID of blurred
#: real images in the same extractor. Declared before any condition was scored.
MARGIN_SHARE_OF_BLUR = 0.25
_YARDSTICKS = {"real": "Other real images", "blur": "Real, 3x3 mean blur", "noise": "Real, noise of sigma 0.05"}
_Name = AliasChoices("condition", "arm")  # 0.1.0 wrote ``arm``


class ConditionScores(Part):
    """Scores of one condition or yardstick; ``fd`` is ``None`` only with a reason."""

    condition: str = Field(validation_alias=_Name)
    name: str
    kid: Score
    fd: Score | None = None
    fd_reason: str = ""

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        if self.fd is None and not self.fd_reason:
            raise ValueError(f"row {self.condition!r} has no FD and no reason; say why in fd_reason")
        return self


class ConditionDifference(Part):
    """Paired difference of one condition from the first.

    Args:
        condition, name: which.
        kid: KID of the condition less KID of the first.
        fd: the same for the extrapolated FD, where there are images enough.
        margin: equivalence margin declared beforehand, in the unit of ``kid``.
        equivalent: outcome of two one-sided tests at that margin, ``None`` where none was declared.
    """

    condition: str = Field(validation_alias=_Name)
    name: str
    kid: Score
    fd: Score | None = None
    margin: float | None = None
    equivalent: bool | None = None


class Control(Part):
    """The condition that must be told apart.

    Args:
        row: its scores.
        difference: paired difference from the first condition.
        detected: whether the interval of the difference lies above zero.
        what: how it was broken, e.g. ``"raw bits with p = 0.55"``.
    """

    row: ConditionScores
    difference: ConditionDifference
    detected: bool
    what: str


class ConditionComparison(Result):
    """A comparison of image quality under several conditions.

    Args:
        label: e.g. ``"This run"``.
        n: images of each condition; steps: sampler steps; command: how to run it again.
        extractor, extractor_sha256: the feature network.
        extractor_accuracy: share of held-out images that it classifies correctly.
        rows: scores of each condition.
        differences: of all conditions but the first.
        floor: real against real images at the same n.
        yardsticks: scores of blurred and of noisy real images.
        control: None only with a reason.
    """

    KIND: ClassVar[str] = "condition-comparison"
    label: str
    n: int
    steps: int
    command: str
    extractor: str
    extractor_sha256: str
    extractor_accuracy: float | None = None
    rows: tuple[ConditionScores, ...]
    differences: tuple[ConditionDifference, ...]
    floor: ConditionScores
    yardsticks: tuple[ConditionScores, ...]
    control: Control | None
    control_reason: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _controlled(self) -> Self:
        if self.control is None and not self.control_reason:
            raise ValueError(f"comparison {self.label!r} has no control; say why in control_reason")
        return self

    @classmethod
    def from_json(cls, data: dict[str, Any], *, where: str = "specification") -> Self:
        """As :meth:`Result.from_json`; 0.1.0 called the kind ``part``."""
        data = as_object(data, where=where)
        return super().from_json(data | {"kind": cls.KIND} if data.get("kind") == "part" else data, where=where)

    def verdict(self, condition: str) -> str:
        """Return the outcome of a condition in words; a dash for one without a difference."""
        found = next((d for d in self.differences if d.condition == condition), None)
        if found is None:
            return "–"
        if found.equivalent:
            apart = found.kid.low > 0 or found.kid.high < 0
            return f"{'different, yet ' if apart else ''}equivalent within ±{found.margin:.3g}"
        if found.kid.low > 0:
            return "worse than software"
        if found.kid.high < 0:
            return "better than software"
        return "no difference resolved" if found.margin is None else f"not shown equivalent within ±{found.margin:.3g}"


def shipped_comparison() -> ConditionComparison:
    """Return the larger comparison that ships with the package."""
    return ConditionComparison.load(Path(str(resources.files("voltaspin"))) / "data" / "study.json")


def compare_conditions(
    conditions: Sequence[ConditionImages],
    control: ConditionImages,
    against: Reference,
    *,
    extractor: Extractor,
    shared: str,
    broken: str,
    progress: Callable[[int, int], None] | None = None,
    **labels: Any,
) -> ConditionComparison:
    """Score conditions, their paired differences from the first, floor, yardsticks and the control.

    Args:
        conditions: the first is the baseline.
        control: one that must be told apart; ``broken`` says how it was broken.
        against: real images.
        extractor: of the features.
        shared: what the conditions have in common.
        broken: see ``control``.
        progress: called with (done, total) scores.
        labels: ``label``, ``steps`` and ``command`` of the comparison.

    Raises:
        InputError: images that are no pairs, or too few of them.
    """
    n = len(control.images)
    every = [(c.condition, extractor.features(c.images)) for c in (*conditions, control)]
    total = 2 * len(every) + 2
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    def row(key: str, name: str, features: NDArray[np.float32], noise: str = "", shared: str = "") -> ConditionScores:
        found = score_features(features, against, subject=name, noise=noise, shared=shared)
        fd = found.fd_extrapolated or found.fd
        tick()
        return ConditionScores(condition=key, name=name, kid=found.kid, fd=fd, fd_reason="" if fd else found.reason)

    rows = [row(c.key, c.name, features, c.noise, shared) for c, features in every]
    real = {key: row(key, name, against.features[key][:n]) for key, name in _YARDSTICKS.items()}
    # From all blurred images, whatever n is here: the margin is a property of the extractor, not of this comparison.
    margin = MARGIN_SHARE_OF_BLUR * score_features(against.features["blur"], against).kid.value
    baseline, differences = every[0][1], []
    for c, features in every[1:]:
        kid = paired_difference(features, baseline, against, noise=c.noise, shared=shared)
        fd = None
        if n >= 4 * against.target.shape[1]:
            fd = paired_difference(features, baseline, against, metric="FD")
        differences.append(ConditionDifference(
            condition=c.key, name=c.name, kid=kid, fd=fd, margin=margin, equivalent=kid.equivalent(margin)
        ))  # fmt: skip
        tick()
    apart = differences.pop()
    return ConditionComparison(
        n=n, extractor=extractor.name, extractor_sha256=extractor.sha256,
        extractor_accuracy=float(extractor.card["accuracy"]["value"]), rows=tuple(rows[:-1]),
        differences=tuple(differences), floor=real["real"], yardsticks=(real["blur"], real["noise"]),
        control=Control(row=rows[-1], difference=apart, detected=apart.kid.low > 0, what=broken),
        note=f"Equivalence margin: {MARGIN_SHARE_OF_BLUR:g} of the KID of blurred real images, set beforehand. "
             "FD is extrapolated in 1/n where there are images enough.",
        **labels,
    )  # fmt: skip
