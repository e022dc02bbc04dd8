"""One entry to every sampler: our own steps, and the schedules of diffusers by name."""

from __future__ import annotations

from typing import Any

from voltaspin.core.errors import InputError, unknown
from voltaspin.diffusion.pipelines import Pipeline
from voltaspin.diffusion.published import Unmodified, sample_unmodified
from voltaspin.diffusion.sampling import Samples, sample
from voltaspin.diffusion.stepping import SAMPLERS, stepped, steps_for
from voltaspin.noise import NoiseSource

OWN = ("ddpm", "ddim")
NAMES = (*OWN, *SAMPLERS)


def by_name(pipeline: Pipeline, sampler: str) -> Unmodified:
    """Return a model in the loop of a named sampler of diffusers.

    Raises:
        InputError: an unknown name, or a model that the sampler cannot step.
    """
    if sampler not in SAMPLERS:
        raise unknown("sampler", sampler, NAMES)
    if pipeline.classes is not None:
        raise InputError(f"sampler = {sampler!r} tells no class; use ddpm or ddim for a model of classes")
    return Unmodified(stepped(pipeline.unet, pipeline.scheduler, sampler), pipeline.folder, pipeline.sha256)


def generate(
    pipeline: Pipeline, source: NoiseSource, *, sampler: str = "ddpm", steps: int = 50, **options: Any
) -> Samples:
    """Generate images by any sampler.

    Args:
        pipeline: the model.
        source: of every draw.
        sampler: one of ``NAMES``.
        steps: evaluations of the network for an image.
        options: of :func:`voltaspin.diffusion.sample` for our own samplers, and of
            :func:`voltaspin.diffusion.published.sample_unmodified` for the others.

    Raises:
        InputError: as those, an unknown sampler, or a number of evaluations that it cannot have.
    """
    if sampler in OWN:
        return sample(pipeline, source, sampler=sampler, steps=steps, **options)  # type: ignore[arg-type]
    model = by_name(pipeline, sampler)
    if other := sorted(set(options) - {"count", "batch", "first", "progress"}):
        raise InputError(f"{other[0]} is not of sampler = {sampler!r}; leave it out, or use ddpm or ddim")
    return sample_unmodified(model, source, steps=steps_for(sampler, steps), **options)
