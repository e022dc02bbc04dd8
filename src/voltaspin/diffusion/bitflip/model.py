"""A trained bit-flip model in a folder: ``unet`` (safetensors), ``bitflip.json`` and ``train.json``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from diffusers import UNet2DModel
from pydantic import Field

from voltaspin.core.capacity import check_memory
from voltaspin.core.errors import InputError
from voltaspin.core.spec import Spec
from voltaspin.device import Junction, SwitchingModel
from voltaspin.diffusion.bitflip.flips import Flips
from voltaspin.diffusion.bitflip.network import evidence
from voltaspin.diffusion.bitflip.process import Process
from voltaspin.diffusion.sampling import check_folder, load_part
from voltaspin.memory import MagnetoelectricMemory, Variation
from voltaspin.memory.pulses import PulseResponse

FILE = "bitflip.json"
IDEAL = "ideal"  #: cells that flip with exactly the probability that is asked for
_BYTES_PER_CELL = 25  # that an array keeps; building one takes more for a moment


class CellSpec(Spec):
    """The cells of an array.

    Args:
        junction: as :meth:`voltaspin.device.Junction.of` takes it, or ``ideal``.
        K_eff_spread: from cell to cell [1]; stray_field_spread: [T].
    """

    KIND: ClassVar[str] = "bitflip-cells"
    junction: str = "generator"
    K_eff_spread: float = Field(default=0.05, ge=0)
    stray_field_spread: float = Field(default=0.5e-3, ge=0)


class StepPulse(Spec):
    """What one step of the forward process does.

    Args:
        wanted: flip probability that the schedule asks for.
        voltage, width: of the pulse [V], [s]; None in ideal cells.
        p01, p10: mean over the cells; spread: standard deviation from cell to cell, mean of both directions.
        beta: flip probability that gives the array's own marginals, from those of the step before.
    """

    KIND: ClassVar[str] = "bitflip-step"
    wanted: float = Field(ge=0, le=1)
    voltage: float | None
    width: float | None
    p01: float = Field(ge=0, le=1)
    p10: float = Field(ge=0, le=1)
    spread: float = Field(ge=0)
    beta: float = Field(ge=0, le=0.5)


class BitModelSpec(Spec):
    """What a network of clean bits is for.

    Args:
        channels, size: of the images.
        bits: planes of a grey level; gray: whether these are Gray-coded.
        self_condition: whether the network also sees what it predicted at the step before.
        cells: of the array that it was trained with.
        steps: of the forward process.
    """

    KIND: ClassVar[str] = "bitflip-model"
    channels: int = Field(gt=0)
    size: int = Field(gt=0)
    bits: int = Field(ge=1, le=8)
    gray: bool
    self_condition: bool
    cells: CellSpec
    steps: tuple[StepPulse, ...] = Field(min_length=1)

    @property
    def planes(self) -> int:
        return self.channels * self.bits


def steps_of(flips: Flips) -> tuple[StepPulse, ...]:
    """The record of a schedule's pulses."""
    made = []
    for k, pulse in enumerate(flips.pulses):
        set_to = pulse.pulse if isinstance(pulse, PulseResponse) else None
        made.append(StepPulse(
            wanted=float(flips.wanted[k]), voltage=None if set_to is None else set_to.voltage,
            width=None if set_to is None else set_to.width, p01=float(flips.mean[k, 0]), p10=float(flips.mean[k, 1]),
            spread=float(flips.spread[k].mean()), beta=float(flips.process.betas[k]),
        ))  # fmt: skip
    return tuple(made)


def make_array(cells: CellSpec, *, rows: int, columns: int, seed: int = 0) -> MagnetoelectricMemory:
    """An array whose pulses are programmed; raises InputError for an unknown junction or too large a size."""
    check_memory(
        _BYTES_PER_CELL * rows * columns, what=f"an array of {rows} x {columns} cells", remedy="use a smaller batch"
    )  # fmt: skip
    ideal = SwitchingModel.constant(0.5, 0.5)
    if cells.junction == IDEAL:
        return MagnetoelectricMemory(rows=rows, columns=columns, model=ideal, seed=seed)
    variation = Variation(K_eff=cells.K_eff_spread, stray_field=cells.stray_field_spread)
    return MagnetoelectricMemory(
        rows=rows, columns=columns, model=ideal, variation=variation, junction=Junction.of(cells.junction), seed=seed
    )


@dataclass(frozen=True)
class BitModel:
    """A bit-flip model that was read from its folder.

    Args:
        unet: in evaluation mode.
        spec: what it is for.
        folder: where it was read.
        sha256: of the weights.
    """

    unet: UNet2DModel
    spec: BitModelSpec
    folder: Path
    sha256: str

    @cached_property
    def process(self) -> Process:
        return Process([s.beta for s in self.spec.steps])

    @cached_property
    def evidence(self) -> torch.Tensor:
        return torch.from_numpy(evidence(self.process))


def is_bit_model(folder: Path | str) -> bool:
    """Whether a folder says that it holds a bit-flip model."""
    return (Path(folder) / FILE).is_file()


def load_model(folder: Path | str) -> BitModel:
    """Read a model that :func:`~voltaspin.diffusion.bitflip.training.train` left; nothing is unpickled.

    Raises:
        InputError: no such folder, a missing or damaged file, or a network that does not fit its planes.
    """
    folder = Path(folder)
    check_folder(folder)
    if not is_bit_model(folder):
        raise InputError(
            f"{folder} holds no {FILE}, so it is no bit-flip model; train one with "
            "bitflip.train, which 'voltaspin train' does for diffusion='bitflip'"
        )
    spec = BitModelSpec.load(folder / FILE)
    unet, sha256 = load_part(folder, "unet", UNet2DModel)
    shape = (unet.config.in_channels, unet.config.out_channels, unet.config.sample_size)
    fitting = (spec.planes * (2 if spec.self_condition else 1), spec.planes, spec.size)
    if shape != fitting:
        raise InputError(
            f"{folder}: its network takes {shape[0]} planes, gives {shape[1]} and is for {shape[2]} pixels; {FILE} "
            f"says {fitting[0]}, {fitting[1]} and {fitting[2]} ({spec.channels} channels of {spec.bits} bits): one of "
            "the two files is of another model"
        )
    return BitModel(unet.eval(), spec, folder, sha256)
