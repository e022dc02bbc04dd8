"""Distances against closed forms, a brute-force double sum, and what they must refuse."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy.linalg import sqrtm

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Z95, Estimate
from voltaspin.metrics import Score, fd, fd_extrapolated, kid
from voltaspin.metrics.distance import fd_difference, gaussian_fd, kid_difference


def draws(seed, n, d, *, mean=0.0, scale=1.0):
    return np.random.default_rng(seed).normal(mean, scale, (n, d))


# Frechet distance


def test_fd_of_gaussians_equals_the_closed_forms():
    # Equal covariance: |m|^2. Diagonal covariances: sum of (s - t)^2.
    rng = np.random.default_rng(1)
    root = rng.normal(size=(6, 6))
    m = rng.normal(size=6)
    assert gaussian_fd(m, root @ root.T, np.zeros(6), root @ root.T) == pytest.approx(m @ m, rel=1e-9)
    s, t = rng.uniform(0.1, 3, (2, 6))
    found = gaussian_fd(np.zeros(6), np.diag(s**2), np.zeros(6), np.diag(t**2))
    assert found == pytest.approx(((s - t) ** 2).sum(), rel=1e-9)


def test_fd_agrees_with_scipys_square_root():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(300, 8)) @ rng.normal(size=(8, 8)), rng.normal(size=(400, 8))
    a, b = np.cov(x.T), np.cov(y.T)
    shift = x.mean(0) - y.mean(0)
    expected = shift @ shift + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert fd(x, y).value == pytest.approx(expected, rel=1e-8)


def test_fd_of_a_singular_covariance_is_finite_and_of_a_set_with_itself_zero():
    x = draws(3, 200, 5)
    x[:, 4] = x[:, 3]
    # Eigenvalues near rounding (1e-16 of the largest) enter by their root.
    assert abs(fd(x, x).value) < 1e-6
    assert np.isfinite(fd(x, x).std)


def test_plain_fd_is_biased_upward_and_the_extrapolated_one_is_not():
    d, n, repeats = 8, 128, 60
    sets = [(draws((4, i), n, d), draws((5, i), n, d)) for i in range(repeats)]
    plain = np.array([fd(x, y).value for x, y in sets])
    better = np.array([fd_extrapolated(x, y).value for x, y in sets])
    # Three standard errors of the mean of the repeats.
    assert plain.mean() > 10 * plain.std(ddof=1) / repeats**0.5
    assert abs(better.mean()) < 3 * better.std(ddof=1) / repeats**0.5
    assert better.std() < 1.5 * plain.std()


def test_fd_finds_a_known_shift_within_its_interval():
    # |shift|^2 = 8 * 0.25 = 2 between unit Gaussians; 3.5 standard errors for a fixed seed.
    estimate = fd_extrapolated(draws(6, 2000, 8, mean=0.5), draws(7, 4000, 8))
    assert abs(estimate.value - 2.0) < 3.5 * estimate.std
    # |N(s, 1/n + 1/m)|^2 has the variance 4 |s|^2 (1/n + 1/m); the covariances add nothing at first order.
    assert estimate.std == pytest.approx((4 * 2.0 * (1 / 2000 + 1 / 4000)) ** 0.5, rel=0.15)


def test_fd_is_the_same_for_the_same_seed_and_hardly_moves_with_another():
    x, y = draws(8, 400, 8, mean=0.5), draws(9, 400, 8)
    one = fd_extrapolated(x, y, seed=1)
    assert one == fd_extrapolated(x, y, seed=1)
    other = fd_extrapolated(x, y, seed=2)
    assert one.value != other.value
    assert abs(one.value - other.value) < one.std


# Kernel distance


def brute_force_kid(x, y):
    d, n, m = x.shape[1], len(x), len(y)

    def k(u, v):
        return (u @ v / d + 1) ** 3

    inner = sum(k(x[i], x[j]) for i, j in itertools.permutations(range(n), 2)) / (n * (n - 1))
    own = sum(k(y[i], y[j]) for i, j in itertools.permutations(range(m), 2)) / (m * (m - 1))
    return inner + own - 2 * sum(k(u, v) for u in x for v in y) / (n * m)


@pytest.mark.parametrize(("n", "m"), [(9, 14), (70, 131)])  # below and above one block of rows
def test_kid_equals_the_double_sum(n, m):
    x, y = draws(10, n, 3, mean=0.4), draws(11, m, 3)
    assert kid(x, y).value == pytest.approx(brute_force_kid(x, y), rel=1e-10)


def test_kid_difference_is_the_difference_of_two_kids():
    a, b, y = draws(12, 80, 4, mean=0.3), draws(13, 80, 4), draws(14, 120, 4)
    found = kid_difference(a, b, y)
    assert found.value == pytest.approx(kid(a, y).value - kid(b, y).value, rel=1e-9)
    assert kid_difference(b, a, y).value == pytest.approx(-found.value, rel=1e-12)


def test_kid_is_unbiased_and_its_standard_error_right_where_it_is_degenerate():
    repeats = 400
    found = [kid(draws((15, i), 40, 4), draws((16, i), 60, 4)) for i in range(repeats)]
    value, std = np.array([e.value for e in found]), np.array([e.std for e in found])
    assert abs(value.mean()) < 3 * value.std(ddof=1) / repeats**0.5
    # The spread of a sum of weighted chi-squares over 400 repeats is known to about 8 %; the estimate
    # keeps the larger of two, so it may be wider by the part of the first order that is noise.
    assert 0.85 < std.mean() / value.std(ddof=1) < 1.6


def test_kid_standard_error_is_right_where_the_sets_differ():
    repeats = 200
    found = [kid(draws((17, i), 60, 4, mean=0.6), draws((18, i), 90, 4)) for i in range(repeats)]
    value, std = np.array([e.value for e in found]), np.array([e.std for e in found])
    # A spread over 200 repeats of a mildly skewed value is known to about 7 %: three of these.
    assert std.mean() == pytest.approx(value.std(ddof=1), rel=0.21)


# Pairs


def test_pairs_narrow_the_interval_of_a_difference_between_arms_off_the_reference():
    """Where both conditions are shifted, what an image adds to one it adds to the other, and pairs cancel it.

    At first order the variance of the FD difference is 4 D^2 (1/n + 1/m) with pairs and
    4 ((A^2 + B^2) / n + D^2 / m) without, A and B being the shifts and D their difference: with 1.0, 0.8 and
    0.2 a ratio of 0.2 of the standard errors. A condition on the reference has nothing to cancel.
    """
    common = draws(19, 600, 4)
    a = common + draws(20, 600, 4, scale=0.1) + 0.5
    b, y = common + draws(21, 600, 4, scale=0.1) + 0.4, draws(22, 1000, 4)
    shuffled = b[np.random.default_rng(23).permutation(len(b))]
    for difference in (kid_difference, fd_difference):
        paired, loose = difference(a, b, y), difference(a, shuffled, y)
        assert paired.std < 0.4 * loose.std
        assert paired.value == pytest.approx(loose.value, abs=3 * loose.std)


def test_arms_that_coincide_differ_by_nothing():
    a, y = draws(24, 200, 4), draws(25, 300, 4)
    for difference in (kid_difference, fd_difference):
        found = difference(a, a.copy(), y)
        assert (found.value, found.std, found.low, found.high) == pytest.approx((0, 0, 0, 0), abs=1e-12)


# Refusals


@pytest.mark.parametrize("distance", [kid, fd, fd_extrapolated])
def test_bad_features_are_refused(distance):
    x, y = draws(26, 50, 4), draws(27, 60, 4)
    broken = x.copy()
    broken[3, 1] = np.nan
    for bad, message in (
        (broken, "NaN or infinity in 1 of 50"),
        (x[:, 0], r"not \(n, d\)"),
        (x[:, :3], "one extractor for both"),
        (x[:3], "at least 4"),
    ):
        with pytest.raises(InputError, match=message):
            distance(bad, y)


def test_fd_of_too_few_images_is_refused_and_kid_remains():
    x, y = draws(28, 127, 64), draws(29, 300, 64)
    with pytest.raises(InputError, match=r"at least 128.*singular.*use kid"):
        fd(x, y)
    with pytest.raises(InputError, match="at least 256"):
        fd_extrapolated(draws(28, 255, 64), y)
    with pytest.raises(InputError, match="y has 127"):
        fd(y, x)
    assert np.isfinite(kid(x, y).value)


def test_arms_of_unequal_length_are_refused():
    for difference in (kid_difference, fd_difference):
        with pytest.raises(InputError, match="no pairs"):
            difference(draws(30, 50, 4), draws(31, 51, 4), draws(32, 60, 4))


# Score


SCORE = Score.of(
    Estimate.normal(1.23e-3, 0.22e-3 / Z95, n=5000), name="KID", extractor="net-1", extractor_sha256="0123456789ab",
    noise="simulated", shared="labels",
)  # fmt: skip


def test_a_score_says_all_about_itself():
    assert str(SCORE) == ("KID x1e3 = 1.23 [1.01, 1.45] (n=5000, net-1 01234567, noise: simulated, shared: labels)")
    assert Score(**SCORE.to_json()) == SCORE
    assert SCORE.std == pytest.approx(0.22e-3 / 1.959964)
    with pytest.raises(dataclasses.FrozenInstanceError):
        SCORE.value = 0


def test_equivalence_is_two_one_sided_tests():
    # The 90 % interval ends at |value| + 1.645 standard errors.
    edge = 1.23e-3 + 1.644854 * SCORE.std
    assert SCORE.equivalent(edge * 1.0001)
    assert not SCORE.equivalent(edge * 0.9999)
    with pytest.raises(InputError, match="must be positive"):
        SCORE.equivalent(0)
