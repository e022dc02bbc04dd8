"""Images of the shipped model computed in memory, against the float model's, over what an array may be like.

python scripts/compute_study.py --out build/compute-study [--images 1024] [--steps 25] [--only PATTERN]

Hours on two cores. A finished condition is kept and not computed again; stop and go on as you like. Every condition
samples the same images (the same first latent and the same noise at every step), so that differences are paired.
Afterwards it writes docs/compute-study.md and its figure.
"""

from __future__ import annotations

import argparse
import fnmatch
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure

from voltaspin.core.files import read_json, write_json
from voltaspin.core.spec import environment
from voltaspin.diffusion import load_images, load_pipeline, sample, shipped_model
from voltaspin.diffusion.arithmetic import variance_per_step
from voltaspin.diffusion.sampling import Pipeline
from voltaspin.diffusion.training import diffusion_loss, encode
from voltaspin.memory import ArraySpec, calibrate, convert
from voltaspin.metrics import Extractor, garments, paired_difference, reference, score_features
from voltaspin.noise import PseudoSource
from voltaspin.plots.drawing import BLUE, DPI, GREEN, GREY, INK, ORANGE, STYLE, figure_png

#: A crossbar that does little harm, from which one thing at a time is changed. All assumed.
BASE: dict[str, Any] = {
    "weight_bits": 6, "input_bits": 8, "adc_bits": 8, "mode": "analog", "TMR": 1.0, "resistance_spread": 0.02,
    "read_noise": 0.01, "write_error_rate": 1e-5,
}  # fmt: skip
AXES: dict[str, tuple[float | int, ...]] = {
    "weight_bits": (2, 3, 4, 6, 8),
    "adc_bits": (3, 4, 5, 6, 8),
    "TMR": (0.25, 0.5, 1.0, 2.0, 4.0),
    "resistance_spread": (0.0, 0.02, 0.05, 0.1, 0.2),
    "write_error_rate": (1e-5, 1e-4, 1e-3, 3e-3, 1e-2),
    "read_noise": (0.01, 0.03, 0.1, 0.2),
}
#: Declared before the run: the margin of the shipped study, less than the effect of halving the steps (0.030).
MARGIN = 0.0277
TIMES = (50, 250, 450, 650, 850)  #: at which the error of the network's output is measured
TUNING_STEPS, TUNING_RATE = 300, 5e-5


@dataclass(frozen=True)
class Condition:
    """One set of images."""

    name: str
    spec: dict[str, Any] | None = field(default_factory=dict)  # None: the float model
    steps: int | None = None
    images: int | None = None
    correct: bool = False
    tune: bool = False
    against: str = "float"


def conditions() -> list[Condition]:
    digital = {"mode": "digital", "weight_bits": 8, "input_bits": 8, "TMR": 1.0, "resistance_spread": 0.05,
               "write_error_rate": 1e-6, "read_noise": 0.0}  # fmt: skip
    noisy = {"read_noise": 0.1}
    made = [Condition("float", None), Condition("base")]
    made += [Condition("float-50", None, steps=50, images=1024),
             Condition("digital-50", digital, steps=50, images=1024, against="float-50"),
             Condition("float-halved", None, steps=12)]  # fmt: skip
    for axis, values in AXES.items():
        made += [Condition(f"{axis}-{v:g}", {axis: v}) for v in values if v != BASE[axis]]
    made += [Condition("four-bit-tuned", {"weight_bits": 4}, tune=True, against="weight_bits-4"),
             Condition("noisy-corrected", noisy, correct=True, against="read_noise-0.1"),
             Condition("computed-noise", {"read_noise": None}),
             Condition("wire-1-ohm", {"wire_resistance": 1.0})]  # fmt: skip
    return made


def states(pipeline: Pipeline, t: int, seed: int) -> torch.Tensor:
    """Real garments with the noise of time ``t``: what the network sees there."""
    clean = torch.from_numpy(encode(garments(), margin=0.05))
    alpha_bar = float(pipeline.scheduler.alphas_cumprod[t])
    z = torch.from_numpy(PseudoSource(seed=seed).normal(tuple(clean.shape), streams=range(len(clean)), step=t))
    return alpha_bar**0.5 * clean + (1 - alpha_bar) ** 0.5 * z


def in_memory(pipeline: Pipeline, fields: dict[str, Any]) -> Pipeline:
    spec = ArraySpec(**{**BASE, **fields})
    unet, _ = convert(pipeline.unet, spec)
    first, between = (0, 100) if spec.time_buckets == 1 else (25, 50)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        calibrate(unet, [(states(pipeline, t, 1), t) for t in range(first, 1000, between)])
    return replace(pipeline, unet=unet)


