import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from tests.diagnose.small_jobs import all_reduce_job, communicate, compute, job, random_jobs

from loadpath.couple.graph import EdgeKind
from loadpath.diagnose.critical import MAX_BARS, path_table, unexplained_ratio
from loadpath.replay import replay, step_time_ns


def path_of(small, ideal_ns, *, without=None, step=0):
    def replayed(work):
        return replay(small.graph, work), work

    return path_table(
        small,
        replayed(small.work_ns),
        None if without is None else replayed(np.asarray(without)),
        ideal_ns=ideal_ns,
        step=step,
    )


def bars(table):
    return [
        (rank, kind, name, round(start * 1e9, 6), round(end * 1e9, 6), round(excess * 1e9, 6))
        for rank, kind, name, start, end, excess in table.select(
            "rank", "kind", "name", "start_s", "end_s", "excess_s"
        ).rows()
    ]


def test_path_runs_through_the_slowest_rank_and_shows_no_wait():
    small, ideal = all_reduce_job([70, 100, 90, 70])
    assert bars(path_of(small, ideal)) == [
        (1, "compute", "compute", 0, 100, 30),
        (0, "communicate", "all_reduce", 100, 120, 0),
    ]


def test_path_without_the_cause_stands_beside_the_actual_one():
    small, ideal = all_reduce_job([70, 100, 90, 70])
    table = path_of(small, ideal, without=[70, 20, 70, 20, 90, 20, 70, 20])
    other = table.filter(pl.col("scenario") == "without_cause")
    assert other["rank"].to_list() == [2, 0]
    assert other["order"].to_list() == [0, 1]
    assert other["end_s"].to_list() == pytest.approx([90e-9, 110e-9])


def test_launch_latency_and_recorded_boundaries_are_lag():
    ops = [compute(0, 10, "launch", kind="host", lane=1), compute(0, 50, "kernel")]
    small = job(
        [*ops, compute(1, 5)], edges=[(0, 1, EdgeKind.LAUNCH)], hosts=(1,), releases=[(0, 7)]
    )
    assert bars(path_of(small, small.work_ns)) == [
        (0, "lag", "before launch", 0, 7, 0),
        (0, "compute", "kernel", 7, 57, 0),
    ]


def test_equal_neighbours_are_one_bar():
    small = job([compute(0, 10), compute(0, 20), compute(0, 5, "other")])
    assert bars(path_of(small, [5, 5, 5])) == [
        (0, "compute", "compute", 0, 30, 20),
        (0, "compute", "other", 30, 35, 0),
    ]


@pytest.mark.parametrize("kinds", [["compute"], ["compute", "copy"]])
def test_long_path_is_merged_and_keeps_its_length(kinds):
    n = 3 * MAX_BARS
    ops = [compute(0, 10 + k % 3, f"op {k}", kind=kinds[k % len(kinds)]) for k in range(n)]
    small = job(ops)
    table = path_of(small, np.full(n, 10))
    assert table.height <= MAX_BARS
    assert table["end_s"][-1] == pytest.approx(small.work_ns.sum() * 1e-9)
    assert table["excess_s"].sum() == pytest.approx(n * 1e-9)


def test_path_that_changes_rank_all_the_time_is_merged_by_time():
    ops, meetings = [], []
    for k in range(2 * MAX_BARS):
        ops += [
            compute(0, 9 if k % 2 else 1),
            communicate(0, 0),
            compute(1, 1 if k % 2 else 9),
            communicate(1, 0),
        ]
        meetings.append((4 * k + 1, 4 * k + 3))
    small = job(ops, meetings)
    table = path_of(small, small.work_ns)
    assert table.height <= MAX_BARS + 1
    assert table["end_s"][-1] == pytest.approx(18 * MAX_BARS * 1e-9)


@given(random_jobs())
@settings(max_examples=60, deadline=None)
def test_bars_of_a_path_cover_its_step_without_gap(small):
    timeline = replay(small.graph, small.work_ns)
    times = step_time_ns(small.graph, timeline)
    step = int(small.graph.step[times.argmax()])
    table = path_of(small, small.work_ns, step=step)
    starts, ends = table["start_s"].to_numpy(), table["end_s"].to_numpy()
    np.testing.assert_allclose(starts[1:], ends[:-1], rtol=1e-12)
    length = float(times.max()) * 1e-9
    assert (ends - starts).sum() == pytest.approx(length, abs=1e-15)


def test_lag_on_the_path_is_unexplained():
    ops = [
        compute(0, 5),
        compute(0, 70, lag=25),
        communicate(0, 20),
        compute(1, 90),
        communicate(1, 20),
    ]
    assert unexplained_ratio(job(ops, [(2, 4)])) == pytest.approx(25 / 120)


def test_host_time_without_a_call_is_unexplained():
    ops = [
        compute(0, 5, "call", kind="host"),
        compute(0, 35, "host between calls: step", kind="host"),
    ]
    assert unexplained_ratio(job(ops, hosts=(0,))) == pytest.approx(35 / 40)


def test_lag_off_the_path_does_not_count():
    ops = [
        compute(0, 5),
        compute(0, 10, lag=25),
        communicate(0, 20),
        compute(1, 90),
        communicate(1, 20),
    ]
    assert unexplained_ratio(job(ops, [(2, 4)])) == 0


def test_delay_before_the_first_op_of_the_step_is_not_part_of_it():
    assert unexplained_ratio(job([compute(0, 10, lag=25)])) == 0


def test_boundary_that_was_recorded_is_unexplained():
    ops = [compute(0, 10), compute(0, 30)]
    assert unexplained_ratio(job(ops, releases=[(1, 25)])) == pytest.approx(25 / 55)


def test_receive_that_is_posted_behind_a_computation_is_explained_by_it():
    # lane 1 of rank 0 posts its receive 40 late, while lane 0 computes until 38
    ops = [compute(0, 38), communicate(0, 10, lane=1, lag=40), communicate(1, 10)]
    small = job([compute(0, 0, "begin", lane=2), *ops], [(2, 3)])
    assert unexplained_ratio(small) == pytest.approx(2 / 50)
    assert unexplained_ratio(small, count_hidden=True) == pytest.approx(40 / 50)


def test_job_without_steps_has_nothing_unexplained():
    assert unexplained_ratio(job([compute(0, 0)])) == 0
