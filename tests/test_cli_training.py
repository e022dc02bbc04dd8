"""``voltaspin template`` and ``train`` with a recipe."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from voltaspin.cli.app import main
from voltaspin.cli.training import recipe_of
from voltaspin.core.errors import InputError
from voltaspin.diffusion.recipe import recipe


def call(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(8):
        Image.new("L", (8, 8), 20 * k).save(folder / f"{k}.png")
    return folder


def test_a_template_is_a_recipe_that_trains_and_a_model_that_is_trained_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, pictures: Path
) -> None:
    status, out, _ = call(capsys, "template", "train")
    assert status == 0
    data = json.loads(out)
    assert data["learning_rate"] == 1.5e-3
    recipe_file = tmp_path / "r.json"
    recipe_file.write_text(json.dumps({**data, "channels": [16, 32], "batch": 4, "steps": 2, "data": str(pictures)}))
    model, longer = tmp_path / "m", tmp_path / "longer"
    status, out, err = call(capsys, "train", "--config", recipe_file, "--set", "flips=true", "--out", model, "--json")
    assert status == 0, err
    recorded = json.loads((model / "train.json").read_text())
    assert recorded["flips"] is True
    assert recorded["channels"] == [16, 32]
    status, out, err = call(
        capsys, "train", "--from", model, "--data", pictures, "--steps", 1, "--batch", 4, "--out", longer, "--json"
    )
    assert status == 0, err
    assert json.loads((longer / "train.json").read_text())["channels"] == [16, 32]
    assert json.loads(out)["step"] == 1
    status, out, err = call(capsys, "sample", "--model", longer, "--label", "1", "--count", 1, "--out", tmp_path / "s")
    assert status == 2
    assert "this model is told no class" in err


@pytest.mark.parametrize("arguments", [["train", "cifar10"], ["train-in-place", "cifar10-small"], ["array", "digital"]])
def test_every_template_is_a_file_of_its_kind(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    status, out, _ = call(capsys, "template", *arguments)
    assert status == 0
    assert json.loads(out)["kind"]


def test_options_go_before_changes_and_changes_before_the_file() -> None:
    spec = recipe_of("cifar10", ["steps=5", "batch=32", "channels=[32,64]", "attention=[]"], {"steps": 7, "seed": None})
    assert (spec.steps, spec.batch, spec.channels) == (7, 32, (32, 64))
    assert spec.dropout == recipe("cifar10").dropout
    counts = recipe_of("", ["cells.junction=ideal"], {"cells_per_pixel": 7}, "in-place")
    assert (counts.to_json()["cells"]["junction"], counts.to_json()["cells_per_pixel"]) == ("ideal", 7)
    assert recipe_of("cifar10-small", [], {}, "in-place").noise == "array"


@pytest.mark.parametrize(
    ("config", "changes", "words"),
    [
        ("cifar", [], "recipe 'cifar' is unknown"),
        ("", ["flips"], "give NAME=VALUE"),
        ("", ["flip=true"], "flip"),
        ("", ["flips=1"], "flips"),
        ("", ["steps=many"], "steps"),
        ("", ["steps.more=1"], "steps"),
        ("", ["cells.junction=ideal"], "cells"),
        ("", ["channels=[]"], "channels is empty"),
    ],
)
def test_a_recipe_that_is_none_is_refused(config: str, changes: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        recipe_of(config, changes, {})


def test_a_file_of_another_kind_and_unknown_templates_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text('{"kind": "array", "schema_version": 1}')
    for arguments, words in (
        (("train", "--config", tmp_path / "a.json", "--out", tmp_path / "m"), "kind"),
        (("template", "trian"), "'trian' is unknown"),
        (("template", "train", "cifar"), "recipe 'cifar' is unknown"),
        (("train", "--set", "labels=true", "--data", tmp_path, "--out", tmp_path / "m"), "no images"),
    ):
        status, _, err = call(capsys, *arguments)
        assert status == 2
        assert words in err
        assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            ["channels=[16,16,16,16,16]"],
            "images of 8x8 pixels cannot be halved 4 times; resize them to a multiple of 16",
        ),
        (["channels=[20,40]"], "must each be a multiple of norm_groups = 16"),
        (["labels=true"], "has no labels; leave it out, or give images with classes"),
        (["validate_every=1"], "has no test split; hold some of its images out, such as held_out = 200"),
        (["held_out=7", "batch=4"], "leaves less than a batch of 4; hold out fewer, 4 at most"),
        (["batch=5", "accumulate=2"], "does not divide the batch of 5 into equal parts"),
    ],
)
def test_a_recipe_that_does_not_fit_its_images_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, pictures: Path, changes: list[str], words: str
) -> None:
    options = [part for change in ["batch=4", "channels=[16,32]", *changes] for part in ("--set", change)]
    status, out, err = call(capsys, "train", "--data", pictures, *options, "--out", tmp_path / "m")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert not (tmp_path / "m").exists()


def test_lines_on_standard_error_say_pace_and_losses_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voltaspin.core.progress.EVERY", -1.0)  # a line for every step, however fast it was
    given = ["batch=2", "channels=[16]", "held_out=4", "validate_every=1", "sample_every=2"]
    options = [part for change in given for part in ("--set", change)]
    status, out, err = call(
        capsys, "train", "--data", pictures, *options, "--steps", 2, "--out", tmp_path / "m", "--json"
    )
    assert status == 0, err
    # the pace is said from the first second on: tests/core/test_progress.py
    said = [line for line in err.splitlines() if "decode" not in line]
    pace = r"(, \S+ images a second, .+)?"
    assert [bool(re.fullmatch(rf"voltaspin: train, loss \d\.\d+: {i} of 2{pace}", said[i - 1])) for i in (1, 2)] == [
        True
    ] * 2
    assert len(said) == 2
    result = json.loads(out)
    assert result["validation_loss"] > 0
    assert result["ledger"]["normal"] == 2 * 2 * 64
    lines = (tmp_path / "m" / "train.csv").read_text().splitlines()
    assert lines[0] == "step,loss,validation_loss,examples_per_second,learning_rate,gradient_norm"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2"]
    assert (tmp_path / "m" / "samples" / "00000002.png").read_bytes().startswith(b"\x89PNG")
