"""The costly stage: KID of the designs that survived, as an ordinary study in the folder of the exploration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from voltaspin.core.files import read_object
from voltaspin.core.quantity import Estimate
from voltaspin.design.result import DesignPoint, DesignResult, survivors
from voltaspin.design.space import DesignSpace
from voltaspin.study.runner import Crew, execute, folder_of
from voltaspin.study.specification import StudySpec

KID = "kid"  #: folder of the study
_NOTE = (
    "KID: of images by the survivors of each front, with the memory's bits as noise, or in place; the baseline is the "
    "first model in floating point with the most evaluations"
)


def study_of(space: DesignSpace, chosen: list[DesignPoint]) -> StudySpec:
    """Return the study whose conditions are the survivors, called ``design NUMBER``, and a baseline in floating point.

    Args:
        space: of the exploration.
        chosen: of its fronts.
    """
    first = space.settings()[0].model
    most = max(s.steps for s in space.settings() if s.model == first)
    baseline = f"float, {most} evaluations"
    return StudySpec(
        name=space.name, question=space.question, margin=space.margin, baseline=baseline,
        base={"images": space.kid_images, "sample": "memory-xor"}, sampling_seeds=(space.seed,),
        conditions={baseline: {"steps": most, **_model(first)}} | {f"design {p.number}": _condition(p) for p in chosen},
    )  # fmt: skip


def _condition(p: DesignPoint) -> dict[str, Any]:
    fields: dict[str, Any] = {"steps": p.steps, "compute": p.computing, "calibrate": True, **_model(p.model)}
    if p.diffusion == "in-place":
        fields |= {"diffusion": "in-place", "sampling": {"cells_per_pixel": p.cells_per_pixel}}
    return fields


def _model(text: str | None) -> dict[str, str]:
    return {} if text is None else {"model": str(Path(text).resolve())}


def with_kid(
    result: DesignResult, out: Path, *, crew: Crew, progress: Callable[[str, int, int], None] | None = None
) -> DesignResult:
    """Make images by the survivors and give each its KID.

    Args:
        result: of the cheap stage.
        out: folder of the exploration; what is finished in it is not repeated.
        crew: that does the work.
        progress: called as ``progress(what, done, total)``.
    """
    from voltaspin.study.work import do

    chosen = survivors(result.points, result.space.survivors)
    study, place = study_of(result.space, chosen), out / KID
    execute(
        study.runs(), place, work=partial(do, place.resolve()), crew=crew,
        progress=None if progress is None else lambda done, total, _: progress("KID", done, total),
    )  # fmt: skip
    found = {run.name: _kid(read_object(folder_of(place, run) / "result.json")) for run in study.runs()}
    points = tuple(p.model_copy(update={"kid": found.get(f"design {p.number}")}) for p in result.points)
    return result.model_copy(
        update={"points": points, "baseline_kid": found[study.baseline], "notes": (*result.notes, _NOTE)}
    )


def _kid(record: dict[str, Any]) -> Estimate:
    kid = next(score for score in record["scores"]["scores"] if score["name"] == "KID")
    return Estimate(
        **{name: kid[name] for name in ("value", "low", "high", "level", "std", "n", "unit") if name in kid}
    )
