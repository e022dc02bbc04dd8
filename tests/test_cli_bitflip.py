"""``voltaspin train --diffusion bitflip`` and ``voltaspin sample`` of what it leaves."""

import json

import numpy as np
import pytest
from PIL import Image

from voltaspin.cli.app import main
from voltaspin.diffusion import bitflip
from voltaspin.diffusion.bitflip.model import CellSpec
from voltaspin.diffusion.data import ImageSet


def call(capsys, *arguments):
    """Exit status, standard output and standard error of one command in this process."""
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return caught.value.code, out, err


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model of equal generator cells."""
    images = np.zeros((16, 1, 8, 8), np.uint8)
    images[:, :, 2:5, 2:5] = 255
    out = tmp_path_factory.mktemp("cli") / "m"
    spec = bitflip.BitTrainSpec(
        steps=2, batch=4, channels=(8, 16), norm_groups=4, warmup=1, precision="float32", bits=2, flip_steps=5,
        cells=CellSpec(K_eff_spread=0.0, stray_field_spread=0.0),
    )  # fmt: skip
    bitflip.train(ImageSet(images, None, "squares", "train", "0" * 64), out, spec=spec)
    return out


def test_train_leaves_a_bit_flip_model(tmp_path, capsys):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(4):
        Image.fromarray(np.full((8, 8), 60 * i, np.uint8)).save(pictures / f"{i}.png")
    status, out, _ = call(capsys, "train", "--diffusion", "bitflip", "--cells", "ideal", "--planes", "3", "--data",
                          pictures, "--steps", "2", "--batch", "2", "--out", tmp_path / "m", "--json")  # fmt: skip
    assert status == 0
    assert json.loads(out)["step"] == 2
    found = bitflip.load_model(tmp_path / "m")
    assert (found.spec.bits, found.spec.cells.junction, len(found.process)) == (3, "ideal", 50)


def test_sample_recognises_the_folder_and_counts_its_work(model, tmp_path, capsys):
    status, out, _ = call(capsys, "sample", "--model", model, "--count", "3", "--steps", "5", "--out", tmp_path / "s",
                          "--json")  # fmt: skip
    assert status == 0
    record = json.loads((tmp_path / "s" / "run.json").read_text())
    assert record == json.loads(out)
    cells = record["bits"]
    per_image = record["per_image"]
    assert cells == 2 * 64
    assert per_image["reads"] == 6 * cells
    assert per_image["evaluations"] == 5
    assert cells <= per_image["pulses"] <= 6 * cells
    assert per_image["bytes_moved"] == 5 * (16 + 80)
    for boundary in ("cell", "cell+line", "macro"):
        energy = per_image["energy_pJ"][boundary]
        assert 0 < energy["low"] < energy["value"] < energy["high"]
    assert len(record["costs"]) == 3
    assert len(list((tmp_path / "s").glob("image-*.png"))) == 3
    status, out, _ = call(capsys, "sample", "--model", model, "--count", "1", "--steps", "5", "--out", tmp_path / "t")
    assert status == 0
    assert "pulses" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", "7"), "was trained for 5 steps"),
        (("--steps", "5", "--noise", "software"), "leave --noise software out"),
        (("--steps", "5", "--sampler", "ddim"), "leave --sampler ddim out"),
        (("--steps", "5", "--compute", "memory"), "leave --compute memory out"),
    ],
)
def test_options_of_other_models_are_refused(model, tmp_path, capsys, arguments, message):
    status, out, err = call(capsys, "sample", "--model", model, "--out", tmp_path / "s", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert message in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--diffusion", "waves"), "use gaussian or bitflip"),
        (("--diffusion", "bitflip", "--planes", "9"), "1 to 8 bits"),
        (("--diffusion", "bitflip", "--noise", "system"), "flips them"),
        (("--diffusion", "bitflip", "--cells", "nothing"), "nothing"),
    ],
)
def test_what_cannot_be_trained_is_said(tmp_path, capsys, arguments, message):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(2):
        Image.fromarray(np.full((8, 8), 60 * i, np.uint8)).save(pictures / f"{i}.png")
    status, out, err = call(capsys, "train", "--data", pictures, "--batch", "2", "--out", tmp_path / "m", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert message in err
