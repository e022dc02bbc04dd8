"""The noise that a network's own arithmetic adds to a sampler's steps, measured, so that it can be taken off.

An ancestral sampler adds noise of variance sigma_t^2 at every step. Crossbars with noisy reads add some of their own;
as far as that has zero mean it can stand for a part of sigma_t^2, as in arXiv 2501.08180, which does so for the noise
of quantisation.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from diffusers import UNet2DModel

from voltaspin.core.context import RunContext, running
from voltaspin.core.errors import InputError
from voltaspin.diffusion.pipelines import Pipeline
from voltaspin.diffusion.sampling import ddpm_step, step_adds_noise, time_steps
from voltaspin.noise import NoiseSource


@torch.no_grad()
def variance_per_step(
    pipeline: Pipeline,
    exact: UNet2DModel,
    source: NoiseSource,
    *,
    count: int = 32,
    steps: int = 50,
    first: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[float, ...]:
    """Variance that the arithmetic of ``pipeline.unet`` adds to x_prev at each ancestral step.

    Both networks see the same states, those of the noisy one's own trajectory. Per pixel the mean over the images of
    the difference is a bias and is left out; what varies from image to image is the noise.

    Args:
        pipeline: whose UNet computes in arrays.
        exact: the same UNet in floating point.
        source: of the images' noise, addressable.
        count: images to measure on, at least 8; with their pixels they make the error of the figure 1 % or so.
        steps: as in :func:`~voltaspin.diffusion.sample`, which takes the result as ``arithmetic``.
        first: number of the first image; take others than those to be sampled.

    Returns:
        One variance per step, in units of x.
    """
    if count < 8:
        raise InputError(f"count={count} images are too few to measure a variance; give at least 8")
    scheduler = pipeline.scheduler
    images = tuple(range(first, first + count))
    context = RunContext(images=images)

    def draw() -> torch.Tensor:
        z = source.normal((count, *pipeline.image_shape), streams=images, step=context.step)
        return torch.from_numpy(z).to(pipeline.unet.device)

    x, found = draw(), []
    for i, (t, t_prev) in enumerate(itertools.pairwise([*time_steps(scheduler, steps), -1])):
        with running(context):
            noisy = pipeline.unet(x, t).sample
        clean = exact(x, t).sample
        added = ddpm_step(noisy, x, None, t, t_prev, scheduler) - ddpm_step(clean, x, None, t, t_prev, scheduler)
        found.append(float(np.var(added.double().cpu().numpy(), axis=0, ddof=1).mean()))
        context = context.at_step(i + 1)
        z = draw() if step_adds_noise(scheduler, t, t_prev, sampler="ddpm", eta=0.0) else None
        x = ddpm_step(noisy, x, z, t, t_prev, scheduler, found[-1])
        if progress is not None:
            progress(i + 1, steps)
    return tuple(found)
