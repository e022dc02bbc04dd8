"""The array against a slow cell-by-cell oracle, its statistics, its counts, its refusals."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import chi2, kstest, truncnorm

from voltaspin.core.errors import InputError
from voltaspin.device import SwitchingModel
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.random.streams import Stream, derive_key


@dataclass(frozen=True)
class Flat:
    """A switching model of two numbers, slightly tilted by the cell's own K_eff and stray field."""

    p01: float
    p10: float
    slope: float = 0.0

    def probabilities(self, *, K_eff_scale, B_z):
        tilt = self.slope * (K_eff_scale - 1) + 10 * self.slope * B_z
        return self.p01 + tilt, self.p10 - tilt


def memory(p01=0.5, p10=0.5, slope=0.0, **options):
    return MagnetoelectricMemory(model=Flat(p01, p10, slope), **options)


def oracle_word(key, block, place):
    """The 16-bit word of one place, as the documentation of voltaspin.random.bernoulli states it."""
    group, r = divmod(place, 128)
    half = r // 16
    word = int(Stream(key, 0).words(4, start=4 * (block + 16 * group + r % 16))[half // 2])
    return word >> 16 if half % 2 else word & 0xFFFF


def test_pulses_agree_with_the_oracle_cell_by_cell():
    array = memory(0.45, 0.6, slope=0.5, rows=9, columns=17, seed=3)  # 153 cells: a group of words and a part
    key = derive_key(3, "memory", "pulse")
    rng = np.random.default_rng(0)
    expected = np.zeros((9, 17), np.uint8)
    for cycle in range(6):
        mask = rng.random((9, 17)) < 0.7 if cycle % 2 else None
        reset = cycle in (2, 3)
        array.pulse(mask=mask, reset=reset)
        for place, (i, j) in enumerate(np.ndindex(9, 17)):
            if mask is not None and not mask[i, j]:
                continue
            state = 0 if reset else expected[i, j]
            p_one = 1 - array.p10[i, j] if state else array.p01[i, j]
            expected[i, j] = oracle_word(key, cycle << 32, place) < round(65536 * p_one)
        assert np.array_equal(array.state, expected)


@pytest.mark.parametrize(("p01", "p10"), [(0.5, 0.5), (0.55, 0.45), (0.3, 0.4), (0.1, 0.05)])
@pytest.mark.parametrize("reset", [False, True])
def test_statistics_of_every_cell(p01, p10, reset):
    array = memory(p01, p10, rows=16, columns=16, seed=1)
    cycles, warm = 2000, 200  # (1 - p01 - p10)**200 < 1e-14: stationary
    states = np.empty((cycles, 256), np.int64)
    for i in range(warm + cycles):
        array.pulse(reset=reset)
        states[max(i - warm, 0)] = array.state.ravel()
    p = p01 if reset else p01 / (p01 + p10)
    rho = 0.0 if reset else 1 - p01 - p10
    ones = states.mean(axis=0)
    # variance of the mean of a two-state Markov chain: p (1 - p) / n times (1 + rho) / (1 - rho)
    error = np.sqrt(p * (1 - p) / cycles * (1 + rho) / (1 - rho))
    assert np.abs(ones - p).max() < 4.8 * error  # the largest of 256: 4e-4 by chance
    d = states - p
    lag1 = (d[1:] * d[:-1]).mean() / (p * (1 - p))
    # 256 * 1999 products around the known mean; along a chain they amount to fewer independent ones by at
    # most (1 + |rho|) / (1 - |rho|), because the products forget at least as fast as the states.
    pair_spread = np.std(d[1:] * d[:-1]) / (p * (1 - p))
    sigma = pair_spread * np.sqrt((1 + abs(rho)) / (1 - abs(rho)) / (256 * cycles))
    assert abs(lag1 - rho) < 4.5 * sigma


def test_transition_counts_give_p01_and_p10():
    array = memory(0.3, 0.65, rows=64, columns=64, seed=2)
    before, flips, trials = array.state.copy(), np.zeros(2), np.zeros(2)
    for _ in range(50):
        array.pulse()
        after = array.state.copy()
        for s in (0, 1):
            trials[s] += np.count_nonzero(before == s)
            flips[s] += np.count_nonzero((before == s) & (after != s))
        before = after
    for s, p in enumerate((0.3, 0.65)):
        assert abs(flips[s] / trials[s] - p) < 4.5 * np.sqrt(p * (1 - p) / trials[s])


def test_variation_is_a_truncated_gaussian_of_the_stated_spread():
    seen = {}

    class Spy:
        def probabilities(self, *, K_eff_scale, B_z):
            seen.update(K_eff_scale=K_eff_scale, B_z=B_z)
            return np.full(K_eff_scale.shape, 0.5), np.full(B_z.shape, 0.5)

    MagnetoelectricMemory(rows=200, columns=200, model=Spy(), K_eff_spread=0.05, stray_field_spread=0.5e-3)
    K = (seen["K_eff_scale"].ravel() - 1) / 0.05
    B = seen["B_z"].ravel() / 0.5e-3
    for z in (K, B):
        assert np.abs(z).max() < 4
        assert kstest(z, truncnorm(-4, 4).cdf).pvalue > 1e-4
    assert abs(np.corrcoef(K, B)[0, 1]) < 4.5 / np.sqrt(K.size)


def test_cells_follow_the_model_and_the_seed():
    one, same, other = (memory(slope=0.5, rows=8, columns=8, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.p01, same.p01)
    assert not (one.p01 == other.p01).any()
    assert one.p01.std() > 0
    assert np.allclose(one.p01 + one.p10, 1)
    flat = memory(0.4, 0.5, slope=0.5, rows=8, columns=8, K_eff_spread=0, stray_field_spread=0)
    assert np.unique(flat.p01) == [0.4]


def test_the_biased_control_is_one_line():
    array = MagnetoelectricMemory(model=SwitchingModel.constant(0.55, 0.45), rows=4, columns=4)
    assert np.allclose(array.p01, 0.55)
    assert np.allclose(1 - array.p10, 0.55)


def test_never_and_always():
    never = memory(0.0, 1.0, rows=16, columns=16)
    never.write(1)
    never.pulse()
    assert not never.state.any()
    always = memory(1.0, 0.0, rows=16, columns=16)
    always.pulse()
    assert always.state.all()


def test_write_read_mask_and_ledger():
    array = memory(rows=3, columns=5)
    mask = np.zeros((3, 5), bool)
    mask[1] = True
    array.write(np.ones((3, 5), int), mask=mask)
    assert np.array_equal(array.read(), mask.astype(np.uint8))
    assert array.read(mask=mask).tolist() == [1] * 5
    array.write(0)
    array.pulse(mask=mask)
    array.pulse(mask=mask, reset=True)
    array.pulse()
    assert not array.state[0].flags.writeable
    assert array.ledger.totals() == {"pulse": 5 + 5 + 15, "reset": 5, "write": 5 + 15, "read": 15 + 5}


def test_a_masked_cell_changes_nothing_for_the_others():
    whole, part = memory(rows=20, columns=20, seed=5), memory(rows=20, columns=20, seed=5)
    mask = np.arange(400).reshape(20, 20) % 3 > 0
    whole.pulse()
    part.pulse(mask=mask)
    assert np.array_equal(part.state, whole.state * mask)


def test_words_of_neighbouring_cells_and_cycles_are_independent():
    array = memory(rows=64, columns=64, seed=9)
    states = []
    for _ in range(100):
        array.pulse()
        states.append(array.state.ravel().astype(int))
    bits = np.array(states)
    n = bits.size
    for a, b in ((bits[:, 1:], bits[:, :-1]), (bits[1:], bits[:-1]), (bits[:, 128:], bits[:, :-128])):
        assert abs((a == b).mean() - 0.5) < 4.5 * 0.5 / np.sqrt(a.size)
    columns = bits.sum(axis=0)
    statistic = ((columns - 50) ** 2 / 25).sum()
    assert chi2.sf(statistic, 4096) > 1e-4
    assert chi2.cdf(statistic, 4096) > 1e-4
    assert n == 409600


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda a: a.write(np.zeros((2, 2))), r"shape \(2, 2\) do not fit a memory of shape \(3, 5\)"),
        (lambda a: a.write(2), "must be 0 or 1"),
        (lambda a: a.write(0.5), "must be 0 or 1"),
        (lambda a: a.read(mask=np.ones(3, bool)), "mask of shape"),
        (lambda a: a.pulse(mask=np.ones((3, 5))), "type float64"),
        (lambda a: memory(rows=0), "rows = 0"),
        (lambda a: memory(columns=1.5), "columns = 1.5"),
        (lambda a: memory(K_eff_spread=-1), "K_eff_spread = -1"),
        (lambda a: memory(stray_field_spread=float("nan")), "nan T"),
        (lambda a: memory(1.2, 0.5, rows=2, columns=2), "1.2 to 4 cells"),
        (lambda a: memory(seed=-1), "seed -1"),
    ],
)
def test_bad_input_is_refused_with_a_reason(act, said):
    with pytest.raises(InputError, match=said):
        act(memory(rows=3, columns=5))
