import numpy as np
import pytest
from tests.couple.readable import coupling, graph_of, predecessors, sentences

from loadpath.couple import kernels
from loadpath.couple.graph import EdgeKind, NodeRole, build_graph
from loadpath.errors import StructureError
from loadpath.replay import replay

DATA, PROGRAM = EdgeKind.DATA, EdgeKind.PROGRAM
LAUNCH, HOST_WAIT = EdgeKind.LAUNCH, EdgeKind.HOST_WAIT


def ends(graph, work):
    return replay(graph, np.array(work, np.int64)).time_ns[graph.end_node + 1].tolist()


def starts_of(graph, work):
    return replay(graph, np.array(work, np.int64)).time_ns[graph.start_node + 1].tolist()


# 0 -> 1 -> 2
def test_plain_op_is_one_node():
    graph = graph_of(3, [(0, 1, DATA), (1, 2, DATA)])
    assert graph.n_node == 3
    assert sentences(graph) == {"work 0 > work 1", "work 1 > work 2"}


def test_graph_without_ops_has_no_nodes():
    graph = graph_of(0)
    assert (graph.n_node, graph.n_edge, graph.n_op) == (0, 0, 0)


# 0 \
#    >-- sync --< complete of each
# 1 /
def test_member_of_a_communication_is_an_arrival_and_a_completion():
    graph = graph_of(2, members=[(0, 0), (1, 0)])
    assert sentences(graph) == {
        "arrive 0 > sync 0",
        "arrive 1 > sync 0",
        "sync 0 > complete 0",
        "sync 0 > complete 1",
    }


@pytest.mark.parametrize("k", [2, 3, 8, 33])
def test_communication_of_k_ranks_costs_2k_edges_and_one_sync_node(k):
    graph = graph_of(k, members=[(op, 0) for op in range(k)])
    assert graph.n_edge == 2 * k
    assert int((graph.role == NodeRole.SYNC).sum()) == 1


def test_member_of_two_communications_waits_for_both():
    graph = graph_of(3, members=[(0, 0), (1, 0), (0, 1), (2, 1)])
    assert {"sync 0 > complete 0", "sync 1 > complete 0"} <= sentences(graph)


# Broadcast: root 0, leaves 1 and 2. The leaves wait for the root alone.
def test_root_of_a_broadcast_waits_for_nobody():
    graph = graph_of(3, members=[(0, 0, True, False), (1, 0, False, True), (2, 0, False, True)])
    assert sentences(graph) == {
        "arrive 0 > sync 0",
        "arrive 0 > complete 0",
        "sync 0 > complete 1",
        "sync 0 > complete 2",
        "arrive 1 > complete 1",
        "arrive 2 > complete 2",
    }


def test_leaf_of_a_broadcast_that_comes_late_delays_nobody_else():
    members = [(2, 0, True, False), (3, 0, False, True)]
    graph = graph_of(4, [(0, 2, DATA), (1, 3, DATA)], members)
    assert ends(graph, [10, 70, 5, 5]) == [10, 70, 15, 75]


# Reduce: root 0 waits for all, leaves only contribute.
def test_leaf_of_a_reduce_does_not_wait_for_the_root():
    members = [(2, 0, True, True), (3, 0, True, False)]
    graph = graph_of(4, [(0, 2, DATA), (1, 3, DATA)], members)
    assert ends(graph, [70, 10, 5, 5]) == [70, 10, 75, 15]


def test_root_of_a_reduce_waits_for_the_last_leaf():
    members = [(2, 0, True, True), (3, 0, True, False)]
    graph = graph_of(4, [(0, 2, DATA), (1, 3, DATA)], members)
    assert ends(graph, [10, 70, 5, 5]) == [10, 70, 75, 75]


# host: call 0 ---- takes 50 ----
# device:   \-latency 7-> kernel 1 (10)
def test_launched_op_starts_after_the_start_of_its_call_and_the_latency():
    graph = graph_of(2, [(0, 1, LAUNCH)], latency=[0, 7])
    assert sentences(graph) == {
        "arrive 0 > complete 0",
        "arrive 0 > launch 1",
        "launch 1 > work 1",
    }
    assert ends(graph, [50, 10]) == [50, 17]


def test_launch_without_a_given_latency_takes_no_time():
    graph = graph_of(2, [(0, 1, LAUNCH)])
    assert ends(graph, [50, 10]) == [50, 10]


# kernel 0 (40) ---> completion of host call 1, which itself needs 5
def test_host_wait_holds_the_completion_and_not_the_start():
    graph = graph_of(2, [(0, 1, HOST_WAIT)])
    assert "work 0 > complete 1" in sentences(graph)
    assert starts_of(graph, [40, 5])[1] == 0
    assert ends(graph, [40, 5]) == [40, 45]


