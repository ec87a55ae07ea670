"""Numbers from flight recorders, and groups that only times can tell."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loadpath.audit.sources import load_recording
from loadpath.couple.trace import couple_trace
from loadpath.couple.trace.flights import join_flights, misfiled_dumps
from loadpath.couple.trace.groups import Joined, equal_parts, split_groups
from loadpath.tables import COMMUNICATOR, FLIGHT

EXAMPLE = Path(__file__).parents[3] / "examples" / "gloo-ddp-healthy"
N_CALL = 10


@pytest.fixture(scope="module")
def recording():
    """A real job, and what a flight recorder would have noted inside its calls."""
    bare = load_recording(EXAMPLE)
    call = calls(bare).sort("rank", "start_ns")
    flight = call.select(
        "rank",
        collective=pl.col("collective").cast(pl.String),
        created_ns=pl.col("start_ns") + pl.col("duration_ns") // 4,
        sequence=100 + pl.int_range(pl.len()).over("rank"),
        group=pl.lit("0"),
        members=pl.lit([], pl.List(pl.Int32)),
    )
    return dataclasses.replace(bare, flight=FLIGHT.build(flight))


def calls(recording):
    called = pl.col("name").cast(pl.String).str.starts_with("c10d::") & (pl.col("step") >= 0)
    return recording.op.filter(called)


def numbers(recording):
    return calls(recording)["sequence"].to_list()


def test_calls_get_the_number_that_the_recorder_noted_inside_them(recording):
    joined = join_flights(recording)
    assert set(numbers(recording)) == {-1}
    assert sorted(numbers(joined)) == sorted([*range(100, 100 + N_CALL)] * 4)
    used = calls(joined)["communicator"].unique().to_list()
    members = joined.communicator.filter(pl.col("communicator").is_in(used))["members"]
    assert members.to_list() == [[0, 1, 2, 3]]


def test_a_collective_that_the_backend_runs_as_another_is_joined_by_time(recording):
    renamed = recording.flight.with_columns(collective=pl.lit("reduce_scatter"))
    joined = join_flights(dataclasses.replace(recording, flight=renamed))
    assert numbers(joined) == numbers(join_flights(recording))


def test_a_group_that_the_trace_names_too_is_that_group(recording):
    row = {"communicator": [7], "name": ["0"], "n_members": [4], "members": [[0, 1, 2, 3]]}
    schema = {name: COMMUNICATOR.schema[name] for name in row}
    named = COMMUNICATOR.build(pl.DataFrame(row, schema=schema))
    joined = join_flights(dataclasses.replace(recording, communicator=named))
    assert calls(joined)["communicator"].unique().to_list() == [7]
    assert joined.communicator.height == 1


def test_a_step_with_a_call_that_no_recorder_noted_is_left_to_order(recording):
    evicted = recording.flight.filter((pl.col("rank") != 1) | (pl.col("sequence") > 100))
    joined = join_flights(dataclasses.replace(recording, flight=evicted))
    assert numbers(joined).count(-1) == 4
    assert joined.caveat.filter(code="flight_recorder_gaps")["n"].to_list() == [1]


@pytest.mark.parametrize("ahead_ns", [3_600_000_000_000, -4_000_000, 40_000])
def test_a_dump_on_another_clock_than_its_trace_is_joined_by_order(recording, ahead_ns):
    drifts = (pl.col("created_ns") - pl.col("created_ns").min()) // 20_000  # 50 ppm
    moved = pl.when(pl.col("rank") == 1).then(pl.col("created_ns") + ahead_ns + drifts)
    skewed = recording.flight.with_columns(moved.otherwise("created_ns").alias("created_ns"))
    joined = join_flights(dataclasses.replace(recording, flight=skewed))
    assert numbers(joined) == numbers(join_flights(recording))


def test_entries_that_follow_each_other_as_no_calls_do_number_nothing(recording):
    other = recording.flight.with_columns(pl.col("created_ns") // 2)
    joined = join_flights(dataclasses.replace(recording, flight=other))
    assert set(numbers(joined)) == {-1}
    assert "ranks 0, 1, 2, 3" in joined.caveat.filter(code="flight_recorder_gaps")["text"][0]


def exchanged(recording):
    swap = pl.col("rank").replace({1: 2, 2: 1})
    return dataclasses.replace(recording, flight=recording.flight.with_columns(swap))


def test_traces_that_hold_what_the_recorder_of_another_rank_noted_are_told(recording):
    assert misfiled_dumps(join_flights(exchanged(recording))) == [
        "the trace of rank 1 holds what the flight recorder of rank 2 noted",
        "the trace of rank 2 holds what the flight recorder of rank 1 noted",
    ]


def test_traces_with_their_own_recorders_are_not_doubted(recording):
    assert misfiled_dumps(join_flights(recording)) == []


def test_a_dump_that_lost_its_older_half_doubts_no_trace(recording):
    kept = pl.col("created_ns").rank().over("rank") > N_CALL * 0.6
    lost = recording.flight.filter((pl.col("rank") != 1) | kept)
    assert misfiled_dumps(join_flights(dataclasses.replace(recording, flight=lost))) == []


def test_exchanged_recorders_refuse_conclusions_across_ranks(recording):
    job = couple_trace(exchanged(recording))
    assert "wrong_ranks" in job.caveat["code"].to_list()
    assert not job.instance["matched"].any()


def test_no_dump_changes_nothing(recording):
    bare = dataclasses.replace(recording, flight=FLIGHT.empty())
    assert join_flights(bare) is bare


def test_dumps_beside_a_gloo_job_number_its_communications():
    root = os.environ.get("LOADPATH_DATA")
    if not root:
        pytest.skip("LOADPATH_DATA is not set")
    job = couple_trace(load_recording(Path(root) / "data" / "gloo-ddp-4"))
    assert job.instance["matched"].to_list() == [True] * 24
    assert job.instance["sequence"].to_list() == list(range(9, 33))


def met(groups, arrive, length=100_000, off=None, drift_ppm=0):
    """Ops of ranks that meet in `groups`; `arrive[k][rank]` in ns, clocks `off` by rank."""
    n = len(arrive[0])
    off = off or [0] * n
    rank, instance, start, end = [], [], [], []
    for k, times in enumerate(arrive):
        for group in groups:
            done = max(times[r] for r in group) + length
            for r in group:
                rank.append(r)
                instance.append(k)
                slow = r // 2 * drift_ppm * 10 * k  # a communication every 10 ms
                start.append(times[r] + off[r] + slow)
                end.append(done + off[r] + slow)
    size = len(rank)
    return Joined(
        communicator=np.zeros(size, np.int32),
        rank=np.array(rank, np.int32),
        meets=np.ones(size, np.bool_),
        label=np.zeros(size, np.int64),
        instance=np.array(instance, np.int64),
        start=np.array(start, np.int64),
        end=np.array(end, np.int64),
    )


def parts(recording, joined, size=-1):
    groups = {"communicator": [0], "name": ["g"], "n_members": [size], "members": [[]]}
    schema = {name: COMMUNICATOR.schema[name] for name in groups}
    named = COMMUNICATOR.build(pl.DataFrame(groups, schema=schema))
    part, n_rank = split_groups(dataclasses.replace(recording, communicator=named), joined)
    found: dict[int, list[int]] = {}
    for number, rank in sorted(set(zip(part.tolist(), joined.rank.tolist(), strict=True))):
        found.setdefault(number, []).append(rank)
    return sorted(found.values()), set(n_rank.tolist())


def arrivals(n_rank, seed=3, n=40):
    rng = np.random.default_rng(seed)
    step = 10_000_000 * np.arange(n)[:, None]
    return (step + rng.integers(0, 3_000_000, (n, n_rank))).tolist()


@pytest.mark.parametrize("off", [None, [5_000_000, 0, -4_000_000, 0, 0, 2_000_000, 0, 0]])
@pytest.mark.parametrize(
    "groups",
    [
        [[0, 1], [2, 3], [4, 5], [6, 7]],
        [[0, 2], [1, 3], [4, 6], [5, 7]],
        [[0, 4], [1, 5], [2, 6], [3, 7]],
        [[0, 1, 2, 3], [4, 5, 6, 7]],
        [[0, 2, 4, 6], [1, 3, 5, 7]],
    ],
)
def test_groups_without_members_are_found_by_their_times_whatever_the_clocks(
    recording, groups, off
):
    joined = met(groups, arrivals(8, n=120), off=off)
    assert parts(recording, joined) == (groups, {len(groups[0])})
    assert parts(recording, joined, size=len(groups[0]))[0] == groups


@pytest.mark.parametrize("off", [None, [5_000_000, 0, -4_000_000, 0]])
def test_a_group_of_all_ranks_stays_whole_whatever_the_clocks(recording, off):
    joined = met([[0, 1, 2, 3]], arrivals(4), off=off)
    assert parts(recording, joined) == ([[0, 1, 2, 3]], {-1})


def test_clocks_that_drift_between_hosts_split_no_group(recording):
    # every two ranks share a host; after 40 s the clocks of the last are 6 ms apart from the first's
    joined = met([[0, 1, 2, 3, 4, 5, 6, 7]], arrivals(8, n=4000), drift_ppm=50)
    assert parts(recording, joined) == ([list(range(8))], {-1})


def test_few_contradictions_split_no_group(recording):
    joined = met([[0, 1], [2, 3]], arrivals(4, n=6))
    assert parts(recording, joined) == ([[0, 1, 2, 3]], {-1})


def test_ranks_that_meet_in_no_arrangement_are_not_split(recording):
    joined = met([[0], [1], [2], [3]], arrivals(4))
    assert parts(recording, joined)[1] == {-1}


def test_strides_of_groups_divide_the_ranks():
    assert [list(equal_parts(12, size)) for size in (2, 5, 6)] == [[1, 2, 3, 6], [], [1, 2]]
