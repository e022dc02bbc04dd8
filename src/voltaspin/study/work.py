"""One job of a study: train a model, or sample with it and take the features of its images."""

from __future__ import annotations

from dataclasses import fields as fields_of
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

from voltaspin.core.errors import InputError
from voltaspin.core.spec import Spec
from voltaspin.diffusion import TrainSpec, load_images, load_pipeline, sample, shipped_model, train
from voltaspin.diffusion.grids import grid_png
from voltaspin.memory import ArraySpec, Imperfections, MagnetoelectricMemory, convert
from voltaspin.memory.dynamics import Slopes
from voltaspin.metrics import Extractor, reference, score_features
from voltaspin.noise import LoopedSource, MemorySource, NoiseSource, PseudoSource, Requantised
from voltaspin.noise.gaussian import named_shaping
from voltaspin.study.cells import Cells
from voltaspin.study.runner import folder_of
from voltaspin.study.specification import Condition, Run, Training

SHOWN = 32  #: images of each run that are kept as a picture


def source_of(
    noise: str, seed: int, *, memory: dict[str, Any] | None = None, imperfections: dict[str, Any] | None = None,
    cells: dict[str, Any] | None = None, source: dict[str, Any] | None = None, draws: int = 1024,
) -> NoiseSource:  # fmt: skip
    """The source that a condition names; its array is one device, drawn by the seed.

    Args:
        noise: as ``Condition.sample``.
        seed: of the source and of its array.
        memory, imperfections, cells, source: as in a :class:`~voltaspin.study.specification.Condition`.
        draws: that an image may take; only a looped source has to know.

    Raises:
        InputError: an unknown noise, fields that the array, its cells, its imperfections or the source do not have, or
            cells of a noise that has none.
    """
    if noise in ("software", "software-16"):
        if cells or source:
            raise InputError(f"noise {noise!r} has no memory whose cells or source could differ; use memory-raw")
        return PseudoSource(seed=seed, precision=16 if noise == "software-16" else "full")
    if noise not in ("memory-raw", "memory-xor"):
        raise InputError(f"noise {noise!r} of a study is unknown; use software, software-16, memory-raw or memory-xor")
    fields = dict(source or {})
    try:
        if "shaping" in fields:
            fields["shaping"] = Requantised(named_shaping(*fields["shaping"]))
        if "period" in fields:
            if memory or imperfections or cells or noise != "memory-raw":
                raise InputError("a looped source has no cells: give its period with memory-raw and nothing else")
            return LoopedSource(seed=seed, draws=draws, **fields)
        given = {} if not cells else Cells(**cells).memory()
        array = MagnetoelectricMemory(**{"seed": seed, **given, **(memory or {})})
        moved = replace(Imperfections.none(), **_with_slopes(imperfections)) if imperfections else None
        k = 1 if noise == "memory-raw" else 2
        return MemorySource(memory=array, seed=seed, k=k, imperfections=moved, **fields)
    except TypeError as error:
        raise InputError(f"the condition's cells, source, memory or imperfections: {error}") from None


def built_source(condition: Condition, *, seed: int) -> NoiseSource:
    """The source of a condition; raises InputError, as :func:`source_of`, also for a value of another type."""
    for name, kind in (
        ("memory", MagnetoelectricMemory), ("imperfections", Imperfections), ("cells", Cells),
        ("source", LoopedSource if "period" in condition.source else MemorySource),
    ):  # fmt: skip
        _check_types(getattr(condition, name), kind, name)
    return source_of(
        condition.sample, seed, memory=condition.memory, imperfections=condition.imperfections,
        cells=condition.cells, source=condition.source, draws=condition.steps + 1,
    )  # fmt: skip


def built_spec(condition: Condition) -> ArraySpec | None:
    """The arrays of a condition; None where its network computes in floating point."""
    if condition.compute is None:
        return None
    _check_types(condition.compute, ArraySpec, "compute")
    return ArraySpec(**condition.compute)


