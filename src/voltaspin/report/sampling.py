"""A sampling run into a folder: images batch by batch, in parts, and again after a stop.

:func:`sample_into` is the frame: it claims the folder, finds what is left to do, and keeps every batch as it is
finished. A run of :mod:`voltaspin.report.sampling_runs` fills it: which batches there are, how one is made, and what
``run.json`` says at the end.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from voltaspin.core.capacity import memory_errors
from voltaspin.core.errors import InputError, NoiseStoppedError
from voltaspin.core.files import check_ways
from voltaspin.core.folders import OutputFolder
from voltaspin.core.format import energies
from voltaspin.core.result import Result, RunRecord, Unit
from voltaspin.core.stopping import Stopped
from voltaspin.cost.images import ImageWork
from voltaspin.report.images import Batch, ImageRun

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]


class SampleRecord(RunRecord):
    """What ``run.json`` says of the images of a Gaussian model.

    Args:
        noise, seed, sampler, eta, batch, condition, recording, compute: the settings.
        input: what a recorded file was read as.
        model: ``folder`` and ``sha256``.
        images, steps: how many, and network evaluations of each.
        precision: of the network.
        normals_per_image: numbers that the sampler drew.
        seconds: wall time; ``noise_seconds`` of it in the source.
        provenance: of the noise; ``ledger``: what it cost.
        unaddressed_draws_per_batch: that belong to no image in particular.
        compute_cost: of a network in crossbars.
        churn: how many steps of DDIM began with fresh noise.
        label, guidance: of a model that is told a class, see :class:`voltaspin.diffusion.classes.Told`.
    """

    KIND: ClassVar[str] = "sample"
    VERSION: ClassVar[int] = 2

    noise: str
    seed: int
    sampler: str
    eta: float
    batch: int
    condition: str
    recording: dict[str, Any]
    input: dict[str, Any] | None = None
    compute: str | dict[str, Any]
    model: dict[str, str]
    images: int
    steps: int
    precision: str
    normals_per_image: int | float
    seconds: Annotated[float, Unit("s")]
    noise_seconds: Annotated[float, Unit("s")]
    provenance: dict[str, Any]
    ledger: dict[str, int]
    unaddressed_draws_per_batch: int | None = None
    compute_cost: dict[str, Any] | None = None
    label: int | str | None = None
    guidance: float | None = None
    churn: int | None = None


class InPlaceRecord(RunRecord):
    """What ``run.json`` says of images that diffused in an array.

    Args:
        noise, condition, recording, seed, batch, cells_per_pixel, variance, order, reads: the settings; ``cells``: of
            the array; ``provenance``: of its chance.
        input: what a recorded file was read as.
        label, guidance: of a model that is told a class.
        model: ``folder`` and ``sha256``; ``trained``: on counts of so many cells a pixel, or None.
        images, steps: how many, and network evaluations of each.
        per_image: random bits, pulses, reads, bytes and energy of one image; ``costs``: beside Gaussian samplers.
        coin: probability of a one after the coin; ``flips``: mean p01 and p10 of the programmed pulses; ``rounding``:
            what their finite number did.
    """

    KIND: ClassVar[str] = "sample-inplace"

    noise: str
    condition: str = ""
    recording: dict[str, Any] = Field(default_factory=dict)
    input: dict[str, Any] | None = None
    provenance: dict[str, Any]
    seed: int
    batch: int
    cells_per_pixel: int
    variance: str
    order: int = 1
    label: int | str | None = None
    guidance: float | None = None
    reads: str
    model: dict[str, str]
    trained: int | None = None
    cells: dict[str, Any]
    images: int
    steps: int
    precision: str
    per_image: dict[str, Any]
    costs: tuple[dict[str, Any], ...]
    coin: float
    flips: tuple[tuple[float, float], ...]
    rounding: dict[str, Any]
    seconds: Annotated[float, Unit("s")]
    ledger: dict[str, Any]

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people: the images, what one took beside Gaussian ones, the coin, the time."""
        counts = {name: n for name, n in self.per_image.items() if isinstance(n, int | float)}
        cells = f"{self.cells_per_pixel} {self.cells['junction']} cells a pixel"
        rows = [("images", f"{self.images} of {self.steps} network evaluations, {cells}"),
                ("noise", str(self.provenance.get("description", self.noise))),
                ("per image", ", ".join(f"{n:,.0f} {k.replace('_', ' ')}" for k, n in counts.items()))]  # fmt: skip
        for work in (ImageWork.from_json(one) for one in self.costs):
            whole = "".join(f", {energies(e)} of all with the network in {w}" for w, e in work.whole.items())
            rows.append((f"energy of one, {work.name}", f"{energies(work.energy['macro'])} at the macro, "
                         f"{energies(work.moving)} of the bytes{whole}"))  # fmt: skip
        return [*rows, ("coin", f"a one with {self.coin:.4f}"), ("time", f"{self.seconds:.1f} s")]


