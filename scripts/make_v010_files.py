"""Write one small file or folder of every kind that Voltaspin 0.1.0 writes, as test data for later versions.

python scripts/make_v010_files.py --out tests/data/v0.1.0

It was run once, with Voltaspin 0.1.0, and refuses any other version and any folder that is there: the files stay as
they are. Everything is made in an empty temporary folder with relative paths, by the command line where that leaves
something small, else by the Python interface with a tiny network. tests/data/v0.1.0/README.md says what each one is.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["VOLTASPIN_CACHE"] = "fetched"  # relative: in the temporary folder
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from PIL import Image
from voltaspin.diffusion.bitflip.model import CellSpec
from voltaspin.specs import write_json

from voltaspin import __version__
from voltaspin.cli.app import main as command_line
from voltaspin.cost.table import CostTable
from voltaspin.device import Pulse, SwitchingModel, presets
from voltaspin.device.fit.data import SwitchingData
from voltaspin.diffusion import TrainSpec, bitflip, train
from voltaspin.diffusion.data import ImageSet
from voltaspin.memory import Access, ArraySpec, Imperfections, MagnetoelectricMemory, Slopes, Variation, convert
from voltaspin.memory.pulses import Line, PulseLibrary
from voltaspin.metrics import garments
from voltaspin.metrics.shipped import data_sha256
from voltaspin.noise import LoopedSource, MemorySource, PseudoSource, RecordedSource, conditioned, record
from voltaspin.requirements.specification import NoiseSpecification
from voltaspin.study.runner import execute
from voltaspin.study.specification import StudySpec, Training

SCRIPTS = Path(__file__).resolve().parent
TINY: dict[str, Any] = {"batch": 8, "channels": (4, 8), "norm_groups": 2, "warmup": 2, "precision": "float32"}
makers: dict[str, Callable[[Path], None]] = {}  #: by the name of the kind's folder


def kind(name: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Register what makes the folder of that name."""

    def add(maker: Callable[[Path], None]) -> Callable[[Path], None]:
        makers[name] = maker
        return maker

    return add


def voltaspin(*arguments: str) -> str:
    """Run a command of 0.1.0 as a shell would; its standard output."""
    before, sys.argv = sys.argv, ["voltaspin", *arguments]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            command_line()
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"voltaspin {' '.join(arguments)} ended with {end.code}") from None
    finally:
        sys.argv = before
    return said.getvalue()


def kept(path: Path, *arguments: str) -> None:
    """Keep what a command prints."""
    path.write_text(voltaspin(*arguments), encoding="utf-8")


def squares() -> ImageSet:
    """Thirty-two images of 8x8 with one bright square each."""
    images = np.zeros((32, 1, 8, 8), np.uint8)
    for i in range(32):
        images[i, 0, i // 8 : i // 8 + 3, i % 8 : i % 8 + 3] = 255
    return ImageSet(images, None, "squares", "train", data_sha256(images))


def small_memory() -> MemorySource:
    """The noise of the training run."""
    return MemorySource(memory=MagnetoelectricMemory(rows=64, columns=64, seed=3), k=2, seed=3)


def stopping(after: int) -> Callable[[int, int, float], None]:
    """Press Ctrl-C behind a step."""

    def show(step: int, total: int, loss: float) -> None:
        if step == after:
            os.kill(os.getpid(), signal.SIGINT)

    return show


def without_checkpoints(folder: Path) -> None:
    for checkpoint in folder.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)


@kind("gaussian-model")
def gaussian_model(out: Path) -> None:
    spec = TrainSpec(noise="software", data="squares", seed=1, steps=60, learning_rate=1e-2, **TINY)
    train(squares(), PseudoSource(seed=1), out, spec=spec)
    without_checkpoints(out)


@kind("gaussian-training")
def gaussian_training(out: Path) -> None:
    spec = TrainSpec(noise="memory", data="squares", seed=2, steps=6, checkpoint_every=2, **TINY)
    result = train(squares(), small_memory(), out, spec=spec, progress=stopping(3))
    assert not result.finished
    assert result.step == 3


def bit_spec(junction: str, **fields: Any) -> bitflip.BitTrainSpec:
    cells = CellSpec(junction=junction, K_eff_spread=0.0, stray_field_spread=0.0)
    return bitflip.BitTrainSpec(data="squares", bits=2, flip_steps=5, cells=cells, **fields, **TINY)


@kind("bitflip-model")
def bitflip_model(out: Path) -> None:
    for name in ("ideal", "generator"):
        spec = bit_spec(name, seed=1, steps=20, learning_rate=1e-2, self_condition=name == "generator")
        bitflip.train(squares(), out / name, spec=spec)
        without_checkpoints(out / name)


