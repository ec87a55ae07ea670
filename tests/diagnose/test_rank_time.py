import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from tests.diagnose.small_jobs import all_reduce_job, communicate, compute, job, random_jobs

from loadpath.diagnose.exposure import exposed
from loadpath.diagnose.rank_time import rank_step, rank_sums, rank_time
from loadpath.replay import replay, step_time_ns


def split(small, ideal_ns):
    """Parts in ns by rank."""
    timeline, ideal = replay(small.graph, small.work_ns), replay(small.graph, ideal_ns)
    actual = exposed(small, timeline, small.work_ns)
    bubble = exposed(small, ideal, ideal_ns).wait_ns
    table = rank_time(small, rank_sums(small, timeline, actual, bubble))
    return (
        table.with_columns((pl.col("mean_s") * 1e9).round(6))
        .pivot("part", index="rank", values="mean_s")
        .select("rank", "compute", "host", "transfer", "wait", "bubble", "launch_delay", "idle")
        .rows()
    )


def test_parts_of_four_ranks_are_as_counted_by_hand():
    small, _ = all_reduce_job([70, 100, 90, 100])
    ideal = [70, 20, 80, 20, 80, 20, 80, 20]
    assert split(small, ideal) == [
        (0, 70, 0, 20, 20, 10, 0, 0),
        (1, 100, 0, 20, 0, 0, 0, 0),
        (2, 90, 0, 20, 10, 0, 0, 0),
        (3, 100, 0, 20, 0, 0, 0, 0),
    ]


def test_rank_that_has_nothing_to_do_is_idle():
    small = job([compute(0, 70), compute(1, 100)])
    assert [row[-1] for row in split(small, [70, 100])] == [30, 0]


def test_host_that_starves_its_device_is_host_time():
    ops = [compute(0, 40, kind="host", lane=1), compute(0, 60)]
    small = job(ops, edges=[(0, 1)], hosts=(1,))
    assert split(small, [40, 60]) == [(0, 60, 40, 0, 0, 0, 0, 0)]


def test_launch_delay_is_what_lag_adds_to_the_step():
    # rank 1 is late by 30; lag of 5 on rank 0 is absorbed, 8 on rank 1 is not
    ops = [compute(0, 70, lag=5), communicate(0, 20), compute(1, 100, lag=8), communicate(1, 20)]
    small = job([compute(0, 1), compute(1, 1), *ops], [(3, 5)])
    assert split(small, [1, 1, 70, 20, 70, 20]) == [
        (0, 71, 0, 20, 30, 0, 8, 0),
        (1, 101, 0, 20, 0, 0, 8, 0),
    ]


def test_time_is_the_mean_over_steps():
    ops = [compute(0, 10), compute(1, 30), compute(0, 10, step=1), compute(1, 10, step=1)]
    small = job(ops, chained=False)
    assert [row[1] for row in split(small, [10] * 4)] == [10, 20]
    assert [row[-1] for row in split(small, [10] * 4)] == [10, 0]


@given(random_jobs())
@settings(max_examples=60, deadline=None)
def test_parts_of_each_rank_sum_to_the_step_time(small):
    rows = split(small, np.full(small.n_op, 3))
    step = step_time_ns(small.graph, replay(small.graph, small.work_ns)).mean()
    for row in rows:
        assert sum(row[1:]) == pytest.approx(step, abs=1e-5)
        assert min(row[1:]) >= 0


def test_excess_counts_work_beyond_the_ideal_and_not_what_others_save():
    ops = [compute(0, 70), compute(0, 20), communicate(0, 50), compute(1, 100), communicate(1, 5)]
    small = job([*ops, compute(0, 30, step=1)], [(2, 4)])
    found = exposed(small, replay(small.graph, small.work_ns), small.work_ns)
    table = rank_step(small, [50, 30, 5, 90, 5, 30.0], found)
    assert table.select("rank", "step", pl.col("excess_s", "wait_s") * 1e9).rows() == [
        (0, 0, pytest.approx(20), pytest.approx(10)),
        (0, 1, 0, 0),
        (1, 0, pytest.approx(10), 0),
    ]
