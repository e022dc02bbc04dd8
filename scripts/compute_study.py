"""Images of the shipped model computed in memory, against the float model's, over what an array may be like.

python scripts/compute_study.py --out build/compute-study [--images 1024] [--steps 25] [--only PATTERN]

Hours on two cores. A finished condition is kept and not computed again; stop and go on as you like. Every condition
samples the same images (the same first latent and the same noise at every step), so that differences are paired.
Afterwards it writes docs/compute-study.md and its figure.
"""

from __future__ import annotations

import argparse
import fnmatch
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from voltaspin.diffusion import load_images, load_pipeline, sample, shipped_model
from voltaspin.diffusion.arithmetic import variance_per_step
from voltaspin.diffusion.sampling import Pipeline
from voltaspin.diffusion.training import diffusion_loss, encode
from voltaspin.memory import ArraySpec, calibrate, convert
from voltaspin.metrics import Extractor, garments
from voltaspin.noise import PseudoSource
from voltaspin.specs import write_json

#: A crossbar that does little harm, from which one thing at a time is changed. All assumed.
BASE: dict[str, Any] = {
    "weight_bits": 6, "input_bits": 8, "adc_bits": 8, "mode": "analog", "TMR": 1.0, "resistance_spread": 0.02,
    "read_noise": 0.01, "write_error_rate": 1e-5,
}  # fmt: skip
AXES: dict[str, tuple[float | int, ...]] = {
    "weight_bits": (2, 3, 4, 5, 6, 8),
    "adc_bits": (3, 4, 5, 6, 8),
    "TMR": (0.25, 0.5, 1.0, 2.0, 4.0),
    "resistance_spread": (0.0, 0.02, 0.05, 0.1, 0.2),
    "write_error_rate": (0.0, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2),
    "read_noise": (0.0, 0.01, 0.03, 0.1, 0.2),
}
#: Declared before the run: the margin of the shipped study, less than the effect of halving the steps (0.030).
MARGIN = 0.0277
TUNING_STEPS, TUNING_RATE = 400, 5e-5


@dataclass(frozen=True)
class Condition:
    """One set of images."""

    name: str
    spec: dict[str, Any] | None = field(default_factory=dict)  # None: the float model
    steps: int | None = None
    images: int | None = None
    correct: bool = False
    tune: bool = False
    against: str = "float"


def conditions() -> list[Condition]:
    digital = {"mode": "digital", "weight_bits": 8, "input_bits": 8, "TMR": 1.0, "resistance_spread": 0.05,
               "write_error_rate": 1e-6, "read_noise": 0.0}  # fmt: skip
    noisy = {"read_noise": 0.1}
    made = [Condition("float", None), Condition("base")]
    made += [Condition("float-50", None, steps=50, images=2048),
             Condition("digital-50", digital, steps=50, images=2048, against="float-50"),
             Condition("float-halved", None, steps=12)]  # fmt: skip
    for axis, values in AXES.items():
        made += [Condition(f"{axis}-{v:g}", {axis: v}) for v in values if v != BASE[axis]]
    made += [Condition("noisy-corrected", noisy, correct=True, against="read_noise-0.1"),
             Condition("four-bit-tuned", {"weight_bits": 4}, tune=True, against="weight_bits-4"),
             Condition("three-bit-tuned", {"weight_bits": 3}, tune=True, against="weight_bits-3"),
             Condition("exact", {"adc_bits": 5, "adc_model": "exact"}, images=512, against="adc_bits-5")]  # fmt: skip
    return made


def states(pipeline: Pipeline, t: int, seed: int) -> torch.Tensor:
    """Real garments with the noise of time ``t``: what the network sees there."""
    clean = torch.from_numpy(encode(garments(), margin=0.05))
    alpha_bar = float(pipeline.scheduler.alphas_cumprod[t])
    z = torch.from_numpy(PseudoSource(seed=seed).normal(tuple(clean.shape), streams=range(len(clean)), step=t))
    return alpha_bar**0.5 * clean + (1 - alpha_bar) ** 0.5 * z