@kind("bitflip-training")
def bitflip_training(out: Path) -> None:
    result = bitflip.train(squares(), out, spec=bit_spec("ideal", seed=2, steps=6), progress=stopping(3))
    assert not result.finished
    assert result.step == 3


@kind("memory-array")
def memory_array(out: Path) -> None:
    plain = MagnetoelectricMemory(rows=16, columns=16, seed=5)
    plain.pulse()
    plain.save(out / "plain.safetensors")
    slopes = Slopes(temperature=(1e-4, 1e-4), voltage=(0.1, 0.1), width=(1e8, 1e8), B_z=(5.0, -5.0))
    full = MagnetoelectricMemory(
        rows=8, columns=24, variation=Variation(K_eff=0.04, RA=0.1, TMR=0.05, gradient={"K_eff": (0.01, 0.0)}),
        access=Access(toggle_error=(0.01, 0.02), noise_0=0.1, noise_1=0.1), line=Line(resistance=2.0), stuck=0.05,
        imperfections=Imperfections(slopes=slopes), seed=9,
    )  # fmt: skip
    full.pulse()
    full.pulse(mask=np.random.default_rng(0).random((8, 24)) < 0.5)
    full.write(np.random.default_rng(1).integers(0, 2, (8, 24)))
    full.save(out / "everything.safetensors")
    constant = MagnetoelectricMemory(rows=4, columns=8, model=SwitchingModel.constant(0.55, 0.45), seed=7)
    constant.randomize()
    constant.save(out / "constant.safetensors")


@kind("crossbar")
def crossbar(out: Path) -> None:
    from safetensors.torch import save_file

    spec = ArraySpec(rows=16, columns=16, weight_bits=4, input_bits=4, adc_bits=6, resistance_spread=0.02, seed=3)
    spec.save(out / "array.json")
    made = ArraySpec.preset("analog")
    made.save(out / "analog.json")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    x = torch.linspace(-1, 1, 12).reshape(2, 6)
    converted, _ = convert(model, spec, example=x)
    converted.eval()
    with torch.no_grad():
        y = converted(x)
    save_file({k: v.contiguous() for k, v in converted.state_dict().items()}, out / "layers.safetensors")
    write_json(out / "answer.json", {"x": x.tolist(), "y": y.tolist()})


@kind("switching-model")
def switching_model(out: Path) -> None:
    generator = presets.get("generator")
    SwitchingModel.shipped().save(out / "shipped.json")
    SwitchingModel.constant(0.55, 0.45).save(out / "constant.json")
    pulse = Pulse(voltage=generator.V_c, width=0.3e-9)
    SwitchingModel.from_llg(
        generator, pulse, n_devices=500, seed=1, K_eff_points=3, B_z_points=3, K_eff_range=(0.95, 1.05),
        B_z_range=(-1e-3, 1e-3),
    ).save(out / "llg.json")  # fmt: skip
    p01, p10 = (
        SwitchingData(
            voltage=np.full(3, 1.4), width=np.full(3, 0.3e-9), P_sw=np.array(P), trials=np.full(3, 1000),
            B_z=np.array([-1e-3, 0.0, 1e-3]), initial=initial,
        )
        for P, initial in (([0.45, 0.5, 0.55], "up"), ([0.56, 0.51, 0.44], "down"))
    )  # fmt: skip
    SwitchingModel.from_measurements(p01, p10, max_degree=1).save(out / "measured.json")


@kind("cache")
def cache(out: Path) -> None:
    """Switching model, programmed pulses and slopes, as the cache keeps them."""
    before, os.environ["VOLTASPIN_CACHE"] = os.environ["VOLTASPIN_CACHE"], str(out)
    try:
        generator = presets.get("generator")
        pulse = SwitchingModel.shipped().pulse
        assert pulse is not None
        SwitchingModel.from_fokker_planck(
            generator, pulse, K_eff=0.02, B_z=1e-3, xi=0, diameter=0, RA=0, solutions=32
        )  # fmt: skip
        halves = (("K_eff_scale", 0.1), ("B_z", 1e-3))
        voltages, widths = np.array([0.9, 1.0]) * generator.V_c, np.array([0.2e-9, 0.3e-9, 0.4e-9])
        PulseLibrary.of(generator, halves, voltages=voltages, widths=widths)
        Slopes.of(SwitchingModel.shipped())
    finally:
        os.environ["VOLTASPIN_CACHE"] = before


