"""Training on the counts of the array in which the images diffuse.

The clean counts of a batch are written, and one pulse on every cell of an image flips as many as belong to its time.
Network, schedule and loop are those of the Gaussian model, and what is left is a pipeline folder of diffusers,
with a file beside it that says how many cells a pixel has.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import UNet2DModel
from numpy.typing import NDArray
from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.core.spec import Spec
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.inplace.array import CellSpec, PixelArray
from voltaspin.diffusion.inplace.process import MOST_CELLS, Process
from voltaspin.diffusion.inplace.sampling import CELLS_PER_PIXEL, sample
from voltaspin.diffusion.inplace.source_cells import SourceCells
from voltaspin.diffusion.loop import TrainResult
from voltaspin.diffusion.objective import Batch
from voltaspin.diffusion.pipelines import Pipeline
from voltaspin.diffusion.recipe import TrainSpec, loss_weights, make_scheduler, timesteps
from voltaspin.diffusion.training import (
    NoisePrediction,
    encode,
    export_pipeline,
    network_of,
    on_device,
    prediction_loss,
    train_objective,
)
from voltaspin.diffusion.validation import trial_source
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.memory.responses import Driven
from voltaspin.random.streams import derive_key

#: Weight of a pulse's variance over the cells: of two pulses as near to a time, take the one whose cells agree.
VARIANCE_WEIGHT = 0.01
FILE = "inplace.json"
MEMORY = "memory.safetensors"  #: of a checkpoint: the bits of the cells


class InPlaceSpec(Spec):
    """The array that a network was trained for.

    Args:
        cells_per_pixel: N.
        cells: of the array.
    """

    KIND: ClassVar[str] = "inplace-model"
    cells_per_pixel: int = Field(ge=1, le=MOST_CELLS)
    cells: CellSpec = CellSpec()


class InPlaceTrainSpec(TrainSpec):
    """Everything that decides the weights of a training run on counts, beside the images.

    Args:
        cells_per_pixel: N.
        cells: of the array.
    """

    KIND: ClassVar[str] = "inplace-train"
    VERSION: ClassVar[int] = 1
    noise: str = "array"
    cells_per_pixel: int = Field(default=CELLS_PER_PIXEL, ge=1, le=MOST_CELLS)
    cells: CellSpec = CellSpec()


class CountPrediction:
    """The objective: the Gaussian one, at the counts of the array.

    A network cannot know a pixel better than to a part of a count. The error of the clean pixel is therefore weighted
    by 1 / (1 - alpha_bar + 1 / N^2) instead of 1 / (1 - alpha_bar): 1 / N is half the distance of two levels.

    Args:
        spec: resolved.
        channels, size: of the images.
    """

    EXPORTS: ClassVar[tuple[str, ...]] = (FILE, *NoisePrediction.EXPORTS)

    def __init__(self, spec: InPlaceTrainSpec, *, channels: int, size: int) -> None:
        self.spec, self.scheduler = spec, make_scheduler(spec)
        self.alpha_bar = self.scheduler.alphas_cumprod
        self.process = Process(self.alpha_bar.double().numpy(), spec.cells_per_pixel)
        self.array = self._array(spec.batch // spec.accumulate * channels, size * size, spec.seed)
        self.trial = trial_source(spec.seed)
        self.pulses, self.reached = forward_pulses(self.process, self.array.memory)
        self.scales = np.array([self.process.scale(t) for t in range(spec.num_train_timesteps)])
        self.weights = (1 - self.alpha_bar) / (1 - self.alpha_bar + spec.cells_per_pixel**-2)
        self.weights *= torch.from_numpy(loss_weights(spec, self.alpha_bar.double().numpy())).float()

    def _array(self, planes: int, pixels: int, seed: int) -> PixelArray:
        return PixelArray(self.process, planes=planes, pixels=pixels, cells=self.spec.cells, seed=seed)

    @property
    def ledger(self) -> Ledger:
        return self.array.memory.ledger

    def together(self, count: int) -> None:
        raise InputError(f"counts in one array, which {count} processes cannot share; train in one process")

    def network(self, *, channels: int, size: int, classes: int = 0) -> UNet2DModel:
        return network_of(self.spec, channels=channels, size=size, classes=classes)

    def check(self, steps: int, *, channels: int, size: int) -> None:
        """An array does not run out."""

    def noisy(
        self, images: NDArray[np.uint8], t: NDArray[np.int64], array: PixelArray | None = None
    ) -> NDArray[np.float32]:
        """The network's input for images at times ``t`` (batch,), drawn in the array: float32 like the images.

        Args:
            images: uint8 (batch, channels, h, w).
            t: of each image; one of ``reached``.
            array: that of the training where absent.
        """
        array = self.array if array is None else array
        used, which = np.unique(t, return_inverse=True)
        array.write(self.process.clean_counts(images).reshape(array.shape[0], array.shape[2]))
        array.flip([self.pulses[int(time)] for time in used], np.repeat(which + 1, images.shape[1]))
        levels = (2 * array.counts / self.process.cells - 1).reshape(images.shape)
        return (self.scales[t][:, None, None, None] * levels).astype(np.float32)

    def loss(self, model: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
        t = self.reached[timesteps(self.spec, batch.step, self.alpha_bar.double().numpy())[batch.slots]]
        return self._loss(model, batch.images, self.noisy(batch.images, t), t, batch.labels, device)

    def held_out_loss(
        self, model: UNet2DModel, images: NDArray[np.uint8], t: NDArray[np.int64], first: int,
        labels: NDArray[np.int64] | None,
    ) -> torch.Tensor:  # fmt: skip
        n, channels, height, width = images.shape
        array = self._array(n * channels, height * width, derive_key(self.spec.seed, "validation", first))
        found = self._loss(model, images, self.noisy(images, self.reached[t], array), self.reached[t], labels,
                           model.device)  # fmt: skip
        self.trial.ledger.merge(array.memory.ledger)
        return found

    def samples(self, model: UNet2DModel, *, count: int, steps: int) -> NDArray[np.uint8]:
        pipeline, spec = Pipeline(model, self.scheduler, Path(), ""), self.spec
        seed = derive_key(spec.seed, "validation")
        made = sample(
            pipeline, count=count, steps=steps, seed=seed, cells_per_pixel=spec.cells_per_pixel, cells=spec.cells
        )
        self.trial.ledger.merge(made.ledger)
        return made.images

    def _loss(
        self, model: torch.nn.Module, images: NDArray[np.uint8], inputs: NDArray[np.float32], t: NDArray[np.int64],
        labels: NDArray[np.int64] | None, device: torch.device,
    ) -> torch.Tensor:  # fmt: skip
        spec, x_t = self.spec, torch.from_numpy(inputs).to(device)
        x0 = torch.from_numpy(encode(images, margin=spec.saturation_margin)).to(device)
        times, alpha_bar = torch.from_numpy(t).to(device), self.alpha_bar.to(device)
        now = alpha_bar[times][:, None, None, None]
        noise = (x_t - now.sqrt() * x0) / (1 - now).sqrt()
        weight = self.weights.to(device)[times]
        return prediction_loss(
            model, x_t, x0, noise, times, alpha_bar, spec.prediction_type, weight, on_device(labels, device)
        )

    def state(self) -> dict[str, Any]:
        return {
            "noise": {"name": f"counts in an array of {self.spec.cells.junction} cells"}, "array": self.array.state(),
        }  # fmt: skip

    def save(self, folder: Path) -> None:
        self.array.save(folder / MEMORY)

    def load(self, folder: Path, record: dict[str, Any]) -> None:
        self.array.load(folder / MEMORY, record["array"])

    def export(self, folder: Path, model: UNet2DModel) -> None:
        export_pipeline(folder, model, self.spec, self.scheduler)
        InPlaceSpec(cells_per_pixel=self.spec.cells_per_pixel, cells=self.spec.cells).save(folder / FILE)


def forward_pulses(
    process: Process, memory: MagnetoelectricMemory | SourceCells
) -> tuple[list[Driven], NDArray[np.int64]]:
    """The pulse that brings clean cells to each time, and the time that it really brings them to.

    A driver has finitely many pulses. Each time takes the one whose mean flip probability is nearest, and the network
    is told the time that belongs to this mean.

    Returns:
        A pulse for each time that is reached (others have that of a neighbour), and that time of each, (T,).
    """
    wanted = np.array([process.flip_probability(t) for t in range(len(process))])
    if isinstance(memory, SourceCells) or memory.junction is None:
        return [float(p) for p in wanted], np.arange(len(process))
    pulses, mean = memory.library.nearest(wanted, memory.spreads, VARIANCE_WEIGHT)
    reached = np.abs(wanted - mean.mean(-1)[:, None]).argmin(1)
    at = {int(t): k for k, t in enumerate(reached)}
    return [pulses[at.get(t, t)] for t in range(len(process))], reached


def trained_for(folder: Path | str) -> InPlaceSpec | None:
    """Return the array that a model was trained for; None for a Gaussian model.

    Raises:
        InputError: a damaged file.
    """
    file = Path(folder) / FILE
    return InPlaceSpec.load(file) if file.is_file() else None


def train(
    images: ImageSet,
    out: Path | str,
    *,
    spec: InPlaceTrainSpec,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
    held_out: ImageSet | None = None,
) -> TrainResult:
    """Train a model on the counts of an array and leave it in ``out``, a diffusers pipeline folder.

    Args:
        images: uint8 (n, channels, size, size).
        out: output folder; must be empty or new unless ``resume`` or ``force``. It is locked meanwhile.
        spec: the configuration; ``precision="auto"`` is resolved here and recorded.
        resume, force, progress, held_out: as in :func:`voltaspin.diffusion.training.train`.

    Returns:
        A :class:`TrainResult`; ``finished`` is False if a signal stopped the run (its checkpoint is saved).

    Raises:
        InputError: ``out`` holds another run, or nothing to resume; images that do not fit the model or the array; a
            junction whose pulses give no fair coin.
        OSError: a write failed (full disk); the last checkpoint stays whole.
    """
    if spec.noise != InPlaceTrainSpec.model_fields["noise"].default:
        raise InputError(f"noise = {spec.noise!r}: the array makes the noise of a training on counts; leave it out")
    if spec.streams != "example":
        raise InputError(f"streams = {spec.streams!r}: a training on counts writes its array anew; leave it out")
    _, channels, size, _ = images.images.shape
    return train_objective(
        CountPrediction, images, out, spec=spec,
        make=lambda resolved: CountPrediction(resolved, channels=channels, size=size),
        resume=resume, force=force, progress=progress, held_out=held_out,
    )  # fmt: skip
