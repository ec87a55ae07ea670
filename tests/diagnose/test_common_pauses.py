"""Pauses that all hosts, or those of one stage, make."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.diagnose.peer_jobs import coupled
from tests.diagnose.small_jobs import compute

from loadpath.couple import BETWEEN_CALLS
from loadpath.diagnose.common_pauses import common_pauses
from loadpath.diagnose.effects import nest_effects
from loadpath.diagnose.host_candidates import common_hosts
from loadpath.diagnose.stage_pauses import stage_pauses

US = 1_000
PLACES = 30


# Host threads of 4 ranks go on without a call after each of 30 calls, for 1 to 60 us; after call 7
# for `pause` (us) on the ranks that pause. If they are woken, a kernel on lane 0 ends when they go on.
def hosts(pause, *, ranks=(0, 1, 2, 3), places=PLACES, woken=False, stages=(0, 0, 0, 0)):
    usual = np.geomspace(1, 60, places)
    ops, classes, positions = [], [], []
    for step in range(5):
        for rank in range(4):
            for place in range(places):
                paused = place == 7 and rank in ranks
                length = round((pause if paused else usual[place]) * US)
                ops.append(compute(rank, length, name="gap", kind="host", lane=1, step=step))
                classes.append(f"{BETWEEN_CALLS}call")
                positions.append(place)
                if woken:
                    ops.append(compute(rank, length, name="kernel", step=step))
                    classes.append("kernel")
                    positions.append(place)
    mechanism = ["host" if o.kind == "host" else "device" for o in ops]
    columns = {"mechanism": mechanism, "op_class": classes, "position": positions,
               "stage": [stages[o.rank] for o in ops]}  # fmt: skip
    return replace(coupled(ops, [], op=columns), source="kineto")


def flagged(small):
    usual = common_pauses(small, small.work_ns.astype(float))
    return set(small.op["position"].to_numpy()[~np.isnan(usual)].tolist())


def test_pause_far_beyond_other_places_is_found_where_it_is():
    assert flagged(hosts(20_000)) == {7}


def test_long_place_within_the_tail_of_the_others_is_no_pause():
    assert flagged(hosts(200)) == set()


@pytest.mark.parametrize("ranks", [(0, 1, 2), (3,)])
def test_pause_of_some_ranks_is_not_common(ranks):
    assert flagged(hosts(20_000, ranks=ranks)) == set()


def paused_ranks(small):
    usual = common_pauses(small, small.work_ns.astype(float))
    return set(small.op["rank"].to_numpy()[~np.isnan(usual)].tolist())


def test_pause_of_a_rank_that_has_a_stage_for_itself_is_found():
    assert paused_ranks(hosts(20_000, ranks=(1,), stages=(0, 1, 2, 3))) == {1}
    assert paused_ranks(hosts(20_000, ranks=(1, 3), stages=(0, 1, 2, 3))) == {1, 3}


def test_pause_of_all_ranks_of_a_stage_is_found():
    assert paused_ranks(hosts(20_000, ranks=(2, 3), stages=(0, 0, 1, 1))) == {2, 3}


@pytest.mark.parametrize("ranks", [(2,), (1, 2)])
def test_pause_of_some_ranks_of_a_stage_is_not_the_stages(ranks):
    small = hosts(20_000, ranks=ranks, stages=(0, 0, 1, 1))
    assert paused_ranks(small) == set()
    assert stage_pauses(small, nest_effects(small)) == []


def test_stage_whose_ranks_all_pause_at_one_place_is_a_cause_and_no_other_is():
    small = hosts(20_000, ranks=(2, 3), stages=(0, 0, 1, 1))
    effects = nest_effects(small)
    (found,) = stage_pauses(small, effects)
    assert (found.kind, found.place, found.mechanism, found.stage) == ("stage", "stage", "host", 1)
    assert found.ranks == (2, 3)
    assert set(small.op["position"].gather(found.op)) == {7}
    assert (small.work_ns[found.op] + found.change_ns < 60 * US).all()
    assert common_hosts(small, effects) == []


def test_stages_that_all_pause_at_one_place_are_a_cause_of_all_hosts():
    small = hosts(20_000, stages=(0, 0, 1, 1))
    effects = nest_effects(small)
    (found,) = common_hosts(small, effects)
    assert found.significant
    assert stage_pauses(small, effects) == []


# Pauses of 20 ms at another place of each step, never the same on two ranks.
def scattered(ranks, *, stages=(0, 0, 1, 1)):
    small = hosts(0, ranks=(), stages=stages)
    mine = small.op.with_row_index("row").filter(
        pl.col("rank").is_in(ranks)
        & (pl.col("position") == (7 * pl.col("step") + 3 * pl.col("rank")) % PLACES)
    )
    noise = np.random.default_rng(1).lognormal(sigma=0.1, size=small.n_op)
    work = np.rint(small.work_ns * noise).astype(np.int64)
    work[mine["row"].to_numpy()] += 20_000 * US
    return replace(small, work_ns=work)


def test_stage_whose_ranks_all_pause_now_here_now_there_is_a_cause():
    small = scattered([0, 1])
    (found,) = stage_pauses(small, nest_effects(small))
    assert (found.stage, found.ranks, found.op.size) == (0, (0, 1), 10)


@pytest.mark.parametrize("ranks", [[], [0], [1, 2], [0, 1, 2, 3]])
def test_pauses_of_other_ranks_accuse_no_stage(ranks):
    small = scattered(ranks)
    assert stage_pauses(small, nest_effects(small)) == []


def test_stage_of_one_rank_is_told_by_its_rank():
    small = scattered([0], stages=(0, 1, 2, 3))
    assert stage_pauses(small, nest_effects(small)) == []


def test_rank_alone_in_its_stage_is_the_cause_of_what_it_pauses():
    small = hosts(20_000, ranks=(1,), stages=(0, 1, 2, 3))
    effects = nest_effects(small)
    mine = effects.paused
    assert set(small.op["rank"].to_numpy()[mine].tolist()) == {1}
    assert (effects.level_ns[mine] < 60 * US).all()
    assert common_hosts(small, effects) == []


def test_few_places_tell_nothing():
    assert flagged(hosts(20_000, places=10)) == set()


def test_thread_that_another_lane_wakes_does_not_pause():
    assert flagged(hosts(20_000, woken=True)) == set()


def test_common_pause_is_a_cause_of_all_hosts_whose_removal_leaves_what_other_places_need():
    small = hosts(20_000)
    effects = nest_effects(small)
    (found,) = common_hosts(small, effects)
    assert (found.kind, found.place, found.mechanism, found.significant) == (
        "host",
        "all",
        "host",
        True,
    )
    assert found.ranks == (0, 1, 2, 3)
    left = small.work_ns[found.op] + found.change_ns
    assert set(small.op["position"].gather(found.op)) == {7}
    assert (left < 60 * US).all()
