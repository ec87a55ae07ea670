"""Causes that interact, and what each contributes."""

import numpy as np
import pytest
from tests.diagnose.stability_jobs import bsp

from loadpath.diagnose.candidates import find_candidates
from loadpath.diagnose.effects import nest_effects
from loadpath.diagnose.interaction import (
    _over_steps,
    _sampled,
    interaction_table,
    shapley_values,
)
from loadpath.diagnose.step_sample import sample_steps
from loadpath.diagnose.verdict import judge


def weighed(job):
    effects = nest_effects(job)
    rng = np.random.default_rng(0)
    judgement = judge(job, effects, find_candidates(job, effects, rng), rng)
    return interaction_table(sample_steps(job), judgement, rng)


def test_two_redundant_causes_share_what_removing_both_returns():
    """Ranks 2 and 5 are slow by 30 and 25 ms: alone 5 ms come back, together 30.

    Shapley: rank 2 gets (5 + 30) / 2, rank 5 (0 + 25) / 2.
    """
    table = weighed(bsp([70, 70, 100, 70, 70, 95, 70, 70], steps=16, seed=1, noise=0.002))
    found = {row["key"]: row for row in table.iter_rows(named=True)}
    assert set(found) == {"rank 2", "rank 5"}
    assert found["rank 2"]["removal_s"] == pytest.approx(0.005, rel=0.1)
    assert found["rank 2"]["shapley_s"] == pytest.approx(0.0175, rel=0.05)
    assert found["rank 5"]["shapley_s"] == pytest.approx(0.0125, rel=0.05)
    assert set(table["method"]) == {"exact"}


def test_a_single_cause_interacts_with_nothing():
    assert weighed(bsp([70, 70, 100, 70], steps=16)).is_empty()


def test_nothing_is_shared_out_without_a_judgement():
    job = bsp([70, 70, 100, 70])
    rng = np.random.default_rng(0)
    assert interaction_table(sample_steps(job), None, rng).is_empty()


def test_sampled_orders_agree_with_all_orders_within_their_error():
    worth = np.array([3.0, 1.0, 4.0, 1.0, 5.0])

    def value(sets):
        return np.where(sets, worth, 0.0).max(axis=1, initial=0.0)

    exact, none = shapley_values(5, value)
    values, errors = _sampled(5, value, np.random.default_rng(2))
    assert not none.any()
    assert (np.abs(values - exact) < 4 * errors + 1e-12).all()
    assert values.sum() == pytest.approx(5.0)


def test_shares_of_each_step_average_to_those_of_the_mean_step():
    worth = np.random.default_rng(4).random((5, 7))

    def value(sets):
        return np.where(sets[:, :, None], worth, 0.0).max(axis=1, initial=0.0)

    by_step, _ = shapley_values(5, value)
    mean, _ = shapley_values(5, lambda sets: value(sets).mean(axis=1))
    drawn, errors = _sampled(5, value, np.random.default_rng(2))
    shares, error = _over_steps(by_step, np.zeros(5))
    assert shares == pytest.approx(mean)
    assert error == pytest.approx(by_step.std(axis=1, ddof=1) / 7**0.5)
    assert (np.abs(_over_steps(drawn, errors)[0] - mean) < 4 * errors + 1e-12).all()
