"""Training of a bit-flip diffusion: the array that stores a batch makes its noise.

The clean planes of a batch are written, and every step pulses the images that are to see at least so many: an image of
time t gets t masked pulses. The network is asked for the clean bits. The loop is the one of the Gaussian diffusion.
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

from voltaspin.diffusion import loop
from voltaspin.diffusion.bitflip.model import FILE, BitModelSpec, CellSpec, make_array, steps_of
from voltaspin.diffusion.bitflip.network import clean_logits, evidence, kept_prediction, make_network
from voltaspin.diffusion.bitflip.process import Process, to_planes
from voltaspin.diffusion.bitflip.schedules import PulseSchedule
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.loop import LoopSpec, TrainResult
from voltaspin.memory import MagnetoelectricMemory

MEMORY = "memory.safetensors"  #: of a checkpoint: the array, bit for bit


class BitTrainSpec(LoopSpec):
    """Everything that decides the weights of a bit-flip training run, beside the images.

    Args:
        flip_steps: of the forward process, and network evaluations of an image.
        bits, gray: planes of a grey level, Gray-coded or not.
        plane_weight: of the loss of a plane over that of the next higher one.
        time_power: the loss of time t is weighted by (beta_t / p_t) to this power. 1 is the variational bound, which
            looks at the last steps most; 0 a plain mean.
        self_condition: let the network see what it predicted before, in every second step of training. It costs a
            byte moved each way for each bit and evaluation.
        cells: of the array.
    """

    KIND: ClassVar[str] = "bitflip-train"
    VERSION: ClassVar[int] = 1

    learning_rate: float = Field(default=2e-3, gt=0)
    flip_steps: int = Field(default=50, gt=0)
    bits: int = Field(default=4, ge=1, le=8)
    gray: bool = True
    plane_weight: float = Field(default=1.0, gt=0)
    time_power: float = Field(default=0.5, ge=0)
    self_condition: bool = False
    cells: CellSpec = CellSpec()


class CleanBits:
    """The objective: binary cross entropy of the clean bits.

    Args:
        spec: resolved.
        channels, size: of the images.
    """

    EXPORTS: ClassVar[tuple[str, ...]] = (FILE, *loop.NETWORK)

    def __init__(self, spec: BitTrainSpec, *, channels: int, size: int) -> None:
        self.spec, self.channels, self.size = spec, channels, size
        self.planes = channels * spec.bits
        # one plane of one image to a row
        self.memory = make_array(spec.cells, rows=spec.batch * self.planes, columns=size * size, seed=spec.seed)
        self.flips = PulseSchedule.of(self.memory, Process.cosine(spec.flip_steps).betas)
        self.process = self.flips.process
        self.evidence = torch.from_numpy(evidence(self.process))
        self.weights = torch.from_numpy(time_weights(self.process, spec.time_power))
        plane = spec.plane_weight ** np.arange(spec.bits)
        self.plane_weights = torch.from_numpy(np.tile(plane / plane.mean(), channels).astype(np.float32))

    def network(self, *, channels: int, size: int) -> UNet2DModel:
        return make_network(self.spec, planes=self.planes, size=size, self_condition=self.spec.self_condition)

    def check(self, steps: int, *, channels: int, size: int) -> None:
        """An array does not run out."""

    def loss(self, model: torch.nn.Module, images: NDArray[np.uint8], step: int, device: torch.device) -> torch.Tensor:
        spec = self.spec
        clean = to_planes(images, bits=spec.bits, gray=spec.gray)
        t = 1 + loop.timesteps(spec, step, spec.flip_steps)
        noisy = flipped(self.memory, self.flips, clean, t)
        x0 = torch.from_numpy(clean).to(device).float()
        x = torch.from_numpy(noisy).to(device).float() * 2 - 1
        times, odds = torch.from_numpy(t).to(device), self.evidence.to(device)
        before = torch.zeros_like(x) if spec.self_condition else None
        if before is not None and step % 2:
            with torch.no_grad():
                before = kept_prediction(clean_logits(model, x, before, times, odds))
        logits = clean_logits(model, x, before, times, odds)
        each = torch.nn.functional.binary_cross_entropy_with_logits(logits, x0, reduction="none").mean((2, 3))
        weighted = each * self.plane_weights.to(device) * self.weights.to(device)[times][:, None]
        return weighted.mean()

    def state(self) -> dict[str, Any]:
        return {"noise": {"name": f"flips in an array of {self.spec.cells.junction} cells"}}

    def save(self, folder: Path) -> None:
        self.memory.save(folder / MEMORY)

    def load(self, folder: Path, record: dict[str, Any]) -> None:
        self.memory = MagnetoelectricMemory.load(folder / MEMORY)

    def export(self, folder: Path, model: UNet2DModel) -> None:
        spec = self.spec
        model.save_pretrained(folder / "unet")
        BitModelSpec(
            channels=self.channels, size=self.size, bits=spec.bits, gray=spec.gray,
            self_condition=spec.self_condition, cells=spec.cells, steps=steps_of(self.flips),
        ).save(folder / FILE)  # fmt: skip


def time_weights(process: Process, power: float) -> NDArray[np.float32]:
    """Weight of the loss at each t, of mean 1 over 1 to T; the first, of t = 0, is not used: (T + 1,)."""
    p = np.array([process.marginal(t) for t in range(1, len(process) + 1)])
    weight = np.divide(process.betas, p, out=np.ones(len(p)), where=p > 0) ** power
    return np.concatenate([[0.0], weight / weight.mean()]).astype(np.float32)


def flipped(memory: MagnetoelectricMemory, flips: PulseSchedule, clean: NDArray[np.uint8], t: NDArray[np.int64]) -> Any:
    """Planes after ``t`` pulses of the array that stores them: uint8 (n, planes, h, w).

    Args:
        memory: with a row for each plane of each image.
        flips: the pulses.
        clean: bits (n, planes, h, w).
        t: pulses that each image gets, 0 to T, (n,).
    """
    memory.write(clean.reshape(memory.rows, memory.columns))
    for step in range(1, int(t.max()) + 1):
        chosen = np.repeat(t >= step, clean.shape[1])
        memory.pulse(flips.pulses[step - 1], mask=np.broadcast_to(chosen[:, None], memory.state.shape))
    return memory.read().reshape(clean.shape)


def train(
    images: ImageSet,
    out: Path | str,
    *,
    spec: BitTrainSpec,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
) -> TrainResult:
    """Train a bit-flip model and leave it in ``out``; see :func:`voltaspin.diffusion.bitflip.model.load_model`.

    Args:
        images: uint8 (n, channels, size, size).
        out: output folder; must be empty or new unless ``resume`` or ``force``. It is locked meanwhile.
        spec: the configuration; ``precision="auto"`` is resolved here and recorded.
        resume, force: as in :func:`voltaspin.diffusion.training.train`.
        progress: called as ``progress(step, steps, loss)`` after each step.

    Returns:
        A :class:`TrainResult`; ``finished`` is False if a signal stopped the run (its checkpoint is saved).

    Raises:
        InputError: ``out`` holds another run, or nothing to resume; images that do not fit the model; a junction
            whose pulses do not give the schedule.
        OSError: a write failed (full disk); the last checkpoint stays whole.
    """
    with loop.entered(spec, images, out, objective=CleanBits, resume=resume, force=force) as (spec, folder):
        _, channels, size, _ = images.images.shape
        objective = CleanBits(spec, channels=channels, size=size)
        return loop.run(objective, images, folder, spec=spec, progress=progress)
