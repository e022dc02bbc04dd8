"""One entry to every sampler: our own steps, and the schedules of diffusers by name."""

from __future__ import annotations

from typing import Any

from voltaspin.core.errors import InputError, unknown
from voltaspin.diffusion.classes import Told
from voltaspin.diffusion.pipelines import Pipeline
from voltaspin.diffusion.published import Unmodified, sample_unmodified
from voltaspin.diffusion.sampling import Samples, sample
from voltaspin.diffusion.stepping import SAMPLERS, stepped, steps_for
from voltaspin.noise import NoiseSource

OWN = ("ddpm", "ddim")
NAMES = (*OWN, *SAMPLERS)


def by_name(pipeline: Pipeline, sampler: str, told: Told | None = None) -> Unmodified:
    """Return a model in the loop of a named sampler of diffusers.

    ``told`` is the class of each image; without it a model of classes makes images of none.

    Raises:
        InputError: an unknown name, or a model that the sampler cannot step.
    """
    if sampler not in SAMPLERS:
        raise unknown("sampler", sampler, NAMES)
    if told is None:
        told = Told.of(pipeline.classes, None, None)
    return Unmodified(stepped(pipeline.unet, pipeline.scheduler, sampler, told), pipeline.folder, pipeline.sha256)


def generate(
    pipeline: Pipeline, source: NoiseSource, *, sampler: str = "ddpm", steps: int = 50, **options: Any
) -> Samples:
    """Generate images by any sampler.

    Args:
        pipeline: the model.
        source: of every draw.
        sampler: one of ``NAMES``.
        steps: evaluations of the network for an image.
        options: of :func:`voltaspin.diffusion.sample` for our own samplers, and for the others ``told`` and those of
            :func:`voltaspin.diffusion.published.sample_unmodified`.

    Raises:
        InputError: as those, an unknown sampler, or a number of evaluations that it cannot have.
    """
    if sampler in OWN:
        return sample(pipeline, source, sampler=sampler, steps=steps, **options)  # type: ignore[arg-type]
    model = by_name(pipeline, sampler, options.pop("told", None))
    if other := sorted(set(options) - {"count", "batch", "first", "progress"}):
        raise InputError(f"{other[0]} is not of sampler = {sampler!r}; leave it out, or use ddpm or ddim")
    return sample_unmodified(model, source, steps=steps_for(sampler, steps), **options)
