"""Where threads wait for communications, on a busy machine that marks some ends late."""

import polars as pl
import pytest
from tests.couple.trace.gloo_jobs import SLOW, SLOW_US, TENSOR_AND_DATA, job, record


@pytest.mark.parametrize("late_us", [0.0, 80.0])
def test_late_marks_of_one_rank_do_not_hide_the_waiting_of_the_others(tmp_path, late_us):
    # 80 us later the slow rank waits for the next communication, and nobody waited there for this one
    coupled = record(tmp_path / "job", job(late_us=late_us), [(0, 1e9)] * 3)
    op = coupled.op.with_columns(wait_ns=pl.Series(coupled.wait_ns))
    waited = op.group_by("rank").agg(pl.col("wait_ns").sum()).sort("rank")["wait_ns"]
    n_step = coupled.graph.step.size
    # its communication waits, and its thread for that
    assert waited[0] / n_step == pytest.approx(2e3 * SLOW_US, rel=0.1)
    assert waited[1] / n_step < 0.1 * waited[0] / n_step


def waited_in_sums(coupled):
    """Time that each rank waits in its sums, per step."""
    host = coupled.op.with_columns(wait_ns=pl.Series(coupled.wait_ns)).filter(
        pl.col("name").cast(pl.String) == "Sum"
    )
    waited = host.group_by("rank").agg(pl.col("wait_ns").sum()).sort("rank")["wait_ns"]
    return (waited / coupled.graph.step.size).to_list()


def test_a_call_that_adds_up_over_a_group_waits_inside(tmp_path):
    events = job(ranks=4, plan=TENSOR_AND_DATA, inside="Sum")
    waited = waited_in_sums(record(tmp_path / "job", events, [(0, 1e9)] * 4))
    # its neighbour waits for the slow rank in the first sum, the other two in the third
    assert [waited[rank] for rank in (0, 2, 3)] == pytest.approx([1e3 * SLOW_US] * 3, rel=0.1)
    assert waited[SLOW] < 0.1 * waited[0]


def test_what_was_queued_before_a_window_began_has_no_call_and_the_rest_keep_theirs(tmp_path):
    events = job(ranks=4, plan=TENSOR_AND_DATA, inside="Sum")
    called = sorted(e["ts"] for e in events[0] if e["name"] == "c10d::allreduce_")[4]
    # rank 0 sees the execution of its fifth sum, whose call came 1 us before its window
    spans = [(called + 1, 1e9), *[(0, 1e9)] * 3]
    waited = waited_in_sums(record(tmp_path / "job", events, spans))
    assert [waited[rank] for rank in (0, 2, 3)] == pytest.approx([1e3 * SLOW_US] * 3, rel=0.1)
