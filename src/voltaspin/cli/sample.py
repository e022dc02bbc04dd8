"""What ``voltaspin sample`` does once its options are read: images batch by batch, in parts, and again after a stop."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voltaspin.cli.terminal import print_json, progress_bars
from voltaspin.core.capacity import check_memory, memory_errors
from voltaspin.core.errors import InputError, NoiseStoppedError
from voltaspin.core.folders import OutputFolder
from voltaspin.core.ledger import Ledger
from voltaspin.core.stopping import Stopped

if TYPE_CHECKING:
    from voltaspin.diffusion.pipelines import Pipeline
    from voltaspin.diffusion.published import Unmodified
    from voltaspin.diffusion.sampling import Samples
    from voltaspin.memory import ArraySpec
    from voltaspin.noise import NoiseSource
    from voltaspin.report.images import ImageRun

_COPIES = 12  # float32 arrays of an image's size that a batch holds at least: latents, noise and its bits


@dataclass(frozen=True)
class Part:
    """Which images of a run this process makes, and how it treats what is in the folder.

    Args:
        first, count, batch: of the whole run.
        shard: ``(i, N)``, the part i from 1 to N.
        resume, force: as the options.
    """

    first: int
    count: int
    batch: int
    shard: tuple[int, int]
    resume: bool
    force: bool

    @classmethod
    def of(cls, *, first: int, count: int, batch: int, shard: str, resume: bool, force: bool) -> Part:
        """From the options; raises InputError for a shard that is none."""
        i, _, n = (shard or "1/1").partition("/")
        if not (i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n) <= 10**6):
            raise InputError(f"--shard {shard!r}: give i/N, with i from 1 to N, e.g. 2/4")
        if first + count > 2**60:
            raise InputError(f"--first {first} --count {count}: image numbers end at 2**60")
        if resume and force:
            raise InputError("--resume goes on with a run and --force begins it again; give one of them")
        return cls(first, count, batch, (int(i), int(n)), resume, force)

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
        """Batches of this part, where the pixels of an image depend on no other: a stretch of the images.

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
        """Batches of this part, where an image depends on its batch: whole batches of the undivided run.

        Args:
            why: it depends on it, for the message.
        """
        i, n = self.shard
        if self.first % self.batch:
            raise InputError(
                f"--first {self.first}: {why}, so a part begins where a batch does; give a multiple of --batch "
                f"{self.batch}"
            )
        whole = [self.ids[k : k + self.batch] for k in range(0, self.count, self.batch)]
        if len(whole) < n:
            raise InputError(
                f"--shard {i}/{n}: {why}, so only whole batches can be shared out, and {self.count} images are "
                f"{len(whole)} of {self.batch}; give --batch {max(1, self.count // n)}"
            )
        return whole[i - 1 :: n]


