"""Streams as a user gives them to ``bits``, ``randomness``, ``sample`` and ``train``: replayed, stopped, continued."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from PIL import Image

from voltaspin.cli.app import main
from voltaspin.noise import PseudoSource, RecordedSource

PACKED = PseudoSource(seed=7).bits(800_000).tobytes()
PER_IMAGE = 784 * 16 * 2 // 8  # bytes of two steps of the shipped model


@pytest.fixture
def feed(tmp_path):
    """Factory: the path of a FIFO into which a thread writes bytes; then it stays open or goes away."""
    made = []

    def build(data, *, stays=True, name="lab", wait=0.0, more=b""):
        path = tmp_path / name
        if not path.exists():
            os.mkfifo(path)
        done = threading.Event()

        def write():
            try:
                with path.open("wb", buffering=0) as out:
                    out.write(data)
                    time.sleep(wait)
                    out.write(more)
                    if stays:
                        done.wait(30)
            except BrokenPipeError:
                pass

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        made.append((thread, done, path))
        return path

    yield build
    for thread, done, path in made:
        done.set()
        while thread.is_alive():
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            thread.join(0.1)


@pytest.fixture
def squares(tmp_path):
    folder = tmp_path / "squares"
    folder.mkdir()
    for i in range(8):
        image = np.zeros((8, 8), np.uint8)
        image[i // 4 : i // 4 + 3, i % 4 : i % 4 + 3] = 255
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return done.value.code, out, err


def pictures(folder):
    return {p.name: p.read_bytes() for p in folder.glob("*.png")}


def test_standard_input_is_tested_recorded_and_replayed(capsys, tmp_path):
    record = tmp_path / "lab.bin"
    command = ["--bits", "60001", "--condition", "health:0.9", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "voltaspin", "randomness", "-", *command, "--record", str(record)],
        input=PACKED, capture_output=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"standard input: read as packed bits" in done.stderr
    live = json.loads(done.stdout)
    assert live["noise"]["kind"] == "instrument"
    assert live["whole"]["n_bits"] == 60_001
    code, out, _ = run(capsys, "randomness", record, *command)
    replay = json.loads(out)
    assert code == 0
    assert replay["noise"]["details"]["origin"]["kind"] == "instrument"
    apart = {"noise", "input"}
    assert {k: v for k, v in live.items() if k not in apart} == {k: v for k, v in replay.items() if k not in apart}


def test_many_bits_of_a_stream_are_all_read_and_the_battery_sees_the_first(capsys, monkeypatch):
    monkeypatch.setattr("voltaspin.noise.examination.sp800_22.LONGEST", 1_000_000)
    code, out, err = run(capsys, "randomness", "/dev/urandom", "--bits", 1_100_000, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["n_bits"], found["whole"]["n_bits"]) == (1_000_000, 1_100_000)
    assert found["noise"]["kind"] == "operating system"


def test_a_short_stream_is_tested_as_it_is_unless_more_was_asked_for(capsys, feed):
    code, out, _ = run(capsys, "randomness", feed(PACKED[:5000], stays=False), "--timeout", "0.4s", "--json")
    assert json.loads(out)["whole"]["n_bits"] == 40_000  # once no other writer came
    reader, writer = os.pipe()
    os.write(writer, PACKED[:5000]), os.close(writer)
    code, out, _ = run(capsys, "randomness", f"/dev/fd/{reader}", "--json")
    assert json.loads(out)["whole"]["n_bits"] == 40_000
    os.close(reader)
    reader, writer = os.pipe()
    os.write(writer, PACKED[:5000]), os.close(writer)
    code, _, err = run(capsys, "randomness", f"/dev/fd/{reader}", "--bits", "50k")
    assert (code, err.count("\n")) == (2, 1)
    assert "has ended: 0 bits were taken, 40000 are left and the draw needs 50000" in err
    os.close(reader)


def test_bits_of_a_stream_go_into_a_file_that_no_second_run_replaces(capsys, feed, tmp_path):
    out, record = tmp_path / "out.txt", tmp_path / "rec"
    command = ["bits", feed(b"0\r\n1\r\n" * 3000), "--count", 3001, "--out", out, "--file-format", "text"]
    code, _, err = run(capsys, *command, "--record", record)
    assert code == 0, err
    assert err == "lab: read as text of 0 and 1, 3001 bits taken\n"
    assert out.read_text() == "01" * 1500 + "0"
    run(capsys, "bits", record, "--count", 3001, "--out", tmp_path / "again.txt", "--file-format", "text")
    assert (tmp_path / "again.txt").read_bytes() == out.read_bytes()
    for target in ("a.bin", "a.bin"):
        command = ["bits", "/dev/urandom", "--count", 800, "--out", tmp_path / target]
        code, _, err = run(capsys, *command)
    assert (code, "a.bin exists" in err) == (2, True)
    assert run(capsys, *command, "--force")[0] == 0


def test_an_alarm_and_a_silence_keep_the_good_bits(capsys, feed, tmp_path):
    stuck = PACKED[:4000] + bytes(1000)
    for data, said in ((stuck, "health alarm"), (PACKED[:4000], "sent nothing for 0.5 s: check what sends the bits, or "
                                                                "raise --timeout 0.5s")):  # fmt: skip
        name = said[:6].replace(" ", "")
        code, _, err = run(
            capsys, "bits", feed(data, name=name), "--count", "1M", "--out", tmp_path / f"{name}.bin",
            "--condition", "health:0.9", "--file-format", "packed", "--timeout", "0.5",
        )  # fmt: skip
        assert (code, err.count("\n")) == (2, 1)
        assert said in err
        kept = RecordedSource(tmp_path / f"{name}.bin")
        assert f"the {kept.bits_left} good bits before that are in" in err
        assert 30_900 < kept.bits_left <= 31_000
        assert PACKED[128:3990] == kept.bits(30_896).tobytes()


@pytest.mark.parametrize("noise", ["lab", "lab | health:0.9"])
def test_a_sample_is_replayed_from_its_recording(capsys, feed, tmp_path, monkeypatch, noise):
    monkeypatch.chdir(tmp_path)
    feed(PACKED)
    common = ["--count", 2, "--steps", 2]
    code, out, err = run(capsys, "sample", "--noise", noise, *common, "--out", "live", "--record", "rec", "--json")
    assert code == 0, err
    assert json.loads(out)["provenance"]["kind"] == "instrument"
    code, _, err = run(capsys, "sample", "--noise", noise.replace("lab", "rec"), *common, "--out", "replay")
    assert code == 0, err
    assert len(pictures(tmp_path / "live")) == 3
    assert pictures(tmp_path / "live") == pictures(tmp_path / "replay")


def test_a_stream_that_dies_in_the_middle_of_a_sample_keeps_whole_batches_and_goes_on(capsys, feed, tmp_path):
    lab = feed(PACKED[: 3 * PER_IMAGE])
    command = ["sample", "--noise", lab, "--count", 4, "--batch", 2, "--steps", 2, "--out", tmp_path / "s",
               "--file-format", "packed"]  # fmt: skip
    code, _, err = run(capsys, *command, "--timeout", "0.5", "--record", tmp_path / "rec")
    assert (code, err.count("\n")) == (2, 1)
    assert "sent nothing for 0.5 s" in err
    assert "2 images before them are in" in err
    assert "what arrived is in" in err
    before = pictures(tmp_path / "s")
    assert len(before) == 3
    feed(PACKED[-3 * PER_IMAGE :])
    code, _, err = run(capsys, *command, "--timeout", "20", "--resume")
    assert code == 0, err
    assert "lab cannot go back: the images that are missing get new numbers" in err
    after = pictures(tmp_path / "s")
    assert len(after) == 5
    assert all(after[name] == data for name, data in before.items() if name.startswith("0"))
    assert RecordedSource(tmp_path / "rec").bits_left == 3 * 8 * PER_IMAGE  # half of the second batch among them


def test_a_training_keeps_its_steps_goes_on_and_is_replayed(capsys, feed, tmp_path, squares):
    common = ["train", "--data", squares, "--batch", 2, "--file-format", "packed", "--noise"]
    lab = feed(PACKED[:700])  # a step takes 256 bytes
    code, _, err = run(capsys, *common, lab, "--steps", 4, "--out", tmp_path / "t", "--timeout", "0.5")
    assert (code, err.count("\n")) == (2, 1)
    assert "step 2 of 4 is saved in" in err
    assert "continue with --resume" in err
    feed(PACKED[:900])
    code, _, err = run(
        capsys, *common, lab, "--steps", 4, "--out", tmp_path / "t", "--timeout", "9", "--resume",
    )  # fmt: skip
    assert code == 0, err
    assert "lab cannot go back: the steps that are left get new numbers" in err
    feed(PACKED[:5000], name="b")
    weights = []
    for noise, more in (("b", ["--record", tmp_path / "rec"]), ("rec", [])):
        code, _, err = run(
            capsys, *common, tmp_path / noise, "--steps", 2, "--out", tmp_path / f"of-{noise}", *more
        )  # fmt: skip
        assert code == 0, err
        weights.append((tmp_path / f"of-{noise}" / "unet" / "diffusion_pytorch_model.safetensors").read_bytes())
    assert weights[0] == weights[1]


@pytest.mark.parametrize("command", ["bits", "train"])
def test_an_interrupt_ends_a_wait_and_keeps_what_there_is(capsys, feed, tmp_path, squares, command):
    lab = feed(PACKED[:700])
    timer = threading.Timer(2.5 if command == "train" else 1, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    begun = time.monotonic()
    given = {
        "bits": ["bits", lab, "--count", "1M", "--out", tmp_path / "o.bin"],
        "train": ["train", "--noise", lab, "--data", squares, "--batch", 2, "--steps", 9, "--out", tmp_path / "t"],
    }[command]
    code, _, err = run(capsys, *given, "--file-format", "packed")
    timer.join()
    assert (code, err.count("\n")) == (130, 1)
    assert time.monotonic() - begun < 15
    if command == "train":
        assert "step 2 of 9 is saved in" in err
    else:
        kept = RecordedSource(tmp_path / "o.bin")
        assert f"interrupted; the {kept.bits_left} bits that arrived before are in" in err
        assert kept.bits(5600).tobytes() == PACKED[:700]


def test_a_slow_stream_says_its_pace_and_the_time_left(capsys, feed, tmp_path, monkeypatch):
    monkeypatch.setattr("voltaspin.noise.stream._SLOW", 0.2)
    monkeypatch.setattr("voltaspin.core.progress.EVERY", 0.0)
    lab = feed(PACKED[:500], wait=2.5, more=PACKED[500:1000])
    code, _, err = run(capsys, "bits", lab, "--count", 8000, "--out", tmp_path / "o.bin", "--file-format", "packed")
    assert code == 0
    assert "bits from lab: 4000 of 8000" in err
    assert "a second" in err


@pytest.mark.parametrize(("arguments", "said"), [
    (["bits", "-", "--noise", "memory", "--count", 8, "--out", "o"], "two sources"),
    (["bits", "nowhere", "--count", 8, "--out", "o"], "nowhere is not a file"),
    (["bits", "--count", 8, "--out", "o", "--record", "r"], "--record: of a stream, and memory is none"),
    (["bits", "/dev/urandom", "--count", 8, "--out", "o", "--record", "o"], "--record o is --out too"),
    (["sample", "--noise", "software", "--timeout", "3s", "--out", "o"], "--timeout: of a stream"),
    (["train", "--diffusion", "in-place", "--record", "r", "--out", "o"], "--record: of a stream"),
    (["randomness", ".", "--bits", 8], "is a folder"), (["randomness", "tcp://localhost:1"], "cannot be opened"),
    (["sample", "--noise", "/dev/zero", "--threshold", "fit", "--out", "o"], "--threshold fit looks at a whole"),
    (["spec", "--bits", "/dev/urandom"], "say with --bits how"),
    (["bits", "/dev/zero", "--timeout", "0s"], "--timeout"),
    (["bits", "/dev/urandom", "--delimiter", "tab", "--count", 8, "--out", "o"], "recognised as packed bits"),
])  # fmt: skip
def test_bad_requests_are_one_line_and_leave_nothing(capsys, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert (code, err.count("\n")) == (2, 1), err
    assert said in err
    assert not list(tmp_path.iterdir())
