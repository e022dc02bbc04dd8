"""Random numbers of an image and of a training run: how many, and what they cost from the memory and in software.

Beside them stands the arithmetic of the network, since the share of the random numbers in the whole decides whether a
thousandfold cheaper bit can matter.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_object
from voltaspin.core.quantity import Estimate, Sourced
from voltaspin.core.result import Boundary
from voltaspin.cost.claims import ActionDraws, drawn, spread
from voltaspin.cost.comparison import digits, energies
from voltaspin.cost.meters import interval
from voltaspin.cost.processors import Measure, Software, software
from voltaspin.cost.results import Job, Supply, Work
from voltaspin.cost.table import BOUNDARIES, CostTable, Span
from voltaspin.random.streams import Stream

if TYPE_CHECKING:
    from voltaspin.cost.network import ComputeCost
    from voltaspin.diffusion.pipelines import Pipeline

BITS = 16  #: of a Gaussian number by inverse CDF
ARRAY = "analog"  #: preset of the arrays that the network is priced in
OWN_CPU = "float32 on the same core"  #: network whose share follows from times alone
_LEAD: dict[Boundary, str] = {
    "cell": "Memory, cells alone",
    "cell+line": "Memory, with lines",
    "macro": "Memory, whole macro",
}
_HOW: dict[Boundary, str] = {
    "cell": "pulses, resets and reads in the junctions alone",
    "cell+line": "and the bit lines that carry them",
    "macro": "and drivers, sensing, XOR and a read of the inverse-CDF table for each number",
}


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


def image_job(pipeline: Pipeline, steps: int, *, cells_per_bit: int = 2, resets: float = 1.0) -> Job:
    """An image of ancestral sampling: its first latent, and one draw a step but the last, which adds no noise."""
    from voltaspin.diffusion.sampling import normals_per_image

    normals = normals_per_image(pipeline, steps=steps, sampler="ddpm")
    what = f"{steps} ancestral steps of {_pixels(pipeline)}"
    return job("image", what, normals, cells_per_bit=cells_per_bit, resets=resets)


def training_job(
    pipeline: Pipeline, steps: int | None, batch: int | None, *, cells_per_bit: int = 2, resets: float = 1.0
) -> Job:
    """A training run: one Gaussian number for each pixel of each example.

    Steps and batch are those that the model was trained with (``train.json``) where None, else 12000 and 64.
    """
    record = pipeline.folder / "train.json"
    known = read_object(record) if record.is_file() else {}
    steps, batch = steps or known.get("steps", 12000), batch or known.get("batch", 64)
    normals = steps * batch * int(np.prod(pipeline.image_shape))
    what = f"{steps:,} steps of {batch:,} images of {_pixels(pipeline)}"
    return job("training run", what, normals, cells_per_bit=cells_per_bit, resets=resets)


def _pixels(pipeline: Pipeline) -> str:
    channels, height, width = pipeline.image_shape
    return f"{height} x {width} pixels" + (f" in {channels} channels" if channels > 1 else "")


def network_seconds(pipeline: Pipeline, steps: int, *, batch: int = 8, repeats: int = 3) -> Sourced:
    """Processor time [s] that the network takes for an image here, float32; 90 % interval over repeats."""
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


def networks_of(cost: ComputeCost, array: str) -> dict[str, Span]:
    """Energy [J] of an image's arithmetic on the digital machine and in crossbars."""
    digital = Span.exactly(0.0)
    for e in cost.conventional.values():
        digital = digital.plus(e)
    return {"an int8 digital machine": digital, f"crossbars ({array})": cost.total("macro")}


