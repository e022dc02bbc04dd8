"""Images from bits that flip back in the array that stores them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.diffusion.backend import bf16_is_faster, keep_freed_memory
from voltaspin.diffusion.bitflip.backward import reverse
from voltaspin.diffusion.bitflip.levels import COUNT, Levels, Rounding
from voltaspin.diffusion.bitflip.model import BitModel, make_array
from voltaspin.diffusion.bitflip.network import clean_logits, kept_prediction
from voltaspin.diffusion.bitflip.process import Bits, from_planes
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.memory.pulses import PulseResponse


@dataclass(frozen=True)
class BitSamples:
    """What :func:`sample` made.

    Args:
        images: uint8 (n, channels, h, w).
        steps: network evaluations per image.
        seconds: wall time.
        ledger: pulses (by pulse), writes, reads, bytes and network evaluations of all images.
        rounding: what the choice of levels did to the probabilities.
        levels: flip probabilities that were used.
        pulses: (name in the ledger, voltage [V], width [s]) of all that were given; none in ideal cells.
        precision: of the network.
        path: planes of the first image at the times in ``path_times``, uint8 (len, planes, h, w).
        path_times: descending, 0 last.
    """

    images: NDArray[np.uint8]
    steps: int
    seconds: float
    ledger: Ledger
    rounding: Rounding
    levels: tuple[float, ...]
    pulses: tuple[tuple[str, float, float], ...]
    precision: str
    path: Bits
    path_times: tuple[int, ...]

    @property
    def per_image(self) -> dict[str, float]:
        """Counts of the ledger for one image."""
        return {action: n / len(self.images) for action, n in self.ledger.totals().items()}


@torch.no_grad()
def sample(
    model: BitModel,
    *,
    count: int,
    batch: int = 64,
    seed: int = 0,
    levels: int = COUNT,
    dither: bool = True,
    calibrated: bool = False,
    precision: Literal["auto", "bf16", "float32"] = "float32",
    progress: Callable[[int, int], None] | None = None,
) -> BitSamples:
    """Generate images in an array; every random bit is a pulse of it.

    Args:
        model: from :func:`~voltaspin.diffusion.bitflip.model.load_model`; its T steps are the network evaluations.
        count: images.
        batch: images that the array holds; the next ones go into the same cells. An image depends on its batch.
        seed: of the array's variation and pulses.
        levels: pulses that a driver is asked for at most, see :class:`~voltaspin.diffusion.bitflip.levels.Levels`.
        dither: see there.
        calibrated: each cell's response was measured once, and its pulses are chosen by it.
        precision: of the network.
        progress: called as ``progress(image_steps_done, image_steps_in_all)``.

    Raises:
        InputError: a count or batch below 1; a junction whose pulses cannot flip as asked.

    What is moved for an image and a step: its bits to the network, and for each cell the number of the pulse that it
    gets back; with self-conditioning also a byte for each bit to a buffer and back; where cells are calibrated a byte
    that says how each responds.
    """
    for name, value in (("count", count), ("batch", batch)):
        if value < 1:
            raise InputError(f"{name}={value}: give at least 1 image")
    sampler = BitSampler(
        model, batch=min(batch, count), seed=seed, levels=levels, dither=dither, calibrated=calibrated,
        precision=precision,
    )  # fmt: skip
    started, steps, images = time.monotonic(), len(model.process), []
    for start in range(0, count, sampler.size):

        def show(done: int, _: int, start: int = start) -> None:
            if progress is not None:
                progress(min(start * steps + sampler.size * done, count * steps), count * steps)

        images.append(sampler.batch(progress=show))
    made = sampler.samples(count, seconds=time.monotonic() - started)
    return replace(made, images=np.concatenate(images)[:count])


class BitSampler:
    """An array that makes one batch of images after the other; see :func:`sample` for the arguments.

    ``save`` and ``load`` let another process go on with the next batch as if nothing had happened.
    """

    def __init__(
        self,
        model: BitModel,
        *,
        batch: int,
        seed: int = 0,
        levels: int = COUNT,
        dither: bool = True,
        calibrated: bool = False,
        precision: Literal["auto", "bf16", "float32"] = "float32",
    ) -> None:
        keep_freed_memory()
        spec = model.spec
        self.model, self.size, self.batches = model, batch, 0
        self._dither, self._calibrated, self._levels = dither, calibrated, levels
        self._device = model.unet.device
        self._bf16 = precision == "bf16" or (precision == "auto" and bf16_is_faster(self._device.type))
        self._shape = (spec.planes, spec.size, spec.size)
        self.rounding = Rounding()
        self._path: list[Bits] = []
        steps = len(model.process)
        self._times = tuple(sorted({round(steps * k / 6) for k in range(6, -1, -1)}, reverse=True))
        self._use(make_array(spec.cells, rows=batch * spec.planes, columns=spec.size**2, seed=seed))

    def _use(self, memory: MagnetoelectricMemory) -> None:
        self.memory = memory
        self._chosen = Levels.of(memory, count=self._levels)
        if self._calibrated:
            self._chosen = self._chosen.calibrated(memory)

    @torch.no_grad()
    def batch(self, *, progress: Callable[[int, int], None] | None = None) -> NDArray[np.uint8]:
        """The next images: uint8 (batch, channels, h, w). ``progress`` is called with (steps done, in all)."""
        model, spec, shape, device = self.model, self.model.spec, self._shape, self._device
        first, odds = self.batches == 0, model.evidence.to(device)
        before = torch.zeros(self.size, *shape, device=device) if spec.self_condition else None

        def predict(bits: Bits, t: int) -> NDArray[np.float32]:
            nonlocal before
            planes = bits.reshape(self.size, *shape)
            if first and t in self._times:
                self._path.append(planes[0].copy())
            x = torch.from_numpy(planes).to(device).float() * 2 - 1
            with torch.autocast(device.type, torch.bfloat16, enabled=self._bf16):
                logits = clean_logits(model.unet, x, before, torch.full((self.size,), t, device=device), odds)
            if before is not None:
                before = kept_prediction(logits)
            return torch.sigmoid(logits).cpu().numpy().reshape(bits.shape)

        bits = reverse(model.process, self.memory, predict, levels=self._chosen, dither=self._dither,
                       rounding=self.rounding, progress=progress)  # fmt: skip
        if first:
            self._path.append(bits.reshape(self.size, *shape)[0].copy())
        self.batches += 1
        return from_planes(bits.reshape(self.size, *shape), bits=spec.bits, gray=spec.gray)

    def samples(self, count: int, *, seconds: float) -> BitSamples:
        """What all batches so far have counted, for ``count`` images of theirs; black images stand for them."""
        spec, steps, made = self.model.spec, len(self.model.process), self.batches * self.size
        moved = moved_per_step(
            spec.planes * spec.size**2, len(self._chosen.flips), self_condition=spec.self_condition,
            calibrated=self._calibrated,
        )  # fmt: skip
        ledger = _counted(self.memory, made, steps, moved)
        path = np.stack(self._path) if self._path else np.empty((0, *self._shape), np.uint8)
        return BitSamples(
            images=np.broadcast_to(np.uint8(0), (count, spec.channels, spec.size, spec.size)), steps=steps,
            seconds=seconds,
            ledger=_share(ledger, count, made), rounding=self.rounding,
            levels=tuple(float(p) for p in self._chosen.flips), pulses=_given(self.memory, self._chosen),
            precision="bf16" if self._bf16 else "float32", path=path, path_times=self._times,
        )  # fmt: skip

    def save(self, path: Path) -> None:
        """Keep the array; :meth:`state` is the rest."""
        self.memory.save(path)

    def state(self) -> dict[str, Any]:
        return {"batches": self.batches, "rounding": asdict(self.rounding)}

    def load(self, path: Path, state: Mapping[str, Any]) -> None:
        """Go on after the batch that was saved; only the path of the first image is not known again."""
        self._use(MagnetoelectricMemory.load(path))
        self.batches, self.rounding = int(state["batches"]), Rounding(**state["rounding"])


def moved_per_step(cells: int, levels: int, *, self_condition: bool, calibrated: bool = False) -> int:
    """Bytes moved for an image at each step: bits out, numbers of pulses back, and what :func:`sample` names."""
    number = max(1, int(np.ceil(np.log2(levels))))
    return -(-cells // 8) + -(-cells * number // 8) + (2 * cells if self_condition else 0) + calibrated * cells


def _given(memory: MagnetoelectricMemory, levels: Levels) -> tuple[tuple[str, float, float], ...]:
    if memory.junction is None:
        return ()
    answers = {p.name: p for p in (memory.programmed(0.5), *levels.pulses) if isinstance(p, PulseResponse)}
    return tuple(
        (name, a.pulse.voltage, a.pulse.width) for name, a in answers.items() if name in memory.ledger.children
    )


def _counted(memory: MagnetoelectricMemory, made: int, steps: int, moved: int) -> Ledger:
    run = Ledger("bit-flip sampling")
    run.children["memory"] = memory.ledger
    run.child("network").count("evaluation", made * steps)
    run.child("network").count("byte", made * steps * moved)
    return run


def _share(ledger: Ledger, count: int, made: int) -> Ledger:
    """The part of ``count`` images of ``made``: the last batch may be larger than what was asked for."""
    if count == made:
        return ledger

    def scaled(data: dict[str, Any]) -> dict[str, Any]:
        counts = {action: round(n * count / made) for action, n in data["counts"].items()}
        return {**data, "counts": counts, "children": [scaled(child) for child in data["children"]]}

    return Ledger.from_dict(scaled(ledger.to_dict()))
