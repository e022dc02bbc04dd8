"""What commands do to files that are there: nothing is deleted or overwritten that is not their own."""

import contextlib
import json
import os
import shutil
import signal
import stat
import threading

import numpy as np
import pytest
from PIL import Image

from voltaspin.cli.app import main
from voltaspin.core import capacity
from voltaspin.core.folders import OutputFolder, locked
from voltaspin.diffusion import TrainSpec, inplace, load_images, train
from voltaspin.diffusion.data import ImageSet
from voltaspin.noise import HealthChecked, PseudoSource, RecordedSource, conditioned
from voltaspin.noise.recorded import blocks
from voltaspin.report import images as image_folder


def call(capsys, *arguments):
    """Exit status, standard output and standard error of one command in this process."""
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return caught.value.code, out, err


def done(capsys, *arguments):
    status, out, err = call(capsys, *arguments)
    assert status == 0, err
    return out


def refused(capsys, *arguments):
    status, out, err = call(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    return err


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Pictures, a tiny model of each kind, measurements, a study and recorded bits."""
    home = tmp_path_factory.mktemp("home")
    images = np.zeros((16, 1, 8, 8), np.uint8)
    for i in range(16):
        images[i, 0, i // 4 : i // 4 + 3, i % 4 : i % 4 + 3] = 255
    (home / "pictures").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image[0]).save(home / "pictures" / f"{i:02d}.png")
    squares = ImageSet(images, None, "squares", "train", "0" * 64)
    small = {"steps": 2, "batch": 4, "channels": (8, 16), "norm_groups": 4, "warmup": 1, "precision": "float32"}
    train(squares, PseudoSource(seed=1), home / "model", spec=TrainSpec(**small))
    cells = inplace.CellSpec(K_eff_spread=0.0, stray_field_spread=0.0)
    inplace.train(squares, home / "counts", spec=inplace.InPlaceTrainSpec(cells_per_pixel=3, cells=cells, **small))
    (home / "r.csv").write_text("V,R_P,R_AP\n" + "".join(f"{v},{5e3},{9e3 - 1e3 * abs(v)}\n" for v in (0.1, 0.2, 0.4)))
    (home / "study.json").write_text(
        '{"kind":"study","schema_version":1,"name":"s","margin":0.01,"baseline":"a","base":{"images":4,"steps":1},'
        '"conditions":{"a":{},"b":{"sample":"memory-xor"}}}'
    )
    (home / "rec.bin").write_bytes(PseudoSource(seed=2).bits(64 * 16 * 5 * 12).tobytes())
    return home


FOLDERS = {
    "demo": ["demo", "--images", 4, "--steps", 2],
    "characterise": ["device", "characterise", "--quick"],
    "fit": ["device", "fit", "{home}/r.csv", "--columns", "voltage=V", "--kind", "resistance"],
    "train": ["train", "--data", "{home}/pictures", "--batch", 2, "--steps", 1],
    "sample": ["sample", "--model", "{home}/model", "--noise", "software", "--count", 2, "--steps", 2],
    "sample-inplace": ["sample", "--model", "{home}/counts", "--count", 2, "--steps", 5],
    "study": ["study", "{home}/study.json"],
}
FILES = {
    "bits": (["bits", "--noise", "software", "--count", 64], "b.bin"),
    "text": (["bits", "--noise", "software", "--count", 64], "b.txt"),
    "export": (["device", "export", "--format", "ngspice"], "cell.sp"),
    "junction": (["device", "export", "--format", "json"], "j.json"),
    "yield": (["memory", "yield", "--rows", 16, "--columns", 16], "y.png"),
    "store": (["memory", "store", "{home}/pictures/00.png"], "s.png"),
    "randomness": (["randomness", "--source", "software", "--bits", 2000], "r.png"),
    "cells": (["cells", "--source", "memory", "--bits", 70_000], "m.json"),
    "cost": (["cost", "--no-work", "--samples", 100], "c.png"),
}


def words(command, home):
    return [str(w).format(home=home) for w in command]


def out_of(command):
    return ["--figure" if command[0] == "randomness" else "--out"]


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_somebody_else_is_refused_before_any_work(capsys, tmp_path, home, name):
    out = tmp_path / "out"
    (out / "pictures").mkdir(parents=True)
    for file in ("image-holiday.png", "image-000000.png", "index.html", "pictures/mine.png", "results.json"):
        (out / file).write_text("mine")
    before = tree(out)
    command = [*words(FOLDERS[name], home), "--out", out]
    line = refused(capsys, *command)
    assert ("not empty" in line and ("--force" in line or "--resume" in line)) or "did not make" in line
    assert tree(out) == before
    (out / "run.json").write_text("mine")  # not even with --force
    refused(capsys, *command, "--force")
    assert tree(out) == before | {"run.json": b"mine"}


@pytest.mark.parametrize("name", ["fit", "sample", "sample-inplace", "train"])
def test_a_command_replaces_its_own_files_and_no_others(capsys, tmp_path, home, name):
    out = tmp_path / "out"
    command = [*words(FOLDERS[name], home), "--out", out]
    done(capsys, *command)
    own = set(tree(out))
    record = json.loads((out / "run.json").read_text())
    assert record["finished"] is True
    assert set(record["files"]) | {"run.json"} >= {n for n in own if not n.startswith("checkpoint-")}
    for mine in ("image-holiday.png", "notes.txt", "image-000007.png"):
        (out / mine).write_text("mine")
    mine = {n: b for n, b in tree(out).items() if n not in own}
    if name == "train":  # weights are worth hours: never without a word
        assert "not empty" in refused(capsys, *command)
    else:
        done(capsys, *command)
    assert set(tree(out)) == own | set(mine)
    other = {"fit": ["--fixed", "error=1"], "train": ["--seed", 5]}.get(name, ["--seed", 5])
    if name == "fit":
        other = ["--free", "RA"]
    refused(capsys, *command, *other)
    done(capsys, *command, *other, "--force")
    after = tree(out)
    assert {n: after[n] for n in mine} == mine
    assert set(after) <= own | set(mine)


def test_a_smaller_run_takes_its_own_images_away_and_leaves_the_users(capsys, tmp_path, home):
    out = tmp_path / "out"
    command = words(FOLDERS["sample"], home)
    done(capsys, *command, "--count", 5, "--out", out)
    (out / "image-000009.png").write_text("mine")
    done(capsys, *command, "--count", 3, "--out", out, "--force")
    assert sorted(p.name for p in out.glob("image*")) == [
        *(f"image-00000{i}.png" for i in range(3)),
        "image-000009.png",
    ]
    assert "image-000009.png" in refused(capsys, *command, "--count", 10, "--out", out, "--force")
    assert (out / "image-000009.png").read_text() == "mine"


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_not_overwritten_and_links_and_fifos_stay(capsys, tmp_path, home, name):
    command, file = FILES[name]
    command = [*words(command, home), *out_of(command)]
    target = tmp_path / file
    target.write_text("mine")
    assert "exists; choose another name, or overwrite it with --force" in refused(capsys, *command, target)
    assert tree(tmp_path) == {file: b"mine"}
    done(capsys, *command, target, "--force")
    made = target.read_bytes()
    assert made != b"mine"
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / file
    link.symlink_to(tmp_path / ("real" + target.suffix))
    done(capsys, *command, link)
    assert link.is_symlink()
    assert (tmp_path / ("real" + target.suffix)).read_bytes() == made
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    done(capsys, *command, fifo)
    reader.join()
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert got[0]
    done(capsys, *command, "/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # noqa: PTH116
    assert not os.path.exists("/dev/null.json")  # noqa: PTH110
    assert not list(tmp_path.rglob(".*"))


def test_bits_replace_what_the_same_command_wrote_and_no_metadata_of_others(capsys, tmp_path):
    out = tmp_path / "data.bin"
    (tmp_path / "data.bin.json").write_text('{"mine": 1}')
    command = ["bits", "--noise", "software", "--count", 64, "--out", out]
    assert "is of another program" in refused(capsys, *command)
    assert tree(tmp_path) == {"data.bin.json": b'{"mine": 1}'}
    (tmp_path / "data.bin.json").unlink()
    done(capsys, *command)
    done(capsys, *command)
    assert "exists" in refused(capsys, *command, "--seed", 1)
    out.write_bytes(b"somebody's")
    assert "is not the file" in refused(capsys, *command)
    assert out.read_bytes() == b"somebody's"


def test_out_may_be_the_folder_where_one_is(capsys, tmp_path, home, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done(capsys, *words(FOLDERS["sample"], home), "--out", ".")
    assert (tmp_path / "image-000001.png").is_file()


# --- sample in parts ---------------------------------------------------------------------------------------


def images_of(folder):
    return {n: b for n, b in tree(folder).items() if n.startswith("image-")}


def sampled(capsys, home, out, *more, model="model", noise="software", count=10):
    command = ["sample", "--model", home / model, "--count", count, "--steps", 5, "--out", out]
    return call(capsys, *command, *(["--noise", noise] if noise else []), *more)


@pytest.mark.parametrize("options", [(), ("--batch", 4), ("--batch", 2), ("--sampler", "ddim", "--eta", 0.5),
                                     ("--noise", "memory", "--batch", 3)])  # fmt: skip
def test_parts_equal_the_undivided_run(capsys, tmp_path, home, options):
    assert sampled(capsys, home, tmp_path / "whole", *options)[0] == 0
    for i in (3, 1, 2):
        assert sampled(capsys, home, tmp_path / "parts", *options, "--shard", f"{i}/3")[0] == 0
        assert (tmp_path / "parts" / "grid.png").exists() == (i == 2)
    assert sampled(capsys, home, tmp_path / "first", *options, "--first", 3, "--count", 4)[0] == 0
    whole, parts = tree(tmp_path / "whole"), tree(tmp_path / "parts")
    assert {n: b for n, b in whole.items() if n != "run.json"} == {n: b for n, b in parts.items() if n != "run.json"}
    first = images_of(tmp_path / "first")
    assert sorted(first) == [f"image-{i:06d}.png" for i in range(3, 7)]
    assert all(whole[n] == b for n, b in first.items())
    one, other = (json.loads(t["run.json"]) for t in (whole, parts))
    assert one["ledger"] == other["ledger"]
    assert {"kind", "schema_version", "noise", "seed", "model", "images", "steps", "provenance", "ledger"} <= set(one)
    assert (one["command"], one["finished"], other["images"]) == ("sample", True, 10)


def test_parts_in_arrays_are_whole_batches(capsys, tmp_path, home):
    options = ("--compute", "memory", "--batch", 2)
    assert sampled(capsys, home, tmp_path / "whole", *options, count=6)[0] == 0
    for i in (1, 2):
        assert sampled(capsys, home, tmp_path / "parts", *options, "--shard", f"{i}/2", count=6)[0] == 0
    assert images_of(tmp_path / "whole") == images_of(tmp_path / "parts")
    one, other = (json.loads((tmp_path / n / "run.json").read_text()) for n in ("whole", "parts"))
    assert one["ledger"] == other["ledger"]
    assert one["compute_cost"] == other["compute_cost"]
    for wrong, said in ((("--first", 1), "multiple of --batch 2"), (("--shard", "1/4"), "give --batch 1")):
        status, _, err = sampled(capsys, home, tmp_path / "no", *options, *wrong, count=6)
        assert (status, said in err) == (2, True), err


@pytest.mark.parametrize(("noise", "model"), [("{home}/rec.bin", "model"), ("system", "model"), ("", "counts")])
@pytest.mark.parametrize("wrong", [("--shard", "1/2"), ("--first", 2)])
def test_what_goes_on_in_one_sequence_cannot_be_split(capsys, tmp_path, home, noise, model, wrong):
    status, _, err = sampled(capsys, home, tmp_path / "o", *wrong, model=model, noise=noise.format(home=home))
    assert (status, err.count("\n")) == (2, 1)
    assert "leave --shard and --first out" in err
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("noise", "model", "said"),
    [("software", "model", ""), ("{home}/rec.bin", "model", "goes on where it stood"), ("", "counts", ""),
     ("system", "model", "cannot go back"), ("memory", "model", "")],
)  # fmt: skip
def test_a_stopped_run_keeps_its_images_and_goes_on(capsys, tmp_path, home, monkeypatch, noise, model, said):
    how = {"model": model, "noise": noise.format(home=home)}
    if noise != "system":
        assert sampled(capsys, home, tmp_path / "whole", "--batch", 4, **how)[0] == 0
    keep = image_folder.ImageRun.keep

    def stopping(self, *arguments):
        keep(self, *arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(image_folder.ImageRun, "keep", stopping)
    for n in (4, 8):
        resume = ["--resume"] if n > 4 else []
        status, _, err = sampled(capsys, home, tmp_path / "parts", "--batch", 4, *resume, **how)
        assert status == 143
        assert f"stopped by SIGTERM; {n} images are finished" in err
        assert len(images_of(tmp_path / "parts")) == n
    monkeypatch.setattr(image_folder.ImageRun, "keep", keep)
    kept = images_of(tmp_path / "parts")
    status, _, err = sampled(capsys, home, tmp_path / "parts", "--batch", 5, "--resume", **how)
    assert (status, "batch was 4 and is 5" in err) == (2, True)
    status, _, err = sampled(capsys, home, tmp_path / "parts", "--batch", 4, "--resume", **how)
    assert status == 0
    assert said in err
    made = images_of(tmp_path / "parts")
    assert kept.items() <= made.items()
    assert len(made) == 10
    if noise != "system":
        assert made == images_of(tmp_path / "whole")
        one, other = (json.loads((tmp_path / n / "run.json").read_text()) for n in ("whole", "parts"))
        assert one["ledger"] == other["ledger"]
    assert not list((tmp_path / "parts").rglob(".*"))
    status, _, err = sampled(capsys, home, tmp_path / "parts", "--batch", 4, "--resume", **how)
    assert (status, "nothing is left to do" in err) == (0, True)


def test_a_damaged_list_of_batches_costs_only_those(capsys, tmp_path, home, monkeypatch):
    assert sampled(capsys, home, tmp_path / "whole", "--batch", 4)[0] == 0
    keep, kept = image_folder.ImageRun.keep, []

    def stopping(self, *arguments):
        keep(self, *arguments)
        kept.append(1)
        if len(kept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(image_folder.ImageRun, "keep", stopping)
    assert sampled(capsys, home, tmp_path / "parts", "--batch", 4)[0] == 130
    monkeypatch.setattr(image_folder.ImageRun, "keep", keep)
    progress = tmp_path / "parts" / ".progress-run.jsonl"
    progress.write_text(progress.read_text()[:-30])
    (tmp_path / "parts" / "image-000001.png").unlink()
    assert sampled(capsys, home, tmp_path / "parts", "--batch", 4, "--resume")[0] == 0
    assert images_of(tmp_path / "whole") == images_of(tmp_path / "parts")


# --- locks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["demo", "train", "sample", "sample-inplace"])
def test_a_folder_that_is_being_written_is_refused(capsys, tmp_path, home, name):
    out = tmp_path / "out"
    command = [*words(FOLDERS[name], home), "--out", out]
    with OutputFolder.claim(out, command="x", arguments={}):
        assert "another process" in refused(capsys, *command)
        if name == "sample":  # another part of it may be written meanwhile
            done(capsys, *command, "--shard", "1/2")
    assert not list(tmp_path.glob("out/.*.lock"))


def test_a_file_of_bits_that_is_being_written_is_refused(capsys, tmp_path):
    with locked(tmp_path / ".b.bin.lock", what="b.bin"):
        command = ["bits", "--noise", "software", "--count", 8, "--out", tmp_path / "b.bin"]
        assert "another process" in refused(capsys, *command)
    done(capsys, *command)


def test_another_run_is_refused_while_a_part_of_this_one_is_made(capsys, tmp_path, home):
    out = tmp_path / "out"
    command = [*words(FOLDERS["sample"], home), "--out", out]
    done(capsys, *command, "--shard", "1/2")
    with locked(out / ".2-of-2.lock", what="part 2"):
        assert "another process" in refused(capsys, *command, "--seed", 3, "--force")
    done(capsys, *command, "--seed", 3, "--force")


# --- training ----------------------------------------------------------------------------------------------


def test_only_checkpoints_of_this_product_are_resumed_or_removed(capsys, tmp_path, home):
    out = tmp_path / "out"
    command = ["train", "--data", home / "pictures", "--batch", 2, "--steps", 8, "--checkpoint-every", 2, "--out", out]

    def stop(step, total, loss):
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    done(capsys, *[*command[:-1], tmp_path / "whole"])
    # a run stopped at step 3, and then folders that look like later checkpoints
    images = load_images(str(home / "pictures"))
    spec = TrainSpec(data=str(home / "pictures"), batch=2, steps=8, checkpoint_every=2)
    train(images, PseudoSource(), out, spec=spec, progress=stop)
    (newest,) = out.glob("checkpoint-*")
    shutil.copytree(newest, out / "checkpoint-best")
    shutil.copytree(newest, out / "checkpoint-00000009")  # of step 3 by what it holds
    (out / "checkpoint-00000001-notes").mkdir()
    (out / "checkpoint-00000001-notes" / "n.txt").write_text("mine")
    assert "checkpoint-00000009 is no checkpoint" in refused(capsys, *command, "--resume")
    (out / "checkpoint-00000009").rename(out / "checkpoint-9")
    before = {
        n: b for n, b in tree(out).items() if n.startswith(("checkpoint-b", "checkpoint-9", "checkpoint-00000001"))
    }
    done(capsys, *command, "--resume")
    after = tree(out)
    assert before.items() <= after.items()
    assert sorted(p.name for p in out.glob("checkpoint-*")) == [
        "checkpoint-00000001-notes", "checkpoint-00000008", "checkpoint-9", "checkpoint-best",
    ]  # fmt: skip
    weights = "unet/diffusion_pytorch_model.safetensors"
    assert after[weights] == tree(tmp_path / "whole")[weights]


def test_a_batch_that_cannot_fit_is_refused_before_it_is_tried(capsys, tmp_path, home, monkeypatch):
    monkeypatch.setattr(capacity, "available_memory", lambda: 10**4 // 4)
    for command in (FOLDERS["train"], FOLDERS["sample"], FOLDERS["sample-inplace"]):
        line = refused(capsys, *words(command, home), "--out", tmp_path / "out")
        assert "memory" in line
        assert "smaller" in line
        assert not (tmp_path / "out").exists()


# --- bits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("file", "form"), [("x.bin", "packed"), ("x.dat", "packed"), ("x.raw", "packed"),
                                            ("x", "packed"), ("x.txt", "text"), ("X.TXT", "text")])  # fmt: skip
def test_the_suffix_decides_the_format(capsys, tmp_path, file, form):
    done(capsys, "bits", "--noise", "software", "--count", 80, "--out", tmp_path / file)
    assert (tmp_path / file).stat().st_size == (10 if form == "packed" else 80)


@pytest.mark.parametrize("suffix", [".csv", ".npy", ".gz", ".json", ".mat", ".h5"])
def test_a_suffix_of_no_format_is_refused_before_anything_is_written(capsys, tmp_path, suffix):
    command = ["bits", "--noise", "software", "--count", 80, "--out", tmp_path / f"x{suffix}"]
    assert f"has the suffix {suffix}" in refused(capsys, *command)
    assert not list(tmp_path.iterdir())
    done(capsys, *command, "--format", "text")  # said, so done


@pytest.mark.parametrize("chain", ["health:1", "health:1,sha256:0.9", "health:1,von-neumann"])
@pytest.mark.parametrize("form", ["bin", "txt"])
def test_all_bits_before_an_alarm_are_kept(capsys, tmp_path, chain, form):
    """Good bits and then a stuck cell: the alarm is at the last bit of the first run that is too long."""
    good = 300_001
    raw = np.unpackbits(PseudoSource(seed=4).bits(good + 4_000_000))[: good + 4_000_000]
    raw[good:] = 1
    (tmp_path / "stuck.bin").write_bytes(np.packbits(raw).tobytes())
    changes = np.flatnonzero(np.diff(raw[1024:])) + 1025  # where runs begin behind the start-up test
    long = np.flatnonzero(np.diff(np.append(changes, raw.size)) >= 21)[0]  # 1 + 20 / H equal bits
    at = int(changes[long]) + 20
    out = tmp_path / f"out.{form}"
    count = {"health:1": 3_000_000}.get(chain, 1_000_000)
    command = ["bits", "--noise", tmp_path / "stuck.bin", "--condition", chain, "--count", count, "--out", out]
    line = refused(capsys, *command)
    assert f"at bit {at}" in line
    kept = int(line.split("; the ")[-1].split()[0])
    if form == "txt":
        found = np.frombuffer(out.read_bytes(), np.uint8) - 48
    else:
        source = RecordedSource(out)
        assert source.bits_left == kept
        found = np.unpackbits(source.bits(kept), count=kept)
    assert found.size == kept
    # the same as a recording gives that ends in front of the alarm
    (tmp_path / "cut").write_bytes(raw[:at].tobytes())
    cut = conditioned(RecordedSource(tmp_path / "cut", format="bytes"), chain)
    expected = np.concatenate([np.unpackbits(packed, count=n) for n, packed in blocks(cut, None)])
    assert np.array_equal(found, expected)
    if chain == "health:1":
        assert kept == at - 1024


@pytest.mark.parametrize("bits", [40, 1023, 1024, 1025, 5000])
def test_an_alarm_names_the_bit_of_the_recording(tmp_path, bits):
    raw = np.unpackbits(PseudoSource(seed=3).bits(bits + 4000))
    raw[bits:] = 1
    raw[bits - 1] = 0
    (tmp_path / "stuck.bin").write_bytes(np.packbits(raw).tobytes())
    checked = HealthChecked(RecordedSource(tmp_path / "stuck.bin"), H=1.0)
    with contextlib.suppress(Exception):
        checked.bits(bits + 2900)
    # a run of ones that begins inside the start-up test, whose bits are thrown away, is counted anew behind it
    begin = 1024 if 1024 - bits in range(1, 21) else bits
    assert checked.alarm is not None
    assert checked.alarm.position == begin + 20
