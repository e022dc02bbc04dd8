"""The runs that make images into a folder: with the noise of a source, and in an array."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.capacity import check_memory, memory_errors
from voltaspin.core.errors import InputError
from voltaspin.core.folders import OutputFolder
from voltaspin.core.ledger import Ledger
from voltaspin.cost.images import ImageWork, whole_image_costs
from voltaspin.cost.network import compute_cost
from voltaspin.cost.table import Draws
from voltaspin.device import Junction
from voltaspin.diffusion.backend import outputs_per_image
from voltaspin.diffusion.classes import Told
from voltaspin.diffusion.inplace.array import IDEAL, CellSpec
from voltaspin.diffusion.inplace.sampling import CELLS_PER_PIXEL, InPlaceOptions, InPlaceSampler, Variance
from voltaspin.diffusion.inplace.training import InPlaceSpec, trained_for
from voltaspin.diffusion.pipelines import Pipeline
from voltaspin.diffusion.published import Unmodified, sample_unmodified
from voltaspin.diffusion.samplers import SAMPLERS, by_name, steps_for
from voltaspin.diffusion.sampling import check_bits, drawing_steps, normals_per_image, rows_for, sample, time_steps
from voltaspin.diffusion.stepping import SteppedPipeline, check_steps
from voltaspin.memory import ArraySpec, convert, trace
from voltaspin.memory.crossbar.counting import NETWORK
from voltaspin.memory.crossbar.layer import context_of
from voltaspin.noise import NoiseSource
from voltaspin.report.images import Batch, ImageRun, summed
from voltaspin.report.sampling import InPlaceRecord, SampleRecord, SampleRun, Say, Share

_COPIES = 12  # float32 arrays of an image's size that a batch holds at least: latents, noise and its bits


class GaussianRun(SampleRun):
    """Images of a Gaussian model.

    Args:
        share: which images.
        pipeline: from :func:`voltaspin.diffusion.published.open_model`; ``source``: of all its noise.
        steps: network evaluations per image; ``sampler``: one of :data:`voltaspin.diffusion.samplers.NAMES`, empty for
            the pipeline's own.
        eta: noise of DDIM.
        spec: of the crossbars in which the network computes; None computes digitally.
        settings: further ones for the record; with the source's provenance they decide the images.
        folder: of the model, as the user named it.
        label, guidance: of a model that is told a class.
        churn: how many steps of ``ddim`` begin with fresh noise.

    Raises:
        InputError: a sampler or crossbars for a pipeline with a loop of its own; a part of a run whose noise has an
            order; a batch that does not fit into memory.
    """

    def __init__(
        self, share: Share, *, pipeline: Pipeline | Unmodified, source: NoiseSource, steps: int, sampler: str = "",
        eta: float = 0.0, spec: ArraySpec | None = None, settings: dict[str, Any], folder: str = "",
        label: int | str | None = None, guidance: float | None = None, churn: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(share, steps)
        self.told = Told.of(None if isinstance(pipeline, Unmodified) else pipeline.classes, label, guidance)
        named = sampler if sampler in SAMPLERS and isinstance(pipeline, Pipeline) else ""
        if named and isinstance(pipeline, Pipeline):
            if spec is not None or churn is not None:
                given = "compute = 'memory'" if spec is not None else f"churn = {churn}"
                raise InputError(f"{given} is not taken with sampler = {named!r}; use ddpm or ddim")
            pipeline, self.steps, sampler = by_name(pipeline, named, self.told), steps_for(named, steps), ""
        self.pipeline, self.source, self.eta, self.churn = pipeline, source, eta, churn
        unmodified = isinstance(pipeline, Unmodified)
        if isinstance(pipeline, Unmodified) and (sampler or spec is not None or churn is not None):
            given = f"sampler = {sampler!r}" if sampler else "compute = 'memory'" if spec else f"churn = {churn}"
            raise InputError(
                f"{folder} is a {pipeline.sampler}, which runs in its own loop; {given} is for pipelines of our "
                "samplers: leave it out"
            )
        if isinstance(pipeline, Unmodified) and isinstance(pipeline.pipeline, SteppedPipeline):
            check_steps(pipeline.pipeline.scheduler, self.steps)
        if not isinstance(pipeline, Unmodified):
            drawing_steps(pipeline, steps=steps, sampler="ddim" if sampler == "ddim" else "ddpm", eta=eta, churn=churn)
        if self.told is not None and spec is not None:
            raise InputError("a network that is told a class does not compute in arrays yet; leave compute= out")
        self.kind: Literal["ddpm", "ddim"] = "ddim" if sampler == "ddim" else "ddpm"
        made_by = named or (pipeline.sampler if isinstance(pipeline, Unmodified) else self.kind)
        independent = source.addressable and not unmodified and spec is None
        self.in_order = not independent
        if share.split and not source.addressable:
            raise InputError(
                f"{source.name} hands out one sequence in the order of the work, so a part of a run cannot know which "
                "numbers are its own; leave shard= and first= out, or use noise = 'memory' or noise = 'software'"
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
            self.traced, self.spec = trace(pipeline.unet), spec
            converted, _ = convert(pipeline.unet, spec)
            self.pipeline = replace(pipeline, unet=converted)
            self.context = context_of(converted)
            self.counted.append(self.context.ledger)
            self.written = self.context.ledger.to_dict()  # the weights, once for the run
        self.settings = {
            **settings, "sampler": made_by, "eta": eta, "batch": share.batch,
            "compute": "digital" if spec is None else spec.to_json(),
        }  # fmt: skip
        if churn is not None:
            self.settings["churn"] = churn
        if self.told is not None:
            self.settings |= {"label": self.told.label, "guidance": self.told.guidance}
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
            normals = normals_per_image(
                self.pipeline, steps=self.steps, sampler=self.kind, eta=self.eta, churn=self.churn
            )
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
            made = sample(
                self.pipeline, self.source, sampler=self.kind, rows=rows, told=self.told, churn=self.churn, **work
            )
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
            if self.traced.macs is not None:
                evaluations = computed.child(NETWORK).total("evaluation") / images
                cost = compute_cost(self.traced, self.spec, evaluations=evaluations).to_json()
        return SampleRecord(
            **self.settings, **batches[0].facts, model=self.model, images=images,
            seconds=sum(b.seconds for b in batches), noise_seconds=sum(b.noise_seconds for b in batches),
            provenance=self.source.provenance.to_json(), ledger=spent.totals(), compute_cost=cost,
        )  # fmt: skip


class InPlaceRun(SampleRun):
    """Images that diffuse in the array that holds them.

    Args:
        share: which images; such a run cannot be split.
        pipeline: any Gaussian model, trained on counts or not; ``folder``: as the user named it.
        steps: network evaluations per image; ``seed``: of the array's chance.
        cells_per_pixel: N; None takes what the model was trained for, else 31.
        cells: None takes what the model was trained for, else generator cells.
        variance, order, reads, source: see :class:`voltaspin.diffusion.inplace.InPlaceOptions`.
        settings: further ones for the record, of the source.
        label, guidance: of a model that is told a class.

    Raises:
        InputError: a pipeline with a loop of its own, steps that its schedule lacks, or a part of a run.
    """

    in_order = True

    def __init__(
        self, share: Share, *, pipeline: Pipeline | Unmodified, folder: str, steps: int, seed: int,
        cells_per_pixel: int | None = None, cells: CellSpec | None = None, variance: Variance = "average",
        order: Literal[1, 2] = 1, reads: Literal["drawn", "all"] = "drawn", source: NoiseSource | None = None,
        settings: dict[str, Any] | None = None, label: int | str | None = None, guidance: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(share, steps)
        if isinstance(pipeline, Unmodified):
            raise InputError(
                f"{folder} is a {pipeline.sampler}, which runs in its own loop; only models of a DDPM or DDIM schedule "
                "diffuse in an array: leave in_place out"
            )
        if share.split:
            raise InputError(
                "an array goes on from one batch to the next, so that an image in place depends on all before it; "
                "leave shard= and first= out"
            )
        time_steps(pipeline.scheduler, steps)
        told = Told.of(pipeline.classes, label, guidance)
        trained = trained_for(pipeline.folder)
        known = trained or InPlaceSpec(cells_per_pixel=CELLS_PER_PIXEL)
        self.pipeline = pipeline
        self.options = InPlaceOptions(
            steps=steps, batch=min(share.batch, share.count), seed=seed, variance=variance, order=order, reads=reads,
            source=source, told=told,
            cells_per_pixel=cells_per_pixel or known.cells_per_pixel,
            cells=CellSpec(junction=IDEAL) if source is not None else cells or known.cells,
        )  # fmt: skip
        self.options.cells.check_junction()
        self.groups = [share.ids[k : k + share.batch] for k in range(0, share.count, share.batch)]
        self.settings = {
            **(settings or {"noise": "memory"}), "provenance": self._provenance(),
            "seed": seed, "batch": share.batch, "variance": variance,
            "cells_per_pixel": self.options.cells_per_pixel,
            "reads": reads, "model": {"folder": folder or pipeline.folder.name, "sha256": pipeline.sha256},
            "trained": None if trained is None else trained.cells_per_pixel, "cells": self.options.cells.to_json(),
            **({} if order == 1 else {"order": order}),  # folders that were begun without it go on
            **({} if told is None else {"label": told.label, "guidance": told.guidance}),
        }  # fmt: skip
        self.arguments = {**self.settings, "model": pipeline.sha256, "count": share.count, "steps": steps}
        # The array after each batch: a stop between two writes leaves the one that belongs to the images.
        self.transient = [f".array-{k:06d}.safetensors" for k in range(len(self.groups) + 1)]

    def _provenance(self) -> dict[str, Any]:
        if self.options.source is not None:
            return self.options.source.provenance.to_json()
        return {"kind": "simulated", "description": f"pulses of an array of {self.options.cells.junction} cells"}

    def begin(self, folder: OutputFolder, images: ImageRun, say: Say) -> None:
        if self.pipeline.unet.config.out_channels == 2 * self.pipeline.image_shape[0]:
            say("the model's learned variance is left out: an array's steps have the variance of its cells")
        with memory_errors(what=f"an array for {self.share.batch} images", remedy="use a smaller batch"):
            self.sampler = InPlaceSampler(self.pipeline, self.options)
        folder.plan(self.transient)
        self.place, self.at = folder.path, len(images.done)
        if images.done and images.state is not None:
            try:
                self.sampler.load(self.place / self.transient[self.at], images.state)
            except InputError:
                if self.options.source is None:
                    raise
                say(f"{self.options.source.name} cannot go back: the images that are missing get new bits")

    def make(self, group: range, show: Callable[[int, int], None]) -> tuple[NDArray[np.uint8], Batch]:
        begin = time.monotonic()
        made = self.sampler.batch(progress=lambda t, total: show(len(group) * t, len(group) * total))
        if self.at:
            (self.place / self.transient[self.at - 1]).unlink(missing_ok=True)
        self.at += 1
        self.sampler.save(self.place / self.transient[self.at])
        spent = Ledger("run").to_dict()  # the array counts for itself
        return made[: len(group)], Batch(group, spent, time.monotonic() - begin, 0.0, {}, self.sampler.state())

    def record(self, batches: Sequence[Batch]) -> InPlaceRecord:
        shape = (sum(len(b.ids) for b in batches), *self.pipeline.image_shape)
        samples = self.sampler.samples(np.broadcast_to(np.uint8(0), shape), seconds=sum(b.seconds for b in batches))
        costs = list[ImageWork]()
        if self.options.cells.junction != IDEAL:
            junction, draws = Junction.of(self.options.cells.junction), Draws(seed=self.options.seed)
            costs = list(whole_image_costs(samples, self.pipeline, junction, draws=draws))
        each = samples.per_image
        return InPlaceRecord(
            **self.settings, images=len(samples.images), steps=self.steps, precision=samples.precision,
            per_image={
                "cells": self.options.cells_per_pixel * math.prod(shape[1:]), "random_bits": samples.random_bits,
                "pulses": each["pulse"], "reads": each["read"], "bytes_moved": each["byte"],
                "evaluations": each["evaluation"],
                "energy_pJ": costs[0].model_dump(mode="json")["energy"] if costs else None,
            },
            costs=tuple(work.to_json() for work in costs), coin=samples.coin, flips=samples.flips,
            rounding=samples.rounding.to_json(), seconds=samples.seconds, ledger=samples.ledger.to_dict(),
        )  # fmt: skip