def run_sampling(
    out: Path,
    part: Part,
    *,
    pipeline: Pipeline | Unmodified,
    source: NoiseSource,
    settings: dict[str, Any],
    model: dict[str, str],
    steps: int,
    sampler: str,
    eta: float,
    spec: ArraySpec | None,
    as_json: bool,
) -> None:
    """Sample a Gaussian model into a folder.

    Args:
        out: the folder, and ``part``: which images.
        pipeline: from ``open_model``.
        source: of all its noise.
        settings, model: for ``run.json``; with the source's provenance they decide the images.
        steps, sampler, eta: of the sampling.
        spec: of the crossbars in which the network computes; None computes digitally.
        as_json: print the record.
    """
    from voltaspin.core.spec import environment
    from voltaspin.diffusion.backend import outputs_per_image
    from voltaspin.diffusion.published import Unmodified, sample_unmodified
    from voltaspin.diffusion.sampling import check_bits, normals_per_image, rows_for, sample
    from voltaspin.report.images import Batch, ImageRun, summed

    kind: Any = "ddim" if sampler == "ddim" else "ddpm"
    unmodified = isinstance(pipeline, Unmodified)
    made_by = pipeline.sampler if isinstance(pipeline, Unmodified) else sampler
    independent = source.addressable and not unmodified and spec is None
    if part.split and not source.addressable:
        raise InputError(
            f"{source.name} hands out one sequence in the order of the work, so a part of a run cannot know which "
            "numbers are its own; leave --shard and --first out, or use --noise memory or software"
        )
    rows = rows_for(pipeline.image_shape) if independent and part.batch >= rows_for(pipeline.image_shape) else 1
    if independent:
        groups = part.pieces(rows)
    elif unmodified:
        groups = part.batches(f"{made_by} makes a batch together")
    elif spec is not None:
        groups = part.batches("the network in arrays rounds by the batch")
    else:
        groups = part.batches("images get their numbers in the order of the work")
    # Where the network sees the whole batch, the outputs of its largest layer and what that layer takes.
    network = pipeline.pipeline.unet if isinstance(pipeline, Unmodified) else pipeline.unet
    whole = 0 if independent else 2 * outputs_per_image(network, pipeline.image_shape)[1]
    check_memory(
        4 * max((len(g) for g in groups), default=0) * (_COPIES * math.prod(pipeline.image_shape) + whole),
        what=f"a batch of {part.batch} images", remedy="use a smaller --batch",
    )  # fmt: skip
    base: dict[str, Any] | None = None
    counted = [source.ledger]
    if spec is not None and not isinstance(pipeline, Unmodified):
        from voltaspin.memory import convert
        from voltaspin.memory.conversion import machine_of

        converted, coverage = convert(pipeline.unet, spec)
        pipeline = replace(pipeline, unet=converted)
        machine = machine_of(converted)
        counted.append(machine.ledger)
        base = machine.ledger.to_dict()  # of the weights' writing, once for the run

    def record(batches: Sequence[Batch]) -> dict[str, Any]:
        spent = summed(batches)
        priced: dict[str, Any] = {}
        if base is not None:
            computed = Ledger.from_dict(base)
            computed.merge(spent.child(computed.name))
            spent.children[computed.name] = computed
            machine.ledger.counts, machine.ledger.children = computed.counts, computed.children
            if coverage.macs is not None:
                from voltaspin.cost.network import compute_cost

                cost = compute_cost(converted, coverage, images=sum(len(b.ids) for b in batches))
                priced = {"compute_cost": cost.to_json()}
        facts = batches[0].facts
        return {
            "kind": "sample",
            "schema_version": 2,
            "argv": ["voltaspin", *sys.argv[1:]],
            **settings,
            "model": model,
            "images": sum(len(b.ids) for b in batches),
            **{k: facts[k] for k in ("steps", "precision", "normals_per_image")},
            "seconds": sum(b.seconds for b in batches),
            "noise_seconds": sum(b.noise_seconds for b in batches),
            "provenance": source.provenance.to_json(),
            "ledger": spent.totals(),
            **{k: facts[k] for k in ("unaddressed_draws_per_batch",) if k in facts},
            **priced,
            "environment": environment(),
        }

    arguments = {**settings, "model": model["sha256"], "first": part.first, "count": part.count, "steps": steps,
                 "shards": part.shard[1], "provenance": source.provenance.to_json()}  # fmt: skip
    with _folder(out, part, arguments, as_json) as folder:
        if folder is None:
            return
        images = ImageRun(folder, part.ids, groups, job=part.job, resume=part.resume, in_order=not independent)
        if images.done and not independent:
            _go_on(source, images)
        if not unmodified and not source.addressable:
            normals = normals_per_image(pipeline, steps=steps, sampler=kind, eta=eta)  # type: ignore[arg-type]
            check_bits(source, images=sum(map(len, images.todo)), per_image=normals, steps=steps)

        def make(group: range, show: Callable[[int, int], None]) -> Samples:
            work: dict[str, Any] = {"count": len(group), "first": group.start, "batch": len(group), "steps": steps,
                                    "eta": eta, "progress": show}  # fmt: skip
            if isinstance(pipeline, Unmodified):
                made = sample_unmodified(pipeline, source, **work)
                if made.unaddressed and part.split:
                    raise InputError(
                        f"{pipeline.sampler} draws for no image in particular, so its images depend on all batches "
                        "before them; leave --shard and --first out"
                    )
                return made
            return sample(pipeline, source, sampler=kind, rows=rows if independent else None, **work)

        def done(group: range, show: Callable[[int, int], None]) -> None:
            before = [ledger.copy() for ledger in counted]
            try:
                made = make(group, show)
            except NoiseStoppedError as stopped:
                images.stop(record)
                if not images.done:
                    raise
                raise InputError(f"{stopped}; {images.images} images before them are in {out}") from None
            spent = Ledger("run")
            for now, then in zip(counted, before, strict=True):
                spent.children[now.name] = now.since(then)
            facts = {"steps": made.steps, "precision": made.precision, "normals_per_image": made.draws}
            if made.unaddressed:
                facts["unaddressed_draws_per_batch"] = made.unaddressed
            state = None if independent else source.state_dict()
            images.keep(
                made.images, Batch(group, spent.to_dict(), made.seconds, made.noise_seconds, facts, state)
            )  # fmt: skip

        _work_off(images, part, out, steps, done)
        _report(images.finish(record), images, part, out, as_json)


