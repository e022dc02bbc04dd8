"""The command line as outside scripts use it: names, files, JSON, and one line for bad input."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voltaspin.cli.app import main
from voltaspin.metrics import garments


@pytest.fixture
def folder(tmp_path):
    """Thirty-two garments as PNG files: data that needs no data set."""
    home = tmp_path / "garments"
    home.mkdir()
    for i, image in enumerate(garments()):
        Image.fromarray(image[0]).save(home / f"{i:02d}.png")
    return home


def call(capsys, *arguments):
    """Exit status, standard output and standard error of one command in this process."""
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return caught.value.code, out, err


def refused(capsys, *arguments):
    """The one line that a refusal prints."""
    status, out, err = call(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("voltaspin: ")
    return err


def test_every_command_has_a_help_with_an_example(capsys):
    for command in ("demo", "device", "bits", "train", "sample", "evaluate"):
        status, out, _ = call(capsys, command, "--help")
        assert status == 0
        assert f"voltaspin {command}" in out
        assert "Example" in out


def test_no_command_shows_the_help(capsys):
    status, out, err = call(capsys)
    assert (status, err) == (2, "")
    assert "Usage: voltaspin" in out


def test_ctrl_c_says_so_and_leaves_nothing(tmp_path):
    running = subprocess.Popen(
        [sys.executable, "-m", "voltaspin", "bits", "--count", "100000000000", "--out", str(tmp_path / "b.bin")],
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore SIGINT, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not any(part.stat().st_size for part in tmp_path.glob(".b.bin.*.part")) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=120)
    assert (running.returncode, err) == (130, "voltaspin: interrupted\n")
    assert not list(tmp_path.iterdir())


def test_bits_to_a_file_and_to_standard_output_are_the_same(tmp_path, capsysbinary):
    with pytest.raises(SystemExit) as caught:
        main(["bits", "--count", "100003", "--out", str(tmp_path / "b.bin"), "--seed", "3"])
    assert caught.value.code == 0
    stored = (tmp_path / "b.bin").read_bytes()
    assert len(stored) == -(-100003 // 8)
    assert stored[-1] & 0b00011111 == 0
    ones = int(np.unpackbits(np.frombuffer(stored, np.uint8), count=100003).sum())
    assert abs(ones - 50001.5) < 5 * 0.5 * 100003**0.5  # five standard deviations of a fair coin
    capsysbinary.readouterr()
    with pytest.raises(SystemExit):
        main(["bits", "--count", "100003", "--out", "-", "--seed", "3"])
    assert capsysbinary.readouterr().out == stored


def test_device_as_json(capsys):
    status, out, _ = call(capsys, "device", "--width", "0.6", "--devices", "2000", "--json")
    found = json.loads(out)
    assert status == 0
    assert found["V_c_V"] == pytest.approx(1.18, abs=0.01)
    assert found["p01"]["value"] > 0.85  # a full half-turn of the precession
    assert found["p01"]["n"] == 2000


@pytest.mark.slow
def test_sample_then_evaluate(tmp_path, capsys):
    out = tmp_path / "images"
    status, text, _ = call(
        capsys, "sample", "--noise", "memory", "--count", 5, "--steps", 4, "--out", out, "--seed", 7, "--json"
    )
    assert status == 0
    record = json.loads(text)
    assert record == json.loads((out / "run.json").read_text())
    assert sorted(p.name for p in out.iterdir()) == [
        "grid.png", *(f"image-{i:06d}.png" for i in range(5)), "run.json"
    ]  # fmt: skip
    assert record["provenance"]["kind"] == "simulated"
    assert record["ledger"]["normal"] == 5 * 4 * 784
    assert record["ledger"]["pulse"] == 5 * 4 * 784 * 16 * 2
    status, text, _ = call(capsys, "evaluate", out, "--reference", "fashion-mnist", "--json")
    scores = json.loads(text)["images"]["scores"]
    assert scores[0]["name"] == "KID"
    assert scores[0]["n"] == 5


@pytest.mark.slow
def test_train_on_a_folder_and_sample_from_recorded_bits(folder, tmp_path, capsys):
    model, out, file = tmp_path / "model", tmp_path / "images", tmp_path / "bits.bin"
    status, *_ = call(
        capsys, "train", "--data", folder, "--noise", "memory", "--steps", 2, "--batch", 4, "--out", model
    )
    assert status == 0
    call(capsys, "bits", "--count", 784 * 16 * 3 * 2, "--out", file)
    status, *_ = call(capsys, "sample", "--model", model, "--noise", file, "--count", 2, "--steps", 3, "--out", out)
    assert status == 0
    assert json.loads((out / "run.json").read_text())["provenance"]["kind"] == "recorded"
    line = refused(
        capsys, "sample", "--model", model, "--noise", file, "--count", 3, "--steps", 3, "--out", tmp_path / "o"
    )
    assert "need 112896 bits" in line
    assert "75264 left" in line
    assert not (tmp_path / "o").exists()


@pytest.mark.slow
def test_train_sample_and_evaluate_in_colour(tmp_path, capsys):
    data, model, out = tmp_path / "data", tmp_path / "model", tmp_path / "images"
    data.mkdir()
    for i in range(4):
        Image.fromarray(np.full((32, 32, 3), (60 * i, 255 - 60 * i, 0), np.uint8)).save(data / f"{i}.png")
    status, *_ = call(capsys, "train", "--data", data, "--noise", "memory", "--steps", 1, "--batch", 2, "--out", model)
    assert status == 0
    status, text, _ = call(
        capsys, "sample", "--model", model, "--sampler", "ddim", "--count", 2, "--steps", 2, "--out", out, "--json"
    )
    assert status == 0
    record = json.loads(text)
    assert record["ledger"]["normal"] == 2 * 3 * 32**2
    # 3072 numbers of 16 bits of 2 cells are more than the 65,536 cells that do for a grey image of 28x28.
    assert "simulated 512 x 512 magnetoelectric memory" in record["provenance"]["description"]
    with Image.open(out / "image-000001.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", (32, 32))
    assert "--extractor inception --reference-images" in refused(capsys, "evaluate", out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bits", "--count", "-1", "--out", "x"], "-1"),
        (["bits", "--count", "0", "--out", "x"], "0"),
        (["bits", "--count", "many", "--out", "x"], "many"),
        (["sample", "--count", "0", "--out", "o"], "--count 0: give at least 1"),
        (["sample", "--model", "none", "--out", "o"], "model folder none does not exist; check its name"),
        (["memory", "coverage", "--model", "none"], "none does not exist; check its name, or make it with 'voltaspin"),
        (["sample", "--model", "model.ckpt", "--out", "o"], "pickle"),
        (["train", "--data", "none.parquet", "--out", "o"], "none.parquet does not exist"),
        (["sample", "--noise", "none.bin", "--out", "o"], "is unknown and no file of recorded bits"),
        (["sample", "--sampler", "leapfrog", "--out", "o"], "heun, dpm++, dpm++-sde or unipc"),
        (["sample", "--steps", "5000", "--out", "o"], "5000 sampling steps"),
        (["train", "--data", "cifar", "--out", "o"], "unknown: use fashion-mnist"),
        (["train", "--data", ".", "--out", "o"], "has no images"),
        (["evaluate", "none"], "not a folder"),
        (["evaluate", "."], "holds no images"),
        (["device", "--preset", "none"], "known: generator, storage"),
        (["device", "--width", "0"], "--width 0 is zero; give a number with its unit (s, ms, us, ns"),
        (["device", "--voltage", "1e6"], "give a number with its unit (V, mV, uV, nV"),
        (["demo", "--images", "0"], "--images 0: give at least 4"),
        (["nonsense"], "nonsense"),
    ],
)
def test_bad_input_is_one_line_and_status_two(capsys, tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    assert says in refused(capsys, *arguments)
    assert list(tmp_path.rglob("*")) == []


def test_an_output_folder_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").write_text("x")
    for command in (["demo"], ["train"], ["sample"]):
        assert "cannot be written" in refused(capsys, *command, "--out", tmp_path / "file" / "o")
    assert "cannot be written" in refused(capsys, "bits", "--count", 8, "--out", tmp_path / "file" / "o" / "b")


def test_an_empty_file_of_bits(capsys, tmp_path):
    (tmp_path / "empty.bin").touch()
    line = refused(capsys, "sample", "--noise", tmp_path / "empty.bin", "--out", tmp_path / "o")
    assert "is empty" in line


def test_a_reader_that_closes_early_is_no_error():
    first = subprocess.run(
        [sys.executable, "-m", "voltaspin", "bits", "--count", "200000000", "--out", "-"],
        stdout=(pipe := subprocess.Popen(["head", "-c", "10"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)).stdin,
        stderr=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    pipe.stdin.close()
    pipe.wait()
    assert first.stderr == b""


@pytest.mark.slow
def test_kill_and_resume_ends_in_the_weights_of_the_uninterrupted_run(folder, tmp_path):
    def command(out, *more):
        return [
            sys.executable, "-m", "voltaspin", "train", "--data", str(folder), "--batch", "4", "--steps", "24",
            "--checkpoint-every", "4", "--out", str(out), *more,
        ]  # fmt: skip

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    running = subprocess.Popen(command(tmp_path / "parts"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not list((tmp_path / "parts").glob("checkpoint-*")) and time.monotonic() < deadline:
        assert running.poll() is None
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    subprocess.run(command(tmp_path / "parts", "--resume"), check=True, capture_output=True)
    weights = Path("unet") / "diffusion_pytorch_model.safetensors"
    assert (tmp_path / "whole" / weights).read_bytes() == (tmp_path / "parts" / weights).read_bytes()


@pytest.mark.parametrize(
    "line",
    [["evaluate", ""], ["train", "--config", "", "--out", "new"], ["train", "--config=", "--out", "new"],
     ["memory", "macro", "--preset", ""], ["memory", "macro", "--preset="], ["waveform", "w.csv", "--edge", ""],
     ["cells", "b.bin", "--n-cells", "8", "--battery", ""], ["cost", "--junction=", "--measure", "never"]],
)  # fmt: skip
def test_an_empty_argument_is_not_taken_for_none(capsys, tmp_path, monkeypatch, line):
    # A shell's variable without a value: --config "" trained the default recipe, evaluate "" took the folder here.
    monkeypatch.chdir(tmp_path)
    assert "is empty" in refused(capsys, *line)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["all", "list", "mram-22-2025"])
@pytest.mark.parametrize("idle", [["--array", "digital"], ["--macro", "missing.json"]])
def test_a_published_macro_refuses_what_does_not_act_on_it(capsys, name, idle):
    assert f"{idle[0]} has no effect with --published {name}" in refused(
        capsys, "memory", "macro", "--published", name, *idle
    )


@pytest.mark.parametrize("idle", [["--set", "rows=3"], ["--json"], ["--out", "m.png"]])
def test_lists_of_macros_refuse_what_does_not_act_on_them(capsys, tmp_path, monkeypatch, idle):
    monkeypatch.chdir(tmp_path)
    for name in ("all", "list"):
        assert "has no effect" in refused(capsys, "memory", "macro", "--preset", name, *idle)


@pytest.fixture
def bits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.random.default_rng(1).integers(0, 256, 4000, np.uint8).tofile("bits.dat")
    t = np.arange(4000) * 1e-6
    np.savetxt(
        "w.csv", np.c_[t, np.where(t // 5e-5 % 2, 0.3, -0.1)], delimiter=",", header="time (s),V (V)", comments=""
    )
    Image.fromarray(garments()[0][0]).save("p.png")
    return tmp_path


FIGURES = [
    ["memory", "macro", "--out"], ["cost", "--no-work", "--samples", "100", "--out"],
    ["cells", "bits.dat", "--n-cells", "4", "--figure"], ["waveform", "w.csv", "--figure"],
    ["randomness", "bits.dat", "--figure"], ["memory", "store", "p.png", "--out"],
    ["memory", "yield", "--rows", "8", "--columns", "8", "--out"],
]  # fmt: skip


@pytest.mark.parametrize("line", FIGURES, ids=lambda line: line[0] + line[1])
def test_a_figure_is_not_written_under_the_name_of_another_kind_of_file(capsys, bits, line):
    before = sorted(bits.iterdir())
    assert "would hold PNG; give a name that ends with .png" in refused(capsys, *line, "figure.csv")
    assert sorted(bits.iterdir()) == before
    if line[1] == "macro":
        for name in ("figure.png", "FIGURE.PNG", "figure"):
            assert call(capsys, *line, name)[0] == 0
            assert Path(name).read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("name", "line"),
    [("bits.dat", ["cells", "{}", "--n-cells", "4", "--out"]), ("bits.dat", ["bits", "{}", "--out"]),
     ("w.csv", ["waveform", "{}", "--interval", "50us", "--out"]), ("p.png", ["memory", "store", "{}", "--out"])],
)  # fmt: skip
def test_no_command_replaces_what_it_reads(capsys, bits, name, line):
    data = (bits / name).read_bytes()
    Path("link").symlink_to(name)
    shutil.copy(name, "copy.json")  # the same content is another file
    for spelling in (name, f"./{name}", "link"):
        told = refused(capsys, *(word.format(name) for word in line), spelling, "--force")
        assert "is read by this run" in told or "give a name that ends with" in told
    assert (bits / name).read_bytes() == data


def test_cells_need_a_false_alarm_above_zero(capsys, bits):
    told = refused(capsys, "cells", "bits.dat", "--n-cells", "4", "--false-alarm", "0")
    assert "--false-alarm 0 is zero" in told


def test_a_sample_is_summed_up_without_raw_dictionaries(capsys, bits):
    model = Path(__file__).parent / "data/v0.1.0/gaussian-model"
    status, out, _ = call(
        capsys, "sample", "--model", model, "--noise", "software", "--count", "1", "--steps", "2", "--out", "new"
    )
    assert status == 0
    assert "{" not in out
    assert "bit 6,784, normal 128" in out
