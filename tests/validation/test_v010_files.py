"""Files that Voltaspin 0.1.0 wrote are read, and mean what they meant: see tests/data/v0.1.0/README.md.

The numbers here were read by 0.1.0 itself. The files are never written again; where a later version reads one of them
otherwise, the reader is wrong. Tests that a run is continued or an array is used do so in a copy.
"""

from __future__ import annotations

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.core.files import sha256_of
from voltaspin.core.ledger import Ledger
from voltaspin.cost.images import ImageWork
from voltaspin.cost.merit import FigureOfMerit as Claim
from voltaspin.cost.table import CostTable
from voltaspin.device import JunctionSpec, Pulse, SwitchingModel, presets
from voltaspin.device.characterise import Characterisation
from voltaspin.diffusion import TrainSpec, inplace, load_pipeline, sample, train
from voltaspin.diffusion.data import ImageSet
from voltaspin.diffusion.pipelines import shipped_model
from voltaspin.memory import ArraySpec, MagnetoelectricMemory, Slopes, convert
from voltaspin.memory.pulses import PulseLibrary
from voltaspin.metrics import evaluate_folder
from voltaspin.metrics.conditions import ConditionComparison as Quality
from voltaspin.metrics.shipped import data_sha256, load_reference
from voltaspin.noise import LoopedSource, MemorySource, PseudoSource, RecordedSource, conditioned
from voltaspin.report.demo_results import DemoResults
from voltaspin.requirements.specification import NoiseSpecification
from voltaspin.study.equivalence import judge, standing
from voltaspin.study.runner import execute, finished, folder_of
from voltaspin.study.specification import StudySpec

FILES = Path(__file__).parents[1] / "data" / "v0.1.0"

#: Every folder, and the files in it that a test reads (folders with a slash). The others are said in README.md.
MANIFEST = {
    "bitflip-model": ["generator/", "ideal/"],
    "bitflip-training": [
        "bitflip.json", "checkpoint-00000003/", "log.jsonl", "train.json", "unet/",
    ],
    "cache": ["pulses/", "slopes/", "switching/"],
    "cost": ["claim.json", "table.json"],
    "crossbar": ["analog.json", "answer.json", "array.json", "layers.safetensors"],
    "demo": ["results.json", "samples/"],
    "device": ["cell.sp", "cell.va", "derived.json", "device.json", "junction.json", "list.json"],
    "device-fit": ["fitted/", "resistance.csv"],
    "gaussian-model": ["log.jsonl", "model_index.json", "scheduler/", "train.json", "unet/"],
    "gaussian-training": [
        "checkpoint-00000003/", "log.jsonl", "model_index.json", "scheduler/", "train.json", "unet/",
    ],
    "images": ["bits-generator/", "bits-ideal/", "compute/", "ddim/", "evaluation.json", "shipped/"],
    "memory-array": ["constant.safetensors", "everything.safetensors", "plain.safetensors"],
    "memory-reports": ["cost.json", "coverage.json", "store.json", "yield.json"],
    "noise-specification": ["specification.json", "verdict.json"],
    "recording": [
        "again.bin", "again.bin.json", "bits.bin", "bits.bin.json", "bits.bin.report.json", "bits.bytes",
        "bits.bytes.report.json", "bits.txt", "bits.txt.report.json", "randomness.json", "raw.bin", "raw.bin.json",
        "raw.bin.report.json",
    ],
    "reference": ["LICENSE.txt", "card.json", "features.safetensors", "garments.png"],
    "shipped-study": ["study-card.json", "study.json"],
    "source-states": [
        "health-0.5.json", "looped.json", "memory.json", "peres-3.json", "recorded.json", "sha256-0.8.json",
        "software.json", "spring.bin", "spring.bin.json", "toeplitz-0.8.json", "von-neumann.json", "xor-2.json",
    ],
    "study": ["results/", "study.json"],
    "switching-model": ["constant.json", "llg.json", "measured.json", "shipped.json"],
}  # fmt: skip

TINY: dict[str, Any] = {"batch": 8, "channels": (4, 8), "norm_groups": 2, "warmup": 2, "precision": "float32"}