def run_bit_sampling(
    folder: Path, out: Path, part: Part, *, steps: int, seed: int, others: dict[str, Any], as_json: bool
) -> None:
    """Sample a bit-flip model and write images, grid and ``run.json``.

    Args:
        folder: of the model.
        out: for the images, and ``part``: which.
        steps, seed: of the sampling.
        others: options that such a model does not know; none of them may be set.
        as_json: print the record.
    """
    from voltaspin.core.spec import environment
    from voltaspin.cost.comparison import energies
    from voltaspin.cost.images import ImageWork, image_costs
    from voltaspin.device import presets
    from voltaspin.diffusion.bitflip import load_model
    from voltaspin.diffusion.bitflip.model import IDEAL
    from voltaspin.diffusion.bitflip.sampling import BitSampler
    from voltaspin.report.images import Batch, ImageRun

    model = load_model(folder)
    if given := next((f"--{name} {value}" for name, value in others.items() if value), ""):
        raise InputError(f"{folder} is a bit-flip model, whose array draws by itself; leave {given} out")
    if steps != len(model.process):
        raise InputError(f"--steps {steps}: {folder} was trained for {len(model.process)} steps; give these")
    if part.split:
        raise InputError(
            f"{folder} is a bit-flip model, whose array goes on from one batch to the next, so that an image depends "
            "on all before it; leave --shard and --first out"
        )
    groups = [part.ids[k : k + part.batch] for k in range(0, part.count, part.batch)]
    per_image = model.spec.planes * model.spec.size**2
    settings = {
        "seed": seed, "batch": part.batch, "model": {"folder": str(folder), "sha256": model.sha256},
        "cells": model.spec.cells.to_json(),
    }  # fmt: skip
    arguments = {**settings, "model": model.sha256, "count": part.count, "steps": steps}
    with _folder(out, part, arguments, as_json) as claimed:
        if claimed is None:
            return
        images = ImageRun(claimed, part.ids, groups, job=part.job, resume=part.resume, in_order=True)
        with memory_errors(what=f"an array for {part.batch} images", remedy="use a smaller --batch"):
            sampler = BitSampler(model, batch=min(part.batch, part.count), seed=seed)
        # The array after each batch: a stop between two writes leaves the one that belongs to the images.
        arrays = [f".array-{k:06d}.safetensors" for k in range(len(groups) + 1)]
        claimed.plan(arrays)
        if images.done and images.state is not None:
            sampler.load(claimed.path / arrays[len(images.done)], images.state)
        works: list[ImageWork] = []

        def record(batches: Sequence[Batch]) -> dict[str, Any]:
            samples = sampler.samples(part.count, seconds=sum(b.seconds for b in batches))
            cells = model.spec.cells
            if cells.junction != IDEAL:
                works[:] = image_costs(samples, presets.get(cells.junction), seed=seed)
            each = samples.per_image
            return {
                "kind": "sample-bitflip",
                "schema_version": 2,
                "argv": ["voltaspin", *sys.argv[1:]],
                **settings,
                "images": part.count,
                "steps": steps,
                "bits": per_image,
                "planes": model.spec.bits,
                "precision": samples.precision,
                "per_image": {
                    "random_bits": each["pulse"],
                    "pulses": each["pulse"],
                    "reads": each["read"],
                    "bytes_moved": each["byte"],
                    "evaluations": each["evaluation"],
                    "energy_pJ": works[0].model_dump(mode="json")["energy"] if works else None,
                },
                "costs": [w.to_json() for w in works],
                "levels": list(samples.levels),
                "rounding": samples.rounding.to_json(),
                "seconds": samples.seconds,
                "ledger": samples.ledger.to_dict(),
                "environment": environment(),
            }

        def done(group: range, show: Callable[[int, int], None]) -> None:
            begin = time.monotonic()
            made = sampler.batch(progress=lambda t, total: show(len(group) * t, len(group) * total))
            after = len(images.done) + 1
            sampler.save(claimed.path / arrays[after])
            spent = Ledger("run").to_dict()  # the array counts for itself
            images.keep(
                made[: len(group)], Batch(group, spent, time.monotonic() - begin, 0.0, {}, sampler.state())
            )  # fmt: skip
            (claimed.path / arrays[after - 1]).unlink(missing_ok=True)

        _work_off(images, part, out, steps, done)
        claimed.forget(arrays)
        found = images.finish(record)
        for name in arrays:
            (claimed.path / name).unlink(missing_ok=True)
        _report(found, images, part, out, as_json)
        if works and found is not None and not as_json:
            each = found["per_image"]
            print(f"per image: {each['pulses']:,.0f} pulses, {each['bytes_moved']:,.0f} bytes moved, "
                  + ", ".join(f"{b} {energies(e)}" for b, e in works[0].energy.items()))  # fmt: skip


