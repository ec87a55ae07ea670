import numpy as np
import polars as pl
import pytest
from tests.diagnose.small_jobs import all_reduce_job, communicate, compute, job

from loadpath.diagnose.critical import path_table
from loadpath.diagnose.exposure import exposed
from loadpath.diagnose.rank_bars import MAX_BARS, MAX_RANKS, timeline_table
from loadpath.replay import replay


def bars_of(small, *, without=None, step=0):
    def shown(work):
        timeline = replay(small.graph, work)
        return timeline, exposed(small, timeline, work)

    actual = shown(small.work_ns)
    path = path_table(small, (actual[0], small.work_ns), None, ideal_ns=small.work_ns, step=step)
    other = None if without is None else shown(np.asarray(without))
    return timeline_table(small, actual, other, path=path, step=step)


def rows(table):
    return [
        (rank, kind, round(start * 1e9, 6), round(end * 1e9, 6))
        for rank, kind, start, end in table.select("rank", "kind", "start_s", "end_s").rows()
    ]


def test_bars_show_computation_wait_and_transfer():
    small, _ = all_reduce_job([70, 100])
    assert rows(bars_of(small)) == [
        (0, "compute", 0, 70),
        (0, "wait", 70, 100),
        (0, "transfer", 100, 120),
        (1, "compute", 0, 100),
        (1, "transfer", 100, 120),
    ]


def test_bars_without_the_cause_follow():
    small, _ = all_reduce_job([70, 100])
    table = bars_of(small, without=[70, 20, 70, 20])
    other = table.filter(pl.col("scenario") == "without_cause")
    assert rows(other)[:2] == [(0, "compute", 0, 70), (0, "transfer", 70, 90)]


def test_host_and_input_have_bars_of_their_own():
    ops = [compute(0, 10, kind="input", lane=1), compute(0, 20, kind="host", lane=1), compute(0, 5)]
    small = job(ops, edges=[(1, 2)], hosts=(1,))
    assert rows(bars_of(small)) == [
        (0, "input", 0, 10),
        (0, "host", 10, 30),
        (0, "compute", 30, 35),
    ]


def test_only_ops_of_the_step_are_shown():
    small = job([compute(0, 10), compute(0, 30, step=1), compute(0, 20, step=2)])
    assert rows(bars_of(small, step=1)) == [(0, "compute", 0, 30)]


def test_ranks_on_the_path_come_before_those_that_wait_most():
    small, _ = all_reduce_job([10 + k for k in range(20)] + [100])
    shown = bars_of(small)["rank"].unique().to_list()
    assert shown == [*range(MAX_RANKS - 1), 20]


def test_many_short_bars_become_what_fills_most_of_a_cell():
    ops, meetings = [], []
    for k in range(3 * MAX_BARS):
        ops += [
            compute(0, 9 if k % 2 else 1),
            communicate(0, 1),
            compute(1, 1 if k % 2 else 9),
            communicate(1, 1),
        ]
        meetings.append((4 * k + 1, 4 * k + 3))
    table = bars_of(job(ops, meetings))
    assert 0 < table.height <= MAX_BARS
    assert table["end_s"].max() == pytest.approx(30 * MAX_BARS * 1e-9, rel=0.02)
    previous = table.select(pl.col("end_s").shift(1).over("rank"), "start_s").drop_nulls()
    assert (previous["start_s"] >= previous["end_s"] - 1e-12).all()