@kind("study")
def study(out: Path) -> None:
    spec = StudySpec(
        name="files of 0.1.0", question="Is what was done found again?", margin=0.5, baseline="software",
        base={"images": 4, "steps": 2}, sampling_seeds=(1, 2), controls=("biased",), yardstick="biased",
        conditions={
            "software": {}, "sixteen": {"sample": "software-16"},
            "xor": {"sample": "memory-xor", "memory": {"K_eff_spread": 0.02}, "imperfections": {"read_error": 1e-3}},
            "biased": {"sample": "memory-raw", "cells": {"p01": 0.6, "p10": 0.4}},
            "looped": {"sample": "memory-raw", "source": {"period": 4096, "shaping": ["popcount", 16]}},
            "trained": {"train": "software", "train_steps": 2, "channels": [4, 8]},
        },
        grid={"compute.mode": ["digital"], "compute.weight_bits": [4]},
    )  # fmt: skip
    spec.save(out / "study.json")

    def tiny(job: Training, folder: Path) -> dict[str, Any]:
        # a training of a study takes networks of 16 channels or more, and a data set that does not ship
        images = ImageSet(garments(), None, "garments", "train", data_sha256(garments()))
        fields = TINY | {"channels": job.channels}
        found = train(
            images, PseudoSource(seed=job.seed), folder / "model",
            spec=TrainSpec(noise=job.noise, data="garments", seed=job.seed, steps=job.steps, **fields),
        )  # fmt: skip
        without_checkpoints(folder / "model")
        return {"loss": found.loss, "seconds": found.seconds}

    here = Path.cwd()
    os.chdir(out)
    try:
        execute(spec.trainings(), Path("results"), work=tiny)
        voltaspin("study", "study.json", "--out", "results")
    finally:
        os.chdir(here)


@kind("noise-specification")
def noise_specification(out: Path) -> None:
    NoiseSpecification.shipped().save(out / "specification.json")
    kept(out / "verdict.json", "spec", "--junction", "generator", "--json")


@kind("cost")
def cost(out: Path) -> None:
    CostTable.default().save(out / "table.json")
    kept(out / "claim.json", "cost", "--measure", "never", "--samples", "100", "--json")


@kind("recording")
def recording(out: Path) -> None:
    here = Path.cwd()
    os.chdir(out)
    try:
        for name, *more in (("bits.bin",), ("raw.bin", "--raw"), ("bits.bytes", "--format", "bytes"),
                            ("bits.txt", "--format", "text")):  # fmt: skip
            kept(Path(f"{name}.report.json"), "bits", "--count", "20003", "--seed", "4", "--out", name, *more, "--json")
        # a recording of a recording, from Python
        record(RecordedSource("bits.bin"), "again.bin", bits=1000)
        kept(Path("randomness.json"), "randomness", "bits.bin", "--json")
    finally:
        os.chdir(here)


@kind("source-states")
def source_states(out: Path) -> None:
    """What ``state_dict`` gives, and the next sixteen normals behind it."""
    bits = Path("spring.bin")
    record(PseudoSource(seed=8), bits, bits=100_000)
    array = {"rows": 16, "columns": 16, "seed": 6}
    sources = {
        "software": PseudoSource(seed=6),
        "memory": MemorySource(memory=MagnetoelectricMemory(**array), k=2, seed=6),
        "looped": LoopedSource(period=1000, seed=6),
        "recorded": RecordedSource(bits),
        **{
            chain: conditioned(MemorySource(memory=MagnetoelectricMemory(**array), k=1, seed=6), chain)
            for chain in ("health:0.5", "xor:2", "von-neumann", "peres:3", "toeplitz:0.8", "sha256:0.8")
        },
    }  # fmt: skip
    for name, source in sources.items():
        source.bits(77)
        while "left" in source.state_dict() and (left := 4 * len(source.state_dict()["left"])) > 1000:
            source.bits(left - 500)  # what a conditioner holds back is much, and said in full
        state = json.loads(json.dumps(source.state_dict()))
        following = np.unpackbits(source.bits(64), count=64).tolist()
        write_json(out / f"{name.replace(':', '-')}.json", {"source": name, "state": state, "next": following})
    shutil.copy(bits, out / "spring.bin")
    shutil.copy(f"{bits}.json", out / "spring.bin.json")


@kind("images")
def images(out: Path) -> None:
    """A model of its own folder, and what ``sample`` says beside the images."""
    common = ("--count", "4", "--seed", "5")
    voltaspin("sample", "--steps", "2", *common, "--out", "shipped")
    voltaspin("sample", "--model", "gaussian-model", "--steps", "3", *common, "--sampler", "ddim", "--eta", "0.5",
              "--noise", "software", "--out", "ddim")  # fmt: skip
    voltaspin("sample", "--model", "gaussian-model", "--steps", "2", *common, "--compute", "memory", "--spec",
              "crossbar/array.json", "--condition", "health:0.5,von-neumann", "--out", "compute")  # fmt: skip
    for name in ("ideal", "generator"):
        voltaspin("sample", "--model", f"bitflip-model/{name}", "--steps", "5", *common, "--out", f"bits-{name}")
    for name in ("shipped", "ddim", "compute", "bits-ideal", "bits-generator"):
        shutil.move(name, out / name)
    kept(out / "evaluation.json", "evaluate", str(Path("images") / "shipped"), "--json")