@torch.no_grad()
def relative_errors(pipeline: Pipeline, exact: torch.nn.Module) -> list[float]:
    """Mean square error of the network's output over its mean square, at each of ``TIMES``."""
    errors = []
    for t in TIMES:
        x = states(pipeline, t, 2)
        ideal = exact(x, t).sample
        errors.append(float(((pipeline.unet(x, t).sample - ideal) ** 2).mean() / (ideal**2).mean()))
    return errors


def tune(pipeline: Pipeline, tell: Callable[[str], None]) -> list[float]:
    """Hardware-aware fine-tuning: the ordinary training loop on the converted model, on its own chip."""
    pictures = load_images("fashion-mnist").images
    order = np.random.Generator(np.random.Philox(key=7))
    optimiser = torch.optim.AdamW(pipeline.unet.parameters(), lr=TUNING_RATE, weight_decay=0.0)
    alpha_bar = pipeline.scheduler.alphas_cumprod.float()
    kind, losses = pipeline.scheduler.config.prediction_type, []
    pipeline.unet.train()
    for step in range(TUNING_STEPS):
        for group in optimiser.param_groups:
            group["lr"] = TUNING_RATE * 0.5 * (1 + math.cos(math.pi * step / TUNING_STEPS))
        x0 = torch.from_numpy(encode(pictures[np.sort(order.choice(len(pictures), 64, replace=False))], margin=0.05))
        z = torch.from_numpy(order.standard_normal(tuple(x0.shape), dtype=np.float32))
        t = torch.from_numpy(((order.permutation(64) + order.random(64)) / 64 * 1000).astype(np.int64))
        loss = diffusion_loss(pipeline.unet, x0, z, t, alpha_bar, kind)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(pipeline.unet.parameters(), 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
        if step % 20 == 19:
            tell(f"tuning {step + 1} of {TUNING_STEPS}, loss {np.mean(losses[-20:]):.4f}")
    pipeline.unet.eval()
    return losses


def run(condition: Condition, given: argparse.Namespace, folder: Path) -> None:
    pipeline, begin = load_pipeline(shipped_model()), time.monotonic()
    exact, steps = pipeline.unet, condition.steps or given.steps
    record: dict[str, Any] = {"name": condition.name, "steps": steps, "spec": condition.spec}

    def tell(text: str) -> None:
        print(f"{condition.name:24} {time.monotonic() - begin:6.0f} s  {text}", flush=True)

    if condition.spec is not None:
        pipeline = in_memory(pipeline, condition.spec)
        record["relative_error"] = relative_errors(pipeline, exact)
    if condition.tune:
        record["losses"] = tune(pipeline, tell)
    source, arithmetic = PseudoSource(seed=11), None
    if condition.correct:
        arithmetic = variance_per_step(pipeline, exact, source, count=64, steps=steps, first=10**6)
        record["arithmetic"] = arithmetic
    n = condition.images or given.images
    made = sample(pipeline, source, count=n, steps=steps, arithmetic=arithmetic)
    record |= {"images": n, "seconds": time.monotonic() - begin, "noise": source.provenance.description}
    features = Extractor.load().features(made.images)
    partial = folder / f"{condition.name}.partial.npz"
    np.savez_compressed(partial, features=features, shown=made.images[:16])
    partial.replace(folder / f"{condition.name}.npz")
    write_json(folder / f"{condition.name}.json", record)
    tell("done")


def deviations(folder: Path) -> None:
    """Error of the network's output with exact and with statistical converters, for each number of bits."""
    if (folder / "deviation.json").is_file():
        return
    found: dict[str, dict[str, list[float]]] = {}
    cases = {f"{bits} bits": {"adc_bits": bits} for bits in AXES["adc_bits"]}
    cases["4 bits, a range for each tenth of t"] = {"adc_bits": 4, "time_buckets": 10}
    for name, fields in cases.items():
        for kind in ("exact", "statistical"):
            pipeline = load_pipeline(shipped_model())
            errors = relative_errors(in_memory(pipeline, {**fields, "adc_model": kind}), pipeline.unet)
            found.setdefault(name, {})[kind] = errors
            print(f"converters of {name}, {kind}: {errors}", flush=True)
    write_json(folder / "deviation.json", found)


# -- the report ------------------------------------------------------------------------------------------------------

LAST = ("four-bit-tuned", "noisy-corrected", "computed-noise", "wire-1-ohm")
TITLES = {
    "weight_bits": "bits of a weight", "adc_bits": "bits of a converter", "TMR": "TMR",
    "resistance_spread": "spread of the resistances", "write_error_rate": "write error rate",
    "read_noise": "read noise of a cell over its current",
}  # fmt: skip
TEXT = """\
# The network in memory: images against the float model's

Made by `{command}` with {versions}.
The shipped Fashion-MNIST model, ancestral sampling, {steps} steps unless said otherwise. All conditions share each
image's first latent and noise (software, seed 11), so that differences are paired, image by image, over the n of the
tables; KID times 1000, 95 % intervals. Crossbars are simulated: their chance is pseudo-random underneath. `calibrate`
chooses the ranges of inputs and converters (`adc_range` is not fixed); converters are statistical unless noted.
The array that is varied is assumed: {base}.

The smallest KID difference that is found in four of five cases (two-sided, 5 %) is {detectable:.1f}e-3 at n = {n} near
the base array, from the interval of its paired difference, and goes as one over the root of n. Halving the {steps}
steps gives {halved}.

## Equivalence of 8-bit digital arrays

Margin declared before: {margin:.1f}e-3 in KID, two one-sided tests at 5 % (the 90 % interval inside the margin).

{equivalence}

## One thing at a time

![KID and FD less the float model's, along six axes](pictures/compute-study.png)

{axes}

## Fine-tuning, correction, noise and lines

{rest}

Fine-tuning is {tuning} steps of the ordinary training loop at a learning rate of {rate:g} on the converted model, whose
cells keep their own errors: it learns this chip, not the class of chips (the error of the output in its row is that
before). The correction takes the variance that the
arithmetic adds (`diffusion.arithmetic.variance_per_step`, 64 other images) off sigma_t^2; per step it is {arithmetic}.

## Exact and statistical converters

Relative error of the network's output against the float one (mean square over mean square, 32 noisy garments at each
t), every conversion rounded and clipped, and with what all conversions behind an output do to it as a gain, a shift
and Gaussian noise of its own, learned where the ranges are chosen (`memory/crossbar/ranges.py`):

{deviation}

Exact over statistical: {kind}. What is left are inputs whose sums are not those of the average for which a range and
its noise are learned. The images above take the statistical converters: where the ratio is above 1 they err too little.
"""


def loaded(folder: Path, name: str) -> tuple[dict[str, Any], np.ndarray] | None:
    if not (folder / f"{name}.json").is_file():
        return None
    with np.load(folder / f"{name}.npz") as file:
        return read_json(folder / f"{name}.json"), file["features"]


def interval(score: Any, unit: float = 1e3, z: float = 1.96) -> str:
    low, high = (unit * (score.value + sign * z * score.std) for sign in (-1, 1))
    return f"{unit * score.value:.2f} [{low:.2f}, {high:.2f}]"


def row(folder: Path, condition: Condition, against: Any) -> tuple[str, Any, Any, dict[str, Any]] | None:
    """One line of a table, and the paired differences in KID and FD."""
    mine, other = loaded(folder, condition.name), loaded(folder, condition.against)
    if mine is None or other is None:
        return None
    n = min(len(mine[1]), len(other[1]))
    own = score_features(mine[1][:n], against)
    kid = paired_difference(mine[1][:n], other[1][:n], against)
    fd = paired_difference(mine[1][:n], other[1][:n], against, metric="FD")
    assert own.fd_extrapolated is not None
    error = mine[0].get("relative_error")
    cells = [condition.name, str(n), "-" if error is None else f"{error[2]:.4f}", interval(own.kid),
             interval(own.fd_extrapolated, 1.0), interval(kid), interval(fd, 1.0)]  # fmt: skip
    return f"| {' | '.join(cells)} |", kid, fd, mine[0]


def table(rows: list[str], other: str = "float") -> str:
    head = ["condition", "n", "error of the output", "KID", "FD", f"KID less {other}", f"FD less {other}"]
    return "\n".join([f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *rows])


def report(folder: Path, out: Path, steps: int) -> None:
    against = reference("fashion-mnist")
    found = {c.name: (c, r) for c in conditions() if (r := row(folder, c, against)) is not None}
    lines = lambda names: [found[n][1][0] for n in names if n in found]  # noqa: E731
    base = found["base"][1][1]
    digital = found["digital-50"][1][1]
    verdict = "equivalent" if digital.equivalent(MARGIN) else "**not shown equivalent**"
    by_axis = {a: [("base" if v == BASE[a] else f"{a}-{v:g}", v) for v in values] for a, values in AXES.items()}
    figure(found, by_axis, out / "pictures" / "compute-study.png")
    names = [name for points in by_axis.values() for name, _ in points if name != "base"]
    arithmetic = found["noisy-corrected"][1][3]["arithmetic"] if "noisy-corrected" in found else []
    deviation = [
        "| converter | model | " + " | ".join(f"t = {t}" for t in TIMES) + " |",
        f"|{' --- |' * (2 + len(TIMES))}",
    ]
    if (folder / "deviation.json").is_file():
        for case, kinds in read_json(folder / "deviation.json").items():
            for kind, errors in kinds.items():
                deviation.append(f"| {case} | {kind} | " + " | ".join(f"{e:.4f}" for e in errors) + " |")
            parts = [f"{e / s:.2f}" for e, s in zip(kinds["exact"], kinds["statistical"], strict=True)]
            deviation.append(f"| {case} | exact / statistical | " + " | ".join(parts) + " |")
    ratios = [e / s for kinds in (read_json(folder / "deviation.json") if len(deviation) > 2 else {}).values()
              for e, s in zip(kinds["exact"], kinds["statistical"], strict=True)]  # fmt: skip
    kind = f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else "not measured"
    versions = ", ".join(f"{k} {v}" for k, v in environment().items() if k in ("voltaspin", "torch", "diffusers"))
    text = TEXT.format(
        command="python scripts/compute_study.py --out build/compute-study", versions=versions, n=base.n, steps=steps,
        base=", ".join(f"{k} = {v}" for k, v in BASE.items()), detectable=2.8e3 * base.std,
        halved=interval(found["float-halved"][1][1]) + "e-3", margin=1e3 * MARGIN, tuning=TUNING_STEPS,
        rate=TUNING_RATE, deviation="\n".join(deviation),
        kind=kind, arithmetic=", ".join(f"{v:.1e}" for v in arithmetic[:: max(1, len(arithmetic) // 6)]),
        equivalence=table(lines(["digital-50"]), "float-50") + f"\n\nVerdict: {verdict}; 90 % interval "
        + interval(digital, z=1.645) + "e-3.",
        axes=table(lines(["base", *names])),
        rest="\n\n".join(table(lines([n]), found[n][0].against) for n in LAST if n in found),
    )  # fmt: skip
    (out / "compute-study.md").write_text(text, encoding="utf-8")
    print(text)


def figure(found: dict[str, Any], by_axis: dict[str, list[tuple[str, float]]], path: Path) -> None:
    with matplotlib.rc_context(STYLE):
        drawn = Figure(figsize=(10.5, 10), dpi=DPI, layout="constrained")
        panels = drawn.subplots(4, 3)
        for k, (axis, points) in enumerate(by_axis.items()):
            there = [(v, found[n][1]) for n, v in points if n in found]
            x = [v for v, _ in there]
            for row, which, unit, colour, name in ((0, 1, 1e3, BLUE, "KID less float's, x 1000"),
                                                   (1, 2, 1.0, ORANGE, "FD less float's")):  # fmt: skip
                axes = panels[2 * (k // 3) + row, k % 3]
                scores = [r[which] for _, r in there]
                axes.errorbar(x, [unit * s.value for s in scores], [1.96 * unit * s.std for s in scores], fmt="o-",
                              color=colour, ms=4, capsize=3)  # fmt: skip
                axes.set_yscale("symlog", linthresh=30 if row == 0 else 1)
                axes.axhline(0, color=INK, lw=0.8)
                axes.axvline(BASE[axis], color=GREY, lw=0.8, ls=":")
                if row == 0:
                    axes.axhspan(-1e3 * MARGIN, 1e3 * MARGIN, color=GREEN, alpha=0.15, lw=0)
                if axis in ("write_error_rate", "TMR", "read_noise"):
                    axes.set_xscale("log")
                axes.set_xticks(x, [f"{v:g}" for v in x])
                axes.minorticks_off()
                axes.set_xlabel(TITLES[axis])
                if k % 3 == 0:
                    axes.set_ylabel(name)
        path.write_bytes(figure_png(drawn))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/compute-study"))
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--only", default="*", help="conditions whose name matches, as in fnmatch")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for condition in conditions():
        if fnmatch.fnmatch(condition.name, given.only) and not (given.out / f"{condition.name}.json").is_file():
            run(condition, given, given.out)
    if given.only == "*":
        deviations(given.out)
    if all((given.out / f"{name}.json").is_file() for name in ("base", "digital-50", "float-halved")):
        report(given.out, Path(__file__).parents[1] / "docs", given.steps)


if __name__ == "__main__":
    main()
