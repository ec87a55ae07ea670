"""Work that some ranks do and their peers do not, on jobs whose sums can be read off."""

from dataclasses import replace

import pytest
from tests.diagnose.peer_jobs import MS, coupled
from tests.diagnose.small_jobs import compute

from loadpath.diagnose.levels import peer_level_ns


# Each rank runs the named kernels (ms) in every step; those of one name in order are one place.
def program(*ranks, stages=None, source="kineto", steps=4):
    ops, positions = [], []
    for step in range(steps):
        for rank, kernels in enumerate(ranks):
            seen: dict[str, int] = {}
            for name, work in kernels:
                ops.append(compute(rank, work * MS, name=name, step=step))
                positions.append(seen.get(name, 0))
                seen[name] = positions[-1] + 1
    columns = {"position": positions, "stage": [stages[o.rank] if stages else 0 for o in ops]}
    return replace(coupled(ops, [], op=columns, device="device"), source=source)


def excess_ms(job):
    """Work beyond the level by rank, a step."""
    excess = (job.work_ns - peer_level_ns(job)) / MS / 4
    rank = job.op["rank"].to_numpy()
    return [float(excess[rank == one].sum()) for one in range(int(rank.max()) + 1)]


USUAL = [("mm", 10), ("add", 2)]


@pytest.mark.parametrize("extra", [("check", 7), ("mm", 7)])
def test_what_one_rank_does_beyond_the_program_of_all_is_in_excess(extra):
    assert excess_ms(program(USUAL, [*USUAL, extra], USUAL, USUAL)) == pytest.approx([0, 7, 0, 0])


def test_what_most_ranks_do_is_their_program():
    most = [*USUAL, ("check", 7)]
    assert excess_ms(program(USUAL, most, most)) == pytest.approx([0, 0, 0])


def test_half_of_the_ranks_may_do_more():
    more = [*USUAL, ("check", 7)]
    assert excess_ms(program(USUAL, more)) == pytest.approx([0, 7])


def test_work_under_another_name_is_no_excess():
    # rank 1 runs another tile of the same size
    other = [("mm of another tile", 10), ("add", 2)]
    assert excess_ms(program(USUAL, other, USUAL)) == pytest.approx([0, 0, 0])


def test_of_work_under_another_name_what_it_takes_longer_is_in_excess():
    other = [("mm of another tile", 14), ("add", 2)]
    assert excess_ms(program(USUAL, other, USUAL)) == pytest.approx([0, 4, 0])


def test_stages_run_programs_of_their_own():
    job = program(USUAL, [*USUAL, ("loss", 7)], stages=(0, 1))
    assert excess_ms(job) == pytest.approx([0, 0])


def test_rows_that_a_table_lacks_are_no_extra_work_of_the_others():
    job = program(USUAL, [*USUAL, ("check", 7)], USUAL, source="op_table")
    assert excess_ms(job) == pytest.approx([0, 0, 0])
