"""What was recorded is drawn again, number by number, also by another process."""

import json

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.noise import MemorySource, PseudoSource, RecordedSource, SystemSource, record


@pytest.mark.parametrize("make", [
    lambda memory: MemorySource(memory=memory(0.4, 0.5, slope=0.5), seed=2), lambda memory: PseudoSource(precision=16),
    lambda memory: SystemSource(),
])  # fmt: skip
def test_a_recording_replays_its_source_and_knows_its_origin(tmp_path, memory, make):
    source = make(memory)
    source.bits(1000)
    file = tmp_path / "bits.bin"
    recorded = record(source, file, bits=100_001)
    assert recorded.bits_left == 100_001
    assert recorded.provenance.details["origin"]["kind"] == source.provenance.kind
    assert source.provenance.description in recorded.provenance.description
    first = recorded.normal((2, 300))
    state = json.loads(json.dumps(recorded.state_dict()))
    second = recorded.normal(500)
    again = RecordedSource(file)
    assert np.array_equal(again.normal((2, 300)), first)
    restarted = RecordedSource(file)
    restarted.load_state_dict(state)
    assert np.array_equal(restarted.normal(500), second)
    if source.addressable:
        twin = make(memory)
        twin.bits(1000)
        assert np.array_equal(twin.normal((2, 300)), first)


def test_a_changed_recording_is_refused(tmp_path):
    file = tmp_path / "bits.bin"
    record(PseudoSource(), file, bits=4000)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(InputError, match="changed or cut"):
        RecordedSource(file)


def test_an_interrupt_leaves_what_was_there(tmp_path):
    file = tmp_path / "bits.bin"
    record(PseudoSource(), file, bits=4000)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record(PseudoSource(seed=1), file, bits=8000, progress=interrupt)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_what_cannot_be_recorded_is_refused(tmp_path):
    short = record(PseudoSource(), tmp_path / "short.bin", bits=10)
    for source, path, bits, said in (
        (short, tmp_path / "a", 11, "10 bits left"), (PseudoSource(), tmp_path / "no" / "a", 8, "folder"),
        (PseudoSource(), tmp_path / "a", 0, "at least 1 bit"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            record(source, path, bits=bits)
