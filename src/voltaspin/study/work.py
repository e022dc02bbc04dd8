"""One job of a study: train a model, or sample with it and take the features of its images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from voltaspin.diffusion import TrainSpec, load_images, load_pipeline, sample, shipped_model, train
from voltaspin.errors import InputError
from voltaspin.memory import ArraySpec, Imperfections, MagnetoelectricMemory, convert
from voltaspin.metrics import Extractor, reference, score_features
from voltaspin.noise import MemorySource, NoiseSource, PseudoSource
from voltaspin.report.figures import grid_png
from voltaspin.study.runner import folder_of
from voltaspin.study.specification import Run, Training

SHOWN = 32  #: images of each run that are kept as a picture


def source_of(
    noise: str, seed: int, *, memory: dict[str, Any] | None = None, imperfections: dict[str, Any] | None = None
) -> NoiseSource:
    """The source that a condition names; its array is one device, drawn by the seed.

    Raises:
        InputError: an unknown noise, or fields that the array or its imperfections do not have.
    """
    if noise == "software":
        return PseudoSource(seed=seed)
    if noise == "software-16":
        return PseudoSource(seed=seed, precision=16)
    if noise not in ("memory-raw", "memory-xor"):
        raise InputError(f"noise {noise!r} of a study is unknown; use software, software-16, memory-raw or memory-xor")
    try:
        array = MagnetoelectricMemory(**{"seed": seed, **(memory or {})})
        moved = replace(Imperfections.none(), **imperfections) if imperfections else None
    except TypeError as error:
        raise InputError(f"the condition's memory or imperfections: {error}") from None
    return MemorySource(memory=array, seed=seed, k=1 if noise == "memory-raw" else 2, imperfections=moved)


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
    if condition.compute is not None:
        unet, _ = convert(pipeline.unet, ArraySpec(**condition.compute))
        pipeline = replace(pipeline, unet=unet)
    source = source_of(
        condition.sample, run.sampling_seed, memory=condition.memory, imperfections=condition.imperfections
    )
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
