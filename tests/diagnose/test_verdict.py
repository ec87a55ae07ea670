"""The decision, on four-rank jobs whose step times can be done in the head.

Every rank computes, then all meet in an all-reduce of 20 ms; 40 steps unless said otherwise.
"""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.diagnose.peer_jobs import MS, coupled, peers
from tests.diagnose.small_jobs import Op, communicate, compute

from loadpath.diagnose.candidate import Candidate
from loadpath.diagnose.candidates import find_candidates
from loadpath.diagnose.effects import nest_effects
from loadpath.diagnose.verdict import judge
from loadpath.tables.results import CAUSE


def judged(small, seed=0):
    rng = np.random.default_rng(seed)
    effects = nest_effects(small)
    return judge(small, effects, find_candidates(small, effects, rng), rng)


def by_key(judgement):
    return {j.candidate.key: j for j in judgement.causes}


def named(judgement):
    return judgement.kind, judgement.place, judgement.cause.candidate.key


def test_slow_rank_is_named_with_the_step_it_costs():
    # 100 + 20 with it, 70 + 20 without
    found = judged(peers([70, 70, 70, 100]))
    assert named(found) == ("rank", "rank", "rank 3")
    assert found.step_s == pytest.approx(0.120)
    assert found.step_without_s == pytest.approx(0.090)
    assert found.ideal_s == pytest.approx(0.090)
    assert found.confidence == 1.0
    cause = found.cause
    assert (cause.gain_s, cause.low_s, cause.high_s) == pytest.approx((0.03, 0.03, 0.03))
    assert (cause.removal_ratio, cause.addition_ratio) == pytest.approx((1.0, 1.0))
    assert cause.excess_s == pytest.approx(0.030)


def test_two_redundant_ranks_return_nothing_alone_and_are_named_together():
    found = judged(peers([70, 70, 100, 100]))
    assert named(found) == ("rank", "rank", "ranks 2, 3")
    alone = by_key(found)["rank 2"]
    assert (alone.removal_ratio, alone.addition_ratio) == pytest.approx((0.0, 1.0))
    assert alone.state == "absorbed"


def test_one_rank_that_returns_four_fifths_of_the_pair_is_named_alone():
    # without rank 3 the step is 75 + 20: 25 of 30 ms
    found = judged(peers([70, 70, 75, 100]))
    assert named(found) == ("rank", "rank", "rank 3")
    assert by_key(found)["ranks 2, 3"].state == "present"


def test_pair_is_named_where_one_rank_returns_less_than_four_fifths():
    # without rank 3 the step is 77 + 20: 23 of 30 ms
    assert named(judged(peers([70, 70, 77, 100]))) == ("rank", "rank", "ranks 2, 3")


def test_set_that_returns_no_more_than_a_part_of_it_is_not_considered():
    # without ranks 3 and 4 the step is 71 + 20: 29 ms; rank 5 adds 1
    found = judged(peers([70, 70, 70, 100, 100, 71]))
    assert named(found)[2] == "ranks 3, 4"
    assert "ranks 3, 4, 5" not in by_key(found)


def gated_by_a_fast_op(*, steps=40):
    # rank 3 begins its lane 1 with 20 ms that all ranks' lane 0 waits for, its peers with 50 that
    # nobody waits for; then it needs 100 where they need 20, behind the 100 of lane 0
    ops: list[Op] = []
    edges, meetings = [], []
    for step in range(steps):
        gate, main, tail, end = (len(ops) + 4 * k for k in range(4))
        gates = [50, 50, 50, 20]
        ops += [compute(r, w * MS, name="gate", lane=1, step=step) for r, w in enumerate(gates)]
        ops += [compute(r, 100 * MS, name="main", step=step) for r in range(4)]
        tails = [20, 20, 20, 100]
        ops += [compute(r, w * MS, name="tail", lane=1, step=step) for r, w in enumerate(tails)]
        ops += [communicate(r, 20 * MS, step=step) for r in range(4)]
        edges += [(gate + 3, main + r) for r in range(4)] + [(tail + r, end + r) for r in range(4)]
        meetings.append(list(range(end, end + 4)))
        if step:
            edges += [(gate - 4 + r, gate + r) for r in range(4)]
    return coupled(ops, meetings, edges=edges)


