"""Images of a Gaussian model whose diffusion is carried out by the cells of an array.

The network sees the counts of ones, scaled to a Gaussian model's input, and its clean image decides the mean and the
variance of the next counts. The last evaluation draws nothing: its clean image is written, as a Gaussian sampler does.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PlainSerializer

from voltaspin.core.errors import InputError, NoiseStoppedError
from voltaspin.core.ledger import Ledger
from voltaspin.core.result import Array, Result, Unit
from voltaspin.diffusion.backend import bf16_is_faster, keep_freed_memory
from voltaspin.diffusion.classes import Told
from voltaspin.diffusion.inplace.array import IDEAL, CellSpec, PixelArray, Rounding
from voltaspin.diffusion.inplace.process import Process
from voltaspin.diffusion.pipelines import Pipeline
from voltaspin.diffusion.sampling import predict_x0, time_steps
from voltaspin.diffusion.soundness import check_output
from voltaspin.memory.responses import PulseResponse, told_apart
from voltaspin.noise import NoiseSource
from voltaspin.random.streams import derive_key

if TYPE_CHECKING:
    Counted = Ledger
else:
    #: A ledger as a field of a result.
    Counted = Annotated[
        Any,
        BeforeValidator(lambda v: v if isinstance(v, Ledger) else Ledger.from_dict(v)),
        PlainSerializer(Ledger.to_dict, when_used="json"),
    ]

Floats = NDArray[np.float64]

CELLS_PER_PIXEL = 31
Variance = Literal["matched", "cells", "average"]
_BINS = 9  #: of the predicted pixel, in which its uncertainty is measured
_MEASURED = 32  #: images that measure it
_SHOWN = 7  #: states of the first image that are kept


class InPlaceSamples(Result):
    """Images that diffused in an array, and the record of their making.

    Args:
        images: uint8 (n, channels, h, w).
        steps: network evaluations per image.
        cells_per_pixel: N.
        random_bits: for one image: pulses whose outcome is left to chance.
        seconds: wall time.
        ledger: pulses (by pulse), reads, bytes and network evaluations of all images.
        rounding: the effect of the finite set of pulses.
        flips: mean p01 and p10 of the programmed pulses; ``coin``: probability of a one after the coin.
        pulses: (name in the ledger, voltage [V], width [s]) of all that were given; none in ideal cells.
        precision: of the network.
        path: grey levels of the first image at the times in ``path_times``, uint8 (len, channels, h, w).
        path_times: of the schedule, falling; -1 for the finished image.
    """

    KIND: ClassVar[str] = "inplace-samples"
    images: Array
    steps: int
    cells_per_pixel: int
    random_bits: float
    seconds: Annotated[float, Unit("s")]
    ledger: Counted
    rounding: Rounding
    coin: float
    flips: tuple[tuple[float, float], ...] = Field(repr=False)
    pulses: tuple[tuple[str, float, float], ...] = Field(repr=False)
    precision: str
    path: Array
    path_times: tuple[int, ...]

    @property
    def per_image(self) -> dict[str, float]:
        """Counts of the ledger for one image."""
        return {action: n / len(self.images) for action, n in self.ledger.totals().items()}


@dataclass(frozen=True, kw_only=True)
class InPlaceOptions:
    """How an array makes images.

    Args:
        steps: network evaluations of each image.
        cells_per_pixel: N.
        cells: of the array.
        batch: images that the array holds; the next ones go into the same cells. An image depends on its batch.
        seed: of the array's variation and pulses.
        variance: of a step. ``average`` is that of the Gaussian posterior. ``cells`` is that of the cells themselves,
            given the count and the predicted pixel. ``matched`` adds what the network leaves uncertain of the clean
            pixel, which is measured on some images beforehand (:func:`uncertainty`).
        dither: meet the variance on average; else each pixel takes the plan nearest to it.
        order: of the solver. 1 takes the predicted clean pixel for the whole step. 2 draws it on along the last two
            predictions, as DPM-Solver++(2M) does for the stochastic equation, at no further evaluation or pulse.
        reads: see :class:`~voltaspin.diffusion.inplace.array.PixelArray`.
        source: of the chance of ideal cells, such as recorded bits; None lets the array's own pulses draw.
        precision: of the network.
        told: the class of each image, of a model that is told one; without it, none where the model knows that.

    Raises:
        InputError: a batch below 1.
    """

    steps: int = 50
    cells_per_pixel: int = CELLS_PER_PIXEL
    cells: CellSpec = field(default_factory=CellSpec)
    batch: int = 64
    seed: int = 0
    variance: Variance = "average"
    dither: bool = True
    order: Literal[1, 2] = 1
    reads: Literal["drawn", "all"] = "drawn"
    source: NoiseSource | None = None
    precision: Literal["auto", "bf16", "float32"] = "float32"
    told: Told | None = None

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise InputError(f"batch={self.batch}: give at least 1 image")
        if self.order not in (1, 2):
            raise InputError(f"order={self.order!r} of the solver: give 1 or 2")


def sample(
    pipeline: Pipeline, *, count: int, progress: Callable[[int, int], None] | None = None, **options: Any
) -> InPlaceSamples:
    """Generate images in an array; every random bit is a pulse of it.

    Args:
        pipeline: any model of epsilon, v or x0 prediction from :func:`~voltaspin.diffusion.pipelines.load_pipeline`,
            trained on counts or not.
        count: images.
        progress: called as ``progress(image_steps_done, image_steps_in_all)``.
        options: fields of :class:`InPlaceOptions`, such as ``steps``, ``cells_per_pixel``, ``cells`` and ``seed``.

    Raises:
        InputError: a count, batch, step or number of cells that makes no sense or has no room; a junction whose pulses
            give no fair coin.
        NoiseStoppedError: a source that ran dry or raised an alarm; its ``finished`` holds the images of the batches
            that were complete, or None.
    """
    if count < 1:
        raise InputError(f"count={count}: give at least 1 image")
    asked = InPlaceOptions(**options)
    sampler = InPlaceSampler(pipeline, replace(asked, batch=min(asked.batch, count)))
    size, steps = sampler.options.batch, asked.steps
    started, images = time.monotonic(), []
    for start in range(0, count, size):

        def show(done: int, _: int, start: int = start) -> None:
            if progress is not None:
                progress(min(start * steps + size * done, count * steps), count * steps)

        try:
            images.append(sampler.batch(progress=show))
        except NoiseStoppedError as stopped:
            if images:
                done = np.concatenate(images)
                stopped.finished = sampler.samples(done, seconds=time.monotonic() - started)
            raise
    return sampler.samples(np.concatenate(images)[:count], seconds=time.monotonic() - started)


class InPlaceSampler:
    """An array that makes one batch of images after the other.

    ``save`` and ``load`` let another process go on with the next batch as if nothing had happened.

    Args:
        pipeline: as :func:`sample` takes it.
        options: of the array and of its steps.
    """

    def __init__(self, pipeline: Pipeline, options: InPlaceOptions) -> None:
        keep_freed_memory()
        self.pipeline, self.options, self.batches = pipeline, options, 0
        self.told = options.told or Told.of(pipeline.classes, None, None)
        self.process = Process(pipeline.scheduler.alphas_cumprod.double().numpy(), options.cells_per_pixel)
        self.times = time_steps(pipeline.scheduler, options.steps)
        channels, height, width = pipeline.image_shape
        self.array = PixelArray(
            self.process, planes=options.batch * channels, pixels=height * width, cells=options.cells,
            reads=options.reads, seed=options.seed, source=options.source,
        )  # fmt: skip
        self._device = pipeline.unet.device
        self._bf16 = options.precision == "bf16" or (options.precision == "auto" and bf16_is_faster(self._device.type))
        shown = {round((options.steps - 1) * k / (_SHOWN - 2)) for k in range(_SHOWN - 1)}
        self._path_times = (*(self.times[k] for k in sorted(shown)), -1)
        self._path: list[NDArray[np.uint8]] = []
        #: Called with the number of each evaluation and the clean pixels that it predicts, -1 to 1 (planes, pixels).
        self.observe: Callable[[int, Floats], None] | None = None
        if options.variance == "matched":  # measured in ideal cells: nearly the same in others
            self._uncertainty = uncertainty(
                pipeline, steps=options.steps, cells_per_pixel=options.cells_per_pixel, told=self.told
            )

    def _wanted(self, clean: Floats, i: int, t: int, u: int) -> tuple[Floats, Floats | float]:
        """Mean (planes, pixels) and variance (of each pixel, or one for all) of the counts after evaluation ``i``."""
        process, counts = self.process, self.array.counts
        if self.options.variance == "average":
            return process.posterior_mean(counts, clean, t, u), process.average_variance(t, u)
        unsure: Floats | float = 0.0
        if self.options.variance == "matched":
            unsure = np.interp(clean, np.linspace(-1, 1, _BINS), self._uncertainty[i])
        return process.posterior(counts, clean, t, u, uncertainty=unsure)

    @torch.no_grad()
    def batch(self, *, progress: Callable[[int, int], None] | None = None) -> NDArray[np.uint8]:
        """The next images: uint8 (batch, channels, h, w). ``progress`` is called with (steps done, in all)."""
        array, process, first, steps = self.array, self.process, self.batches == 0, self.options.steps
        array.begin()
        clean, before = np.empty(0), None
        for i, (t, u) in enumerate(itertools.pairwise([*self.times, -1])):
            if first and t in self._path_times:
                self._path.append(self._grey(2 * array.counts / process.cells - 1)[0])
            clean = self._clean(t, f"step {i + 1} of {steps} (t = {t})")
            if u >= 0:
                aim = clean if before is None else process.extrapolated(clean, before, self.times[i - 1], t, u)
                mean, variance = self._wanted(aim, i, t, u)
                array.step(mean, variance, number=i + 1, dither=self.options.dither)
                before = clean if self.options.order == 2 else None
            if self.observe is not None:
                self.observe(i, clean)
            if progress is not None:
                progress(i + 1, steps)
        images = self._grey(clean)
        if first:
            self._path.append(images[0])
        self.batches += 1
        return images

    def _clean(self, t: int, where: str) -> Floats:
        """The network's clean pixels, from -1 to 1: (planes, pixels)."""
        process, shape = self.process, self.pipeline.image_shape
        level = torch.from_numpy(2 * self.array.counts / process.cells - 1).float()
        x = (process.scale(t) * level).reshape(self.options.batch, *shape).to(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            unet, first = self.pipeline.unet, self.batches * self.options.batch
            output = unet(x, t).sample if self.told is None else self.told.output(unet, x, t, first)
        check_output(output, where)
        scheduler = self.pipeline.scheduler
        x0, _ = predict_x0(output[:, : shape[0]].float(), x, float(scheduler.alphas_cumprod[t]), scheduler)
        return x0.clamp(-1, 1).cpu().numpy().astype(np.float64).reshape(self.array.counts.shape)

    def _grey(self, levels: Floats) -> NDArray[np.uint8]:
        """Levels -1 to 1 of the pixels, (planes, pixels), as grey levels: (batch, channels, h, w)."""
        grey = np.round((levels + 1) * 127.5).astype(np.uint8)
        return grey.reshape(self.options.batch, *self.pipeline.image_shape)

    def samples(self, images: NDArray[np.uint8], *, seconds: float) -> InPlaceSamples:
        """Return the record of all batches so far; ``images`` are those that are kept of them."""
        array, steps, made = self.array, self.options.steps, self.batches * self.options.batch
        run = Ledger("in-place sampling")
        run.children["memory"] = array.memory.ledger
        run.child("network").count("evaluation", made * steps * (1 if self.told is None else self.told.passes))
        run.child("network").count("byte", self._moved(made, array.memory.ledger.total("pulse")))
        flips, drawn = array.drive.flips.tolist(), array.memory.ledger.total("pulse") - array.rounding.toggles
        return InPlaceSamples(
            images=images, steps=steps, cells_per_pixel=self.process.cells,
            random_bits=drawn / max(made, 1), seconds=seconds,
            ledger=run.share(len(images), made), rounding=array.rounding, coin=array.drive.q,
            flips=tuple((a, b) for a, b in flips), pulses=self._given(),
            precision="bf16" if self._bf16 else "float32",
            path=np.stack(self._path) if self._path else np.empty((0, *self.pipeline.image_shape), np.uint8),
            path_times=self._path_times if self._path else (),
        )  # fmt: skip

    def _moved(self, made: int, pulses: int) -> int:
        """Bytes that were moved for so many images.

        At each step a count goes to the network, and the controller reads and writes the state of each cell in its
        memory. Each pulse is told which of a pixel's cells gets it, and which pulse it is.
        """
        pixels, cells = int(np.prod(self.pipeline.image_shape)), self.process.cells
        state = 0 if self.array.reads == "all" else 2 * cells
        each = 8 * ((cells.bit_length() + 7) // 8) + state
        told = (cells - 1).bit_length() + len(self.array.drive.pulses).bit_length()
        return -(-(made * self.options.steps * pixels * each + pulses * told) // 8)

    def _given(self) -> tuple[tuple[str, float, float], ...]:
        flat, _ = told_apart(self.array.drive.pulses, np.zeros(1, np.int64), np.zeros(1))
        answers = {p.name: p for p in flat if isinstance(p, PulseResponse)}
        given = self.array.memory.ledger.children
        return tuple((name, a.pulse.voltage, a.pulse.width) for name, a in answers.items() if name in given)

    def save(self, path: Path) -> None:
        """Keep the bits of the array; :meth:`state` is the rest."""
        self.array.save(path)

    def state(self) -> dict[str, Any]:
        return {"batches": self.batches, "array": self.array.state()}

    def load(self, path: Path, state: Mapping[str, Any]) -> None:
        """Go on after the batch that was kept by a sampler of the same arguments.

        Only the path of the first image is not known again.
        """
        self.array.load(path, state["array"])
        self.batches = int(state["batches"])


def uncertainty(
    pipeline: Pipeline, *, steps: int, cells_per_pixel: int, count: int = _MEASURED, told: Told | None = None
) -> Floats:
    """Measure how uncertain the clean pixel is at each evaluation, by what the network predicts.

    The finished image of a good sampler is a draw from all clean images that fit what the network sees. The mean square
    of its distance from the prediction is therefore the variance of the clean pixel, and no data are needed.

    Args:
        pipeline: of the network.
        steps, cells_per_pixel, told: as in :class:`InPlaceOptions`.
        count: images, of ideal cells.

    Returns:
        float64 (steps, 9), at predictions from -1 to 1.

    Source: F. Bao et al., Analytic-DPM, arXiv 2201.06503, for the effect of this variance on a Gaussian step.
    """
    options = InPlaceOptions(
        steps=steps, batch=count, cells_per_pixel=cells_per_pixel, cells=CellSpec(junction=IDEAL),
        seed=derive_key(0, "uncertainty"), told=told,
    )  # fmt: skip
    sampler = InPlaceSampler(pipeline, options)
    seen: list[Floats] = []
    sampler.observe = lambda _, clean: seen.append(clean)
    sampler.batch()
    last, nodes = seen[-1].ravel(), np.linspace(-1, 1, _BINS)
    found = np.empty((steps, _BINS))
    for i, clean in enumerate(seen):
        at = (clean.ravel() + 1) / 2 * (_BINS - 1)
        # hat functions around the nodes; a node that no prediction is near takes the mean over all
        weights = np.clip(1 - np.abs(at - np.arange(_BINS)[:, None]), 0, None)
        square = (last - clean.ravel()) ** 2
        total = weights.sum(1)
        found[i] = (weights @ square + square.mean()) / (total + 1)
    return np.minimum(found, 1 - nodes**2 + 1e-3)
