from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadpath.errors import InputError
from loadpath.price.tariff import Money, Tariff, cost_rows, money, run_cost

RATE = st.decimals("0", "1000", places=4)


@given(RATE, RATE, st.integers(0, 10**9), st.integers(0, 10**15))
def test_sampled_costs_are_those_of_the_exact_sum(rate, power, gpu_s, energy_j):
    tariff = Tariff("EUR", rate, power, Decimal("1.25"))
    exact = run_cost(tariff, gpu_s, energy_j)
    assert float(cost_rows(tariff, gpu_s, energy_j)) == pytest.approx(
        float(exact.amount), abs=0.006, rel=1e-9
    )


def test_power_counts_at_the_meter():
    tariff = Tariff("USD", Decimal(0), Decimal("0.10"), Decimal("1.5"))
    assert run_cost(tariff, 0, 3_600_000 * 100) == Money("USD", Decimal("15.00"))


def test_amounts_are_rounded_to_even_cents():
    assert [money(text, "USD").amount for text in ("0.005", "0.015")] == [
        Decimal("0.00"), Decimal("0.02"),
    ]  # fmt: skip


def test_everything_wrong_with_a_tariff_is_said_at_once():
    with pytest.raises(InputError) as refused:
        Tariff("usd", Decimal(-1), Decimal("NaN"), Decimal("0.9"))
    assert len(refused.value.problems) == 4


def test_rate_as_a_binary_fraction_is_refused():
    with pytest.raises(InputError, match="rate_per_gpu_hour is a float, not a Decimal"):
        Tariff("USD", 2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("amount", ["twelve", "NaN", float("inf")])
def test_what_is_no_amount_is_refused(amount):
    with pytest.raises(InputError, match="is no amount"):
        money(amount, "USD")