def work_of_model(
    folder: Path | None,
    draws: ActionDraws,
    table: CostTable,
    *,
    image_steps: int = 50,
    training_steps: int | None = None,
    batch: int | None = None,
    cells_per_bit: int = 2,
    resets: float = 1.0,
    measure: Measure = "auto",
    seed: int = 0,
) -> Work:
    """An image and a training run of a model, beside its arithmetic and the processors' random numbers.

    Args:
        folder: of the pipeline; the shipped model where None.
        draws, table, seed: see :func:`work`.
        image_steps: ancestral.
        training_steps, batch: see :func:`training_job`.
        cells_per_bit, resets: see :func:`job`.
        measure: see :func:`voltaspin.cost.processors.software`.

    Raises:
        InputError: no pipeline folder, steps that its schedule lacks, or nothing can be measured that must be.
    """
    from voltaspin.cost.network import cost_of_images
    from voltaspin.diffusion.pipelines import load_pipeline, shipped_model
    from voltaspin.memory import ArraySpec

    processors, notes = software(table, measure=measure)
    pipeline = load_pipeline(shipped_model() if folder is None else folder)
    jobs = (
        image_job(pipeline, image_steps, cells_per_bit=cells_per_bit, resets=resets),
        training_job(pipeline, training_steps, batch, cells_per_bit=cells_per_bit, resets=resets),
    )
    network, _ = cost_of_images(pipeline, ArraySpec.preset(ARRAY), steps=image_steps)
    here = None if measure == "never" else network_seconds(pipeline, image_steps)
    return work(
        draws, jobs, table, processors=processors, networks=networks_of(network, ARRAY), own_network=here, notes=notes,
        seed=seed,
    )  # fmt: skip