def test_slow_place_whose_removal_lengthens_the_step_contradicts_the_graph():
    # like its peers rank 3 would gate the others 30 ms later: 170 instead of 140
    found = judged(gated_by_a_fast_op())
    assert found.step_s == pytest.approx(0.140)
    assert "would lengthen the step by 21 %" in found.contradiction


def test_ranks_of_one_host_are_named_as_their_host():
    found = judged(peers([70, 70, 100, 100], hosts=["a", "a", "b", "b"]))
    assert named(found) == ("host", "host", "host b")
    assert found.cause.candidate.ranks == (2, 3)
    assert found.cause.candidate.hosts == ("b",)


def test_one_slow_rank_does_not_accuse_its_host():
    found = judged(peers([70, 70, 70, 100], hosts=["a", "a", "b", "b"]))
    assert named(found) == ("rank", "rank", "rank 3")
    assert found.cause.candidate.hosts == ("b",)


def test_slow_ranks_of_two_hosts_are_named_as_ranks():
    found = judged(peers([70, 100, 70, 100], hosts=["a", "a", "b", "b"]))
    assert named(found) == ("rank", "rank", "ranks 1, 3")


def test_nobody_is_named_where_all_ranks_are_alike():
    found = judged(peers([70, 70, 70, 70]))
    assert (found.kind, found.place, found.cause) == ("none", "nobody", None)
    assert found.step_without_s == found.step_s == pytest.approx(0.090)
    assert found.indistinguishable_from == ()


def test_uniform_slowness_accuses_nobody():
    assert judged(peers([700, 700, 700, 700])).kind == "none"


def test_effects_under_half_a_percent_of_the_step_are_no_verdict():
    # 0.3 of 90.3 ms
    found = judged(peers([70, 70, 70, 70.3]))
    assert found.kind == "none"
    assert by_key(found)["rank 3"].state == "below_policy"
    assert np.isnan(by_key(found)["rank 3"].removal_ratio)


def test_effect_just_over_half_a_percent_of_the_step_is_a_verdict():
    # 0.5 of 90.5 ms
    assert named(judged(peers([70, 70, 70, 70.5]))) == ("rank", "rank", "rank 3")


def side_lane(slow, *, beside, steps=40):
    # lane 0 computes 70 ms (rank 3: `slow`), lane 1 `beside` ms; the all-reduce waits for both
    ops, meetings, edges = [], [], []
    for step in range(steps):
        met = []
        for rank in range(4):
            ops.append(compute(rank, beside * MS, name="side", lane=1, step=step))
            ops.append(compute(rank, (slow if rank == 3 else 70) * MS, step=step))
            edges.append((len(ops) - 2, len(ops)))
            met.append(len(ops))
            ops.append(communicate(rank, 20 * MS, step=step))
        meetings.append(met)
    # lanes of a rank go on together after the all-reduce
    last: dict[int, int] = {}
    for k, op in enumerate(ops):
        if op.lane == 1 and op.rank in last:
            edges.append((last[op.rank], k))
        if op.kind == "communicate":
            last[op.rank] = k
    return coupled(ops, meetings, edges=edges)


def test_excess_behind_slack_is_absorbed_and_said_to_be():
    # rank 3 needs 100 instead of 70, but every rank waits 110 for its other lane
    found = judged(side_lane(100, beside=110))
    assert found.kind == "absorbed"
    assert named(found) == ("absorbed", "rank", "rank 3")
    assert found.cause.excess_s == pytest.approx(0.030)
    assert found.step_without_s == found.step_s == pytest.approx(0.130)


def test_excess_beyond_slack_returns_only_what_slack_leaves():
    # 140 of lane 0 against 110 of lane 1: 30 of the 70 ms excess
    found = judged(side_lane(140, beside=110))
    assert named(found) == ("rank", "rank", "rank 3")
    assert found.cause.gain_s == pytest.approx(0.030)
    assert found.cause.excess_s == pytest.approx(0.070)


