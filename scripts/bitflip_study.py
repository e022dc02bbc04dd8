"""Diffusion in place against Gaussian diffusion: the same network size, training steps, images and evaluations.

python scripts/bitflip_study.py --out build/bitflip [--steps N] [--images N] [--only bitflip|gaussian|report]

Trains both models on Fashion-MNIST, samples them at 50 network evaluations, scores them beside real images of as many
planes, and writes docs/bitflip.md and its picture. What is finished is kept and not computed again; a training that
was stopped goes on. The two models can be made by two processes at once (--only); a third call reports.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from voltaspin.core.files import read_json, write_json
from voltaspin.core.ledger import Ledger
from voltaspin.core.spec import environment
from voltaspin.cost.images import image_costs, image_costs_text
from voltaspin.device import presets
from voltaspin.diffusion import TrainSpec, bitflip, load_images, load_pipeline
from voltaspin.diffusion import sample as sample_gaussian
from voltaspin.diffusion import train as train_gaussian
from voltaspin.diffusion.bitflip.model import IDEAL, CellSpec, make_array
from voltaspin.diffusion.data import ImageSet
from voltaspin.metrics import Extractor, Reference, reference, score_features
from voltaspin.noise import MemorySource, PseudoSource
from voltaspin.plots.drawing import DPI, STYLE, figure_png

EVALUATIONS = 50  #: of the network, for each image of either model
SEED = 3
DEFAULTS = bitflip.BitTrainSpec()
HEAD = ["images", "n", "KID", "FD", "precision", "recall", "s to sample"]
PLANES = (3, 4, 5, 6, 8)  #: of which the floor is measured
UNSEEN = 50000  #: training images from here on were not shown to the extractor
#: Ways to sample the same bit-flip model, and whether its cells are ideal.
ARMS: tuple[tuple[str, dict[str, bool], bool], ...] = (
    ("bitflip", {}, False),
    ("bitflip-calibrated", {"calibrated": True}, False),
    ("bitflip-nearest", {"dither": False}, False),
    ("bitflip-ideal", {}, True),
)
WORDS = {
    "bitflip": "bit-flip, in an array of {junction} cells",
    "bitflip-calibrated": "the same, each cell's response known to its driver",
    "bitflip-nearest": "the same, each cell takes the nearest pulse (no dither)",
    "bitflip-ideal": "the same, ideal cells",
    "gaussian": "Gaussian, noise of the memory (XOR of two cells)",
}

TEXT = """\
# Diffusion in place: images by bits that flip in the array

Made by `{command}` with {versions}.

Fashion-MNIST as {bits} Gray-coded bit planes, one bit to a cell. Forward, each of {T} steps is one pulse on every cell.
Backward, a network says how likely each clean bit is a 1, the posterior turns that into a flip probability, and the
pulse of the driver that comes next to it decides, in the array. Beside it stands a Gaussian diffusion of the same
network, training steps, batch and images, sampled at as many network evaluations. All arrays are simulated: their
chance is pseudo-random underneath.

![Samples of both, a forward and a reverse sequence in the array, and bit planes](pictures/bitflip.png)

## Quality

KID times 1000 and FD (extrapolated in 1/n), 95 % intervals, against {target:,} held-out images, extractor {extractor}.
The arms are independent; FD compares at equal n only.

{scores}

Real images that the extractor has not seen (n = {floor_n:,}), kept to fewer planes, in the same reading:

{floors}

{verdict}

## One image

Counted in the run, priced by the shipped table; medians and 90 % intervals by Monte Carlo over the grades of all
prices. The network's own arithmetic is left out: it differs in the first and last layer only.

{costs}

A Gaussian number takes {gaussian_bits} bits. What is moved: for the Gaussian sampler its state in float32 to the
network and back at each evaluation, and 2 bytes for each number; for bit-flip the bits to the network and the number of
its pulse back for each cell{kept}.

## What the pulses really do

