"""A sampling run into a folder: images batch by batch, in parts, and again after a stop.

:func:`sample_into` is the frame: it claims the folder, finds what is left to do, and keeps every batch as it is
finished. A :class:`GaussianRun` or a :class:`BitFlipRun` fills it: which batches there are, how one is made, and what
``run.json`` says at the end.
"""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.capacity import check_memory, memory_errors
from voltaspin.core.errors import InputError, NoiseStoppedError
from voltaspin.core.folders import OutputFolder
from voltaspin.core.ledger import Ledger
from voltaspin.core.result import Result, RunRecord, Unit
from voltaspin.core.stopping import Stopped
from voltaspin.cost.images import ImageWork, image_costs
from voltaspin.cost.network import compute_cost
from voltaspin.cost.pricing import Draws
from voltaspin.device import Junction
from voltaspin.diffusion.backend import outputs_per_image
from voltaspin.diffusion.bitflip import load_model
from voltaspin.diffusion.bitflip.model import IDEAL
from voltaspin.diffusion.bitflip.sampling import BitSampler
from voltaspin.diffusion.pipelines import Pipeline
from voltaspin.diffusion.published import Unmodified, sample_unmodified
from voltaspin.diffusion.sampling import check_bits, normals_per_image, rows_for, sample
from voltaspin.memory import ArraySpec, convert
from voltaspin.memory.crossbar.layer import context_of
from voltaspin.noise import NoiseSource
from voltaspin.report.images import Batch, ImageRun, summed

Progress = Callable[[str, int, int], None]
Say = Callable[[str], None]

_COPIES = 12  # float32 arrays of an image's size that a batch holds at least: latents, noise and its bits


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


class BitFlipRecord(RunRecord):
    """What ``run.json`` says of the images of a bit-flip model.

    Args:
        seed, batch: the settings; ``cells``: of the array.
        model: ``folder`` and ``sha256``.
        images, steps: how many, and network evaluations of each.
        bits: of an image; ``planes``: of a grey level.
        per_image: pulses, reads, bytes and energy of one image; ``costs``: beside Gaussian samplers.
        levels: flip probabilities that were used; ``rounding``: what their choice did.
    """

    KIND: ClassVar[str] = "sample-bitflip"
    VERSION: ClassVar[int] = 2

    seed: int
    batch: int
    model: dict[str, str]
    cells: dict[str, Any]
    images: int
    steps: int
    bits: int
    planes: int
    precision: str
    per_image: dict[str, Any]
    costs: tuple[dict[str, Any], ...]
    levels: tuple[float, ...]
    rounding: dict[str, Any]
    seconds: Annotated[float, Unit("s")]
    ledger: dict[str, Any]


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
        if self.resume and self.force:
            raise InputError("resume goes on with a run and force begins it again; give one of them")

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
    kind = BitFlipRecord if data.get("kind") == BitFlipRecord.KIND else SampleRecord
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


