"""The feedback against the linear theory of its loop."""

import json

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.memory import Imperfections, Slopes
from voltaspin.noise import Feedback, MemorySource

SLOPES = Slopes(temperature=(0.02, 0.02), voltage=(0.5, 0.5), width=(0, 0), B_z=(-6, 6))


def drifting(memory, p=0.5, reset=True, period=20_000, drift=2.0, **options):
    im = Imperfections(
        slopes=SLOPES, temperature_drift=drift, drift_period=period * 50e-9, flicker=0, jitter=0, telegraph=0,
        pitch=0, read_error=0,
    )  # fmt: skip
    return MemorySource(memory=memory(p, 1 - p, rows=64, columns=64), k=1, reset=reset, imperfections=im, **options)


def ones_in_time(source, pulses):
    return np.unpackbits(source.bits(pulses * source.n_cells)).reshape(pulses, source.n_cells).mean(axis=1)


def test_a_deviation_decays_geometrically_and_leaves_the_noise_of_the_loop(memory):
    gain = 0.1
    ones = ones_in_time(Feedback(drifting(memory, p=0.53, drift=0.0), gain=gain), 3000)
    noise = np.sqrt(0.25 / 4096 * (1 + gain / (2 - gain)))  # of one pulse: shot noise and the loop's own
    early = ones[:30] - 0.5 - 0.03 * (1 - gain) ** np.arange(30)
    assert np.abs(early).max() < 4.5 * noise
    late = ones[200:] - 0.5
    # successive pulses are nearly independent; the loop's share of the variance is 5 %
    assert abs(np.mean(late**2) / noise**2 - 1) < 4.5 * np.sqrt(2 / late.size)
    # an integral controller leaves no mean: the sum of its steps is bounded by what stands on the actuator
    assert abs(late.mean()) < 4.5 * noise / (gain * late.size) * 2 + 1e-12


def test_a_drift_leaves_its_rate_over_the_gain(memory):
    gain, period = 0.1, 2000
    source = drifting(memory, period=period)
    free = ones_in_time(drifting(memory, period=period), 4000)
    held = ones_in_time(Feedback(source, gain=gain, actuator="voltage"), 4000)
    amplitude = 0.02 * 2.0 * np.sqrt(2)
    assert np.std(free) == pytest.approx(amplitude / np.sqrt(2), rel=0.05)
    left = amplitude * (2 * np.pi / period) / gain  # amplitude of the residual sine
    at = np.arange(4000) * 2 * np.pi / period
    for wave in (np.sin(at), np.cos(at)):
        # projections: their noise is that of 4000 pulses
        assert abs(2 * np.mean(held * wave)) < left + 4.5 * np.sqrt(2 / 4000) * 0.5 / 64 * 1.1
    total = np.hypot(2 * np.mean(held * np.sin(at)), 2 * np.mean(held * np.cos(at)))
    assert total == pytest.approx(left, abs=4.5 * np.sqrt(2 / 4000) * 0.5 / 64 * 1.5)


def test_without_a_reset_the_field_steers_and_the_voltage_is_refused(memory):
    held = Feedback(drifting(memory, p=0.505, reset=False, drift=0.0))
    assert held.actuator == "B_z"
    ones = ones_in_time(held, 2000)[200:]
    # what stands on the actuator bounds the sum of its 1800 steps: 2 mT at 6 per tesla and a gain of 0.05
    assert abs(ones.mean() - 0.5) < 2e-3 * 6 / 0.05 / 1800 / 10
    with pytest.raises(InputError, match="voltage moves the share of ones"):
        Feedback(drifting(memory, reset=False), actuator="voltage")


def test_an_actuator_stops_at_its_reach(memory):
    held = Feedback(drifting(memory, p=0.8, drift=0.0), actuator="voltage", gain=0.5)
    held.bits(100 * held.n_cells)
    assert held.at_its_limit
    assert abs(held.trim) == 0.2


def test_the_loop_continues_after_a_restart(memory):
    source = Feedback(drifting(memory))
    source.bits(12_345)
    again = Feedback(drifting(memory))
    again.load_state_dict(json.loads(json.dumps(source.state_dict())))
    assert np.array_equal(again.bits(50_001), source.bits(50_001))
    assert again.trim == source.trim != 0


def test_what_cannot_be_stabilised_is_refused(memory):
    for source in (MemorySource(memory=memory(), k=1), drifting(memory, p=0.5).__class__(memory=memory(), k=2)):
        with pytest.raises(InputError, match="raw bits of a simulated array"):
            Feedback(source)
    for options, said in (({"gain": 2.0}, "converge"), ({"actuator": "heat"}, "unknown")):
        with pytest.raises(InputError, match=said):
            Feedback(drifting(memory), **options)
