"""Cycles of each cell for one image: which cells are pulsed or written, and how often the busiest one is.

An estimate here is the mean over the cells; its ends are the least and the busiest cell, so its level is 1.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.extras import NeedsExtra
from voltaspin.core.quantity import Estimate

if TYPE_CHECKING:
    from voltaspin.cost.jobs import Job
    from voltaspin.cost.mapping import Mapping
    from voltaspin.diffusion.pipelines import Pipeline

CellsOfPixels = Literal["fixed", "rotated", "hashed"]  #: which cells serve which pixel, from draw to draw
_IMAGES = 16  # whose pulses in place are counted


def over_cells(cycles: ArrayLike) -> Estimate:
    """Return the mean of the cells' cycles with the least and the busiest cell as bounds.

    Args:
        cycles: of each cell, any shape.

    Raises:
        InputError: no cell.
    """
    counted = np.asarray(cycles, np.float64)
    if not counted.size:
        raise InputError("cycles of no cell; give the counter of each cell")
    low, high = float(counted.min()), float(counted.max())
    return Estimate(min(max(float(counted.mean()), low), high), low, high, level=1.0)


def random_bit_cycles(
    image: Job, *, draws: int, cells: int = 65536, mapping: CellsOfPixels = "fixed", seed: int = 0
) -> Estimate:
    """Count resets and pulses of each cell of a random-bit memory for one image.

    Args:
        image: its random numbers, of :func:`voltaspin.cost.jobs.image_job`.
        draws: of the whole image, each with a number for every pixel.
        cells: of the array.
        mapping: which cells serve which pixel, see :mod:`voltaspin.noise.memory_sequence`; seed: of a hashed one.

    Returns:
        Mean, least and busiest cell.

    Raises:
        InputError: an array that is too small for one draw, or draws that do not divide the image's bits.
    """
    from voltaspin.noise.memory_sequence import cells_of_bits, checked_mapping

    checked_mapping(mapping)
    if draws < 1 or image.bits % draws:
        raise InputError(f"draws = {draws} do not divide the {image.bits:,} bits of an image; give its draws")
    counted = np.zeros(cells, np.int64)
    for step in range(draws):
        used = cells_of_bits(
            n_bits=image.bits // draws, k=image.pulses // image.bits, cells=cells, mapping=mapping, step=step, seed=seed
        )
        counted[used.ravel()] += 1  # a draw's cells are all different
    return over_cells(counted * (1 + image.resets / image.pulses))


def weight_cycles(mapping: Mapping, evaluations: float) -> Estimate:
    """Return the writes of each cell of the arrays for one image: none, unless the chip has too few arrays.

    Args:
        mapping: of the network.
        evaluations: of the network for an image.

    Returns:
        Mean, least and busiest cell. With too few arrays all weights pass through them in every evaluation, and an
        array takes as many of them in turn as there are more arrays needed than built.
    """
    if not mapping.reloaded:
        return Estimate(0.0, 0.0, 0.0, level=1.0)
    built = mapping.cells / mapping.utilisation / mapping.needed * mapping.arrays
    most = evaluations * math.ceil(mapping.needed / mapping.arrays)
    return Estimate(min(evaluations * mapping.reloaded / built, most), 0.0, most, level=1.0)


@NeedsExtra("voltaspin.cost.cycles.inplace_cycles")
def inplace_cycles(
    pipeline: Pipeline, *, steps: int, cells_per_pixel: int, images: NDArray[np.uint8] | None = None, seed: int = 0
) -> Estimate:
    """Count the pulses of each cell in which images diffuse one after another, by the array's own counters.

    No network runs: the finished images stand for its predictions. The variance of a step decides how many cells are
    redrawn, so that the mean is within 0.1 % of that of a run with the network (shipped model, 50 steps, 31 cells; 2 %
    with 6 steps).

    Args:
        pipeline: whose schedule and image shape are used.
        steps: network evaluations of each.
        cells_per_pixel: N.
        images: finished, uint8 (n, channels, h, w); None for 16 of all grey levels. With few, the busiest cell has
            more than its share by chance.
        seed: of the array's pulses.

    Returns:
        Mean, least and busiest cell, for one image.

    Raises:
        InputError: no image, or numbers of cells and steps that make no sense.
    """
    from voltaspin.diffusion.inplace.array import IDEAL, CellSpec, PixelArray
    from voltaspin.diffusion.inplace.process import Process
    from voltaspin.diffusion.sampling import time_steps
    from voltaspin.memory import MagnetoelectricMemory

    if images is None:
        shape = (_IMAGES, *pipeline.image_shape)
        images = (np.arange(math.prod(shape)) * 97 % 256).astype(np.uint8).reshape(shape)
    if not len(images):
        raise InputError("no image to count pulses of; give at least one")
    process = Process(pipeline.scheduler.alphas_cumprod.double().numpy(), cells_per_pixel)
    channels, pixels = images.shape[1], math.prod(images.shape[2:])
    array = PixelArray(process, planes=channels, pixels=pixels, cells=CellSpec(junction=IDEAL), seed=seed)
    for image in images:
        clean = image.reshape(channels, pixels) / 127.5 - 1
        array.begin()
        for i, (t, u) in enumerate(itertools.pairwise(time_steps(pipeline.scheduler, steps))):
            mean = process.posterior_mean(array.counts, clean, t, u)
            array.step(mean, process.average_variance(t, u), number=i + 1)
    assert isinstance(array.memory, MagnetoelectricMemory)
    return over_cells(array.memory.worn / len(images))
