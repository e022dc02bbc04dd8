"""Random numbers of an image and of a training run: how many, and their cost from the memory and in software.

The arithmetic of the network stands beside them, since the share of the random numbers in the total decides whether a
thousandfold cheaper bit can matter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.extras import NeedsExtra
from voltaspin.core.files import read_object
from voltaspin.core.format import energies, spread
from voltaspin.core.quantity import Estimate, Sourced
from voltaspin.core.result import Boundary, Part, Result
from voltaspin.cost.pricing import Prices, bit_counts, picojoules
from voltaspin.cost.processors import Measure, ProcessorRng, interval, processor_rng
from voltaspin.cost.table import Floats

if TYPE_CHECKING:
    from voltaspin.diffusion.pipelines import Pipeline

BITS = 16  #: of a Gaussian number by inverse CDF
USUAL_STEPS, USUAL_BATCH = 12000, 64  #: of the training of a model that does not say its own
ARRAY = "analog"  #: preset of the arrays that the network is priced in
OWN_CPU = "float32 on the same core"  #: network whose share follows from times alone
_OWN: dict[Boundary, tuple[str, str]] = {
    "cell": ("Memory, cells alone", "pulses, resets and reads in the junctions alone"),
    "cell+line": ("Memory, with lines", "and the bit lines that carry them"),
    "macro": ("Memory, whole macro", "and drivers, sensing, XOR and a read of the inverse-CDF table for each number"),
}


class Job(Part):
    """A piece of work and the random numbers that it takes.

    Args:
        name: ``image`` or ``training run``.
        what: in words.
        normals, bits: Gaussian numbers, and the conditioned bits behind them.
        pulses, resets: of cells of the memory.
    """

    name: str
    what: str
    normals: int
    bits: int
    pulses: int
    resets: int

    @property
    def counts(self) -> dict[str, float]:
        """All actions of the memory."""
        return {"pulse": self.pulses, "reset": self.resets, "read": self.pulses, "xor": self.pulses - self.bits,
                "lookup": self.normals}  # fmt: skip


class RngSource(Part):
    """Random numbers from one source, and the energy of the jobs with them. Medians and 90 % intervals.

    Args:
        key, name: e.g. ``ours-macro``.
        kind: what draws them.
        per_bit, per_normal: energy [pJ].
        per_job: energy [pJ] by the job's name.
        over_macro: energy of a Gaussian number over that of the memory at the macro.
        share: of all energy of an image, by the network that computes it.
        how: where the number comes from, in one sentence.
        grade: the weakest number behind it; ``measured`` where counters of this machine gave it.
    """

    key: str
    name: str
    kind: Literal["memory", "cpu", "gpu"]
    per_bit: Estimate | None = None
    per_normal: Estimate | None = None
    per_job: dict[str, Estimate] = Field(default_factory=dict)
    over_macro: Estimate | None = None
    share: dict[str, Estimate] = Field(default_factory=dict)
    how: str
    grade: str


class Workload(Result):
    """Random numbers of an image and of a training run, from the memory and in software.

    Args:
        jobs: what is asked for.
        supplies: the memory at its boundaries, then processors.
        networks: energy [pJ] of an image's arithmetic, by where it is done.
        published: ratios that others state, in words.
        findings: sentences that follow from the numbers.
        notes: what could not be measured here, and why.
    """

    KIND: ClassVar[str] = "workload"
    jobs: tuple[Job, ...]
    supplies: tuple[RngSource, ...]
    networks: dict[str, Estimate] = Field(default_factory=dict)
    published: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people: the jobs, a row for each source, the arithmetic, the findings."""
        rows = [(f"numbers of one {j.name}", f"{j.what}: {j.normals:,} normals, {j.bits:,} bits, {j.pulses:,} pulses, "
                 f"{j.resets:,} resets") for j in self.jobs]  # fmt: skip
        for s in self.supplies:
            each = {"bit": s.per_bit, "normal": s.per_normal} | {j.name: s.per_job.get(j.name) for j in self.jobs}
            rows.append((s.name, ", ".join(f"per {name} {energies(e)}" for name, e in each.items() if e)))
        rows += [("arithmetic of an image", f"{energies(e)} in {name}") for name, e in self.networks.items()]
        rows += [("finding", text) for text in self.findings] + [("published", text) for text in self.published]
        rows += [("source", f"{s.name}: {s.how}") for s in self.supplies if s.kind != "memory"]
        return rows + [("not measured", text) for text in self.notes]


