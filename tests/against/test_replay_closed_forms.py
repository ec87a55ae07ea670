"""Replay beside closed forms from the literature."""

from itertools import pairwise

import numpy as np
import pytest
from tests.replay.graphs import couple

from loadpath.replay import Scenarios, replay, replay_scenarios, step_time_ns


def one_forward_one_backward(n_stage, n_batch):
    """Return graph and op kinds of a 1F1B pipeline; op (direction, stage, microbatch)."""
    number: dict[tuple[str, int, int], int] = {}
    order = []
    for s in range(n_stage):
        ahead = min(n_stage - s, n_batch)
        turns = [("F", s, k) for k in range(ahead)]
        for k in range(n_batch):
            turns.append(("B", s, k))
            turns += [("F", s, k + ahead)] if k + ahead < n_batch else []
        number |= {op: len(number) + i for i, op in enumerate(turns)}
        order.append([number[op] for op in turns])
    edges = [(a, b) for ops in order for a, b in pairwise(ops)]
    for s in range(n_stage - 1):
        for k in range(n_batch):
            edges.append((number["F", s, k], number["F", s + 1, k]))
            edges.append((number["B", s + 1, k], number["B", s, k]))
    return couple(len(number), edges), [op[0] for op in number]


@pytest.mark.parametrize(("n_stage", "n_batch"), [(1, 4), (2, 2), (4, 8), (8, 8), (8, 32)])
def test_pipeline_bubble_is_stages_less_one_over_microbatches_and_stages_less_one(n_stage, n_batch):
    """D. Narayanan et al., "Efficient large-scale language model training", SC21, section 2.2."""
    graph, kind = one_forward_one_backward(n_stage, n_batch)
    work = np.where(np.array(kind) == "F", 100, 200)
    step = step_time_ns(graph, replay(graph, work))[0]
    bubble = 1 - n_batch * 300 / step
    assert bubble == pytest.approx((n_stage - 1) / (n_batch + n_stage - 1), abs=1e-12)


@pytest.mark.parametrize("n_rank", [2, 8, 32])
def test_mean_barrier_time_of_exponential_ranks_is_the_harmonic_number(n_rank):
    """Order statistics: E[max] = H_n / lambda, Var[max] = sum of 1 / k^2 / lambda^2."""
    n_scenario, mean_ns = 6000, 1e6
    draws = np.random.default_rng(n_rank).exponential(size=(n_rank, n_scenario))
    ops = np.arange(n_rank)
    graph = couple(2 * n_rank, [(r, r + n_rank) for r in ops], [range(n_rank, 2 * n_rank)])
    delta = np.repeat([mean_ns, 0.0], n_rank)
    timeline = replay(graph, np.zeros(2 * n_rank, int))
    scenarios = Scenarios(delta, np.tile(ops, 2), draws)
    step = replay_scenarios(graph, timeline, scenarios)[0] / mean_ns
    k = np.arange(1, n_rank + 1)
    error = np.sqrt((1 / k**2).sum() / n_scenario)
    assert abs(step.mean() - (1 / k).sum()) < 4 * error
    assert step == pytest.approx(draws.max(axis=0), rel=1e-6)


@pytest.mark.parametrize(("waits_for_itself", "cycle_mean"), [(True, 5), (False, 4)])
def test_ring_of_ranks_grows_by_its_maximum_cycle_mean(waits_for_itself, cycle_mean):
    """Baccelli et al., "Synchronization and Linearity", theorem 3.28: growth per turn."""
    work = np.array([3, 5, 4])
    n_turn = 300
    op = np.arange(3 * n_turn).reshape(n_turn, 3)
    # each rank waits for its left neighbour's last turn: one cycle over all, besides own loops
    edges = [*zip(op[:-1].flat, np.roll(op[1:], -1, axis=1).flat, strict=True)]
    if waits_for_itself:
        edges += zip(op[:-1].flat, op[1:].flat, strict=True)
    graph = couple(op.size, edges)
    step = step_time_ns(graph, replay(graph, np.tile(work, n_turn)))[0]
    assert step / n_turn == pytest.approx(cycle_mean, rel=0.01)
