"""Whom a job gives reason to suspect, before anything is replayed."""

from dataclasses import replace
from itertools import product

import numpy as np
import polars as pl
import pytest
from tests.diagnose.peer_jobs import MS, coupled, peers
from tests.diagnose.small_jobs import Op, communicate, compute

from loadpath.diagnose.candidate import Candidate, join
from loadpath.diagnose.candidates import find_candidates
from loadpath.diagnose.effects import nest_effects
from loadpath.diagnose.host_candidates import common_hosts
from loadpath.diagnose.rank_candidates import sets_of_ranks
from loadpath.diagnose.work_candidates import data_candidate, stage_candidates


def candidates(small):
    return find_candidates(small, nest_effects(small), np.random.default_rng(0))


def significant(small):
    return [c.key for c in candidates(small) if c.significant]


def culprit(number, excess=10.0, *, mechanism="device", significant=True, host=""):
    return Candidate(
        kind="host" if mechanism == "host" else "rank",
        place="rank",
        mechanism=mechanism,
        key=f"rank {number}",
        op=np.array([10 - number], np.int32),
        change_ns=np.array([-excess]),
        significant=significant,
        specificity=0,
        ranks=(number,),
        hosts=(host,) if host else (),
    )


def test_removing_a_rank_gives_its_ops_the_work_of_their_peers():
    small = peers([70, 70, 70, 100], steps=8)
    rank = next(c for c in candidates(small) if c.significant)
    assert rank.key == "rank 3"
    assert set(rank.change_ns / MS) == {-30.0}
    assert set(small.op["rank"].gather(rank.op)) == {3}


def test_slower_peers_within_noise_are_kept_for_the_record():
    found = [c for c in candidates(peers([70] * 6, seed=1, noise=0.05)) if c.place == "rank"]
    assert 1 <= len(found) <= 3
    assert not any(c.significant for c in found)
    assert all(c.p_value > 0.005 for c in found)


def test_lone_rank_has_no_peer():
    assert candidates(peers([70])) == []


