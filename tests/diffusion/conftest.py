import numpy as np
import pytest
import torch

from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.pipelines import Pipeline
from voltaspin.diffusion.recipe import TrainSpec, make_model, make_scheduler


@pytest.fixture(scope="session")
def spec():
    """A network small enough for a test of one second."""
    return TrainSpec(
        steps=6, batch=8, channels=(8, 16), norm_groups=4, checkpoint_every=2, warmup=2, precision="float32"
    )


@pytest.fixture(scope="session")
def squares():
    """Sixty-four images of 8x8 with one bright square each."""
    images = np.zeros((64, 1, 8, 8), np.uint8)
    for i in range(64):
        images[i, 0, i // 8 : i // 8 + 3, i % 8 : i % 8 + 3] = 255
    return ImageSet(images, None, "squares", "train", "0" * 64)


@pytest.fixture(scope="session")
def pipeline(spec, tmp_path_factory):
    """An untrained network under the project's own schedule."""
    model = make_model(spec, channels=1, size=8)
    with torch.no_grad():
        model.conv_out.weight.mul_(3.0)  # away from the small initial outputs, so that a step changes something
    return Pipeline(model.eval(), make_scheduler(spec), tmp_path_factory.mktemp("pipeline"), "0" * 64)
