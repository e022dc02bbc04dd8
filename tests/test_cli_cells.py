"""``voltaspin cells``, ``--leave-out`` and ``spec`` by cell, as a user calls them."""

import json
import os
import threading

import numpy as np
import pytest

from voltaspin.cli.app import main
from voltaspin.noise import CellExamination, RecordedSource
from voltaspin.requirements.bits import judge_bits
from voltaspin.requirements.cells import cell_criteria, extreme_of
from voltaspin.requirements.specification import NoiseSpecification


def outcome(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return done.value.code, out, err


def call(capsys, *arguments):
    code, out, err = outcome(capsys, *arguments)
    assert code == 0, err
    return out


def refused(capsys, *arguments):
    code, out, err = outcome(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    return err


@pytest.fixture(scope="module")
def array():
    """2,000 rounds of 64 cells: one dead, one biased; flat."""
    bits = np.random.default_rng(2).integers(0, 2, (2000, 64), dtype=np.uint8)
    bits[:, 5] = 0
    bits[:, 40] = np.random.default_rng(3).random(2000) < 0.7
    return bits


@pytest.fixture
def file(tmp_path, array):
    path = tmp_path / "lab.bin"
    path.write_bytes(np.packbits(array).tobytes())
    return path


def test_from_a_recording_to_the_bits_of_its_good_cells(capsys, tmp_path, array, file):
    out, figure, clean = tmp_path / "cells.json", tmp_path / "map.png", tmp_path / "clean.bin"
    text = call(capsys, "cells", file, "--n-cells", 64, "--out", out, "--figure", figure)
    assert "2 of 64 cells: 5,40" in text
    assert "the specification of a noise device" in text
    assert figure.read_bytes().startswith(b"\x89PNG")
    found = CellExamination.load(out)
    assert found.by_reason()["stuck"] == (5,)
    assert (found.rows, found.columns, found.input["bits"]) == (8, 8, 128_000)
    call(capsys, "bits", file, "--leave-out", out, "--out", clean)
    kept = np.delete(array, [5, 40], axis=1).ravel()
    assert np.array_equal(np.unpackbits(np.fromfile(clean, np.uint8), count=kept.size), kept)
    listed = tmp_path / "listed.bin"
    call(capsys, "bits", file, "--n-cells", 64, "--leave-out", "5,40", "--count", 100, "--out", listed)
    assert np.array_equal(np.unpackbits(np.fromfile(listed, np.uint8), count=100), kept[:100])
    data = json.loads(call(capsys, "randomness", file, "--leave-out", out, "--json"))
    assert data["whole"]["n_cells"] == 62
    assert "2 of 64 cells left out" in data["input"]["sentence"]
    assert data["noise"]["details"]["left_out"]["file"] == "cells.json"
    _, _, err = outcome(capsys, "bits", file, "--leave-out", out, "--count", 8, "--out", tmp_path / "few.bin")
    assert "62 kept" in err
    recorded = RecordedSource(clean, n_cells=62)
    assert "2 of 64 cells left out" in recorded.origin["description"]


def test_limits_are_the_users_where_they_are_given(capsys, file):
    data = json.loads(call(
        capsys, "cells", file, "--n-cells", 64, "--max-bias", "0.3", "--min-entropy", "0.7", "--false-alarm", "5%",
        "--rows", 4, "--json",
    ))  # fmt: skip
    assert data["kind"] == "cell-examination"
    assert (data["rows"], data["columns"]) == (4, 16)
    criteria = data["criteria"]
    assert (criteria["max_bias"], criteria["min_entropy"], criteria["false_alarm"]) == (0.3, 0.7, 0.05)
    assert criteria["max_correlation"] == pytest.approx(0.0911, abs=1e-4)
    assert "max bias" in criteria["origin"]
    assert data["left_out"] == [5, 40]
    assert data["why"] == [["stuck"], ["entropy"]]


def test_a_stream_and_a_simulated_array_are_examined(capsys, tmp_path, array):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    thread = threading.Thread(target=lambda: path.write_bytes(np.packbits(array).tobytes()), daemon=True)
    thread.start()
    data = json.loads(call(
        capsys, "cells", path, "--file-format", "packed", "--n-cells", 64, "--bits", 128_000, "--json",
        "--record", tmp_path / "kept.bin",
    ))  # fmt: skip
    thread.join()
    assert data["left_out"] == [5, 40]
    again = json.loads(call(capsys, "cells", tmp_path / "kept.bin", "--n-cells", 64, "--json"))
    assert again["ones"] == data["ones"]
    assert "65536 cells" in call(capsys, "cells", "--source", "memory", "--raw", "--bits", "300k")


LAB = ("lab.bin", "--n-cells", "64")


@pytest.mark.parametrize(("arguments", "said"), [
    (["cells"], "either a file"), (["cells", "lab.bin", "--source", "memory"], "either a file"),
    (["cells", "none.bin"], "not a file"),
    (["cells", "lab.bin", "--n-cells", "100000"], "too few for --n-cells 100000"),
    (["cells", "lab.bin", "--n-cells", "0"], "--n-cells 0"), (["cells", *LAB, "--rows", "7"], "--rows 7"),
    (["cells", *LAB, "--max-bias", "0.6"], "--max-bias"),
    (["cells", *LAB, "--battery", "64"], "no cell of the 64"),
    (["cells", *LAB, "--battery", "a"], "--battery"),
    (["cells", *LAB, "--bits", "128001"], "128001"),
    (["cells", "--source", "memory"], "--bits"), (["cells", "lab.bin", "--leave-out", "3"], "--leave-out"),
    (["bits", *LAB, "--leave-out", "0-63", "--out", "o.bin"], "--leave-out leaves none"),
    (["bits", *LAB, "--leave-out", "64", "--out", "o.bin"], "--leave-out 64 is no cell of --n-cells 64"),
    (["bits", "lab.bin", "--leave-out", "3", "--out", "o.bin"], "--leave-out needs --n-cells"),
    (["bits", "--out", "o.bin"], "needs --count"), (["bits", "/dev/zero", "--out", "o.bin"], "needs --count"),
    (["bits", *LAB, "--condition", "von-neumann", "--out", "o.bin"], "needs --count"),
    (["spec", "--bits", "/dev/zero"], "say with --bits"),
    (["spec", "--bits", *LAB, "--count", "128001"], "--bits 128001"),
    (["spec", "--junction", "generator", "--count", "5"], "--bits and --force belong"),
    (["spec", "--junction", "generator", "--record", "r.bin"], "--record"),
    (["cells", *LAB, "--out", "."], "is a folder"),
    (["cells", *LAB, "--out", "x.json", "--figure", "x.json"], "x.json"),
])  # fmt: skip
def test_bad_requests_are_one_line(capsys, monkeypatch, tmp_path, file, arguments, said):
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, *arguments)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lab.bin"]


# -- the specification ---------------------------------------------------------------------------------------------


def rows_of(verdict, treatment="raw"):
    return {r.axis: r for r in verdict.of(treatment)}


def fair(rounds, cells, seed=1):
    return np.random.default_rng(seed).integers(0, 2, (rounds, cells), dtype=np.uint8)


def test_limits_for_leaving_out_are_those_of_the_specification():
    spec = NoiseSpecification.shipped()
    criteria = cell_criteria(spec)
    assert criteria.max_bias == criteria.max_drift == spec.limit("spread-fixed", "raw").value
    assert criteria.max_correlation == spec.limit("correlation", "raw").value
    assert criteria.min_entropy is None


def test_the_extreme_of_normal_cells_is_the_median_of_simulated_ones():
    z = np.abs(np.random.default_rng(1).standard_normal((4000, 100))).max(axis=1)
    assert abs(np.mean(z < extreme_of(100)) - 0.5) < 4 * 0.5 / np.sqrt(4000)
    assert extreme_of(1) == pytest.approx(0.6745, abs=1e-4)  # the quartile of a normal


def test_one_dead_cell_of_many_fails_where_the_spread_of_all_does_not():
    spec, bits = NoiseSpecification.shipped(), fair(1200, 1024)
    good = judge_bits(spec, bits.ravel(), n_cells=1024)
    assert "worst-cell-correlation (raw) cannot be judged with 1200 bits a cell" in str(good)
    assert not [r for r in good.rows if r.said == "fails"]
    bits[:, 300] = 1
    found = judge_bits(spec, bits.ravel(), n_cells=1024)
    row = rows_of(found)["worst-cell-bias"]
    assert row.said == "fails"
    assert row.amplitude == pytest.approx(0.5 / extreme_of(1024), rel=1e-3)
    assert rows_of(found)["spread-fixed"].said != "fails"
    assert "fails on worst-cell-bias" in found.sentence("raw")
    assert found.to_json()["unjudged"]


@pytest.mark.slow
def test_an_array_that_keeps_the_limit_of_the_spread_keeps_that_of_its_worst_cell():
    """Normal biases of 0.01, surely tolerated: the worst of 256 cells is at 0.03, near the limit of the spread."""
    spec = NoiseSpecification.shipped()
    own = 0.5 + 0.01 * np.random.default_rng(7).standard_normal(256)
    bits = (np.random.default_rng(8).random((16_000, 256)) < own).astype(np.uint8)
    found = rows_of(judge_bits(spec, bits.ravel(), n_cells=256))
    assert abs(own - 0.5).max() > 0.025
    assert found["worst-cell-bias"].said == found["spread-fixed"].said == "meets"


def test_a_wrong_number_of_cells_is_in_doubt():
    """Seen as 63 cells, 64 cells of different bias look alike: their spread is gone, and the period says why."""
    spec = NoiseSpecification.shipped()
    own = 0.5 + 0.09 * np.random.default_rng(7).standard_normal(64)
    bits = (np.random.default_rng(8).random((20_000, 64)) < own).astype(np.uint8).ravel()
    wrong = judge_bits(spec, bits, n_cells=63)
    assert rows_of(wrong)["spread-fixed"].high < 0.01
    assert "n_cells = 63 is probably wrong" in (said := " ".join(wrong.unjudged))
    assert "64 fits" in said
    right = judge_bits(spec, bits, n_cells=64)
    assert rows_of(right)["spread-fixed"].said == "fails"
    assert not any("doubt" in text for text in right.unjudged)
    for treatment in ("raw", "xor"):
        assert rows_of(wrong, treatment)["number-of-cells"].said == "undecided"
        assert not wrong.to_json()["treatments"][treatment]["meets"]
        assert "number-of-cells" not in rows_of(right, treatment)


def test_the_bits_that_are_said_to_be_needed_are_enough_for_ideal_cells():
    spec = NoiseSpecification.shipped()
    few = judge_bits(spec, fair(84_000, 16).ravel(), n_cells=16)
    assert not few.unjudged
    assert rows_of(few)["worst-cell-correlation"].said == "meets"


@pytest.mark.slow
def test_spec_takes_a_stream(capsys, tmp_path):
    path, kept = tmp_path / "fifo", tmp_path / "kept.bin"
    os.mkfifo(path)
    data = np.packbits(fair(19_000, 64)).tobytes()
    thread = threading.Thread(target=lambda: path.write_bytes(data), daemon=True)
    thread.start()
    options = ("--n-cells", 64, "--json", "--count", 19_000 * 64)
    first = json.loads(call(capsys, "spec", "--bits", path, "--file-format", "packed", *options, "--record", kept))
    thread.join()
    again = json.loads(call(capsys, "spec", "--bits", kept, *options))
    assert first["rows"] == again["rows"]
    assert first["input"]["stream"] == "fifo"
    assert {"worst-cell-bias", "worst-cell-correlation"} <= {r["axis"] for r in first["rows"]}