def test_rank_slow_in_some_steps_is_found_and_said_to_be_intermittent():
    # 100 instead of 70 in 12 of 40 steps: 9 ms a step
    works = np.full((40, 4), 70)
    works[::10, 3] = works[3::10, 3] = works[7::10, 3] = 100
    found = judged(peers(works))
    assert named(found) == ("rank", "rank", "rank 3")
    assert found.cause.candidate.intermittent
    assert found.cause.gain_s == pytest.approx(0.009)


def test_steadily_slow_rank_is_not_intermittent():
    assert not judged(peers([70, 70, 70, 100])).cause.candidate.intermittent


def test_noise_of_all_ranks_is_jitter_and_nobody_is_accused():
    found = judged(peers([70, 70, 70, 70], seed=1, noise=0.1))
    assert named(found) == ("jitter", "all", "noise of all ranks")
    assert found.noise_gain_s == found.cause.gain_s > 0.005


def test_noise_wins_where_it_costs_over_five_times_as_much_as_the_place():
    # rank 3 is half a percent slow among ranks that vary by a fifth
    rng = np.random.default_rng(5)
    works = 70 * rng.lognormal(0, 0.2, (200, 4))
    works[:, 3] = np.maximum(works[:, 3], 1.02 * works[:, :3].max(axis=1))
    found = judged(peers(works))
    assert named(found)[2] == "rank 3"
    steady = judged(peers([70, 70, 70, 100], seed=2, noise=0.05))
    assert named(steady)[2] == "rank 3"


def pipeline(works, *, ranks_per_stage=1, steps=40):
    # stages compute side by side and meet; enough to compare what they need
    ops, meetings, stage = [], [], []
    for step in range(steps):
        met = []
        for rank in range(len(works) * ranks_per_stage):
            at = rank // ranks_per_stage
            ops.append(compute(rank, works[at] * MS, name="forward-compute", step=step))
            met.append(len(ops))
            ops.append(communicate(rank, 20 * MS, step=step))
            stage += [at, at]
        meetings.append(met)
    return coupled(ops, meetings, op={"stage": stage})


def test_slow_stage_of_one_rank_each_cannot_be_told_from_its_rank():
    found = judged(pipeline([70, 70, 100]))
    assert named(found) == ("stage", "stage", "stage 2")
    assert found.cause.candidate.stage == 2
    assert found.indistinguishable_from == ("rank 2",)
    assert found.cause.gain_s == pytest.approx(0.030)


def test_slow_stage_of_two_ranks_cannot_be_told_from_both_of_them():
    found = judged(pipeline([70, 70, 100], ranks_per_stage=2))
    assert named(found) == ("stage", "stage", "stage 2")
    assert found.indistinguishable_from == ("ranks 4, 5",)


def test_slow_stage_of_three_ranks_is_the_stage():
    found = judged(pipeline([70, 70, 100], ranks_per_stage=3))
    assert named(found) == ("stage", "stage", "stage 2")
    assert found.indistinguishable_from == ()


def test_two_stages_cannot_both_be_ideal_and_the_slower_is_named():
    # the middle of 70 and 100 is 85
    found = judged(pipeline([70, 100], ranks_per_stage=3))
    assert named(found) == ("stage", "stage", "stage 1")
    assert found.cause.gain_s == pytest.approx(0.015)


def test_record_without_mechanism_cannot_tell_a_rank_from_its_host():
    assert judged(peers([70, 70, 70, 100])).indistinguishable_from == ("host of rank 3",)


def test_record_with_mechanism_can():
    small = peers([70, 70, 70, 100])
    known = pl.when(pl.col("mechanism") == "unknown").then(pl.lit("device")).otherwise("mechanism")
    device = replace(
        small,
        op=small.op.with_columns(pl.col("mechanism").cast(pl.String)).with_columns(
            known.cast(small.op.schema["mechanism"]).alias("mechanism")
        ),
    )
    found = judged(device)
    assert found.mechanism == "device"
    assert found.indistinguishable_from == ()


