"""Numbers for people."""

import pytest

from voltaspin.core.format import duration, energies, energy, interval, number, prefixed, spread, stretch, times
from voltaspin.core.quantity import Estimate


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0123, "−0.0123"),
        (1236.4, "1,240"),
        (2.0, "2"),
        (3.2e-7, "3.20·10⁻⁷"),
        (0.00004, "0.00004"),
        (1.5e7, "1.50·10⁷"),
        (400.0, "400"),
    ],
)
def test_number(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        ((0.00613, 0.00552, 0.00671), "0.0061 (0.0055 to 0.0067)"),
        ((11.2, 10.6, 11.8), "11.2 (10.6 to 11.8)"),
        ((180, 171, 189), "180 (171 to 189)"),
        ((-0.5, -0.5, -0.5), "−0.50 (−0.50 to −0.50)"),
    ],
)
def test_interval(estimate, text):
    value, low, high = estimate
    assert interval(Estimate(value=value, low=low, high=high)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(3.4567, "3.5"), (23.7, "24"), (3456.0, "3,500"), (0.0214, "0.021"), (4.23e-5, "0.000042"), (3e-9, "3.0·10⁻⁹")],
)
def test_two_digits(value, text):
    assert number(value, 2) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(3e-10, "300 ps"), (42.0, "42 s"), (185.2, "3 min 5 s"), (7200.0, "2 h"), (3.156e17, "1.00·10¹⁰ y")],
)
def test_duration(value, text):
    assert duration(value) == text


@pytest.mark.parametrize(
    ("pJ", "text"),
    [
        (0.072, "72 fJ"),
        (0.0, "0 J"),
        (2.9, "2.9 pJ"),
        (0.9997, "1 pJ"),
        (1.2e-4, "120 aJ"),
        (6.9e9, "6.9 mJ"),
        (5.76e13, "57.6 J"),
        (2.5e15, "2.5 kJ"),
    ],
)
def test_energy(pJ, text):
    assert energy(pJ) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(1282.0, "1,280×"), (0.0213, "0.021×"), (1.31e5, "131,000×"), (3.2e-5, "0.000032×"), (3.2e-6, "3.2·10⁻⁶×")],
)
def test_times(ratio, text):
    assert times(ratio) == text


def test_ranges_stand_in_the_unit_of_their_value():
    e = Estimate(value=12.1, low=4.13, high=45.2, level=0.9)
    assert energies(e) == "12.1 (4.1 to 45) pJ"
    assert energies(e.scaled(1e-3)) == "12.1 (4.1 to 45) fJ"
    assert energies(None) == "–"
    assert spread(e.scaled(1e2)) == "1,210 (410 to 4,500)"
    assert spread(e, 100, "%") == "1,210 (410 to 4,500) %"


@pytest.mark.parametrize(("low", "high", "text"), [(41.2, 41.4, "41×"), (40.2, 41.4, "40× to 41×")])
def test_a_range_whose_ends_read_the_same_is_one_number(low, high, text):
    assert stretch(times(low), times(high)) == text


@pytest.mark.parametrize("value", [999.7, 0.9997, 1.0005e-3, 9.996e5])
def test_prefixes_take_the_rounded_value(value):
    (scaled,), _ = prefixed([value], "V")
    assert 0.99 < scaled < 1000
