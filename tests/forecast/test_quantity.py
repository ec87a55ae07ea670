"""Quantities of design files."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadpath.forecast.quantity import UNITS, parse_quantity, unit_example


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("400 Gb/s", "B/s", 50e9),
        ("50GB/s", "B/s", 50e9),
        ("80 GiB", "B", 80 * 2**30),
        ("1_000 W", "W", 1000.0),
        ("2.5e3 us", "s", 2.5e-3),
        ("24 1/d", "1/s", 24 / 86400),
    ],
)
def test_quantity_is_read_in_si(text, unit, value):
    assert parse_quantity(text, unit) == pytest.approx(value)


@pytest.mark.parametrize("value", [50, 5.0, True, None, ["1 s"]])
def test_bare_value_is_never_taken_for_a_quantity(value):
    with pytest.raises(ValueError, match="has no unit"):
        parse_quantity(value, "B/s")


@pytest.mark.parametrize("text", ["fast", "GB/s", "1", "1 2 s", ""])
def test_text_without_number_and_unit_is_refused(text):
    with pytest.raises(ValueError, match="no number with a unit"):
        parse_quantity(text, "s")


def test_unit_of_another_kind_is_refused_and_the_right_ones_are_listed():
    with pytest.raises(ValueError, match=r"'8 GB' has unit 'GB', which is none of ns, us, ms"):
        parse_quantity("8 GB", "s")


@pytest.mark.parametrize("text", ["-1 s", "1e400 s"])
def test_negative_and_endless_quantities_are_refused(text):
    with pytest.raises(ValueError, match="finite and at least 0"):
        parse_quantity(text, "s")


def test_bits_and_bytes_differ_by_eight():
    assert parse_quantity("8 Gb/s", "B/s") == parse_quantity("1 GB/s", "B/s")


@pytest.mark.parametrize("unit", UNITS)
def test_each_example_is_a_quantity_of_its_unit(unit):
    assert parse_quantity(unit_example(unit), unit) > 0


@given(st.floats(0, 1e12), st.sampled_from([(u, name) for u in UNITS for name in UNITS[u]]))
def test_written_quantity_reads_back(value, pair):
    unit, name = pair
    assert parse_quantity(f"{value!r} {name}", unit) == pytest.approx(value * UNITS[unit][name])