def work(
    draws: ActionDraws,
    jobs: Sequence[Job],
    table: CostTable,
    *,
    processors: Sequence[Software] = (),
    networks: Mapping[str, Span] | None = None,
    own_network: Sourced | None = None,
    notes: Sequence[str] = (),
    seed: int = 0,
) -> Work:
    """Price the jobs from the memory at each boundary and from each processor.

    Args:
        draws: of the memory's actions; the same prices stand behind the claim.
        jobs: an ``image`` first; every job of the same bits per number and cells per bit.
        table: for what others state.
        processors: and their random numbers.
        networks: energy [J] of an image's arithmetic by where it is done, the range taken as 90 %.
        own_network: processor time [s] of an image's arithmetic on this machine.
        notes: what could not be measured.
        seed: of the Monte Carlo.

    Raises:
        InputError: jobs of different shape.
    """
    bits = {j.bits // j.normals for j in jobs}
    cells = {j.pulses // j.bits for j in jobs}
    if not jobs or jobs[0].name != "image" or len(bits) > 1 or len(cells) > 1:
        raise InputError("give an image first, and jobs of as many bits to a number and cells to a bit")
    n_bits, k = bits.pop(), cells.pop()
    samples = len(draws.area["cell"])
    arithmetic = {
        name: drawn(_as_sourced(e), Stream.of(seed, "cost", "network", name).normals(samples))
        for name, e in (networks or {}).items()
    }

    def of_memory(b: Boundary, j: Job) -> NDArray[np.float64]:
        bit = draws.bit(b, cells_per_bit=k, resets=j.resets / j.pulses)
        return j.normals * (n_bits * bit + draws.energy[b]["lookup"])

    def shares(image: NDArray[np.float64]) -> dict[str, Estimate]:
        return {name: spread(image / (image + e)) for name, e in arithmetic.items()}

    image = jobs[0]
    macro = of_memory("macro", image) / image.normals
    supplies = []
    for b in BOUNDARIES:
        whole = {j.name: of_memory(b, j) for j in jobs}
        normal = whole["image"] / image.normals
        supplies.append(Supply(
            key=f"ours-{b}", name=_LEAD[b], kind="memory",
            per_bit=_pJ(draws.bit(b, cells_per_bit=k, resets=image.resets / image.pulses)), per_normal=_pJ(normal),
            per_job={name: _pJ(e) for name, e in whole.items()}, over_macro=spread(normal / macro),
            share=shares(whole["image"]), how=_HOW[b], grade="assumed",
        ))  # fmt: skip
    for s in processors:
        z = Stream.of(seed, "cost", s.key).normals(2 * samples)
        one = None if s.normal is None else 1e-12 * drawn(s.normal, z[:samples])
        bit = None if s.bit is None else 1e-12 * drawn(s.bit, z[samples:])
        share = {} if one is None else shares(one * image.normals)
        if s.seconds is not None and own_network is not None:
            share[OWN_CPU] = _share_of_time(s.seconds, own_network, image.normals, seed, samples)
        supplies.append(Supply(
            key=s.key, name=s.name, kind=s.kind, per_bit=None if bit is None else _pJ(bit),
            per_normal=None if one is None else _pJ(one),
            per_job={} if one is None else {j.name: _pJ(one * j.normals) for j in jobs},
            over_macro=None if one is None else spread(one / macro), share=share, how=s.how,
            grade=next(x.grade for x in (s.normal, s.bit) if x is not None),
        ))  # fmt: skip
    return Work(
        jobs=tuple(jobs), supplies=tuple(supplies), networks={name: _pJ(e) for name, e in arithmetic.items()},
        published=tuple(f"{name} over a stochastic junction: {n.value:,g} ({n.source})"
                        for name, n in table.software_over_mtj.items()),
        findings=_findings(supplies), notes=tuple(notes),
    )  # fmt: skip


def _as_sourced(e: Span) -> Sourced:
    return Sourced(e.value, "J", "an image's arithmetic", "derived", e.low, e.high)


def _pJ(joules: NDArray[np.float64]) -> Estimate:
    return spread(1e12 * joules)


def _share_of_time(normal: Sourced, network: Sourced, normals: int, seed: int, samples: int) -> Estimate:
    """Both on one core at one power: the share of energy is that of time, whatever the power."""
    a, b = (drawn(x, Stream.of(seed, "cost", "time", name).normals(samples))
            for name, x in (("normal", normal), ("network", network)))  # fmt: skip
    return spread(normals * a / (normals * a + b))


def _findings(supplies: Sequence[Supply]) -> tuple[str, ...]:
    """Whether a thousandfold cheaper bit can matter for an image: what is saved if its random numbers are free."""
    macro = next(s for s in supplies if s.key == "ours-macro")
    said = [
        f"Network in {network}: the memory's random numbers are {percent(share)} of an image's energy at the macro; "
        "bits a thousand times cheaper, or free, would save no more than that."
        for network, share in macro.share.items()
    ]
    for kind in ("cpu", "gpu"):
        known = [(s.per_normal.value, s) for s in supplies if s.kind == kind and s.per_normal]
        if not known:
            continue
        _, s = min(known, key=lambda pair: pair[0])
        assert s.over_macro is not None
        shares = [f"{percent(share)} with the network in {network}" for network, share in s.share.items()]
        said.append(
            f"{s.name}, the most frugal of its kind here: a Gaussian number costs {times(s.over_macro)} times that of "
            "the memory's macro" + (f"; of an image's energy {', '.join(shares)}." if shares else ".")
        )
    return tuple(said)


def times(e: Estimate) -> str:
    """``"3,400 (700 to 19,000)"``"""
    return f"{digits(e.value)} ({digits(e.low)} to {digits(e.high)})"


def percent(e: Estimate) -> str:
    """``"0.03 % (0.01 to 0.05)"``"""
    return f"{digits(100 * e.value)} % ({digits(100 * e.low)} to {digits(100 * e.high)})"


def work_text(found: Work) -> str:
    """The jobs for a terminal."""
    lines = [
        f"random numbers of one {j.name} ({j.what}): {j.normals:,} normals, {j.bits:,} bits, {j.pulses:,} pulses, "
        f"{j.resets:,} resets"
        for j in found.jobs
    ]
    heads = ("energy", "per bit", "per normal", *(f"per {j.name}" for j in found.jobs))
    rows = [heads] + [
        (s.name, energies(s.per_bit), energies(s.per_normal), *(energies(s.per_job.get(j.name)) for j in found.jobs))
        for s in found.supplies
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    lines += ["  ".join(f"{c:{'<' if i == 0 else '>'}{w}}" for i, (c, w) in enumerate(zip(row, widths, strict=True)))
              for row in rows]  # fmt: skip
    for name, e in found.networks.items():
        lines.append(f"arithmetic of an image, {name}: {energies(e)}")
    lines += [*found.findings, *(f"published: {p}" for p in found.published)]
    lines += [f"{s.name}: {s.how}" for s in found.supplies if s.kind != "memory"]
    return "\n".join([*lines, *(f"not measured: {n}" for n in found.notes)])
