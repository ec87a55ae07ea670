"""The risk register: what is likely and dear comes first, what never happens is left out."""

import numpy as np
import polars as pl
import pytest

from loadpath.forecast.drivers import drivers_of
from loadpath.forecast.inversion import Limits
from loadpath.forecast.priors import shipped_priors
from loadpath.forecast.risks import Stake, risk_register
from loadpath.forecast.step_point import prior_key

PRIOR = shipped_priors()["node_failures"]
DRAWN = np.random.default_rng(0).standard_normal(1000)


def stake(cost, speed=None, **more):
    cost = np.asarray(cost)
    normals = {prior_key(PRIOR): DRAWN}
    priced = {
        "cost_per_unit": cost,
        "throughput_per_s": 1 / cost if speed is None else speed,
    } | more
    drivers = drivers_of(normals, cost[:, -1])
    return Stake(
        priced, "cost_per_unit", 1.5, cost.shape[1] - 1, {"node_failures": PRIOR}, normals, drivers
    )


def names(table):
    return table["risk"].to_list()


def test_calm_job_below_its_limit_has_no_risk():
    assert risk_register(stake(np.ones((1000, 2))), Limits()).is_empty()


def test_driver_that_turns_out_badly_names_its_trigger_and_its_owner():
    cost = np.exp(0.1 * DRAWN)[:, None]
    table = risk_register(stake(cost, job_cost=1000 * cost), Limits())
    row = table.filter(pl.col("risk") == "node_failures turns out badly").row(0, named=True)
    assert row["likelihood_ratio"] == pytest.approx(0.1, abs=0.01)
    # The mean of a normal's upper tenth is 1.755 deviations.
    assert row["impact_ratio"] == pytest.approx(np.exp(0.1755) - 1, rel=0.1)
    assert row["impact"] == pytest.approx(1000 * row["impact_ratio"], rel=0.05)
    assert row["trigger"].startswith("node_failures above ")
    assert row["owner"] == "operations"


def test_limit_that_some_worlds_pass_is_a_risk_with_its_excess():
    cost = np.where(np.arange(1000) < 200, 1.8, 1.0)[:, None]
    row = risk_register(stake(cost), Limits()).row(0, named=True)
    assert (row["risk"], row["likelihood_ratio"]) == ("a unit costs more than the limit", 0.2)
    assert row["impact_ratio"] == pytest.approx(0.3)
    assert row["impact"] is None


def test_size_at_which_cost_has_inverted_is_a_risk():
    cost = np.tile([1.0, 1.4], (1000, 1))
    assert "cost has inverted below this size" in names(risk_register(stake(cost), Limits()))


def test_dearest_risk_comes_first():
    cost = np.where(np.arange(1000) < 500, 1.8, 1.0)[:, None] * np.exp(0.01 * DRAWN)[:, None]
    table = risk_register(stake(cost), Limits())
    weight = (table["likelihood_ratio"] * table["impact_ratio"]).to_list()
    assert weight == sorted(weight, reverse=True)