class PartialSample(Result):
    """A part of a run whose other parts have images left to make."""

    KIND: ClassVar[str] = "sample-part"

    folder: str
    part: str
    images: int
    finished: Literal[False] = False


@dataclass(frozen=True)
class Share:
    """Which images of a run this process makes, and how it treats what is in the folder.

    Args:
        first, count, batch: of the whole run.
        shard: ``(i, N)``, the part i from 1 to N.
        resume: make what is missing; ``force``: begin again.

    Raises:
        InputError: a part that does not exist, image numbers beyond 2**60, or both resume and force.
    """

    first: int
    count: int
    batch: int
    shard: tuple[int, int] = (1, 1)
    resume: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        i, n = self.shard
        if not 1 <= i <= n <= 10**6:
            raise InputError(f"shard = {i}/{n}: give i/N, with i from 1 to N, e.g. 2/4")
        if self.first + self.count > 2**60:
            raise InputError(f"first = {self.first} and count = {self.count}: image numbers end at 2**60")
        check_ways(resume=self.resume, force=self.force)

    @property
    def ids(self) -> range:
        return range(self.first, self.first + self.count)

    @property
    def split(self) -> bool:
        """Whether only a part of a larger run is asked for."""
        return self.shard[1] > 1 or self.first > 0

    @property
    def job(self) -> str:
        return "run" if self.shard[1] == 1 else "{}-of-{}".format(*self.shard)

    def pieces(self, rows: int) -> list[range]:
        """Return the batches of this part, where the pixels of an image depend on no other: a stretch of the images.

        Args:
            rows: images that the network sees at once; stretches end at multiples of it where there are enough.
        """
        i, n = self.shard
        step = rows if self.count >= n * rows else 1
        first, last = (self.count if k == n else self.count * k // n // step * step for k in (i - 1, i))
        size = max(1, self.batch // rows * rows)
        stretch = self.ids[first:last]
        return [stretch[k : k + size] for k in range(0, len(stretch), size)]

    def batches(self, why: str) -> list[range]:
        """Return the batches of this part, where an image depends on its batch: whole batches of the undivided run.

        Args:
            why: it depends on it, for the message.
        """
        i, n = self.shard
        if self.first % self.batch:
            raise InputError(
                f"first = {self.first}: {why}, so a part begins where a batch does; give a multiple of batch = "
                f"{self.batch}"
            )
        whole = [self.ids[k : k + self.batch] for k in range(0, self.count, self.batch)]
        if len(whole) < n:
            raise InputError(
                f"shard = {i}/{n}: {why}, so only whole batches can be shared out, and {self.count} images are "
                f"{len(whole)} of {self.batch}; give batch = {max(1, self.count // n)}"
            )
        return whole[i - 1 :: n]


class SampleRun(ABC):
    """One way to make images.

    A subclass sets ``groups`` (the batches of this process), ``settings`` (for the record), ``arguments`` (what
    decides the images), ``in_order`` (whether a batch depends on those before it) and ``transient`` (files that go once
    all images are there).
    """

    transient: Sequence[str] = ()

    groups: list[range]
    settings: dict[str, Any]
    arguments: dict[str, Any]
    in_order: bool

    def __init__(self, share: Share, steps: int) -> None:
        self.share, self.steps = share, steps

    @abstractmethod
    def begin(self, folder: OutputFolder, images: ImageRun, say: Say) -> None:
        """Get ready to make ``images.todo``, after the images that are there."""

    @abstractmethod
    def make(self, group: range, show: Callable[[int, int], None]) -> tuple[NDArray[np.uint8], Batch]:
        """Return the images of one batch and what they cost; ``show(done, total)`` reports image steps."""

    @abstractmethod
    def record(self, batches: Sequence[Batch]) -> Result:
        """Return what ``run.json`` says of all batches."""


def sample_into(out: Path, run: SampleRun, *, progress: Progress, say: Say) -> Result:
    """Make the images of a run, or of a part of one, in a folder.

    Args:
        out: the folder.
        run: what is made.
        progress: called as ``progress("sample", done, total)`` with image steps.
        say: told what a user should know of a run that goes on.

    Returns:
        The record of the run where all its images are there, else a :class:`PartialSample`.

    Raises:
        InputError: the folder holds another run or cannot be written; the noise has an end.
    """
    share = run.share
    how: dict[str, Any] = {"force": share.force, "resume": share.resume, "job": share.job}
    with OutputFolder.claim(out, command="sample", arguments=run.arguments, **how) as folder:
        if share.resume and folder.record:
            if not folder.same_run:
                raise InputError(
                    f"{out} holds another run ({_difference(folder.record, run.arguments)}); give its settings"
                )
            if folder.record.get("finished") is True:
                say(f"{out}: all images are there, nothing is left to do")
                return _record_of(folder)
        images = ImageRun(folder, share.ids, run.groups, job=share.job, resume=share.resume, in_order=run.in_order)
        run.begin(folder, images, say)
        _work_off(out, run, images, progress)
        folder.forget(run.transient)
        finished = images.finish(lambda batches: run.record(batches).to_json())
        for name in run.transient:
            (folder.path / name).unlink(missing_ok=True)
        if finished is None:
            return PartialSample(folder=str(out), part=share.job, images=images.images)
        return _record_of(folder)


def _record_of(folder: OutputFolder) -> Result:
    data = folder.read()
    kind = InPlaceRecord if data.get("kind") == InPlaceRecord.KIND else SampleRecord
    return kind.from_json(data, where=str(folder.path / "run.json"))


def _work_off(out: Path, run: SampleRun, images: ImageRun, progress: Progress) -> None:
    """Make what is left, batch by batch."""
    total, at = sum(map(len, images.todo)) * run.steps, 0
    progress("sample", 0, total)
    try:
        for group in images.todo:

            def show(done: int, whole: int, at: int = at) -> None:
                progress("sample", at + done, total)

            with memory_errors(what=f"a batch of {run.share.batch} images", remedy="use a smaller batch"):
                try:
                    images.keep(*run.make(group, show))
                except NoiseStoppedError as stopped:
                    images.stop(lambda batches: run.record(batches).to_json())
                    if not images.done:
                        raise
                    raise InputError(f"{stopped}; {images.images} images before them are in {out}") from None
            at += len(group) * run.steps
    except Stopped as stopped:
        if images.done:
            stopped.kept = f"{images.images} images are finished and in {out}; continue with resume=True"
        raise


def _difference(record: dict[str, Any], arguments: dict[str, Any]) -> str:
    """The first argument in which a recorded run differs."""
    before = record.get("arguments")
    if not isinstance(before, dict):
        return "of an earlier version, which does not say how to go on"
    for name, value in json.loads(json.dumps(arguments)).items():
        if before.get(name) != value:
            return f"{name} was {_short(before.get(name))} and is {_short(value)} now"
    return "with more options"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