class GaussianRun(SampleRun):
    """Images of a Gaussian model.

    Args:
        share: which images.
        pipeline: from :func:`voltaspin.diffusion.published.open_model`; ``source``: of all its noise.
        steps: network evaluations per image; ``sampler``: ``"ddpm"`` or ``"ddim"``, empty for the pipeline's own.
        eta: noise of DDIM.
        spec: of the crossbars in which the network computes; None computes digitally.
        settings: further ones for the record; with the source's provenance they decide the images.
        folder: of the model, as the user named it.

    Raises:
        InputError: a sampler or crossbars for a pipeline with a loop of its own; a part of a run whose noise has an
            order; a batch that does not fit into memory.
    """

    def __init__(
        self, share: Share, *, pipeline: Pipeline | Unmodified, source: NoiseSource, steps: int, sampler: str = "",
        eta: float = 0.0, spec: ArraySpec | None = None, settings: dict[str, Any], folder: str = "",
    ) -> None:  # fmt: skip
        super().__init__(share, steps)
        self.pipeline, self.source, self.eta = pipeline, source, eta
        unmodified = isinstance(pipeline, Unmodified)
        if isinstance(pipeline, Unmodified) and (sampler or spec is not None):
            given = f"sampler = {sampler!r}" if sampler else "compute = 'memory'"
            raise InputError(
                f"{folder} is a {pipeline.sampler}, which runs in its own loop; {given} is for pipelines of our "
                "samplers: leave it out"
            )
        self.kind: Literal["ddpm", "ddim"] = "ddim" if sampler == "ddim" else "ddpm"
        made_by = pipeline.sampler if isinstance(pipeline, Unmodified) else self.kind
        independent = source.addressable and not unmodified and spec is None
        self.in_order = not independent
        if share.split and not source.addressable:
            raise InputError(
                f"{source.name} hands out one sequence in the order of the work, so a part of a run cannot know which "
                "numbers are its own; leave shard= and first= out, or use noise = 'memory' or 'software'"
            )
        fitting = rows_for(pipeline.image_shape)
        self.rows = fitting if independent and share.batch >= fitting else 1
        if independent:
            self.groups = share.pieces(self.rows)
        else:
            self.groups = share.batches(
                f"{made_by} makes a batch together" if unmodified
                else "the network in arrays rounds by the batch" if spec is not None
                else "images get their numbers in the order of the work"
            )  # fmt: skip
        # Where the network sees the whole batch, the outputs of its largest layer and what that layer takes.
        network = pipeline.pipeline.unet if isinstance(pipeline, Unmodified) else pipeline.unet
        whole = 0 if independent else 2 * outputs_per_image(network, pipeline.image_shape)[1]
        check_memory(
            4 * max((len(g) for g in self.groups), default=0) * (_COPIES * math.prod(pipeline.image_shape) + whole),
            what=f"a batch of {share.batch} images", remedy="use a smaller batch",
        )  # fmt: skip
        self.counted = [source.ledger]
        self.written: dict[str, Any] | None = None
        if spec is not None and not isinstance(pipeline, Unmodified):
            converted, self.coverage = convert(pipeline.unet, spec)
            self.pipeline = replace(pipeline, unet=converted)
            self.context = context_of(converted)
            self.counted.append(self.context.ledger)
            self.written = self.context.ledger.to_dict()  # the weights, once for the run
        self.settings = {
            **settings, "sampler": made_by, "eta": eta, "batch": share.batch,
            "compute": "digital" if spec is None else spec.to_json(),
        }  # fmt: skip
        self.model = {"folder": folder or pipeline.folder.name, "sha256": pipeline.sha256}
        self.arguments = {
            **self.settings, "model": pipeline.sha256, "first": share.first, "count": share.count, "steps": steps,
            "shards": share.shard[1], "provenance": source.provenance.to_json(),
        }  # fmt: skip

    def begin(self, folder: OutputFolder, images: ImageRun, say: Say) -> None:
        source = self.source
        if images.done and self.in_order:
            try:
                source.load_state_dict(images.state or {})
            except InputError:
                say(
                    f"{source.name} cannot go back: the images that are missing get new numbers, not those that the "
                    "stopped run would have drawn"
                )
            else:
                if not source.addressable:
                    say(f"{source.name} goes on where it stood after the {images.images} images that are there")
        if not isinstance(self.pipeline, Unmodified) and not source.addressable:
            normals = normals_per_image(self.pipeline, steps=self.steps, sampler=self.kind, eta=self.eta)
            check_bits(source, images=sum(map(len, images.todo)), per_image=normals, steps=self.steps)

    def make(self, group: range, show: Callable[[int, int], None]) -> tuple[NDArray[np.uint8], Batch]:
        before = [ledger.copy() for ledger in self.counted]
        work: dict[str, Any] = {"count": len(group), "first": group.start, "batch": len(group), "steps": self.steps,
                                "eta": self.eta, "progress": show}  # fmt: skip
        if isinstance(self.pipeline, Unmodified):
            made = sample_unmodified(self.pipeline, self.source, **work)
            if made.unaddressed and self.share.split:
                raise InputError(
                    f"{self.pipeline.sampler} draws for no image in particular, so its images depend on all batches "
                    "before them; leave shard= and first= out"
                )
        else:
            rows = None if self.in_order else self.rows
            made = sample(self.pipeline, self.source, sampler=self.kind, rows=rows, **work)
        spent = Ledger("run")
        for now, then in zip(self.counted, before, strict=True):
            spent.children[now.name] = now.since(then)
        facts = {"steps": made.steps, "precision": made.precision, "normals_per_image": made.draws}
        if made.unaddressed:
            facts["unaddressed_draws_per_batch"] = made.unaddressed
        state = self.source.state_dict() if self.in_order else None
        return made.images, Batch(group, spent.to_dict(), made.seconds, made.noise_seconds, facts, state)

    def record(self, batches: Sequence[Batch]) -> SampleRecord:
        spent, images = summed(batches), sum(len(b.ids) for b in batches)
        cost = None
        if self.written is not None:
            computed = Ledger.from_dict(self.written)
            computed.merge(spent.child(computed.name))
            spent.children[computed.name] = computed
            self.context.ledger.counts, self.context.ledger.children = computed.counts, computed.children
            if self.coverage.macs is not None:
                assert isinstance(self.pipeline, Pipeline)
                cost = compute_cost(self.pipeline.unet, self.coverage, images=images).to_json()
        return SampleRecord(
            **self.settings, **batches[0].facts, model=self.model, images=images,
            seconds=sum(b.seconds for b in batches), noise_seconds=sum(b.noise_seconds for b in batches),
            provenance=self.source.provenance.to_json(), ledger=spent.totals(), compute_cost=cost,
        )  # fmt: skip


