"""The whole job: device, memory, forward, reverse, quality, cost, one page. ``voltaspin demo`` runs it.

Each function is one section of the page and returns its part of ``report.demo_results``. The study that ships
with the package is this same run with 5,000 images per arm (scripts/ship_study.py takes it over).
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.context import RunContext
from voltaspin.core.errors import InputError
from voltaspin.core.files import opened_whole, read_object, sha256_of, write_json
from voltaspin.core.folders import RECORD, OutputFolder
from voltaspin.core.ledger import Ledger
from voltaspin.core.result import RunRecord
from voltaspin.core.spec import environment
from voltaspin.cost.comparison import Cost, compare
from voltaspin.cost.jobs import ARRAY, image_job, network_seconds, training_job, workload
from voltaspin.cost.merit import figure_of_merit
from voltaspin.cost.network import priced_network
from voltaspin.cost.pricing import Prices
from voltaspin.cost.processors import processor_rng
from voltaspin.device import Pulse, SwitchingModel, presets
from voltaspin.device.pulse_check import check_fair_pulse
from voltaspin.diffusion.backend import bf16_is_faster
from voltaspin.diffusion.grids import grid_png, strip_png
from voltaspin.diffusion.pipelines import Pipeline, load_pipeline, shipped_model
from voltaspin.diffusion.sampling import sample
from voltaspin.memory import ArraySpec, MagnetoelectricMemory
from voltaspin.metrics import Extractor, garments, reference
from voltaspin.metrics.conditions import ConditionComparison, ConditionImages, compare_conditions
from voltaspin.noise import MemorySource, NoiseSource, build
from voltaspin.noise.examination.statistics import bit_statistics
from voltaspin.report import demo_results as r
from voltaspin.report.demo_page import pictures_of, write_page

Progress = Callable[[str, int, int], None]

K_EFF_SPREAD, STRAY_SPREAD = 0.05, 0.5e-3  # assumed: no published array states them for such junctions
CYCLES = 2000
SHARED = (
    "All conditions share the weights, the time steps and, image by image, the uniform words that decide the bits: "
    "the same 16-bit word asks a memory cell at its own probability and a software coin at 1/2, and the "
    "float32 software normals have these words as their leading 16 bits. Cells with p = 1/2 and no correlation "
    "would therefore give the software's images by construction; what differs is what the cells' own "
    "probabilities, their memory of the last state and the 16-bit levels change."
)
TITLE = "Images drawn by a diffusion model whose noise is the switching of a voltage-controlled magnetic memory"


#: Files of the report, as 0.1.0 named them too.
PICTURES = tuple(
    f"pictures/{name}.png"
    for name in ("switching", "conditioning", "quality_live", "quality_study", "cost", "claim", "image", "main",
                 "forward", "arm-software", "arm-software16", "arm-raw", "arm-conditioned")
)  # fmt: skip
SAMPLES = tuple(
    f"samples/{key}.{suffix}"
    for key in ("software", "software16", "raw", "conditioned", "control") for suffix in ("npy", "json")
)  # fmt: skip


@dataclass
class Arm:
    """One noise under which the shipped model samples."""

    key: str
    name: str
    source: NoiseSource
    images: NDArray[np.uint8] = field(default_factory=lambda: np.empty((0, 1, 28, 28), np.uint8))
    ledger: Ledger = field(default_factory=Ledger)
    steps: int = 0

    def described(self) -> r.Condition:
        provenance = self.source.provenance
        return r.Condition(key=self.key, name=self.name, noise=provenance.description, provenance=provenance.kind)


def run_demo(
    *, out: Path, images: int, steps: int, seed: int, progress: Progress, force: bool = False
) -> r.DemoResults:
    """Run every part and write ``index.html``, ``results.json`` and ``pictures/`` into ``out``.

    Args:
        out: a folder that is new, empty or of a run with the same settings. Finished conditions are kept in
            ``out/samples`` and used again by such a run, so that a long one which was killed continues.
        force: take a folder that is not empty; of its files only those are replaced that its ``run.json`` lists.
        images: per arm, at least 4 (an FD needs 128, its extrapolation 256).
        steps: ancestral steps, at least 2.
        seed: of all simulated chance.
        progress: called as ``progress(part, done, total)``.
    """
    if images < 4 or steps < 2:
        raise InputError(f"{images} images of {steps} steps: give at least 4 images and 2 steps")
    settings = {"images": images, "steps": steps, "seed": seed}
    adopt = _written_before(out, command_of(**settings))
    with OutputFolder.claim(out, command="demo", arguments=settings, force=force, adopt=adopt) as folder:
        results = _run(folder, images=images, steps=steps, seed=seed, progress=progress)
        folder.finish(RunRecord().to_json())
    return results


def command_of(*, images: int, steps: int, seed: int) -> str:
    return f"voltaspin demo --images {images} --steps {steps} --seed {seed}"


def _written_before(out: Path, command: str) -> list[str]:
    """The files of the same run of 0.1.0, which listed none."""
    with contextlib.suppress(InputError):
        results = out / "results.json"
        before = results.is_file() and not (out / RECORD).is_file()
        if before and r.DemoResults.load(results).command == command:
            return ["index.html", "results.json", *PICTURES, *SAMPLES]
    return []


def _run(folder: OutputFolder, *, images: int, steps: int, seed: int, progress: Progress) -> r.DemoResults:
    out = folder.path
    clock = Clock()
    pipeline = load_pipeline(shipped_model())
    folder.plan(["index.html", "results.json", *SAMPLES])
    with clock("device"):
        model = SwitchingModel.shipped()
        device = check_fair_pulse(
            presets.generator, seed=seed, fit_error=model.fit_error, progress=partial(progress, "1 device: pulse")
        )
    pulse = Pulse(voltage=device.chosen.voltage, width=device.chosen.width)
    arms, control = make_arms(model, seed), control_arm(seed)
    conditioned = arms[-1]
    memory = array(model, seed)
    with clock("memory"):
        bits = memory_section(memory, arms, pipeline, progress)
    with clock("forward"):
        forward, strip = forward_section(pipeline, MemorySource(memory=memory, seed=seed), progress)
    settings = {"images": images, "steps": steps, "seed": seed, "model_sha256": pipeline.sha256}
    with clock("reverse"):
        for arm in (*arms, control):
            draw_images(arm, pipeline, images=images, steps=steps, out=out, settings=settings, progress=progress)
    reverse = r.Reverse(
        conditions=tuple(a.described() for a in arms),
        sampler="ancestral DDPM",
        steps=steps,
        nfe=steps,
        images_per_condition=images,
        shared=SHARED,
    )
    command = command_of(images=images, steps=steps, seed=seed)
    with clock("quality"):
        live = quality_section(arms, control, steps=steps, command=command, progress=progress)
    with clock("cost"):
        cost = cost_section(conditioned, memory, pulse, pipeline, progress)
    results = r.DemoResults(
        title=TITLE,
        command=command,
        seed=seed,
        configuration=settings
        | {
            "K_eff_spread": K_EFF_SPREAD,
            "stray_field_spread_T": STRAY_SPREAD,
            "precision": "bf16" if bf16_is_faster("cpu") else "float32",
            "argv": sys.argv[1:],
        },
        seconds=clock.seconds,
        device=device,
        memory=bits,
        forward=forward,
        reverse=reverse,
        quality=r.QualityPair(live=live, study=shipped_study()),
        cost=cost,
    )
    progress("page", 0, 1)
    pictures = pictures_of(results) | {
        "main": grid_png(conditioned.images[:48], 8, scale=2, paper=(17, 21, 31)),
        "forward": strip,
        **{f"arm:{arm.key}": grid_png(arm.images[:32], 8) for arm in arms},
    }
    write_report(results, pictures, folder)
    progress("page", 1, 1)
    return results


def write_report(results: r.DemoResults, pictures: dict[str, bytes], folder: OutputFolder) -> None:
    """Write page, pictures and numbers, each whole or not at all; the page, which shows the others, comes last."""
    for name, png in pictures.items():
        folder.write_bytes(f"pictures/{name.replace(':', '-')}.png", png)
    folder.write_json("results.json", results.to_json())
    with folder.replacing("index.html") as part:
        write_page(results, pictures, part)


class Clock:
    """Wall time per part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        begin = time.monotonic()
        yield
        self.seconds[part] = round(time.monotonic() - begin, 2)


