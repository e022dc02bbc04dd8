"""Exact integers from coins, against their probabilities, a walk on a list, and another program."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from voltaspin.core.errors import InputError
from voltaspin.noise import DiscreteGaussian, PseudoSource


@pytest.mark.parametrize("sigma", [0.3, 1.0, 7.5])
def test_integers_have_the_probabilities_of_the_gaussian(sigma):
    dice = DiscreteGaussian(sigma)
    k = np.arange(-200, 201)
    ideal = np.exp(-(k**2) / (2 * sigma**2))
    ideal /= ideal.sum()
    assert dice.probabilities == pytest.approx(ideal[np.isin(k, dice.values)], abs=2.0**-44)
    assert dice.distance < 2.0**-40
    n = 200_000
    got = Counter(dice.sample(PseudoSource(seed=5), n).tolist())
    often = [(v, p) for v, p in zip(dice.values.tolist(), dice.probabilities, strict=True) if n * p >= 20]
    seen = np.array([got[v] for v, _ in often])
    expected = n * np.array([p for _, p in often])
    rest = n - expected.sum()
    chi2 = ((seen - expected) ** 2 / expected).sum() + (n - seen.sum() - rest) ** 2 / max(rest, 1)
    assert stats.chi2.sf(chi2, len(often)) > 1e-5


def test_moments_and_entropy_of_a_wide_one_are_those_of_the_continuous():
    dice = DiscreteGaussian(20.0)
    assert dice.moment(2) == pytest.approx(400, rel=1e-9)  # Poisson summation: e**(-2 pi^2 sigma^2) is nothing
    assert dice.moment(1) == pytest.approx(0, abs=1e-9)
    assert dice.entropy == pytest.approx(0.5 * np.log2(2 * np.pi * np.e * 400), abs=1e-9)
    assert 0 <= dice.expected_bits - dice.entropy < 2


@pytest.mark.parametrize("sigma", [0.5, 3.0])
def test_as_many_coins_are_used_as_the_tree_says(sigma):
    dice, source, n = DiscreteGaussian(sigma), PseudoSource(seed=1), 100_000
    dice.sample(source, n)
    used = source.ledger.counts["bit"] / n
    # one percent more is drawn than expected, and the spread of one number is a few coins
    assert 1.0 <= used / dice.expected_bits < 1.03


def test_one_number_at_a_time_walks_the_tree_of_the_dice_roller():
    dice = DiscreteGaussian(1.5, precision=16)
    weights = [*dice.weights.tolist(), 0]
    depth = 16

    def roll(coins):
        level, number = 0, 0
        while True:
            level, number = level + 1, 2 * number + 1 - next(coins)
            for face, w in enumerate(weights):
                if w >> (depth - level) & 1:
                    if number == 0:
                        return face - len(dice.weights) // 2
                    number -= 1

    coins = iter(np.unpackbits(PseudoSource(seed=2).bits(100_000)).tolist())
    assert dice.sample(PseudoSource(seed=2), 2000).tolist() == [roll(coins) for _ in range(2000)]


def test_the_fast_loaded_dice_roller_gives_the_same_distribution():
    fldr = pytest.importorskip("fldr")
    dice = DiscreteGaussian(1.2, precision=16)
    table = fldr.fldr_preprocess(dice.weights.tolist())
    theirs = Counter(fldr.fldr_sample(table) for _ in range(50_000))
    ours = Counter((dice.sample(PseudoSource(seed=3), 50_000) + dice.weights.size // 2).tolist())
    both = [i for i in range(dice.weights.size) if theirs[i] + ours[i] >= 20]
    assert stats.chi2_contingency([[c[i] for i in both] for c in (ours, theirs)]).pvalue > 1e-5


def test_bad_input_is_refused():
    for options, said in (({"sigma": 0.0}, "sigma"), ({"sigma": 1.0, "precision": 60}, "precision")):
        with pytest.raises(InputError, match=said):
            DiscreteGaussian(**options)
