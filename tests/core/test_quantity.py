import pytest

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate


def test_an_interval_from_a_standard_error():
    e = Estimate.normal(1.0, 0.1, n=7, unit="pJ")
    assert (e.low, e.high) == pytest.approx((1 - 0.195996, 1 + 0.195996), abs=1e-6)
    assert f"{e:.2f}" == "1.00 (0.80 to 1.20) pJ"
    assert e.to_json() == {"value": 1.0, "low": e.low, "high": e.high, "level": 0.95, "std": 0.1, "n": 7, "unit": "pJ"}


def test_equivalence_is_two_one_sided_tests():
    e = Estimate.normal(0.01, 0.01)
    assert e.equivalent(0.01 + 1.6449 * 0.01)
    assert not e.equivalent(0.01 + 1.6448 * 0.01)
    with pytest.raises(InputError, match="positive"):
        e.equivalent(0)
    with pytest.raises(InputError, match="standard error"):
        Estimate(0, -1, 1).equivalent(2)


def test_what_is_only_bounded_says_so():
    e = Estimate.at_most(1e-12)
    assert e.is_bound
    assert f"{e:.0e}" == "at most 1e-12"
    assert not Estimate(0, 0, 0).is_bound


@pytest.mark.parametrize("bad", [(1, 2, 3), (1, 0, 0.5), (float("nan"), 0, 1), (0, float("nan"), 1)])
def test_a_value_outside_its_interval_is_refused(bad):
    with pytest.raises(InputError, match="does not hold"):
        Estimate(*bad)


def test_another_unit():
    e = Estimate.normal(2e-12, 1e-13).scaled(1e12, "pJ")
    assert (e.value, e.std, e.unit) == (pytest.approx(2.0), pytest.approx(0.1), "pJ")
