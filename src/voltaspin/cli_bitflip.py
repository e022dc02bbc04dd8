"""``voltaspin train --diffusion bitflip`` and ``voltaspin sample`` of the model that it leaves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voltaspin.core.errors import InputError
from voltaspin.terminal import print_json, progress_bars

if TYPE_CHECKING:
    from voltaspin.diffusion.data import ImageSet
    from voltaspin.diffusion.loop import TrainResult


def train_bits(
    images: ImageSet,
    out: Path,
    *,
    noise: str,
    planes: int,
    cells: str,
    resume: bool,
    progress: Callable[[int, int, float], None],
    **fields: Any,
) -> TrainResult:
    """Train on the flips of an array; ``fields`` are those of a BitTrainSpec."""
    from voltaspin.diffusion import bitflip
    from voltaspin.diffusion.bitflip.model import CellSpec

    if noise not in ("software", "memory"):  # the first is the command's default
        raise InputError(f"--noise {noise}: with --diffusion bitflip the array that holds the images flips them")
    if not 1 <= planes <= 8:
        raise InputError(f"--planes {planes}: a grey level has 1 to 8 bits")
    spec = bitflip.BitTrainSpec(bits=planes, cells=CellSpec(junction=cells), **fields)
    return bitflip.train(images, out, spec=spec, resume=resume, progress=progress)


def sample_bits(
    folder: Path, out: Path, *, count: int, steps: int, batch: int, seed: int, others: Mapping[str, Any], as_json: bool
) -> None:
    """Sample a bit-flip model and write images, grid and ``run.json``.

    Args:
        others: options that such a model does not know; none of them may be set.
    """
    from voltaspin.core.spec import environment
    from voltaspin.device import presets
    from voltaspin.diffusion import bitflip
    from voltaspin.diffusion.bitflip.model import IDEAL
    from voltaspin.report.comparison import energies
    from voltaspin.report.image_cost import image_costs
    from voltaspin.report.images import write_folder

    model = bitflip.load_model(folder)
    if given := next((f"--{name} {value}" for name, value in others.items() if value), ""):
        raise InputError(f"{folder} is a bit-flip model, whose array draws by itself; leave {given} out")
    if steps != len(model.process):
        raise InputError(f"--steps {steps}: {folder} was trained for {len(model.process)} steps; give these")
    with progress_bars() as bars:
        bar = bars.add_task("sample", total=count * steps)
        samples = bitflip.sample(
            model, count=count, batch=batch, seed=seed, progress=lambda done, total: bars.update(bar, completed=done)
        )
    cells = model.spec.cells
    works = () if cells.junction == IDEAL else image_costs(samples, presets.get(cells.junction), seed=seed)
    per_image = samples.per_image
    record = {
        "kind": "sample-bitflip",
        "schema_version": 1,
        "command": ["voltaspin", *sys.argv[1:]],
        "seed": seed,
        "batch": batch,
        "model": {"folder": str(folder), "sha256": model.sha256},
        "cells": cells.to_json(),
        "images": count,
        "steps": steps,
        "bits": model.spec.planes * model.spec.size**2,
        "planes": model.spec.bits,
        "precision": samples.precision,
        "per_image": {
            "random_bits": per_image["pulse"],
            "pulses": per_image["pulse"],
            "reads": per_image["read"],
            "bytes_moved": per_image["byte"],
            "evaluations": per_image["evaluation"],
            "energy_pJ": works[0].model_dump(mode="json")["energy"] if works else None,
        },
        "costs": [w.to_json() for w in works],
        "levels": list(samples.levels),
        "rounding": samples.rounding.to_json(),
        "seconds": samples.seconds,
        "ledger": samples.ledger.to_dict(),
        "environment": environment(),
    }
    write_folder(out, samples.images, record, ids=range(count))
    if as_json:
        print_json(record)
        return
    print(f"{out}: {count} images, grid.png, run.json ({samples.seconds:.1f} s)")
    if works:
        print(f"per image: {per_image['pulse']:,.0f} pulses, {per_image['byte']:,.0f} bytes moved, "
              + ", ".join(f"{b} {energies(e)}" for b, e in works[0].energy.items()))  # fmt: skip
