import numpy as np
import pytest
from tests.ingest.otf2.written import COLLECTIVE_END, RECV, SEND, UNDEFINED, Trace, stencil

from loadpath.audit import run_audit
from loadpath.couple.mpi import couple_mpi
from loadpath.ingest.otf2 import read_otf2
from loadpath.replay import op_end_ns, replay

ALL = (bytes([11]), 0, UNDEFINED, 8, 8)


def coupled(trace, folder):
    return couple_mpi(read_otf2(trace.write(folder)))


def codes(job):
    return dict(job.caveat.select("code", "n").iter_rows())


def reduce_all(trace, now, span=30):
    """All ranks, which come at their own times, end `span` after the last."""
    end = max(now) + span
    for rank, begin in enumerate(now):
        trace.enter(rank, begin, "MPI_Allreduce")
        trace.event(rank, end - 1, COLLECTIVE_END, *ALL)
        trace.leave(rank, end, "MPI_Allreduce")
    return [end] * len(now)


def solver(turns, *, body=None, n_rank=3, slow=None):
    """A time step of `turns[k]` reductions, each after a computation, in region `body`."""
    trace = Trace(n_rank)
    for rank in range(n_rank):
        trace.enter(rank, 0, "main")
        trace.call(rank, 0, 5000 + rank, "read input")
    now = reduce_all(trace, [5000 + rank for rank in range(n_rank)])
    for k, n in enumerate(turns):
        begin = now
        for rank in range(n_rank if body else 0):
            trace.enter(rank, begin[rank], body)
        for _ in range(n):
            spans = [
                (1400 if rank == slow else 1000) + (7 * k + 5 * rank) % 11 for rank in range(n_rank)
            ]
            for rank, span in enumerate(spans):
                trace.call(rank, now[rank], now[rank] + span, "relax")
            now = reduce_all(trace, [a + b for a, b in zip(now, spans, strict=True)])
        for rank in range(n_rank if body else 0):
            trace.leave(rank, now[rank] + 20, body)
        now = [end + 20 for end in now]
    for rank in range(n_rank):
        trace.call(rank, now[rank], now[rank] + 900, "write output")
        trace.leave(rank, now[rank] + 900, "main")
    return trace


def test_regions_that_hold_what_all_ranks_communicate_are_steps(tmp_path):
    # every step has another number of reductions: only the region tells
    turns = [3, 5, 2, 4, 6, 3, 5, 7]
    job = coupled(solver(turns, body="time step"), tmp_path)
    assert job.instance.group_by("step").len().sort("step")["len"].to_list() == turns
    assert codes(job)["steps_from_pattern"] == len(turns)


def test_the_outer_of_two_such_regions_is_the_step(tmp_path):
    trace = Trace(2)
    now = [0, 0]
    for _ in range(6):
        for rank in range(2):
            trace.enter(rank, now[rank], "time step")
        for _ in range(2):
            for rank in range(2):
                trace.enter(rank, now[rank], "sweep")
                trace.call(rank, now[rank], now[rank] + 900, "relax")
            now = reduce_all(trace, [end + 900 for end in now])
            for rank in range(2):
                trace.leave(rank, now[rank], "sweep")
        for rank in range(2):
            trace.leave(rank, now[rank], "time step")
        now = [end + 50 for end in now]
    assert coupled(trace, tmp_path).graph.step.tolist() == list(range(6))


def test_communications_that_repeat_are_steps(tmp_path):
    job = coupled(stencil(n_turn=20), tmp_path)
    # before the first send lies what nothing precedes: that turn is no whole step
    assert codes(job)["steps_from_pattern"] == 19
    assert job.instance.group_by("step").len()["len"].unique().to_list() == [4]


def test_what_lies_before_and_after_the_steps_is_left_out_and_said(tmp_path):
    job = coupled(solver([4] * 10), tmp_path)
    assert not {"read input", "write output"} & set(job.op["name"].cast(str))
    (text,) = job.caveat.filter(code="steps_from_pattern")["text"]
    assert "% of their time lies before" in text


def test_ops_of_steps_have_the_times_of_the_trace(tmp_path):
    job = coupled(solver([3] * 9, slow=1), tmp_path)
    end = op_end_ns(job.graph, replay(job.graph, job.work_ns))
    shift = int(job.op["start_ns"].min())
    assert np.array_equal(end + shift, (job.op["start_ns"] + job.op["duration_ns"]).to_numpy())


def test_ranks_that_do_not_repeat_alike_have_one_step(tmp_path):
    trace = Trace(2)
    for k in range(6):
        trace.call(0, 100 * k, 100 * k + 50, "solve")
        trace.call(0, 100 * k + 50, 100 * k + 60, "MPI_Send", SEND, 1, 0, k, 64 << k)
        trace.call(1, 100 * k, 100 * k + 50, "solve")
        trace.call(1, 100 * k + 50, 100 * k + 70, "MPI_Recv", RECV, 0, 0, k, 64 << k)
    job = coupled(trace, tmp_path)
    assert job.graph.step.tolist() == [0]
    assert "steps_from_pattern" not in codes(job)


def test_communications_without_work_between_them_are_no_steps(tmp_path):
    trace = Trace(2)
    for k in range(6):
        trace.call(0, 100 * k, 100 * k + 10, "MPI_Send", SEND, 1, 0, 7, 64)
        trace.call(1, 100 * k, 100 * k + 20, "MPI_Recv", RECV, 0, 0, 7, 64)
    assert coupled(trace, tmp_path).graph.step.tolist() == [0]


@pytest.mark.parametrize("body", [None, "time step"])
def test_a_slow_rank_is_named_with_its_confidence(body, tmp_path):
    slow = run_audit(solver([3] * 12, body=body, slow=2).write(tmp_path / "slow")).verdict
    even = run_audit(solver([3] * 12, body=body).write(tmp_path / "even")).verdict
    assert (slow["kind"], slow["ranks"]) == ("rank", [2])
    assert slow["gain_s"] == pytest.approx(slow["step_s"] - even["step_s"], rel=0.1)
    assert slow["confidence"] > 0.9
