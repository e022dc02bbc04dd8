"""Nothing leaves a source after an alarm."""

import json

import numpy as np
import pytest

from voltaspin.core.errors import NoiseHealthError
from voltaspin.noise import HealthChecked, MemorySource, PseudoSource, RecordedSource


@pytest.fixture
def stuck(tmp_path):
    """Factory: a recording of good bits that sticks at a bit."""

    def build(good, after=4000):
        bits = np.unpackbits(PseudoSource(seed=3).bits(good + after))
        bits[good:] = 1
        file = tmp_path / "stuck.bin"
        file.write_bytes(np.packbits(bits).tobytes())
        return RecordedSource(file)

    return build


def test_good_bits_pass_unchanged_after_the_start_up():
    checked, plain = HealthChecked(PseudoSource(seed=1)), PseudoSource(seed=1)
    plain.bits(1024)
    for n in (1, 1000, 77, 40_000):
        assert np.array_equal(checked.bits(n), plain.bits(n))
    assert checked.can_alarm
    assert not plain.can_alarm
    assert checked.alarm is None


def test_an_alarm_stops_everything_until_a_reset(stuck):
    checked = HealthChecked(stuck(8000))
    checked.bits(6000)
    for _ in range(2):
        with pytest.raises(NoiseHealthError, match="repetition count: 24 equal bits"):
            checked.bits(2000)
        with pytest.raises(NoiseHealthError, match=r"reset\(\)"):
            checked.normal(1)
    assert checked.ledger.counts["bit"] == 6000  # what was not handed out is not counted
    checked.reset()
    with pytest.raises(NoiseHealthError):  # the start-up test finds it still stuck
        checked.bits(1)


def test_the_start_up_test_forbids_a_dead_source(stuck):
    with pytest.raises(NoiseHealthError):
        HealthChecked(stuck(0)).bits(1)


def test_a_test_on_demand_raises_the_alarm_too(stuck):
    checked = HealthChecked(stuck(4000))
    checked.bits(1000)
    assert checked.on_demand() is None
    assert checked.on_demand() is not None
    with pytest.raises(NoiseHealthError):
        checked.bits(1)


def test_every_cell_of_an_array_is_watched(memory):
    array = memory(0.5, 0.5, rows=32, columns=32)
    checked = HealthChecked(MemorySource(memory=array, k=1), H=0.9)
    assert checked.n_cells == 1024
    assert checked.tests.a == 30
    assert checked.bits(100 * 1024).size == 100 * 128


def test_the_watch_continues_after_a_restart(stuck):
    one, other = HealthChecked(stuck(8000)), HealthChecked(stuck(8000))
    one.bits(6960)  # with the start-up 7984: sixteen good bits are left, and a few of their end belong to the run
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for checked in (one, other):
        with pytest.raises(NoiseHealthError):
            checked.bits(100)
    assert one.alarm == other.alarm


def test_the_start_up_counts_against_what_a_recording_holds(stuck):
    checked = HealthChecked(stuck(8000, after=0))
    assert checked.bits_left == 8000 - 1024
    checked.bits(6000)
    assert checked.bits_left == 976
