"""Waveform files: WAV, raw words and arrays from known values, and what a bench produces on a bad day."""

import io
import json
import wave

import numpy as np
import pytest

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.noise import RecordedSource
from voltaspin.noise.waveform import Sampling, Trace, find_levels, read_waveform

RNG = np.random.default_rng(5)
N = 4000
BITS = (RNG.random(N // 10) < 0.5).astype(np.uint8)
STATE = np.repeat(BITS, 10)
UNIT = np.where(STATE == 1, 0.5, -0.25) + 0.02 * RNG.standard_normal(N)  # part of full scale
VOLTS = np.where(STATE == 1, 0.3, 0.1) + 0.01 * RNG.standard_normal(N)
TIME = np.arange(N) * 1e-6


def table(*columns, header="t (s),V (V)", form="{:.7e}"):
    rows = "\n".join(",".join(form.format(x) for x in row) for row in zip(*columns, strict=True))
    return f"{header}\n{rows}\n" if header else rows + "\n"


def wav(width, channels=1, values=UNIT):
    """A WAV file by the standard library, the trace in the last channel."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(48_000)
        words = np.rint(values * 2.0 ** (8 * width - 1) * 0.99).astype(np.int64)
        words = words + 128 if width == 1 else words
        frames = np.zeros((values.size, channels), np.int64)
        frames[:, -1] = words
        data = frames.astype("<i8").view(np.uint8).reshape(values.size, channels, 8)[:, :, :width]
        out.writeframes(data.tobytes())
    return file.getvalue()


def float_wav(dtype, extensible=False):
    """A WAV file of floating-point numbers, with a chunk of another kind before them."""
    data = UNIT.astype(dtype).tobytes()
    bits = np.dtype(dtype).itemsize * 8
    form = np.array([0xFFFE if extensible else 3, 1], "<u2").tobytes()
    form += np.array([48_000, 48_000 * bits // 8], "<u4").tobytes() + np.array([bits // 8, bits], "<u2").tobytes()
    if extensible:
        form += np.array([22, bits], "<u2").tobytes() + bytes(4) + b"\3\0" + bytes(14)
    chunks = b"fmt " + np.uint32(len(form)).tobytes() + form + b"LIST" + np.uint32(3).tobytes() + b"abc\0"
    chunks += b"data" + np.uint32(len(data)).tobytes() + data
    return b"RIFF" + np.uint32(len(chunks) + 4).tobytes() + b"WAVE" + chunks


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def hdf5(attributes=None, **sets):
    h5py = pytest.importorskip("h5py")
    file = io.BytesIO()
    with h5py.File(file, "w") as out:
        for name, data in sets.items():
            out[name] = data
        out["v"].attrs.update(attributes or {})
    return file.getvalue()


def written(tmp_path, data):
    path = tmp_path / "trace"  # no suffix: the content decides
    data = data() if callable(data) else data
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


WORDS = np.rint(2e4 * UNIT)
THREE = np.rint(2e6 * UNIT).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3]
GOOD = {
    "WAV, 8 bits": (wav(1), {}, 1 / 48e3), "WAV, 16 bits": (wav(2), {}, 1 / 48e3),
    "WAV, 24 bits": (wav(3), {}, 1 / 48e3), "WAV, 32 bits": (wav(4), {}, 1 / 48e3),
    "WAV, float": (float_wav("<f4"), {}, 1 / 48e3), "WAV, double": (float_wav("<f8"), {}, 1 / 48e3),
    "WAV, extensible": (float_wav("<f4", True), {}, 1 / 48e3),
    "WAV, two channels": (wav(2, 2), {"column": 1}, 1 / 48e3),
    "WAV, three channels of 24 bits": (wav(3, 3), {"column": "2"}, 1 / 48e3),
    "WAV, another rate": (wav(2), {"sample_rate": 1e3}, 1e-3),
    "raw": (WORDS.astype("<i2").tobytes(), {"sample_type": "int16", "sample_rate": 1e6}, 1e-6),
    "raw, 24 bits": (THREE.tobytes(), {"sample_type": "int24", "sample_rate": 1e6}, 1e-6),
    "raw, 24 bits, big end first": (
        THREE[:, ::-1].tobytes(), {"sample_type": "int24", "byte_order": "big", "sample_rate": 1e6}, 1e-6),
    "raw behind a header": (
        b"header!" + WORDS.astype(">i2").tobytes(),
        {"sample_type": "int16", "byte_order": "big", "header_bytes": 7, "sample_rate": 1e6}, 1e-6),
    "raw, channels in turn": (
        np.column_stack([0 * WORDS, WORDS, 0 * WORDS]).astype("<i2").tobytes(),
        {"sample_type": "int16", "channels": 3, "column": 1, "sample_rate": 1e6}, 1e-6),
    "NPY": (npy(VOLTS), {"sample_rate": 1e6}, 1e-6),
    "NPY with times": (npy(np.column_stack([TIME, VOLTS])), {}, 1e-6),
    "NPY with times and two channels": (npy(np.column_stack([TIME, 0 * VOLTS, VOLTS])), {"column": 2}, 1e-6),
    "NPY with fields": (npy(np.array(list(zip(TIME, VOLTS, strict=True)), [("t", "f8"), ("v", "f4")])), {"column": "v"},
                        1e-6),
    "HDF5 with times": (lambda: hdf5(t=TIME, v=VOLTS), {}, 1e-6),
    "HDF5 with an interval": (lambda: hdf5({"dt": 1e-6}, v=VOLTS), {}, 1e-6),
    "HDF5 with a rate": (lambda: hdf5(v=VOLTS, fs=1e6), {}, 1e-6),
    "CSV": (table(TIME, VOLTS), {}, 1e-6),
    "CSV, microseconds": (table(TIME * 1e6, VOLTS, header="Time (us),V (V)"), {}, 1e-6),
    "CSV, times behind": (table(VOLTS, TIME, header="V (V),Time (s)"), {}, 1e-6),
    "CSV, times of few digits": (table(1 + TIME, VOLTS, form="{:.6f}"), {}, 1e-6),
    "CSV, columns said": (table(VOLTS, TIME, header=""), {"column": 0, "time_column": 1}, 1e-6),
    "CSV, times unused": (table(TIME[::-1], VOLTS), {"sample_rate": 2e6}, 5e-7),
}  # fmt: skip


@pytest.mark.parametrize("case", GOOD)
def test_the_known_bits_come_back(tmp_path, case):
    data, options, step = GOOD[case]
    path, out = written(tmp_path, data), tmp_path / "bits.bin"
    found = read_waveform(path, sampling=Sampling(period=10 * step, phase=4 * step), out=out, **options)
    assert found.step == pytest.approx(step, rel=1e-4)
    assert found.samples == N
    source = RecordedSource(out)
    assert np.array_equal(np.unpackbits(source.bits(BITS.size), count=BITS.size), BITS)


@pytest.mark.parametrize("case", GOOD)
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, case):
    data, options, _ = GOOD[case]
    data = data() if callable(data) else data
    data = data.encode() if isinstance(data, str) else data
    rng = np.random.default_rng(len(case))
    for turn in range(9):
        damaged = bytearray(data)
        if turn % 3 == 0:
            for _ in range(4):
                damaged[rng.integers(min(len(data), 60))] ^= 1 << rng.integers(8)
        elif turn % 3 == 1:
            damaged = damaged[: rng.integers(1, len(data))]
        else:
            at = rng.integers(len(data))
            damaged[at : at + rng.integers(1, 50)] = rng.bytes(rng.integers(1, 50))
        try:
            line = read_waveform(written(tmp_path, bytes(damaged)), **options).read_as
        except InputError as error:
            line = str(error)
        assert "\n" not in line


def test_a_wav_file_is_a_recording_too(tmp_path):
    source = RecordedSource(written(tmp_path, wav(2)), threshold="fit")
    assert np.array_equal(np.unpackbits(source.bits(N), count=N), STATE)
    with pytest.raises(InputError, match="need a threshold"):
        RecordedSource(tmp_path / "trace")


def changed(at, value, column=0):
    columns = [TIME.copy(), VOLTS.copy()]
    columns[column][at] = value
    return table(*columns)


def jumped(by):
    times = TIME.copy()
    times[1500:] += by
    return table(times, VOLTS)


FIVE = 0.2 + 0.01 * np.random.default_rng(1).standard_normal(N)
TWO_RATES = np.concatenate([TIME[:2000], TIME[2000] + np.arange(2000) * 3e-6])
JITTER = TIME + 2e-7 * np.random.default_rng(2).standard_normal(N)
RAW = {"sample_type": "int16", "sample_rate": 1e6}
BAD = {
    "nothing": ("", {}, "is empty"),
    "a header only": ("t (s),V (V)\n", {}, "no row of numbers"),
    "one sample": (table(TIME[:1], VOLTS[:1]), {}, "too few|neither times"),
    "no number": (changed(70, np.nan, 1), {}, r"value 70 \(line 72\) is nan"),
    "infinite": (changed(70, np.inf, 1), {}, r"value 70 \(line 72\) is inf"),
    "a time that is none": (changed(70, np.nan), {}, r"time 70 \(line 72\) is nan"),
    "backwards": (changed(1000, 5e-4), {}, r"time 1000 \(line 1002\) lies 499 us before.*backwards"),
    "a jump": (jumped(5e-3), {}, r"time 1500 \(line 1502\) lies 5.001 ms after.*jump"),
    "a missing sample": (jumped(1e-6), {}, r"time 1500 \(line 1502\) lies 2 us after.*jump"),
    "jitter": (table(np.sort(JITTER), VOLTS), {}, "not sampled evenly"),
    "two rates": (table(TWO_RATES, VOLTS), {}, r"\(line 200\d\), samples are .* apart"),
    "swapped": (table(VOLTS, TIME), {}, "swapped|rise by even steps"),
    "swapped, columns said": (table(TIME, VOLTS, header=""), {"column": 0, "time_column": 1}, "swapped"),
    "time as value": (table(TIME, VOLTS), {"column": 0}, "'s' of the column"),
    "time as value, without names": (table(TIME, VOLTS, header=""), {"column": 0, "sample_rate": 1e6}, "by even steps"),
    "a unit of voltage on the times": (table(TIME, VOLTS, header="time (V),out (V)"), {}, "named as time and 'V'"),
    "a unit that is none": (table(TIME, VOLTS, header="t (s),V (furlong)"), {}, "'furlong'"),
    "a time unit that is none": (table(TIME, VOLTS, header="time (parsec),V (V)"), {}, "'parsec'"),
    "a unit of time on the values": (table(TIME, VOLTS, header="t (s),V (ms)"), {}, "'ms'"),
    "a unit that cannot be": (table(TIME, VOLTS), {"unit": "kelvin"}, "unit='kelvin'"),
    "another unit": (table(TIME, VOLTS), {"threshold": "5kohm"}, "another unit"),
    "no times": (npy(VOLTS), {}, "give sample_rate="),
    "bits": (bytes(RNG.integers(0, 256, 4000, np.uint8)), {"sample_rate": 1e6}, "packed bits and not as a waveform"),
    "text of bits": ("0110" * 100, {"sample_rate": 1e6}, "text of 0 and 1 and not as a waveform"),
    "a cut raw file": (wav(2)[-1001:], RAW, "1001 bytes, no whole number of int16 words"),
    "a cut frame": (bytes(1002), {**RAW, "channels": 2, "column": 0}, "words of 2 channels"),
    "a header longer than the file": (bytes(10), {**RAW, "header_bytes": 20}, "header of 20"),
    "no channel said": (bytes(1000), {**RAW, "channels": 2}, "say which one with column="),
    "no such channel": (wav(2, 2), {"column": 2}, "has 2 channels"),
    "a cut WAV": (wav(2)[:30], {}, "truncated"),
    "a dead channel": (table(TIME, 0 * VOLTS + 0.012), {}, "all 4000 samples are 12 mV: a dead channel"),
    "one population": (table(TIME, FIVE), {}, "one population only"),
    "clipped": (table(TIME, np.minimum(VOLTS, 0.295)), {}, r"clipped.* 295 mV, the highest"),
    "clipped below": (table(TIME, np.maximum(VOLTS, 0.105)), {}, r"clipped.* 105 mV, the lowest"),
    "clipped words": (np.clip(6e4 * UNIT, -32768, 32767).astype("<i2").tobytes(), RAW, "highest value of the words"),
    "a threshold outside": (table(TIME, VOLTS), {"threshold": "2V"}, "no sample passes the threshold of 2 V"),
    "too much hysteresis": (table(TIME, VOLTS), {"hysteresis": "1V"}, "beyond the values"),
    "hysteresis of another unit": (table(TIME, VOLTS), {"hysteresis": "1kohm"}, "hysteresis=1kohm"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_day_is_refused_in_one_line(tmp_path, case):
    data, options, said = BAD[case]
    with pytest.raises(InputError, match=said) as caught:
        read_waveform(written(tmp_path, data), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sampling", "said"),
    [({"interval": 5e-3}, "not longer than the trace"), ({"period": 5e-3}, "not longer than the trace"),
     ({"period": 1e-7}, "shorter than the time between samples"), ({"period": 1e-6, "phase": 5e-3}, "holds no instant"),
     ({"trigger": "0"}, "is no unit of a voltage"), ({"trigger": "X"}, "no column 'X'")],
)  # fmt: skip
def test_instants_that_cannot_be_are_refused(tmp_path, sampling, said):
    path = written(tmp_path, table(TIME, VOLTS))
    with pytest.raises(InputError, match=said):
        read_waveform(path, sampling=Sampling(**sampling))


def test_a_dead_trigger_never_fires(tmp_path):
    path = written(tmp_path, table(TIME, VOLTS, 0 * VOLTS + 3.3, header="t,V,T"))
    with pytest.raises(InputError, match=r"never fires: all 4000 samples are 3.3"):
        read_waveform(path, column="V", sampling=Sampling(trigger="T"))


def test_a_clipped_trace_is_taken_with_a_threshold(tmp_path):
    trace = Trace.open(written(tmp_path, table(TIME, np.minimum(VOLTS, 0.295))))
    with pytest.raises(InputError, match="clipped"):
        find_levels(trace)
    assert find_levels(trace, threshold="0.2V").threshold == pytest.approx(0.2)


@pytest.mark.parametrize("blocks", [1 << 20, 333])
def test_a_trace_that_stands_still_is_named_with_its_lines(tmp_path, monkeypatch, blocks):
    monkeypatch.setattr("voltaspin.noise.importer.table.BLOCK", blocks, raising=False)
    values = VOLTS.copy()
    values[1700:1900] = values[1700]
    with pytest.raises(
        InputError, match=r"200 samples in a row, from value 1700 \(line 1702\) to value 1899 .*part before"
    ):
        Trace.open(written(tmp_path, table(TIME, values)))
    values[1700:1900] = values.max()  # clipped, which a threshold does not mind
    assert find_levels(Trace.open(written(tmp_path, table(TIME, values))), threshold=0.2).threshold == 0.2
    values = np.where(STATE, 0.3, 0.1)  # without noise nobody can tell
    values[1700:1900] = 0.3
    assert Trace.open(written(tmp_path, table(TIME, values))).n == N
    values = np.round(VOLTS, 2)  # of a coarse converter whose neighbours are often equal
    assert Trace.open(written(tmp_path, table(TIME, values))).n == N


@pytest.mark.parametrize("size", [7, 333, 4000])
def test_the_longest_run_is_found_across_blocks(size):
    from types import SimpleNamespace

    from voltaspin.noise.waveform.trace import _Scan

    rng = np.random.default_rng(size)
    values = rng.integers(0, 3, 4000).astype(float)
    values[1200:1260] = 1.0
    scan = _Scan(SimpleNamespace(unit="V", factor=1.0, at=lambda i: f"value {i}"), "t")
    for k in range(0, 4000, size):
        scan.add(values[k : k + size])
    changes = np.flatnonzero(np.diff(values)) + 1
    runs = np.diff(np.concatenate([[0], changes, [4000]]))
    assert scan.longest == runs.max() >= 60
    assert scan.begin == np.concatenate([[0], changes])[runs.argmax()]
    assert (scan.at, scan.equal) == (1.0, 4000 - runs.size)
    with pytest.raises(InputError, match="stood still"):
        scan.check_frozen()


def test_a_last_line_that_was_cut_off_is_named_and_not_half_a_number_taken(tmp_path):
    text = table(TIME, VOLTS)
    assert Trace.open(written(tmp_path, text.rstrip())).n == N
    for cut in (1 + 4, 9, 20):  # 3.03e-01 without its exponent is ten times as large
        with pytest.raises(InputError, match=r"the last line, '.*', has no line break and is shorter"):
            Trace.open(written(tmp_path, text[:-cut]))
        assert Trace.open(written(tmp_path, text[: text.rindex("\n", 0, -cut) + 1])).n == N - 1


def test_a_clean_signal_is_not_clipped(tmp_path):
    for values in (np.where(STATE, 5.0, 0.0), np.round(VOLTS, 2), np.round(VOLTS, 3)):
        trace = Trace.open(written(tmp_path, table(TIME, values)))
        assert 0 < find_levels(trace).threshold < 5


def test_coarse_times_of_a_long_trace_are_even(tmp_path):
    """Seven digits of a trace of a thousand seconds: neighbours may be written alike."""
    times = np.arange(60_000) * 0.013
    for digits in (3, 4, 5):
        text = table(times, np.resize(VOLTS, 60_000), form=f"{{:.{digits}e}}")
        assert Trace.open(written(tmp_path, text)).step == pytest.approx(0.013, rel=10.0**-digits)


# --- the command -------------------------------------------------------------------------------------------


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return caught.value.code, out, err


def test_the_command_prints_draws_and_writes(capsys, tmp_path):
    path, out, figure = written(tmp_path, table(TIME, VOLTS)), tmp_path / "b.bin", tmp_path / "f.png"
    command = ["waveform", path, "--recover-clock", "--threshold", "0.2V", "--out", out, "--figure", figure]
    status, text, err = call(capsys, *command)
    assert (status, err) == (0, "")
    assert "clock found in the trace, period 10 us" in text
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert "exists" in call(capsys, *command)[2]
    status, text, _ = call(capsys, *command, "--force", "--json")
    found = json.loads(text)
    assert (status, found["kind"], found["bits"]["bits"]) == (0, "waveform", 400)
    described = json.loads((tmp_path / "b.bin.json").read_text())
    assert described["arguments"]["options"]["threshold"] == "0.2V"
    status, text, err = call(capsys, "bits", "--noise", out, "--count", 400, "--out", tmp_path / "c.bin")
    assert status == 0, err
    assert (tmp_path / "c.bin").read_bytes() == out.read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--column", "0"], "--column"), (["--phase", "1us"], "--phase"), (["--out", "b.bin"], "--recover-clock"),
     (["--interval", "5ms"], "--interval 5 ms"), (["--sample-rate", "3V"], "--sample-rate"),
     (["--bit-order", "msb"], "--bit-order"), (["--delay", "3us"], "--trigger"), (["--period", "1ns"], "--period"),
     (["--trigger-threshold", "5V", "--trigger", "1"], "never fires"), (["--edge", "up"], "--edge")],
)  # fmt: skip
def test_the_command_names_its_options(capsys, tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(capsys, "waveform", written(tmp_path, table(TIME, VOLTS)), *options)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert said in err
    assert "=" not in err.replace(str(tmp_path), ""), err
