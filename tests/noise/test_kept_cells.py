"""Cells left out of recordings and streams: the bits are those of numpy's selection, and everything else knows it."""

import os
import threading

import numpy as np
import pytest

from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.noise import CellCriteria, HealthChecked, RecordedSource, StreamSource, Xor, build, examine_cells

N, OUT = 23, (3, 7, 8, 22)
BITS = np.random.default_rng(6).integers(0, 2, 23 * 400 + 11, dtype=np.uint8)
KEPT = BITS[~np.isin(np.arange(BITS.size) % N, OUT)]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lab.txt"
    path.write_text("".join(map(str, BITS)))
    return path


@pytest.fixture
def cells_file(tmp_path, file):
    bits = BITS[: 23 * 400].reshape(400, 23).copy()
    bits[:, list(OUT)] = 1
    (tmp_path / "dead.bin").write_bytes(np.packbits(bits).tobytes())
    found = examine_cells(RecordedSource(tmp_path / "dead.bin", n_cells=N), criteria=CellCriteria())
    assert found.left_out == OUT
    found.save(tmp_path / "cells.json")
    return tmp_path / "cells.json"


def drawn(source, sizes):
    return np.concatenate([np.unpackbits(source.bits(n), count=n) for n in sizes])


@pytest.mark.parametrize("leave_out", [OUT, "3,7-8,22", "22+7+8+3", " 3, 7 - 8 ,22", np.array(OUT)])
@pytest.mark.parametrize("sizes", [(1,) * 50, (0, 7, 1000, 8, 13, 4096), (64, 64, 64)])
def test_a_recording_hands_out_the_bits_of_the_cells_that_are_kept(file, leave_out, sizes):
    source = RecordedSource(file, n_cells=N, leave_out=leave_out)
    assert source.n_cells == 19
    assert source.bits_left == KEPT.size
    assert np.array_equal(drawn(source, sizes), KEPT[: sum(sizes)])
    assert source.bits_left == KEPT.size - sum(sizes)


def test_a_recording_is_read_to_its_end_and_goes_back_to_where_it_was(file):
    source = RecordedSource(file, n_cells=N, leave_out=OUT)
    drawn(source, [101])
    state = source.state_dict()
    rest = drawn(source, [KEPT.size - 101])
    assert np.array_equal(rest, KEPT[101:])
    with pytest.raises(NoiseExhaustedError, match=f"0 of {KEPT.size} are there"):
        source.bits(1)
    again = RecordedSource(file, n_cells=N, leave_out=OUT)
    again.load_state_dict(state)
    assert np.array_equal(drawn(again, [50]), KEPT[101:151])
    with pytest.raises(InputError, match="another source"):
        RecordedSource(file, n_cells=N, leave_out=(3,)).load_state_dict(state)
    assert RecordedSource(file, n_cells=N, leave_out=range(22)).bits_left == BITS[22::N].size


def test_the_provenance_and_the_line_say_it(file, cells_file):
    source = RecordedSource(file, leave_out=cells_file)
    assert source.provenance.details["left_out"] == {"n_cells": 23, "cells": "3,7-8,22", "file": "cells.json"}
    assert source.provenance.details["lanes"] == 19
    assert "4 of 23 cells left out (3,7-8,22, by cells.json)" in source.provenance.description
    assert str(source.understood).endswith("4 of 23 cells left out (3,7-8,22, by cells.json), 19 kept")
    assert np.array_equal(drawn(source, [500]), KEPT[:500])


def test_further_cells_may_be_named_behind_a_file(file, cells_file):
    source = RecordedSource(file, leave_out=f"{cells_file},0,21")
    assert np.array_equal(drawn(source, [300]), BITS[~np.isin(np.arange(BITS.size) % N, (0, 21, *OUT))][:300])
    with pytest.raises(InputError, match="no cell of n_cells=23"):
        RecordedSource(file, leave_out=f"{cells_file},23")


def test_a_file_that_leaves_none_out_still_says_how_many_cells_there_are(tmp_path, file):
    (tmp_path / "good.bin").write_bytes(np.packbits(BITS).tobytes())
    examine_cells(RecordedSource(tmp_path / "good.bin", n_cells=N)).save(tmp_path / "none.json")
    source = RecordedSource(file, leave_out=tmp_path / "none.json")
    assert source.n_cells == N
    assert np.array_equal(drawn(source, [BITS.size]), BITS)
    assert "no cell of 23 left out, by none.json" in str(source.understood)


