"""What peers need, on jobs whose medians can be read off."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.diagnose.peer_jobs import MS, coupled, peers
from tests.diagnose.small_jobs import communicate, compute

from loadpath.diagnose.levels import ideal_work_ns, peer_level_ns, stage_level_ns
from loadpath.errors import UsageError


def computed(small, values):
    return values[~np.isin(np.arange(small.n_op), small.membership["op"].to_numpy())] / MS


def stages(works, *, source="op_table", name="forward-compute", steps=4):
    # one rank a stage, each computes its work and then all meet
    ops, meetings = [], []
    for step in range(steps):
        met = []
        for rank, work in enumerate(works):
            ops.append(compute(rank, work * MS, name=name, step=step))
            met.append(len(ops))
            ops.append(communicate(rank, 20 * MS, step=step))
        meetings.append(met)
    return replace(coupled(ops, meetings, op={"stage": [o.rank for o in ops]}), source=source)


def test_level_is_the_median_of_the_peers_and_one_culprit_does_not_move_it():
    small = peers([70, 72, 74, 1000], steps=3)
    assert set(computed(small, peer_level_ns(small))) == {72.0}


def test_of_two_ranks_the_faster_one_is_the_level():
    small = peers([70, 100], steps=3)
    assert set(computed(small, peer_level_ns(small))) == {70.0}


def test_half_of_the_ranks_may_be_slow():
    small = peers([70, 100, 70, 100], steps=3)
    assert set(computed(small, peer_level_ns(small))) == {70.0}


def test_a_rank_counts_once_however_its_steps_vary():
    # rank medians are 70, 80, 90; single values range from 10 to 990
    small = peers([[70, 10, 90], [70, 80, 90], [70, 990, 90]])
    assert set(computed(small, peer_level_ns(small))) == {80.0}


def test_transfers_are_compared_over_communicators_and_not_over_ranks():
    # ranks 0-1 need 20 to transfer, ranks 2-3 and 4-5 need 30
    ops = [op for r in range(6) for op in (compute(r, 5), communicate(r, 20 if r < 2 else 30))]
    small = coupled(ops, [[1, 3], [5, 7], [9, 11]])
    level = peer_level_ns(small)[small.membership["op"].to_numpy()]
    assert set(level) == {30.0}


def test_positions_too_rare_to_judge_borrow_the_level_of_their_class():
    # op 1 of each rank is the second of its class; two ranks give just two values
    ops = [compute(r, w) for r in range(2) for w in (10, 10, 40)]
    small = coupled(ops, [], op={"position": [0, 1, 2] * 2})
    assert peer_level_ns(small).tolist() == [10.0] * 6


def test_level_of_one_op_in_the_job_is_its_own_work():
    small = coupled([compute(0, 7), compute(1, 9, name="other")], [])
    assert peer_level_ns(small).tolist() == [7.0, 9.0]


def test_mean_baseline_takes_means_of_computation_and_medians_of_communication():
    small = peers([[70, 70], [70, 110]], transfer=20)
    ideal = ideal_work_ns(small, "mean") / MS
    assert set(computed(small, ideal_work_ns(small, "mean"))) == {80.0}
    assert set(ideal[small.membership["op"].to_numpy()]) == {20.0}


def test_mean_baseline_of_traces_compares_positions():
    ops = [compute(r, w, name="kernel") for r in range(2) for w in (10, 30)]
    small = replace(coupled(ops, [], op={"position": [0, 1] * 2}), source="kineto")
    assert ideal_work_ns(small, "mean").tolist() == [10.0, 30.0, 10.0, 30.0]


def test_best_baseline_is_a_low_quantile_of_the_peers():
    # deciles of 0, 10, ..., 100: the first is 10
    small = peers(np.arange(0, 110, 10), steps=1)
    assert set(computed(small, ideal_work_ns(small, "best"))) == {10.0}


def test_median_baseline_is_the_level_of_the_peers():
    small = peers([70, 71, 72], steps=2)
    np.testing.assert_array_equal(ideal_work_ns(small, "median"), peer_level_ns(small))


def test_unknown_baseline_is_refused_with_the_known_ones():
    with pytest.raises(
        UsageError, match=r"unknown baseline 'worst'. Use one of median, mean, best"
    ):
        ideal_work_ns(peers([1, 2], steps=1), "worst")  # type: ignore[arg-type]


def test_stage_level_is_what_the_middle_stage_needs():
    small = stages([70, 70, 100])
    assert set(computed(small, stage_level_ns(small, peer_level_ns(small)))) == {70.0}


def test_one_stage_has_no_other_to_be_compared_with():
    small = peers([70, 100], steps=2)
    level = peer_level_ns(small)
    assert stage_level_ns(small, level) is level


def test_classes_that_only_one_stage_runs_keep_their_level():
    names = ["forward-compute", "forward-compute", "loss"]
    ops = [compute(r, 10 * (r + 1), name=n) for r, n in enumerate(names) for _ in range(3)]
    small = coupled(ops, [], op={"stage": [o.rank for o in ops]})
    level = peer_level_ns(small)
    np.testing.assert_array_equal(stage_level_ns(small, level), level)


def test_stages_that_run_a_class_unequally_often_are_not_compared():
    # stage 1 does the same work in twice as many ops
    ops = [compute(0, 40, name="f")] * 2 + [compute(1, 20, name="f")] * 4
    small = coupled(ops, [], op={"stage": [o.rank for o in ops]})
    level = peer_level_ns(small)
    np.testing.assert_array_equal(stage_level_ns(small, level), level)


def test_stages_of_a_trace_are_scaled_to_the_device_work_of_the_middle_one():
    # stages run other kernels: 70, 70 and 2 x 50 ms a step
    ops, stage = [], []
    for step in range(3):
        for rank, kernels in enumerate(([70], [70], [50, 50])):
            for number, work in enumerate(kernels):
                ops.append(compute(rank, work * MS, name=f"kernel {rank}.{number}", step=step))
                stage.append(rank)
    small = replace(coupled(ops, [], op={"stage": stage}), source="kineto")
    across = stage_level_ns(small, peer_level_ns(small)) / MS
    assert across.tolist() == pytest.approx([70, 70, 35, 35] * 3)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 99), min_size=3, max_size=6), st.randoms(use_true_random=False))
def test_relabelling_ranks_does_not_change_their_level(works, random):
    shuffled = list(works)
    random.shuffle(shuffled)
    one, other = (peers(w, steps=1) for w in (works, shuffled))
    assert set(computed(one, peer_level_ns(one))) == set(computed(other, peer_level_ns(other)))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 99), min_size=2, max_size=6))
def test_level_lies_within_its_peers_and_best_is_below_the_median(works):
    small = peers(works, steps=2)
    level, best = (computed(small, ideal_work_ns(small, b)) for b in ("median", "best"))
    assert min(works) <= level.min() <= level.max() <= max(works)
    # of an even number of peers the median is the lower of the middle two
    assert (best <= np.median(works) + 1e-9).all()


def waiting(waits, *, stages=None, steps=4):
    # each rank waits for data (0: never asks for any), computes 5 ms, then all meet
    ops, meetings = [], []
    for step in range(steps):
        met = []
        for rank, wait in enumerate(waits):
            if wait:
                ops.append(compute(rank, wait * MS, name="read", kind="input", step=step))
            ops.append(compute(rank, 5 * MS, step=step))
            met.append(len(ops))
            ops.append(communicate(rank, MS, step=step))
        meetings.append(met)
    columns = {
        "mechanism": [
            {"read": "input", "compute": "host"}.get(o.name, "communication") for o in ops
        ],
        "stage": [stages[o.rank] if stages else 0 for o in ops],
    }
    return coupled(ops, meetings, op=columns)


def waits_level(small, baseline="median"):
    reads = (small.op["mechanism"] == "input").to_numpy()
    ideal = peer_level_ns(small) if baseline == "median" else ideal_work_ns(small, baseline)
    return dict(zip(small.op["rank"].to_numpy()[reads], ideal[reads] / MS, strict=True))


def test_what_one_rank_alone_waits_for_is_all_in_excess():
    assert waits_level(waiting([80, 0, 0, 0])) == {0: 0.0}


def test_ranks_that_wait_for_nothing_count_under_every_baseline():
    alone = waiting([80, 0, 0, 0])
    assert waits_level(alone, "best") == {0: 0.0}
    assert waits_level(alone, "mean") == {0: 20.0}
    most = waiting([80, 8, 9, 10])
    assert waits_level(most, "best") == dict.fromkeys(range(4), 8.0)
    assert waits_level(most, "mean") == dict.fromkeys(range(4), 26.75)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 99), min_size=2, max_size=12).filter(any))
def test_the_best_wait_for_data_is_never_above_the_median_one(waits):
    small = waiting(waits, steps=2)
    best, median = waits_level(small, "best"), waits_level(small)
    assert all(best[rank] <= median[rank] for rank in median)


def test_half_of_the_ranks_may_wait_for_data_that_the_others_do_not_need():
    assert waits_level(waiting([80, 60, 0, 0])) == {0: 0.0, 1: 0.0}


def test_what_most_ranks_wait_for_is_the_level_of_all():
    # middle of 0, 2, 3, 80 is the lower one, 2
    assert waits_level(waiting([80, 2, 3, 0])) == {0: 2.0, 1: 2.0, 2: 2.0}


def test_waiting_for_data_is_compared_over_stages():
    small = waiting([80, 2, 3, 4], stages=[0, 1, 2, 3])
    assert set(waits_level(small).values()) == {3.0}