def test_stages_compare_by_the_work_they_have():
    # rank 5 of the light stage does 30 % too much: 3 ms, less than the noise of the heavy stage
    rng = np.random.default_rng(1)
    ops, stage = [], []
    for step in range(40):
        for rank in range(6):
            mean = 100 if rank < 3 else 13 if rank == 5 else 10
            ops.append(compute(rank, round(mean * MS * rng.lognormal(0, 0.05)), step=step))
            stage.append(rank // 3)
    assert "rank 5" in significant(coupled(ops, [], op={"stage": stage}))


def test_sets_of_ranks_grow_from_the_largest_excess():
    ranks = [culprit(1, 5), culprit(2, 20), culprit(3, 10), culprit(4, 99, significant=False)]
    assert [c.key for c in sets_of_ranks(ranks)] == ["ranks 2, 3", "ranks 1, 2, 3"]


def test_one_significant_rank_makes_no_set():
    assert sets_of_ranks([culprit(1), culprit(2, significant=False)]) == []


def test_rank_slow_in_two_ways_is_one_candidate_of_both():
    both = sets_of_ranks([culprit(1), culprit(1, mechanism="host")])
    assert [(c.key, c.kind, c.mechanism) for c in both] == [("rank 1", "rank", "unknown")]


def test_joined_ops_are_in_order_and_their_changes_with_them():
    both = join([culprit(1, 5), culprit(2, 20)], kind="rank", place="rank", key="x", specificity=1)
    assert both.op.tolist() == [8, 9]
    assert both.change_ns.tolist() == [-20.0, -5.0]
    assert both.ranks == (1, 2)
    assert both.members == ("rank 1", "rank 2")


def test_host_is_suspected_when_all_of_its_ranks_are_slow():
    small = peers([70, 70, 70, 70, 100, 100], hosts=["a", "a", "b", "b", "c", "c"])
    assert "host c" in significant(small)


def test_host_of_one_rank_is_its_rank():
    assert significant(peers([70, 70, 100], hosts=["a", "b", "c"])) == ["rank 2"]


def test_host_with_one_healthy_rank_is_not_suspected():
    assert "host b" not in significant(peers([70, 70, 70, 100], hosts=["a", "a", "b", "b"]))


def driven(pauses, *, n_step=20, ranks=4):
    # a host thread (lane 1) drives each device; `pauses` are (rank, step) of a call of 50 instead of 1
    ops = []
    for step in range(n_step):
        for rank in range(ranks):
            ops += [
                compute(rank, MS, name=f"call {k}", kind="host", lane=1, step=step)
                for k in range(3)
            ]
            paused = (rank, step) in pauses
            ops.append(
                compute(
                    rank, (50 if paused else 1) * MS, name="call 3", kind="host", lane=1, step=step
                )
            )
            ops.append(compute(rank, 10 * MS, name="kernel", step=step))
    mechanism = ["host" if o.kind == "host" else "device" for o in ops]
    return coupled(ops, [], op={"mechanism": mechanism})


def test_pauses_of_all_hosts_are_a_common_cause():
    small = driven({(step % 4, step) for step in range(20)})
    (hosts,) = common_hosts(small, nest_effects(small))
    assert (hosts.kind, hosts.place, hosts.ranks) == ("host", "all", (0, 1, 2, 3))
    assert set(hosts.change_ns / MS) == {-49.0}
    assert hosts.op.size == 20


def test_pauses_of_some_hosts_are_not_common():
    small = driven({(step % 3, step) for step in range(20)})
    assert common_hosts(small, nest_effects(small)) == []


def test_pauses_of_one_host_accuse_its_rank():
    found = [c for c in candidates(driven({(2, step) for step in range(20)})) if c.significant]
    assert [(c.key, c.kind, c.mechanism) for c in found] == [("rank 2", "host", "host")]


def test_threads_that_drive_no_device_are_no_common_cause():
    ops = [compute(r, MS, kind="host") for r in range(4)]
    small = coupled(ops, [], op={"mechanism": ["host"] * 4})
    assert common_hosts(small, nest_effects(small)) == []


def exchanges(transfers, names=None):
    ops: list[Op] = []
    meetings = []
    for step in range(20):
        for pair, transfer in enumerate(transfers):
            met = []
            for rank in (2 * pair, 2 * pair + 1):
                met.append(len(ops))
                name = names[pair] if names else "all_reduce"
                ops.append(communicate(rank, transfer * MS, name=name, step=step))
            meetings.append(met)
    return ops, meetings


def test_link_is_compared_with_links_that_do_the_same():
    ops, meetings = exchanges([20, 20, 20, 30])
    (link,) = [c for c in candidates(coupled(ops, meetings)) if c.significant]
    assert (link.kind, link.place, link.ranks) == ("link", "link", (6, 7))
    assert set(link.change_ns / MS) == {-10.0}


def chains(transfers, *, hosts):
    """Ranks of neighbouring stages that send to each other: one transfer (ms) for each pair."""
    ops: list[Op] = []
    meetings = []
    for step in range(20):
        for pair, transfer in transfers.items():
            meetings.append([len(ops), len(ops) + 1])
            ops += [communicate(rank, transfer * MS, step=step) for rank in pair]
    return coupled(ops, meetings, hosts=hosts)


# two replicas of six stages, a stage on each host: rank = 2 x stage + replica
STAGES = [(2 * stage + d, 2 * stage + 2 + d) for stage in range(5) for d in range(2)]
HOSTS = [f"host-{rank // 2}" for rank in range(12)]


def joint(small):
    return [c for c in candidates(small) if c.mechanism == "communication" and c.members]


def test_host_all_of_whose_links_are_slow_is_one_candidate():
    slow = {pair: 30 if {2, 3} & set(pair) else 20 for pair in STAGES}
    host = next(c for c in joint(chains(slow, hosts=HOSTS)) if c.place == "host")
    assert (host.kind, host.hosts, host.ranks) == ("host", ("host-1",), (2, 3))
    assert set(host.change_ns / MS) == {-10.0}
    assert host.op.size == 20 * 4 * 2


def test_host_with_a_sound_link_is_no_candidate():
    slow = {pair: 30 if pair in {(0, 2), (2, 4), (1, 3)} else 20 for pair in STAGES}
    assert {c.place for c in joint(chains(slow, hosts=HOSTS))} == {"link"}


def test_links_that_all_join_the_same_two_hosts_accuse_neither_of_them():
    # the last stage has no other links: the fault may lie with the host before it, or between
    slow = {pair: 30 if {10, 11} & set(pair) else 20 for pair in STAGES}
    (links,) = joint(chains(slow, hosts=HOSTS))
    assert (links.kind, links.place, links.ranks) == ("link", "link", (8, 9, 10, 11))


def test_slow_links_are_joined_largest_first():
    slow = dict.fromkeys(STAGES, 20) | {(0, 2): 40, (5, 7): 30}
    (links,) = joint(chains(slow, hosts=()))
    assert links.members == ("all_reduce 0,2", "all_reduce 5,7")
    assert links.key == "2 links: all_reduce 0,2; all_reduce 5,7"


def test_lone_link_has_no_reference():
    ops, meetings = exchanges([20])
    assert candidates(coupled(ops, meetings)) == []


def test_links_that_do_something_else_are_no_reference():
    ops, meetings = exchanges([20, 90], names=["all_reduce", "all_gather"])
    assert candidates(coupled(ops, meetings)) == []


def test_group_of_three_is_a_group():
    ops: list[Op] = []
    meetings = []
    for step in range(20):
        for group, transfer in enumerate([20, 20, 35]):
            meetings.append([len(ops) + k for k in range(3)])
            ops += [communicate(3 * group + k, transfer * MS, step=step) for k in range(3)]
    (link,) = [c for c in candidates(coupled(ops, meetings)) if c.significant]
    assert (link.kind, link.place, link.ranks) == ("link", "group", (6, 7, 8))


def test_group_whose_members_are_not_recorded_is_named_by_its_ops():
    ops, meetings = exchanges([20, 20, 30])
    small = coupled(ops, meetings)
    empty = small.communicator.with_columns(pl.lit([], pl.List(pl.Int32)).alias("members"))
    (link,) = [c for c in candidates(replace(small, communicator=empty)) if c.significant]
    assert link.ranks == (4, 5)


def staged(works, *, noise=0.0, ranks=2):
    rng = np.random.default_rng(0)
    ops, stage = [], []
    for step in range(10):
        for rank in range(len(works) * ranks):
            work = works[rank // ranks] * MS * rng.lognormal(0, noise)
            ops.append(compute(rank, round(work), name="forward-compute", step=step))
            stage.append(rank // ranks)
    return coupled(ops, [], op={"stage": stage})


def suspected_stages(small):
    return [c.stage for c in stage_candidates(small, nest_effects(small)) if c.significant]


def test_stage_with_more_work_than_the_others_is_suspected():
    small = staged([70, 70, 70, 100])
    (stage,) = stage_candidates(small, nest_effects(small))
    assert (stage.key, stage.ranks, stage.significant) == ("stage 3", (6, 7), True)
    assert set(stage.change_ns / MS) == {-30.0}


def test_stage_within_the_spread_of_the_others_is_not_suspected():
    # a fourth of 69, 70, 71 lies within 70 + t(2, 0.05 / 4) * 1 * sqrt(4 / 3) = 77.2
    assert suspected_stages(staged([69, 70, 71, 77])) == []
    assert suspected_stages(staged([69, 70, 71, 78])) == [3]


def test_stage_with_a_quarter_more_work_than_any_other_is_suspected_whatever_their_spread():
    assert suspected_stages(staged([60, 70, 80, 100])) == []
    assert suspected_stages(staged([60, 70, 80, 101])) == [3]


@pytest.mark.parametrize(("slower", "suspected"), [(87, []), (88, [1])])
def test_of_two_stages_one_must_do_a_quarter_more(slower, suspected):
    assert suspected_stages(staged([70, slower])) == suspected


def test_stage_excess_must_stand_out_from_noise():
    small = staged([70, 70, 70, 71], noise=0.2)
    assert 3 not in suspected_stages(small)


def test_stage_of_a_trace_is_slow_in_its_devices():
    small = replace(staged([70, 70, 100]), source="kineto")
    assert [c.mechanism for c in stage_candidates(small, nest_effects(small))] == ["device"]


def batches(length):
    workers = product(range(6), range(6), ("forward-compute", "backward-compute"), range(8))
    ops, places = [], []
    for step, rank, name, m in workers:
        ops.append(compute(rank, round(10 * MS * length[step, rank % 3, m]), name=name, step=step))
        places.append((rank % 3, m, rank // 3))
    columns = zip(("replica", "microbatch", "stage"), zip(*places, strict=True), strict=True)
    return coupled(ops, [], op=dict(columns))


def test_unequal_microbatches_are_one_candidate_whose_removal_balances_the_step():
    length = np.random.default_rng(2).lognormal(0, 0.2, (6, 3, 8))
    length[:, 1] *= 1.1
    small = batches(length)
    effects = nest_effects(small)
    (data,) = data_candidate(small, effects)
    assert (data.kind, data.place, data.mechanism) == ("data", "microbatch", "workload")
    balanced = effects.data_ns[data.op] + data.change_ns
    steps = small.op["step"].to_numpy()[data.op]
    for step in range(6):
        assert np.ptp(balanced[steps == step]) < 1e-3 * MS


def test_equal_microbatches_are_no_candidate():
    small = batches(np.ones((6, 3, 8)))
    assert data_candidate(small, nest_effects(small)) == []


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_effects_add_up_to_the_measured_work(noise):
    small = peers([70, 70, 72, 100], steps=4, seed=1, noise=noise)
    effects = nest_effects(small)
    total = effects.level_ns + effects.data_ns + effects.residual_ns
    np.testing.assert_allclose(total, small.work_ns)
    assert (effects.ideal_ns <= effects.level_ns).all()
