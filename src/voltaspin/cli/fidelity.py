"""``voltaspin evaluate --extractor inception | dinov2``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from voltaspin.cli.terminal import bar_per_part, progress_bars
from voltaspin.core.errors import InputError


def fidelity(folder: Path, extractor: str, reference: str, split: str, background: str | None = None) -> Any:
    """The scores of torch-fidelity's extractors; what is quick to refuse is refused before weights are fetched."""
    from voltaspin.diffusion import load_images
    from voltaspin.metrics import FidelityExtractor, evaluate_fidelity, read_images

    if not reference:
        raise InputError(
            f"--extractor {extractor} needs real images to compare with; give --reference-images with a folder, a "
            "Parquet file or a data set such as cifar10"
        )
    if split not in ("train", "test"):
        raise InputError(f"--reference-split {split!r} is unknown; use test or train")
    images = read_images(folder, background=background)
    network = FidelityExtractor.load(extractor)
    with progress_bars() as bars:
        show = bar_per_part(bars)
        real = load_images(
            reference,
            split="train" if split == "train" else "test",
            background=background,
            progress=lambda done, total: show("decode", done, total),
        )
        return evaluate_fidelity(
            images,
            real.images,
            reference=f"{real.name}, {split}" if real.labels is not None else real.name,
            extractor=network,
            progress=lambda done, total: show("features", done, total),
        )
