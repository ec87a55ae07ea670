"""Runs of one graph side by side against one replay each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.replay.graphs import couple, durations, jobs

from loadpath.errors import UsageError
from loadpath.replay import (
    Change,
    Mixture,
    op_ready_ns,
    op_start_ns,
    replay,
    replay_changes,
    replay_runs,
    step_time_ns,
)

N_RUN = (1, 2, 33, 64, 65, 140)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from(N_RUN))
def test_runs_side_by_side_take_as_long_as_each_run_alone(data, n_run):
    job = data.draw(jobs())
    graph = job.graph()
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    work = rng.integers(0, 1000, (n_run, job.n_op)).astype(float)
    lag = rng.integers(0, 100, (n_run, job.n_op)).astype(float)
    ideal = data.draw(durations(job.n_op)).astype(float)
    mixtures = [
        Mixture(rng.random(job.n_op) < 0.5),
        Mixture(np.ones(job.n_op, bool), rng.random(job.n_op) < 0.5),
        Mixture(np.zeros(job.n_op, bool)),
    ]
    found = replay_runs(graph, work, ideal, mixtures, lag_ns=lag)
    for s, mixture in enumerate(mixtures):
        kept = np.zeros(job.n_op, bool) if mixture.lagged is None else mixture.lagged
        for k in range(n_run):
            alone = replay(
                graph,
                np.where(mixture.measured, work[k], ideal),
                lag_ns=np.where(kept, lag[k], 0.0),
            )
            assert found[s, k].tolist() == step_time_ns(graph, alone).tolist()


def test_runs_of_two_ranks_that_meet_end_with_the_slower_rank():
    graph = couple(4, [(0, 2), (1, 3)], [[2, 3]])
    work = np.array([[70.0, 100.0, 20.0, 20.0], [90.0, 10.0, 5.0, 6.0]])
    ideal = np.array([50.0, 50.0, 10.0, 10.0])
    every = np.ones(4, bool)
    found = replay_runs(graph, work, ideal, [Mixture(every), Mixture(~every)])
    assert found[:, :, 0].tolist() == [[120.0, 96.0], [60.0, 60.0]]


@pytest.mark.parametrize(
    ("work", "ideal", "lag"),
    [((2, 3), (4,), None), ((4,), (4,), None), ((2, 4), (3,), None), ((2, 4), (4,), (1, 4))],
)
def test_works_that_do_not_fit_the_graph_are_refused(work, ideal, lag):
    graph = couple(4, [(0, 2), (1, 3)], [[2, 3]])
    with pytest.raises(UsageError, match="the graph has 4 ops"):
        replay_runs(
            graph,
            np.zeros(work),
            np.zeros(ideal),
            [Mixture(np.ones(4, bool))],
            lag_ns=None if lag is None else np.zeros(lag),
        )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from(N_RUN))
def test_changed_runs_take_as_long_as_each_changed_run_alone(data, n_run):
    job = data.draw(jobs())
    graph = job.graph()
    if graph.step.size != 1:
        return
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    work = rng.integers(0, 1000, (n_run, job.n_op)).astype(float)
    op = np.flatnonzero(rng.random(job.n_op) < 0.5).astype(np.int32)
    changes = [
        Change.none(),
        Change(op, rng.integers(-500, 500, op.size).astype(float)),
        Change(op, rng.integers(-500, 500, (n_run, op.size)).astype(float)),
    ]
    found = replay_changes(graph, work, changes, least_ns=0.0)
    for change, steps in zip(changes, found, strict=True):
        changed = work.copy()
        changed[:, change.op] = np.maximum(changed[:, change.op] + change.by_ns, 0.0)
        alone = [step_time_ns(graph, replay(graph, row))[0] for row in changed]
        assert steps.tolist() == alone


def test_a_change_of_a_late_rank_shortens_only_the_runs_in_which_it_is_late():
    graph = couple(4, [(0, 2), (1, 3)], [[2, 3]])
    work = np.array([[70.0, 100.0, 20.0, 20.0], [90.0, 10.0, 20.0, 20.0]])
    faster = Change(np.array([1], np.int32), np.array([-40.0]))
    assert replay_changes(graph, work, [Change.none(), faster]).tolist() == [
        [120.0, 110.0],
        [90.0, 110.0],
    ]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data(), st.sampled_from((1, 3)))
def test_rows_of_work_are_replayed_like_each_row_alone(data, n_run):
    job = data.draw(jobs())
    graph = job.graph()
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    work, lag = rng.integers(0, 1000, (2, n_run, job.n_op))
    together = replay(graph, work, lag_ns=lag)
    for k in range(n_run):
        alone = replay(graph, work[k], lag_ns=lag[k])
        assert together.time_ns[k].tolist() == alone.time_ns.tolist()
        for of_ops in (op_start_ns, op_ready_ns):
            assert (
                of_ops(graph, together, work)[k].tolist() == of_ops(graph, alone, work[k]).tolist()
            )
    if graph.step.size == 1:
        each = [step_time_ns(graph, replay(graph, *rows))[0] for rows in zip(work, strict=True)]
        assert step_time_ns(graph, replay(graph, work)).tolist() == each


@pytest.mark.parametrize("shape", [(2, 3), (2, 2, 4), ()])
def test_rows_of_work_that_do_not_fit_the_graph_are_refused(shape):
    graph = couple(4, [(0, 2), (1, 3)], [[2, 3]])
    with pytest.raises(UsageError, match="the graph has 4 ops"):
        replay(graph, np.zeros(shape))
