import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltaspin.core import units
from voltaspin.core.errors import InputError
from voltaspin.core.units import format_quantity, parse_quantity


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