def test_stages_behind_it_see_the_cells_that_are_kept(file):
    source = RecordedSource(file, n_cells=N, leave_out=(0, *OUT))
    kept = BITS[~np.isin(np.arange(BITS.size) % N, (0, *OUT))]
    made = Xor(source, k=2)
    assert made.n_cells == 9
    whole = kept[: kept.size // 144 * 144].reshape(-1, 2, 9)
    n = 9 * 16 * 4
    assert np.array_equal(drawn(made, [n]), (whole[:, 0] ^ whole[:, 1]).ravel()[:n])
    assert HealthChecked(RecordedSource(file, n_cells=N, leave_out=OUT), H=0.5).tests.n_cells == 19
    text = build(f"recorded:{file},n_cells=23,leave_out=3+7-8+22")
    assert np.array_equal(drawn(text, [99]), KEPT[:99])


def fed(path, data, *, stays=False):
    os.mkfifo(path)

    def write():
        with path.open("wb", buffering=0) as out:
            for at in range(0, len(data), 1000):
                out.write(data[at : at + 1000])

    threading.Thread(target=write, daemon=True).start()
    return str(path)


@pytest.mark.parametrize("form", ["packed", "text"])
def test_a_stream_does_the_same_and_its_recording_has_every_bit(tmp_path, form):
    data = "".join(map(str, BITS)).encode() if form == "text" else np.packbits(BITS).tobytes()
    record = tmp_path / "kept.bin"
    source = StreamSource(
        fed(tmp_path / "fifo", data), format=form, n_cells=N, leave_out=OUT, record=record, timeout=20
    )
    taken = drawn(source, (1, 30, 500, 2000))
    assert np.array_equal(taken, KEPT[:2531])
    assert source.n_cells == 19
    assert source.provenance.details["left_out"]["cells"] == "3,7-8,22"
    source.close()
    again = RecordedSource(record, n_cells=N, leave_out=OUT)
    assert again.bits_left == 2531
    assert np.array_equal(drawn(again, [2531]), taken)
    every = RecordedSource(record, n_cells=N)
    assert every.bits_left == 133 * 23 + 5  # 2,531 are 133 rounds of 19 and the cells 0, 1, 2 and 4
    assert np.array_equal(drawn(every, [133 * 23 + 5]), BITS[: 133 * 23 + 5])
    assert "left out" not in every.origin["description"]


def test_what_arrived_before_a_stream_ended_is_kept(tmp_path):
    text = "".join(map(str, BITS[:1000])).encode()
    source = StreamSource(fed(tmp_path / "fifo", text), format="text", n_cells=N, leave_out=OUT, timeout=0.5)
    kept = KEPT[: np.count_nonzero(~np.isin(np.arange(1000) % N, OUT))]
    with pytest.raises(NoiseExhaustedError, match=f"{kept.size} are left"):
        source.bits(5000)
    packed, n = source.rest()
    assert np.array_equal(np.unpackbits(packed, count=n), kept)


@pytest.mark.parametrize(("leave_out", "n_cells", "said"), [
    (range(23), 23, "leaves none of the 23 cells"), ("0-22", 23, "leaves none"), ([23], 23, "leave_out=23 is no cell"),
    ("40-47", 23, "leave_out=40 is no cell of n_cells=23; give cells from 0 to 22"), ([-1], 23, "leave_out=-1"),
    ("3,x", 23, "neither a list of cells such as 3,17,40-47 nor"), ("3,,4", 23, "'' is no cell"),
    ("7-3", 23, "'7-3' is no cell and no range"), ("3", None, "needs n_cells="), ([2.5], 23, "whole numbers"),
    ([True], 23, "whole numbers"), ("missing.json", 23, "'missing.json' is neither"),
    ("1-99999999999", 23, "2\\*\\*24"),
    ("3", 1, "leave_out=3 is no cell of n_cells=1"), ("0", 1, "leaves none of the 1 cells"),
])  # fmt: skip
def test_what_cannot_be_left_out_is_refused(file, leave_out, n_cells, said):
    with pytest.raises(InputError, match=said):
        RecordedSource(file, n_cells=n_cells, leave_out=leave_out)


def test_a_file_of_other_cells_or_of_another_kind_is_refused(file, cells_file, tmp_path):
    with pytest.raises(InputError, match="is of 23 cells and n_cells=24"):
        RecordedSource(file, n_cells=24, leave_out=cells_file)
    (tmp_path / "other.json").write_text('{"kind": "bits", "schema_version": 1}')
    with pytest.raises(InputError, match="'bits' version 1, not 'cell-examination'"):
        RecordedSource(file, n_cells=23, leave_out=tmp_path / "other.json")
    (tmp_path / "none.json").write_text("[3, 7")
    with pytest.raises(InputError, match=r"none\.json"):
        RecordedSource(file, n_cells=23, leave_out=tmp_path / "none.json")
