import numpy as np
from hypothesis import given, settings
from tests.diagnose.small_jobs import all_reduce_job, communicate, compute, job, random_jobs

from loadpath.couple.graph import EdgeKind
from loadpath.diagnose.exposure import exposed
from loadpath.diagnose.places import (
    COMPUTE,
    HOST,
    N_PART,
    OVERHEAD,
    TRANSFER,
    WAIT,
    find_places,
    rank_index,
)
from loadpath.replay import op_end_ns, op_ready_ns, op_start_ns, replay


def exposure_of(small, work_ns=None):
    work = small.work_ns if work_ns is None else work_ns
    return exposed(small, replay(small.graph, work), work)


def time_by_part(small, rank):
    occupancy = exposure_of(small).occupancy
    mine = small.op["rank"].to_numpy()[occupancy.op] == rank
    length = np.where(mine, occupancy.end_ns - occupancy.start_ns, 0)
    return np.bincount(occupancy.part, weights=length, minlength=N_PART).tolist()


def test_early_ranks_wait_for_the_last_of_four():
    small, _ = all_reduce_job([70, 100, 90, 100])
    found = exposure_of(small)
    assert found.wait_ns.tolist() == [0, 30, 0, 0, 0, 10, 0, 0]
    assert found.transfer_ns.tolist() == [0, 20] * 4


def test_fractions_of_a_nanosecond_are_rounded():
    small, _ = all_reduce_job([70, 100])
    assert exposure_of(small, small.work_ns + 0.25).wait_ns.tolist() == [0, 30, 0, 0]


def test_computation_on_another_lane_hides_wait_and_transfer():
    # rank 0: lane 0 computes until 70, lane 1 waits until 60 and transfers until 80
    small = job(
        [compute(0, 70), communicate(0, 20, lane=1), compute(1, 60), communicate(1, 20)], [(1, 3)]
    )
    found = exposure_of(small)
    assert found.wait_ns.tolist() == [0, 0, 0, 0]
    assert found.transfer_ns.tolist() == [0, 10, 0, 20]


def test_moment_of_transfer_and_wait_is_transfer():
    # rank 0: lane 0 transfers until 40, lane 1 waits until 60
    small = job(
        [communicate(0, 40), communicate(0, 1, lane=1), compute(1, 60), communicate(1, 1)], [(1, 3)]
    )
    found = exposure_of(small)
    assert found.transfer_ns.tolist()[:2] == [40, 1]
    assert found.wait_ns.tolist() == [0, 20, 0, 0]


def test_of_two_waits_the_one_that_the_next_work_depends_on_counts():
    # rank 0 waits for rank 1 (until 30) and rank 2 (until 50); only what rank 2 sends is needed
    ops = [
        communicate(0, 1, lane=1),
        communicate(0, 1, lane=2),
        compute(0, 9),
        compute(1, 30),
        communicate(1, 1),
        compute(2, 50),
        communicate(2, 1),
    ]
    small = job(ops, [(0, 4), (1, 6)], [(1, 2)])
    assert exposure_of(small).wait_ns.tolist()[:2] == [0, 49]


def test_of_two_waits_at_the_end_of_a_step_the_one_that_ends_it_counts():
    ops = [communicate(0, 0, lane=1), communicate(0, 0, lane=2)]
    ops += [compute(1, 30), communicate(1, 0), compute(2, 50), communicate(2, 0)]
    small = job(ops, [(0, 3), (1, 5)])
    assert exposure_of(small).wait_ns.tolist()[:2] == [0, 50]


def test_of_two_waits_that_nothing_depends_on_the_shorter_counts_first():
    # the next work of rank 0 follows from rank 3 at 60, not from what it receives
    ops = [communicate(0, 0, lane=1), communicate(0, 0, lane=2), compute(0, 9), compute(3, 60)]
    ops += [compute(1, 30), communicate(1, 0), compute(2, 50), communicate(2, 0)]
    small = job(ops, [(0, 5), (1, 7)], [(3, 2)])
    assert exposure_of(small).wait_ns.tolist()[:2] == [30, 20]