@contextmanager
def _folder(out: Path, part: Part, arguments: dict[str, Any], as_json: bool) -> Iterator[OutputFolder | None]:
    """The folder, claimed for this part; None where a run that should be resumed has nothing left to do."""
    how: dict[str, Any] = {"force": part.force, "resume": part.resume, "job": part.job}
    with OutputFolder.claim(out, command="sample", arguments=arguments, **how) as folder:
        if part.resume and folder.record:
            if not folder.same_run:
                raise InputError(f"{out} holds another run ({_difference(folder.record, arguments)}); give its options")
            if folder.record.get("finished") is True:
                print_json(folder.record) if as_json else print(f"{out}: all images are there, nothing is left to do")
                yield None
                return
        yield folder


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


def _go_on(source: NoiseSource, images: ImageRun) -> None:
    """Put a source where it stood after the images that are there, or say that this cannot be."""
    try:
        source.load_state_dict(images.state or {})
    except InputError:
        print(
            f"{source.name} cannot go back: the images that are missing get new numbers, not those that the stopped "
            "run would have drawn",
            file=sys.stderr,
        )
        return
    if not source.addressable:
        print(
            f"{source.name} goes on where it stood after the {images.images} images that are there", file=sys.stderr
        )  # fmt: skip


def _work_off(
    images: ImageRun, part: Part, out: Path, steps: int, work: Callable[[range, Callable[[int, int], None]], None]
) -> None:
    """Make what is left, batch by batch."""
    left = sum(map(len, images.todo))
    try:
        with progress_bars() as bars:
            bar = bars.add_task("sample", total=left * steps)
            at = 0
            for group in images.todo:

                def show(done: int, total: int, at: int = at) -> None:
                    bars.update(bar, completed=at + done)

                with memory_errors(what=f"a batch of {part.batch} images", remedy="use a smaller --batch"):
                    work(group, show)
                at += len(group) * steps
    except Stopped as stopped:
        if images.done:
            stopped.kept = f"{images.images} images are finished and in {out}; continue with --resume"
        raise


def _report(found: dict[str, Any] | None, images: ImageRun, part: Part, out: Path, as_json: bool) -> None:
    if as_json:
        print_json(found or {"folder": str(out), "part": part.job, "images": images.images, "finished": False})
    elif found is None:
        print(f"{out}: {images.images} images of part {part.job}; the other parts have the rest")
    else:
        print(f"{out}: {found['images']} images, grid.png, run.json ({found['seconds']:.1f} s)")