@kind("demo")
def demo(out: Path) -> None:
    """Page and pictures are left out."""
    voltaspin("demo", "--out", "demo-report", "--images", "4", "--steps", "2")
    shutil.move("demo-report/results.json", out / "results.json")
    shutil.move("demo-report/samples", out / "samples")


@kind("device")
def device(out: Path) -> None:
    kept(out / "derived.json", "device", "--preset", "generator", "--devices", "1000", "--json")
    kept(out / "list.json", "device", "list", "--json")
    voltaspin("device", "export", "--preset", "storage", "--set", "B_x=20mT", "--format", "json", "--out",
              "device/junction.json")  # fmt: skip
    for name, suffix in (("ngspice", "sp"), ("verilog-a", "va")):
        voltaspin("device", "export", "--preset", "generator", "--format", name, "--out", f"device/cell.{suffix}")
    voltaspin("device", "characterise", "--preset", "generator", "--quick", "--out", "characterised")
    shutil.move("characterised/device.json", out / "device.json")


@kind("device-fit")
def device_fit(out: Path) -> None:
    from voltaspin.device.fit.data import ResistanceData
    from voltaspin.device.fit.resistance import resistance

    volts, rng, lines = np.linspace(-0.6, 0.4, 11), np.random.default_rng(3), ["V,R [kohm],state,error [kohm]"]
    for state in ("P", "AP"):
        blank = ResistanceData(voltage=volts, R=np.ones(11), state=np.array(state))
        true = resistance(presets.get("generator"), blank) / 1e3
        seen = true * (1 + 0.01 * rng.standard_normal(11))
        lines += [f"{V:.2f},{R:.4f},{state},{0.01 * t:.4f}" for V, R, t in zip(volts, seen, true, strict=True)]
    (out / "resistance.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    here = Path.cwd()
    os.chdir(out)
    try:
        voltaspin("device", "fit", "resistance.csv", "--columns", "voltage=V:V", "--out", "fitted")
        Path("fitted/fit.png").unlink()
    finally:
        os.chdir(here)


@kind("memory-reports")
def memory_reports(out: Path) -> None:
    Image.fromarray(garments()[0, 0]).save("garment.png")
    kept(out / "coverage.json", "memory", "coverage", "--model", "gaussian-model", "--spec", "analog", "--json")
    kept(out / "cost.json", "memory", "cost", "--model", "gaussian-model", "--spec", "analog", "--steps", "3", "--json")
    kept(out / "store.json", "memory", "store", "garment.png", "--json")
    kept(out / "yield.json", "memory", "yield", "--rows", "32", "--columns", "32", "--json")


@kind("reference")
def reference(out: Path) -> None:
    """By the script that makes the shipped reference, of 32 garments in place of 10,000."""
    found = importlib.util.spec_from_file_location("make_reference", SCRIPTS / "make_reference.py")
    assert found is not None
    assert found.loader is not None
    script: Any = importlib.util.module_from_spec(found)
    found.loader.exec_module(script)
    few, classes = garments(), np.repeat(np.arange(10), [4, 4, *[3] * 8])
    script.load_images = lambda *_, split, **__: ImageSet(few, classes, "garments", split, data_sha256(few))
    script.UNSEEN, script.YARDSTICK = 0, 16
    before, sys.argv = sys.argv, ["make_reference.py", "--out", str(out)]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            script.main()
    finally:
        sys.argv = before


@kind("shipped-study")
def shipped_study(out: Path) -> None:
    """By the script that takes a demo's quality over as the study that ships."""
    found = importlib.util.spec_from_file_location("ship_study", SCRIPTS / "ship_study.py")
    assert found is not None
    assert found.loader is not None
    script: Any = importlib.util.module_from_spec(found)
    found.loader.exec_module(script)
    script.DATA = out
    before, sys.argv = sys.argv, ["ship_study.py", "demo/results.json"]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            script.main()
    finally:
        sys.argv = before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the kinds")
    parser.add_argument("--only", nargs="*", default=list(makers), help="kinds; the others are taken from --out")
    given = parser.parse_args()
    if __version__ != "0.1.0":
        parser.error(f"this is Voltaspin {__version__}; files of 0.1.0 are written by 0.1.0 only")
    out, here = given.out.resolve(), Path.cwd()
    for name in given.only:
        if (out / name).exists():
            parser.error(f"{given.out / name} is there, and is never written again")
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        try:
            for name in makers:
                if name not in given.only:
                    if (out / name).exists():
                        shutil.copytree(out / name, name)
                    continue
                Path(name).mkdir()
                makers[name](Path(name))
                shutil.copytree(name, out / name)
                print(name, sum(f.stat().st_size for f in (out / name).rglob("*") if f.is_file()))
        finally:
            os.chdir(here)


if __name__ == "__main__":
    main()
