"""Runs of one graph side by side against one replay each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.replay.graphs import couple, durations, jobs

from loadpath.errors import UsageError
from loadpath.replay import Mixture, replay, replay_runs, step_time_ns

N_RUN = (1, 2, 16, 17, 40)


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
