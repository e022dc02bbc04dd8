"""Thresholds of curves whose crossing is known, and how often the interval holds it."""

import math

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.random.streams import Stream
from voltaspin.requirements.threshold import threshold

MARGIN = 0.03
AT = (0.01, 0.02, 0.05, 0.1, 0.2)


def curve(crossing, power=2.0, at=AT):
    return [MARGIN * (x / crossing) ** power for x in at]


@pytest.mark.parametrize("crossing", [0.012, 0.03, 0.05, 0.13])
def test_a_square_is_found_exactly_and_to_both_sides(crossing):
    for sign in (1, -1):
        found = threshold(AT, [sign * d for d in curve(crossing)], [1e-5] * 5, MARGIN)
        assert found.said == "reached"
        assert found.value == pytest.approx(crossing, rel=1e-9)
        # the error of a point goes into the amplitude by the slope there: d = m (x/c)^2, dx = c/(2 m) dd
        assert found.high - found.low < 4 * 1.96 * crossing / (2 * MARGIN) * 1e-5
        assert found.low <= found.value <= found.high


@pytest.mark.parametrize("power", [1.0, 4.0])
def test_other_powers_are_found_within_the_interpolation(power):
    found = threshold(AT, curve(0.07, power), [1e-5] * 5, MARGIN)
    assert 0.05 < found.value < 0.1
    assert found.value == pytest.approx(0.07, rel=0.12)  # between points a factor of two apart


def test_a_falling_axis_on_a_logarithm():
    at = (64, 16, 8, 4, 2)
    d = [MARGIN * (math.log(64 / x) / math.log(64 / 5)) ** 2 for x in at]
    found = threshold(at, d, [1e-5] * 5, MARGIN, scale="log")
    assert found.value == pytest.approx(5, rel=1e-9)
    assert found.low > found.high  # low is the end of less harm


def test_curves_that_never_or_always_lie_outside_say_so():
    inside = threshold(AT, [0.001] * 5, [1e-4] * 5, MARGIN)
    assert (inside.said, inside.value, inside.low, inside.high) == ("not reached", None, 0.2, None)
    outside = threshold(AT, [0.1, 0.2, 0.3, 0.4, 0.5], [1e-3] * 5, MARGIN)
    assert (outside.said, outside.value, outside.low, outside.high) == ("already outside", None, None, 0.01)
    # not reached, but the errors leave it open: the certain part ends earlier
    open_ = threshold(AT, [0, 0, 0, 0.01, 0.028], [1e-3, 1e-3, 1e-3, 0.002, 0.004], MARGIN)
    assert open_.said == "not reached"
    assert 0.1 < open_.low < 0.2
    assert open_.high is None


def test_equal_points_have_no_error_and_a_curve_that_dips_is_made_monotone():
    found = threshold(AT, [0.0, 0.0, 0.0, 4 * MARGIN, 9 * MARGIN], [0.0, 0.0, 0.0, 1e-5, 1e-5], MARGIN)
    assert found.value == pytest.approx(0.075, rel=1e-6)  # the root rises from 0 to 2 between 0.05 and 0.1
    # the mean of a pair that falls is taken for both: 0.5 and 1.5 margins are 1.0, which is not outside
    dips = threshold(AT, [0, 1.5 * MARGIN, 0.4 * MARGIN, 2 * MARGIN, 3 * MARGIN], [1e-4] * 5, MARGIN)
    assert 0.05 < dips.value < 0.1


def test_a_curve_that_falls_first_leaves_on_the_side_that_comes_first():
    """Some noise flatters: KID falls before it rises."""
    d = [-0.25 * MARGIN, -4 * MARGIN, 0, 9 * MARGIN, 20 * MARGIN]
    sure = threshold(AT, d, [0.1 * MARGIN] * 5, MARGIN)
    assert sure.value == pytest.approx(0.01 + 0.01 * (1 - 0.5) / (2 - 0.5), rel=1e-9)  # roots 0.5 and 2
    # a dip that chance may have made is pooled with what comes after it
    chance = threshold(AT, d, [2 * MARGIN] * 5, MARGIN)
    assert chance.value == pytest.approx(0.05 + 0.05 / 3, rel=1e-9)  # roots 0 and 3


@pytest.mark.parametrize(("crossing", "std"), [(0.035, 0.003), (0.07, 0.006), (0.15, 0.008)])
def test_the_interval_holds_the_truth_as_often_as_it_says(crossing, std):
    n, held = 200, 0
    noise = Stream.of(8, "test", str(crossing)).normals(5 * n).reshape(n, 5)
    for i in range(n):
        found = threshold(AT, np.array(curve(crossing)) + std * noise[i], [std] * 5, MARGIN, seed=i)
        low = -math.inf if found.low is None else found.low
        high = math.inf if found.high is None else found.high
        held += low <= crossing <= high
    assert held / n > 0.95 - 3 * math.sqrt(0.95 * 0.05 / n)
    assert held / n <= 1 - 1 / n  # an interval that never misses is none


@pytest.mark.parametrize(
    ("at", "d", "std", "margin", "message"),
    [
        ((1.0,), (0.0,), (0.1,), 0.1, "give two or more"),
        ((1.0, 1.0), (0, 0), (1, 1), 0.1, "in order"),
        ((1.0, 2.0), (0,), (1, 1), 0.1, "give two or more"),
        ((1.0, 2.0), (0, 0), (1, 1), 0.0, "must be positive"),
        ((1.0, 2.0), (0, 0), (-1, 1), 0.1, "not negative"),
    ],
)
def test_points_that_are_no_curve_are_refused(at, d, std, margin, message):
    with pytest.raises(InputError, match=message):
        threshold(at, d, std, margin)
    with pytest.raises(InputError, match="logarithmic"):
        threshold((0.0, 1.0), (0, 0), (1, 1), 0.1, scale="log")