def make_arms(model: SwitchingModel, seed: int) -> tuple[Arm, ...]:
    """The four conditions of the comparison; see ``SHARED`` for what couples them."""
    return (
        Arm("software", "Software normals, float32", build("software", seed=seed)),
        Arm("software16", "Software normals, 16 bit", build("software-16", seed=seed)),
        Arm("raw", "Memory, raw bits", build("memory-raw", memory=array(model, seed), seed=seed)),
        Arm("conditioned", "Memory, XOR of two cells", build("memory-xor", memory=array(model, seed), seed=seed)),
    )


def array(model: SwitchingModel, seed: int) -> MagnetoelectricMemory:
    """The demo's array; every call gives the same cells with a ledger of its own."""
    return MagnetoelectricMemory(model=model, K_eff_spread=K_EFF_SPREAD, stray_field_spread=STRAY_SPREAD, seed=seed)


def control_arm(seed: int) -> Arm:
    """A memory that must be told apart: every cell answers 1 with p = 0.55, and 16 bits are just added up."""
    biased = MagnetoelectricMemory(
        model=SwitchingModel.constant(0.55, 0.45), K_eff_spread=0, stray_field_spread=0, seed=seed
    )
    source = build("memory:k=1,transform=popcount,bits_per_sample=16", memory=biased, seed=seed)
    return Arm("control", "Control: p = 0.55, popcount", source)


