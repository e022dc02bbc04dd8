"""The steps of ``scripts/inplace_variants.py`` on many copies of one pixel: mean and variance of its count."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from voltaspin.diffusion import inplace

ALPHA_BAR = np.cos(np.pi / 2 * np.arange(1, 21) / 20) ** 2
PIXELS = (20, 2000)
IDEAL = inplace.CellSpec(junction="ideal")


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[2] / "scripts" / "inplace_variants.py"
    spec = importlib.util.spec_from_file_location("inplace_variants", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draws(process, k, t):
    """Counts at ``t`` of pixels with ``k`` clean ones, from the law of the urn."""
    return np.random.default_rng(t).choice(process.cells + 1, PIXELS, p=process.marginal(k, t))


def urn(process, clean, u):
    """Mean and variance of a count at ``u``; the variance is the same for every clean level."""
    kept, n = process.kept(u), process.cells
    return n / 2 * (1 + kept * clean), n / 4 * (1 - kept**2)


def agrees(counts, mean, variance, *, dither=0.0):
    """Whether a sample has these moments, within four standard errors (excess kurtosis of a count: at most 2 here)."""
    n = counts.size
    return (
        abs(counts.mean() - mean) < 4 * (variance / n) ** 0.5 + dither,
        abs(counts.var() - variance) < 4 * variance * (4 / n) ** 0.5 + dither,
    )


@pytest.mark.parametrize(("small", "large"), [(15, 31), (7, 63)])
@pytest.mark.parametrize(("t", "u"), [(18, 14), (9, 6), (5, 3)])
def test_a_count_that_grows_has_the_moments_of_the_larger_urn(script, small, large, t, u):
    less, more = inplace.Process(ALPHA_BAR, small), inplace.Process(ALPHA_BAR, large)
    for k in (small // 3, small // 2):
        now, then = (inplace.PixelArray(p, planes=PIXELS[0], pixels=PIXELS[1], cells=IDEAL, seed=4)
                     for p in (less, more))  # fmt: skip
        now.write(draws(less, k, t))
        clean = 2 * k / small - 1
        script.grow(now, then, np.full(PIXELS, clean), t, u, number=3)
        # 24 programmed levels are dithered over the pixels, to about a thousandth of a count
        assert all(agrees(then.counts, *urn(more, clean, u), dither=2e-3))
        # the same counts, taken as they are for a part of the larger pixel, have another variance
        as_they_are = np.round(now.counts * (large / small))
        assert not agrees(as_they_are, *urn(more, clean, u))[1]


@pytest.mark.parametrize(("t", "u"), [(3, 1), (1, 0)])
def test_an_exact_draw_has_the_moments_of_the_urn_for_every_level(script, t, u):
    process, rng = inplace.Process(ALPHA_BAR, 31), np.random.default_rng(0)
    for k in (0, 1, 15, 31):
        counts, clean = draws(process, k, t), 2 * k / 31 - 1
        drawn = script.exact_draw(process, counts, np.full(PIXELS, clean), t, u, rng)
        assert all(agrees(drawn, *urn(process, clean, u), dither=1e-3)), k
    # the plan with one programmed cell leaves a black pixel with too little
    array = inplace.PixelArray(process, planes=PIXELS[0], pixels=PIXELS[1], cells=IDEAL, seed=4)
    array.write(draws(process, 0, t))
    mean = process.posterior_mean(array.counts, -1.0, t, u)
    array.step(mean, process.average_variance(t, u), number=1)
    assert not agrees(array.counts, *urn(process, -1.0, u), dither=1e-3)[1]


def test_the_time_that_matches_a_variance(script):
    process = inplace.Process(ALPHA_BAR, 31)
    for u in (2, 8, 15):
        own = urn(process, 0.0, u)[1]
        below, same, above = script.matching_time(process, u, [own * 0.2, own, own * 9])
        assert below < u == same < above
    # a variance of the noise that is that of another time, at the signal of this one
    for u, other in [(8, 7), (8, 10)]:
        noise = ALPHA_BAR[u] * (1 / ALPHA_BAR[other] - 1)
        spread = noise * (31 / (2 * process.scale(u))) ** 2
        assert script.matching_time(process, u, [spread])[0] == other


def test_the_variance_of_the_plans_is_followed_over_steps(script):
    process = inplace.Process(ALPHA_BAR, 31)
    array = inplace.PixelArray(process, planes=PIXELS[0], pixels=PIXELS[1], cells=IDEAL, seed=4)
    array.write(draws(process, 0, 3))
    spread = np.full(PIXELS, urn(process, -1.0, 3)[1])
    for number, (t, u) in enumerate([(3, 2), (2, 1), (1, 0)], 1):
        mean = process.posterior_mean(array.counts, -1.0, t, u)
        variance = process.average_variance(t, u)
        spread = script.followed(process, spread, mean, variance, t, u, number=number)
        array.step(mean, variance, number=number)
        assert array.counts.var() == pytest.approx(spread.mean(), rel=4 * (4 / array.counts.size) ** 0.5 + 5e-3)
    # and differs from that of the urn, so that the time does
    assert spread.mean() < 0.95 * urn(process, -1.0, 0)[1]
