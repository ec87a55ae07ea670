"""What is certain about a figure, in words."""

import pytest

from loadpath.brief.certainty import unit_cost


@pytest.mark.parametrize(
    ("per_unit", "said"),
    [
        (2.5, "2.5 EUR a unit of work, 1.25 without the cause"),
        (4.5e-4, "0.45 EUR a thousand units of work, 0.225 without the cause"),
        (4.55e-8, "45.5 EUR a billion units of work, 22.8 without the cause"),
    ],
)
def test_money_for_work_is_said_of_as_many_units_as_a_person_can_read(per_unit, said):
    stake = {
        "gpu_hours_per_unit": 1.0,
        "money_per_unit": per_unit,
        "money_per_unit_without_cause": per_unit / 2,
        "currency": "EUR",
    }
    assert unit_cost(stake) == said


def test_without_a_price_work_takes_hours():
    stake = {"gpu_hours_per_unit": 3e-7, "hours_of": "rank"}
    assert unit_cost(stake) == "0.3 rank-hours a million units of work"
    assert not unit_cost({})
