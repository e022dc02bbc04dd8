"""Quality against energy: every condition of a study as a design, with the energy of a whole image.

A condition in floating point stands for three machines, whose images are taken to be the same: a CPU core, timed here;
a GPU, by its data sheet; an int8 digital machine at the node of the macro. A condition in arrays is a chip of its own.
To the network comes the energy of the random numbers: those of the memory's bits for Gaussian samplers, the counted
pulses of an array in which images form.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_object
from voltaspin.core.format import energies, energy, number, quantity, times
from voltaspin.core.quantity import Estimate, Sourced
from voltaspin.core.result import Part, Result, Unit
from voltaspin.cost.images import ImageWork, byte_price, sampler_bytes
from voltaspin.cost.jobs import image_job, network_seconds
from voltaspin.cost.macro import MacroSpec
from voltaspin.cost.network import price_network
from voltaspin.cost.pricing import Prices, random_pulse
from voltaspin.cost.table import Draws, Floats, RandomSource, si
from voltaspin.diffusion.pipelines import Pipeline, load_pipeline, shipped_model
from voltaspin.memory import ArraySpec, NetworkTrace, trace
from voltaspin.metrics import reference, score_features
from voltaspin.study.equivalence import features_of
from voltaspin.study.runner import folder_of
from voltaspin.study.specification import Run, StudySpec
from voltaspin.study.work import built_spec

Machine = Literal["CPU core", "GPU", "int8 digital machine", "digital crossbars", "analog crossbars", "resistance sums"]
GPU_PEAK = Sourced(
    2.1e12, "1/J", "dense int8 peak over board power: 1.56 (A100), 2.8 to 4.3 TOPS/W (H100), data sheets", "derived",
    1.56e12, 4.3e12,
)  # fmt: skip
GPU_SHARE = Sourced(
    0.2, "1", "share of its peak that a network of this size reaches in batches; chosen", "assumed", 0.02, 0.6
)
_PRICED = ("software", "software-16", "memory-raw", "memory-xor")  # noises of a condition
_SI_RATE = {"kb/s": 1e3, "Mb/s": 1e6, "Gb/s": 1e9}


class Design(Part):
    """One machine that makes images under one condition.

    Args:
        name: condition and machine.
        condition: of the study.
        machine: that computes the network.
        diffusion: ``gaussian`` or ``in-place``; evaluations: of the network.
        kid: of its images, with its 95 % interval; images: behind it.
        energy: of a whole image, median and 90 % range [pJ]; parts: network and random numbers, with their bytes.
        seconds: of an image; area: of the chip [mm^2]; None where they are not known.
        random_bits: of an image.
        on_front: whether no other design of crossbars has both a lower KID and less energy, by their middle values.
        best: the design of crossbars with the least energy whose KID lies within the interval of the best machine
            without them.
        how: where the energy comes from.
    """

    name: str
    condition: str
    machine: Machine
    diffusion: Literal["gaussian", "in-place"]
    evaluations: int
    kid: Estimate
    images: int
    energy: Estimate
    parts: dict[str, Estimate]
    seconds: Estimate | None = None
    area: Estimate | None = None
    random_bits: float
    on_front: bool = False
    best: bool = False
    how: str

    @property
    def in_memory(self) -> bool:
        """Whether arrays of cells compute the network."""
        return self.machine in ("digital crossbars", "analog crossbars", "resistance sums")


class Rate(Part):
    """A generator of random bits at the rate that a design asks for.

    Args:
        name: of the generator.
        per_area: bits per second and area [1/(s mm^2)].
        area: that the design's bits take [mm^2]; power: at that rate [W].
        how: silicon, simulated or counted.
    """

    name: str
    per_area: Annotated[float, Unit("1/(s mm^2)")]
    area: Annotated[float, Unit("mm^2")]
    power: Annotated[float, Unit("W")]
    how: str


class Frontier(Result):
    """Quality against energy of every design of a study.

    Args:
        study: its name.
        designs: by energy.
        rates: generators of bits at the rate that the best design asks for.
        bit_rate: that rate [1/s].
        findings: what follows from the numbers, in sentences.
        assumptions: that stand behind them.
    """

    KIND: ClassVar[str] = "frontier"
    study: str
    designs: tuple[Design, ...]
    rates: tuple[Rate, ...] = ()
    bit_rate: Annotated[float, Unit("1/s")] = 0.0
    findings: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = Field(default=(), repr=False)

    def summary(self) -> list[tuple[str, str]]:
        """Return a row for each design, then the findings, rates and assumptions."""
        rows = []
        for d in self.designs:
            front = ", on the front" if d.on_front else ""
            rows.append((d.name, f"KID {_thousandths(d.kid)}e-3, {energies(d.energy)} an image{front}"))
        rows += [("finding", text) for text in self.findings]
        rows += [(f"bits from {r.name}", f"{number(r.area)} mm\N{SUPERSCRIPT TWO}, {quantity(r.power, 'W')} ({r.how})")
                 for r in self.rates]  # fmt: skip
        return rows + [("assumption", text) for text in self.assumptions]

    def table(self) -> str:
        """Return the designs as a table in Markdown."""
        head = (
            "design", "KID x 1000 (95 %)", "images", "energy of an image (90 %)", "network", "random numbers", "time",
            "area",
        )  # fmt: skip
        lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
        for d in self.designs:
            name = f"**{d.name}**" if d.on_front else d.name
            seconds = "-" if d.seconds is None else quantity(d.seconds.value, "s")
            area = "-" if d.area is None else f"{number(d.area.value)} mm\N{SUPERSCRIPT TWO}"
            lines.append(
                f"| {name} | {_thousandths(d.kid)} | {d.images:,} | {energies(d.energy)} | "
                f"{energies(d.parts['network'])} | {energies(d.parts['random numbers'])} | {seconds} | {area} |"
            )
        return "\n".join(lines)


def _thousandths(kid: Estimate) -> str:
    return f"{1e3 * kid.value:.1f} ({1e3 * kid.low:.1f} to {1e3 * kid.high:.1f})"


@dataclass
class _Priced:
    """A design with its drawn energy."""

    design: Design
    whole: Floats
    noise: Floats


def frontier(
    spec: StudySpec, out: Path, *, macro: MacroSpec | None = None, draws: Draws | None = None, timed: bool = True
) -> Frontier:
    """Place the conditions of a study whose runs are done on quality against energy.

    Args:
        spec: of the study.
        out: folder of its results; conditions of which a run is missing are left out.
        macro: what arrays are built of, and the node of the int8 machine; the defaults where None.
        draws: of the cost table; a thousand of the package's own where None.
        timed: whether to time the network on a CPU core of this machine.

    Raises:
        InputError: no condition is done, or none with a price.
    """
    draws, macro = draws or Draws(), macro or MacroSpec()
    by_name: dict[str, list[Run]] = {}
    for run in spec.runs():
        by_name.setdefault(run.name, []).append(run)
    done = {name: runs for name, runs in by_name.items()
            if all((folder_of(out, r) / "features.npz").is_file() for r in runs)}  # fmt: skip
    if not done:
        raise InputError(f"{out} holds no finished condition of {spec.name!r}; run `voltaspin study` first")
    found: list[_Priced] = []
    traces: dict[str, tuple[Pipeline, NetworkTrace]] = {}
    for name, runs in done.items():
        if runs[0].condition.diffusion != "real":
            found += _designs(name, runs, out, macro, draws, traces, timed)
    if not found:
        raise InputError(f"no condition of {spec.name!r} makes images with a network; real images have no energy")
    ours = [p for p in found if p.design.in_memory]
    front = {p.design.name for p in ours if not any(_better(q.design, p.design) for q in ours)}
    found = [_Priced(p.design.model_copy(update={"on_front": p.design.name in front}), p.whole, p.noise)
             for p in sorted(found, key=lambda p: p.design.energy.value)]  # fmt: skip
    best = _best(found)
    if best is not None:
        best.design = best.design.model_copy(update={"best": True})
    rates: tuple[Rate, ...] = ()
    asked = 0.0
    if best is not None and best.design.seconds is not None:
        asked = best.design.random_bits / best.design.seconds.value
        rates = tuple(_rates(asked, draws))
    return Frontier(
        study=spec.name, designs=tuple(p.design for p in found), rates=rates, bit_rate=asked,
        findings=tuple(_findings(found, best)), assumptions=_assumptions(macro, timed),
    )  # fmt: skip


def _better(a: Design, b: Design) -> bool:
    return a.kid.value <= b.kid.value and a.energy.value <= b.energy.value and a.name != b.name


def _best(found: Sequence[_Priced]) -> _Priced | None:
    """The design of crossbars with the least energy among those as good as the best machine without them."""
    others = [p.design for p in found if not p.design.in_memory]
    limit = min(others, key=lambda d: d.kid.value).kid.high if others else math.inf
    return next((p for p in found if p.design.on_front and p.design.kid.value <= limit), None)


def _designs(
    name: str, runs: Sequence[Run], out: Path, macro: MacroSpec, draws: Draws,
    traces: dict[str, tuple[Pipeline, NetworkTrace]], timed: bool,
) -> list[_Priced]:  # fmt: skip
    condition = runs[0].condition
    if condition.reference or (condition.diffusion == "gaussian" and condition.sample not in _PRICED):
        given = "reference" if condition.reference else f"sample = {condition.sample!r}"
        raise InputError(f"condition {name!r}: {given} has no place on the frontier, which knows {', '.join(_PRICED)}")
    folder = shipped_model() if runs[0].training is None else folder_of(out, runs[0].training) / "model"
    if str(folder) not in traces:
        pipeline = load_pipeline(folder)
        traces[str(folder)] = pipeline, trace(pipeline.unet)
    pipeline, traced = traces[str(folder)]
    features = np.concatenate([features_of(folder_of(out, r)) for r in runs])
    kid = next(s for s in score_features(features, reference("fashion-mnist")).scores if s.name == "KID")
    noise, bits = _noise(condition, pipeline, folder_of(out, runs[0]), draws)
    kid_of = Estimate(kid.value, kid.low, kid.high, level=kid.level, std=kid.std, n=len(features))

    def made(machine: Machine, network: Floats, how: str, **more: Any) -> _Priced:
        whole = network + noise
        parts = {"network": _pJ(network), "random numbers": _pJ(noise)}
        return _Priced(Design(
            name=f"{name}, {machine}" if condition.compute is None else name, condition=name, machine=machine,
            diffusion="in-place" if condition.diffusion == "in-place" else "gaussian", evaluations=condition.steps,
            kid=kid_of, images=len(features), energy=_pJ(whole), parts=parts, random_bits=bits, how=how, **more,
        ), whole, noise)  # fmt: skip

    spec = built_spec(condition) or ArraySpec.preset("digital")
    priced = price_network(traced, spec, macro, evaluations=condition.steps, draws=draws)
    if condition.compute is not None:
        kinds: dict[str, Machine] = {"digital": "digital crossbars", "analog": "analog crossbars",
                                     "resistance_sum": "resistance sums"}  # fmt: skip
        seconds, area = Estimate.of_draws(priced.seconds, unit="s"), Estimate.of_draws(1e6 * priced.area, unit="mm^2")
        return [made(kinds[spec.mode], priced.energy, "macro model", seconds=seconds, area=area)]
    digital = made("int8 digital machine", priced.digital, "cost table")
    if condition.diffusion == "in-place":  # an array that holds the image is part of a chip
        return [digital]
    operations = 2 * priced.result.macs
    gpu = operations / (draws.of(GPU_PEAK, "GPU peak") * draws.of(GPU_SHARE, "GPU share"))
    designs = [digital, made("GPU", gpu, "data sheets; share of the peak assumed")]
    if timed:
        spent = network_seconds(pipeline, condition.steps)
        power = next(p for p in draws.table.processors if p.kind == "cpu").power
        busy = draws.of(spent, "network here")
        designs.append(made("CPU core", busy * draws.of(power, "CPU power"), "timed here; power of the table",
                            seconds=Estimate.of_draws(busy, unit="s")))  # fmt: skip
    return designs


def _noise(condition: Any, pipeline: Pipeline, folder: Path, draws: Draws) -> tuple[Floats, float]:
    """Energy [J] of the random numbers of an image at the macro with their bytes, and the random bits."""
    if condition.diffusion == "in-place":
        costs = read_object(folder / "result.json").get("costs")
        if not costs:
            raise InputError(f"{folder.name}: images in ideal cells have no price; give cells of a junction")
        work = ImageWork.from_json(costs[0])
        whole = work.energy["macro"], work.moving
        spent = [draws.of(Sourced(e.value, "pJ", "counted pulses", "derived", e.low, e.high), "in place", str(i))
                 for i, e in enumerate(whole)]  # fmt: skip
        return sum(spent, start=np.zeros(draws.samples)), work.random_bits
    cells = 2 if condition.sample.endswith("xor") else 1
    job = image_job(pipeline, condition.steps, cells_per_bit=cells)
    drawn = Prices.of(*random_pulse(), draws=draws).total(job.counts, "macro")
    return drawn + sampler_bytes(job.normals) * byte_price(draws), float(job.bits)


def _pJ(joules: Floats) -> Estimate:
    return Estimate.of_draws(1e12 * joules, unit="pJ")


def _rates(asked: float, draws: Draws) -> list[Rate]:
    """Generators of bits at equal bits per second and area, the memory among them."""
    found = []
    for source in draws.table.sources:
        rate = rate_of(source)
        if rate is None or source.area is None or source.per != "bit" or source.how == "unread":
            continue
        per_area = rate / (si(source.area) * 1e6)
        found.append(Rate(name=source.name, per_area=per_area, area=asked / per_area, power=asked * si(source.energy),
                          how=source.how))  # fmt: skip
    junction, pulse = random_pulse()
    # a row of 256 cells is reset, pulsed and read; two cells make a bit
    table, cells = draws.table, 256 * 256
    rate = 256 / 2 / (si(table.read_width) + 2 * pulse.width)
    prices = Prices.of(junction, pulse, cells=cells, draws=draws)
    each = float(np.median(prices.total({"pulse": 2, "reset": 2, "read": 2, "xor": 1}, "macro")))
    per_area = rate / (float(np.median(prices.area["macro"])) * 1e6)
    found.append(Rate(name="this memory, XOR of two cells, row by row", per_area=per_area, area=asked / per_area,
                      power=asked * each, how="counted, priced"))  # fmt: skip
    return sorted(found, key=lambda r: -r.per_area)


def rate_of(source: RandomSource) -> float | None:
    """Return the rate of a generator [bit/s] as the table words it, the middle of a range; None where it is words."""
    match = re.search(r"([\d.]+)(?: to ([\d.]+))? ([kMG]b/s)", source.rate)
    if match is None:
        return None
    low, high, unit = match.groups()
    return math.sqrt(float(low) * float(high or low)) * _SI_RATE[unit]


def _findings(found: Sequence[_Priced], best: _Priced | None) -> list[str]:
    if best is None:
        return []
    said = [f"As good as the best machine without crossbars, by the interval of its KID, and with the least energy: "
            f"{best.design.name!r}, {energies(best.design.energy)} an image at a KID of "
            f"{_thousandths(best.design.kid)}e-3."]  # fmt: skip
    for machine in ("int8 digital machine", "GPU", "CPU core"):
        others = [p for p in found if p.design.machine == machine and p.design.kid.low <= best.design.kid.high]
        if not others:
            continue
        other = min(others, key=lambda p: p.design.energy.value)
        ratio = Estimate.of_draws(other.whole / best.whole)
        equal = Estimate.of_draws(
            other.whole / other.design.evaluations / (best.whole / best.design.evaluations)
        )  # fmt: skip
        outcome = "wins" if ratio.low > 1 else "loses" if ratio.high < 1 else "may win or lose"
        thousand = "exceeds" if ratio.low > 1000 else "does not reach" if ratio.high < 1000 else "may reach"
        said.append(
            f"{other.design.name!r} takes {_range(ratio)} the energy of a whole image ({_range(equal)} for an "
            f"evaluation): the memory {outcome}, and {thousand} 10\N{SUPERSCRIPT THREE}."
        )
    share = Estimate.of_draws(100 * best.noise / best.whole)
    said.append(
        f"Its random numbers are {share.value:.2g} % ({share.low:.2g} to {share.high:.2g}) of that: a cheaper bit "
        f"saves at most {energy(float(np.median(1e12 * best.noise)))} of an image."
    )
    pairs = [(p, q) for p in found for q in found
             if p.design.diffusion == "in-place" and q.design.diffusion == "gaussian"
             and p.design.machine == q.design.machine and p.design.evaluations == q.design.evaluations]  # fmt: skip
    for p, q in pairs:
        if p.design.in_memory:
            ratio = Estimate.of_draws(q.whole / p.whole)
            said.append(
                f"In place against Gaussian noise at {p.design.evaluations} evaluations in {p.design.machine}: energy "
                f"{ratio.value:.3f} ({ratio.low:.3f} to {ratio.high:.3f}) times, KID {_thousandths(p.design.kid)} "
                f"against {_thousandths(q.design.kid)}e-3."
            )
    return said


def _range(ratio: Estimate) -> str:
    return f"{times(ratio.value)} ({times(ratio.low)} to {times(ratio.high)})"


def _assumptions(macro: MacroSpec, timed: bool) -> tuple[str, ...]:
    return (
        f"arrays and the int8 machine at {macro.node * 1e9:g} nm; parts, ranges and grades as in docs/macro.md",
        "machines in floating point and in 8-bit integers are taken to make the same images (8-bit digital arrays are "
        "equivalent to floating point in docs/compute-study.md)",
        f"GPU: {_picojoule(GPU_PEAK.value)} ({_picojoule(GPU_PEAK.low)} to {_picojoule(GPU_PEAK.high)}) int8 "
        "operations for a picojoule at its peak, of which it reaches "
        f"{GPU_SHARE.value:g} ({GPU_SHARE.low} to {GPU_SHARE.high}; assumed)",
        *(("CPU: time of the network on one core here by the power of a busy core",) if timed else ()),
        "no main memory: weights stay on the chip in every machine but the CPU and the GPU, whose power holds theirs",
    )


def _picojoule(per_joule: float | None) -> str:
    return "-" if per_joule is None else f"{1e-12 * per_joule:g}"