Asked is a schedule whose correlation with the clean bits is cos^2(pi t / 2T). A driver of eight voltages and a 10 ps
clock gives it with {different} different pulses; each makes up for what those before it left. Marginals err by at most
{marginal:.4f}. Cells keep their own probabilities from step to step (a spread of {spread:.0%} of the mean at the median
step), so that the average correlation falls more slowly than the average flip says: taking all cells for equal would
miss a marginal by {equal:.3f}. Schedule and posterior use the array's own marginals. p01 and p10 differ by at most
{p01p10:.1e} on average.

Backward there are {levels} levels from no pulse to {top:.4f}. Cells take the upper or the lower of the two nearest so
that the average is right (ordered dither, which draws nothing): flips given over wanted {dithered:.4f}; with the
nearest level {nearest}. Where each cell's response was measured once, its pulses are chosen by it; that moves
one byte more for each cell and step. {beyond:.2%} of the choices wanted more than the driver can give.

## Training

{training}

Bit-flip: binary cross entropy of the clean bits, weighted by (beta_t / p_t)^{power:g}; what a bit says of itself is
added to the network's logit in closed form, so that the network learns what the other bits say{learned}.
Gaussian: the defaults of `TrainSpec` but the number of steps.

## Assumed

The junction (preset {junction}), a K_eff spread of {K:.0%} and a stray field of {field:.1f} mT, the driver's voltages
and clock, perfect reads, cells that do not wear out; lines, drivers, sense amplifiers and SRAM of the cost table. One
training seed and one array: the intervals are those of the images alone.
"""


def told(name: str) -> Callable[..., None]:
    """Prints progress now and then."""
    begin, last = time.monotonic(), [0.0]

    def tell(done: int, total: int, loss: float | None = None) -> None:
        now = time.monotonic()
        if now - last[0] > 30 or done == total:
            last[0] = now
            more = "" if loss is None else f", loss {loss:.4f}"
            print(f"{name:18} {now - begin:6.0f} s  {done} of {total}{more}", flush=True)

    return tell


def trained(name: str, folder: Path, images: ImageSet, given: argparse.Namespace) -> Path:
    """The model's folder, trained as far as it was not."""
    record = folder / f"{name}-training.json"
    model = folder / f"{name}-model"
    if record.is_file():
        return model
    resume = (model / "train.json").is_file()
    fields: dict[str, Any] = {"steps": given.steps, "batch": given.batch, "seed": SEED, "checkpoint_every": 100,
                              "warmup": min(250, given.steps // 8)}  # fmt: skip
    if name == "bitflip":
        spec: Any = bitflip.BitTrainSpec(bits=given.planes, flip_steps=EVALUATIONS, self_condition=given.self_condition,
                                         **fields)  # fmt: skip
        run = bitflip.train(images, model, spec=spec, resume=resume, progress=told("train bitflip"))
    else:
        spec = TrainSpec(**fields)
        source = PseudoSource(seed=SEED)
        run = train_gaussian(images, source, model, spec=spec, resume=resume, progress=told("train gaussian"))
    if not run.finished:
        raise SystemExit(f"{name}: stopped after step {run.step}; the same command goes on")
    write_json(record, {"seconds": seconds_of(model), "loss": run.loss, "spec": spec.to_json()})
    return model


def seconds_of(model: Path) -> float:
    """Wall time of all calls that trained, from the log, whose clock begins anew with each."""
    times = [json.loads(line)["seconds"] for line in (model / "log.jsonl").read_text().splitlines()]
    return float(sum(t for t, after in zip(times, [*times[1:], 0.0], strict=True) if after < t))


def keep(folder: Path, name: str, images: NDArray[np.uint8], record: dict[str, Any], **more: Any) -> None:
    features = Extractor.load().features(images)
    partial = folder / f"{name}.partial.npz"
    np.savez_compressed(partial, features=features, shown=images[:64], **more)
    partial.replace(folder / f"{name}.npz")
    write_json(folder / f"{name}.json", record)


def make_bitflip(folder: Path, images: ImageSet, given: argparse.Namespace) -> None:
    model = bitflip.load_model(given.bitflip_model or trained("bitflip", folder, images, given))
    for name, how, ideal in ARMS:
        if (folder / f"{name}.json").is_file():
            continue
        count = given.images if name in ("bitflip", "bitflip-calibrated") else given.more
        used = model
        if ideal:
            used = replace(model, spec=model.spec.model_copy(update={"cells": CellSpec(junction=IDEAL)}))
        made = bitflip.sample(used, count=count, batch=given.sample_batch, seed=SEED, precision="auto", **how,
                              progress=told(name))  # fmt: skip
        record = {"images": count, "seconds": made.seconds, "steps": made.steps, "per_image": made.per_image,
                  "ledger": made.ledger.to_dict(), "rounding": made.rounding.to_json(), "levels": made.levels,
                  "pulses": made.pulses, "path_times": made.path_times, "precision": made.precision}  # fmt: skip
        keep(folder, name, made.images, record, path=made.path)


def make_gaussian(folder: Path, images: ImageSet, given: argparse.Namespace) -> None:
    model = load_pipeline(given.gaussian_model or trained("gaussian", folder, images, given))
    if (folder / "gaussian.json").is_file():
        return
    made = sample_gaussian(model, MemorySource(seed=SEED), count=given.images, steps=EVALUATIONS,
                           batch=given.sample_batch, precision="auto", progress=told("gaussian"))  # fmt: skip
    keep(folder, "gaussian", made.images, {"images": given.images, "seconds": made.seconds, "steps": made.steps,
                                           "precision": made.precision})  # fmt: skip


def scores(features: NDArray[np.float32], against: Reference) -> dict[str, Any]:
    row = score_features(features, against)
    found = {"kid": row.kid, "fd": row.fd_extrapolated, "precision": row.precision, "recall": row.recall}
    return {name: None if score is None else score.to_json() for name, score in found.items()}


def floors(folder: Path, images: ImageSet, count: int) -> dict[str, Any]:
    """Scores of real images that the extractor has not seen, kept to fewer planes."""
    path = folder / "floors.json"
    if not path.is_file():
        real, extractor, against = images.images[UNSEEN:][:count], Extractor.load(), reference("fashion-mnist")
        found = {}
        for bits in PLANES:
            kept = bitflip.from_planes(bitflip.to_planes(real, bits=bits), bits=bits)
            found[str(bits)] = scores(extractor.features(kept), against)
        write_json(path, {"n": len(real), "rows": found})
    return dict(read_json(path))


# -- the report ------------------------------------------------------------------------------------------------------


def interval(score: dict[str, Any] | None, unit: float = 1.0, digits: int = 2) -> str:
    if score is None:
        return "-"
    value, low, high = (unit * score[k] for k in ("value", "low", "high"))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *(f"| {' | '.join(r)} |" for r in rows)]
    return "\n".join(lines)


def report(folder: Path, images: ImageSet, given: argparse.Namespace, docs: Path) -> None:
    model = bitflip.load_model(given.bitflip_model or folder / "bitflip-model")
    cells, against, remembers = model.spec.cells, reference("fashion-mnist"), model.spec.self_condition
    records = {n: read_json(folder / f"{n}.json") for n in WORDS if (folder / f"{n}.json").is_file()}
    rows: list[list[str]] = []
    kid: dict[str, Any] = {}
    for name, record in records.items():
        with np.load(folder / f"{name}.npz") as file:
            row = scores(file["features"], against)
        kid[name] = row["kid"]
        rows.append([WORDS[name].format(junction=cells.junction), f"{record['images']:,}", interval(row["kid"], 1e3),
                     interval(row["fd"]), interval(row["precision"]), interval(row["recall"]),
                     f"{record['seconds']:.0f}"])  # fmt: skip
    floor = floors(folder, images, given.images)
    own = floor["rows"][str(model.spec.bits)]["kid"]
    floor_rows = [
        [b, interval(r["kid"], 1e3), *(interval(r[k]) for k in ("fd", "precision", "recall"))]
        for b, r in floor["rows"].items()
    ]
    a, b = kid["bitflip"], kid["gaussian"]
    half = float(np.hypot((a["high"] - a["low"]) / 2, (b["high"] - b["low"]) / 2))
    gap = 1e3 * (a["value"] - b["value"])
    verdict = (
        f"KID of bit-flip less that of Gaussian (independent arms): {gap:.1f} [{gap - 1e3 * half:.1f}, "
        f"{gap + 1e3 * half:.1f}]e-3. Real images of as many planes have {1e3 * own['value']:.1f}e-3."
    )
    array = make_array(cells, rows=64, columns=64, seed=SEED)
    flips = bitflip.Flips.of(array, [s.wanted for s in model.spec.steps]).report()
    first = records["bitflip"]
    costs = (
        "" if cells.junction == IDEAL else image_costs_text(image_costs(_samples(first), presets.get(cells.junction)))
    )
    trainings = [
        [
            n,
            f"{r['spec']['steps']:,} x {r['spec']['batch']}",
            f"{r['spec']['learning_rate']:g}",
            f"{r['seconds'] / 60:.0f}",
            f"{r['loss']:.4f}",
        ]
        for n in ("bitflip", "gaussian")
        if (folder / f"{n}-training.json").is_file() and (r := read_json(folder / f"{n}-training.json"))
    ]
    nearest = records.get("bitflip-nearest", {}).get("rounding", {}).get("flips_given_over_wanted")
    text = TEXT.format(
        command=f"python scripts/bitflip_study.py --out build/bitflip --steps {given.steps} "
                f"--images {given.images} --more {given.more}",
        versions=", ".join(f"{k} {v}" for k, v in environment().items() if k in ("voltaspin", "torch", "diffusers")),
        bits=model.spec.bits, T=len(model.process), target=len(against.target), extractor=against.extractor,
        scores=table(HEAD, rows), floor_n=floor["n"],
        floors=table(["planes", *HEAD[2:-1]], floor_rows), verdict=verdict, costs=costs, gaussian_bits=16,
        different=flips["different_pulses"], marginal=flips["largest_error_of_a_marginal"],
        spread=flips["spread_over_mean_of_cells"], equal=flips["marginal_moved_by_equal_cells"],
        p01p10=flips["largest_p01_less_p10"], levels=len(first["levels"]), top=first["levels"][-1],
        dithered=first["rounding"]["flips_given_over_wanted"],
        nearest="not measured" if nearest is None else f"{nearest:.4f}",
        beyond=first["rounding"]["share_beyond_the_driver"],
        training=table(["model", "steps x batch", "learning rate", "minutes", "last loss"], trainings),
        junction=cells.junction,
        kept=", and the network's last prediction (a byte for each bit) to a buffer and back" if remembers else "",
        learned="; in every second step it sees its own last prediction (self-conditioning)" if remembers else "",
        power=DEFAULTS.time_power, K=cells.K_eff_spread, field=1e3 * cells.stray_field_spread,
    )  # fmt: skip
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "pictures").mkdir(exist_ok=True)
    (docs / "bitflip.md").write_text(text, encoding="utf-8")
    (docs / "pictures" / "bitflip.png").write_bytes(picture(folder, model, images))
    print(text)


