"""An unmodified diffusers pipeline, and plain NumPy, on the memory's noise. The noise of an image has a seed."""

import numpy as np
import torch
from diffusers import DDPMPipeline

from voltaspin import MemorySource
from voltaspin.diffusion import shipped_model

pipeline = DDPMPipeline.from_pretrained(shipped_model())
pipeline.set_progress_bar_config(disable=True)
source = MemorySource(seed=1)


def images(*seeds):
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return pipeline(batch_size=len(seeds), generator=generators, num_inference_steps=5, output_type="np").images


with source.drive_torch() as torch_driven:
    three, second = images(10, 11, 12), images(11)
print(torch_driven)
print(f"image 11, in a batch of three and alone: largest difference {np.abs(three[1] - second[0]).max():.4f} of 1")

numpy = np.random.Generator(source.bit_generator())
print(f"NumPy on the memory's bits: {numpy.normal(size=3).round(3)}, dice {numpy.integers(1, 7, 8)}")
