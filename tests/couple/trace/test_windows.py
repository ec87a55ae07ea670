"""Windows of an unmodified job over gloo: no step marks, no numbers, each begun somewhere else."""

import polars as pl
import pytest
from tests.couple.trace.gloo_jobs import TENSOR_AND_DATA, job, record


def codes(coupled):
    return set(coupled.caveat["code"].to_list())


def begins(events, rank):
    return sorted(e["ts"] for e in events[rank] if e["name"] == "c10d::allreduce_")


def members_end_together(coupled):
    """Whether members of each communication end within a millisecond, clocks set right."""
    op = coupled.op.with_row_index("place").with_columns(pl.col("place").cast(pl.Int32))
    member = coupled.membership.join(op, left_on="op", right_on="place")
    end = pl.col("start_ns") + pl.col("duration_ns")
    spread = member.group_by("instance").agg((end.max() - end.min()).alias("ns"), pl.len())
    return spread["ns"].max() < 1_000_000 and (spread["len"] == coupled.rank.height).all()


def members_of(coupled, size):
    rank = coupled.op["rank"].gather(coupled.membership["op"]).alias("rank")
    of_size = coupled.instance.filter(pl.col("bytes") == 4 * size).select("instance")
    member = coupled.membership.with_columns(rank).join(of_size, on="instance")
    return {
        tuple(sorted(set(ranks)))
        for ranks in member.group_by("instance").agg("rank")["rank"].to_list()
    }


def test_windows_that_began_at_other_communications_meet_the_right_ones(tmp_path):
    events = job()
    # rank 0 saw all of a step, rank 1 began in the middle of it, rank 2 two steps later
    first = begins(events, 2)
    spans = [(0, first[50]), (first[1], first[54]), (first[7] - 1, first[57])]
    coupled = record(tmp_path / "job", events, spans)
    assert {"windows_joined", "steps_from_pattern"} <= codes(coupled)
    assert coupled.instance["matched"].all()
    assert members_end_together(coupled)


def test_windows_that_began_alike_are_left_as_they_are(tmp_path):
    events = job()
    coupled = record(tmp_path / "job", events, [(0, 1e9)] * 3)
    assert not codes(coupled) & {"windows_joined", "windows_undecided"}
    assert coupled.instance["matched"].all()
    assert members_end_together(coupled)


@pytest.mark.parametrize("ahead_us", [-40_000.0, 3_000.0, 1e6])
def test_windows_on_clocks_of_two_hosts_are_told_by_what_varies(tmp_path, ahead_us):
    events = job(steps=30)
    first = begins(events, 0)
    spans = [(0, 1e9), (first[4] - 1, 1e9), (first[4] - 1, 1e9)]
    clocks, hosts = [0.0, ahead_us, 0.0], ["a", "b", "a"]
    coupled = record(tmp_path / "job", events, spans, hosts=hosts, clocks_us=clocks)
    assert "windows_joined" in codes(coupled)
    assert coupled.instance["matched"].all()
    offset = coupled.rank["clock_offset_ns"].to_list()
    assert offset[1] - offset[0] == pytest.approx(1e3 * ahead_us, abs=50_000)


def test_windows_that_fit_in_several_ways_are_refused(tmp_path):
    # all steps alike to the ns and a clock of its own: any step of one rank may be any of the other
    events = job(ranks=2, jitter_us=0.0)
    first = begins(events, 0)
    coupled = record(
        tmp_path / "job", events, [(0, 1e9), (first[3] - 1, 1e9)], hosts=["a", "b"],
        clocks_us=[0.0, 5_000.0],
    )  # fmt: skip
    assert "windows_undecided" in codes(coupled)
    assert not coupled.instance["matched"].any()


def test_windows_of_different_jobs_are_not_bent_into_one(tmp_path):
    events = [job(ranks=2, seed=1)[0], job(ranks=2, steps=9, seed=2)[1]]
    events[1] = [e | {"ts": e["ts"] * 1.7} for e in events[1]]
    coupled = record(tmp_path / "job", events, [(0, 1e9), (0, 1e9)])
    assert "windows_joined" not in codes(coupled)
    assert not coupled.instance["matched"].all()


@pytest.mark.parametrize("away", [(0, 1, 0, 0), (0, 0, 4, 2), (3, 1, 0, 4)])
@pytest.mark.parametrize("inside", ["", "Sum"])
def test_windows_of_ranks_in_groups_of_their_own_meet_through_those_between(away, inside, tmp_path):
    # ranks 0 and 3 share no group: neighbours add up twice a step, then 0 with 2 and 1 with 3
    events = job(ranks=4, steps=30, jitter_us=3000.0, plan=TENSOR_AND_DATA, inside=inside)
    spans = [(begins(events, rank)[n] - 3, 1e9) for rank, n in enumerate(away)]
    coupled = record(tmp_path / "job", events, spans)
    assert {"windows_joined", "steps_from_pattern"} <= codes(coupled)
    assert coupled.instance["matched"].all()
    assert members_of(coupled, 1000) == {(0, 1), (2, 3)}
    assert members_of(coupled, 300) <= {(0, 2), (1, 3), (0, 1, 2, 3)}


def test_ranks_in_groups_of_their_own_meet_on_clocks_of_two_hosts(tmp_path):
    # two hosts, each holds a replica; their clocks differ by more than a step
    events = job(ranks=4, steps=40, jitter_us=3000.0, plan=TENSOR_AND_DATA, inside="Sum")
    spans = [(begins(events, rank)[n] - 3, 1e9) for rank, n in enumerate((0, 1, 4, 5))]
    coupled = record(
        tmp_path / "job", events, spans, hosts=["a", "a", "b", "b"],
        clocks_us=[0.0, 0.0, 90_000.0, 90_000.0],
    )  # fmt: skip
    assert "windows_joined" in codes(coupled)
    assert coupled.instance["matched"].all()
    offset = coupled.rank["clock_offset_ns"].to_list()
    assert offset[2] - offset[0] == pytest.approx(9e7, abs=1e5)
