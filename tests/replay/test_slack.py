import numpy as np
from tests.replay.graphs import couple

from loadpath.replay import critical_path, last_predecessor, replay, slack_ns


def ops_on(graph, path):
    return list(dict.fromkeys(graph.op[path].tolist()))


def test_only_the_last_arriver_has_no_slack_at_a_collective():
    # rank 0: 0 (70) -> 2;  rank 1: 1 (100) -> 3;  2 and 3 all-reduce (20)
    graph = couple(4, [(0, 2), (1, 3)], [(2, 3)])
    slack = slack_ns(graph, replay(graph, [70, 100, 20, 20]))
    assert slack[graph.end_node].tolist() == [30, 0, 0, 0]
    assert slack[graph.start_node[[2, 3]]].tolist() == [30, 0]


def test_rank_that_ends_early_has_the_rest_of_the_step_as_slack():
    graph = couple(2)
    slack = slack_ns(graph, replay(graph, [40, 100]))
    assert slack[graph.end_node].tolist() == [60, 0]


def test_op_that_no_step_waits_for_may_last_until_the_end_of_the_recording():
    graph = couple(2, ends=[(0, 0)])
    slack = slack_ns(graph, replay(graph, [40, 100]))
    assert slack[graph.end_node].tolist() == [0, 0]
    slack = slack_ns(graph, replay(graph, [100, 40]))
    assert slack[graph.end_node].tolist() == [0, 60]


def test_slack_is_what_the_first_step_to_suffer_leaves():
    # rank 0: 0 (10) | 2 (10); rank 1: 1 (50) | 3 (10); op 2 also waits for 1
    graph = couple(
        4,
        [(0, 2), (1, 3), (1, 2)],
        begins=[(0, 0), (1, 0), (2, 1), (3, 1)],
        ends=[(0, 0), (1, 0), (2, 1), (3, 1)],
    )
    slack = slack_ns(graph, replay(graph, [10, 50, 5, 10]))
    assert slack[graph.end_node].tolist() == [40, 0, 5, 0]


def test_path_crosses_the_collective_to_the_rank_that_came_last():
    # ranks 0, 1: 0 (70), 1 (100); 2, 3 all-reduce (20); 4 (50), 5 (10)
    graph = couple(6, [(0, 2), (1, 3), (2, 4), (3, 5)], [(2, 3)])
    timeline = replay(graph, [70, 100, 20, 20, 50, 10])
    path = critical_path(graph, timeline, 0)
    assert path[0] == graph.start_node[1]
    assert path[-1] == graph.end_node[4]
    assert [graph.start_node[3], graph.end_node[2]] == [path[2], path[4]]


def test_path_of_a_step_stops_where_the_step_begins():
    graph = couple(2, [(0, 1)], begins=[(0, 0), (1, 1)], ends=[(0, 0), (1, 1)])
    timeline = replay(graph, [10, 20])
    assert ops_on(graph, critical_path(graph, timeline, 0)) == [0]
    assert ops_on(graph, critical_path(graph, timeline, 1)) == [1]


def test_path_holds_nothing_that_happened_before_the_step():
    # step 1 begins with op 1 at 0 on another rank, while op 0 of step 0 still holds back op 2
    graph = couple(3, [(0, 2)], begins=[(0, 0), (1, 1)], ends=[(0, 0), (1, 1), (2, 1)])
    timeline = replay(graph, [30, 10, 20], lag_ns=[0, 25, 0])
    assert ops_on(graph, critical_path(graph, timeline, 1)) == [0, 2]
    assert graph.end_node[0] in critical_path(graph, timeline, 1)
    assert graph.start_node[0] not in critical_path(graph, timeline, 1)


def test_of_predecessors_that_end_together_the_lowest_is_followed():
    graph = couple(5, [(3, 4), (2, 4), (1, 4), (0, 4)])
    timeline = replay(graph, [5, 9, 9, 9, 1])
    last = last_predecessor(graph, timeline)[graph.start_node[4]] - 1
    assert last == graph.end_node[[1, 2, 3]].min()
    timeline = replay(graph, [0, 0, 0, 0, 1])
    last = last_predecessor(graph, timeline)[graph.start_node[4]] - 1
    assert last == graph.end_node[:4].min()


def test_of_ends_at_the_same_time_the_lowest_is_the_end_of_the_path():
    graph = couple(3, ends=[(2, 0), (1, 0), (0, 0)])
    path = critical_path(graph, replay(graph, [5, 9, 9]), 0)
    assert path[-1] == graph.end_node[[1, 2]].min()


def test_nodes_without_predecessors_wait_for_the_root():
    graph = couple(2, [(0, 1)])
    last = last_predecessor(graph, replay(graph, [0, 5]))
    assert last[graph.start_node[0]] == 0
    assert last[graph.end_node[1]] == graph.end_node[0] + 1


def test_path_is_found_on_times_that_are_not_whole():
    graph = couple(4, [(0, 2), (1, 3)], [(2, 3)])
    timeline = replay(graph, np.array([0.7, 1.1, 0.2, 0.3]))
    path = critical_path(graph, timeline, 0)
    assert [path[0], path[-1]] == [graph.start_node[1], graph.end_node[3]]