def job(name: str, what: str, normals: int, *, bits: int = BITS, cells_per_bit: int = 2, resets: float = 1.0) -> Job:
    """Count what a piece of work takes.

    Args:
        name, what: see :class:`Job`.
        normals: Gaussian numbers.
        bits: behind each of them; cells_per_bit: behind each bit.
        resets: before each pulse, on average.

    Raises:
        InputError: a count below 1, or resets outside 0 to 1.
    """
    if min(normals, bits, cells_per_bit) < 1 or not 0 <= resets <= 1:
        raise InputError(
            f"{name}: normals = {normals}, bits = {bits} and cells_per_bit = {cells_per_bit} must be at least 1, "
            f"resets = {resets} from 0 to 1"
        )
    pulses = normals * bits * cells_per_bit
    return Job(name=name, what=what, normals=normals, bits=normals * bits, pulses=pulses, resets=round(pulses * resets))


@NeedsExtra("voltaspin.cost.jobs.image_job")
def image_job(pipeline: Pipeline, steps: int, *, cells_per_bit: int = 2, resets: float = 1.0) -> Job:
    """Count an image of ancestral sampling: its first latent, and one draw a step but the last, which adds no noise."""
    from voltaspin.diffusion.sampling import normals_per_image

    normals = normals_per_image(pipeline, steps=steps, sampler="ddpm")
    what = f"{steps} ancestral steps of {_pixels(pipeline)}"
    return job("image", what, normals, cells_per_bit=cells_per_bit, resets=resets)


def training_job(
    pipeline: Pipeline, steps: int | None, batch: int | None, *, cells_per_bit: int = 2, resets: float = 1.0
) -> Job:
    """Count a training run: one Gaussian number for each pixel of each example.

    Steps and batch are those that the model was trained with (``train.json``) where None, else 12000 and 64.
    """
    own_steps, own_batch = training_size(pipeline)
    steps, batch = steps or own_steps, batch or own_batch
    normals = steps * batch * int(np.prod(pipeline.image_shape))
    what = f"{steps:,} steps of {batch:,} images of {_pixels(pipeline)}"
    return job("training run", what, normals, cells_per_bit=cells_per_bit, resets=resets)


def training_size(pipeline: Pipeline) -> tuple[int, int]:
    """Return the steps and the batch that a model was trained with (``train.json``), else 12000 and 64."""
    record = pipeline.folder / "train.json"
    known = read_object(record) if record.is_file() else {}
    return known.get("steps", USUAL_STEPS), known.get("batch", USUAL_BATCH)


def _pixels(pipeline: Pipeline) -> str:
    channels, height, width = pipeline.image_shape
    return f"{height} x {width} pixels" + (f" in {channels} channels" if channels > 1 else "")


@NeedsExtra("voltaspin.cost.jobs.network_seconds")
def network_seconds(pipeline: Pipeline, steps: int, *, batch: int = 8, repeats: int = 3) -> Sourced:
    """Measure the processor time [s] that the network takes for an image here, float32; 90 % interval over repeats."""
    import torch

    found = []
    with torch.no_grad():
        x = torch.zeros(batch, *pipeline.image_shape)
        for _ in range(repeats + 1):
            begin = time.process_time()
            pipeline.unet(x, 0)
            found.append((time.process_time() - begin) * steps / batch)
    measured = interval(found[1:], "s", f"network timed on this machine, {repeats} batches of {batch}")
    low = max(measured.low or 0.0, measured.value / 2)
    return Sourced(measured.value, "s", measured.source, "measured", low, measured.high)


@NeedsExtra("voltaspin.cost.jobs.workload_of_model")
def workload_of_model(
    folder: Path | None,
    prices: Prices,
    *,
    image_steps: int = 50,
    training_steps: int | None = None,
    batch: int | None = None,
    cells_per_bit: int = 2,
    resets: float = 1.0,
    measure: Measure = "auto",
) -> Workload:
    """Price an image and a training run of a model, beside its arithmetic and the processors' random numbers.

    Args:
        folder: of the pipeline; the shipped model where None.
        prices: see :func:`workload`.
        image_steps: ancestral.
        training_steps, batch: see :func:`training_job`.
        cells_per_bit, resets: see :func:`job`.
        measure: see :func:`voltaspin.cost.processors.processor_rng`.

    Raises:
        InputError: no pipeline folder, steps that its schedule lacks, or nothing can be measured that must be.
    """
    from voltaspin.cost.network import priced_network
    from voltaspin.diffusion.pipelines import load_pipeline, shipped_model
    from voltaspin.memory import ArraySpec

    processors, notes = processor_rng(prices.draws.table, measure=measure)
    pipeline = load_pipeline(shipped_model() if folder is None else folder)
    jobs = (
        image_job(pipeline, image_steps, cells_per_bit=cells_per_bit, resets=resets),
        training_job(pipeline, training_steps, batch, cells_per_bit=cells_per_bit, resets=resets),
    )
    network = priced_network(pipeline, ArraySpec.preset(ARRAY), steps=image_steps, array=ARRAY, draws=prices.draws)
    here = None if measure == "never" else network_seconds(pipeline, image_steps)
    return workload(prices, jobs, processors=processors, networks=network.by_machine(), own_network=here, notes=notes)


