"""In which stage ranks meet, and where a step is cut because of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadpath.couple.stages.meeting import Stages, cycles_of, meeting_stage

NAMES = ("input", "forward", "backward", "optimizer")
KINDS = ("input", "compute", "compute", "optimise")


def stages(duration, names=NAMES, kinds=KINDS, step=None):
    duration = np.asarray(duration)
    numbers = np.arange(len(duration)) if step is None else np.asarray(step)
    return Stages(np.arange(duration.shape[1]), numbers, names, kinds, duration, 0)


# rank 0   |==input==|=forward=|bw|op|
# rank 1   |=in=|=forward=|==bw===|op|
LATE = [[[9, 5, 3, 2], [4, 5, 8, 2]]] * 3


def test_ranks_meet_where_the_late_one_stays_shorter():
    assert meeting_stage(stages(LATE)) == 2


def test_a_cycle_begins_after_the_meeting_with_what_the_step_before_ended_with():
    duration = np.arange(24).reshape(3, 2, 4)
    cut = cycles_of(stages(duration), 2)
    assert cut.order.tolist() == [3, 0, 1, 2]
    assert cut.step.tolist() == [1, 2]
    assert cut.duration_ns[0, 0].tolist() == [3, 8, 9, 10]


def test_steps_far_apart_stand_in_for_the_ones_before_them():
    duration = np.arange(24).reshape(3, 2, 4)
    cut = cycles_of(stages(duration, step=[10, 20, 30]), 2)
    assert cut.step.tolist() == [10, 20, 30]
    assert cut.duration_ns[0, 0].tolist() == [3, 0, 1, 2]


def test_an_optimizer_slow_on_one_rank_does_not_pass_for_the_meeting():
    # the others wait for rank 0 in their next backward pass
    duration = [[[4, 5, 3, 9], [4, 5, 10, 2]]] * 4
    assert meeting_stage(stages(duration)) == 2


def test_a_stage_named_for_waiting_comes_before_all_others():
    names, kinds = ("forward", "backward", "wait"), ("compute", "compute", "communicate")
    assert meeting_stage(stages([[[5, 9, 1], [5, 4, 6]]] * 3, names, kinds)) == 2


def test_ranks_that_make_up_for_nothing_never_met():
    rng = np.random.default_rng(0)
    assert meeting_stage(stages(rng.integers(1_000, 2_000, (200, 4, 4)))) == -1


@given(st.integers(0, 10_000), st.integers(1, 100))
def test_the_meeting_does_not_depend_on_units_or_on_the_order_of_ranks(seed, factor):
    rng = np.random.default_rng(seed)
    early = rng.integers(10, 1_000, (30, 3, 2))
    waits = early.sum(axis=2).max(axis=1)[:, None] - early.sum(axis=2) + 5
    rest = rng.integers(10, 1_000, (30, 1, 1)) * np.ones((1, 3, 1), np.int64)
    duration = np.concatenate([early, waits[:, :, None], rest], axis=2)
    found = meeting_stage(stages(duration))
    assert found == meeting_stage(stages(factor * duration[:, ::-1])) == 2


@pytest.mark.parametrize("meeting", [-1, 0, 3])
def test_cycles_lose_no_time(meeting):
    duration = np.arange(1, 41).reshape(5, 2, 4)
    cut = cycles_of(stages(duration), meeting)
    assert sorted(cut.order.tolist()) == [0, 1, 2, 3]
    assert cut.duration_ns.shape[0] in {4, 5}
