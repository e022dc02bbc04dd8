"""Conditions of anything: data, recipe, sources and cells in training, samplers, references; and keys that stay."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.memory import ArraySpec
from voltaspin.metrics import FeatureStatistics, ImageParts
from voltaspin.study import Condition, Run, StudySpec, contents
from voltaspin.study.check import check, idle
from voltaspin.study.contents import recipe_fields
from voltaspin.study.runner import folder_of
from voltaspin.study.specification import Training
from voltaspin.study.template import STUDIES
from voltaspin.study.work import built_spec, training_source, training_spec

EXAMPLES = Path(__file__).parents[2] / "examples"
#: SHA-256 of the keys of all runs and trainings, as they were before conditions could set all of this.
KEYS = {
    "arms": "31e8244a7a8b9702", "compute": "4d19461092588c90", "frontier": "93a842d905b97a2a",
    "halving": "e8fd6aaa13973953", "inplace": "78b890dc9b47324b", "samplers": "dbf2ac2580470344",
    "specification": "8a78cb9d5bc66d6f",
}  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_runs_of_older_files_keep_their_keys(name: str) -> None:
    spec = StudySpec.load(EXAMPLES / f"{name}.json")
    runs = [run for run in spec.runs() if not (arrays := built_spec(run.condition)) or not arrays.noise_follows_lines]
    assert len(runs) == len(spec.runs()) - (name == "compute")  # whose noise of the junction has another line since
    keys = [job.key for job in (*runs, *spec.trainings())]
    assert hashlib.sha256("".join(keys).encode()).hexdigest()[:16] == KEYS[name]


def test_runs_whose_noise_follows_the_line_have_keys_that_say_its_capacitance() -> None:
    def key(**fields: Any) -> str:
        return Run("x", Condition(compute={"preset": "analog", **fields}), 0, 0).key

    derived = ArraySpec.preset("analog").bit_line
    assert key() == key(line_capacitance=derived) != key(line_capacitance=50e-15)
    assert key(read_noise=0.01) != key(read_noise=0.01, line_capacitance=derived)  # as it was before


def pictures(home: Path, n: int, size: int, seed: int = 0) -> Path:
    home.mkdir()
    rng = np.random.default_rng(seed)
    for k in range(n):
        Image.fromarray(rng.integers(0, 256, (size, size)).astype(np.uint8)).save(home / f"{k:03d}.png")
    return home


def key(tmp_path: Path, **fields: Any) -> str:
    return Run("x", Condition(**fields), 0, 0).key


def test_keys_name_contents_and_not_paths(tmp_path: Path) -> None:
    one, two = pictures(tmp_path / "one", 3, 28), pictures(tmp_path / "two", 3, 28)
    other = pictures(tmp_path / "other", 3, 28, seed=1)

    def trained(data: Path) -> Training:
        found = Run("x", Condition(train="software", data=str(data)), 0, 0).training
        assert found is not None
        return found

    assert trained(one).key != trained(other).key
    assert trained(one).to_json()["fields"]["data"] == str(one)
    before = trained(two).key
    (two / "000.png").write_bytes((other / "000.png").read_bytes())
    contents._of_data.cache_clear()  # a process reads a data set once
    assert trained(two).key != before
    bits = tmp_path / "bits.bin"
    bits.write_bytes(bytes(range(256)))
    recorded = Condition(sample=f"recorded:{bits}")
    before = Run("x", recorded, 0, 0).key
    bits.write_bytes(bytes(range(1, 256)))
    assert Run("x", recorded, 0, 0).key != before


def test_files_of_a_memory_count_by_their_contents(tmp_path: Path) -> None:
    cell = tmp_path / "cell.json"
    cell.write_text("{}")
    run = Run("x", Condition(sample=f"memory:k=1,junction={cell},width=0.3ns"), 0, 0)
    before = run.key
    cell.write_text("{ }")
    assert run.key != before


def test_what_a_training_draws_from_is_part_of_its_key() -> None:
    plain = Run("x", Condition(train="memory-raw"), 0, 0).training
    spread = Run("x", Condition(train="memory-raw", train_memory={"K_eff_spread": 0.03}), 0, 0).training
    slot = Run("x", Condition(train="memory-raw", training={"streams": "slot"}), 0, 0).training
    assert plain is not None
    assert spread is not None
    assert slot is not None
    assert len({plain.key, spread.key, slot.key}) == 3
    assert "source" not in plain.to_json()
    assert Training.from_json(json.loads(json.dumps(spread.to_json()))) == spread
    noises = [training_source(job).normal((1, 1, 64, 64), streams=[1], step=0) for job in (plain, spread)]
    assert not np.array_equal(*noises)
    assert training_spec(slot).streams == "slot"
    described = Run("x", Condition(train="memory:k=1,mapping=rotated | xor:2"), 0, 0).training
    assert described is not None
    assert "XOR" in training_source(described).provenance.description


def test_a_recipe_gives_what_training_does_not_change(tmp_path: Path) -> None:
    c = Condition(train="software", recipe="cifar10-small", training={"steps": 7}, data="fashion-mnist")
    job = Run("x", c, 3, 0).training
    assert job is not None
    spec = training_spec(job)
    assert (spec.steps, spec.channels, spec.weighting, spec.seed, spec.data, spec.flips) == (
        7, (48, 96, 144), "min-snr", 3, "fashion-mnist", True
    )  # fmt: skip
    file = tmp_path / "recipe.json"
    file.write_text(json.dumps({"kind": "train", "schema_version": 2, "steps": 5, "dropout": 0.2}))
    assert recipe_fields(str(file), in_place=False)["dropout"] == 0.2
    with pytest.raises(InputError, match="channels is said by recipe"):
        Condition.from_json({**head(), "train": "software", "recipe": "cifar10", "channels": [8]})
    with pytest.raises(InputError, match="say one thing"):
        Condition.from_json({**head(), "train": "software", "data": "mnist", "training": {"data": "mnist"}})


def head() -> dict[str, Any]:
    return {"kind": "study-condition", "schema_version": 1}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("train_memory.K_eff_spread", {"train_memory": {"K_eff_spread": 0.03}}),
        ("train_memory.K_eff_spread", {"train": "software", "train_memory": {"K_eff_spread": 0.03}}),
        ("train_source.reset", {"train": "array", "train_source": {"reset": True}}),
        ("recipe", {"recipe": "cifar10-small"}),
        ("data", {"data": "mnist"}),
    ],
)
def test_fields_of_a_training_that_is_none_do_not_act(path: str, fields: dict[str, Any]) -> None:
    assert idle(Condition(**fields), path)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("train_memory.K_eff_spread", {"train": "memory-raw", "train_memory": {"K_eff_spread": 0.03}}),
        ("train_cells.p01", {"train": "memory-raw", "train_cells": {"p01": 0.4, "p10": 0.5}}),
        ("data", {"diffusion": "real", "data": "mnist"}),
    ],
)
def test_fields_of_a_training_act(path: str, fields: dict[str, Any]) -> None:
    assert not idle(Condition(**fields), path)


def test_arrays_begin_with_a_preset() -> None:
    spec = built_spec(Condition(compute={"preset": "analog", "adc_bits": 5}))
    assert spec is not None
    expected = {**ArraySpec.preset("analog").model_dump(), "adc_bits": 5}
    assert spec.model_dump() == expected
    assert not idle(Condition(compute={"preset": "analog", "adc_bits": 5}), "compute.preset")
    with pytest.raises(InputError, match="array preset 'analogue' is unknown"):
        built_spec(Condition(compute={"preset": "analogue"}))


def test_the_templates_are_studies_and_the_first_one_runs_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for name in STUDIES:
        with pytest.raises(SystemExit) as ended:
            main(["template", "study", name])
        assert ended.value.code == 0
        spec = StudySpec.from_json(json.loads(capsys.readouterr().out))
        assert spec.named()
    size = check(StudySpec(**STUDIES["conditions"]))
    assert size.conditions == len(STUDIES["conditions"]["conditions"])
    # five trainings by three seeds
    assert size.trainings == 5 * 3
    assert size.work > size.evaluations > 0  # its trainings cost more than its sampling
    assert 0.6e9 < size.memory < 8e9
    with pytest.raises(SystemExit):
        main(["template", "study", "condition"])
    assert "did you mean 'conditions'?" in capsys.readouterr().err


BASE: dict[str, Any] = {"images": 4, "steps": 2}
TINY: dict[str, Any] = {
    "train": "software", "train_steps": 2, "channels": [8, 8],
    "training": {"norm_groups": 4, "batch": 4, "precision": "float32"},
}  # fmt: skip


def study(tmp_path: Path, conditions: dict[str, Any], **base: Any) -> Path:
    file = tmp_path / "study.json"
    file.write_text(json.dumps({
        "kind": "study", "schema_version": 1, "name": "x", "margin": 0.1, "baseline": next(iter(conditions)),
        "base": {**BASE, **base}, "conditions": conditions,
    }))  # fmt: skip
    return file


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.mark.slow
def test_a_study_of_ones_own_images_runs_with_every_choice(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    data, reference = pictures(tmp_path / "data", 12, 28), tmp_path / "r.safetensors"
    rng = np.random.default_rng(5)
    FeatureStatistics.of(
        ImageParts.of(rng.integers(0, 256, (20, 1, 28, 28)).astype(np.uint8)), name="pictures"
    ).save(reference)  # fmt: skip
    kept = {**TINY, "train": "memory-raw", "training": {**TINY["training"], "streams": "slot"}}
    conditions = {
        "software": {},
        "spread": {"train": "memory-raw", "train_memory": {"K_eff_spread": 0.03}},
        "kept": kept,
        "sampler": {"sampling": {"sampler": "dpm++"}},
        "described": {"sample": "memory:k=1 | xor:2"},
    }
    file = study(tmp_path, conditions, **TINY, data=str(data), reference=str(reference))
    status, _, err = run(capsys, "study", file, "--out", tmp_path / "out")
    assert status == 0, err
    spec = StudySpec.load(file)
    for one in spec.runs():
        result = json.loads((folder_of(tmp_path / "out", one) / "result.json").read_text())
        assert result["scores"]["scores"][0]["name"] == "KID"
    ledgers = {}
    for one in spec.runs():
        assert one.training is not None
        model = folder_of(tmp_path / "out", one.training) / "model"
        ledgers[one.name] = json.loads((model / "run.json").read_text())["ledger"]
        assert json.loads((model / "train.json").read_text())["data"] == str(data)
    assert ledgers["spread"]["reset"] == ledgers["spread"]["pulse"]
    assert ledgers["kept"]["reset"] == ledgers["kept"]["pulse"] // 2  # two steps, one reset


@pytest.mark.parametrize(
    ("conditions", "base", "words"),
    [
        ({"a": {}, "b": {**TINY, "channels": [8] * 4}}, {}, "28x28 pixels cannot be halved 3 times"),
        ({"a": {"train": "software", "data": "DATA", "training": {"labels": True}}}, {}, "has no labels; leave it out"),
        ({"a": {"sampling": {"guidance": 2.0}}}, {}, "guidance = 2: this model is told no class"),
        ({"a": {**TINY, "training": {**TINY["training"], "labels": True}, "sampling": {"label": 10}}}, {},
         "label = 10 is no class of this model; give 0 to 9"),
        ({"a": {**TINY, "training": {**TINY["training"], "labels": True}, "sampling": {"guidance": 2.0}}}, {},
         "guidance = 2 is towards a class; give label="),
        ({"a": {**TINY, "training": {**TINY["training"], "prediction_type": "sample"},
                "sampling": {"sampler": "euler-ancestral"}}}, {}, "cannot step a network that predicts 'sample'"),
        ({"a": {**TINY, "data": "SMALL"}}, {}, "images of 8x8 pixels in 1 channel(s), and the shipped extractor"),
        ({"a": {}, "b": {"sample": "system"}}, {}, "runs must be repeatable; record it"),
        ({"a": {"reference": "none.safetensors"}}, {}, "none.safetensors does not exist; make statistics with"),
        ({"a": {}, "b": {"reference": "R"}}, {}, "are scored against 2 references; give one of them in base"),
        ({"a": {"reference": "OTHER"}}, {}, "were made by another net ffffffffffff, and the extractor is"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line_before_any_work(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, conditions: dict[str, Any], base: dict[str, Any], words: str
) -> None:
    made = FeatureStatistics.of(
        ImageParts.of(np.random.default_rng(5).integers(0, 256, (20, 1, 28, 28)).astype(np.uint8)), name="pictures"
    )
    made.save(tmp_path / "r.safetensors")
    other = FeatureStatistics(**{**vars(made), "extractor": "another net", "extractor_sha256": "f" * 64})
    other.save(tmp_path / "other.safetensors")
    pictures(tmp_path / "data", 12, 28)
    pictures(tmp_path / "small", 12, 8)
    text = json.dumps(conditions)
    for word, path in (("DATA", "data"), ("SMALL", "small"), ("OTHER", "other.safetensors"), ("R", "r.safetensors")):
        text = text.replace(f'"{word}"', json.dumps(str(tmp_path / path)))
    status, out, err = run(capsys, "study", study(tmp_path, json.loads(text), **base), "--out", tmp_path / "out")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert not (tmp_path / "out").exists()
