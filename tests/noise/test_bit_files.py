"""The importer: what is ambiguous, damaged or hostile is refused in one line, packed bits of any device are not."""

import base64
import bz2
import gzip
import io
import json
import lzma
import re
import tempfile
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voltaspin.cli.files import SPELLED
from voltaspin.core import console
from voltaspin.core.errors import InputError
from voltaspin.noise import FileError, FileOptions, PseudoSource, RecordedSource, record, two_populations
from voltaspin.noise.importer import content

RNG = np.random.default_rng(3)
BITS = RNG.integers(0, 2, 4000).astype(np.uint8)
VOLTS = np.where(BITS == 1, 0.3, -0.1) + 0.02 * RNG.standard_normal(BITS.size)


def put(folder, data, name="x.bin"):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def bits_of(source):
    n = source.bits_left
    return np.unpackbits(source.bits(n), count=n)


def opened(path, **options):
    """The source, or the refusal."""
    try:
        return RecordedSource(path, **options)
    except InputError as error:
        return error


def as_options(error):
    return console.as_options(str(error), SPELLED)


# Packed bits of devices are never refused


def chain(n, stay, rng):
    """Bits of a cell that is not reset: the next is the same with probability ``stay``."""
    return (np.cumsum(rng.random(n) > stay) % 2).astype(np.uint8)


