"""One model under several noise sources: the forward process, and the sampled images of each condition."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import opened_whole, read_object, sha256_of, write_json
from voltaspin.core.ledger import Ledger
from voltaspin.core.result import Part, Provenance
from voltaspin.core.spec import environment

if TYPE_CHECKING:
    from voltaspin.diffusion.pipelines import Pipeline
    from voltaspin.noise import NoiseSource


class Forward(Part):
    """A picture of the forward process: which steps it shows and whose noise made it."""

    steps: tuple[int, ...]
    n_steps: int
    provenance: Provenance
    noise: str


class Condition(Part):
    """One noise source under which the same model samples.

    Args:
        key: short identifier, e.g. ``"raw"``.
        name: for people, e.g. ``"Memory, raw bits"``.
        noise: one line on how the numbers are made.
        provenance: one of the five kinds.
    """

    key: str
    name: str
    noise: str
    provenance: Provenance


@dataclass(frozen=True)
class ConditionImages:
    """The images of one condition, and what their noise has cost.

    Args:
        condition: which.
        images: uint8 (n, channels, h, w); image i of every condition comes from one latent.
        ledger: of the source.
    """

    condition: Condition
    images: NDArray[np.uint8]
    ledger: Ledger


def forward_process(
    pipeline: Pipeline, source: NoiseSource, images: NDArray[np.uint8], *, shown: int = 9
) -> tuple[Forward, NDArray[np.uint8]]:
    """Dissolve images in the noise of a source: x_t in closed form at evenly spaced time steps.

    Args:
        pipeline: of the schedule.
        source: image i draws from stream 2**61 + i, which no sampled image uses.
        images: uint8 (n, channels, h, w).
        shown: time steps, the clean image included.

    Returns:
        The record, and pixels: uint8 (n, shown, channels, h, w).
    """
    total = pipeline.scheduler.config.num_train_timesteps
    steps = tuple(int(t) for t in np.linspace(0, total - 1, shown))
    clean = images.astype(np.float32) / 127.5 - 1
    noise = source.normal(clean.shape, streams=range(2**61, 2**61 + len(clean)), step=0)
    alpha_bar = [float(pipeline.scheduler.alphas_cumprod[t]) for t in steps[1:]]
    columns = [clean, *(a**0.5 * clean + (1 - a) ** 0.5 * noise for a in alpha_bar)]
    pixels = np.clip(np.rint((np.stack(columns, axis=1) + 1) * 127.5), 0, 255).astype(np.uint8)
    made_by = source.provenance
    return Forward(steps=steps, n_steps=total, provenance=made_by.kind, noise=made_by.description), pixels


def sampled_condition(
    pipeline: Pipeline,
    source: NoiseSource,
    *,
    key: str,
    name: str,
    images: int,
    steps: int,
    folder: Path,
    progress: Callable[[int, int], None],
) -> ConditionImages:
    """Sample the images of one condition, or take them from ``folder`` if the same settings made them before.

    Args:
        pipeline: the model.
        source: of the noise.
        key, name: of the condition; ``key`` names its files, ``KEY.npy`` and ``KEY.json``.
        images, steps: images, and ancestral steps for each.
        folder: of the files; made where it is missing.
        progress: called with image steps as ``progress(done, total)``.
    """
    from voltaspin.diffusion.sampling import sample

    made_by = source.provenance
    condition = Condition(key=key, name=name, noise=made_by.description, provenance=made_by.kind)
    settings = json.loads(json.dumps({
        "images": images, "steps": steps, "model_sha256": pipeline.sha256, "noise": made_by.to_json(),
        "environment": environment(),
    }))  # fmt: skip
    folder.mkdir(exist_ok=True)
    record, stored = folder / f"{key}.json", folder / f"{key}.npy"
    known: dict[str, Any] = {}
    with contextlib.suppress(InputError):  # one that cannot be read counts as none
        known = read_object(record) if stored.is_file() else {}
    if known.get("settings") == settings and known.get("sha256") == sha256_of(stored):
        progress(images * steps, images * steps)
        return ConditionImages(condition, np.load(stored, allow_pickle=False), Ledger.from_dict(known["ledger"]))
    made = sample(pipeline, source, count=images, steps=steps, precision="auto", progress=progress)
    with opened_whole(stored) as file:
        np.save(file, made.images, allow_pickle=False)
    # Written last, with the hash of the images: a record never stands beside other images.
    hashed = {"settings": settings, "sha256": sha256_of(stored), "ledger": source.ledger.to_dict()}
    write_json(record, hashed | {"seconds": made.seconds})
    return ConditionImages(condition, made.images, source.ledger)
