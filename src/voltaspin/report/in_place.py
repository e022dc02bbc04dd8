"""An image that diffuses in the array, shown: forward and reverse runs beside the Gaussian ones, and what it costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from voltaspin.cost.images import whole_image_costs
from voltaspin.cost.table import Draws
from voltaspin.device import Junction
from voltaspin.diffusion.grids import strip_png
from voltaspin.diffusion.inplace import CELLS_PER_PIXEL, CellSpec, Process, forward_path
from voltaspin.diffusion.inplace import sample as sample_in_place
from voltaspin.diffusion.pipelines import Pipeline
from voltaspin.diffusion.sampling import sample, to_uint8
from voltaspin.noise import NoiseSource
from voltaspin.report.demo_results import InPlace


def show_in_place(
    pipeline: Pipeline,
    source: NoiseSource,
    clean: NDArray[np.uint8],
    *,
    images: int = 16,
    steps: int,
    seed: int,
    progress: Callable[[int, int], None],
) -> tuple[InPlace, bytes, NDArray[np.uint8]]:
    """Sample in an array of generator cells, and draw both directions beside the Gaussian ones.

    Args:
        pipeline: the model.
        source: of the Gaussian runs.
        clean: a real image, uint8 (channels, h, w).
        images, steps: images in place, and network evaluations of each.
        seed: of the array.
        progress: called with image steps as ``progress(done, total)``.

    Returns:
        The record, a PNG of the four strips, and the images, uint8 (images, channels, h, w).
    """
    cells = CellSpec()
    made = sample_in_place(pipeline, count=images, steps=steps, cells=cells, seed=seed, progress=progress)
    shown = made.path_times
    process = Process(pipeline.scheduler.alphas_cumprod.double().numpy(), CELLS_PER_PIXEL)
    forward = forward_path(process, clean, shown[::-1], cells=cells, seed=seed)
    gaussian_forward = []
    x0 = torch.from_numpy(clean.astype(np.float32) / 127.5 - 1)
    noise = torch.from_numpy(source.normal(clean.shape, step=0))
    for t in shown[::-1]:
        a = 1.0 if t < 0 else float(pipeline.scheduler.alphas_cumprod[t])
        gaussian_forward.append(to_uint8(a**0.5 * x0 + (1 - a) ** 0.5 * noise))
    states: dict[int, NDArray[np.uint8]] = {}
    last = sample(
        pipeline, source, count=1, steps=steps, first=seed,
        observe=lambda t, x: states.update({t: to_uint8(x[0])} if t in shown else {}),
    )  # fmt: skip
    gaussian_reverse = [states[t] for t in shown[:-1]] + [last.images[0]]
    rows = np.stack([forward, np.stack(gaussian_forward), made.path, np.stack(gaussian_reverse)])
    strip = strip_png(rows, row_labels=["forward, in place", "Gaussian", "reverse, in place", "Gaussian"])
    works = whole_image_costs(made, pipeline, Junction.of(cells.junction), draws=Draws(seed=seed))
    record = InPlace(
        cells_per_pixel=made.cells_per_pixel, cells=made.cells_per_pixel * clean.size, junction=cells.junction,
        images=images, steps=steps, coin=made.coin, toggles=made.rounding.toggles / images, times=shown, works=works,
    )  # fmt: skip
    return record, strip, made.images
