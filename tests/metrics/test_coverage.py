"""Do 95 % intervals hold the truth about 95 times in a hundred? On shipped features of real images.

Measured over 300 draws (standard error 1.3 %), n of m = 2 n images:

    scored                                    KID, n = 400, 1000    FD extrapolated, n = 400, 1000
    real images                                     1.00, 1.00                          0.96, 0.96
    blurred images                                  0.94, 0.93                          0.95, 0.94
    images with noise                               0.90, 0.88                          0.94, 0.91
    difference, noisy less clean, in pairs          0.95, 0.94                          0.94, 0.95
    difference, noisy less blurred, in pairs        0.97, 0.94                          0.96, 0.95
    difference of two independent real sets         1.00, 0.99                          0.99, 0.99

The FD's shares were measured with a line in 1/n; the parabola that took its place has wider intervals. Where the
truth is nought the intervals are up to 1.6 times too wide. Single scores of damaged images fall short by a few per
cent, nearly always below: a few images of a heavy tail carry much of the distance, and a draw that has few of them
comes with a small standard error too; at n = 4000 they hold (60 draws: 0.95 to 0.97). Differences, on which claims
rest, hold.
"""

import numpy as np
import pytest
from scipy.stats import binom

from voltaspin.core.errors import InputError
from voltaspin.metrics.distance import (
    fd,
    fd_difference,
    fd_extrapolated,
    gaussian_fd,
    kid,
    kid_difference,
    least_images,
)
from voltaspin.metrics.shipped import reference

# Sets of Gaussians with known moments, at the fewest images that are allowed: (d, images, of the reference, draws).
SMALLEST = ((8, 128, 640, 40), (32, 128, 2560, 20), (64, 256, 5120, 6))

N, M, DRAWS = 400, 800, 60
PROMISED = 0.90
#: Fewer hits than this happen once in a thousand to intervals that keep the promise.
LEAST = int(binom.ppf(1e-3, DRAWS, PROMISED))


@pytest.fixture(scope="module")
def sets():
    ref = reference()
    return {name: ref.standardised(found) for name, found in ref.features.items()}


def hits(estimates, truth):
    return sum(e.low <= truth <= e.high for e in estimates)


def spread_ratio(estimates):
    return np.mean([e.std for e in estimates]) / np.std([e.value for e in estimates], ddof=1)


def population_kid(x, y):
    """KID of populations drawn from with replacement, every pair counted, less the term of ``y`` alone."""

    def mean(a, b):
        return np.mean([((a[i : i + 500] @ b.T / a.shape[1] + 1) ** 3).mean() for i in range(0, len(a), 500)])

    return mean(x, x) - 2 * mean(x, y)


@pytest.mark.slow
def test_disjoint_subsets_of_real_images_differ_by_nothing(sets):
    pool = np.concatenate([sets["reference"], sets["real"]])
    rng = np.random.default_rng(1)
    kids, extrapolated, plain = [], [], []
    for _ in range(DRAWS):
        chosen = rng.permutation(len(pool))[: N + M]
        x, y = pool[chosen[:N]], pool[chosen[N:]]
        kids.append(kid(x, y))
        extrapolated.append(fd_extrapolated(x, y))
        plain.append(fd(x, y))
    assert hits(kids, 0.0) >= LEAST
    assert hits(extrapolated, 0.0) >= LEAST
    # The test can fail: the same intervals around the plain FD, which is biased, miss.
    assert hits(plain, 0.0) < LEAST
    # Nor do the intervals hold by being idle: a standard error is at most twice the spread (measured: 1.1
    # to 1.4, since influences are largest where their true size is nought).
    assert spread_ratio(kids) < 2
    assert spread_ratio(extrapolated) < 2


@pytest.mark.slow
def test_difference_of_coupled_arms_without_a_difference(sets):
    """Conditions of one distribution that share half of their pairs: the null of a comparison of noise sources."""
    pool = np.concatenate([sets["reference"], sets["real"]])
    rng = np.random.default_rng(2)
    kids, frechets = [], []
    for _ in range(DRAWS):
        chosen = rng.permutation(len(pool))[: 2 * N + M]
        a, b = pool[chosen[:N]], pool[chosen[N : 2 * N]].copy()
        b[: N // 2] = a[: N // 2]
        y = pool[chosen[2 * N :]]
        kids.append(kid_difference(a, b, y))
        frechets.append(fd_difference(a, b, y))
    for estimates in (kids, frechets):
        assert hits(estimates, 0.0) >= LEAST
        assert 0.7 < spread_ratio(estimates) < 2


@pytest.mark.slow
def test_difference_between_noise_and_none_on_the_same_garments(sets):
    """Drawn with replacement from stored features, whose own distances are then the exact truth."""
    noisy, y_all = sets["noise"], sets["reference"]
    plain = sets["real"][: len(noisy)]

    def moments(x):
        return x.mean(axis=0), np.cov(x.T, bias=True)

    target = moments(y_all)
    truth = gaussian_fd(*moments(noisy), *target) - gaussian_fd(*moments(plain), *target)
    rng = np.random.default_rng(3)
    estimates, kids = [], []
    for _ in range(DRAWS):
        pair, y = rng.integers(0, len(noisy), N), y_all[rng.integers(0, len(y_all), M)]
        estimates.append(fd_difference(noisy[pair], plain[pair], y))
        kids.append(kid_difference(noisy[pair], plain[pair], y))
    assert hits(estimates, truth) >= LEAST
    assert hits(kids, population_kid(noisy, y_all) - population_kid(plain, y_all)) >= LEAST
    # A spread of 60 skewed values is known to about 15 %.
    for found in (estimates, kids):
        assert 0.6 < spread_ratio(found) < 1.5


@pytest.mark.parametrize(("d", "n", "m", "draws"), SMALLEST)
@pytest.mark.parametrize("apart", [0.0, 0.5])
def test_the_extrapolated_fd_holds_the_truth_at_its_least_number_of_images(d, n, m, draws, apart):
    """White Gaussians are the worst spectrum; a line in 1/n held 10 % at d = 64, apart 0."""
    assert n == least_images(d, extrapolate=True)
    rng = np.random.default_rng([d, int(10 * apart)])
    scale, shift = 1 + apart * rng.uniform(-0.3, 0.7, d), np.full(d, apart / np.sqrt(d))
    truth = gaussian_fd(shift, np.diag(scale**2), np.zeros(d), np.eye(d))
    found = [
        fd_extrapolated(rng.normal(size=(n, d)) * scale + shift, rng.normal(size=(m, d)), seed=i) for i in range(draws)
    ]
    # fewer hits than this happen once in a thousand if 93 % of the intervals hold the truth
    assert hits(found, truth) >= binom.ppf(1e-3, draws, 0.93)
    # nor are they idle: a spread of so few draws is known to 15 %, three of these and the factor seen in the script
    assert draws < 20 or spread_ratio(found) < 2.2
    with pytest.raises(InputError, match=f"at least {n}"):
        fd_extrapolated(rng.normal(size=(n - 1, d)), rng.normal(size=(m, d)))
