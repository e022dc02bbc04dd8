"""Shapings: exact moments against the normal's and a published table, samples against exact moments."""

import numpy as np
import pytest
from scipy.special import ndtr, ndtri

from voltaspin.core.errors import InputError
from voltaspin.noise import BoxMuller, DitheredPopcount, InverseCDF, Popcount, PseudoSource
from voltaspin.random.normal import quantiles53

NORMAL_MOMENTS = {1: 0, 2: 1, 3: 0, 4: 3, 5: 0, 6: 15}

# Variance, excess kurtosis, largest |z|, Kolmogorov-Smirnov distance, each to the digits that were given.
TABLE = [
    (Popcount(8), 1, -0.25, 2.83, 0.137),
    (Popcount(64), 1, -0.031, 8, 0.050),
    (InverseCDF(8), 0.995, -0.082, 2.89, 2e-3),
    (InverseCDF(12), 0.9997, -0.0085, 3.67, 1.2e-4),
    (InverseCDF(16), 0.99998, -7.5e-4, 4.33, 8e-6),
]


def ks_distance(shaping):
    """Largest distance of the step function from the normal's, just before or at a step."""
    cdf = np.cumsum(shaping.probabilities())
    at = ndtr(shaping.values)
    return max(np.abs(cdf - at).max(), np.abs(np.r_[0, cdf[:-1]] - at).max())


@pytest.mark.parametrize(("shaping", "variance", "kurtosis", "largest", "distance"), TABLE)
def test_the_published_table(shaping, variance, kurtosis, largest, distance):
    second, fourth = shaping.moment(2), shaping.moment(4)
    assert second == pytest.approx(variance, abs=6e-4 if variance == 0.995 else 1e-5 * 6)
    assert fourth / second**2 - 3 == pytest.approx(kurtosis, rel=0.03)
    assert shaping.largest == pytest.approx(largest, abs=5.1e-3)  # 4.3249 is given as 4.33
    assert ks_distance(shaping) == pytest.approx(distance, rel=0.06)


@pytest.mark.parametrize("n", [1, 2, 8, 16, 64])
def test_popcount_moments_are_those_of_the_binomial(n):
    z = Popcount(n)
    assert z.moment(2) == pytest.approx(1, abs=1e-12)
    assert z.moment(4) == pytest.approx(3 - 2 / n, abs=1e-11)  # kurtosis of the binomial, p = 1/2
    assert z.moment(6) == pytest.approx(15 - 30 / n + 16 / n**2, abs=1e-10)  # sum of n signs
    assert max(abs(z.moment(m)) for m in (1, 3, 5)) < 1e-12


@pytest.mark.parametrize("bits", range(4, 17))
def test_inverse_cdf_is_symmetric_sorted_and_the_middle_quantile(bits):
    z = InverseCDF(bits)
    assert z.levels == 2**bits
    assert np.array_equal(z.values, -z.values[::-1])
    assert (np.diff(z.values) > 0).all()
    assert np.allclose(ndtr(z.values), (np.arange(z.levels) + 0.5) / z.levels, atol=1e-15)
    assert z.table.dtype == np.float32
    assert not z.table.flags.writeable


def test_sixteen_bits_are_close_to_the_normal_to_order_six():
    z = InverseCDF(16)
    # What lies beyond the outermost half levels is missing: E[z^m] over the last 2^-17 on each side.
    for order, exact in NORMAL_MOMENTS.items():
        if order % 2:
            assert abs(z.moment(order)) < 1e-10
        else:
            missing = 2 * 2**-17 * (z.largest + 1) ** order
            assert exact - missing < z.moment(order) < exact


@pytest.mark.parametrize("p", [0.3, 0.49, 0.51, 0.55])
def test_mean_shift_of_a_popcount_is_sqrt_n(p):
    for n in (8, 64):
        assert Popcount(n).moment(1, p=p) == pytest.approx(np.sqrt(n) * (2 * p - 1), abs=1e-12)


def test_mean_shifts_of_one_percent_bias():
    assert Popcount(64).moment(1, p=0.51) == pytest.approx(0.16, abs=1e-12)
    assert InverseCDF(16).moment(1, p=0.51) == pytest.approx(0.037, abs=5e-4)
    assert InverseCDF(16).moment(1, p=0.5) == pytest.approx(0, abs=1e-12)


