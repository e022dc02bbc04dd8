"""Every command's JSON says its kind and fits the schema that ``voltaspin schema`` prints for it."""

import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from voltaspin.cli.app import main

TRACE = Path(__file__).parents[1] / "examples" / "data" / "telegraph.csv"


def output(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert caught.value.code == 0, err
    return out


def checked(capsys, *arguments):
    """The JSON of a command, once it is known to fit its schema."""
    data = json.loads(output(capsys, *arguments, "--json"))
    schema = json.loads(output(capsys, "schema", data["kind"]))
    Draft202012Validator(schema).validate(data)
    assert schema["properties"]["schema_version"] == {"const": data["schema_version"]}
    return data


def test_the_list_names_each_kind_once_and_an_unknown_one_is_refused(capsys):
    lines = output(capsys, "schema").splitlines()
    kinds = [line.split()[0] for line in lines]
    assert kinds == sorted(set(kinds))
    assert all(len(line.split(maxsplit=1)) == 2 for line in lines)
    with pytest.raises(SystemExit):
        main(["schema", "sampel"])
    assert "did you mean 'sample'?" in capsys.readouterr().err


QUICK = {
    "device": ["device", "--devices", "500"],
    "presets": ["device", "list"],
    "cost": ["cost", "--measure", "never", "--samples", "100"],
    "cost of bits alone": ["cost", "--no-work", "--samples", "100"],
    "coverage": ["memory", "coverage"],
    "cost of a network": ["memory", "cost"],
    "endurance": ["memory", "endurance", "--steps", "2"],
    "yield": ["memory", "yield", "--rows", "32", "--columns", "32"],
    "junction": ["spec", "--junction", "generator"],
    "waveform": ["waveform", str(TRACE), "--interval", "10us"],
    "cells": ["cells", "--source", "memory:k=1", "--bits", "200k"],
    "randomness": ["randomness", "--source", "software", "--bits", "20000"],
}


@pytest.mark.parametrize("name", QUICK)
def test_commands_that_only_print(capsys, name):
    checked(capsys, *QUICK[name])


@pytest.mark.slow
def test_commands_that_write(capsys, tmp_path):
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    data.mkdir()
    for i in range(8):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(data / f"{i}.png")
    image = data / "0.png"
    checked(capsys, "bits", "--count", "1200k", "--out", tmp_path / "b.bin")
    checked(capsys, "randomness", tmp_path / "b.bin")
    checked(capsys, "spec", "--bits", tmp_path / "b.bin")
    checked(capsys, "memory", "store", image, "--out", tmp_path / "s.png")
    checked(capsys, "device", "characterise", "--quick", "--out", tmp_path / "c")
    model, images = tmp_path / "model", tmp_path / "images"
    checked(capsys, "train", "--data", data, "--steps", "2", "--batch", "4", "--out", model)
    made = checked(capsys, "sample", "--model", model, "--count", "3", "--steps", "2", "--out", images)
    assert (made["kind"], made["images"]) == ("sample", 3)
    part = checked(
        capsys, "sample", "--model", model, "--count", "4", "--steps", "2", "--shard", "1/2", "--out", tmp_path / "p"
    )
    assert (part["kind"], part["finished"]) == ("sample-part", False)
    counts, array = tmp_path / "counts", ("--cells-per-pixel", "3", "--cells", "ideal")
    how = ("--diffusion", "in-place", *array, "--steps", "2", "--batch", "4")
    checked(capsys, "train", "--data", data, *how, "--out", counts)
    made = checked(capsys, "sample", "--model", counts, "--count", "2", "--steps", "2", "--out", tmp_path / "in-place")
    assert (made["kind"], made["cells_per_pixel"], made["trained"]) == ("sample-inplace", 3, 3)


@pytest.mark.slow
def test_commands_that_judge(capsys, tmp_path):
    images = tmp_path / "images"
    checked(capsys, "sample", "--count", "64", "--steps", "2", "--out", images)
    checked(capsys, "evaluate", images)
    sweep = tmp_path / "sweep.csv"
    sweep.write_text("voltage,R_P,R_AP\n0.1,5e5,1e6\n0.2,5e5,9.5e5\n0.3,5e5,9e5\n0.4,5e5,8e5\n")
    checked(capsys, "device", "fit", sweep, "--kind", "resistance", "--out", tmp_path / "f")
    study = tmp_path / "study.json"
    study.write_text(
        json.dumps(
            {
                "kind": "study", "schema_version": 1, "name": "small", "question": "", "margin": 0.03,
                "baseline": "a", "base": {"sample": "software", "images": 8, "steps": 2}, "grid": {},
                "conditions": {"a": {}}, "training_seeds": [0], "sampling_seeds": [1],
            }
        )
    )  # fmt: skip
    checked(capsys, "study", study, "--out", tmp_path / "st", "--dry-run")
