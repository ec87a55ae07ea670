"""Costs of price * bandwidth^-a * (1 + noise * z), where everything is known."""

import numpy as np
import pytest

from loadpath.errors import UsageError
from loadpath.forecast.viability import break_even, cut, elasticities, two_way_cut

DEVIATES = np.random.default_rng(4).standard_normal(4001)
AT = {"price": 2.0, "bandwidth": 100.0, "noise": 0.1}
UP = np.geomspace(1, 10, 60).tolist()


def cost(p):
    return p["price"] * p["bandwidth"] ** -0.3 * np.exp(p["noise"] * DEVIATES)


def raised(flag):
    assert flag is not None
    return flag


def test_worlds_within_the_limit_are_counted():
    limit = float(np.median(cost(AT)))
    table = cut(cost, AT, "price", [1.0, 2.0, 4.0], limit=limit)
    assert table["viable_ratio"].to_list() == pytest.approx([1.0, 0.5, 0.0], abs=2e-3)
    assert table["median"].to_list() == pytest.approx([limit / 2, limit, 2 * limit])


def test_two_ways_through_the_region_are_every_pair():
    table = two_way_cut(cost, AT, {"price": [1, 2], "bandwidth": [50, 100, 200]}, limit=1.0)
    assert table.height == 6
    assert table["parameter"].unique().to_list() == ["price x bandwidth"]
    ordered = table.sort("value", "other_value")["viable_ratio"].to_list()
    assert ordered[:3] == sorted(ordered[:3])


def test_break_even_lies_where_the_median_passes_the_limit():
    flag = raised(break_even(cost, AT, "price", UP, limit=1.0))
    truth = 100.0**0.3
    assert flag.n == pytest.approx(truth, rel=0.01)
    assert flag.low == pytest.approx(truth * np.exp(-0.1645), rel=0.02)
    assert raised(flag.high) == pytest.approx(truth * np.exp(0.1645), rel=0.02)


def test_break_even_is_found_downwards_too():
    flag = raised(break_even(cost, AT, "bandwidth", [100, 80, 60, 40, 20, 10], limit=0.7))
    assert flag.n == pytest.approx((2.0 / 0.7) ** (1 / 0.3), rel=0.05)


def test_limit_that_is_never_passed_has_no_break_even():
    assert break_even(cost, AT, "price", UP, limit=1e9) is None


def test_job_beyond_the_limit_from_the_start_breaks_even_there():
    assert raised(break_even(cost, AT, "price", UP, limit=1e-9)).n == pytest.approx(1.0)


def test_elasticities_are_the_exponents_and_the_largest_stands_first():
    table = elasticities(cost, AT, ["bandwidth", "price"])
    assert table["parameter"].to_list() == ["price", "bandwidth"]
    assert table["median"].to_list() == pytest.approx([1.0, -0.3], abs=1e-6)


def test_elasticity_to_stability_is_that_of_each_world_s_own_noise():
    (row,) = elasticities(cost, AT, ["noise"]).rows()
    assert row[2] == pytest.approx(np.quantile(0.1 * DEVIATES, 0.05), rel=0.01)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: cut(cost, AT, "latency", [1], limit=1), "latency unknown"),
        (lambda: two_way_cut(cost, AT, {"price": [1]}, limit=1), "1 parameters"),
        (lambda: break_even(cost, AT, "price", [1, 3, 2], limit=1), "in order"),
        (lambda: break_even(cost, AT, "price", [0, 1], limit=1), "above 0"),
        (lambda: elasticities(cost, {**AT, "price": 0.0}, ["price"]), "price not above 0"),
    ],
)
def test_questions_that_cannot_be_asked_are_refused(call, said):
    with pytest.raises(UsageError, match=said):
        call()
