"""Steps that are cut out of a job replay as they do among all."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.diagnose.small_jobs import communicate, compute, job, random_jobs

from loadpath.couple import NodeRole
from loadpath.couple.cut import cut_out
from loadpath.replay import op_end_ns, replay, step_bounds_ns, step_time_ns
from loadpath.tables import INSTANCE, MEMBERSHIP


def with_tables(whole):
    """Add the tables of communications that the graph has."""
    graph = whole.graph
    sync = np.flatnonzero(graph.role == NodeRole.SYNC)
    more = {v: slice(*graph.overflow_start[k : k + 2]) for k, v in enumerate(graph.overflow_node)}
    met = {
        int(graph.op[v]): [
            int(graph.op[p - 1])
            for p in (graph.first[v], graph.second[v], *graph.overflow_pred[more.get(v, slice(0))])
            if p
        ]
        for v in sync
    }
    members = [(op, number) for number, ops in met.items() for op in ops]
    instance = INSTANCE.build(
        {
            "instance": sorted(met),
            "collective": ["all_reduce"] * len(met),
            "communicator": [-1] * len(met),
            "sequence": [-1] * len(met),
            "step": [whole.op["step"][met[number][0]] for number in sorted(met)],
            "n_members": [len(met[number]) for number in sorted(met)],
            "bytes": [-1] * len(met),
            "matched": [True] * len(met),
        }
    )
    membership = MEMBERSHIP.build(
        {
            "op": [op for op, _ in members],
            "instance": [number for _, number in members],
            "role": ["all"] * len(members),
            "contributes": [True] * len(members),
            "waits": [True] * len(members),
        }
    )
    return replace(whole, instance=instance, membership=membership)


def cut(whole, kept):
    timeline = replay(whole.graph, whole.work_ns)
    begin = step_bounds_ns(whole.graph, timeline)[0]
    return cut_out(whole, np.array(kept), timeline.time_ns, begin)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(random_jobs().map(with_tables), st.data())
def test_every_step_takes_as_long_as_among_all(whole, data):
    kept = sorted(data.draw(st.sets(st.integers(0, whole.graph.step.size - 1), min_size=1)))
    part, op = cut(whole, kept)
    before = step_time_ns(whole.graph, replay(whole.graph, whole.work_ns))
    assert step_time_ns(part.graph, replay(part.graph, part.work_ns)).tolist() == (
        before[kept].tolist()
    )
    assert part.graph.step.tolist() == whole.graph.step[kept].tolist()
    inside = np.isin(whole.op["step"].to_numpy(), whole.graph.step[kept])
    assert op.tolist() == np.flatnonzero(inside).tolist()
    assert part.op.equals(whole.op[op])
    for name in ("op", "instance"):
        assert part.membership[name].is_between(0, getattr(part, name).height - 1).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(random_jobs().map(with_tables), st.data())
def test_all_steps_together_answer_every_change_as_the_job_does(whole, data):
    part, op = cut(whole, range(whole.graph.step.size))
    factor = data.draw(st.lists(st.integers(0, 3), min_size=op.size, max_size=op.size))
    changed = whole.work_ns[op] * np.array(factor)
    assert op.size == whole.n_op
    expected = op_end_ns(whole.graph, replay(whole.graph, changed))
    assert op_end_ns(part.graph, replay(part.graph, changed)).tolist() == expected.tolist()


@pytest.fixture
def staggered():
    """Two ranks compute for 70 and 100 in each of three steps, and never meet but in the last one."""
    ops = [compute(rank, (70, 100)[rank], step=step) for step in range(3) for rank in (0, 1)]
    ops += [communicate(rank, 5, step=2) for rank in (0, 1)]
    return with_tables(job(ops, [(6, 7)]))


def test_a_rank_that_runs_ahead_still_does_in_a_step_of_its_own(staggered):
    part, op = cut(staggered, [2])
    ends = op_end_ns(part.graph, replay(part.graph, part.work_ns))
    assert op.tolist() == [4, 5, 6, 7]
    # rank 0 enters the step 60 before rank 1, at the origin
    assert ends.tolist() == [70, 160, 165, 165]
    faster = np.where(np.arange(4) == 1, 40, part.work_ns)
    assert op_end_ns(part.graph, replay(part.graph, faster)).tolist() == [70, 100, 105, 105]
