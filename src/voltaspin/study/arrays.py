"""The network of a condition in arrays: converted, calibrated, tuned and corrected, with its errors measured."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch

from voltaspin.core.errors import InputError
from voltaspin.diffusion import TrainSpec, load_images
from voltaspin.diffusion.arithmetic import variance_per_step
from voltaspin.diffusion.objective import Batch
from voltaspin.diffusion.pipelines import Pipeline
from voltaspin.diffusion.recipe import learning_rate
from voltaspin.diffusion.training import NoisePrediction, encode
from voltaspin.memory import ArraySpec, calibrate, convert
from voltaspin.metrics import garments
from voltaspin.noise import NoiseSource, PseudoSource
from voltaspin.study.specification import Condition

TIMES = (50, 250, 450, 650, 850)  #: time steps of a schedule of 1000 at which the error of the output is measured
_FIRST = 10**6  # number of the first image of a correction: far from those that are sampled


@dataclass(frozen=True)
class InArrays:
    """A pipeline whose network computes in arrays.

    Args:
        pipeline: with the converted network.
        arithmetic: variance that the arithmetic adds at each step, where the condition corrects it.
        record: errors of the output, losses of the tuning, and the variances, for the result of the run.
    """

    pipeline: Pipeline
    arithmetic: tuple[float, ...] | None
    record: dict[str, Any]


def in_arrays(pipeline: Pipeline, spec: ArraySpec, condition: Condition, source: NoiseSource) -> InArrays:
    """Convert the network of a pipeline and apply the condition's settings to it.

    Args:
        pipeline: in floating point.
        spec: of the arrays.
        condition: its ``calibrate``, ``tune``, ``correct`` and ``steps``.
        source: of the noise of the sampling.
    """
    exact = pipeline.unet
    unet, _ = convert(exact, spec)
    pipeline = replace(pipeline, unet=unet)
    total = pipeline.scheduler.config.num_train_timesteps
    if condition.calibrate:
        first, apart = (0, total // 10) if spec.time_buckets == 1 else (total // 40, total // 20)
        with warnings.catch_warnings():  # of clipped conversions, which the error of the output holds
            warnings.simplefilter("ignore")
            calibrate(unet, [(garments_at(pipeline, t, seed=1), t) for t in range(first, total, apart)])
    record: dict[str, Any] = {"output_error": output_errors(pipeline, exact)}
    if condition.tune:
        record["losses"] = tuned(pipeline, **tuning_of(condition))
    arithmetic = None
    if condition.correct:
        arithmetic = variance_per_step(
            pipeline, exact, source, count=condition.correct, steps=condition.steps, first=_FIRST
        )  # fmt: skip
        record["arithmetic"] = arithmetic
    return InArrays(pipeline, arithmetic, record)


def garments_at(pipeline: Pipeline, t: int, *, seed: int) -> torch.Tensor:
    """Real garments with the noise of time ``t``, as the network sees them there: float32 (32, 1, 28, 28)."""
    clean = torch.from_numpy(encode(garments(), margin=0.05))
    alpha_bar = float(pipeline.scheduler.alphas_cumprod[t])
    z = torch.from_numpy(PseudoSource(seed=seed).normal(tuple(clean.shape), streams=range(len(clean)), step=t))
    return alpha_bar**0.5 * clean + (1 - alpha_bar) ** 0.5 * z


@torch.no_grad()
def output_errors(pipeline: Pipeline, exact: torch.nn.Module) -> dict[str, float]:
    """Mean square error of the network's output over its mean square, by time step; see :data:`TIMES`."""
    errors = {}
    for t in (t * pipeline.scheduler.config.num_train_timesteps // 1000 for t in TIMES):
        x = garments_at(pipeline, t, seed=2)
        ideal = exact(x, t).sample
        errors[str(t)] = float(((pipeline.unet(x, t).sample - ideal) ** 2).mean() / (ideal**2).mean())
    return errors


def tuning_of(condition: Condition) -> dict[str, Any]:
    """Return the arguments of :func:`tuned`; raises InputError for a field that is none of them."""
    fields = {"steps": 300, "rate": 5e-5, "batch": 64, **condition.tune}
    if unknown := set(fields) - {"steps", "rate", "batch"}:
        raise InputError(f"tune.{sorted(unknown)[0]} is unknown; give steps, rate and batch")
    if fields["steps"] < 1 or fields["batch"] < 1 or not fields["rate"] > 0:
        raise InputError(f"tune = {condition.tune}: give 1 step and 1 image or more, and a positive rate")
    return {"steps": int(fields["steps"]), "batch": int(fields["batch"]), "rate": float(fields["rate"])}


def tuned(pipeline: Pipeline, *, steps: int, rate: float, batch: int) -> list[float]:
    """Train the converted network on, with the errors of its own cells: it learns this chip, not the class of chips.

    Returns:
        The loss of every step.
    """
    images = load_images("fashion-mnist").images
    kind = pipeline.scheduler.config.prediction_type
    spec = TrainSpec(seed=7, steps=steps, batch=batch, learning_rate=rate, warmup=0, prediction_type=kind)
    objective = NoisePrediction(spec, PseudoSource(seed=7))
    objective.alpha_bar = pipeline.scheduler.alphas_cumprod.float()
    model, losses = pipeline.unet.train(), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(spec, step)
        loss = objective.loss(model, Batch.of(images, spec, step), model.device)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), spec.clip)
        optimizer.step()
        losses.append(float(loss.detach()))
    model.eval()
    return losses
