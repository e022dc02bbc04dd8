"""The health tests against the standard's cut-offs, a bit-by-bit oracle and their own false-alarm rate."""

import json

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.noise.health import Alarm, HealthTests, proportion_cutoff, repetition_cutoff


@pytest.mark.parametrize(("H", "rct", "apt"), [
    (1.0, (21, 41), (589, 625)), (0.9, (24, 46), (625, 661)), (0.5, (41, 81), (793, 824)),
])  # fmt: skip
def test_cutoffs_are_the_standards(H, rct, apt):
    assert tuple(repetition_cutoff(H, a) for a in (20, 40)) == rct
    assert tuple(proportion_cutoff(H, a) for a in (20, 40)) == apt


def oracle(bits, H, a, window, lanes):
    """The two tests as the standard words them, one bit at a time: (position, test) or None."""
    cut_run, cut_share = repetition_cutoff(H, a), proportion_cutoff(H, a, window)
    state = [{"last": None, "run": 0, "first": None, "count": 0, "seen": 0} for _ in range(lanes)]
    for i, b in enumerate(bits):
        c = state[i % lanes]
        c["run"] = c["run"] + 1 if b == c["last"] else 1
        c["last"] = b
        if c["seen"] % window == 0:
            c["first"], c["count"] = b, 1
        elif b == c["first"]:
            c["count"] += 1
        c["seen"] += 1
        if c["run"] >= cut_run:
            return i, "repetition count"
        if c["count"] >= cut_share:
            return i, "adaptive proportion"
    return None


@pytest.mark.parametrize("lanes", [1, 2, 7, 40, 64])
@pytest.mark.parametrize(("p", "H", "a", "window"), [
    (0.5, 1.0, 8, 64), (0.5, 1.0, 23, 64), (0.62, 1.0, 22, 128), (0.7, 1.0, 40, 512), (0.9, 0.5, 20, 1024),
    (0.5, 1.0, 10, 1000), (0.55, 1.0, 30, 1024),
])  # fmt: skip
def test_any_cutting_agrees_with_the_oracle(lanes, p, H, a, window):
    rng = np.random.default_rng([lanes, window, int(100 * p)])
    for _ in range(5):
        bits = (rng.random(40_000) < p).astype(np.uint8)
        tests, at = HealthTests(H=H, a=a, window=window, n_cells=lanes), 0
        found = None
        while at < bits.size and found is None:
            n = min(int(rng.integers(1, 9000)), bits.size - at)
            found = tests.feed(np.packbits(bits[at : at + n]), n)
            tests = restarted(tests)
            at += n
        expected = oracle(bits, H, a, window, lanes)
        assert (found and (found.position, found.test)) == expected
        if found:
            assert found.lane == found.position % lanes
            assert found.count >= found.cutoff


def restarted(tests):
    again = HealthTests(H=tests.H, a=tests.a, window=tests.window, n_cells=tests.n_cells)
    again.load_state_dict(json.loads(json.dumps(tests.state_dict())))
    return again


def test_false_alarms_are_as_rare_as_promised():
    rng = np.random.default_rng(1)
    alarms, bits = 0, 0
    for _ in range(400):
        n = 20_000
        tests = HealthTests(H=1.0, a=12, window=1024)
        found = tests.feed(rng.integers(0, 256, n // 8, dtype=np.uint8), n)
        alarms += found is not None
        bits += tests.seen
    # a run of 13 begins at a place with 2**-13 (the bit before differs); a window fails with at most 2**-12
    high = bits * 2.0**-13 + bits / 1024 * 2.0**-12
    low = bits * 2.0**-13
    assert low - 4.5 * np.sqrt(low) < alarms < high + 4.5 * np.sqrt(high)


def test_a_stuck_cell_among_many_is_named():
    lanes, rows = 1000, 60
    bits = np.random.default_rng(2).integers(0, 2, (rows, lanes)).astype(np.uint8)
    bits[10:, 321] = 1
    tests = HealthTests(H=0.9, n_cells=lanes)
    assert tests.a == pytest.approx(20 + np.log2(1000))
    found = tests.feed(np.packbits(bits), bits.size)
    assert found.test == "repetition count"
    assert found.lane == 321
    assert "cell 321" in str(found)


def test_an_alarm_stands_until_the_reset():
    tests = HealthTests(H=1.0)
    alarm = tests.feed(np.zeros(8, np.uint8), 64)
    assert alarm == Alarm("repetition count", 0, 20, 21, 21)
    good = np.random.default_rng(0).integers(0, 256, 100, dtype=np.uint8)
    assert tests.feed(good, 800) == alarm
    assert tests.to_json()["alarm"]["position"] == 20
    tests.reset()
    assert tests.feed(good, 800) is None


def test_on_demand_leaves_the_running_state_and_start_up_may_forbid_the_start():
    tests, good = HealthTests(H=0.9), np.random.default_rng(0).integers(0, 256, 200, dtype=np.uint8)
    tests.feed(good, 777)
    before = tests.state_dict()
    assert tests.on_demand(good) is None
    assert tests.on_demand(np.zeros(200, np.uint8)).test == "repetition count"
    assert tests.state_dict() == before
    assert tests.start_up(np.zeros(200, np.uint8)) is tests.alarm is not None
    with pytest.raises(InputError, match="at least 1024"):
        tests.on_demand(good, 1023)


@pytest.mark.parametrize(("act", "said"), [
    (lambda: HealthTests(H=0.0), "min-entropy"), (lambda: HealthTests(H=1.1), "min-entropy"),
    (lambda: HealthTests(H=1.0, a=0), "a = 0"), (lambda: HealthTests(H=1.0, window=10), "window"),
    (lambda: HealthTests(H=1.0, n_cells=0), "n_cells"),
    (lambda: HealthTests(H=1.0).feed(np.zeros(1, np.uint8), 9), "8 bits"),
    (lambda: HealthTests(H=1.0, n_cells=2).load_state_dict(HealthTests(H=1.0).state_dict()), "does not fit"),
])  # fmt: skip
def test_bad_input_is_refused(act, said):
    with pytest.raises(InputError, match=said):
        act()