def test_host_that_runs_ahead_does_not_hide_the_waiting_of_its_device():
    ops = [
        compute(0, 80, kind="host", lane=1),
        communicate(0, 1),
        compute(1, 60),
        communicate(1, 1),
    ]
    small = job(ops, [(1, 3)], hosts=(1,))
    assert time_by_part(small, 0) == [0, 0, 1, 60, 19]
    assert (COMPUTE, OVERHEAD, TRANSFER, WAIT, HOST) == (0, 1, 2, 3, 4)


def test_host_hides_communication_where_there_is_no_device():
    ops = [
        compute(0, 80, kind="host", lane=1),
        communicate(0, 1),
        compute(1, 60),
        communicate(1, 1),
    ]
    small = job(ops, [(1, 3)], hosts=(0, 1))
    assert time_by_part(small, 0) == [80, 0, 0, 0, 0]


def test_host_call_that_waits_for_a_lane_is_exposed_where_nothing_works():
    # lane 1 of rank 0 waits for rank 1 until 60; a call on lane 0 waits for lane 1 from 10 on
    ops = [
        compute(0, 10),
        compute(0, 5, "synchronize", kind="host"),
        communicate(0, 2, lane=1),
        compute(1, 60),
        communicate(1, 2),
    ]
    small = job(ops, [(2, 4)], [(2, 1, EdgeKind.HOST_WAIT)], hosts=(0, 1))
    found = exposure_of(small)
    assert found.wait_ns.sum() == 50
    assert time_by_part(small, 0) == [15, 0, 2, 50, 0]


def test_markers_take_no_time():
    small = job([compute(0, 10), compute(0, 30, kind="marker", lane=1)])
    assert time_by_part(small, 0) == [10, 0, 0, 0, 0]


def test_steps_that_are_not_coupled_have_clocks_of_their_own():
    ops = [compute(0, 50), communicate(0, 5, step=1), compute(1, 1), compute(1, 40, step=1)]
    ops.append(communicate(1, 5, step=1))
    meetings = [(1, 4)]
    apart = job(ops, meetings, chained=False)
    assert find_places(apart).clock.tolist() == [0, 1, 2]
    assert exposure_of(apart).wait_ns.tolist() == [0, 40, 0, 0, 0]
    joined = job(ops, meetings)
    assert find_places(joined).clock.tolist() == [0, 0, 1]
    assert exposure_of(joined).wait_ns.sum() == 9


def test_ops_outside_all_steps_are_kept():
    small = job([compute(0, 10), communicate(0, 5), compute(1, 30), communicate(1, 5)], [(1, 3)])
    outside = small.op.with_columns(step=np.array([-1, 0, 0, 0]))
    assert rank_index(small).tolist() == [0, 0, 1, 1]
    changed = type(small)(
        **{name: getattr(small, name) for name in small.__slots__} | {"op": outside}
    )
    assert exposure_of(changed).wait_ns.tolist() == [0, 20, 0, 0]


@given(random_jobs())
@settings(max_examples=60, deadline=None)
def test_each_moment_of_a_rank_has_one_place(small):
    # independent check: paint every nanosecond, weakest part first
    timeline = replay(small.graph, small.work_ns)
    bounds = [f(small.graph, timeline, small.work_ns) for f in (op_start_ns, op_ready_ns)] + [
        op_end_ns(small.graph, timeline)
    ]
    clock = find_places(small).clock[small.op["step"].to_numpy()]
    found = exposure_of(small)
    canvas = {}
    for part in (WAIT, TRANSFER, COMPUTE):
        for op, kind in enumerate(small.op["kind"]):
            is_transfer = kind == "communicate"
            low, high = (0, 1) if part == WAIT else (1, 2)
            if part in {WAIT, TRANSFER if is_transfer else COMPUTE}:
                rank = small.op["rank"][op]
                for t in range(bounds[low][op], bounds[high][op]):
                    canvas[rank, clock[op], t] = part
    painted = np.bincount(list(canvas.values()), minlength=N_PART)
    length = found.occupancy.end_ns - found.occupancy.start_ns
    counted = np.bincount(found.occupancy.part, weights=length, minlength=N_PART)
    assert counted.tolist() == painted.tolist()
    assert found.wait_ns.sum() == painted[WAIT]
    assert found.transfer_ns.sum() == painted[TRANSFER]
