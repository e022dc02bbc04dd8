import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltaspin.core import units
from voltaspin.core.errors import InputError
from voltaspin.core.units import format_quantity, parse_quantity, parse_range

pytestmark = pytest.mark.installed


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("0.6ns", units.TIME, 0.6e-9),
        ("0.6 ns", units.TIME, 0.6e-9),
        ("1e-9 s", units.TIME, 1e-9),
        ("10y", units.TIME, 10 * units.year),
        ("5 µs", units.TIME, 5e-6),
        ("1.2V", units.VOLTAGE, 1.2),
        ("20mT", units.FIELD, 0.02),
        ("200 Oe", units.FIELD, 0.02),
        ("5.4kohm", units.RESISTANCE, 5400.0),
        ("5.4 kΩ", units.RESISTANCE, 5400.0),
        ("5 ohm um^2", units.RESISTANCE_AREA, 5e-12),
        ("1 kOhm um2", units.RESISTANCE_AREA, 1e-9),
        ("100 fJ/Vm", units.VCMA, 1e-13),
        ("1.0056 mJ/m^2", units.AREAL_ENERGY, 1.0056e-3),
        ("150%", units.RATIO, 1.5),
        ("100M", units.COUNT, 1e8),
        ("8000", units.COUNT, 8000.0),
    ],
)
def test_a_text_with_a_unit_is_its_value_in_si(text, dimension, value):
    assert parse_quantity(text, dimension, name="x") == pytest.approx(value, rel=1e-14)


def test_a_number_without_unit_needs_a_documented_one():
    assert parse_quantity("0.6", units.TIME, name="width", bare="ns") == pytest.approx(0.6e-9)
    with pytest.raises(InputError, match=r"width 0\.6 has no unit"):
        parse_quantity("0.6", units.TIME, name="width")


def test_a_number_off_by_orders_of_magnitude_is_refused():
    with pytest.raises(InputError, match=r"6e-19 s.*without unit is in ns"):
        parse_quantity("600e-12", units.TIME, name="width", bare="ns")
    with pytest.raises(InputError, match="1e\\+06 V"):
        parse_quantity("1e6", units.VOLTAGE, name="voltage", bare="V")


@pytest.mark.parametrize("text", ["", "ns", "nan", "inf", "1e999 s", "1 s 2", "0x10 s", "1,5 ns", "-1 ns", "1 furlong"])
def test_what_is_no_time_is_refused_in_one_line(text):
    with pytest.raises(InputError) as refused:
        parse_quantity(text, units.TIME, name="width")
    assert "\n" not in str(refused.value)


@given(st.text(max_size=30))
def test_any_text_is_a_finite_number_or_refused(text):
    for dimension in (units.TIME, units.FIELD, units.COUNT, units.RESISTANCE_AREA):
        try:
            value = parse_quantity(text, dimension, name="x", signed=True)
        except InputError:
            continue
        assert math.isfinite(value)


@given(st.floats(1e-17, 1e11))
def test_what_is_written_can_be_read_again(value):
    written = format_quantity(value, "s", digits=6)
    assert parse_quantity(written.replace("ks", "e3 s").replace("Ms", "e6 s").replace("Gs", "e9 s").replace(" e", "e"),
                          units.TIME, name="x") == pytest.approx(value, rel=1e-5)  # fmt: skip


def test_prefixes_keep_a_number_readable():
    assert format_quantity(6e-10, "s") == "600 ps"
    assert format_quantity(1200.0, "V") == "1.2 kV"
    assert format_quantity(0.99999, "V", digits=3) == "1 V"
    assert format_quantity(-2e-3, "T") == "-2 mT"
    assert format_quantity(0.0, "s") == "0 s"


@pytest.mark.parametrize(("text", "values"), [
    ("0.1:0.3:0.1ns", (1e-10, 2e-10, 3e-10)), ("0.1ns:0.25ns:0.1ns", (1e-10, 2e-10)), ("1ns", (1e-9,)),
    ("0.2, 0.5,1ns", (2e-10, 5e-10, 1e-9)), ("500ps:1.5ns:0.5ns,2ns", (5e-10, 1e-9, 1.5e-9, 2e-9)),
    ("0.3:0.1:-0.1ns", (3e-10, 2e-10, 1e-10)), ("1:1:1ns", (1e-9,)), ("1,2us,3ns", (1e-6, 2e-6, 3e-9)),
])  # fmt: skip
def test_ranges_count_in_decimals_and_take_the_next_unit(text, values):
    assert parse_range(text, units.TIME, name="widths") == values


@pytest.mark.parametrize(("text", "said"), [
    ("", "no time"), ("1:2ns", "START:STOP:STEP"), ("1:2:3:4ns", "START:STOP:STEP"), ("1:2:0ns", "do not lead"),
    ("1:2:-1ns", "do not lead"), ("1:2:1", "no unit"), ("1:2:1V", "no unit of time"), ("1:x:1ns", "no time"),
    ("0:1:1e-9ns", "more than 10000"), ("1,1ns", "twice"), ("1ns,,2ns", "no time"), ("-1ns", "negative"),
    ("0.1:0.3:0.1ns,0.2ns", "twice"),
])  # fmt: skip
def test_ranges_that_are_none(text, said):
    with pytest.raises(InputError, match=said):
        parse_range(text, units.TIME.within(0, 1e12), name="widths")


def test_a_range_has_whatever_steps_fit_it():
    assert len(parse_range("0.1:1.5:0.05ns", units.TIME, name="w")) == 29
    assert parse_range("-0.2:0.2:0.1V", units.VOLTAGE, name="v", signed=True) == (-0.2, -0.1, 0.0, 0.1, 0.2)
    assert parse_range("1:3:1", units.VOLTAGE, name="v", bare="mV") == (1e-3, 2e-3, 3e-3)
