"""Recorded bits: the same numbers as their origin, once, in order, and not one more."""

import hashlib
import io
import json

import numpy as np
import pytest

from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.noise import PseudoSource, RecordedSource
from voltaspin.noise.recorded import write_bits


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "bits.bin"
    path.write_bytes(PseudoSource(seed=8).bits(16_000).tobytes())
    return path


def test_a_recording_of_software_bits_gives_the_software_numbers(recording):
    source, software = RecordedSource(recording), PseudoSource(seed=8, precision=16)
    assert np.array_equal(source.normal((7, 11)), software.normal((7, 11)))
    assert np.array_equal(source.bits(13), software.bits(13))
    assert np.array_equal(source.bits(700), software.bits(700))
    assert np.array_equal(source.normal(100), software.normal(100))
    assert source.ledger.totals() == {"bit": 77 * 16 + 713 + 1600, "normal": 177, "lookup": 177}
    assert source.bits_left == 16_000 - 77 * 16 - 713 - 1600


def test_running_dry_says_what_was_needed_and_hands_out_nothing(recording):
    source = RecordedSource(recording)
    source.normal(990)
    before = source.state_dict()
    with pytest.raises(NoiseExhaustedError, match="needs 176 bits and 160 of 16000 are there"):
        source.normal((11,), streams=None)
    with pytest.raises(NoiseExhaustedError, match="needs 161 bits"):
        source.bits(161)
    assert source.state_dict() == before
    assert source.normal(10).size == 10
    assert source.bits_left == 0
    with pytest.raises(NoiseExhaustedError, match="needs 1 bits and 0 of"):
        source.bits(1)


def test_numbers_come_in_the_order_of_request_and_a_step_only_once(recording):
    source, plain = RecordedSource(recording), RecordedSource(recording)
    assert not source.addressable
    first = source.normal((2, 5), streams=[4, 5], step=0)
    second = source.normal((2, 5), streams=[4, 5], step=1)
    third = source.normal((1, 5), streams=[6], step=0)  # the next image begins at its own step 0
    assert np.array_equal(np.concatenate([first, second, third]), plain.normal((5, 5)))
    before = source.bits_left
    for streams, step in (([5], 1), ([6, 4], 1), ([5], 0)):
        with pytest.raises(InputError, match=r"already drawn, and recorded, .* cannot be addressed"):
            source.normal((len(streams), 5), streams=streams, step=step)
    assert source.bits_left == before
    source.normal(3, step=2)
    with pytest.raises(InputError, match="step 2 was already drawn"):
        source.normal(3, step=2)


def test_provenance_carries_the_hash(recording):
    source = RecordedSource(recording, bits_per_sample=12)
    sha256 = hashlib.sha256(recording.read_bytes()).hexdigest()
    assert source.provenance.kind == "recorded"
    assert source.provenance.details["sha256"] == sha256
    assert sha256[:12] in source.provenance.description
    assert str(recording.parent) not in json.dumps(source.provenance.to_json())


def test_state_continues_and_belongs_to_one_recording(recording, tmp_path):
    source = RecordedSource(recording, transform="popcount", bits_per_sample=8)
    source.normal((1, 7), streams=[2], step=3), source.bits(3)
    state = json.loads(json.dumps(source.state_dict()))
    expected = source.normal(20)
    again = RecordedSource(recording, transform="popcount", bits_per_sample=8)
    again.load_state_dict(state)
    assert np.array_equal(again.normal(20), expected)
    with pytest.raises(InputError, match="already drawn"):
        again.normal((1, 7), streams=[2], step=3)
    other = tmp_path / "other" / "bits.bin"
    other.parent.mkdir()
    other.write_bytes(bytes(2000))
    with pytest.raises(InputError, match="another source"):
        RecordedSource(other, transform="popcount", bits_per_sample=8).load_state_dict(state)


def test_a_file_that_cannot_serve_is_refused(tmp_path, recording):
    empty = tmp_path / "empty.bin"
    empty.touch()
    for path, said in (
        (empty, "is empty"),
        (tmp_path / "none.bin", "is not a file"),
        (tmp_path, "is not a file"),
    ):
        with pytest.raises(InputError, match=said):
            RecordedSource(path)
    with pytest.raises(InputError, match="transform 'box'"):
        RecordedSource(recording, transform="box")
    source = RecordedSource(recording)
    recording.write_bytes(bytes(10))
    with pytest.raises(InputError, match="became shorter"):
        source.bits(100)


@pytest.mark.parametrize("at_once", [1, 13, 2014, 4096])
def test_bits_are_written_without_gaps_however_many_come_at_once(at_once):
    class Slow(PseudoSource):
        @property
        def bits_at_once(self):
            return at_once

    file = io.BytesIO()
    assert write_bits(Slow(seed=3), file, count=10_001) == 10_001
    assert file.getvalue() == PseudoSource(seed=3).bits(10_001).tobytes()
