"""A folder of generated images: one PNG each, a grid, and run.json that says how they were made."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.files import write_json
from voltaspin.core.ledger import Ledger
from voltaspin.core.spec import environment
from voltaspin.report.figures import grid_png

if TYPE_CHECKING:
    from voltaspin.diffusion.sampling import Samples

GRID_LIMIT = 100


def write_images(
    out: Path,
    samples: Samples,
    *,
    command: list[str],
    settings: dict[str, Any],
    model: dict[str, str],
    ledger: Ledger,
    compute_cost: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the images of a Gaussian sampler, and ``run.json``; see :func:`write_folder`.

    Returns:
        The record that ``run.json`` holds.
    """
    record = {
        "kind": "sample",
        "schema_version": 1,
        "command": command,
        **settings,
        "model": model,
        "images": len(samples.images),
        "steps": samples.steps,
        "precision": samples.precision,
        "normals_per_image": samples.draws,
        "seconds": samples.seconds,
        "noise_seconds": samples.noise_seconds,
        "provenance": samples.noise,
        "ledger": ledger.totals(),
        **({"unaddressed_draws_per_batch": samples.unaddressed} if samples.unaddressed else {}),
        **({} if compute_cost is None else {"compute_cost": compute_cost}),
        "environment": environment(),
    }
    write_folder(out, samples.images, record, ids=samples.ids)
    return record


def write_folder(out: Path, images: NDArray[np.uint8], record: dict[str, Any], *, ids: Sequence[int]) -> None:
    """Write ``image-000000.png`` ..., ``grid.png`` and ``run.json`` into ``out``.

    Everything is written beside its place first and moved when it is whole; the images of an earlier run in
    the same folder go, so that a folder never mixes two runs.
    """
    from PIL import Image

    part = out / ".images.part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir()
        for i, image in zip(ids, images, strict=True):
            pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
            Image.fromarray(pixels).save(part / f"image-{i:06d}.png")
        columns = min(10, len(images))
        (part / "grid.png").write_bytes(grid_png(images[:GRID_LIMIT], columns=columns))
        write_json(part / "run.json", record)
        for old in out.glob("image-*.png"):
            old.unlink()
        for file in sorted(part.iterdir()):
            file.replace(out / file.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