def _check_types(fields: dict[str, Any], kind: type, where: str) -> None:
    """Refuse values that are not of the type of their field, such as a text for a switch.

    A field that takes an object of ours cannot be given in a study file, except the two with a spelling of their own.
    """
    hints = get_type_hints(kind if is_dataclass(kind) or issubclass(kind, Spec) else kind.__init__)
    for name, value in fields.items():
        if name in ("shaping", "slopes") or name not in hints:  # spelt in their own way; refused by their reader
            continue
        try:
            TypeAdapter(hints[name], config=ConfigDict(arbitrary_types_allowed=True)).validate_python(
                value, strict=True
            )
        except PydanticUserError:  # a class that settles its own configuration
            TypeAdapter(hints[name]).validate_python(value, strict=True)
        except ValidationError as error:
            raise InputError(f"{where}.{name} = {value!r}: {error.errors()[0]['msg']}") from None


def _with_slopes(imperfections: dict[str, Any]) -> dict[str, Any]:
    """The slopes as such: those that are named as pairs, the others none."""
    if "slopes" not in imperfections:
        return imperfections
    slopes = imperfections["slopes"]
    if not isinstance(slopes, dict) or not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(type(v) in (int, float) for v in pair)
        for pair in slopes.values()
    ):
        raise InputError(f"imperfections.slopes = {slopes!r}: give pairs of numbers by name")
    none = {f.name: (0.0, 0.0) for f in fields_of(Slopes)}
    return {**imperfections, "slopes": Slopes(**{**none, **{k: tuple(v) for k, v in imperfections["slopes"].items()}})}


def seconds_of(*, evaluations: int, training_images: int) -> float:
    """About how long a study takes in one process of this machine, from a short sampling with the shipped model [s].

    Args:
        evaluations: of the network, by image, in all runs.
        training_images: images times optimiser steps, each taken as three evaluations (forward and backward).

    The estimate is right within a factor of two or three: converted networks take longer, small ones less, and
    other work on the machine counts.
    """
    pipeline, source = load_pipeline(shipped_model()), PseudoSource()
    sample(pipeline, source, count=8, steps=1)  # the first call compiles and allocates
    per_evaluation = sample(pipeline, source, count=32, steps=2).seconds / 64
    return per_evaluation * (evaluations + 3 * training_images)


def do(out: Path, job: Run | Training, folder: Path) -> dict[str, Any]:
    """Do a job into its folder; what it found goes into ``result.json``."""
    return _train(job, folder) if isinstance(job, Training) else _sample(out, job, folder)


def _train(job: Training, folder: Path) -> dict[str, Any]:
    spec = TrainSpec(noise=job.noise, seed=job.seed, steps=job.steps, channels=job.channels)
    result = train(load_images("fashion-mnist"), source_of(job.noise, job.seed), folder / "model", spec=spec)
    if not result.finished:
        raise KeyboardInterrupt
    for checkpoint in (folder / "model").glob("checkpoint-*"):
        for file in checkpoint.iterdir():
            file.unlink()
        checkpoint.rmdir()
    return {"loss": result.loss, "seconds": result.seconds}


def _sample(out: Path, run: Run, folder: Path) -> dict[str, Any]:
    condition, training = run.condition, run.training
    pipeline = load_pipeline(shipped_model() if training is None else folder_of(out, training) / "model")
    if (arrays := built_spec(condition)) is not None:
        unet, _ = convert(pipeline.unet, arrays)
        pipeline = replace(pipeline, unet=unet)
    source = built_source(condition, seed=run.sampling_seed)
    # each sampling seed draws images of its own, whatever the noise
    made = sample(pipeline, source, count=condition.images, steps=condition.steps)
    features = Extractor.load().features(made.images)
    np.savez_compressed(folder / "features.npz", features=features.astype(np.float32))
    (folder / "images.png").write_bytes(grid_png(made.images[:SHOWN], columns=8))
    row = score_features(features, reference("fashion-mnist"))
    return {
        "scores": row.to_json(), "seconds": made.seconds, "noise": made.noise, "ledger": source.ledger.totals(),
        "model_sha256": pipeline.sha256,
    }  # fmt: skip
