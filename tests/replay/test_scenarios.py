import numpy as np
import pytest
from tests.replay.graphs import couple

from loadpath.errors import UsageError
from loadpath.replay import (
    Scenarios,
    lay_out_scenarios,
    replay,
    replay_scenarios,
    step_time_ns,
)

# rank 0: 0 (70) -> 2;  rank 1: 1 (100) -> 3;  2 and 3 all-reduce (20)
PAIR = couple(4, [(0, 2), (1, 3)], [(2, 3)])
WORK = np.array([70, 100, 20, 20])


def times(delta, scale, group=(0, 1, 2, 2), graph=PAIR, work=WORK, **options):
    scenarios = Scenarios(np.array(delta), np.array(group), np.array(scale, float))
    return replay_scenarios(graph, replay(graph, work), scenarios, **options)


def test_relieving_the_late_rank_helps_until_the_other_is_last():
    # op 1 takes 0, half and all of its change of -60: it lasts 100, 70, 40 beside 70
    scale = [[0, 0, 0], [0, 0.5, 1], [0, 0, 0]]
    assert times([0, -60, 0, 0], scale).tolist() == [[120, 90, 90]]


def test_faster_links_shorten_the_transfer_of_all_members():
    assert times([0, 0, -10, -10], [[0], [0], [1]]).tolist() == [[110]]


def test_changes_of_nodes_may_be_lags():
    # both members of the all-reduce arrive up to 15 and 45 later
    delta, group = np.zeros(PAIR.n_node), np.zeros(PAIR.n_node, int)
    delta[PAIR.start_node[2:]], group[PAIR.start_node[2:]] = [45, 15], 1
    scale = np.array([[0.0, 0.0], [1.0, 2.0]])
    base = replay(PAIR, WORK)
    got = replay_scenarios(PAIR, base, Scenarios(delta, group, scale, by_node=True))
    lags = (np.array([0, 0, 45, 15]), np.array([0, 0, 90, 30]))
    exact = [step_time_ns(PAIR, replay(PAIR, WORK, lag_ns=lag)) for lag in lags]
    assert got == pytest.approx(np.transpose(exact))


def test_no_scenarios_give_no_columns():
    assert times([0, 0, 0, 0], np.empty((3, 0))).shape == (1, 0)


def test_no_ops_give_no_steps():
    empty = np.empty(0, int)
    graph = couple(0)
    assert times(empty, np.ones((0, 3)), empty, graph, empty).shape == (0, 3)


def chain(n_rank, n_turn, n_step=1):
    """Return a graph of ranks that compute and meet in turns."""
    op = np.arange(n_rank * n_turn).reshape(n_turn, n_rank)
    edges = [*zip(op[:-1].flat, op[1:].flat, strict=True)]
    rows = np.array_split(op, n_step)
    return couple(
        op.size,
        edges,
        [row.tolist() for row in op[1::2]],
        begins=[(i, k) for k, part in enumerate(rows) for i in part[0].tolist()],
        ends=[(i, k) for k, part in enumerate(rows) for i in part[-1].tolist()],
    )


@pytest.mark.parametrize("equal", [True, False])
def test_error_does_not_grow_with_the_length_of_the_job(equal):
    """Equal durations are the worst case: every addition rounds the same way."""
    graph = chain(2, 6000, n_step=5)
    rng = np.random.default_rng(0)
    work = np.full(graph.n_op, 100_000) if equal else rng.integers(50_000, 150_000, graph.n_op)
    group = rng.integers(0, 5, graph.n_op)
    scale = np.hstack([np.full((5, 1), 0.3337), rng.random((5, 6)) - 0.5])
    got = times(work, scale, group, graph, work)
    exact = [step_time_ns(graph, replay(graph, work * (1 + column[group]))) for column in scale.T]
    assert got == pytest.approx(np.transpose(exact), rel=1e-6)


def test_threads_and_a_kept_layout_do_not_change_a_bit():
    graph = chain(5, 40, n_step=2)
    rng = np.random.default_rng(1)
    work = rng.integers(1, 1000, graph.n_op)
    delta, scale, group = work * 0.3, rng.random((7, 100)), rng.integers(0, 7, graph.n_op)
    layout = lay_out_scenarios(graph, replay(graph, work))
    one = times(delta, scale, group, graph, work, n_thread=1)
    assert np.array_equal(one, times(delta, scale, group, graph, work, n_thread=4))
    assert np.array_equal(one, times(delta, scale, group, graph, work, layout=layout))
    alone = times(delta, scale[:, 50:51], group, graph, work)
    assert np.array_equal(one[:, 50:51], alone)


def test_rows_are_reused_once_their_last_successor_is_done():
    graph = chain(4, 500)
    layout = lay_out_scenarios(graph, replay(graph, np.ones(graph.n_op, int)))
    assert layout.n_row < 20
    written = layout.row[1:]
    assert not np.any((written == layout.first_row) | (written == layout.second_row))


def test_rows_of_ops_that_nobody_waits_for_are_reused_at_once():
    graph = couple(100, begins=[])
    layout = lay_out_scenarios(graph, replay(graph, np.ones(100, int)))
    assert layout.n_row == 2


def test_change_without_one_value_per_op_is_refused():
    with pytest.raises(UsageError, match="one value for each"):
        times([0, 0], np.ones((3, 1)))


@pytest.mark.parametrize("scale", [np.ones((2, 1)), np.ones(3)])
def test_scale_without_a_row_for_each_group_is_refused(scale):
    with pytest.raises(UsageError, match="row for every group"):
        times([0, 0, 0, 0], scale)
