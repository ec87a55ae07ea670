import numpy as np
import pytest
from tests.replay.graphs import couple

from loadpath.couple.graph import EdgeKind
from loadpath.errors import UsageError
from loadpath.replay import (
    op_end_ns,
    op_ready_ns,
    op_start_ns,
    replay,
    step_bounds_ns,
    step_time_ns,
)

# Four ranks: two compute ops each, then an all-reduce of pairs, one op, an all-reduce of all.
#
#   rank 0   0:30   4:40 | 8:10   12:20 | 16:5
#   rank 1   1:50   5:60 | 9:10   13:20 | 17:5
#   rank 2   2:10   6:10 | 10:10  14:90 | 18:5
#   rank 3   3:20   7:10 | 11:10  15:20 | 19:5
FOUR_RANKS = couple(
    20,
    [(op, op + 4) for op in range(16)],
    [(8, 9), (10, 11), (16, 17, 18, 19)],
)
WORK = np.array([30, 50, 10, 20, 40, 60, 10, 10, 10, 10, 10, 10, 20, 20, 90, 20, 5, 5, 5, 5])


def test_four_ranks_run_as_computed_by_hand():
    timeline = replay(FOUR_RANKS, WORK)
    assert op_start_ns(FOUR_RANKS, timeline, WORK).tolist() == [
        *(0, 0, 0, 0),
        *(30, 50, 10, 20),
        *(70, 110, 20, 30),
        *(120, 120, 40, 40),
        *(140, 140, 130, 60),
    ]
    assert op_ready_ns(FOUR_RANKS, timeline, WORK)[8:12].tolist() == [110, 110, 30, 30]
    assert op_end_ns(FOUR_RANKS, timeline)[-4:].tolist() == [145] * 4
    assert step_time_ns(FOUR_RANKS, timeline).tolist() == [145]


def test_late_rank_delays_every_rank_at_the_collective():
    late = WORK.copy()
    late[3] += 200
    timeline = replay(FOUR_RANKS, late)
    # rank 3 reaches its pair at 230, the pair ends at 240, its last op at 260, rank 2's at 330
    assert op_end_ns(FOUR_RANKS, timeline)[-4:].tolist() == [335] * 4
    assert op_end_ns(FOUR_RANKS, timeline)[12:14].tolist() == [140, 140]


def test_lag_delays_the_start_of_an_op_and_the_arrival_of_a_communication():
    lag = np.zeros(20, int)
    lag[[0, 8]] = 7, 40
    timeline = replay(FOUR_RANKS, WORK, lag_ns=lag)
    start = op_start_ns(FOUR_RANKS, timeline, WORK)
    assert (start[0], start[8]) == (7, 117)
    assert op_ready_ns(FOUR_RANKS, timeline, WORK)[9] == 117


def test_times_are_integers_unless_durations_are_not():
    assert replay(FOUR_RANKS, WORK).time_ns.dtype == np.int64
    assert replay(FOUR_RANKS, WORK * 0.5).time_ns.dtype == np.float64
    assert replay(FOUR_RANKS, WORK, lag_ns=WORK * 0.5).time_ns.dtype == np.float64


def test_launched_op_follows_the_start_of_its_call():
    # host: call 0 (100 ns) launches op 1, which runs while the call still returns
    graph = couple(2, [(0, 1, EdgeKind.LAUNCH)], ends=[(0, 0), (1, 0)])
    timeline = replay(graph, [100, 30])
    assert op_end_ns(graph, timeline).tolist() == [100, 30]


def test_synchronising_call_begins_before_what_it_waits_for_ends():
    # host: call 1 starts at 10 and waits for op 0, which ends at 50; 5 ns remain after the wait
    graph = couple(3, [(2, 1), (0, 1, EdgeKind.HOST_WAIT)])
    work = np.array([50, 5, 10])
    timeline = replay(graph, work)
    assert op_start_ns(graph, timeline, work)[1] == 10
    assert op_ready_ns(graph, timeline, work)[1] == 50
    assert op_end_ns(graph, timeline)[1] == 55


def test_released_op_does_not_start_before_the_recorded_boundary():
    graph = couple(2, [(0, 1)], releases=[(1, 400)])
    assert op_end_ns(graph, replay(graph, [10, 20])).tolist() == [10, 420]


def test_step_time_runs_from_the_earliest_begin_to_the_latest_end():
    # two ranks, two steps of one op each; rank 1 begins step 1 first
    graph = couple(
        4,
        [(0, 2), (1, 3)],
        begins=[(0, 0), (1, 0), (2, 1), (3, 1)],
        ends=[(0, 0), (1, 0), (2, 1), (3, 1)],
    )
    timeline = replay(graph, [10, 5, 10, 30])
    begin, end = step_bounds_ns(graph, timeline)
    assert (begin.tolist(), end.tolist()) == ([0, 5], [10, 35])
    assert step_time_ns(graph, timeline).tolist() == [10, 30]


def test_op_with_many_predecessors_waits_for_the_last():
    graph = couple(6, [(i, 5) for i in range(5)])
    assert op_end_ns(graph, replay(graph, [1, 2, 9, 4, 5, 1]))[5] == 10


def test_job_without_ops_takes_no_time():
    graph = couple(0)
    assert replay(graph, np.empty(0, int)).time_ns.tolist() == [0]
    assert step_time_ns(graph, replay(graph, np.empty(0, int))).size == 0


@pytest.mark.parametrize("work", [np.zeros(3), np.zeros((20, 1)), np.array(["1"] * 20)])
def test_durations_that_do_not_fit_the_ops_are_refused(work):
    with pytest.raises(UsageError, match="work_ns"):
        replay(FOUR_RANKS, work)


def test_durations_that_cannot_be_written_to_are_taken():
    frozen = WORK.copy()
    frozen.setflags(write=False)
    assert step_time_ns(FOUR_RANKS, replay(FOUR_RANKS, frozen)).tolist() == [145]