def test_mean_shift_of_biased_coins_by_enumeration():
    shaping, p = InverseCDF(4), 0.6
    expected = 0.0
    for level in range(16):
        ones = level.bit_count()
        expected += p**ones * (1 - p) ** (4 - ones) * ndtri((level + 0.5) / 16)
    assert shaping.moment(1, p=p) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "shaping",
    [InverseCDF(4), InverseCDF(8), InverseCDF(11), InverseCDF(16), Popcount(1), Popcount(16), Popcount(65)],
)
def test_bits_become_the_number_of_their_level_or_count(shaping):
    bits = np.random.default_rng(0).integers(0, 2, 300 * shaping.bits_per_sample, dtype=np.uint8)
    rows = bits.reshape(300, shaping.bits_per_sample)
    if shaping.counts_ones:
        index = rows.sum(axis=1)
    else:
        index = np.array([int("".join(map(str, row)), 2) for row in rows])
    assert np.array_equal(shaping(bits), shaping.values[index].astype(np.float32))


def test_fast_quantile_against_scipy():
    levels = np.r_[0, 1, 2, 4920, 4921, 32767, 32768, 60615, 65534, 65535, np.arange(0, 65536, 77)]
    for low in (0, 2**37 - 1, 2**36 + 12345):
        out = np.empty(levels.size, np.float32)
        fine = np.full(levels.size, np.uint64(low) << np.uint64(27))
        quantiles53(levels.astype(np.float32), fine, out)
        u = levels.astype(np.int64) * 2**37 + low
        tail = np.minimum(u, 2**53 - 1 - u)
        exact = ndtri((tail + 0.5) / 2**53) * np.where(u < 2**52, 1, -1)
        # both are good to 1e-15; what is left is half a unit of the last place of float32, 6e-8
        assert np.allclose(out, exact, rtol=6.1e-8, atol=0)
        assert np.isfinite(out).all()


@pytest.mark.parametrize("precision", ["full", 16, 8])
def test_sampled_moments_and_tails_are_the_exact_ones(precision):
    n = 1_000_000
    z = PseudoSource(seed=11, precision=precision).normal(n).astype(np.float64)
    if precision == "full":
        double_factorial = {1: 0, 2: 1, 3: 0, 4: 3, 5: 0, 6: 15, 8: 105, 10: 945, 12: 10395}
        moments = lambda order: double_factorial.get(order, 0)  # noqa: E731
        beyond = lambda at: 2 * ndtr(-at)  # noqa: E731
    else:
        shaping = InverseCDF(precision)
        moments = shaping.moment
        beyond = lambda at: (np.abs(shaping.values) > at).mean()  # noqa: E731
    for order in range(1, 7):
        sigma = np.sqrt((moments(2 * order) - moments(order) ** 2) / n)
        assert abs((z**order).mean() - moments(order)) < 4.5 * sigma
    for at in (1, 2, 2.5, 3, 4):
        p = beyond(at)
        assert abs((np.abs(z) > at).sum() - n * p) <= 4.5 * np.sqrt(n * p * (1 - p))


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda: InverseCDF(3), "CDF of 3 bits"),
        (lambda: InverseCDF(25), "use 4 to 24 bits"),
        (lambda: Popcount(0), "popcount of 0"),
        (lambda: InverseCDF(4).moment(1, p=1.1), "1.1 is outside"),
        (lambda: InverseCDF(4).moment(-1), "order -1"),
        (lambda: InverseCDF(4)(np.zeros(7, np.uint8)), "numbers of 4 bits"),
    ],
)
def test_bad_input_is_refused(act, said):
    with pytest.raises(InputError, match=said):
        act()


ALL = [InverseCDF(4), InverseCDF(8), InverseCDF(13), InverseCDF(16), InverseCDF(17), InverseCDF(24), Popcount(5),
       Popcount(64), DitheredPopcount(16, 4), BoxMuller()]  # fmt: skip


