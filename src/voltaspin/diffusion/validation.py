"""Losses of held-out images and grids of samples in a training run, of its moving average and always the same numbers.

Times and noise of a held-out image follow from its number alone. Their noise is software's, whatever the training has,
so that losses compare between intervals and between sources; ``train.json`` says so, and ``run.json`` counts it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.grids import grid_png
from voltaspin.diffusion.recipe import TrainSpec, held_out_timesteps
from voltaspin.noise import PseudoSource
from voltaspin.random.streams import derive_key

if TYPE_CHECKING:
    from voltaspin.diffusion.objective import Objective

MOST = 512  #: held-out images of which the loss is taken
SHOWN, EVALUATIONS = 16, 25  #: images of a grid, and evaluations of the network for each
GRIDS = "samples"  #: their folder


def trial_source(seed: int) -> PseudoSource:
    """Return the source of what a validation draws, far from the numbers of the training."""
    source = PseudoSource(seed=derive_key(seed, "validation"))
    source.ledger = Ledger("validation")
    return source


def divided(images: ImageSet, spec: TrainSpec, held_out: ImageSet | None) -> tuple[ImageSet, ImageSet | None]:
    """Return the images that are trained on and those that are not.

    Args:
        images: all of them.
        spec: the recipe; its ``held_out`` images lie evenly spread over the set and its classes, whatever the seed.
        held_out: other images to validate with.

    Raises:
        InputError: nothing to validate with, or too few images to hold some out.
    """
    n, k = len(images), spec.held_out
    if k:
        if k > n - spec.batch:
            raise InputError(
                f"held_out = {k} of the {n} images of {images.name} leaves less than a batch of {spec.batch}; hold out "
                f"fewer, {max(0, n - spec.batch)} at most"
            )
        out = np.zeros(n, bool)
        # Sets may give their classes in turn, so that every second image, say, is of half of them.
        order = np.arange(n) if images.labels is None else np.argsort(images.labels, kind="stable")
        out[order[np.arange(k) * n // k]] = True
        return _labelled(_part(images, ~out), _part(images, out), spec)
    if not spec.validate_every:
        return images, None
    if held_out is None or held_out.sha256 == images.sha256:
        raise InputError(
            f"validate_every = {spec.validate_every}: {images.name} has no test split; hold some of its images out, "
            "such as held_out = 200"
        )
    if held_out.images.shape[1:] != images.images.shape[1:]:
        raise InputError(
            f"held-out images of {held_out.name} have the shape {held_out.images.shape[1:]}, those of {images.name} "
            f"{images.images.shape[1:]}; give images of one shape"
        )
    return _labelled(images, held_out, spec)


def _labelled(images: ImageSet, held_out: ImageSet, spec: TrainSpec) -> tuple[ImageSet, ImageSet]:
    """Both sets; raises InputError where the network has no class for a held-out image."""
    if spec.labels and images.labels is not None:
        if held_out.labels is None:
            raise InputError(f"labels = true, and the held-out images of {held_out.name} have none; give others")
        if (worst := int(held_out.labels.max())) > images.labels.max():
            raise InputError(
                f"a held-out image has the label {worst}, and no image that is trained on has one above "
                f"{images.labels.max()}; hold out others"
            )
    return images, held_out


def _part(images: ImageSet, chosen: Any) -> ImageSet:
    labels = None if images.labels is None else images.labels[chosen]
    return replace(images, images=images.images[chosen], labels=labels)


class Validation:
    """The losses and grids of one run.

    Args:
        objective: of the run.
        held_out: images that are not trained on; None where there is no loss to take.
        spec: the recipe.
    """

    def __init__(self, objective: Objective, held_out: ImageSet | None, spec: TrainSpec) -> None:
        self.objective, self.spec = objective, spec
        self.held_out = held_out if spec.validate_every else None
        self.size = spec.batch // spec.accumulate

    def to_json(self) -> dict[str, Any]:
        """Return what ``train.json`` says of it."""
        if self.held_out is None:
            return {}
        said: dict[str, Any] = {"images": min(MOST, len(self.held_out)), "of": self.held_out.name}
        said["split"] = "held out" if self.spec.held_out else self.held_out.split
        return {"validation": {**said, "noise": self.objective.trial.provenance.to_json()}}

    def due(self, step: int) -> tuple[bool, bool]:
        """Return whether a loss and a grid belong to a step; both belong to the last."""
        last = step == self.spec.steps
        every = (self.held_out is not None and self.spec.validate_every, self.spec.sample_every)
        return tuple(bool(k) and (last or step % k == 0) for k in every)  # type: ignore[return-value]

    @torch.no_grad()
    def loss(self, model: UNet2DModel) -> float:
        """Return the mean loss of the held-out images."""
        assert self.held_out is not None, "due() says whether there are any"
        images, labels = self.held_out.images[:MOST], self.held_out.labels
        times = held_out_timesteps(self.spec, len(images), self.objective.alpha_bar.double().numpy())
        total = 0.0
        for begin in range(0, len(images), self.size):
            at = slice(begin, min(begin + self.size, len(images)))
            told = labels[at] if self.spec.labels and labels is not None else None
            total += float(self.objective.held_out_loss(model, images[at], times[at], begin, told)) * len(images[at])
        return total / len(images)

    def grid(self, model: UNet2DModel) -> bytes:
        """Return the PNG of samples, of equal latents each time."""
        steps = min(EVALUATIONS, self.spec.num_train_timesteps)
        return grid_png(self.objective.samples(model, count=SHOWN, steps=steps), columns=4)


@contextmanager
def averaged(model: UNet2DModel, ema: EMAModel) -> Iterator[UNet2DModel]:
    """The model with its moving-average weights, in evaluation mode, until the block ends."""
    ema.store(model.parameters())
    try:
        ema.copy_to(model.parameters())
        yield model.eval()
    finally:
        ema.restore(model.parameters())
        model.train()
