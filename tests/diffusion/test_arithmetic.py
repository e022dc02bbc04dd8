"""The noise that a network's arithmetic adds: measured, and taken off the sampler's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from voltaspin.core.context import current
from voltaspin.core.errors import InputError
from voltaspin.diffusion.arithmetic import variance_per_step
from voltaspin.diffusion.pipelines import load_pipeline, shipped_model
from voltaspin.diffusion.sampling import ddpm_step, sample
from voltaspin.noise import PseudoSource

SIGMA, STEPS = 0.2, 4


class Noisy(torch.nn.Module):
    """A network whose output carries Gaussian noise of a known deviation, and a bias of each pixel."""

    def __init__(self, plain):
        super().__init__()
        self.plain, self.config, self.device = plain, plain.config, plain.device

    def forward(self, x, t):
        out = self.plain(x, t)
        generator = torch.Generator().manual_seed(current().step)
        out.sample = out.sample + SIGMA * torch.randn(x.shape, generator=generator) + 0.1
        return out


@pytest.fixture(scope="module")
def pipeline():
    plain = load_pipeline(shipped_model())
    config = {**plain.scheduler.config, "clip_sample": False}
    return replace(plain, scheduler=DDPMScheduler.from_config(config))


def test_the_measured_variance_is_that_of_the_noise(pipeline):
    n = 16
    found = variance_per_step(
        replace(pipeline, unet=Noisy(pipeline.unet)), pipeline.unet, PseudoSource(seed=3), count=n, steps=STEPS
    )
    scheduler = pipeline.scheduler
    scheduler.set_timesteps(STEPS)
    times = [*map(int, scheduler.timesteps), -1]
    one = torch.ones(1, 1, 1, 1)
    for i, variance in enumerate(found):
        t, before = times[i], times[i + 1]
        # the step is linear in the output, so the slope is the step of 1 less the step of 0
        slope = ddpm_step(one, one, None, t, before, scheduler) - ddpm_step(0 * one, one, None, t, before, scheduler)
        expected = (float(slope) * SIGMA) ** 2
        assert abs(variance / expected - 1) < 3 * np.sqrt(2 / ((n - 1) * 28 * 28))


def test_what_is_taken_off_is_missing_in_the_step(pipeline):
    x, z = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    whole = ddpm_step(x, x, z, 500, 480, pipeline.scheduler)
    part = ddpm_step(x, x, z, 500, 480, pipeline.scheduler, 0.25 * float(whole) ** 2)
    assert float(part) == pytest.approx(float(whole) * 0.75**0.5, rel=1e-5)
    assert float(ddpm_step(x, x, z, 500, 480, pipeline.scheduler, 10.0)) == 0  # more than there is


def test_sampling_takes_a_variance_for_each_step(pipeline):
    plain = sample(pipeline, PseudoSource(seed=1), count=2, steps=STEPS).images
    same = sample(pipeline, PseudoSource(seed=1), count=2, steps=STEPS, arithmetic=[0.0] * STEPS).images
    other = sample(pipeline, PseudoSource(seed=1), count=2, steps=STEPS, arithmetic=[0.01] * STEPS).images
    assert np.array_equal(plain, same)
    assert not np.array_equal(plain, other)
    with pytest.raises(InputError, match="arithmetic holds 3 variances for 4 steps of ddpm"):
        sample(pipeline, PseudoSource(seed=1), count=2, steps=STEPS, arithmetic=[0.0] * 3)
    with pytest.raises(InputError, match="at least 8"):
        variance_per_step(pipeline, pipeline.unet, PseudoSource(seed=1), count=4, steps=2)
