"""Waveforms with known answers: telegraph signals of known rates, known bits, and known overlaps."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, norm

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.device import Junction, flip_rate
from voltaspin.noise import RecordedSource
from voltaspin.noise.waveform import (
    Clock,
    Sampling,
    States,
    Trace,
    find_levels,
    read_waveform,
    sample_bits,
    telegraph_statistics,
)
from voltaspin.noise.waveform.dwell import exponential_test
from voltaspin.noise.waveform.kernels import resolved

STEP = 1e-6


def changes(r01, r10, duration, rng):
    """Times at which a telegraph signal of these rates [1/s] changes, in equilibrium, and its first state."""
    first = int(rng.random() < r01 / (r01 + r10))
    n = int(1.5 * duration / (1 / r01 + 1 / r10) + 50)
    dwells = np.empty(2 * n)
    dwells[first::2], dwells[1 - first :: 2] = rng.exponential(1 / r01, n), rng.exponential(1 / r10, n)
    times = np.cumsum(dwells)
    assert times[-1] > duration
    return times[times < duration], first


def telegraph(r01, r10, n, rng):
    """The same at n samples: an exact process, seen at its samples."""
    times, first = changes(r01, r10, n * STEP, rng)
    return ((np.searchsorted(times, np.arange(n) * STEP, side="right") + first) % 2).astype(np.uint8)


def states_of(bits):
    """States of a signal without noise."""
    edges = np.flatnonzero(np.diff(bits)) + 1
    counts = np.zeros((16, 2), np.int64)
    stretch = np.minimum(np.arange(bits.size) // -(-bits.size // 16), 15)
    np.add.at(counts, (stretch, bits), 1)
    return States(edges, int(bits[0]), 0, bits.size, STEP, counts, np.zeros((16, 2)))


def saved(tmp_path, values, name="trace.npy"):
    path = tmp_path / name
    np.save(path, values)
    return path


def band(n, p=0.95):
    """Counts out of n that a probability p gives but once in a thousand."""
    return binom.ppf(5e-4, n, p), binom.ppf(1 - 5e-4, n, p)


# --- rates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("r01", "r10", "dead"), [(2e4, 1e4, 0), (1.5e5, 1e5, 0), (2e4, 2e3, 0), (2e4, 1e4, 8e-6), (3e4, 5e4, 5e-6)]
)
def test_intervals_cover_the_rates(r01, r10, dead):
    """Slow and fast sampling, and a dead time: exact intervals cover more than they say, and less by chance."""
    rng = np.random.default_rng(int(r01 + dead * 1e7))
    repeats, hits = 400, np.zeros(5, int)
    for _ in range(repeats):
        found = telegraph_statistics(states_of(telegraph(r01, r10, 20_000, rng)), dead_time=dead)
        truth = (r01, r10, r01 + r10, r01 / (r01 + r10), math.log(r10 / r01))
        seen = (found.low.rate, found.high.rate, found.relaxation, found.occupancy, found.energy)
        hits += [e.low <= t <= e.high for e, t in zip(seen, truth, strict=True)]
    low, _ = band(repeats)
    # conservative by one exit: an interval of n exits covers up to that of n + 1, some 1.5 % at 100
    _, high = band(repeats, 0.975)
    # the occupancy has the normal interval of a dependent signal, whose level holds for many dwells only
    assert hits[[0, 1, 2, 4]].min() >= low, hits
    assert hits[3] >= binom.ppf(5e-4, repeats, 0.93), hits
    assert hits[:2].max() <= high, hits


def test_dwells_between_samples_are_counted_as_missed():
    """Against the process itself: the share of dwells on which no sample falls."""
    rng = np.random.default_rng(5)
    r01, r10, n = 3e5, 1e5, 400_000
    times, first = changes(r01, r10, n * STEP, rng)
    touched = np.unique(np.searchsorted(times, np.arange(n) * STEP, side="right"))
    of = np.arange(times.size + 1)
    missed = ~np.isin(of, touched)
    found = telegraph_statistics(states_of(telegraph(r01, r10, n, np.random.default_rng(5))))
    for part, state in ((found.low, 0), (found.high, 1)):
        mine = (of + first) % 2 == state
        share, count = missed[mine].mean(), int(mine.sum())
        # both are estimates: the share of so many dwells, and a rate known to its interval
        tolerance = 4 * math.sqrt(share * (1 - share) / count) + share * (part.rate.high / part.rate.low - 1) / 2
        assert part.missed == pytest.approx(share, abs=tolerance)


def test_joined_dwells_follow_the_definition():
    rng = np.random.default_rng(2)
    for least in (1, 2, 3, 5):
        bits = (rng.random(400) < 0.4).astype(np.uint8)
        runs = []
        for bit in bits:
            if runs and runs[-1][0] == bit:
                runs[-1][1] += 1
            else:
                runs.append([bit, 1])
        expected, at, state = [], 0, None
        for bit, length in runs:
            if length >= least and bit != state:
                if state is not None:
                    expected.append(at)
                state = bit
            at += length
        edges = np.flatnonzero(np.diff(bits)) + 1
        out = np.empty_like(edges)
        n, turned, _ = resolved(edges, 0, bits.size, least, out)
        # a run at the end is cut; the reference above judges it by what is seen of it too
        assert out[:n].tolist() == expected
        first = next(bit for bit, length in runs if length >= least)
        assert int(bits[0]) ^ turned == first


def test_the_exponential_law_is_rejected_at_its_level_and_other_laws_always():
    rng = np.random.default_rng(8)
    repeats = 1500
    for n in (30, 300):
        p = np.array([exponential_test(np.ceil(rng.exponential(200, n)).astype(int))[1] for _ in range(repeats)])
        for level in (0.01, 0.05, 0.2):
            low, high = band(repeats, level)
            # the table is of many dwells and of no samples: a tenth of the level at 30 dwells
            assert low - 0.1 * level * repeats <= np.count_nonzero(p < level) <= high, (n, level)
    coarse = [exponential_test(rng.geometric(0.4, 300))[1] for _ in range(repeats)]
    assert np.count_nonzero(np.array(coarse) < 0.05) <= band(repeats, 0.05)[1]
    gamma = np.ceil(rng.gamma(2.0, 100, 300)).astype(int)
    mixed = np.ceil(rng.exponential(np.where(rng.random(300) < 0.5, 20, 400))).astype(int)
    assert max(exponential_test(gamma)[1], exponential_test(mixed)[1]) == pytest.approx(0.001)


def test_rates_of_a_low_barrier_follow_flip_rate(tmp_path):
    """A junction whose wells differ: noise, hysteresis and sampling on the two-state process at its rates."""
    junction = Junction.of("generator").with_variation(K_eff_scale=6 / Junction.of("generator").Delta())
    cell = replace(junction, B_bias=(0.0, 0.0, 2e-3))
    out_of_up, out_of_down = flip_rate(cell, well="up"), flip_rate(cell, well="down")
    step = 0.02 / max(out_of_up, out_of_down)
    rng = np.random.default_rng(3)
    bits = telegraph(out_of_up * step / STEP, out_of_down * step / STEP, 400_000, rng)
    values = np.where(bits, 8e3, 5e3) + 250 * rng.standard_normal(bits.size)
    found = read_waveform(saved(tmp_path, values), sample_rate=1 / step, unit="ohm").telegraph
    for part, rate in ((found.low, out_of_up), (found.high, out_of_down)):
        std = (part.rate.high - part.rate.low) / 3.92
        assert part.rate.value == pytest.approx(rate, abs=4 * std)
        assert part.p_exponential > 1e-3
    std = (found.energy.high - found.energy.low) / 3.92
    assert found.energy.value == pytest.approx(math.log(out_of_down / out_of_up), abs=4 * std)


def test_steady_rates_are_rejected_at_the_level_of_their_test():
    rng = np.random.default_rng(0)
    p = [telegraph_statistics(states_of(telegraph(2e4, 1e4, 20_000, rng))).drift.p_rates for _ in range(400)]
    low, high = band(400, 0.05)
    assert low <= np.count_nonzero(np.array(p) < 0.05) <= high


def test_a_drift_of_the_rates_is_seen():
    rng = np.random.default_rng(4)
    steady = telegraph(2e4, 1e4, 200_000, rng)
    drifting = np.concatenate([telegraph(2e4 * (1 + i / 4), 1e4, 50_000, rng) for i in range(4)])
    assert telegraph_statistics(states_of(steady)).drift.p_rates > 1e-3
    assert telegraph_statistics(states_of(drifting)).drift.p_rates < 1e-6


def test_statistics_that_cannot_be_are_refused():
    rng = np.random.default_rng(1)
    with pytest.raises(InputError, match=r"leaves state . \d times.*record longer"):
        telegraph_statistics(states_of(telegraph(2e3, 2e3, 5_000, rng)))
    with pytest.raises(InputError, match="sample faster"):
        telegraph_statistics(states_of((rng.random(10_000) < 0.5).astype(np.uint8)))
    signal = states_of(telegraph(1e5, 1e5, 50_000, rng))
    with pytest.raises(InputError, match=r"shorter dead_time|record longer"):
        telegraph_statistics(signal, dead_time=60e-6)
    with pytest.raises(InputError, match="dead_time=1"):
        telegraph_statistics(signal, dead_time=1.0)


# --- bits --------------------------------------------------------------------------------------------------


def test_bits_at_an_interval_have_the_correlation_of_the_rates(tmp_path):
    rng = np.random.default_rng(6)
    values = telegraph(2e4, 1e4, 600_000, rng) * 0.2 + 0.015 * rng.standard_normal(600_000)
    path = saved(tmp_path, values)
    for interval in (7e-6, 20e-6, 60e-6):
        found = read_waveform(path, sample_rate=1e6, unit="V", sampling=Sampling(interval=interval)).bits
        truth = math.exp(-3e4 * interval)
        assert found.expected_correlation.low <= truth <= found.expected_correlation.high
        assert found.correlation.value == pytest.approx(truth, abs=4 * found.correlation.std)


@pytest.mark.parametrize("period", [3.7, 8.0, 25.3, 1000 / 7])
def test_known_bits_come_back_with_a_clock_that_is_found(tmp_path, period):
    rng = np.random.default_rng(int(period))
    bits = (rng.random(3000) < 0.5).astype(np.uint8)
    at = np.arange(int(bits.size * period))
    values = 0.3 * bits[np.minimum((at + 0.5) // period, bits.size - 1).astype(int)] + 0.02 * rng.standard_normal(
        at.size
    )
    out = tmp_path / "b.bin"
    found = read_waveform(saved(tmp_path, values), sample_rate=1e6, sampling=Sampling(recover=True), out=out).bits
    assert found.period == pytest.approx(period * 1e-6, rel=1e-4)
    source = RecordedSource(out)
    assert np.array_equal(np.unpackbits(source.bits(3000), count=3000), bits)
    assert source.origin["details"]["instants"] == found.taken
    given = Sampling(period=period * 1e-6, phase=period / 2 * 1e-6)
    read_waveform(tmp_path / "trace.npy", sample_rate=1e6, sampling=given, out=out)
    assert np.array_equal(np.unpackbits(RecordedSource(out).bits(3000), count=3000), bits)


def test_a_telegraph_signal_has_no_clock(tmp_path):
    rng = np.random.default_rng(2)
    values = telegraph(2e4, 1e4, 100_000, rng) + 0.05 * rng.standard_normal(100_000)
    with pytest.raises(InputError, match="follow no clock"):
        read_waveform(saved(tmp_path, values), sample_rate=1e6, sampling=Sampling(recover=True))


@pytest.mark.parametrize("separation", [4.0, 5.0, 6.0])
def test_bits_are_misread_as_often_as_the_populations_overlap(tmp_path, separation):
    n, rng = 400_000, np.random.default_rng(int(separation))
    bits = (rng.random(n) < 0.5).astype(np.uint8)
    path = saved(tmp_path, separation * bits + rng.standard_normal(n))
    out = tmp_path / "b.bin"
    found = read_waveform(path, sample_rate=1e6, sampling=Sampling(period=STEP), out=out)
    wrong = np.count_nonzero(np.unpackbits(RecordedSource(out).bits(n), count=n) != bits) / n
    truth = float(norm.sf(separation / 2))
    # the threshold is fitted: its own error enters in second order only
    assert wrong == pytest.approx(truth, abs=4 * math.sqrt(truth / n))
    assert found.levels.misread == pytest.approx(truth, rel=0.05)
    assert found.levels.separation == pytest.approx(separation, rel=0.02)


def test_a_trigger_says_when_and_a_delay_is_a_dwell(tmp_path):
    rng = np.random.default_rng(9)
    bits, gaps = (rng.random(500) < 0.5).astype(np.uint8), rng.integers(40, 90, 500)
    starts = np.cumsum(gaps)
    n = int(starts[-1]) + 100
    pulse, level = np.zeros(n), np.zeros(n)
    for start, stop, bit in zip(starts, [*starts[1:], n], bits, strict=True):
        pulse[start : start + 6] = 1.8
        level[start + 10 : stop + 10] = 0.1 + 0.2 * bit  # the state of before stays until after the pulse
    signal = level + 0.01 * rng.standard_normal(n)
    table = "t (us),V (V),P (V)\n" + "".join(
        f"{i:.1f},{v:.5f},{p:.5f}\n"
        for i, (v, p) in enumerate(zip(signal, pulse + 0.02 * rng.standard_normal(n), strict=True))
    )
    path, out = tmp_path / "scope.csv", tmp_path / "b.bin"
    path.write_text(table)
    how = Sampling(trigger="P", edge="fall", delay=20e-6)
    found = read_waveform(path, column="V", sampling=how, threshold="0.2V", out=out)
    assert found.bits.bits == 500
    assert np.array_equal(np.unpackbits(RecordedSource(out).bits(500), count=500), bits)
    early = read_waveform(path, column="V", sampling=Sampling(trigger="P", edge="rise"), threshold="0.2V").bits
    assert early.bits == 500
    both = read_waveform(path, column="V", sampling=Sampling(trigger="P", edge="both"), threshold="0.2V").bits
    assert both.bits == 1000
    with pytest.raises(InputError, match=r"never fires.*5 V"):
        read_waveform(path, column="V", threshold="0.2V", sampling=Sampling(trigger="P", trigger_threshold="5V"))


def test_the_description_says_how_bits_were_made_and_the_source_goes_on(tmp_path):
    rng = np.random.default_rng(3)
    values = telegraph(2e4, 1e4, 100_000, rng) * 0.2 + 0.01 * rng.standard_normal(100_000)
    out = tmp_path / "b.bin"
    read_waveform(
        saved(tmp_path, values), sample_rate=1e6, unit="V", sampling=Sampling(interval=5e-5), out=out,
        about={"command": "waveform", "arguments": {}},
    )  # fmt: skip
    described = json.loads((tmp_path / "b.bin.json").read_text())
    assert described["bits"] == 2000
    assert described["origin"]["details"]["by_hysteresis"] is True
    assert "interval" not in described["origin"]["details"]["instants"]
    assert "from recorded: waveform trace.npy" in RecordedSource(out).provenance.description


@pytest.mark.parametrize(
    ("options", "said"),
    [({"period": 1e-6, "recover": True}, "give one of them"), ({"phase": 1e-6}, "leave the phase out"),
     ({"edge": "rise"}, "name its column with trigger=")],
)  # fmt: skip
def test_sampling_refuses_what_does_not_go_together(options, said):
    with pytest.raises(InputError, match=said):
        Sampling(**options)


def test_instants_do_not_depend_on_blocks():
    clock = Clock(3.3e-6, 1.7e-6, STEP)
    whole = clock.within(0, 10_000)
    parts = [clock.within(at, min(7, 10_000 - at)) for at in range(0, 10_000, 7)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert whole[0] == 2
    assert whole.size == math.floor((9999.5 - 1.7) / 3.3) + 1


# --- results -----------------------------------------------------------------------------------------------


def test_results_are_saved_loaded_and_drawn(tmp_path):
    from voltaspin.noise.waveform import Waveform
    from voltaspin.plots.drawing import png

    rng = np.random.default_rng(3)
    values = telegraph(2e4, 1e4, 60_000, rng) * 0.2 + 0.01 * rng.standard_normal(60_000)
    found = read_waveform(saved(tmp_path, values), sample_rate=1e6, unit="V", sampling=Sampling(interval=5e-5))
    found.save(tmp_path / "r.json")
    again = Waveform.load(tmp_path / "r.json")
    assert again.telegraph.low.rate == found.telegraph.low.rate
    assert str(again) == str(found)
    for one in (found, again, found.telegraph):
        assert png(one.plot()).startswith(b"\x89PNG")


def test_memory_and_blocks_give_the_same_answer(tmp_path):
    """Converter words in blocks, against the same values in one table."""
    rng = np.random.default_rng(7)
    words = (1e3 * telegraph(2e4, 1e4, 2_300_000, rng) + 60 * rng.standard_normal(2_300_000)).astype("<i2")
    raw = tmp_path / "a.raw"
    raw.write_bytes(words.tobytes())
    trace = Trace.open(raw, sample_rate=1e6, sample_type="int16")
    levels = find_levels(trace)
    states = States.of(trace, levels)
    inside = np.where(words > levels.rise, 1, np.where(words < levels.fall, 0, -1))
    known = np.flatnonzero(inside >= 0)
    filled = inside[np.maximum.accumulate(np.where(inside >= 0, np.arange(words.size), known[0]))]
    assert np.array_equal(states.edges, np.flatnonzero(np.diff(filled)) + 1)
    assert states.counts.sum() == words.size - known[0]
    bits = sample_bits(trace, levels, Clock(13e-6, 0.0, STEP), states=states, relaxation=Estimate(3e4, 2.9e4, 3.1e4))
    assert bits.ones == pytest.approx(filled[::13].mean(), abs=1e-12)
