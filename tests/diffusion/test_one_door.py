"""Noise has one door: sampling and training leave every other generator where it was."""

import random

import numpy as np
import torch

from voltaspin.diffusion.sampling import sample
from voltaspin.diffusion.training import train
from voltaspin.noise import MemorySource, PseudoSource


def states():
    legacy = np.random.get_state(legacy=False)["state"]  # noqa: NPY002 - the global generator is what is watched
    return torch.get_rng_state().tolist(), (legacy["key"].tolist(), legacy["pos"]), random.getstate()


def test_sampling_draws_from_nothing_but_its_source(pipeline):
    before = states()
    sample(pipeline, MemorySource(seed=1), count=2, steps=3)
    sample(pipeline, PseudoSource(seed=1), count=2, steps=3, sampler="ddim", eta=1.0)
    assert states() == before
    torch.randn(1)
    assert states() != before


def test_training_draws_from_nothing_but_its_source_and_its_own_seed(squares, spec, tmp_path):
    before = states()
    train(squares, MemorySource(seed=1), tmp_path / "m", spec=spec.model_copy(update={"steps": 2}))
    assert states() == before
