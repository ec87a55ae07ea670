"""Which transfers are compared, on groups that lie side by side."""

from dataclasses import replace

import polars as pl
from tests.diagnose.peer_jobs import MS, coupled
from tests.diagnose.small_jobs import communicate, compute

from loadpath.diagnose.alike import alike
from loadpath.diagnose.levels import peer_level_ns


def meeting(groups, *, steps=3):
    """Return a job whose groups of ranks meet one after another; ms of transfer by group."""
    ops, meetings = [], []
    for step in range(steps):
        for members, transfer in groups:
            met = []
            for rank in members:
                ops.append(compute(rank, 5 * MS, step=step))
                met.append(len(ops))
                ops.append(communicate(rank, transfer * MS, step=step))
            meetings.append(met)
    job = coupled(ops, meetings, op={"collective": [o.name for o in ops]})
    return replace(job, source="kineto")


def sized(job, n_bytes):
    return replace(job, op=job.op.with_columns(bytes=pl.lit(n_bytes)))


def levels_ms(job):
    """Level of each transfer by members of its group, in the order of the first step."""
    members = dict(job.communicator.select("communicator", "members").rows())
    level = peer_level_ns(job)
    found: dict[tuple[int, ...], list[float]] = {}
    for i in job.membership["op"].to_list():
        found.setdefault(tuple(members[job.op["communicator"][i]]), []).append(level[i] / MS)
    return {group: tuple(dict.fromkeys(values)) for group, values in found.items()}


# ranks 0 1 | 2 3 are neighbours on a fast network, 0 2 | 1 3 meet over a slow one
NEAR_AND_FAR = [((0, 1), 10), ((2, 3), 25), ((0, 2), 60), ((1, 3), 60)]


def test_neighbours_are_not_compared_with_ranks_that_lie_apart():
    found = levels_ms(sized(meeting(NEAR_AND_FAR), 4096))
    assert found == {(0, 1): (10,), (2, 3): (10,), (0, 2): (60,), (1, 3): (60,)}


def test_groups_whose_spacing_occurs_once_are_compared_with_all_of_their_size():
    # ranks were placed at random: no two groups are spaced alike
    found = levels_ms(sized(meeting([((0, 1), 20), ((2, 4), 20), ((3, 6), 80)]), 4096))
    assert set(found.values()) == {(20,)}


def test_a_group_of_another_size_is_no_peer():
    found = levels_ms(sized(meeting([((0, 1), 20), ((2, 3), 20), ((0, 1, 2, 3), 90)]), 4096))
    assert found[0, 1, 2, 3] == (90,)


def test_computations_are_of_their_class_alone():
    job = sized(meeting(NEAR_AND_FAR), 4096)
    computes = (job.op["kind"] == "compute").to_numpy()
    assert len(set(alike(job)[computes].tolist())) == 1


def test_where_no_size_is_recorded_the_turn_in_the_step_tells_large_from_small():
    buckets = [((0, 1), 2), ((0, 1), 90), ((2, 3), 2), ((2, 3), 90)]
    assert set(levels_ms(meeting(buckets)).values()) == {(2, 90)}


def test_messages_of_a_pipeline_are_of_one_size_whatever_their_turn():
    job = meeting([((0, 1), 2), ((0, 1), 2), ((0, 1), 30)])
    sent = replace(job, op=job.op.with_columns(collective=pl.lit("send").cast(pl.Categorical)))
    assert levels_ms(sent) == {(0, 1): (2,)}