def in_turn(n, cells, rng, low=0.05, high=0.95):
    """Cells with a bias of their own, read in turn."""
    p = rng.uniform(low, high, cells)
    return (rng.random((n // cells, cells)) < p).astype(np.uint8).ravel()


DEVICES = {
    "fair": lambda n, rng: rng.integers(0, 2, n),
    "p = 0.02": lambda n, rng: rng.random(n) < 0.02,
    "p = 0.9": lambda n, rng: rng.random(n) < 0.9,
    "not reset": lambda n, rng: chain(n, 0.7, rng),
    "hardly ever flips": lambda n, rng: chain(n, 0.99, rng),
    "alternating": lambda n, rng: chain(n, 0.05, rng),
    "16 cells": lambda n, rng: in_turn(n, 16, rng),
    "64 cells": lambda n, rng: in_turn(n, 64, rng),
    "100 cells of 0.3 or 0.7": lambda n, rng: (rng.random((n // 100, 100)) < rng.choice([0.3, 0.7], 100)).ravel(),
    "dies": lambda n, rng: np.append(rng.integers(0, 2, n // 8), np.zeros(n - n // 8)),
    "sticks for a while": lambda n, rng: np.r_[rng.integers(0, 2, n // 2), np.ones(n // 4), rng.integers(0, 2, n // 4)],
    "never flips": lambda n, rng: np.zeros(n),
}  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("n", [800, 1600, 80_000, 3_200_000])
def test_packed_bits_of_a_device_are_read(tmp_path, device, n):
    for seed in range(20 if n < 100_000 else 1):
        bits = DEVICES[device](n, np.random.default_rng(seed)).astype(np.uint8)
        data = np.packbits(bits)
        if (data <= 1).all() and data.any():  # one bit a byte says the same
            continue
        source = RecordedSource(put(tmp_path, data.tobytes()))
        assert source.format == "packed"
        assert np.array_equal(bits_of(source)[:n], bits)


# Numbers are never read as packed bits


def words(kind, rng, n=20_000):
    v = np.where(rng.random(n) < 0.5, 0.3, -0.2) + 0.03 * rng.standard_normal(n)
    wave = np.sin(np.arange(n) / 50) + 0.01 * rng.standard_normal(n)
    made = {
        "12-bit converter": (2048 + 1000 * v).astype("<u2"),
        "12-bit converter, left": ((2048 + 1000 * v).astype("<u2") << 4).astype("<u2"),
        "16-bit converter": (20_000 * v).astype("<i2"),
        "16-bit converter, big end": (20_000 * v).astype(">i2"),
        "16-bit converter, offset": (32_768 + 20_000 * v).astype("<u2"),
        "16-bit noise": (300 * rng.standard_normal(n)).astype("<i2"),
        "16-bit wave over the range": (32_000 * wave / 1.1).astype("<i2"),
        "8-bit converter": (128 + 200 * v).astype(np.uint8),
        "8-bit signed noise": (10 * rng.standard_normal(n)).astype(np.int8),
        "float32": v.astype("<f4"),
        "float32, big end": v.astype(">f4"),
        "float64": v.astype("<f8"),
        "int32 counts": rng.poisson(50, n).astype("<i4"),
        "0 and 255": np.where(v > 0, 255, 0).astype(np.uint8),
        "7-bit codes": rng.integers(0, 128, n).astype(np.uint8),
    }
    return made[kind].tobytes()


@pytest.mark.parametrize("kind", [
    "12-bit converter", "12-bit converter, left", "16-bit converter", "16-bit converter, big end",
    "16-bit converter, offset", "16-bit noise", "16-bit wave over the range", "8-bit converter", "8-bit signed noise",
    "float32", "float32, big end", "float64", "int32 counts", "0 and 255", "7-bit codes",
])  # fmt: skip
def test_words_of_a_converter_are_refused_with_what_settles_it(tmp_path, kind):
    path = put(tmp_path, words(kind, np.random.default_rng(1)))
    with pytest.raises(FileError, match="does not look like packed bits") as refused:
        RecordedSource(path)
    line = as_options(refused.value)
    assert "--file-format packed" in line
    assert "--sample-type int16 " in line
    assert "--threshold" in line
    assert RecordedSource(path, format="packed").bits_left == 8 * path.stat().st_size  # said, so done


@pytest.mark.parametrize(("head", "name"), content.FOREIGN)
def test_known_kinds_of_files_are_named_and_not_read(tmp_path, head, name):
    path = put(tmp_path, head + np.random.default_rng(5).bytes(3000))
    with pytest.raises(FileError, match=re.escape(name)):
        RecordedSource(path)
    assert RecordedSource(path, format="packed").bits_left == 8 * path.stat().st_size


def tar():
    return b"\0" * 257 + b"ustar\x0000" + RNG.bytes(2000)


def spreadsheet():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("xl/worksheets/sheet1.xml", "<x/>")
    return file.getvalue()


def members(**parts):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return file.getvalue()


def saved(array, **more):
    file = io.BytesIO()
    np.savez(file, array, **more) if more else np.save(file, array)
    return file.getvalue()


def hdf5(**sets):
    h5py = pytest.importorskip("h5py")
    file = io.BytesIO()
    with h5py.File(file, "w") as out:
        for name, data in sets.items():
            out[name] = data
    return file.getvalue()


DIGITS = "".join(map(str, BITS))
CODES = np.packbits(BITS)
TABLE = "t,V\n" + "".join(f"{i},{v:.5f}\n" for i, v in enumerate(VOLTS))

STRAY = DIGITS[:1234] + "{}" + DIGITS[1234:]


def in_lines(text, width):
    return "\n".join(text[k : k + width] for k in range(0, len(text), width))


REFUSED = [
    ("0,0\n1,0\n1,0\n0,0\n", {}, "two bits or one number with a decimal comma"),
    (DIGITS + "\0", {}, "text with control characters"),
    (", ".join(f"0b{c:08b}" for c in CODES), {}, "is text that is neither"),
    (saved(BITS * 255), {}, "may be bytes of eight bits or measured values"),
    ("\n".join(str(int(128 + 200 * v)) for v in VOLTS), {}, "may be bytes of eight bits or measured values"),
    ("".join(f"{6000 + v:,.2f}\n" for v in VOLTS), {"threshold": 6000}, "2 columns of numbers"),
    ("True\nFalse\nTrue\n", {}, "is text that is neither"),
    (TABLE + "END\n", {"threshold": 0.1}, "row 4001"),
    (TABLE + TABLE, {"threshold": 0.1}, r"row 4001 \('t,V'\)"),
    ("Resolution:2e-11:\nRecordLength:3:\n", {"threshold": 1}, "is text that is neither"),
    ("this is a lab notebook, not a recording", {}, "is text that is neither"),
    ("Lorem ipsum dolor sit amet consetetur", {}, "is text that is neither"),
    ("HTHHTTHTHHTHTTHHTHTH", {}, "is text that is neither"),
    ("<html><body>404</body></html>", {}, "is text that is neither"),
    ("-----BEGIN KEY-----\nQUJD\n-----END KEY-----\n", {}, "is text that is neither"),
    (":10010000214601360121470136007EFE09D2190140\n", {}, "is text that is neither"),
    ("0101012", {"format": "text"}, "character 6 is '2', which is neither"),
    ("0101x01", {"format": "text"}, "character 4 is 'x'"),
    (STRAY.format("2"), {}, "character 1234 is '2', which is neither 0 nor 1"),
    (STRAY.format("a"), {}, "character 1234 is 'a', which is neither"),  # and not hexadecimal
    (STRAY.format("x"), {}, "character 1234 is 'x', which is neither"),
    (STRAY.format("2").encode("utf-16"), {}, "character 1234 is '2', which is neither"),
    (gzip.compress(b"# mine\n" + STRAY.format("2").encode()), {}, "character 1234 is '2', which is neither"),
    (in_lines(STRAY.format("2"), 8), {}, "character 1234 is '2', which is neither"),
    (in_lines(STRAY.format("2"), 1), {}, "value 1234 is 2.0, which is neither"),
    (" ".join(STRAY.format("2")), {}, "value 1234 is 2.0, which is neither"),
    (",".join(STRAY.format("3")), {}, "value 1234 is 3.0, which is neither"),
    (json.dumps([int(c) for c in STRAY.format("2")]), {}, "value 1234 is 2, which is neither"),
    (saved(np.array(list(STRAY.format("2")), np.uint8)), {}, "value 1234 is 2, which is neither"),
    ("0.1\n0.9\n0.2\n", {}, "neither 0 nor 1"),
    ("1\n-1\n1\n1\n-1\n", {}, "neither 0 nor 1"),
    (DIGITS, {"threshold": 0.5}, "threshold=0.5 cannot be used: the file was recognised as text"),
    (DIGITS, {"column": 1}, "column=1 cannot be used"),
    (DIGITS, {"bit_order": "lsb"}, "bit_order='lsb' cannot be used"),
    (CODES.tobytes(), {"threshold": "1V"}, "threshold='1V' cannot be used"),
    (CODES.tobytes(), {"column": 0}, "column=0 cannot be used"),
    (CODES.tobytes(), {"unit": "V"}, "unit='V' cannot be used"),
    (CODES.tobytes(), {"sample_type": "uint8"}, "need a threshold"),
    (CODES.tobytes(), {"format": "samples"}, "need sample_type"),
    (CODES.tobytes()[:-1], {"sample_type": "int16", "threshold": 3}, "no whole number of int16"),
    (CODES.tobytes(), {"sample_type": "int16", "threshold": "3V"}, "no unit"),
    (CODES.tobytes(), {"format": "npy"}, "does not begin as a npy file"),
    (saved(BITS), {"format": "csv"}, "begins as a NumPy file"),
    (gzip.compress(DIGITS.encode())[:-20], {}, "cut or damaged"),
    (bz2.compress(DIGITS.encode())[:-20], {}, "cut or damaged"),
    (lzma.compress(DIGITS.encode())[:-20], {}, "cut or damaged"),
    (gzip.compress(DIGITS.encode())[:20] + RNG.bytes(400), {}, "cut or damaged"),
    (members(a=DIGITS)[:-30], {}, "cut or damaged"),
    (gzip.compress(gzip.compress(DIGITS.encode())), {}, "holds a gzip file; unpack it"),
    (gzip.compress(tar()), {}, "holds a tar file; unpack it"),
    (gzip.compress(b""), {}, "holds an empty file"),
    (tar(), {}, "tar file"),
    (members(a=DIGITS, b=DIGITS), {}, r"holds 2 files \(a, b\)"),
    (members(), {}, "holds 0 files"),
    (spreadsheet(), {}, "spreadsheet"),
    (saved(BITS, other=VOLTS), {}, r"2 arrays \(other, arr_0\); say which one with column"),
    (saved(BITS, other=VOLTS), {"column": "c"}, "no array 'c'"),
    (saved(np.array([{"a": 1}], object)), {}, "not a readable npy"),
    (saved(BITS.astype(complex)), {}, "complex128"),
    (saved(VOLTS)[:-9], {}, "may be truncated"),
    (saved(np.array([1.0, np.nan, 0.0])), {"threshold": 0.5}, "value 1 is nan"),
    (saved(np.array([1.0, np.inf, 0.0])), {"threshold": "fit"}, "value 1 is inf"),
    (saved(np.array([1.0, np.nan, 0.0])), {}, "neither 0 nor 1"),
    (saved((128 + 200 * VOLTS).astype(np.uint8)), {}, "may be bytes of eight bits or measured values"),
    (saved(np.array([3, 200, 7], np.uint8)), {}, "too few to tell"),
    (saved(np.arange(100)), {"sample_type": "packed", "threshold": 3}, "have no threshold"),
    (saved(np.array([1, 300])), {"sample_type": "packed"}, "value 1 is 300, which is no byte"),
    (saved(np.column_stack([np.arange(4000.0), VOLTS, VOLTS])), {"threshold": 0}, "the first of which is time"),
    (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 5000, {}, "not a readable npy"),
    (b"MATLAB 5.0 MAT-file" + RNG.bytes(900), {}, "not a readable MATLAB file"),
    (b"\x89HDF\r\n\x1a\n" + RNG.bytes(900), {}, "not a readable HDF5 file"),
    (lambda: hdf5(a=BITS, b=BITS), {}, r"2 arrays of numbers \(a, b\)"),
    (lambda: hdf5(a=BITS), {"column": "c"}, "no data set 'c'"),
    (lambda: hdf5(name=np.bytes_("abc")), {}, "0 arrays of numbers"),
    ("[0, 1, 2]", {}, "value 2 is 2"),
    ("[0, 1, null]", {}, "is None, which is no number"),
    ('[0, 1, "a"]', {}, "is 'a', which is no number"),
    ("[0, 1", {}, "not readable JSON"),
    ("[" * 1000, {}, "levels deep"),
    ('{"a": 1}', {}, "0 lists"),
    ('{"a": [0, 1], "b": [1]}', {}, "its lists are a, b"),
    ('{"a": [0, 1]}', {"column": "b"}, "no list 'b'"),
    ("[1e400, 0]", {}, "large"),
    ("[NaN, 0]", {}, "no JSON number"),
    ("17", {"format": "json"}, "JSON"),
    ("0x1, 0x22", {"format": "hex"}, "odd number"),
    ("0a1g", {"format": "hex"}, "'g', which is no hexadecimal digit"),
    ("QUJ!QUJD", {"format": "base64"}, "no readable base64"),
    ("QUJDQ", {"format": "base64"}, "no whole number"),
    ("4,812\n5,934\n6,140\n4,733\n", {"threshold": 5}, "two whole numbers or one with a decimal comma"),
    ("0,001,4,812\n0,002,5,934\n", {"threshold": 5}, "commas between numbers and within them"),
    ("1.234,5\n2.345,6\n", {"threshold": 5}, "."),
    ("a,b,c\n1,2,3\n4,1,6\n2,8,1\n", {"threshold": 3}, r"3 columns of numbers \(a, b, c\); say which one with column"),
    ("V,V\n1,2\n4,1\n", {"threshold": 3, "column": "V"}, "2 columns 'V'"),
    (TABLE, {"threshold": 0.1, "column": "W"}, "no column 'W'; its columns are t, V"),
    (TABLE, {"threshold": 0.1, "column": 7}, "2 columns and no column 7"),
    (TABLE.replace("\n17,", "\n17;"), {"threshold": 0.1}, r"row 18 \('17;"),
    (TABLE.replace("\n3000,", "\n3000,x"), {"threshold": 0.1}, "row 3001"),
    (TABLE + "4000,\n", {"threshold": 0.1}, "row 4001"),
    (TABLE.replace("\n20,", "\n20,∞,"), {"threshold": 0.1}, "row 21"),
    (TABLE.replace("\n20,", "\n20,nan,"), {"threshold": 0.1}, "value 20 .line 22. is nan"),
    (TABLE, {"threshold": "5kohm"}, "another unit"),
    (TABLE.replace("V\n", "V (mV)\n"), {"threshold": 0.1}, "has no unit; write threshold='0.1mV'"),
    (TABLE.replace("V\n", "V (mV)\n"), {"threshold": "1V", "unit": "V"}, "says that its values are in mV"),
    (TABLE, {"threshold": "5V"}, "all 4000 values lie below the threshold of 5 V"),
    ("R (ohm)\n5000\n-3\n", {"threshold": "4k"}, "resistance 1 .line 3. is -3.0 ohm"),
    ("R\n5\n9\n", {"threshold": "7mohm", "unit": "mohm"}, "none of a junction"),
    ("0,1\n", {"delimiter": ",", "decimal": ","}, "at once"),
    ("", {}, "is empty"),
    ("# only a comment\n", {}, "."),
    ("V\n", {"threshold": 1}, "."),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_ugly_files_are_refused_in_one_line(tmp_path, monkeypatch, case):
    data, options, said = REFUSED[case]
    path = put(tmp_path, data() if callable(data) else data)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(InputError, match=said) as refused:
        RecordedSource(path, **options)
    for line in (str(refused.value), as_options(refused.value) if isinstance(refused.value, FileError) else ""):
        assert "\n" not in line
        assert "⟦" not in line
        assert len(line) < 600
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]  # no temporary file stays


@pytest.mark.parametrize(("options", "said"), [
    ({"format": "tape"}, "'tape'"), ({"bit_order": "big"}, "'big'"), ({"threshold": "five"}, "'five'"),
    ({"threshold": "5,4kohm"}, "decimal point"), ({"threshold": "5 mT"}, "no resistance"),
    ({"threshold": np.nan}, "finite"),
    ({"threshold": "1e9V"}, "no voltage of this kind"), ({"unit": "T"}, "'T'"), ({"column": -1}, "-1"),
    ({"n_cells": 0}, "at least 1"), ({"n_cells": 2.5}, "integer"), ({"skip_rows": -1}, "at least 0"),
    ({"sample_type": "int12"}, "'int12'"), ({"byte_order": "middle"}, "'middle'"), ({"delimiter": "ab"}, "'ab'"),
    ({"decimal": ";"}, "';'"),
])  # fmt: skip
def test_options_that_say_nothing_are_refused(options, said):
    with pytest.raises(InputError, match=re.escape(said)):
        FileOptions(**options)


READ = {
    "time of day": ("".join(f"12:00:{i % 60:02d}.5,{v:.4f}\n" for i, v in enumerate(VOLTS)), {}),
    "date, decimal comma": (
        "when;V\n" + "".join(f"2024-01-01 00:00:{i % 60:02d};{v:.4f}\n".replace(".", ",") for i, v in enumerate(VOLTS)),
        {}),
    "powers of ten, decimal comma": ("".join(f"{v:.6E}\n".replace(".", ",") for v in VOLTS), {}),
    "aligned": ("".join(f"   {i:6d}   {v: .5f}\n" for i, v in enumerate(VOLTS)), {}),
    "old Macintosh": ("t,V\r" + "".join(f"{i},{v:.4f}\r" for i, v in enumerate(VOLTS)), {}),
    "one row": (";".join(f"{v:.4f}".replace(".", ",") for v in VOLTS), {}),
    "row of units": ("Time,CH1\ns,mV\n" + "".join(f"{i},{1e3 * v:.3f}\n" for i, v in enumerate(VOLTS)), {}),
    "bars": ("t|V\n" + "".join(f"{i}|{v:.3f}\n" for i, v in enumerate(VOLTS)), {"delimiter": "|"}),
    "rows skipped": ("1,2\n3,4\nt,V\n" + "".join(f"{i},{v:.3f}\n" for i, v in enumerate(VOLTS)), {"skip_rows": 3}),
    "micro in latin-1": ("Spannung µV\n".encode("latin1") + "".join(f"{1e6 * v:.1f}\n" for v in VOLTS).encode(), {}),
    "JSON rows of time and volts": (json.dumps([[i, float(v)] for i, v in enumerate(VOLTS)]), {}),
    "words in gzip": (gzip.compress((1e4 * VOLTS).astype("<i2").tobytes()),
                      {"sample_type": "int16", "threshold": 1000}),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_tables_of_other_shapes_are_read(tmp_path, case):
    data, options = READ[case]
    source = RecordedSource(put(tmp_path, data), **{"threshold": "0.1V", **options})
    assert np.array_equal(bits_of(source), BITS), source.understood


def test_every_remedy_for_a_comma_works(tmp_path):
    path = put(tmp_path, "4,812\n5,934\n6,140\n4,733\n")
    assert bits_of(RecordedSource(path, threshold=5, decimal=",")).tolist() == [0, 1, 1, 0]
    assert bits_of(RecordedSource(path, threshold=800, delimiter=",", column=1)).tolist() == [1, 1, 0, 0]


def test_a_threshold_takes_any_unit_and_sign(tmp_path):
    path = put(tmp_path, TABLE.replace("V\n", "V (mV)\n"))
    for threshold in ("-20uV", "0.1mV", "100uV", "1e-4V", "0.1 mV"):
        level = {"-20uV": -20e-6}.get(threshold, 1e-4)
        source = RecordedSource(path, threshold=threshold)
        assert source.threshold == pytest.approx(level, rel=1e-12)
        assert np.array_equal(bits_of(source), 1e-3 * VOLTS > level)
    zero = RecordedSource(path, threshold=0)
    assert np.array_equal(bits_of(zero), VOLTS > 0)
    assert zero.understood.unit == "V"


@pytest.mark.parametrize(
    ("scale", "offset"), [(1.0, 0.0), (1e-3, 0.0), (-1e-6, 2e-6), (5e3, -1e5), (1e-12, 0.0), (1e200, 0.0)]
)
def test_two_populations_do_not_depend_on_origin_and_scale(scale, offset):
    found, moved = two_populations(VOLTS, "V"), two_populations(scale * VOLTS + offset, "A")
    assert moved.misread == pytest.approx(found.misread, rel=1e-6)
    assert moved.threshold == pytest.approx(scale * found.threshold + offset, abs=1e-6 * abs(scale))
    assert moved.high_share == pytest.approx(found.high_share if scale > 0 else 1 - found.high_share, rel=1e-9)


def test_symmetric_populations_around_zero():
    v = np.random.default_rng(2).normal(0, 0.05, 50_000) + np.where(np.arange(50_000) % 2, 1.0, -1.0)
    # to first order the threshold moves by half the relative difference of the two fitted spreads
    assert abs(two_populations(v, "V").threshold) < 4.5 * 0.5 * np.sqrt(2 / (2 * 25_000))


# Descriptions beside the file


@pytest.mark.parametrize("other", [
    '{"instrument": "SMU", "kind": "measurement"}', "[1, 2, 3]", "not JSON", "", "null",
    '{"kind": "recording", "who": "me"}',
    "{", '{"a": ' * 100_000,
])  # fmt: skip
def test_a_description_of_somebody_else_does_not_matter(tmp_path, other):
    path = put(tmp_path, CODES.tobytes())
    put(tmp_path, other, "x.bin.json")
    source = RecordedSource(path)
    assert np.array_equal(bits_of(source), BITS)
    assert "x.bin.json is none of ours" in str(source.understood)


def test_a_damaged_description_of_ours_is_an_error(tmp_path):
    path = tmp_path / "x.bin"
    record(PseudoSource(), path, bits=4001)
    beside = tmp_path / "x.bin.json"
    good = beside.read_text()
    for bad in (good[: len(good) // 2], good.replace('"bits"', '"bites"'), good.replace(": 1,", ": 7,", 1)):
        beside.write_text(bad)
        with pytest.raises(InputError, match="remove the description"):
            RecordedSource(path)
    beside.write_text(good)
    source = RecordedSource(path)
    assert source.bits_left == 4001
    assert source.origin["kind"] == "pseudo"
    with pytest.raises(FileError, match="highest; leave bit_order= out"):
        RecordedSource(path, bit_order="lsb")
    beside.unlink()
    assert RecordedSource(path).bits_left == 4008


@pytest.mark.parametrize("bits", [8, 16, 80])
def test_our_recordings_are_read_whatever_they_look_like(tmp_path, bits):
    path = tmp_path / "x.bin"
    record(PseudoSource(), path, bits=bits)
    for data in (b"0101010101"[: bits // 8], b"\x1f\x8b\x08abcdefg"[: bits // 8], bytes(bits // 8)):
        path.write_bytes(data)
        import hashlib

        beside = json.loads((tmp_path / "x.bin.json").read_text())
        (tmp_path / "x.bin.json").write_text(json.dumps(beside | {"sha256": hashlib.sha256(data).hexdigest()}))
        assert np.packbits(bits_of(RecordedSource(path))).tobytes() == data


# State and aliases


def test_lanes_is_the_old_name_of_n_cells(tmp_path):
    path = put(tmp_path, CODES.tobytes())
    assert RecordedSource(path, lanes=7).n_cells == RecordedSource(path, n_cells=7).lanes == 7
    with pytest.raises(InputError, match="old name of n_cells"):
        RecordedSource(path, lanes=7, n_cells=7)


def test_a_state_of_010_is_still_loaded(tmp_path):
    path = put(tmp_path, "R\n" + "".join(f"{5e3 + 4e3 * b}\n" for b in BITS), "r.csv")
    source = RecordedSource(path, threshold=7e3, lanes=2)
    state = json.loads(json.dumps(source.state_dict()))
    details = {k: v for k, v in state["provenance"]["details"].items() if k not in ("input", "threshold", "unit")}
    state["provenance"]["details"] = details | {"threshold_ohm": 7e3}
    state["position"] = 100
    source.load_state_dict(state)
    assert source.bits_left == BITS.size - 100
    state["provenance"]["details"]["threshold_ohm"] = 8e3
    with pytest.raises(InputError, match="another source"):
        source.load_state_dict(state)


def test_another_bit_order_is_another_source(tmp_path):
    path = put(tmp_path, CODES.tobytes())
    with pytest.raises(InputError, match="another source"):
        RecordedSource(path, bit_order="lsb").load_state_dict(RecordedSource(path).state_dict())


# Round trips


FORMS = {
    "packed": lambda bits: np.packbits(bits).tobytes(),
    "bytes": lambda bits: bits.tobytes(),
    "text": lambda bits: "".join(map(str, bits)).encode(),
    "hex": lambda bits: np.packbits(bits).tobytes().hex().encode(),
    "base64": lambda bits: base64.b64encode(np.packbits(bits).tobytes()),
    "json": lambda bits: json.dumps(bits.tolist()).encode(),
    "csv": lambda bits: ("bit\n" + "".join(f"{b}\n" for b in bits)).encode(),
    "npy": lambda bits: saved(bits),
}


@given(data=st.data(), form=st.sampled_from(sorted(FORMS)), squeeze=st.sampled_from([None, gzip, bz2, lzma]))
@settings(max_examples=120, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, data, form, squeeze):
    eight = form in ("packed", "hex", "base64")
    n = data.draw(st.integers(1, 60)) * 8 if eight else data.draw(st.integers(1, 300))
    bits = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)), np.uint8)
    written = FORMS[form](bits)
    path = tmp_path_factory.getbasetemp() / "round"
    if squeeze is None or form == "packed":  # which means the bytes of the file itself
        path.write_bytes(written)
    else:
        path.write_bytes(squeeze.compress(written))
    assert np.array_equal(bits_of(RecordedSource(path, format=form)), bits)


@given(st.binary(min_size=1, max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_read_or_refused_in_one_line(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    for options in (
        {},
        {"format": "csv", "threshold": 1.0},
        {"format": "json"},
        {"format": "hex"},
        {"format": "base64"},
    ):
        found = opened(path, **options)
        assert "\n" not in str(found) if isinstance(found, InputError) else found.bits_left > 0


NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: float(f"{x:.4e}"))


@given(
    values=st.lists(NUMBERS, min_size=12, max_size=60), sign=st.sampled_from([",", ";", "\t", " "]),
    decimal=st.sampled_from([".", ","]), header=st.sampled_from(["", "t{0}V\n", "made by me\n\nt{0}V\n"]),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_tables_of_any_dialect_are_read_or_refused_but_never_misread(tmp_path_factory, values, sign, decimal, header):
    if sign == decimal:
        return
    rows = (f"{i}{sign}{v:.4e}".replace(".", decimal) for i, v in enumerate(values))
    path = tmp_path_factory.getbasetemp() / "table"
    path.write_text(header.format(sign) + "\n".join(rows))
    level = sorted(values)[len(values) // 2]
    wanted = np.array(values) > level
    source = opened(path, threshold=level)
    if isinstance(source, InputError):
        assert wanted.all() or not wanted.any(), source
    else:
        assert np.array_equal(bits_of(source), wanted), source.understood


# Size


@pytest.mark.parametrize("squeeze", [gzip, bz2, lzma])
def test_a_bomb_of_a_gigabyte_is_refused_in_little_memory_and_time(tmp_path, squeeze):
    path = put(tmp_path, squeeze.compress(bytes(1 << 24)) * 64)  # members follow each other in all three
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(FileError, match="expands to more than"):
        RecordedSource(path)
    assert time.perf_counter() - start < 20
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()


def test_memory_does_not_grow_with_the_file(tmp_path):
    peaks = []
    for n in (1 << 22, 1 << 25):
        path = tmp_path / "bits.txt"
        line = DIGITS[:1023] + "\n"
        with path.open("w") as file:
            for _ in range(n // 1024):
                file.write(line)
        tracemalloc.start()
        source = RecordedSource(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert source.bits_left == n // 1024 * 1023
    assert peaks[1] < 1.2 * peaks[0] + (1 << 20)
