"""``voltaspin train --diffusion bitflip``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voltaspin.core.errors import InputError

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
    force: bool,
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
    return bitflip.train(images, out, spec=spec, resume=resume, force=force, progress=progress)
