import numpy as np
import pytest
from tests.diagnose.small_jobs import communicate, compute, job, walked

from loadpath.diagnose.distance import (
    cause_distances,
    missed_by_step,
    missed_waiting,
    tell_causes,
    weighted_quantiles,
)
from loadpath.diagnose.places import find_places


# Rank 0 is late (60 for 10), rank 1 waits for it (op 1, 3), rank 2 for rank 1 (op 5, 7).
def chain():
    ops = [compute(0, 60), communicate(0, 1), compute(1, 10), communicate(1, 1)]
    ops += [compute(1, 10), communicate(1, 1), compute(2, 20), communicate(2, 1)]
    small = job(ops, [(1, 3), (5, 7)])
    ideal = np.array([10, 1, 10, 1, 10, 1, 20, 1])
    return small, walked(small, ideal)[-1]


def test_a_wait_two_ranks_away_is_missed_by_a_look_at_its_communication():
    small, waits = chain()
    table = missed_waiting(
        missed_by_step(find_places(small).step, 1, waits), np.random.default_rng(0)
    )
    parts = dict(table.select("part", "wait_s").iter_rows())
    # rank 1 waited 50 for rank 0, rank 2 waited 50 for rank 1, which rank 0 had made late
    assert parts == pytest.approx(
        {"explained": 100e-9, "other_rank": 50e-9, "other_step": 0, "either": 50e-9}
    )
    assert table["share_low_ratio"].is_null().all()


def test_quantiles_of_distance_are_weighted_by_time():
    _, waits = chain()
    table = cause_distances([tell_causes(waits)])
    assert table["statistic"].to_list() == ["mean", "p50", "p90", "p99", "most"]
    assert table["n_hops"].to_list() == [1.5, 1.0, 2.0, 2.0, 2.0]
    assert table["n_steps"].to_list() == [0.0] * 5


def test_a_quantile_is_the_least_value_up_to_which_that_weight_lies():
    value, weight = np.array([1, 2, 3]), np.array([0.9, 0.05, 0.05])
    assert weighted_quantiles(value, weight, (0.5, 0.9, 0.95, 1.0)) == [1, 1, 2, 3]


def test_nothing_explained_has_no_distance():
    small = job([compute(0, 10), communicate(0, 1), compute(1, 10), communicate(1, 1)], [(1, 3)])
    waits = walked(small, small.work_ns)[-1]
    assert cause_distances([tell_causes(waits)]).is_empty()
    assert missed_waiting(
        missed_by_step(find_places(small).step, 1, waits), np.random.default_rng(0)
    ).is_empty()