def links(transfers, *, steps=40):
    # pairs of ranks compute 70 and transfer; all links in one step
    ops, meetings = [], []
    for step in range(steps):
        for pair, transfer in enumerate(transfers):
            met = []
            for rank in (2 * pair, 2 * pair + 1):
                ops.append(compute(rank, 70 * MS, step=step))
                met.append(len(ops))
                ops.append(communicate(rank, transfer * MS, step=step))
            meetings.append(met)
    return coupled(ops, meetings)


def test_slow_link_is_named_by_its_two_ranks():
    found = judged(links([20, 20, 50]))
    assert named(found) == ("link", "link", "all_reduce 4,5")
    assert found.mechanism == "communication"
    assert found.cause.candidate.ranks == (4, 5)
    # the last step's end is the latest rank's: 120 a step on ranks 4 and 5
    assert found.step_s - found.step_without_s == pytest.approx(found.cause.gain_s)


def test_lone_link_has_no_reference_and_is_not_accused():
    assert judged(links([50])).kind == "none"


def test_runner_up_is_another_place_and_not_another_set_with_the_same_rank():
    found = judged(peers([70, 70, 77, 100]))
    assert found.runner_up is None
    others = judged(pipeline([70, 70, 100]))
    assert others.runner_up is None


def test_runner_up_is_the_next_cause():
    # a slow rank, and noise worth naming once it is gone
    found = judged(peers([70, 70, 70, 140], seed=1, noise=0.08))
    assert named(found)[2] == "rank 3"
    assert found.runner_up.candidate.kind == "jitter"


def test_single_step_is_resampled_over_its_communications():
    # 40 rounds in one step
    ops, meetings = [], []
    for _ in range(40):
        met = []
        for rank, work in enumerate([70, 70, 70, 100]):
            ops.append(compute(rank, work * MS))
            met.append(len(ops))
            ops.append(communicate(rank, 20 * MS))
        meetings.append(met)
    found = judged(coupled(ops, meetings))
    assert named(found) == ("rank", "rank", "rank 3")
    assert found.step_s == pytest.approx(40 * 0.120)
    assert found.cause.gain_s == pytest.approx(40 * 0.030)
    assert found.cause.low_s < found.cause.gain_s < found.cause.high_s + 1e-12
    assert found.confidence == 1.0


def test_same_seed_gives_the_same_judgement():
    small = peers([70, 70, 72, 80], seed=3, noise=0.1)
    one, other = judged(small, seed=7), judged(small, seed=7)
    assert one.table().equals(other.table())
    assert one.confidence == other.confidence


def test_relabelling_ranks_relabels_the_verdict_and_nothing_else():
    one, other = judged(peers([70, 70, 70, 100])), judged(peers([100, 70, 70, 70]))
    assert other.cause.candidate.ranks == (0,)
    assert one.cause.gain_s == pytest.approx(other.cause.gain_s)


def test_table_of_causes_has_the_verdict_first():
    table = judged(peers([70, 70, 100, 100])).table()
    CAUSE.validate(table)
    assert table["key"][0] == "ranks 2, 3"
    assert table["state"].to_list()[0] == "verdict"
    assert table["order"].to_list() == list(range(table.height))


def test_no_candidates_leave_noise_alone():
    small = peers([70, 70, 70, 70], seed=1, noise=0.1)
    found = judge(small, nest_effects(small), [], np.random.default_rng(0))
    assert found.kind == "jitter"
    assert len(found.causes) == 1


def test_candidate_without_ops_changes_nothing():
    small = peers([70, 70, 70, 100], steps=4)
    empty = Candidate(
        "rank",
        "rank",
        "unknown",
        "rank 9",
        np.empty(0, np.int32),
        np.empty(0),
        significant=True,
        specificity=0,
    )
    found = judge(small, nest_effects(small), [empty], np.random.default_rng(0))
    assert by_key(found)["rank 9"].gain_s == 0.0
    assert by_key(found)["rank 9"].excess_s == 0.0