def memory_section(
    memory: MagnetoelectricMemory, arms: tuple[Arm, ...], pipeline: Pipeline, progress: Progress
) -> r.Memory:
    """Bias and autocorrelation of the bits that one image finds, per cell and overall."""
    size = int(np.prod(pipeline.image_shape))
    found = []
    for i, key in enumerate(("raw", "conditioned")):
        source = next(a.source for a in arms if a.key == key)
        progress("2 memory: bits", i, 2)
        if not isinstance(source, MemorySource):
            raise TypeError(f"arm {key} is no memory")
        # A stream of its own, so that these bits are not those of an image.
        _, conditioned = source.samples(CYCLES, size=size, stream=2**62)
        found.append(bit_statistics(conditioned).brief(key))
    progress("2 memory: bits", 2, 2)
    return r.Memory(
        rows=memory.rows,
        columns=memory.columns,
        spreads={
            "K_eff": f"{100 * memory.variation.K_eff:g} % (assumed)",
            "stray field": f"{1e3 * memory.variation.stray_field:g} mT (assumed)",
            "p01 of the cells": f"{memory.p01.mean():.4f} +- {memory.p01.std():.4f}",
        },
        operation="one reset per image, none between draws; every pixel keeps its own cells (fixed mapping)",
        raw=found[0],
        conditioned=found[1],
    )


def forward_section(pipeline: Pipeline, source: NoiseSource, progress: Progress) -> tuple[r.Forward, bytes]:
    """Real garments dissolve in the memory's noise: x_t in closed form at a few time steps."""
    progress("3 forward", 0, 1)
    total = pipeline.scheduler.config.num_train_timesteps
    shown = tuple(int(t) for t in np.linspace(0, total - 1, 9))
    clean = garments()[:6].astype(np.float32) / 127.5 - 1
    context = RunContext(images=tuple(2**61 + i for i in range(len(clean))))
    noise = source.normal(clean.shape, streams=context.images, step=0)
    columns = [clean]
    for t in shown[1:]:
        alpha_bar = float(pipeline.scheduler.alphas_cumprod[t])
        columns.append(alpha_bar**0.5 * clean + (1 - alpha_bar) ** 0.5 * noise)
    grey = np.clip(np.rint((np.stack(columns, axis=1) + 1) * 127.5), 0, 255).astype(np.uint8)
    labels = ["real", *(f"t = {t + 1}" for t in shown[1:])]
    progress("3 forward", 1, 1)
    provenance = source.provenance
    section = r.Forward(steps=shown, n_steps=total, provenance=provenance.kind, noise=provenance.description)
    return section, strip_png(grey, column_labels=labels)


