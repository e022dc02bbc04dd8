"""Diffusion in place through the pulses that a junction can be given: schedules, levels, and an exactly known toy."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom, norm

from voltaspin.core.errors import InputError
from voltaspin.device import SwitchingModel, presets
from voltaspin.diffusion import bitflip
from voltaspin.diffusion.bitflip.schedules import TOLERANCE
from voltaspin.memory import MagnetoelectricMemory, PulseLibrary, Variation

PATTERNS = np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]], np.uint8)
WEIGHTS = np.array([0.4, 0.3, 0.2, 0.1])
STATES = np.array(list(itertools.product((0, 1), repeat=4)), np.uint8)


def array(rows, columns, *, K_eff=0.0, seed=1):
    """Cells of the generator preset whose pulses are programmed."""
    return MagnetoelectricMemory(
        rows=rows, columns=columns, model=SwitchingModel.constant(0.5, 0.5), junction=presets.get("generator"),
        variation=Variation(K_eff=K_eff, stray_field=0.0), seed=seed,
    )  # fmt: skip


@pytest.fixture(scope="module")
def varied():
    """A million cells would do no better: 65,536 that differ in K_eff."""
    return array(256, 256, K_eff=0.05)


def test_the_pulses_of_a_schedule_flip_as_the_process_says(varied):
    wanted = bitflip.Process.cosine(30).betas
    flips = bitflip.PulseSchedule.of(varied, wanted)
    asked, real = bitflip.Process(wanted), flips.process
    assert all(abs(real.marginal(t) - asked.marginal(t)) < TOLERANCE for t in range(31))
    clean = np.random.default_rng(0).integers(0, 2, (256, 256), dtype=np.uint8)
    varied.write(clean)
    survived = np.ones(clean.shape)
    for t, pulse in enumerate(flips.pulses, 1):
        varied.pulse(pulse)
        p01, p10 = pulse.probabilities(varied.quantities)
        survived *= 1 - p01 - p10
        p = real.marginal(t)
        tail = norm.sf(3)
        found = int((varied.state != clean).sum())
        # beside the binomial chance: these cells' own average, which is not that of all cells
        own = abs((1 - survived.mean()) / 2 - p) * clean.size
        assert binom.ppf(tail, clean.size, p) - own <= found <= binom.isf(tail, clean.size, p) + own
        assert own < 0.01 * clean.size
    report = flips.report()
    assert report.different_pulses <= 30
    assert report.marginal_moved_by_equal_cells > 0.01  # which is why the average over cells is taken
    assert report.largest_p01_less_p10 == pytest.approx(0, abs=1e-6)  # without a field along z


def test_equal_cells_keep_the_product_of_their_flips():
    flips = bitflip.PulseSchedule.of(array(4, 4), bitflip.Process.cosine(20).betas)
    assert np.allclose(flips.kept[1:], np.cumprod(1 - flips.mean.sum(1)))
    ideal = MagnetoelectricMemory(rows=4, columns=4, model=SwitchingModel.constant(0.5, 0.5))
    exact = bitflip.PulseSchedule.of(ideal, [0.1, 0.3])
    assert exact.pulses == (0.1, 0.3)
    assert np.allclose(exact.process.betas, [0.1, 0.3])


def test_levels_are_called_by_their_mean_over_the_cells(varied):
    levels = bitflip.Levels.of(varied)
    assert (np.diff(levels.flips) > 0).all()
    assert levels.flips[0] == 0
    assert levels.flips[-1] > 0.98
    for i in (1, 12, len(levels.flips) - 1):
        p01, p10 = levels.pulses[i].probabilities(varied.quantities)
        error = levels.spread[i] * 3 / np.sqrt(varied.cells)
        assert (p01.mean() + p10.mean()) / 2 == pytest.approx(levels.flips[i], abs=error + 2e-3)  # of five nodes


def test_dither_makes_the_average_right_and_rounding_does_not():
    levels = bitflip.Levels.exact([0.0, 0.1, 0.5, 1.0])
    for p in (0.0, 0.02, 0.1, 0.3, 0.77, 1.0):
        wanted = np.full((64, 64), p)
        dithered, nearest = bitflip.Rounding(), bitflip.Rounding()
        for t in range(10):
            dithered.add(wanted, levels, levels.choose(wanted, step=t))
            nearest.add(wanted, levels, levels.choose(wanted, step=t, dither=False))
        # a low-discrepancy sequence of n terms leaves less than (1 + log n) / n of a gap
        assert abs(dithered.error) / dithered.cells < 0.5 * (1 + np.log(4096)) / 4096
        off = np.abs(levels.flips - p).min()
        assert abs(nearest.error) / nearest.cells == pytest.approx(off, abs=1e-12)
    assert bitflip.Rounding().to_json()["flips_given_over_wanted"] == 1.0


def test_cells_that_were_measured_flip_with_what_they_want(varied):
    plain = bitflip.Levels.of(varied)
    known = plain.calibrated(varied)
    rng = np.random.default_rng(2)
    for p in (0.002, 0.05, 0.3, 0.8):
        wanted = np.full((256, 256), p)
        given = {name: np.zeros(wanted.shape) for name in ("plain", "known")}
        for t in range(20):
            for name, levels in (("plain", plain), ("known", known)):
                given[name] += known.given(levels.choose(wanted, step=t)) / 20
        # what is left are twenty terms of a dither
        assert np.abs(given["known"] - p).mean() < 0.5 * np.abs(given["plain"] - p).mean()
        assert given["known"].mean() == pytest.approx(p, rel=0.05)
        varied.write(rng.integers(0, 2, wanted.shape, dtype=np.uint8))
        before, chosen = varied.state.copy(), known.choose(wanted)
        for i in np.unique(chosen):
            if i:
                varied.pulse(known.pulses[i], mask=chosen == i)
        flips, expected = int((varied.state != before).sum()), known.given(chosen)
        assert abs(flips - expected.sum()) < 3 * np.sqrt((expected * (1 - expected)).sum())


def test_what_the_driver_cannot_reach_is_counted():
    levels, rounding = bitflip.Levels.exact([0.0, 0.4]), bitflip.Rounding()
    wanted = np.array([0.1, 0.4, 0.5, 0.9])
    chosen = levels.choose(wanted)
    assert chosen[2:].tolist() == [1, 1]
    rounding.add(wanted, levels, chosen)
    assert rounding.beyond == 2


def predictor(process):
    """P(x_0 = 1) of each bit given the whole pattern: by Bayes over the patterns."""

    def predict(x, t):
        p = process.marginal(t)
        off = (x[:, None, :] != PATTERNS[None]).sum(-1)
        likelihood = WEIGHTS * p**off * (1 - p) ** (4 - off)
        return (likelihood / likelihood.sum(1, keepdims=True)) @ PATTERNS

    return predict


def kernel(flip):
    """Probability of each next state: bits of a state flip independently; (16, 16) from flip (16, 4)."""
    turned = STATES[:, None, :] != STATES[None]
    return np.where(turned, flip[:, None, :], 1 - flip[:, None, :]).prod(-1)


def test_the_toy_through_real_pulses_is_within_its_error_bound():
    n = 4096
    memory = array(n, 4)
    flips = bitflip.PulseSchedule.of(memory, bitflip.Process.cosine(50).betas)
    process, levels = flips.process, bitflip.Levels.of(memory, count=60)
    predict = predictor(process)
    # the same chain enumerated: bits of a step drawn one by one, and then with the levels in place of the wanted flips
    alone, real, rounding = np.full(16, 1 / 16), np.full(16, 1 / 16), 0.0
    for t in range(len(process), 0, -1):
        one = process.posterior(STATES, predict(STATES, t), t)
        wanted = np.where(STATES == 1, 1 - one, one)
        given = levels.flips[levels.choose(wanted, dither=False)]
        rounding += float(alone @ np.abs(given - wanted).sum(1))  # total variation of products of Bernoullis
        alone, real = alone @ kernel(wanted), real @ kernel(given)
    exact = np.zeros(16)
    exact[PATTERNS @ [8, 4, 2, 1]] = WEIGHTS
    known = 0.5 * np.abs(real - exact).sum()
    assert known <= 0.5 * np.abs(alone - exact).sum() + rounding
    assert known < 0.02  # 0.012 in all, of which 0.012 is drawing bits one by one: it falls as 1 / T
    found = bitflip.reverse(process, memory, predict, levels=levels)
    counts = np.bincount(found @ [8, 4, 2, 1], minlength=16) / n
    # sampling alone gives half the sum of |Gaussians|
    sampling = 0.5 * np.sqrt(real * (1 - real) / n)
    chance = np.sqrt(2 / np.pi) * sampling.sum() + 3 * np.sqrt((1 - 2 / np.pi) * (sampling**2).sum())
    assert 0.5 * np.abs(counts - real).sum() < chance
    assert 0.5 * np.abs(counts - exact).sum() < chance + known


def few_pulses():
    V_c = presets.get("generator").V_c
    return PulseLibrary.of(presets.get("generator"), (), voltages=np.array([V_c]), widths=np.array([60e-12, 200e-12]))


def test_a_probability_that_no_pulse_gives_is_refused_with_the_nearest(tmp_path, monkeypatch):
    monkeypatch.setenv("VOLTASPIN_CACHE", str(tmp_path))
    memory = array(4, 4)
    memory.library = few_pulses()
    with pytest.raises(
        InputError, match=r"step 1: no pulse of this junction .* probability of 0\.25; the nearest, 1\.1"
    ):
        bitflip.PulseSchedule.of(memory, [0.25])
    with pytest.raises(InputError, match=r"no pulse of this junction flips with a probability of 1; the nearest"):
        bitflip.Levels.of(memory)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bitflip.Levels.of(array(2, 2), count=1), "levels = 1: give at least 2"),
        (lambda: bitflip.Levels.exact([0.2, 1.2]), "flip probabilities from 0 to 1"),
        (lambda: bitflip.PulseSchedule.of(array(2, 2), [0.7]), r"betas\[0\] = 0\.7"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
