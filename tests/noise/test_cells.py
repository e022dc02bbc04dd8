"""The examination of cells that are read in turn, against numpy, SciPy, published examples and simulated truth."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest, hypergeom

from voltaspin.core.errors import InputError
from voltaspin.memory import MagnetoelectricMemory, Variation
from voltaspin.noise import CellCriteria, CellExamination, MemorySource, PseudoSource, RecordedSource, bit_statistics
from voltaspin.noise import examine_cells as examine
from voltaspin.noise.examination import cell_tests as tests
from voltaspin.noise.examination import entropy
from voltaspin.noise.examination.cell_period import stream_period
from voltaspin.noise.examination.cells import CellReader, layout_of

SOME = CellCriteria(max_bias=0.035, max_correlation=0.09, max_drift=0.035, min_entropy=0.9)
NONE = CellCriteria(max_bias=0.0, max_correlation=0.0, max_drift=0.0, min_entropy=1.0)


def counted(rows, pieces=()):
    """Counts of bits (rounds, cells), or of a flat stream of cells; fed in pieces."""
    reader = CellReader(rows.shape[1])
    for part in np.split(rows.ravel(), pieces):
        reader.feed_bits(part)
    return reader.counts()


def fair(rounds, cells, seed=1, p=0.5):
    return (np.random.default_rng(seed).random((rounds, cells)) < p).astype(np.uint8)


def remembering(rounds, cells, rho, seed=1, p=0.5):
    """Markov cells that repeat their bit with probability rho (flip it, for a negative one), and else draw anew."""
    rng = np.random.default_rng(seed)
    out = fair(rounds, cells, seed + 1, p)
    for i in range(1, rounds):
        keep = rng.random(cells) < abs(rho)
        out[i] = np.where(keep, out[i - 1] if rho > 0 else 1 - out[i - 1], out[i])
    return out


@pytest.fixture
def examined(tmp_path):
    """Factory: the examination of bits (rounds, cells), or of any flat stream, out of a file."""

    def build(bits, n_cells, criteria=SOME, **how):
        path = tmp_path / "cells.bin"
        path.write_bytes(np.packbits(bits.ravel()).tobytes())
        source = RecordedSource(path, n_cells=n_cells, format="packed")
        return examine(source, n_bits=bits.size, criteria=criteria, **how)

    return build


# -- counts and estimates of one cell ------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [1, 2, 5, 64, 301])
@pytest.mark.parametrize("bits", [2000, 1501])
def test_counts_are_those_of_numpy_however_a_stream_is_cut(cells, bits):
    rng = np.random.default_rng(cells)
    stream = rng.integers(0, 2, bits, dtype=np.uint8)
    reader = CellReader(cells)
    for part in np.split(stream, np.sort(rng.integers(0, bits, 6))):
        reader.feed_bits(part)
    found = reader.counts()
    rounds = bits // cells
    for c in range(cells):
        own = stream[c::cells].astype(int)
        assert (found.n[c], found.ones[c]) == (own.size, own.sum())
        for lag in range(1, tests.LAGS + 1):
            if own.size > lag:
                m, before, after, both = (x[c] for x in found.pairs(lag))
                a, b = own[:-lag], own[lag:]
                assert (m, before, after, both) == (a.size, a.sum(), b.sum(), (a & b).sum())
        assert found.stretches[:, c].sum() == own[:rounds].sum()
        if c:
            beside = stream[c - 1 :: cells][: own.size].astype(int)
            m, here, before, both = (x[c] for x in tests._with_neighbour(found))
            assert (m, here, before, both) == (own.size, own.sum(), beside.sum(), (own & beside).sum())
    assert found.sizes.sum() == rounds
    assert len(found.sizes) <= tests.STRETCHES
    assert np.array_equal(reader.first, stream)


def test_estimates_are_those_of_the_functions_for_one_sequence():
    bits = np.concatenate([fair(900, 20), remembering(900, 20, 0.4, p=0.3)], axis=1)
    found, known = counted(bits), bit_statistics(bits, lags=4)
    assert tests.autocorrelation(found, 1)[0] == pytest.approx(known.cell_lag1, abs=1e-12)
    assert tests.most_common_value(found) == pytest.approx([entropy.most_common_value(c) for c in bits.T], abs=1e-12)
    assert tests.markov(found) == pytest.approx([entropy.markov(c) for c in bits.T], abs=1e-12)
    corr = np.corrcoef(bits.T)
    assert tests.neighbour(found)[0][1:] == pytest.approx(np.diag(corr, 1), abs=1e-12)
    pooled = tests.pooled_correlation(found, np.ones(40, bool))
    assert pooled.value == pytest.approx(known.autocorrelation[0].value, abs=1e-12)
    assert pooled.high == pytest.approx(known.autocorrelation[0].high, abs=1e-12)


def test_intervals_are_those_of_scipy():
    bits = fair(500, 30, p=0.3)
    found = counted(bits)
    low, high = tests.bias_interval(found)
    _, down, up = tests.autocorrelation(found, 1)
    value = tests.autocorrelation(found, 1)[0]
    assert (found.memory == 0).all()
    for c in range(30):
        exact = binomtest(int(found.ones[c]), 500).proportion_ci(0.95, "exact")
        assert (low[c], high[c]) == pytest.approx((exact.low - 0.5, exact.high - 0.5), abs=1e-12)
        m, before, after, both = (int(x[c]) for x in found.pairs(1))
        one = binomtest(both, before).proportion_ci(0.95, "wilson")
        zero = binomtest(after - both, m - before).proportion_ci(0.95, "wilson")
        shares = both / before, (after - both) / (m - before)
        half = math.hypot(shares[0] - one.low, zero.high - shares[1])  # Newcombe's method 10
        assert value[c] - down[c] == pytest.approx(half, abs=1e-12)
        assert up[c] - value[c] == pytest.approx(math.hypot(one.high - shares[0], shares[1] - zero.low), abs=1e-12)


@pytest.mark.parametrize(("rho", "p", "lag"), [(0.0, 0.5, 1), (0.3, 0.5, 1), (-0.3, 0.5, 1), (0.3, 0.3, 1),
                                               (0.3, 0.5, 2), (0.3, 0.5, 4)])  # fmt: skip
def test_intervals_hold_the_truth_of_cells_with_memory(rho, p, lag):
    """95 % nominal; of 3,000 cells the share has a standard error of 0.4 %."""
    bits = remembering(600, 3000, rho, p=p)
    found = counted(bits)
    share = bits[300:].mean() if rho < 0 else p
    low, high = tests.bias_interval(found)
    assert np.mean((low <= share - 0.5) & (share - 0.5 <= high)) > 0.95 - 4 * 0.004
    _, low, high = tests.autocorrelation(found, lag)
    assert abs(np.mean((low <= rho**lag) & (rho**lag <= high)) - 0.95) < 5 * 0.004


def test_the_test_of_the_runs_is_exact():
    """All arrangements of 4 ones in 10 places, by counting."""
    ways = [np.isin(np.arange(10), ones).astype(np.uint8) for ones in itertools.combinations(range(10), 4)]
    found = counted(np.array(ways).T)
    runs = np.array([len([1 for value, _ in itertools.groupby(w) if value]) for w in ways])
    for r in range(1, 5):
        few, many = np.mean(runs <= r), np.mean(runs >= r)
        assert found.run_p[runs == r] == pytest.approx(min(1.0, 2 * min(few, many)), abs=1e-12)


def test_the_test_of_neighbours_is_the_hypergeometric_one():
    bits = fair(60, 2)
    found = counted(bits)
    x, a, b = int((bits[:, 0] & bits[:, 1]).sum()), int(bits[:, 0].sum()), int(bits[:, 1].sum())
    exact = 2 * min(hypergeom.cdf(x, 60, a, b), hypergeom.sf(x - 1, 60, a, b))
    assert tests.p_values(found, NONE)["neighbour"][1] >= min(1.0, exact)
    assert tests.p_values(found, NONE)["neighbour"][0] == 1.0  # the first cell has none before it


def test_holm_on_an_example():
    """P = 0.01, 0.04, 0.03, 0.005: 4 x 0.005 and 3 x 0.01 are below 0.05, and 2 x 0.03 is not."""
    assert tests.holm(np.array([0.01, 0.04, 0.03, 0.005]), 0.05).tolist() == [True, False, False, True]
    assert tests.holm(np.array([0.9]), 0.05).tolist() == [False]
    assert tests.holm(np.array([1e-9, 1e-9]), 0.05).tolist() == [True, True]


def test_the_drift_of_a_step_is_what_three_polynomials_hold_of_it():
    """A step from 0.5 - d to 0.5 + d in the middle: a slope holds 3/4 of its square, a cubic another 7/64."""
    rounds, d = 4096, 0.1
    p = np.where(np.arange(rounds) < rounds // 2, 0.5 - d, 0.5 + d)[:, None]
    bits = (np.random.default_rng(5).random((rounds, 400)) < p).astype(np.uint8)
    amplitude, p_value = tests.drift(counted(bits))
    truth = d * math.sqrt(3 / 4 + 7 / 64)
    # the standard error of one is 0.5 / sqrt(rounds) in each polynomial; stretches of 1/32 lose 1e-3 of the square
    assert abs(amplitude.mean() - truth) < 4 * 0.5 / math.sqrt(rounds * 400) + 2e-3 * truth
    assert p_value.max() < 1e-12
    at_limit = tests.drift(counted(bits), truth)[1]
    assert 0.4 < np.mean(at_limit < 0.5) < 0.6
    assert (tests.drift(counted(bits), 0.15)[1] > 0.5).all()


def test_few_bits_have_no_drift_and_a_memory_is_none():
    assert np.isnan(tests.drift(counted(fair(150, 3)))[1]).all()
    p = tests.drift(counted(remembering(2000, 2000, 0.3)))[1]
    assert abs(np.mean(p < 0.05) - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 2000)


# -- false alarms and power ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rounds", "cells", "p"), [(40, 500, 0.5), (400, 200, 0.5), (600, 100, 0.2)])
def test_p_values_of_cells_at_the_limit_are_no_smaller_than_chance(rounds, cells, p):
    """Of 40 arrays, by criterion: the share of P-values below 1 % is at most 1 %, but for four standard errors."""
    limits = CellCriteria(max_bias=0.5 - p, max_correlation=0.0, max_drift=0.0, min_entropy=-math.log2(1 - p))
    small = {}
    for seed in range(40):
        for name, values in tests.p_values(counted(fair(rounds, cells, seed, p)), limits).items():
            small[name] = small.get(name, 0) + int((values < 0.01).sum())
    n = 40 * cells
    assert set(small) == {"stuck", "bias", "entropy", "correlation", "neighbour", "drift"}
    for name, count in small.items():
        assert count <= 0.01 * n + 4 * math.sqrt(0.01 * n), name
    assert small["bias"] > 0.003 * n  # and it is no test that never fails
    assert small["correlation"] > 0.001 * n


@pytest.mark.slow
def test_an_ideal_array_loses_a_cell_no_more_often_than_stated():
    """Limits of zero, which ideal cells just keep: at a stated 10 % the measured share of arrays is below that."""
    stated = NONE.model_copy(update={"false_alarm": 0.1})
    lost = 0
    for seed in range(500):
        found = counted(fair(500, 64, seed))
        lost += any(tests.holm(p, stated.share).any() for p in tests.p_values(found, stated).values())
    low, high = binomtest(lost, 500).proportion_ci(0.999, "exact")
    assert low <= 0.1
    assert high > 0.01  # some are lost


@pytest.mark.parametrize("defect", ["bias", "correlation"])
def test_a_cell_at_twice_its_limit_is_left_out_in_90_percent_with_the_bits_wanted(examined, defect):
    limits = CellCriteria(**{f"max_{defect}": 0.06})
    wanted = examined(fair(50, 100), 100, limits).bits_wanted
    missed = 0
    for seed in range(12):
        bits = fair(wanted, 100, seed)
        bad = (fair(wanted, 10, seed + 50, 0.5 + 0.12) if defect == "bias"
               else remembering(wanted, 10, 0.12, seed + 50))  # fmt: skip
        bits[:, ::10] = bad
        out = set(examined(bits, 100, limits).left_out)
        assert out <= set(range(0, 100, 10))
        missed += 10 - len(out)
    assert missed <= binom.ppf(0.999, 120, 0.1)


def test_what_can_be_shown_is_shown_in_half_of_the_cells(examined):
    bits = fair(400, 200)
    shown = examined(bits, 200, CellCriteria(max_bias=0.02)).shows_bias
    bits[:, ::2] = fair(400, 100, 3, 0.5 + shown)
    found = len(examined(bits, 200, CellCriteria(max_bias=0.02)).left_out)
    assert abs(found - 50) < 4 * 5 + 8  # the binomial, and the steps of its tail; Holm leaves out a few more


# -- the population ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["normal", "two values"])
def test_the_spread_between_cells_holds_its_truth(kind, examined):
    """A spread of 0.02 below a sampling of 0.022; the interval of 95 % holds it in at least 95 % less 3.1 sigma."""
    held = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        own = 0.02 * (rng.standard_normal(100) if kind == "normal" else rng.choice([-1.0, 1.0], 100))
        bits = (rng.random((500, 100)) < 0.5 + own).astype(np.uint8)
        spread = examined(bits, 100).all_cells.spread
        held += spread.low <= 0.02 <= spread.high
    assert held >= binom.ppf(0.001, 120, 0.95)


def test_the_spread_of_a_memory_is_its_own_variation():
    memory = MagnetoelectricMemory(rows=64, columns=64, variation=Variation(K_eff=0.05, stray_field=2e-3), seed=3)
    truth = float((memory.p01 / (memory.p01 + memory.p10)).std())
    found = examine(MemorySource(memory=memory, k=1, seed=1), n_bits=64 * 64 * 1500, criteria=SOME)
    assert found.all_cells.spread.low < truth < found.all_cells.spread.high
    assert found.all_cells.spread.high < 1.2 * truth
    assert found.n_cells == 4096


# -- ugly cases ----------------------------------------------------------------------------------------------------


def test_dead_biased_drifting_and_coupled_cells_are_named_with_their_reason(examined):
    rounds, rng = 6000, np.random.default_rng(8)
    bits = fair(rounds, 1024)
    bits[:, 100] = 1
    bits[:, 7::32] = 0
    bits[:, 200] = fair(rounds, 1, 2, 0.62)[:, 0]
    half = np.where(np.arange(rounds) < rounds // 2, 0.35, 0.65)
    bits[:, 300], bits[:, 301] = rng.random(rounds) < half, rng.random(rounds) < 1 - half  # swapped halfway
    bits[:, 400] = np.arange(rounds) % 2
    bits[:, 500] = remembering(rounds, 1, 0.4)[:, 0]
    bits[:, 601] = np.where(rng.random(rounds) < 0.4, bits[:, 600], bits[:, 601])
    found = examined(bits, 1024, rows=32)
    column = tuple(range(7, 1024, 32))
    reasons = found.by_reason()
    assert reasons["stuck"] == found.stuck == tuple(sorted((100, *column)))
    assert reasons["bias"] == (200,)
    assert reasons["drift"] == (300, 301)
    assert reasons["correlation"] == (400, 500)
    assert reasons["neighbour"] == (601,)
    assert set(reasons["entropy"]) == {200, 400, 500}
    assert found.alternating == (400,)
    assert found.lines == ("column 7",)
    assert set(found.left_out) == {100, *column, 200, 300, 301, 400, 500, 601}
    assert found.kept.n_cells == 1024 - len(found.left_out)
    assert abs(found.kept.bias.value) < 4 * 0.5 / math.sqrt(rounds * 980)
    assert found.kept.least_entropy > 0.85 > 0 == found.all_cells.least_entropy
    assert found.period.fits
    text = str(found)
    assert "left out as a whole" in text
    assert "column 7" in text


def test_a_wrong_number_of_cells_is_noticed_and_the_right_one_named(examined):
    own = 0.5 + 0.05 * np.random.default_rng(1).standard_normal(100)
    bits = (np.random.default_rng(2).random((2000, 100)) < own).astype(np.uint8)
    assert examined(bits, 100).period.period == 100
    assert examined(bits, 100).period.fits
    for wrong in (99, 101, 1):
        found = examined(bits.ravel()[: bits.size // 99 * 99], wrong)
        assert (found.period.period, found.period.fits) == (100, False)
    assert "n_cells = 99 is probably wrong" in str(examined(bits, 99))
    double = examined(bits, 200).period
    assert double.fits
    assert "fewer cells than that" in double.said
    half = examined(bits, 50).period
    assert (half.period, half.fits) == (100, False)
    assert "100 cells take turns, or the cells' own bits repeat" in half.said
    bits[:, 3::10] = 1  # a stuck line of ten, which repeats every ten bits
    assert examined(bits, 100).period.fits
    assert (examined(bits, 99).period.period, examined(bits, 99).period.fits) == (100, False)


def test_equal_cells_a_drift_and_a_memory_from_bit_to_bit_have_no_period():
    assert stream_period(fair(200_000, 1).ravel(), 64) is None
    drifting = 0.5 + 0.1 * np.sin(np.arange(400_000) / 4e4)
    assert stream_period((np.random.default_rng(3).random(400_000) < drifting).astype(np.uint8), 64) is None
    assert stream_period(remembering(200_000, 1, 0.5).ravel(), 64) is None
    assert stream_period(np.ones(1000, np.uint8), 8) is None
    alternating = (np.arange(20_000)[:, None] + np.random.default_rng(4).integers(0, 2, 10)) % 2
    assert stream_period(alternating.astype(np.uint8).ravel(), 10).period == 20


def test_ideal_bits_have_a_period_as_rarely_as_stated():
    """In 1e-4 of the recordings: of 2,000 more than two only in 0.1 % of the cases."""
    assert sum(stream_period(fair(2000, 1, s).ravel(), 10) is not None for s in range(2000)) <= 2


def test_few_bits_of_a_cell_say_that_they_are_few(examined):
    found = examined(fair(3, 500), 500)
    assert (found.rounds, found.left_out, found.stuck) == (3, (), ())
    assert found.shows_bias == 0.5
    assert f"from {found.bits_wanted} bits a cell on: too few" in str(found)
    two = examined(fair(2, 500), 500)
    assert two.left_out == ()
    assert np.isnan(two.drift_p).all()
    assert CellExamination.from_json(two.to_json()).to_json() == two.to_json()


def test_one_cell_and_a_rest(examined):
    found = examined(fair(5000, 1), 1)
    assert (found.rows, found.columns, found.all_cells.spread, found.left_out) == (1, 1, None, ())
    assert np.isnan(found.neighbour).all()
    stuck = examined(np.ones(5000, np.uint8), 1)
    assert (stuck.left_out, stuck.kept, stuck.all_cells.correlation) == ((0,), None, None)
    assert "no cell is left" in str(stuck)
    found = examined(fair(1000, 7).ravel()[:6995], 7)
    assert (found.n_bits, found.rounds) == (6995, 999)
    assert found.ones.sum() == fair(1000, 7).ravel()[:6995].sum()


def test_the_battery_of_a_cell_is_that_of_its_bits_alone(examined):
    bits = fair(6100, 4)
    found = examined(bits, 4, battery=[2, 0, 2])
    assert [f.cell for f in found.full] == [2, 0]
    for f in found.full:
        assert f.estimates.minimum == entropy.estimate(bits[:, f.cell]).minimum
    with pytest.raises(InputError, match="no cell of the 4"):
        examined(bits, 4, battery=[4])
    with pytest.raises(InputError, match="6012"):
        examined(bits[:6000], 4, battery=[1])


@pytest.mark.parametrize(("call", "said"), [
    (lambda e: e(fair(1, 9), 10), "too few for n_cells = 10"), (lambda e: e(fair(1, 9), 9), "read twice at least"),
    (lambda e: e(fair(9, 9), 9, rows=2), "rows = 2 does not divide the 9 cells"),
    (lambda e: e(fair(9, 9), 9, rows=3, columns=9), "27 cells and not 9"),
    (lambda e: e(fair(9, 9), 9, columns=0), "columns = 0"),
    (lambda e: examine(PseudoSource(seed=1)), "has no end; give n_bits="),
])  # fmt: skip
def test_what_cannot_be_examined_is_refused(examined, call, said):
    with pytest.raises(InputError, match=said):
        call(examined)


@pytest.mark.parametrize(("cells", "layout"), [(1024, (32, 32)), (1000, (25, 40)), (1009, (32, 32)), (2, (1, 2)),
                                               (1, (1, 1)), (50, (5, 10)), (7, (3, 3))])  # fmt: skip
def test_the_map_without_a_layout_is_nearly_square(cells, layout):
    assert layout_of(cells, None, None) == layout
    assert layout_of(1024, None, 8) == (128, 8)


def test_a_result_can_be_kept_drawn_and_read_again(examined, tmp_path):
    bits = fair(300, 37)
    bits[:, 5] = 0
    found = examined(bits, 37)
    found.save(tmp_path / "cells.json")
    again = CellExamination.load(tmp_path / "cells.json")
    assert again.to_json() == found.to_json()
    assert again.left_out == (5,)
    assert np.isnan(again.autocorrelation[0, 5])
    assert again.plot() is not None
    few = examined(fair(2, 3), 3)
    assert few.plot() is not None