class BitFlipRun(SampleRun):
    """Images of a bit-flip model, made in the array that holds them.

    Args:
        share: which images; such a run cannot be split.
        folder: of the model.
        steps: those of its training; ``seed``: of the array's chance.

    Raises:
        InputError: no such model, other steps, or a part of a run.
    """

    in_order = True

    def __init__(self, share: Share, folder: Path, *, steps: int, seed: int) -> None:
        super().__init__(share, steps)
        self.model = load_model(folder)
        self.seed = seed
        if steps != len(self.model.process):
            raise InputError(f"steps = {steps}: {folder} was trained for {len(self.model.process)} steps; give these")
        if share.split:
            raise InputError(
                f"{folder} is a bit-flip model, whose array goes on from one batch to the next, so that an image "
                "depends on all before it; leave shard= and first= out"
            )
        self.groups = [share.ids[k : k + share.batch] for k in range(0, share.count, share.batch)]
        self.settings = {
            "seed": seed, "batch": share.batch, "model": {"folder": str(folder), "sha256": self.model.sha256},
            "cells": self.model.spec.cells.to_json(),
        }  # fmt: skip
        self.arguments = {**self.settings, "model": self.model.sha256, "count": share.count, "steps": steps}
        # The array after each batch: a stop between two writes leaves the one that belongs to the images.
        self.transient = [f".array-{k:06d}.safetensors" for k in range(len(self.groups) + 1)]

    def begin(self, folder: OutputFolder, images: ImageRun, say: Say) -> None:
        batch = self.share.batch
        with memory_errors(what=f"an array for {batch} images", remedy="use a smaller batch"):
            self.sampler = BitSampler(self.model, batch=min(batch, self.share.count), seed=self.seed)
        folder.plan(self.transient)
        self.place, self.at = folder.path, len(images.done)
        if images.done and images.state is not None:
            self.sampler.load(self.place / self.transient[self.at], images.state)

    def make(self, group: range, show: Callable[[int, int], None]) -> tuple[NDArray[np.uint8], Batch]:
        begin = time.monotonic()
        made = self.sampler.batch(progress=lambda t, total: show(len(group) * t, len(group) * total))
        if self.at:
            (self.place / self.transient[self.at - 1]).unlink(missing_ok=True)
        self.at += 1
        self.sampler.save(self.place / self.transient[self.at])
        spent = Ledger("run").to_dict()  # the array counts for itself
        return made[: len(group)], Batch(group, spent, time.monotonic() - begin, 0.0, {}, self.sampler.state())

    def record(self, batches: Sequence[Batch]) -> BitFlipRecord:
        samples = self.sampler.samples(self.share.count, seconds=sum(b.seconds for b in batches))
        spec, costs = self.model.spec, list[ImageWork]()
        if spec.cells.junction != IDEAL:
            costs = list(image_costs(samples, Junction.of(spec.cells.junction), draws=Draws(seed=self.seed)))
        each = samples.per_image
        return BitFlipRecord(
            **self.settings, images=self.share.count, steps=self.steps, bits=spec.planes * spec.size**2,
            planes=spec.bits, precision=samples.precision,
            per_image={
                "random_bits": each["pulse"], "pulses": each["pulse"], "reads": each["read"],
                "bytes_moved": each["byte"], "evaluations": each["evaluation"],
                "energy_pJ": costs[0].model_dump(mode="json")["energy"] if costs else None,
            },
            costs=tuple(work.to_json() for work in costs), levels=tuple(samples.levels),
            rounding=samples.rounding.to_json(), seconds=samples.seconds, ledger=samples.ledger.to_dict(),
        )  # fmt: skip