def workload(
    prices: Prices,
    jobs: Sequence[Job],
    *,
    processors: Sequence[ProcessorRng] = (),
    networks: Mapping[str, Floats] | None = None,
    own_network: Sourced | None = None,
    notes: Sequence[str] = (),
) -> Workload:
    """Price the jobs from the memory at each boundary and from each processor.

    Args:
        prices: of the memory's actions; the same prices stand behind the figure of merit.
        jobs: an ``image`` first; every job of the same bits per number and cells per bit.
        processors: and their random numbers.
        networks: drawn energy [J] of an image's arithmetic by where it is done; float64 (samples,).
        own_network: processor time [s] of an image's arithmetic on this machine.
        notes: what could not be measured.

    Raises:
        InputError: jobs of different shape.
    """
    bits = {j.bits // j.normals for j in jobs}
    cells = {j.pulses // j.bits for j in jobs}
    if not jobs or jobs[0].name != "image" or len(bits) > 1 or len(cells) > 1:
        raise InputError("give an image first, and jobs of as many bits to a number and cells to a bit")
    draws, image, networks = prices.draws, jobs[0], networks or {}
    bit = bit_counts(cells_per_bit=cells.pop(), resets=image.resets / image.pulses)
    macro = prices.total(image.counts, "macro") / image.normals

    def of_source(normal: Floats | None, jobs_of: Mapping[str, Floats]) -> dict[str, Any]:
        """What follows from the energy [J] of one number and of each job."""
        if normal is None:
            return {}
        whole = jobs_of["image"]
        return {
            "per_normal": picojoules(normal), "over_macro": Estimate.of_draws(normal / macro),
            "per_job": {name: picojoules(e) for name, e in jobs_of.items()},
            "share": {name: Estimate.of_draws(whole / (whole + e)) for name, e in networks.items()},
        }  # fmt: skip

    supplies = []
    for b, (name, how) in _OWN.items():
        whole = {j.name: prices.total(j.counts, b) for j in jobs}
        supplies.append(RngSource(
            key=f"ours-{b}", name=name, kind="memory", per_bit=picojoules(prices.total(bit, b)), how=how,
            grade=prices.grades[b], **of_source(whole["image"] / image.normals, whole),
        ))  # fmt: skip
    for s in processors:
        one = None if s.normal is None else draws.of(s.normal, s.key)
        made = of_source(one, {} if one is None else {j.name: one * j.normals for j in jobs})
        if s.seconds is not None and own_network is not None and one is not None:
            # on one core at one power the share of energy is that of time, whatever the power
            a, b_ = draws.of(s.seconds, "time", "normal") * image.normals, draws.of(own_network, "time", "network")
            made["share"] = {**made["share"], OWN_CPU: Estimate.of_draws(a / (a + b_))}
        supplies.append(RngSource(
            key=s.key, name=s.name, kind=s.kind, how=s.how,
            per_bit=None if s.bit is None else picojoules(draws.of(s.bit, s.key, "bit")),
            grade=next(x.grade for x in (s.normal, s.bit) if x is not None), **made,
        ))  # fmt: skip
    return Workload(
        jobs=tuple(jobs), supplies=tuple(supplies), networks={name: picojoules(e) for name, e in networks.items()},
        published=tuple(f"{name} over a stochastic junction: {n.value:,g} ({n.source})"
                        for name, n in draws.table.software_over_mtj.items()),
        findings=_findings(supplies), notes=tuple(notes),
    )  # fmt: skip


def _findings(supplies: Sequence[RngSource]) -> tuple[str, ...]:
    """Say whether a thousandfold cheaper bit can matter for an image: what is saved if its random numbers are free."""
    macro = next(s for s in supplies if s.key == "ours-macro")
    said = [
        f"Network in {network}: the memory's random numbers are {spread(share, 100, '%')} of an image's energy at the "
        "macro; bits a thousand times cheaper, or free, would save no more than that."
        for network, share in macro.share.items()
    ]
    for kind in ("cpu", "gpu"):
        known = [(s.per_normal.value, s) for s in supplies if s.kind == kind and s.per_normal]
        if not known:
            continue
        _, s = min(known, key=lambda pair: pair[0])
        assert s.over_macro is not None
        shares = [f"{spread(share, 100, '%')} with the network in {network}" for network, share in s.share.items()]
        said.append(
            f"{s.name}, the most frugal of its kind here: a Gaussian number costs {spread(s.over_macro)} times that "
            "of the memory's macro" + (f"; of an image's energy {', '.join(shares)}." if shares else ".")
        )
    return tuple(said)
