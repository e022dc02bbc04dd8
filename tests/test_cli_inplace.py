"""``voltaspin train --diffusion in-place``, and ``voltaspin sample`` in an array with its model and with others."""

import json

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from PIL import Image

from voltaspin.cli.app import main
from voltaspin.core.ledger import Ledger
from voltaspin.diffusion import inplace, load_pipeline
from voltaspin.diffusion.data import ImageSet


def call(capsys, *arguments):
    """Exit status, standard output and standard error of one command in this process."""
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return caught.value.code, out, err


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny model of the counts of equal generator cells."""
    images = np.zeros((16, 1, 8, 8), np.uint8)
    images[:, :, 2:5, 2:5] = 255
    out = tmp_path_factory.mktemp("cli") / "m"
    spec = inplace.InPlaceTrainSpec(
        steps=2, batch=4, channels=(8, 16), norm_groups=4, warmup=1, precision="float32", cells_per_pixel=3,
        cells=inplace.CellSpec(K_eff_spread=0.0, stray_field_spread=0.0),
    )  # fmt: skip
    inplace.train(ImageSet(images, None, "squares", "train", "0" * 64), out, spec=spec)
    return out


def pictures(folder, n):
    folder.mkdir()
    for i in range(n):
        Image.fromarray(np.full((8, 8), 60 * i, np.uint8)).save(folder / f"{i}.png")
    return folder


def test_train_leaves_a_pipeline_and_its_cells(tmp_path, capsys):
    status, out, _ = call(capsys, "train", "--diffusion", "in-place", "--cells", "ideal", "--cells-per-pixel", "7",
                          "--data", pictures(tmp_path / "p", 4), "--steps", "2", "--batch", "2",
                          "--out", tmp_path / "m", "--json")  # fmt: skip
    assert status == 0
    assert json.loads(out)["step"] == 2
    found = inplace.trained_for(tmp_path / "m")
    assert (found.cells_per_pixel, found.cells.junction) == (7, "ideal")
    assert load_pipeline(tmp_path / "m").image_shape == (1, 8, 8)


def test_sample_recognises_the_folder_and_counts_its_work(model, tmp_path, capsys):
    status, out, _ = call(capsys, "sample", "--model", model, "--count", "3", "--steps", "5", "--out", tmp_path / "s",
                          "--json")  # fmt: skip
    assert status == 0
    record = json.loads((tmp_path / "s" / "run.json").read_text())
    assert record == json.loads(out)
    assert (record["kind"], record["cells_per_pixel"], record["trained"]) == ("sample-inplace", 3, 3)
    assert record["provenance"]["kind"] == "simulated"
    per_image = record["per_image"]
    assert per_image["cells"] == 3 * 64
    assert per_image["evaluations"] == 5
    assert 3 * 64 <= per_image["random_bits"] <= per_image["pulses"] <= 5 * 3 * 64
    assert per_image["reads"] == per_image["pulses"]
    for boundary in ("cell", "cell+line", "macro"):
        energy = per_image["energy_pJ"][boundary]
        assert 0 < energy["low"] < energy["value"] < energy["high"]
    ours, xor, _raw = record["costs"]
    whole = [name for name in xor["over"] if name.startswith("with bytes and network")]
    assert len(whole) == 2  # on a digital machine and in crossbars
    assert ours["over"][whole[0]]["value"] == 1
    assert len(list((tmp_path / "s").glob("image-*.png"))) == 3
    status, out, _ = call(capsys, "sample", "--model", model, "--count", "1", "--steps", "5", "--out", tmp_path / "t")
    assert status == 0
    assert "pulses" in out


def test_any_gaussian_model_is_sampled_in_place(gaussian, tmp_path, capsys):
    how = ("--in-place", "--cells-per-pixel", "5", "--cells", "ideal", "--count", "2", "--steps", "3")
    status, out, _ = call(capsys, "sample", "--model", gaussian, *how, "--out", tmp_path / "s", "--json")
    assert status == 0
    assert (json.loads(out).get("trained"), json.loads(out)["costs"]) == (None, [])


@pytest.fixture
def gaussian(model, tmp_path):
    """The same network without its file of cells is any other pipeline."""
    import shutil

    folder = shutil.copytree(model, tmp_path / "gaussian")
    (folder / "inplace.json").unlink()
    return folder


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_every_prediction_is_sampled_and_a_learned_variance_left_out(prediction, tmp_path, capsys):
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=2, block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    )  # fmt: skip
    scheduler = DDPMScheduler(prediction_type=prediction, variance_type="learned_range")
    DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(tmp_path / "m")
    for cells in (1, 255):
        status, _, err = call(
            capsys, "sample", "--model", tmp_path / "m", "--in-place", "--cells", "ideal", "--cells-per-pixel", cells,
            "--count", "2", "--steps", "3", "--out", tmp_path / f"s{cells}",
        )  # fmt: skip
        assert status == 0, err
        assert "learned variance is left out" in err
        assert len(list((tmp_path / f"s{cells}").glob("image-*.png"))) == 2


def test_a_run_that_was_stopped_goes_on_to_the_same_images(model, tmp_path, capsys, monkeypatch):
    how = ("sample", "--model", model, "--count", "4", "--batch", "2", "--steps", "3")
    assert call(capsys, *how, "--out", tmp_path / "whole")[0] == 0
    from voltaspin.diffusion.inplace.sampling import InPlaceSampler

    real = InPlaceSampler.batch

    def stop(self, **more):
        if self.batches == 1:
            raise KeyboardInterrupt
        return real(self, **more)

    monkeypatch.setattr(InPlaceSampler, "batch", stop)
    assert call(capsys, *how, "--out", tmp_path / "parts")[0] == 130
    monkeypatch.undo()
    assert call(capsys, *how, "--out", tmp_path / "parts", "--resume")[0] == 0
    for k in range(4):
        one, other = (tmp_path / name / f"image-{k:06d}.png" for name in ("whole", "parts"))
        assert one.read_bytes() == other.read_bytes()
    assert not list((tmp_path / "parts").glob(".array-*"))


def test_recorded_coins_that_run_dry_leave_what_is_finished(gaussian, tmp_path, capsys):
    file = tmp_path / "coins.bin"
    file.write_bytes(np.random.default_rng(1).bytes(700))
    status, out, err = call(
        capsys, "sample", "--model", gaussian, "--in-place", "--cells-per-pixel", "5", "--noise", file, "--count", "20",
        "--batch", "2", "--steps", "3", "--out", tmp_path / "s",
    )  # fmt: skip
    assert (status, out) == (2, "")
    assert "run dry" in err
    assert "images before them are in" in err
    finished = len(list((tmp_path / "s").glob("image-*.png")))
    assert 2 <= finished < 20
    record = json.loads((tmp_path / "s" / "run.json").read_text())
    assert record["input"]["file"] == "coins.bin"
    assert record["provenance"]["kind"] == "recorded"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", "2000"), "2000 sampling steps"),
        (("--sampler", "ddim"), "--sampler ddim has no effect on images in place"),
        (("--compute", "memory"), "--compute memory has no effect on images in place"),
        (("--conditioning", "xor:2"), "--conditioning xor:2 has no effect"),
        (("--noise", "software", "--cells", "storage"), "--junction storage has no effect"),
        (("--cells-per-pixel", "0"), "--cells-per-pixel 0"),
        (("--cells", "nothing"), "nothing"),
        (("--first", "8"), "leave --shard and --first out"),
        (("--cells-per-pixel", "255", "--batch", "400", "--count", "400"), "an array has at most 32,768 of each"),
    ],
)
def test_what_makes_no_sense_in_place_is_refused(model, tmp_path, capsys, arguments, message):
    status, out, err = call(capsys, "sample", "--model", model, "--out", tmp_path / "s", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert message in err
    assert not (tmp_path / "s").exists() or not list((tmp_path / "s").glob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--diffusion", "waves"), "use gaussian or in-place"),
        (("--diffusion", "bitflip"), "use gaussian or in-place"),
        (("--diffusion", "in-place", "--noise", "system"), "the array that holds the images draws"),
        (("--diffusion", "in-place", "--cells", "nothing"), "nothing"),
        (("--diffusion", "in-place", "--cells-per-pixel", "300"), "a count is kept in a byte"),
    ],
)
def test_what_cannot_be_trained_is_said(tmp_path, capsys, arguments, message):
    data = pictures(tmp_path / "p", 2)
    status, out, err = call(capsys, "train", "--data", data, "--batch", "2", "--out", tmp_path / "m", *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert message in err


def test_steps_of_second_order_take_no_further_evaluation_and_are_recorded(gaussian, tmp_path, capsys):
    counts, images = {}, {}
    for order in (1, 2):
        out = tmp_path / str(order)
        status, _, _ = call(capsys, "sample", "--model", gaussian, "--in-place", "--cells", "ideal",
                            "--cells-per-pixel", "7", "--order", order, "--count", "2", "--steps", "6",
                            "--out", out)  # fmt: skip
        assert status == 0
        record = json.loads((out / "run.json").read_text())
        assert record["order"] == order
        counts[order] = Ledger.from_dict(record["ledger"])
        images[order] = [np.asarray(Image.open(file)) for file in sorted(out.glob("image-*.png"))]
    assert len(images[1]) == len(images[2]) == 2
    assert not np.array_equal(images[1], images[2])
    assert [counts[order].total("evaluation") for order in (1, 2)] == [12, 12]
    for wrong, says in (("3", "--order"), ("0", "--order")):
        status, _, err = call(
            capsys, "sample", "--model", gaussian, "--in-place", "--order", wrong, "--out", tmp_path / "x"
        )
        assert status == 2
        assert says in err
    status, _, err = call(capsys, "sample", "--model", gaussian, "--order", "2", "--out", tmp_path / "x")
    assert (status, "--in-place" in err) == (2, True)