@pytest.mark.parametrize("shaping", ALL, ids=repr)
@pytest.mark.parametrize("n", [0, 1, 7, 1001])
def test_packed_bits_give_the_numbers_of_bits_one_a_byte(shaping, n):
    packed = np.random.default_rng(n).integers(0, 256, n * shaping.bits_per_sample // 8 + 1, dtype=np.uint8)
    expected = shaping(np.unpackbits(packed, count=n * shaping.bits_per_sample))
    assert np.array_equal(shaping.from_packed(packed, n), expected)
    out = np.empty(n, np.float32)
    assert shaping.from_packed(packed, n, out) is out
    assert np.array_equal(out, expected)
    with pytest.raises(InputError, match="do not make"):
        shaping.from_packed(packed, 8 * packed.size // shaping.bits_per_sample + 1)


@pytest.mark.parametrize(("shaping", "levels", "largest", "variance", "kurtosis", "kolmogorov"), [
    (Popcount(8), 9, 2.83, 1, -0.25, 0.137), (Popcount(64), 65, 8, 1, -0.031, 0.050),
    (InverseCDF(8), 256, 2.89, 0.995, -0.082, 2e-3), (InverseCDF(12), 4096, 3.67, 0.9997, -0.0085, 1.2e-4),
    (InverseCDF(16), 65536, 4.33, 0.99998, -7.5e-4, 8e-6), (InverseCDF(20), 2**20, 4.90, 1, -6e-5, 5e-7),
])  # fmt: skip
def test_the_published_comparison_of_shapings(shaping, levels, largest, variance, kurtosis, kolmogorov):
    assert shaping.levels == levels
    assert shaping.largest == pytest.approx(largest, abs=0.006)
    assert shaping.variance == pytest.approx(variance, abs=5e-5)
    assert shaping.excess_kurtosis == pytest.approx(kurtosis, rel=0.03)
    assert shaping.kolmogorov == pytest.approx(kolmogorov, rel=0.06)


def test_the_kolmogorov_distance_of_equal_levels_is_half_a_level():
    for coins in (4, 9):
        plain = super(InverseCDF, InverseCDF(coins)).kolmogorov  # from all levels, without the closed form
        assert InverseCDF(coins).kolmogorov == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize("coins", [17, 20, 24])
def test_refined_tables_lie_within_their_error_of_the_quantiles(coins):
    rng = np.random.default_rng(coins)
    ends = np.arange(6000)
    anywhere = rng.integers(0, 2**coins, 200_000)
    levels = np.concatenate([ends, 2**coins - 1 - ends, 2 ** (coins - 1) + ends - 3000, anywhere])
    bits = (levels[:, None] >> np.arange(coins - 1, -1, -1) & 1).astype(np.uint8)
    z = InverseCDF(coins)(bits.ravel())
    exact = ndtri((levels + 0.5) / 2.0**coins)
    # float32 rounds by 2**-24 of the number; the interpolation adds what the docstring says
    assert np.abs(z - exact).max() < 3e-7
    assert InverseCDF(coins).largest == pytest.approx(-ndtri(0.5 / 2**coins))


def test_dither_fills_the_steps():
    plain, dithered = Popcount(16), DitheredPopcount(16, 6)
    assert dithered.bits_per_sample == 22
    assert dithered.variance == pytest.approx(1, abs=1e-12)
    assert dithered.kolmogorov < plain.kolmogorov / 10
    assert (np.diff(dithered.values) > 0).all()
    p = 0.45
    assert dithered.probabilities(p).sum() == pytest.approx(1)
    # the exact mean for biased coins: that of the count and of the dither's integer
    dither = sum(p * 2.0 ** -(i + 1) for i in range(6)) + 2.0**-7 - 0.5
    mean = (16 * p - 8 + dither) / np.sqrt(4 + (1 - 4.0**-6) / 12)
    assert dithered.moment(1, p=p) == pytest.approx(mean, abs=1e-12)


def test_box_muller_has_its_exact_moments():
    shaping = BoxMuller()
    packed = np.random.default_rng(3).integers(0, 256, 4_000_000, dtype=np.uint8)
    z = shaping.from_packed(packed, 1_000_000).astype(float)
    for order, spread in ((1, 1.0), (2, np.sqrt(2)), (3, np.sqrt(15)), (4, np.sqrt(96))):
        assert abs(np.mean(z**order) - shaping.moment(order)) < 4.5 * spread / 1000
    assert shaping.largest == pytest.approx(np.sqrt(-2 * np.log(0.5 / 65536)) * np.cos(np.pi / 65536))
    assert shaping.kolmogorov < 1e-6
    assert np.abs(np.sort(z) - ndtri((np.arange(z.size) + 0.5) / z.size))[1000:-1000].max() < 0.05
    with pytest.raises(InputError, match="too many"):
        _ = shaping.values


@pytest.mark.parametrize(("make", "said"), [
    (lambda: InverseCDF(25), "4 to 24"), (lambda: DitheredPopcount(0, 4), "1 to 1024"),
    (lambda: DitheredPopcount(8, 13), "1 to 12"), (lambda: BoxMuller(24), "takes 32"),
])  # fmt: skip
def test_shapings_that_do_not_exist_are_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()