def test_released_op_cannot_start_before_its_time():
    graph = graph_of(2, [(0, 1, PROGRAM)], releases=[(1, 100)])
    assert "release 1 > work 1" in sentences(graph)
    assert ends(graph, [10, 5]) == [10, 105]


def test_release_that_has_passed_changes_nothing():
    graph = graph_of(2, [(0, 1, PROGRAM)], releases=[(1, 3)])
    assert ends(graph, [10, 5]) == [10, 15]


def test_op_that_begins_a_step_has_a_node_for_its_start():
    graph = graph_of(2, [(0, 1, DATA)], begins=[(0, 4)], ends=[(1, 4)])
    assert graph.role[graph.begin_node].tolist() == [NodeRole.ARRIVE]
    assert graph.role[graph.end_step_node].tolist() == [NodeRole.WORK]


def test_steps_are_listed_ascending_whatever_their_numbers():
    graph = graph_of(3, begins=[(0, 90), (1, 7), (2, 12)], ends=[(0, 90), (1, 7), (2, 12)])
    assert graph.step.tolist() == [7, 12, 90]
    assert graph.begin_step.tolist() == [2, 0, 1]
    assert graph.end_step.tolist() == [2, 0, 1]


def test_every_edge_leads_to_a_higher_number():
    rng = np.random.default_rng(1)
    edges = [(int(u), int(u + rng.integers(1, 9)), DATA) for u in rng.integers(0, 50, 120)]
    graph = graph_of(60, edges, members=[(op, op // 2) for op in range(50, 60)])
    assert all(u < v for u, v, _ in predecessors(graph))


# A node with five predecessors: two are fixed, three overflow.
def test_third_and_further_predecessors_overflow():
    graph = graph_of(6, [(u, 5, DATA) for u in range(5)])
    assert graph.overflow_node.tolist() == [graph.end_node[5]]
    assert graph.overflow_pred.size == 3
    assert sentences(graph) == {f"work {u} > work 5" for u in range(5)}


def test_overflowing_predecessors_count_in_the_replay():
    graph = graph_of(6, [(u, 5, DATA) for u in range(5)])
    for slow in range(5):
        work = [1] * 6
        work[slow] = 100
        assert ends(graph, work)[5] == 101


def test_kind_of_every_edge_is_kept():
    kinds = [EdgeKind.PROGRAM, EdgeKind.STREAM, EdgeKind.CROSS_STREAM, EdgeKind.INCIDENTAL]
    graph = graph_of(5, [(u, 4, kind) for u, kind in enumerate(kinds)])
    assert {kind for _, _, kind in predecessors(graph)} == set(kinds)


def test_edges_from_the_root_are_not_counted():
    assert graph_of(4, [(0, 1, DATA), (1, 2, DATA)]).n_edge == 2


# 0 -> 1 -> 2 -> 1
def test_cycle_is_refused_with_its_ops_named():
    with pytest.raises(StructureError, match=r"op 1 -> op 2 -> op 1|op 2 -> op 1 -> op 2"):
        graph_of(4, [(0, 1, DATA), (1, 2, DATA), (2, 1, DATA), (2, 3, DATA)])


def test_cycle_is_named_in_the_words_of_the_caller():
    with pytest.raises(StructureError, match=r"send a -> recv b|recv b -> send a"):
        build_graph(coupling(2, [(0, 1, DATA), (1, 0, DATA)]), lambda op: ("send a", "recv b")[op])


# Ranks 0 and 1 call two all-reduces in opposite order: a deadlock.
def test_communications_in_opposite_order_are_a_cycle():
    with pytest.raises(StructureError, match="cycle"):
        graph_of(4, [(0, 1, PROGRAM), (2, 3, PROGRAM)], members=[(0, 0), (1, 1), (2, 1), (3, 0)])


def test_long_cycle_is_shown_by_its_two_ends():
    n = 40
    with pytest.raises(StructureError) as caught:
        graph_of(n, [(u, (u + 1) % n, DATA) for u in range(n)])
    assert " -> ... -> " in str(caught.value)
    assert str(caught.value).count("->") == 8


def test_op_that_follows_itself_is_a_cycle():
    with pytest.raises(StructureError, match="op 0 -> op 0"):
        graph_of(1, [(0, 0, DATA)])


def test_kernels_know_the_number_of_a_synchronisation_node():
    assert kernels.SYNC == NodeRole.SYNC
