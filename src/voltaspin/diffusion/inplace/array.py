"""The array in which the pixels of some images diffuse, and the controller that knows the state of its cells."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialise
from scipy.special import ndtri

from voltaspin.core.capacity import check_memory
from voltaspin.core.context import progress_of_wait
from voltaspin.core.errors import InputError
from voltaspin.core.files import write_bytes
from voltaspin.core.ledger import Ledger
from voltaspin.core.spec import Spec
from voltaspin.device import Junction, SwitchingModel
from voltaspin.diffusion.inplace.plan import COIN, MOST_PULSES, NONE, TOGGLE, TURNED, assign, choose
from voltaspin.diffusion.inplace.process import Process
from voltaspin.diffusion.inplace.pulses import COIN_TOLERANCE, COUNT, REPEATS, Drive
from voltaspin.diffusion.inplace.source_cells import SourceCells
from voltaspin.memory import Access, MagnetoelectricMemory, Variation
from voltaspin.memory.pulses import response
from voltaspin.memory.responses import Driven, PulsePair, PulseResponse
from voltaspin.noise import NoiseSource

IDEAL = "ideal"  #: cells that flip with exactly the probability that is asked for
_BYTES_PER_CELL = 40  # that an array and its controller keep; building one takes more for a moment
_LARGEST_SIDE = 2**15  # of an array


class CellSpec(Spec):
    """The cells of an array, and what its driver knows of them.

    Args:
        junction: as :meth:`voltaspin.device.Junction.of` takes it, or ``ideal``.
        K_eff_spread: from cell to cell [1]; stray_field_spread: [T].
        unknown_field: a field along z on every cell [T], for which the pulses were not chosen.
        read_error: probability that a read finds the wrong bit.
        pulses: largest number of programmed pulses of the driver, 2 to 125.
        coin_tolerance: farthest that the coin's mean may be from 1/2.
        balanced: toggle every second coin after its pulse, and give every second programmed cell the complement and a
            toggle: a bias that all cells share cancels, known or not, for half as many certain toggles as coins.
    """

    KIND: ClassVar[str] = "inplace-cells"
    junction: str = "generator"
    K_eff_spread: float = Field(default=0.05, ge=0)
    stray_field_spread: float = Field(default=0.5e-3, ge=0)
    unknown_field: float = 0.0
    read_error: float = Field(default=0.0, ge=0, lt=0.5)
    pulses: int = Field(default=COUNT, ge=2, le=MOST_PULSES)
    coin_tolerance: float = Field(default=COIN_TOLERANCE, gt=0, lt=0.5)
    balanced: bool = False

    def check_junction(self) -> None:
        """Raise InputError where the junction is unknown, or its file is not there."""
        if self.junction != IDEAL:
            Junction.of(self.junction)


@dataclass
class Rounding:
    """Effect of the finite set of pulses on the flip probabilities of programmed cells, summed over all steps.

    Args:
        pulses: number of programmed cells.
        error: sum of the given less the wanted probability of each; ``size``: sum of the magnitude of that difference.
        beyond: number of programmed cells that wanted a larger probability than the driver can give.
        toggles: number of cells, programmed or not, that were toggled for certain.
    """

    pulses: int = 0
    error: float = 0.0
    size: float = 0.0
    beyond: int = 0
    toggles: int = 0

    def to_json(self) -> dict[str, Any]:
        n = max(self.pulses, 1)
        return {"mean_error": self.error / n, "mean_size_of_error": self.size / n, "share_beyond_the_driver":
                self.beyond / n, "toggles": self.toggles}  # fmt: skip


class PixelArray:
    """Pixels of a batch of images as populations of cells.

    Cell j of the pixels of a plane (an image's channel) lies in row ``plane N + j``, at the pixel's column.

    Args:
        process: whose N cells a pixel has.
        planes: images times channels; pixels: of a plane.
        cells: their kind, and what the driver knows of them.
        reads: ``drawn``: after a step only the cells that chance decided are read, and the controller keeps the state
            of the others; ``all``: every cell is read at every step.
        seed: of the cells' variation and of their pulses.
        source: of the chance of ideal cells, instead of their own pulses.

    Raises:
        InputError: more cells than an array or this machine's memory has room for, or pulses that do not do.
    """

    def __init__(
        self, process: Process, *, planes: int, pixels: int, cells: CellSpec, reads: Literal["drawn", "all"] = "drawn",
        seed: int = 0, source: NoiseSource | None = None,
    ) -> None:  # fmt: skip
        self.process, self.cells, self.reads = process, cells, reads
        self.shape = (planes, process.cells, pixels)
        rows = planes * process.cells
        if rows > _LARGEST_SIDE or pixels > _LARGEST_SIDE:
            raise InputError(
                f"{planes} planes of {pixels} pixels in {process.cells} cells each need {rows * pixels:,} cells in "
                f"{rows:,} rows and {pixels:,} columns; an array has at most {_LARGEST_SIDE:,} of each: use a smaller "
                "batch, smaller images or fewer cells for a pixel"
            )
        check_memory(
            _BYTES_PER_CELL * rows * pixels, what=f"an array of {rows:,} x {pixels:,} cells",
            remedy="use a smaller batch or fewer cells for a pixel",
        )  # fmt: skip
        self.memory: MagnetoelectricMemory | SourceCells = (
            _memory(cells, rows=rows, columns=pixels, seed=seed)
            if source is None
            else SourceCells(source, rows=rows, columns=pixels)
        )
        self.drive = _drive(cells, self.memory)
        self.rounding = Rounding()
        self.seen = np.zeros(self.shape, np.uint8)  # as the controller knows it
        self._roles = np.empty(self.shape, np.uint8)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Ones of each pixel as the controller knows them: (planes, pixels)."""
        return self.seen.sum(1, dtype=np.int64)

    def begin(self) -> None:
        """Forget: every cell gets the coin, and is read."""
        self._roles[:] = COIN
        if self.cells.balanced:
            self._roles[:, ::2] += TURNED
        self._give(np.zeros(4))

    def write(self, counts: ArrayLike) -> None:
        """Store counts, the first cells of a pixel ones (thermometer code): (planes, pixels)."""
        n = np.asarray(counts)
        self.seen = (np.arange(self.shape[1])[None, :, None] < n[:, None, :]).astype(np.uint8)
        self.memory.write(self.seen.reshape(self.memory.state.shape))

    def step(self, mean: ArrayLike, variance: ArrayLike, *, number: int, dither: bool = True) -> None:
        """Redraw cells of each pixel so that its count gets a mean and a variance.

        Args:
            mean: of the counts, (planes, pixels); variance: in the same shape, or one number for all.
            number: of the step, from 1; it moves the dither and the roles of the cells.
            dither: see :func:`~voltaspin.diffusion.inplace.plan.choose`.
        """
        drive, errors = self.drive, np.empty(4)
        b, c, f = choose(mean, variance, self.process.cells, coin=0.5 if self.cells.balanced else drive.q, step=number,
                         dither=dither)  # fmt: skip
        assign(self.seen, b, c, f, drive.flips, self.cells.balanced, number, self._roles, errors)
        self._give(errors)

    def flip(self, pulses: Sequence[Driven], which: ArrayLike) -> None:
        """Flip every cell of a plane with a probability, as the forward process does.

        Args:
            pulses: as :meth:`voltaspin.memory.MagnetoelectricMemory.pulse` takes them.
            which: the pulse of each plane, 0 for none, i for ``pulses[i - 1]``; integers (planes,).
        """
        chosen = np.broadcast_to(np.asarray(which)[:, None, None], self.shape)
        self._pulse(pulses, chosen)
        self._read(None if chosen.all() else chosen > 0)

    def _give(self, errors: NDArray[np.float64]) -> None:
        """Pulse every cell by its role, count, and read; ``errors`` as :func:`assign` writes them, (4,)."""
        sums = self.rounding
        roles, turned = self._roles & (TURNED - 1), self._roles >= TURNED
        self._pulse(self.drive.pulses, roles)
        toggled = int(np.count_nonzero(roles == TOGGLE))
        if not self.drive.certain and toggled:
            toggled += self._repeat(roles == TOGGLE)
        if self.cells.balanced:
            self._pulse([self.drive.toggle], turned.astype(np.uint8))
            toggled += int(np.count_nonzero(turned))
        sums.error += float(errors[0])
        sums.size += float(errors[1])
        sums.pulses += int(errors[2])
        sums.beyond += int(errors[3])
        sums.toggles += toggled
        self._read(None if self.reads == "all" else self._roles != NONE)

    def _pulse(self, pulses: Sequence[Driven], which: NDArray[Any]) -> None:
        """Give pulses by number, (planes, N, pixels), to cells that hold what the controller knows."""
        shape = self.memory.state.shape
        self.memory.pulse_each(pulses, which.reshape(shape), known=self.seen.reshape(shape))

    def _repeat(self, toggled: NDArray[np.bool_]) -> int:
        """Read toggled cells, and pulse those again that did not turn over: how many such pulses there were."""
        again, wanted = 0, 1 - self.seen[toggled]
        for _ in range(REPEATS):
            self._read(toggled)
            left = np.zeros_like(toggled)
            left[toggled] = self.seen[toggled] != wanted
            if not left.any():
                break
            self._pulse([self.drive.toggle], left.astype(np.uint8))
            again += int(np.count_nonzero(left))
        return again

    def _read(self, where: NDArray[np.bool_] | None) -> None:
        """Tell the controller the bits of these cells, bool (planes, N, pixels), or of all."""
        if where is None:
            self.seen = self.memory.read().reshape(self.shape)
        else:
            self.seen[where] = self.memory.read(mask=where.reshape(self.memory.state.shape))

    def save(self, path: Path) -> None:
        """Keep the cells' bits, eight to a byte; :meth:`state` is the rest. Coins of a source need no bits."""
        if isinstance(self.memory, MagnetoelectricMemory):
            bits = np.packbits(self.memory.state).tobytes()
            write_bytes(
                path,
                serialise(
                    {"bits": np.frombuffer(bits, np.uint8)}, metadata={"sha256": hashlib.sha256(bits).hexdigest()}
                ),
            )

    def state(self) -> dict[str, Any]:
        """Return what another array of the same arguments needs beside the bits of its cells, as JSON data."""
        memory = self.memory
        place: dict[str, Any] = (
            {"source": memory.source.state_dict()} if isinstance(memory, SourceCells) else {"cycle": memory.cycle}
        )
        return {"rounding": asdict(self.rounding), "ledger": memory.ledger.to_dict(), **place}

    def load(self, path: Path, state: Mapping[str, Any]) -> None:
        """Go on, with :meth:`begin` or :meth:`write`, where an array of the same arguments was kept.

        Raises:
            InputError: a missing or damaged file, one of another array, or a source that cannot go back.
        """
        memory = self.memory
        if isinstance(memory, SourceCells):
            memory.source.load_state_dict(state["source"])
        else:
            memory.restore(_read_bits(path, memory.state.shape), cycle=int(state["cycle"]))
        memory.ledger = Ledger.from_dict(state["ledger"])
        self.rounding = Rounding(**state["rounding"])


def forward_path(
    process: Process, image: NDArray[np.uint8], times: Sequence[int], *, cells: CellSpec, seed: int = 0
) -> NDArray[np.uint8]:
    """Let an image dissolve in an array: grey levels at rising times, uint8 (len(times), channels, h, w).

    Args:
        process: of the flips.
        image: uint8 (channels, h, w), written as counts.
        times: of the process, -1 for the counts as written; each is reached from the one before by one pulse on every
            cell.
        cells: their kind, and what the driver knows of them.
        seed: of the cells and their pulses.
    """
    channels, height, width = image.shape
    array = PixelArray(process, planes=channels, pixels=height * width, cells=cells, seed=seed)
    array.write(process.clean_counts(image).reshape(channels, -1))
    seen, kept = [], 1.0
    for t in times:
        ratio = process.kept(t) / kept if kept > 0 else 0.0
        if ratio < 1:
            p = (1 - ratio) / 2
            pulse: Driven = p
            if isinstance(array.memory, MagnetoelectricMemory) and array.memory.junction is not None:
                pulse = array.memory.programmed(p)
            array.flip([pulse], np.ones(channels, np.int64))
        kept = process.kept(t)
        seen.append(np.round(array.counts * (255 / process.cells)).astype(np.uint8).reshape(image.shape))
    return np.stack(seen)


def _read_bits(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the bits that :meth:`PixelArray.save` kept, in the shape of the array."""
    cells = math.prod(shape)
    try:
        with safe_open(path, "numpy") as file:
            bits, checksum = file.get_tensor("bits"), (file.metadata() or {}).get("sha256")
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); it is no kept array") from None
    if bits.dtype != np.uint8 or bits.shape != (-(-cells // 8),) or hashlib.sha256(bits).hexdigest() != checksum:
        raise InputError(f"{path} is damaged, or keeps another array than one of {cells:,} cells")
    return np.unpackbits(bits, count=cells).reshape(shape)


def _memory(cells: CellSpec, *, rows: int, columns: int, seed: int) -> MagnetoelectricMemory:
    """An array of such cells; a constant model stands for the pulse of its own, which is never given."""
    access = None
    if cells.read_error:  # of a read whose noise takes a current over the middle so often
        noise = 0.5 / float(ndtri(1 - cells.read_error))
        access = Access(current_0=2.0, current_1=1.0, noise_0=noise, noise_1=noise)
    size: dict[str, Any] = {"rows": rows, "columns": columns, "model": SwitchingModel.constant(0.5, 0.5),
                            "access": access, "seed": seed}  # fmt: skip
    if cells.junction == IDEAL:
        if cells.unknown_field:
            raise InputError(f"unknown_field = {cells.unknown_field} T: ideal cells feel no field; name a junction")
        return MagnetoelectricMemory(**size)
    variation = Variation(K_eff=cells.K_eff_spread, stray_field=cells.stray_field_spread)
    junction = Junction.of(cells.junction)
    x, y, z = junction.B_bias
    return MagnetoelectricMemory(
        variation=variation, junction=replace(junction, B_bias=(x, y, z + cells.unknown_field)), **size
    )


def _drive(cells: CellSpec, memory: MagnetoelectricMemory | SourceCells) -> Drive:
    """The pulses that a driver chooses who does not know of the unknown field, given to cells that feel it."""
    how: dict[str, Any] = {"count": cells.pulses, "coin_tolerance": cells.coin_tolerance}
    if cells.balanced and not isinstance(memory, SourceCells) and memory.apart:
        raise InputError(
            f"balanced: half of the coins are toggled before anything is read, and a torque of {cells.junction} "
            "toggles only a bit that is known; leave balanced out"
        )
    if not cells.unknown_field or isinstance(memory, SourceCells):
        return Drive.of(memory, **how)
    known = _memory(cells.model_copy(update={"unknown_field": 0.0}), rows=256, columns=256, seed=memory.seed)
    chosen, junction = Drive.of(known, **how), memory.junction
    assert junction is not None
    told = progress_of_wait("solve pulses in the field (once)")
    responses = list[Driven]()

    def felt(pulse: PulseResponse) -> PulseResponse:
        return response(junction, pulse.pulse, pulse.halves)

    for pulse in chosen.pulses:
        if isinstance(pulse, PulsePair):
            responses.append(PulsePair(felt(pulse.zero), felt(pulse.one)))
        else:
            assert isinstance(pulse, PulseResponse)
            responses.append(felt(pulse))
        if told is not None:
            told(len(responses), len(chosen.pulses))
    return chosen.given_to(responses)