def _samples(record: dict[str, Any]) -> bitflip.BitSamples:
    """What a run counted, without its images, to be priced."""
    return bitflip.BitSamples(
        images=np.zeros((record["images"], 1, 28, 28), np.uint8), steps=record["steps"], seconds=record["seconds"],
        ledger=Ledger.from_dict(record["ledger"]), rounding=bitflip.Rounding(), levels=tuple(record["levels"]),
        pulses=tuple((str(n), float(V), float(w)) for n, V, w in record["pulses"]), precision=record["precision"],
        path=np.zeros((0, 1, 28, 28), np.uint8), path_times=(),
    )  # fmt: skip


def picture(folder: Path, model: bitflip.BitModel, images: ImageSet) -> bytes:
    """Samples of both, one image on its way there and back in the array, and its planes."""
    spec = model.spec
    grey = lambda planes: bitflip.from_planes(planes, bits=spec.bits, gray=spec.gray)[:, 0]  # noqa: E731
    with np.load(folder / "bitflip.npz") as file:
        ours, path = file["shown"][:32, 0], file["path"]
    with np.load(folder / "gaussian.npz") as file:
        gaussian = file["shown"][:32, 0]
    times = read_json(folder / "bitflip.json")["path_times"]
    clean = bitflip.to_planes(images.images[:1], bits=spec.bits, gray=spec.gray)
    array = make_array(spec.cells, rows=spec.planes, columns=spec.size**2, seed=SEED)
    flips = bitflip.Flips.of(array, [s.wanted for s in spec.steps])
    array.write(clean.reshape(array.state.shape))
    there, pulses = {0: clean[0]}, 0
    for t in times[::-1][1:]:
        for pulse in flips.pulses[pulses:t]:
            array.pulse(pulse)
        pulses = t
        there[t] = array.read().reshape(clean[0].shape)
    forward = np.stack([there[t] for t in times[::-1]])
    strips = [
        ("samples, bit-flip", mosaic(ours, 16)),
        ("samples, Gaussian", mosaic(gaussian, 16)),
        ("forward in the array: t = " + ", ".join(str(t) for t in times[::-1]), mosaic(grey(forward), len(times))),
        ("backward in the array: t = " + ", ".join(str(t) for t in times), mosaic(grey(path), len(times))),
        ("its planes, the highest above", mosaic(255 * path.transpose(1, 0, 2, 3).reshape(-1, *path.shape[2:]),
                                                 len(times))),
    ]  # fmt: skip
    with matplotlib.rc_context(STYLE):
        heights = [s.shape[0] / s.shape[1] for _, s in strips]
        drawn = Figure(figsize=(9, 9 * sum(heights) + 0.3 * len(strips)), dpi=DPI, layout="constrained")
        for axes, (title, strip) in zip(drawn.subplots(len(strips), 1, height_ratios=heights), strips, strict=True):
            axes.imshow(strip, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_title(title, fontsize=9, loc="left")
            axes.axis("off")
        return figure_png(drawn)


def mosaic(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Grey pictures (n, h, w) side by side, ``columns`` to a row."""
    n, h, w = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * columns, h + 1, w + 1), 255, np.uint8)
    sheet[:n, :h, :w] = images
    return sheet.reshape(rows, columns, h + 1, w + 1).transpose(0, 2, 1, 3).reshape(rows * (h + 1), columns * (w + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/bitflip"))
    parser.add_argument("--docs", type=Path, default=Path(__file__).parents[1] / "docs", help="where the page goes")
    parser.add_argument("--steps", type=int, default=2000, help="of training, for each model")
    parser.add_argument("--batch", type=int, default=64, help="images of a training step")
    parser.add_argument("--planes", type=int, default=DEFAULTS.bits)
    parser.add_argument("--self-condition", action=argparse.BooleanOptionalAction, default=DEFAULTS.self_condition)
    parser.add_argument("--images", type=int, default=2048, help="sampled from each model")
    parser.add_argument("--more", type=int, default=1024, help="sampled for each variant of the bit-flip sampler")
    parser.add_argument("--sample-batch", type=int, default=64)
    parser.add_argument("--bitflip-model", type=Path, help="take this model instead of training one")
    parser.add_argument("--gaussian-model", type=Path, help="take this pipeline instead of training one")
    parser.add_argument("--only", choices=("bitflip", "gaussian", "report"), help="one part; all where absent")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    images = load_images("fashion-mnist")
    if given.only in (None, "bitflip"):
        make_bitflip(given.out, images, given)
    if given.only in (None, "gaussian"):
        make_gaussian(given.out, images, given)
    if given.only in (None, "report"):
        report(given.out, images, given, given.docs)


if __name__ == "__main__":
    main()