def data_of(name: str) -> Any:
    return json.loads((FILES / name).read_text(encoding="utf-8"))


def close(value: float, rel: float = 1e-9) -> Any:
    return pytest.approx(value, rel=rel)


def packed(bits: Any) -> str:
    return np.packbits(bits).tobytes().hex()


def weights(folder: Path) -> tuple[int, float]:
    """Tensors of the network in a folder, and the sum of the sizes of its weights."""
    from safetensors.numpy import load_file

    found = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    return len(found), float(sum(np.abs(w).sum() for w in found.values()))


def squares() -> ImageSet:
    """What the tiny models were trained on."""
    images = np.zeros((32, 1, 8, 8), np.uint8)
    for i in range(32):
        images[i, 0, i // 8 : i // 8 + 3, i % 8 : i % 8 + 3] = 255
    return ImageSet(images, None, "squares", "train", data_sha256(images))


@pytest.fixture
def one_thread():
    """As many as the training runs had, so that going on is going on to the same weights."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- the folder itself ---------------------------------------------------------------------------------


def test_the_manifest_names_every_kind_that_is_there():
    found = {
        kind.name: sorted(f.name + "/" * f.is_dir() for f in kind.iterdir())
        for kind in FILES.iterdir()
        if kind.is_dir()
    }
    assert found == MANIFEST
    assert [f.name for f in FILES.iterdir() if f.is_file()] == ["README.md"]


def test_the_files_are_small_and_name_no_machine():
    files = [f for f in FILES.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 2.5e6
    assert max(f.stat().st_size for f in files) < 700e3
    for f in files:
        content = f.read_bytes()
        assert not any(place in content for place in (b"/work/", b"/root/", b"/home/", b"/tmp/")), f


def test_every_environment_says_0_1_0():
    said = [
        data["environment"]["voltaspin"]
        for f in FILES.rglob("*.json")
        if isinstance(data := json.loads(f.read_text(encoding="utf-8")), dict) and "environment" in data
    ]
    assert len(said) >= 15
    assert set(said) == {"0.1.0"}


# --- models and training runs --------------------------------------------------------------------------


def test_gaussian_model_draws_its_images():
    pipeline = load_pipeline(FILES / "gaussian-model")
    assert pipeline.image_shape == (1, 8, 8)
    assert pipeline.sha256 == "ef80bf89184142f32df8e344f1877e616d401d45298fad8d7678f65842a31c9e"
    assert sum(p.numel() for p in pipeline.unet.parameters()) == 10709
    images = sample(pipeline, PseudoSource(seed=3), count=2, steps=4).images
    assert images.shape == (2, 1, 8, 8)
    assert images.mean((1, 2, 3)) == pytest.approx([27.03, 38.17], abs=1)
    assert images[0, 0, 3].tolist() == pytest.approx([0, 4, 100, 191, 111, 7, 0, 0], abs=3)


def test_train_json_is_a_specification():
    data = data_of("gaussian-model/train.json")
    assert data.pop("data_sha256") == squares().sha256
    assert data.pop("environment")["voltaspin"] == "0.1.0"
    spec = TrainSpec.from_json(data)
    assert (spec.steps, spec.seed, spec.channels, spec.noise) == (60, 1, (4, 8), "software")
    assert (spec.prediction_type, spec.saturation_margin, spec.ema_decay) == ("v_prediction", 0.05, 0.9995)
    assert json.loads((FILES / "gaussian-model" / "log.jsonl").read_text().splitlines()[0])["step"] == 50


@pytest.mark.parametrize("name", ["bitflip-model/ideal", "bitflip-model/generator", "bitflip-training"])
def test_bit_planes_are_refused_with_what_took_their_place(name):
    with pytest.raises(InputError, match=r"bit planes of version 0\.1\.0.*--diffusion in-place"):
        load_pipeline(FILES / name)


def test_a_training_run_is_resumed(tmp_path, one_thread):
    shutil.copytree(FILES / "gaussian-training", tmp_path / "run")
    assert weights(tmp_path / "run") == (114, close(909.52612, 1e-6))
    source = MemorySource(memory=MagnetoelectricMemory(rows=64, columns=64, seed=3), k=2, seed=3)
    spec = TrainSpec(noise="memory", data="squares", seed=2, steps=6, checkpoint_every=2, **TINY)
    steps: list[int] = []
    result = train(
        squares(), source, tmp_path / "run", spec=spec, resume=True, progress=lambda step, *_: steps.append(step)
    )
    assert result.finished
    assert steps == [4, 5, 6]
    # what 0.1.0 comes to without an interruption
    assert result.loss == close(0.8949014743169149, 1e-3)
    assert weights(tmp_path / "run") == (114, close(909.78369, 1e-5))


def test_a_training_of_bit_planes_does_not_go_on(tmp_path):
    shutil.copytree(FILES / "bitflip-training", tmp_path / "run")
    spec = inplace.InPlaceTrainSpec(data="squares", seed=2, steps=6, **TINY)
    with pytest.raises(InputError, match="run"):
        inplace.train(squares(), tmp_path / "run", spec=spec, resume=True)
    memory = MagnetoelectricMemory.load(tmp_path / "run" / "checkpoint-00000003" / "memory.safetensors")
    assert (memory.rows, memory.columns) == (16, 64)


# --- memory --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "state", "following", "p01", "mean", "cycle", "totals"),
    [
        (
            "plain", "d4677e2c5a22ec4aadbfe2135cc17a22f2cffa08dce7b1f62ffa275a8c76ad13",
            "a37ba7ca3d349ba818bf4f7c2ced749fc968cb341ad6ad7b574269e970b30762",
            [0.50123166, 0.49909158, 0.502168], 0.49953443141191467, 1, {"pulse": 256},
        ),
        (
            "everything", "7b04cf908a47d6945738767f37b07cad61f86e5d4ec426aa",
            "ca5c3b91d4dfa848df7a5b80139cbfd2a9f7ee75bb8211a1",
            [0.49792229, 0.50412316, 0.49186708], 0.5045959835433854, 4, {"pulse": 278, "toggle": 98, "read": 192},
        ),
        ("constant", "0eaf52ec", "703bbe2c", [0.55, 0.55, 0.55], 0.55, 1, {"pulse": 32, "reset": 32}),
    ],
)  # fmt: skip
def test_memory_array_is_what_it_was_and_goes_on(name, state, following, p01, mean, cycle, totals):
    memory = MagnetoelectricMemory.load(FILES / "memory-array" / f"{name}.safetensors")
    assert packed(memory.state) == state
    assert memory.p01[0, :3] == pytest.approx(p01, abs=1e-8)
    assert memory.p01.mean() == close(mean)
    assert memory.cycle == cycle
    assert memory.ledger.totals() == totals
    memory.pulse()
    assert packed(memory.state) == following


def test_memory_array_keeps_its_parts():
    memory = MagnetoelectricMemory.load(FILES / "memory-array" / "everything.safetensors")
    assert memory.stuck == 0.05
    assert memory.variation.gradient == {"K_eff": (0.01, 0.0)}
    assert memory.access is not None
    assert memory.access.toggle_error == (0.01, 0.02)
    assert memory.line is not None
    assert memory.line.resistance == 2.0
    assert memory.imperfections is not None
    assert memory.imperfections.slopes == Slopes(
        temperature=(1e-4, 1e-4), voltage=(0.1, 0.1), width=(1e8, 1e8), B_z=(5.0, -5.0)
    )
    assert int(memory.worn.sum()) == 376


def test_crossbars_take_their_saved_layers():
    from safetensors.torch import load_file

    spec = ArraySpec.load(FILES / "crossbar" / "array.json")
    assert (spec.rows, spec.weight_bits, spec.adc_bits, spec.resistance_spread, spec.seed) == (16, 4, 6, 0.02, 3)
    assert ArraySpec.load(FILES / "crossbar" / "analog.json") == ArraySpec(
        weight_bits=4, adc_bits=6, resistance_spread=0.05, read_noise=None, write_error_rate=1e-4, wire_resistance=1.0,
        line_capacitance=50e-15,  # that of every array then; today it follows from the rows
    )  # fmt: skip
    answer = data_of("crossbar/answer.json")
    x = torch.tensor(answer["x"])
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    converted, _ = convert(model, spec, example=x)
    converted.load_state_dict(load_file(FILES / "crossbar" / "layers.safetensors"))
    with torch.no_grad():
        y = converted.eval()(x)
    assert answer["y"][0] == close([-0.11070724576711655, 0.2620261311531067])
    assert y.numpy() == pytest.approx(np.array(answer["y"]), abs=1e-5)


# --- the device ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "made", "B_z", "p"),
    [
        ("shipped", "SwitchingModel.from_llg", 0.5e-3, (0.49585812767863435, 0.5024130575849394)),
        ("llg", "SwitchingModel.from_llg", 0.5e-3, (0.51, 0.51)),
        ("measured", "SwitchingModel.from_measurements", 0.5e-3, (0.5250627989041908, 0.47324468477391407)),
        ("constant", "constant", 0.0, (0.55, 0.45)),
    ],
)
def test_switching_model_answers(name, made, B_z, p):
    model = SwitchingModel.load(FILES / "switching-model" / f"{name}.json")
    assert model.provenance["made"] == made
    assert [float(x) for x in model.probabilities(B_z=B_z)] == pytest.approx(p, rel=1e-9)


def test_switching_model_keeps_its_fields():
    shipped = SwitchingModel.load(FILES / "switching-model" / "shipped.json")
    assert shipped.junction == presets.get("generator")
    assert shipped.pulse == Pulse(voltage=1.5356987355082967, width=2.8e-10)
    assert shipped.ranges == {"K_eff_scale": (0.75, 1.25), "B_z": (-8e-3, 8e-3)}
    assert (shipped.fit_error, shipped.chi2_per_dof) == close((0.002726581395114596, 1.2687411301954268))


def test_what_the_cache_keeps():
    """A cache is no record: its names hold the version, so each version makes its own. The files read all the same."""
    (file,) = (FILES / "cache" / "switching").iterdir()
    model = SwitchingModel.load(file)
    assert model.provenance["made"] == "SwitchingModel.from_fokker_planck"
    assert model.response.basis == "chebyshev"
    assert [float(x) for x in model.probabilities(B_z=0.5e-3)] == close([0.496950503837005, 0.5031214501131586])
    (file,) = (FILES / "cache" / "pulses").iterdir()
    logits = np.load(file, allow_pickle=False)
    generator = presets.get("generator")
    voltages, widths = np.array([0.9, 1.0]) * generator.V_c, np.array([0.2e-9, 0.3e-9, 0.4e-9])
    library = PulseLibrary(voltages, widths, (("K_eff_scale", 0.1), ("B_z", 1e-3)), logits)
    assert logits.shape == (2, 3, 2, 8)
    assert library.nominal[0, 0] == pytest.approx([1 / (1 + np.exp(1.20661419))] * 2, abs=1e-8)
    (file,) = (FILES / "cache" / "slopes").iterdir()
    slopes = Slopes(**{name: tuple(pair) for name, pair in json.loads(file.read_text()).items()})
    assert slopes.B_z == close((-6.268484081256366, 6.2684840812563465))
    assert slopes.width == close((125391.90758347511, 125391.90758347511))


@pytest.mark.skipif(version("voltaspin") != "0.1.0", reason="the names of cached files hold the version")
def test_the_cache_is_found_again(tmp_path, monkeypatch):
    shutil.copytree(FILES / "cache", tmp_path / "cache")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("VOLTASPIN_CACHE", str(tmp_path / "cache"))
    generator, pulse = presets.get("generator"), SwitchingModel.shipped().pulse
    assert pulse is not None
    SwitchingModel.from_fokker_planck(generator, pulse, K_eff=0.02, B_z=1e-3, xi=0, diameter=0, RA=0, solutions=32)
    voltages, widths = np.array([0.9, 1.0]) * generator.V_c, np.array([0.2e-9, 0.3e-9, 0.4e-9])
    PulseLibrary.of(generator, (("K_eff_scale", 0.1), ("B_z", 1e-3)), voltages=voltages, widths=widths)
    assert sorted(tmp_path.rglob("*")) == before


def test_device_json_is_a_characterisation():
    found = Characterisation.load(FILES / "device" / "device.json")
    assert found.derived.Delta == close(40.0)
    assert found.derived.V_c == close(1.1813067196217666)
    assert found.coin is not None
    assert found.coin.verdict == "1.772 V for 0.297 ns, the best of the map, is off 1/2 by 0.00042."
    assert found.retention is not None
    assert found.retention.life == close(59.68259798892827)
    assert found.reasons == {}
    assert found.environment["voltaspin"] == "0.1.0"


def test_junction_json_is_a_junction():
    exported = JunctionSpec.load(FILES / "device" / "junction.json").junction()
    assert (exported.name, exported.xi, exported.B_bias) == ("storage, B_x=20mT", 2e-13, (0.02, 0.0, 0.0))
    assert exported.K_i == close(0.000783178127009617)
    fitted = JunctionSpec.load(FILES / "device-fit" / "fitted" / "junction.json").junction()
    assert fitted.name == "generator, fitted to resistance.csv"
    assert (fitted.RA, fitted.TMR0, fitted.V_h) == close((9.992162894696449e-10, 1.0051490347115963, 0.495828768970173))


def test_fit_json():
    """No reader in 0.1.0: parsed as JSON; the junctions in it are read."""
    data = data_of("device-fit/fitted/fit.json")
    assert (data["kind"], data["schema_version"], data["measurement"]) == ("fit", 1, "resistance")
    assert (data["points"], data["dof"]) == (22, 19)
    assert data["parameters"]["V_h"]["unit"] == "V"
    assert data["parameters"]["V_h"]["error"] == close(0.010407427100131272)
    assert JunctionSpec.from_json(data["start"]).junction() == presets.get("generator")
    assert data["junction"] == data_of("device-fit/fitted/junction.json")
    assert data["files"][0]["sha256"] == sha256_of(FILES / "device-fit" / "resistance.csv")


def test_the_measurements_are_fitted_again(tmp_path):
    source = FILES / "device-fit" / "resistance.csv"
    with pytest.raises(SystemExit) as end:
        main(["device", "fit", str(source), "--columns", "voltage=V:V", "--out", str(tmp_path / "fit")])
    assert not end.value.code
    again, before = (json.loads((f / "fit.json").read_text()) for f in (tmp_path / "fit", source.parent / "fitted"))
    for name, one in before["parameters"].items():
        assert again["parameters"][name]["value"] == close(one["value"], 1e-5)


def test_what_device_prints_and_exports():
    """No readers in 0.1.0: JSON without kind or version, and circuits for other programs."""
    derived = data_of("device/derived.json")
    assert (derived["preset"], derived["seed"], derived["p01"]["n"]) == ("generator", 0, 1000)
    assert derived["R_P_ohm"] == close(509295.81789406505)
    listed = data_of("device/list.json")
    assert len(listed) == 8
    assert listed[0]["grades"] == {"assumed": 12}
    for suffix, first in (("sp", "* VCMTJ: voltage-controlled"), ("va", "// VCMTJ: voltage-controlled")):
        assert (FILES / "device" / f"cell.{suffix}").read_text().startswith(first)


# --- noise ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "format", "bits", "first", "origin"),
    [
        ("bits.bin", None, 20003, "1c8711394b96d038", "simulated"),
        ("raw.bin", None, 20003, "528dda34e70fac49", "simulated"),
        ("again.bin", None, 1000, "1c8711394b96d038", "recorded"),
        ("bits.bytes", "bytes", 20003, "1c8711394b96d038", None),
        ("bits.txt", "text", 20003, "1c8711394b96d038", None),
    ],
)
def test_recording_has_its_bits(name, format, bits, first, origin):
    source = RecordedSource(FILES / "recording" / name, format=format)
    assert source.bits_left == bits
    assert source.bits(64).tobytes().hex() == first
    assert (None if source.origin is None else source.origin["kind"]) == origin


def test_the_formats_of_a_recording_agree():
    folder = FILES / "recording"
    found = [
        RecordedSource(folder / name, format=format).bits(20003).tobytes()
        for name, format in (("bits.bin", None), ("bits.bytes", "bytes"), ("bits.txt", "text"))
    ]
    assert found[0] == found[1] == found[2]
    assert sum(byte.bit_count() for byte in found[0]) == 10082
    normals = RecordedSource(folder / "bits.bin")
    normals.bits(64)
    assert normals.normal((2,)) == pytest.approx([-0.774484395980835, 0.092635378241539], abs=1e-6)


def test_what_bits_and_randomness_print():
    """No readers in 0.1.0: JSON without kind or version."""
    for name in ("bits.bin", "bits.bytes", "bits.txt", "raw.bin"):
        said = data_of(f"recording/{name}.report.json")
        assert (said["file"], said["bits"], said["noise"]["details"]["seed"]) == (name, 20003, 4)
        assert said["noise"]["details"]["k"] == (1 if name == "raw.bin" else 2)
    report = data_of("recording/randomness.json")
    assert (report["n_bits"], report["constants"], len(report["tests"])) == (20003, "nist", 188)
    assert report["bias"] == close(0.0040243963405489636)
    assert report["ideal"] is True
    assert report["noise"]["details"]["origin"]["kind"] == "simulated"


@pytest.mark.parametrize("file", [f for f in MANIFEST["source-states"] if "spring" not in f])
def test_a_source_goes_on_from_its_state(file):
    kept = data_of(f"source-states/{file}")
    array = MagnetoelectricMemory(rows=16, columns=16, seed=6)
    name = kept["source"]
    if name in ("software", "looped", "recorded", "memory"):
        source: Any = {
            "software": lambda: PseudoSource(seed=6),
            "looped": lambda: LoopedSource(period=1000, seed=6),
            "recorded": lambda: RecordedSource(FILES / "source-states" / "spring.bin"),
            "memory": lambda: MemorySource(memory=array, k=2, seed=6),
        }[name]()
    else:
        source = conditioned(MemorySource(memory=array, k=1, seed=6), name)
    source.load_state_dict(kept["state"])
    assert np.unpackbits(source.bits(64), count=64).tolist() == kept["next"]


# --- images, scores, studies ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "steps", "side", "mean"),
    [
        ("shipped", "sample", 2, 28, 67.09948979591837),
        ("ddim", "sample", 3, 8, 33.015625),
        ("compute", "sample", 2, 8, 30.390625),
        ("bits-ideal", "sample-bitflip", 5, 8, 70.390625),
        ("bits-generator", "sample-bitflip", 5, 8, 58.4375),
    ],
)
def test_images_and_their_run_json(name, kind, steps, side, mean):
    """run.json has no reader in 0.1.0: parsed as JSON."""
    folder = FILES / "images" / name
    run = data_of(f"images/{name}/run.json")
    assert (run["kind"], run["schema_version"]) == (kind, 1)
    assert (run["images"], run["steps"], run["seed"]) == (4, steps, 5)
    assert run["command"][:2] == ["voltaspin", "sample"]
    assert len(list(folder.glob("image-*.png"))) == 4
    with Image.open(folder / "image-000000.png") as image:
        assert np.asarray(image).shape == (side, side)
        assert np.asarray(image).mean() == close(mean)


def test_run_json_names_its_model_and_its_work():
    shipped, compute = (data_of(f"images/{name}/run.json") for name in ("shipped", "compute"))
    assert shipped["model"]["sha256"] == load_pipeline(shipped_model()).sha256
    assert compute["model"]["sha256"] == load_pipeline(FILES / "gaussian-model").sha256
    assert ArraySpec.from_json(compute["compute"]) == ArraySpec.load(FILES / "crossbar" / "array.json")
    assert compute["compute_cost"]["kind"] == "compute-cost"
    assert compute["ledger"]["conversion"] == 414432
    ideal, generator = (data_of(f"images/bits-{name}/run.json") for name in ("ideal", "generator"))
    assert ideal["costs"] == []
    work = [ImageWork.from_json(one) for one in generator["costs"]]
    assert len(work) == 3
    assert work[0].energy["macro"].value == close(120.7309628856847)
    assert generator["per_image"]["random_bits"] == 768
    assert generator["cells"]["junction"] == "generator"
    assert Ledger.from_dict(generator["ledger"]).total("pulse") == 4 * 768


def test_images_have_the_score_that_they_had():
    """The report of ``evaluate`` has no reader in 0.1.0; the images are scored again."""
    data = data_of("images/evaluation.json")
    assert (data["kind"], data["schema_version"], data["n_reference"]) == ("evaluation", 1, 10000)
    assert data["images"]["scores"][0]["value"] == close(1.1460381375934245)
    again = evaluate_folder(FILES / "images" / "shipped").to_json()
    assert again["images"]["scores"][0]["value"] == close(1.1460381375934245, 1e-3)


def test_reference_statistics():
    found = load_reference(FILES / "reference")
    assert (found.name, found.extractor) == ("fashion-mnist", "voltaspin-fmnist-cnn-1")
    assert {k: v.shape for k, v in found.features.items()} == {
        "reference": (32, 64), "real": (32, 64), "blur": (16, 64), "noise": (16, 64),
    }  # fmt: skip
    assert found.labels[:5].tolist() == [0, 0, 0, 0, 1]
    assert found.centre[:2] == pytest.approx([0.25362372, 0.60634041], abs=1e-7)
    assert found.scale[:2] == pytest.approx([0.5026924, 0.7290674], abs=1e-6)


def test_demo_results():
    found = DemoResults.load(FILES / "demo" / "results.json")
    assert found.command == "voltaspin demo --images 4 --steps 2 --seed 0"
    assert found.provenance == {
        "software": "pseudo", "software16": "pseudo", "raw": "simulated", "conditioned": "simulated",
    }  # fmt: skip
    assert (found.device.chosen.voltage, found.device.chosen.width) == close((1.5356987355082967, 2.4e-10))
    assert found.quality.live.rows[0].kid.value == close(0.5655142216044478)


def test_kept_conditions_of_a_demo():
    """Kept to go on with the same demo of the same version; without a public reader in 0.1.0."""
    for key in ("software", "software16", "raw", "conditioned", "control"):
        data = data_of(f"demo/samples/{key}.json")
        file = FILES / "demo" / "samples" / f"{key}.npy"
        assert data["sha256"] == sha256_of(file)
        assert np.load(file, allow_pickle=False).shape == (4, 1, 28, 28)
    raw = Ledger.from_dict(data_of("demo/samples/raw.json")["ledger"])
    assert raw.totals() == {
        "pulse": 100352, "reset": 50176, "read": 100352, "bit": 100352, "normal": 6272, "lookup": 6272,
    }  # fmt: skip


def test_shipped_study():
    """study.json is a part of the results of a demo; its card has no reader in 0.1.0."""
    study = Quality.load(FILES / "shipped-study" / "study.json")
    live = DemoResults.load(FILES / "demo" / "results.json").quality.live
    assert study == live.model_copy(update={"label": "Shipped study"})
    card = data_of("shipped-study/study-card.json")
    assert card["command"] == study.command
    assert card["model_sha256"] == data_of("images/shipped/run.json")["model"]["sha256"]


def test_study_specification():
    spec = StudySpec.load(FILES / "study" / "study.json")
    assert (spec.name, spec.margin, spec.baseline, spec.sampling_seeds) == ("files of 0.1.0", 0.5, "software", (1, 2))
    assert (spec.controls, spec.yardstick) == (("biased",), "biased")
    assert len(spec.runs()) == 14
    conditions = spec.named()
    assert conditions["xor"].imperfections == {"read_error": 1e-3}
    assert conditions["looped"].source == {"period": 4096, "shaping": ["popcount", 16]}
    assert conditions["compute.mode=digital, compute.weight_bits=4"].compute == {"mode": "digital", "weight_bits": 4}
    assert spec.trainings()[0].channels == (4, 8)


def test_a_study_is_taken_up_without_running_anything_again(tmp_path):
    shutil.copytree(FILES / "study" / "results", tmp_path / "results")
    spec = StudySpec.load(FILES / "study" / "study.json")

    def refuse(job: Any, folder: Path) -> dict[str, Any]:
        raise AssertionError(f"{job.name} is run again")

    out = tmp_path / "results"
    assert all(finished(out, job) for job in (*spec.trainings(), *spec.runs()))
    assert execute(spec.trainings(), out, work=refuse) == 0
    assert execute(spec.runs(), out, work=refuse) == 0
    load_pipeline(folder_of(out, spec.trainings()[0]) / "model")
    verdicts = judge(spec, out)
    found = {v.name: v for v in verdicts}
    assert found["trained"].difference == close(4.791598444466687, 1e-6)
    assert found["trained"].said == "different"
    assert (found["biased"].kid, found["biased"].baseline_kid) == close((1.5291319945837323, 0.9464830536773565), 1e-6)
    assert found["sixteen"].said == "equivalent"
    # verdicts.json has no reader in 0.1.0
    data = data_of("study/results/verdicts.json")
    assert (data["kind"], data["schema_version"]) == ("study-verdicts", 1)
    assert StudySpec.from_json(data["study"]) == spec
    assert data["standing"] == standing(spec, verdicts)
    assert {v["name"]: v["difference"] for v in data["verdicts"]} == close(
        {v.name: v.difference for v in verdicts}, 1e-6
    )


def test_a_study_is_finished_on_the_command_line(tmp_path):
    shutil.copytree(FILES / "study", tmp_path / "study")
    results = sorted((tmp_path / "study" / "results" / "runs").glob("*/result.json"))
    before = {f: f.stat().st_mtime_ns for f in results}
    assert len(before) == 15
    spec = StudySpec.load(tmp_path / "study" / "study.json")
    assert all(finished(tmp_path / "study" / "results", r) for r in spec.runs())  # or the next line would take minutes
    with pytest.raises(SystemExit) as end:
        main(["study", str(tmp_path / "study" / "study.json"), "--out", str(tmp_path / "study" / "results")])
    assert not end.value.code
    assert {f: f.stat().st_mtime_ns for f in (tmp_path / "study" / "results" / "runs").glob("*/result.json")} == before
    again, data = (
        json.loads((folder / "results" / "verdicts.json").read_text())
        for folder in (tmp_path / "study", FILES / "study")
    )
    assert again["standing"] == data["standing"]


def test_noise_specification():
    spec = NoiseSpecification.load(FILES / "noise-specification" / "specification.json")
    assert (spec.margin, len(spec.limits), spec.reduced) == (0.0277, 30, False)
    first = spec.limits[0]
    assert (first.name, first.treatment, len(first.points)) == ("bias", "raw", 7)
    assert first.value == close(0.0016262987158657087)


def test_verdict_on_a_device():
    """No reader in 0.1.0: parsed as JSON."""
    data = data_of("noise-specification/verdict.json")
    assert (data["kind"], data["schema_version"], len(data["rows"])) == ("noise-verdict", 1, 22)
    assert data["treatments"]["raw"]["fails"] == ["B_z"]
    assert data["treatments"]["xor"]["meets"] is True


def test_cost_table_and_claim():
    table = CostTable.load(FILES / "cost" / "table.json")
    assert table.name.startswith("published figures, 28 nm cell with 45 nm logic (version 3; ")
    assert 256 * table.circuits["drain load"].number.value == 50  # fF: the line that the table gave
    assert table.area_of_cell == close(3.136e-14)
    data = data_of("cost/claim.json")
    verdicts = data.pop("verdicts")  # that the command adds
    claim = Claim.from_json(data)
    assert (len(claim.readings), claim.samples) == (93, 100)
    assert [r.verdict for r in claim.readings] == verdicts
    assert verdicts[:3] == ["within the range", "missed", "missed"]
    assert claim.work is not None


def test_memory_reports():
    """No readers in 0.1.0: JSON, of which only the cost has kind and version."""
    cost, coverage, store, yields = (
        data_of(f"memory-reports/{n}.json") for n in ("cost", "coverage", "store", "yield")
    )
    assert (cost["kind"], cost["schema_version"], cost["steps"], cost["cells"]) == ("compute-cost", 1, 3.0, 58656)
    assert (coverage["arrays"], coverage["macs"], len(coverage["layers"])) == (35, 246656, 39)
    assert coverage["mac_fraction"] == close(0.9634146341463414)
    assert [k["preset"] for k in store["kept"]] == ["storage", "generator"]
    assert store["kept"][0]["lost"] == close(0.28220663265306123)
    assert (yields["cells"], yields["outside"]) == (1024, close(0.0029296875))