def draw_images(
    arm: Arm,
    pipeline: Pipeline,
    *,
    images: int,
    steps: int,
    out: Path,
    settings: dict[str, object],
    progress: Progress,
) -> None:
    """Fill in the images of an arm; take them from ``out/samples`` if the same settings made them before."""
    folder = out / "samples"
    folder.mkdir(exist_ok=True)
    provenance = arm.source.provenance
    wanted = json.loads(json.dumps({**settings, "noise": provenance.to_json(), "environment": environment()}))
    record, stored = folder / f"{arm.key}.json", folder / f"{arm.key}.npy"
    part = f"4 reverse: {arm.name}"
    arm.steps = steps
    known: dict[str, Any] = {}
    with contextlib.suppress(InputError):  # one that cannot be read counts as none
        known = read_object(record) if stored.is_file() else {}
    if known.get("settings") == wanted and known.get("sha256") == sha256_of(stored):
        arm.images, arm.ledger = np.load(stored, allow_pickle=False), Ledger.from_dict(known["ledger"])
        progress(part, images * steps, images * steps)
        return
    made = sample(
        pipeline,
        arm.source,
        count=images,
        steps=steps,
        precision="auto",
        progress=lambda done, total: progress(part, done, total),
    )
    arm.images, arm.ledger = made.images, arm.source.ledger
    with opened_whole(stored) as file:
        np.save(file, made.images, allow_pickle=False)
    # Written last, with the hash of what it speaks of: a record never stands beside other images.
    found = {"settings": wanted, "sha256": sha256_of(stored), "ledger": arm.ledger.to_dict()}
    write_json(record, found | {"seconds": made.seconds})


def quality_section(
    arms: Sequence[Arm], control: Arm, *, steps: int, command: str, progress: Progress
) -> ConditionComparison:
    """Score every condition, its paired difference from software noise, yardsticks and the control."""
    extractor = Extractor.load()
    every = [ConditionImages(a.key, a.name, extractor.features(a.images), a.source.provenance.description)
             for a in (*arms, control)]  # fmt: skip
    return compare_conditions(
        every[:-1], every[-1], reference("fashion-mnist"), extractor=extractor, shared=SHARED,
        broken="every cell answers 1 with p = 0.55, and 16 bits are added up instead of looked up",
        label="This run", steps=steps, command=command, progress=partial(progress, "5 quality"),
    )  # fmt: skip


def shipped_study() -> ConditionComparison:
    """Return the larger comparison that ships with the package."""
    return ConditionComparison.load(Path(__file__).parent / "data" / "study.json")


def cost_section(arm: Arm, memory: MagnetoelectricMemory, pulse: Pulse, pipeline: Pipeline, progress: Progress) -> Cost:
    """The conditioned arm's ledger, priced at each boundary beside conventional sources."""
    progress("6 cost", 0, 1)
    counts, k = arm.ledger.totals(), len(arm.images)
    per_bit: dict[str, Any] = {"cells_per_bit": counts["pulse"] // counts["bit"]}
    resets = counts["reset"] / counts["pulse"]
    prices = Prices.of(presets.generator, pulse, cells=memory.cells)
    network, coverage = priced_network(
        pipeline, ArraySpec.preset(ARRAY), steps=arm.steps, array=ARRAY, draws=prices.draws
    )
    # Short periods and no card: the page does not wait for them; voltaspin cost measures longer.
    processors, notes = processor_rng(prices.draws.table, gpu=False, seconds=0.1, repeats=3)
    # Training resets the array before every example, sampling once an image.
    jobs = image_job(pipeline, arm.steps, resets=resets, **per_bit), training_job(pipeline, None, None, **per_bit)
    work = workload(
        prices, jobs, processors=processors, networks=network.by_machine(),
        own_network=network_seconds(pipeline, arm.steps, repeats=2), notes=notes,
    )  # fmt: skip
    merit = figure_of_merit(presets.generator, pulse, reset=resets, prices=prices, **per_bit)
    cost = compare(
        arm.ledger, prices, images=k, macs_per_image=(coverage.macs_per_image or 0.0) * network.result.steps,
        network=network.result, figure_of_merit=merit.model_copy(update={"work": work}),
    )  # fmt: skip
    progress("6 cost", 1, 1)
    return cost
