"""What a training run learns, and the images of one step.

An :class:`Objective` defines the loss and the source of its randomness. Everything random in a step is a function of
(seed, step), so that a run that was killed continues to the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from diffusers import UNet2DModel
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.recipe import TrainSpec
from voltaspin.noise import PseudoSource
from voltaspin.random.streams import Stream, derive_key

NETWORK = ("unet/config.json", "unet/diffusion_pytorch_model.safetensors")  #: files of an exported network


@dataclass(frozen=True)
class Batch:
    """The images of one step of the optimiser, or a part of them.

    Args:
        images: uint8 (n, channels, size, size), mirrored where the recipe says so.
        step: of the optimiser.
        slots: int64 (n,), the place of each in the whole batch, which names its random numbers.
        labels: int64 (n,), the class of each, and one more than the last class where it is withheld; None without.
    """

    images: NDArray[np.uint8]
    step: int
    slots: NDArray[np.int64]
    labels: NDArray[np.int64] | None = None

    @classmethod
    def of(
        cls, images: NDArray[np.uint8], spec: TrainSpec, step: int, labels: NDArray[np.int64] | None = None
    ) -> Batch:
        """Return the batch of a step: each epoch is a permutation of its own, the incomplete last batch is dropped.

        Args:
            images: uint8 (all, channels, size, size).
            spec: the recipe.
            step: of the optimiser.
            labels: int64 (all,), where the recipe has labels.
        """
        epoch, slot = divmod(step, len(images) // spec.batch)
        rng = np.random.Generator(np.random.Philox(key=derive_key(spec.seed, "shuffle", epoch)))
        at = np.sort(rng.permutation(len(images))[slot * spec.batch : (slot + 1) * spec.batch])
        chosen, begin = images[at], spec.batch * step
        if spec.flips:
            mirrored = Stream.of(spec.seed, "flips").uniforms(spec.batch, start=begin) < 0.5
            chosen[mirrored] = chosen[mirrored][..., ::-1]
        told = None
        if spec.labels and labels is not None:
            withheld = Stream.of(spec.seed, "labels").uniforms(spec.batch, start=begin) < spec.label_dropout
            told = np.where(withheld, labels.max() + 1, labels[at])
        return cls(chosen, step, np.arange(spec.batch), told)

    def parts(self, count: int) -> Iterator[Batch]:
        """The batch in ``count`` equal parts."""
        for slots in np.split(self.slots, count):
            labels = None if self.labels is None else self.labels[slots]
            yield Batch(self.images[slots], self.step, slots, labels)


class Objective(Protocol):
    """The quantity that is learned, and the source of its randomness."""

    EXPORTS: ClassVar[tuple[str, ...]]  #: the files of its model
    alpha_bar: torch.Tensor  #: of the schedule
    trial: PseudoSource  #: of the noise of held-out images and samples

    @property
    def ledger(self) -> Ledger:
        """What its chance has cost in this process."""

    def together(self, count: int) -> None:
        """Raise InputError where its chance cannot serve ``count`` processes without repeating itself."""

    def network(self, *, channels: int, size: int, classes: int) -> UNet2DModel:
        """The network to begin with; raises InputError for images that do not fit it."""

    def check(self, steps: int, *, channels: int, size: int) -> None:
        """Raise InputError where the chance cannot last for ``steps`` more steps."""

    def loss(self, model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
        """Of one batch, or of a part of one."""

    def held_out_loss(
        self, model: UNet2DModel, images: NDArray[np.uint8], t: NDArray[np.int64], first: int,
        labels: NDArray[np.int64] | None,
    ) -> torch.Tensor:  # fmt: skip
        """Of held-out images at these times, whose chance follows from the number of the first."""

    def samples(self, model: UNet2DModel, *, count: int, steps: int) -> NDArray[np.uint8]:
        """Return images of the model in evaluation mode, of equal latents each time: uint8 (count, channels, h, w)."""

    def state(self) -> dict[str, Any]:
        """Return its part of ``state.json``."""

    def save(self, folder: Path) -> None:
        """Files of a checkpoint beside it."""

    def load(self, folder: Path, record: dict[str, Any]) -> None:
        """Go on from a checkpoint, whose ``state.json`` holds ``record``."""

    def export(self, folder: Path, model: UNet2DModel) -> None:
        """Write the model as others load it."""


def classes_of(images: ImageSet, spec: TrainSpec) -> int:
    """Return how many classes the network is told; raises InputError for labels that the images do not have."""
    if not spec.labels:
        return 0
    if images.labels is None:
        raise InputError(f"labels = true, and {images.name} has no labels; leave it out, or give images with classes")
    if not len(images.labels) or images.labels.min() < 0:
        raise InputError(f"{images.name} has a label below 0; number the classes from 0")
    if (top := int(images.labels.max())) >= len(images):
        raise InputError(
            f"{images.name} has a label {top} and {len(images)} images; number the classes from 0 without gaps"
        )
    return top + 1
