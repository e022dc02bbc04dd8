"""``voltaspin bits`` and ``voltaspin randomness`` as a user calls them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from voltaspin.cli.app import main
from voltaspin.noise import PseudoSource, RecordedSource


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert done.value.code == 0, err
    return out


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        main([str(a) for a in arguments])
    assert done.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "bits.bin"
    path.write_bytes(PseudoSource(seed=1).bits(200_000).tobytes())
    return path


def test_randomness_of_a_file_as_json(capsys, file):
    data = json.loads(call(capsys, "randomness", file, "--bits", 100_000, "--json"))
    assert data["n_bits"] == 100_000
    assert {"name", "variant", "p_value"} <= set(data["tests"][0])
    assert data["noise"]["kind"] == "recorded"
    assert data["whole"]["health"]["alarm"] is None
    assert "No test distinguishes" in data["verdict"]


def test_randomness_in_words_and_as_a_figure(capsys, file, tmp_path):
    text = call(capsys, "randomness", file, "--figure", tmp_path / "out" / "b.png", "--sequences", 4)
    assert "SP 800-22 test" in text
    assert "4 sequences of 50000 bits" in text
    assert (tmp_path / "out" / "b.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("chain", ["", "xor:2", "von-neumann", "xor:2,sha256:0.9", "stabilise,xor:2", "none"])
def test_bits_behind_any_chain(capsys, tmp_path, chain):
    out = tmp_path / "b.bin"
    options = ["--condition", chain] if chain else []
    data = json.loads(call(capsys, "bits", "--count", 10_001, "--out", out, *options, "--json"))
    assert data["bits"] == 10_001
    source = RecordedSource(out)
    assert source.bits_left == 10_001
    assert source.origin["description"] == data["noise"]["description"]
    ones = np.unpackbits(source.bits(10_001), count=10_001).mean()
    assert abs(ones - 0.5) < 4.5 * 0.5 / 100


def test_formats_say_the_same(capsys, tmp_path):
    for form in ("packed", "bytes", "text"):
        call(capsys, "bits", "--count", 1003, "--out", tmp_path / form, "--format", form, "--noise", "software")
    packed = np.unpackbits(np.fromfile(tmp_path / "packed", np.uint8), count=1003)
    assert np.array_equal(np.fromfile(tmp_path / "bytes", np.uint8), packed)
    assert (tmp_path / "text").read_text() == "".join(map(str, packed))


def test_resistances_are_read(capsys, tmp_path):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, 30_000)
    (tmp_path / "r.csv").write_text("t,ohm\n" + "".join(f"{i},{r}\n" for i, r in enumerate(5e3 + 4e3 * bits)))
    noisy = 5e3 + 4e3 * bits + rng.normal(0, 300, bits.size)
    np.save(tmp_path / "r.npy", noisy)
    for options in (("r.csv", "--column", "ohm", "--threshold", 7000), ("r.npy", "--threshold", "fit")):
        data = json.loads(call(capsys, "randomness", tmp_path / options[0], *options[1:], "--json"))
        assert data["bias"]["value"] == pytest.approx(bits.mean() - 0.5, abs=1e-12)


def test_an_endless_stream_ends_when_its_reader_has_enough():
    for form in ("packed", "text"):
        process = subprocess.Popen(
            [sys.executable, "-m", "voltaspin", "bits", "--out", "-", "--raw", "--format", form],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert len(process.stdout.read(20_000_000)) == 20_000_000
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait(timeout=60) == 0


def test_a_short_stream_ends_likewise_when_nobody_reads():
    process = subprocess.Popen(
        [sys.executable, "-m", "voltaspin", "bits", "--out", "-", "--noise", "software", "--count", "64"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 0


@pytest.mark.parametrize(("arguments", "said"), [
    (["randomness"], "either a file"), (["randomness", "none.bin"], "not a file"),
    (["randomness", "--source", "memory", "--bits", "0"], "--bits 0"),
    (["randomness", "--source", "memory", "--bits", "100000000"], "many sequences"),
    (["randomness", "--source", "memory", "--constants", "new"], "'new'"),
    (["randomness", "--source", "memory", "--H", "2"], "min-entropy"),
    (["bits", "--out", "x"], "needs --count"), (["bits", "--out", "-", "--format", "hex"], "'hex'"),
    (["bits", "--count", "8", "--out", "-", "--condition", "bleach"], "bleach"),
    (["bits", "--count", "8", "--out", "-", "--noise", "software", "--imperfect"], "'imperfect' is no parameter"),
    (["bits", "--count", "8", "--out", "-", "--condition", "stabilised"], "did you mean 'stabilise'"),
    (["spec", "--junction", "generator", "--conditioning", "xor:2"], "--conditioning xor:2"),
    (["train", "--out", "o", "--diffusion", "in-place", "--conditioning", "xor:2"], "--conditioning xor:2"),
    (["bits", "--count", "8", "--out", "-", "--noise", "software | von-neumann | health"], "before it"),
])  # fmt: skip
def test_bad_requests_are_one_line(capsys, arguments, said):
    assert said in refused(capsys, *arguments)


def test_an_empty_and_a_short_file(capsys, tmp_path, file):
    (tmp_path / "empty.bin").touch()
    assert "is empty (0 bits)" in refused(capsys, "randomness", tmp_path / "empty.bin")
    (tmp_path / "short.bin").write_bytes(b"abc")
    assert "too few for any test" in call(capsys, "randomness", tmp_path / "short.bin")
    assert "200000 bits" in refused(capsys, "randomness", file, "--bits", 200_001)


def test_an_alarm_while_sampling_keeps_what_was_finished(capsys, tmp_path):
    per_image = 784 * 16 * 2
    good = np.unpackbits(PseudoSource(seed=2).bits(1024 + 3 * per_image))
    (tmp_path / "stuck.bin").write_bytes(np.packbits(np.append(good, np.ones(5 * per_image, np.uint8))).tobytes())
    line = refused(
        capsys, "sample", "--noise", tmp_path / "stuck.bin", "--condition", "health:0.9", "--count", 4, "--batch", 2,
        "--steps", 2, "--out", tmp_path / "images",
    )  # fmt: skip
    assert "health alarm" in line
    assert "stopped at images 2 to 3" in line
    assert len(list((tmp_path / "images").glob("*.png"))) == 3  # two images and their grid
    assert "health-checked" in (tmp_path / "images" / "run.json").read_text()


def test_a_recording_is_conditioned_to_its_end(capsysbinary, tmp_path, file):
    for options in ((), ("--condition", "von-neumann"), ("--condition", "peres:2")):
        with pytest.raises(SystemExit) as done:
            main(["bits", "--noise", str(file), *options, "--out", "-"])
        assert done.value.code == 0
        size = 8 * len(capsysbinary.readouterr().out)
        if not options:
            assert size == 200_000
        else:
            rate = 0.25 if "von" in options[1] else 0.453
            assert abs(size - 200_000 * rate) < 4.5 * 0.75 * np.sqrt(200_000) + 4096
    with pytest.raises(SystemExit) as done:
        main(
            [
                "bits",
                "--noise",
                str(file),
                "--condition",
                "von-neumann",
                "--count",
                "49000",
                "--out",
                str(tmp_path / "v"),
            ]
        )
    assert done.value.code == 0


# Recorded files: the same options, the same line and the same refusals in every command


def outcome(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return done.value.code, out, err


@pytest.mark.parametrize("form", ["packed", "bytes", "text"])
def test_what_bits_writes_comes_back(capsys, tmp_path, form):
    out, again = tmp_path / "o.txt", tmp_path / "again.txt"
    call(capsys, "bits", "--count", 3001, "--out", out, "--format", form, "--noise", "software")
    call(capsys, "bits", "--count", 3001, "--out", again, "--format", form, "--noise", out)
    assert again.read_bytes() == out.read_bytes()
    data = json.loads(call(capsys, "randomness", out, "--json"))
    assert data["n_bits"] == data["input"]["bits"] == 3001
    assert data["input"]["format"] == data["noise"]["details"]["input"]["format"] == form
    bits = np.unpackbits(PseudoSource(seed=0, precision=16).bits(3001), count=3001)
    assert data["bias"]["value"] == pytest.approx(bits.mean() - 0.5, abs=1e-12)


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    volts = np.where(rng.integers(0, 2, 30_000), 0.3, -0.1) + 0.02 * rng.standard_normal(30_000)
    path = tmp_path / "scope.csv"
    rows = "".join(f"{i * 1e-6:.6e};{v:.5f}\n".replace(".", ",") for i, v in enumerate(volts))
    path.write_text("Zeit;Kanal A;\n(s);(V)\n\n" + rows)
    return path, volts


def test_one_line_on_standard_error_says_what_was_read(capsys, tmp_path, table):
    path, volts = table
    options = ("--threshold", "-20mV", "--n-cells", 3)
    for command in (
        ("randomness", path), ("bits", "--noise", path, "--count", 9, "--out", tmp_path / "o"),
        ("sample", "--noise", path, "--count", 1, "--steps", 2, "--out", tmp_path / "s"),
    ):  # fmt: skip
        code, out, err = outcome(capsys, *command, *options, "--json")
        assert code == 0, err
        assert err == (
            "scope.csv: read as table exported by PicoScope, column 1 (Kanal A) of 2, delimiter semicolon, decimal "
            "comma, 3 lines above the rows, threshold -20 mV, 30000 bits\n"
        )
        data = json.loads(out)
        assert data["input"]["threshold"] == -0.02
        assert data["input"]["unit"] == "V"
    assert json.loads((tmp_path / "s" / "run.json").read_text())["recording"]["threshold"] == "-20mV"
    taken = RecordedSource(tmp_path / "o")
    assert np.unpackbits(taken.bits(9), count=9).tolist() == (volts[:9] > -0.02).tolist()


@pytest.mark.parametrize("command", [
    ("bits", "--count", 8, "--out", "-", "--noise", "software"), ("randomness", "--source", "memory"),
    ("sample", "--noise", "system", "--out", "s"), ("train", "--noise", "software", "--out", "t"),
    ("train", "--diffusion", "in-place", "--out", "t"), ("spec", "--junction", "generator"),
])  # fmt: skip
@pytest.mark.parametrize("option", [
    ("--lanes", 3), ("--n-cells", 3), ("--leave-out", "3"), ("--column", 1), ("--threshold", "5kohm"),
    ("--file-format", "csv"),
    ("--bit-order", "lsb"), ("--unit", "V"), ("--sample-type", "int16"), ("--byte-order", "big"),
    ("--delimiter", "tab"), ("--decimal", ","), ("--skip-rows", 2),
])  # fmt: skip
def test_options_of_a_recorded_file_are_refused_without_one(capsys, tmp_path, monkeypatch, command, option):
    monkeypatch.chdir(tmp_path)
    line = refused(capsys, *command, *option)
    assert "of a recorded file" in line
    assert option[0].replace("--lanes", "--n-cells") in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [
    ("bits", "--count", 8, "--out", "-", "--format", "text", "--noise"), ("randomness",),
    ("sample", "--out", "s", "--noise"), ("spec", "--bits"),
])  # fmt: skip
def test_every_command_names_the_options_that_settle_it(capsys, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.bin").write_bytes(np.random.default_rng(1).normal(0, 200, 5000).astype("<i2").tobytes())
    line = refused(capsys, *command, "words.bin")
    assert "--sample-type int16" in line
    assert "--file-format packed" in line
    line = refused(capsys, *command, "words.bin", "--sample-type", "int16")
    assert "--threshold" in line
    if command[0] == "bits":
        call(capsys, *command, "words.bin", "--sample-type", "int16", "--threshold", 0)


def test_a_file_is_read_to_its_end_whatever_the_battery_sees(capsys, tmp_path):
    bits = np.unpackbits(PseudoSource(seed=3).bits(400_000))
    bits[50_000:] = 0  # the device dies after an eighth of the recording
    np.packbits(bits).tofile(tmp_path / "dead.bin")
    data = json.loads(call(capsys, "randomness", tmp_path / "dead.bin", "--bits", 50_000, "--json"))
    assert (data["kind"], data["schema_version"]) == ("randomness", 3)
    assert not data["ideal"]
    assert data["verdict"].startswith("These bits are not ideal")
    assert data["whole"]["n_bits"] == 400_000
    assert data["share_tested"] == 0.125
    assert data["whole"]["health"]["alarm"]["test"] == "repetition count"
    assert data["whole"]["estimates"]["minimum"] == data["whole"]["assessed"] == 0
    assert len(data["whole"]["tests"]) >= 8
    assert data["whole"]["repetition"]["distance"] == 1


def test_the_time_is_said_beforehand_and_a_conditioned_file_is_read_to_its_end(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("voltaspin.noise.examination.whole.seconds", lambda n, lanes: 75.0)
    path = tmp_path / "bits.bin"
    path.write_bytes(PseudoSource(seed=1).bits(200_000).tobytes())
    with pytest.raises(SystemExit):
        main(["randomness", str(path), "--condition", "von-neumann"])
    out, err = capsys.readouterr()
    assert "bits are read: about 75 s on one core" in err
    assert "the battery saw 100 % of them" in out
    out = call(capsys, "randomness", path, "--condition", "sha256:assessed")
    assert "sha256 takes H = 0." in out
    assert "assessed here" in out
