"""The whole job: device, memory, forward, reverse, quality, cost, one page. ``voltaspin demo`` and :func:`demo` run it.

Each section of the page is one call of a library function. The study that ships with the package is this same run with
5,000 images per condition (scripts/ship_study.py takes it over).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.folders import OutputFolder
from voltaspin.core.forecast import Forecast
from voltaspin.core.result import RunRecord
from voltaspin.cost.comparison import cost_of_images
from voltaspin.device import SwitchingModel, presets
from voltaspin.device.pulse_check import check_fair_pulse
from voltaspin.diffusion.backend import bf16_is_faster
from voltaspin.diffusion.conditions import forward_process, sampled_condition
from voltaspin.diffusion.grids import grid_png, strip_png
from voltaspin.diffusion.pipelines import load_pipeline, shipped_model
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.metrics import Extractor, garments, reference
from voltaspin.metrics.conditions import compare_conditions, shipped_comparison
from voltaspin.noise import MemorySource, NoiseSource, build
from voltaspin.noise.examination.statistics import array_bits
from voltaspin.report.demo_page import files_before, write_report
from voltaspin.report.demo_results import DemoResults, QualityPair, Reverse
from voltaspin.report.in_place import show_in_place
from voltaspin.study.work import seconds_of

Progress = Callable[[str, int, int], None]

K_EFF_SPREAD, STRAY_SPREAD = 0.05, 0.5e-3  # assumed: no published array states them for such junctions
CYCLES = 2000
_OTHER_SECONDS, _MEMORY = 40.0, 1.5e9  # of all that is no image, on one core; at most [byte]; both estimated
SHARED = (
    "All conditions share the weights, the time steps and, image by image, the uniform words that decide the bits: "
    "the same 16-bit word asks a memory cell at its own probability and a software coin at 1/2, and the "
    "float32 software normals have these words as their leading 16 bits. Cells with p = 1/2 and no correlation "
    "would therefore give the software's images by construction; what differs is what the cells' own "
    "probabilities, their memory of the last state and the 16-bit levels change."
)
TITLE = "Images drawn by a diffusion model whose noise is the switching of a voltage-controlled magnetic memory"


def demo(
    *,
    images: int = 64,
    steps: int = 50,
    seed: int = 0,
    out: Path | str = "demo-report",
    force: bool = False,
    progress: Progress | None = None,
) -> DemoResults:
    """Run every part and write ``index.html``, ``results.json`` and ``pictures/`` into ``out``.

    Args:
        images: per condition, at least 4 (an FD needs 128, its extrapolation 256).
        steps: ancestral steps, at least 2.
        seed: of all simulated chance.
        out: a folder that is new, empty or of a run with the same settings. Finished conditions are kept in
            ``out/samples`` and used again by such a run, so that a long one which was killed continues.
        force: take a folder that is not empty; of its files only those are replaced that its ``run.json`` lists.
        progress: called as ``progress(part, done, total)``; without one nothing is shown.

    Returns:
        The results, whose parts show themselves (``results.device``, ``results.quality.live``).

    Raises:
        InputError: too few images or steps, or a folder of something else.
    """
    if images < 4 or steps < 2:
        raise InputError(f"{images} images of {steps} steps: give at least 4 images and 2 steps")
    settings = {"images": images, "steps": steps, "seed": seed}
    command = f"voltaspin demo --images {images} --steps {steps} --seed {seed}"
    adopt = files_before(Path(out), command)
    show = progress or (lambda *_: None)
    with OutputFolder.claim(Path(out), command="demo", arguments=settings, force=force, adopt=adopt) as folder:
        results = _run(folder, images=images, steps=steps, seed=seed, command=command, progress=show)
        folder.finish(RunRecord().to_json())
    return results


def forecast(images: int, steps: int) -> Forecast:
    """Return time and memory of :func:`demo`, within a factor of two or three."""
    seconds = _OTHER_SECONDS + seconds_of(6.0 * images * steps)  # five conditions, and images in place
    return Forecast(work=f"the demo, {images} images of each condition", seconds=seconds, memory=_MEMORY)


def control_source(seed: int) -> NoiseSource:
    """A memory that must be told apart: every cell answers 1 with p = 0.55, and 16 bits are just added up."""
    biased = MagnetoelectricMemory(
        model=SwitchingModel.constant(0.55, 0.45), K_eff_spread=0, stray_field_spread=0, seed=seed
    )
    return build("memory:k=1,transform=popcount,bits_per_sample=16", memory=biased, seed=seed)


def _run(folder: OutputFolder, *, images: int, steps: int, seed: int, command: str, progress: Progress) -> DemoResults:
    pipeline, model = load_pipeline(shipped_model()), SwitchingModel.shipped()
    # Every call gives the same cells with a ledger of its own.
    array = partial(MagnetoelectricMemory, model=model, K_eff_spread=K_EFF_SPREAD, stray_field_spread=STRAY_SPREAD)
    raw, conditioned, dissolving = (MemorySource(memory=array(seed=seed), seed=seed, k=k) for k in (1, 2, 2))
    sources: dict[str, tuple[str, NoiseSource]] = {
        "software": ("Software normals, float32", build("software", seed=seed)),
        "software16": ("Software normals, 16 bit", build("software-16", seed=seed)),
        "raw": ("Memory, raw bits", raw),
        "conditioned": ("Memory, XOR of two cells", conditioned),
        "control": ("Control: p = 0.55, popcount", control_source(seed)),
    }
    files = [f"samples/{key}.{suffix}" for key in sources for suffix in ("npy", "json")]
    folder.plan(["index.html", "results.json", *files])
    seconds: dict[str, float] = {}
    with _timed(seconds, "device"):
        device = check_fair_pulse(
            presets.generator, seed=seed, fit_error=model.fit_error, progress=partial(progress, "1 device: pulse")
        )
    with _timed(seconds, "memory"):
        memory = array_bits(
            raw, conditioned, cycles=CYCLES, size=int(np.prod(pipeline.image_shape)), grade="assumed",
            operation="one reset per image, none between draws; every pixel keeps its own cells (fixed mapping)",
            progress=partial(progress, "2 memory: bits"),
        )  # fmt: skip
    with _timed(seconds, "forward"):
        progress("3 forward", 0, 1)
        forward, strip = forward_process(pipeline, dissolving, garments()[:6])
        progress("3 forward", 1, 1)
    with _timed(seconds, "reverse"):
        *conditions, control = (
            sampled_condition(
                pipeline, source, key=key, name=name, images=images, steps=steps, folder=folder.path / "samples",
                progress=partial(progress, f"4 reverse: {name}"),
            )
            for key, (name, source) in sources.items()
        )  # fmt: skip
    with _timed(seconds, "in place"):
        in_place, strips, formed = show_in_place(
            pipeline, build("software", seed=seed), garments()[0], steps=steps, seed=seed,
            progress=partial(progress, "5 in place"),
        )  # fmt: skip
    reverse = Reverse(
        conditions=tuple(c.condition for c in conditions), sampler="ancestral DDPM", steps=steps, nfe=steps,
        images_per_condition=images, shared=SHARED,
    )  # fmt: skip
    with _timed(seconds, "quality"):
        live = compare_conditions(
            conditions, control, reference("fashion-mnist"), extractor=Extractor.load(), shared=SHARED,
            broken="every cell answers 1 with p = 0.55, and 16 bits are added up instead of looked up",
            label="This run", steps=steps, command=command, progress=partial(progress, "6 quality"),
        )  # fmt: skip
    with _timed(seconds, "cost"):
        progress("7 cost", 0, 1)
        cost = cost_of_images(
            conditions[-1].ledger, pipeline, images=images, steps=steps, junction=presets.generator,
            pulse=device.chosen.pulse, cells=conditioned.memory.cells,
        )  # fmt: skip
        progress("7 cost", 1, 1)
    configuration = {
        "images": images, "steps": steps, "seed": seed, "model_sha256": pipeline.sha256, "K_eff_spread": K_EFF_SPREAD,
        "stray_field_spread_T": STRAY_SPREAD, "precision": "bf16" if bf16_is_faster("cpu") else "float32",
        "argv": sys.argv[1:],
    }  # fmt: skip
    results = DemoResults(
        title=TITLE, command=command, seed=seed, configuration=configuration, seconds=seconds, device=device,
        memory=memory, forward=forward, reverse=reverse, in_place=in_place,
        quality=QualityPair(live=live, study=shipped_comparison()), cost=cost,
    )  # fmt: skip
    progress("page", 0, 1)
    pictures = {
        "main": grid_png(conditions[-1].images[:48], 8, scale=2, paper=(17, 21, 31)),
        "forward": strip_png(strip, column_labels=["real", *(f"t = {t + 1}" for t in forward.steps[1:])]),
        "in_place": strips,
        "in_place_images": grid_png(formed, 8),
        **{f"condition:{c.condition.key}": grid_png(c.images[:32], 8) for c in conditions},
    }
    write_report(results, pictures, folder)
    progress("page", 1, 1)
    return results


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Note the wall time of a part."""
    begin = time.monotonic()
    yield
    seconds[part] = round(time.monotonic() - begin, 2)
