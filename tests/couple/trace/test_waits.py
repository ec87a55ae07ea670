"""Where threads wait for communications, on a busy machine that marks some ends late."""

import polars as pl
import pytest
from tests.couple.trace.gloo_jobs import SLOW_US, TENSOR_AND_DATA, job, record


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


def test_a_call_that_adds_up_over_a_group_waits_inside(tmp_path):
    events = job(ranks=4, plan=TENSOR_AND_DATA, inside="Sum")
    coupled = record(tmp_path / "job", events, [(0, 1e9)] * 4)
    names = pl.col("name").cast(pl.String)
    host = coupled.op.with_columns(wait_ns=pl.Series(coupled.wait_ns)).filter(names == "Sum")
    waited = host.group_by("rank").agg(pl.col("wait_ns").sum()).sort("rank")["wait_ns"]
    n_step = coupled.graph.step.size
    # its neighbour waits for the slow rank in the first sum, the other two in the third
    assert all(waited[rank] / n_step == pytest.approx(1e3 * SLOW_US, rel=0.1) for rank in (0, 2, 3))
    assert waited[1] < 0.1 * waited[0]
