"""The distribution of one shaping from the coins of another."""

import numpy as np
import pytest
from scipy.stats import binom

from voltaspin.core.errors import InputError
from voltaspin.noise import InverseCDF, MemorySource, Popcount, PseudoSource, Requantised
from voltaspin.random.streams import Stream


def coins(n):
    return (Stream.of(1, "test", "coins").words(16 * n) & 1).astype(np.uint8)


@pytest.mark.parametrize("bits", [4, 5, 8, 12])
def test_a_coarse_inverse_cdf_is_that_of_the_leading_bits(bits):
    n = 2000
    given = coins(n)
    leading = np.ascontiguousarray(given.reshape(n, 16)[:, :bits]).ravel()
    assert np.array_equal(Requantised(InverseCDF(bits))(given), InverseCDF(bits)(leading))
    values, counts = np.unique(Requantised(InverseCDF(bits)).values, return_counts=True)
    assert values.size == 2**bits
    assert (counts == 2 ** (16 - bits)).all()


@pytest.mark.parametrize("n", [1, 2, 4, 16, 64])
def test_a_popcount_has_the_binomial_distribution(n):
    shaping = Requantised(Popcount(n))
    values, counts = np.unique(shaping.values, return_counts=True)
    p = binom.pmf(np.rint((values * np.sqrt(n) + n) / 2), n, 0.5)
    assert np.abs(counts / 2**16 - p).max() <= 1 / 2**16
    # probabilities to 1/65536 and values up to sqrt(n): the variance to the sum over the levels
    assert abs(shaping.variance - 1) <= (Popcount(n).values ** 2).sum() / 2**16
    assert np.all(np.diff(shaping.values) >= 0)  # the coupling is monotone
    assert shaping.kolmogorov == Popcount(n).kolmogorov


def test_a_source_takes_it_and_stays_coupled_with_the_software():
    fine = PseudoSource(seed=3, precision=16).normal((2, 28, 28), streams=[0, 1], step=2)
    coarse = MemorySource(seed=3, k=1, memory=fair(), transform=Requantised(InverseCDF(6)))
    got = coarse.normal((2, 28, 28), streams=[0, 1], step=2)
    # a larger fine number is never a smaller coarse one: the same coins decide both
    order = np.argsort(fine.ravel(), kind="stable")
    assert (np.diff(got.ravel()[order]) >= 0).all()
    assert "inverse CDF of 6 bits" in coarse.provenance.description


def fair():
    from voltaspin.device import SwitchingModel
    from voltaspin.memory import MagnetoelectricMemory

    return MagnetoelectricMemory(model=SwitchingModel.constant(0.5, 0.5))


def test_what_has_no_list_of_values_is_refused():
    from voltaspin.noise import BoxMuller

    with pytest.raises(InputError, match="too many for a list"):
        Requantised(BoxMuller()).table  # noqa: B018