def in_memory(pipeline: Pipeline, fields: dict[str, Any]) -> Pipeline:
    unet, _ = convert(pipeline.unet, ArraySpec(**{**BASE, **fields}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calibrate(unet, [(states(pipeline, t, 1), t) for t in range(0, 1000, 100)])
    return replace(pipeline, unet=unet)


def tune(pipeline: Pipeline, tell: Callable[[str], None]) -> list[float]:
    """Hardware-aware fine-tuning: the ordinary training loop on the converted model, on its own chip."""
    pictures = load_images("fashion-mnist").images
    order = np.random.Generator(np.random.Philox(key=7))
    optimiser = torch.optim.AdamW(pipeline.unet.parameters(), lr=TUNING_RATE, weight_decay=0.0)
    alpha_bar = pipeline.scheduler.alphas_cumprod.float()
    kind, losses = pipeline.scheduler.config.prediction_type, []
    pipeline.unet.train()
    for step in range(TUNING_STEPS):
        for group in optimiser.param_groups:
            group["lr"] = TUNING_RATE * 0.5 * (1 + math.cos(math.pi * step / TUNING_STEPS))
        x0 = torch.from_numpy(encode(pictures[np.sort(order.choice(len(pictures), 64, replace=False))], margin=0.05))
        z = torch.from_numpy(order.standard_normal(tuple(x0.shape), dtype=np.float32))
        t = torch.from_numpy(((order.permutation(64) + order.random(64)) / 64 * 1000).astype(np.int64))
        loss = diffusion_loss(pipeline.unet, x0, z, t, alpha_bar, kind)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(pipeline.unet.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if step % 20 == 19:
            tell(f"tuning {step + 1} of {TUNING_STEPS}, loss {np.mean(losses[-20:]):.4f}")
    pipeline.unet.eval()
    return losses


def run(condition: Condition, given: argparse.Namespace, folder: Path) -> None:
    pipeline, begin = load_pipeline(shipped_model()), time.monotonic()
    exact, steps = pipeline.unet, condition.steps or given.steps
    record: dict[str, Any] = {"name": condition.name, "steps": steps, "spec": condition.spec}

    def tell(text: str) -> None:
        print(f"{condition.name:24} {time.monotonic() - begin:6.0f} s  {text}", flush=True)

    if condition.spec is not None:
        pipeline = in_memory(pipeline, condition.spec)
        x = [(states(pipeline, t, 2), t) for t in (50, 250, 450, 650, 850)]
        with torch.no_grad():
            record["relative_error"] = [float(((pipeline.unet(*a).sample - exact(*a).sample) ** 2).mean()
                                              / (exact(*a).sample ** 2).mean()) for a in x]  # fmt: skip
    if condition.tune:
        record["losses"] = tune(pipeline, tell)
    source, arithmetic = PseudoSource(seed=11), None
    if condition.correct:
        arithmetic = variance_per_step(pipeline, exact, source, count=64, steps=steps, first=10**6)
        record["arithmetic"] = arithmetic
    n = condition.images or given.images
    made = sample(pipeline, source, count=n, steps=steps, arithmetic=arithmetic)
    record |= {"images": n, "seconds": time.monotonic() - begin, "noise": source.provenance.description}
    features = Extractor.load().features(made.images)
    partial = folder / f"{condition.name}.partial.npz"
    np.savez_compressed(partial, features=features, shown=made.images[:16])
    partial.replace(folder / f"{condition.name}.npz")
    write_json(folder / f"{condition.name}.json", record)
    tell("done")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/compute-study"))
    parser.add_argument("--images", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--only", default="*", help="conditions whose name matches, as in fnmatch")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for condition in conditions():
        if fnmatch.fnmatch(condition.name, given.only) and not (given.out / f"{condition.name}.json").is_file():
            run(condition, given, given.out)


if __name__ == "__main__":
    main()
