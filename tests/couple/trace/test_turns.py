"""Communication threads that begin when another thread of their machine gives up its processor."""

import numpy as np
import polars as pl
import pytest
from tests.couple.readable import predecessors

from loadpath.couple import EdgeKind

STEP_US, N_STEP = 10_000, 12


def meeting(make, at, began, ended):
    """One all-reduce of a rank: asked for at `at`, begun and ended by its thread, waited for."""
    return [
        make["span"]("c10d::allreduce_", "cpu_op", at, 20),
        make["span"]("gloo:all_reduce", "user_annotation", began, ended - began, tid=9),
        make["span"]("wait_tensor", "cpu_op", at + 60, ended + 20 - at - 60),
    ]


def rank_of(make, asked, began):
    """Steps of a rank: a meeting that may begin late, then three that begin after 60 us.

    ::

        main    forward ... ask wait_tensor ............. ask wait ask wait ask wait
        worker                       all_reduce (meets)       ---      ---      ---
    """
    events = []
    asked, began = np.asarray(asked).tolist(), np.asarray(began).tolist()
    for step in range(N_STEP):
        begin = step * STEP_US
        ended = begin + 5_000
        events += [
            make["span"](f"ProfilerStep#{step}", "user_annotation", begin, 8_000),
            make["span"]("forward", "cpu_op", begin, asked[step] - 10),
            *meeting(make, begin + asked[step], begin + began[step], ended),
        ]
        for k in range(3):
            at = ended + 100 + 500 * k
            events += meeting(make, at, at + 60, at + 300)
    return events


def job_of(couple, make, lag, hosts=("node", "node")):
    """Rank 0 asks early; its thread begins `lag` us after rank 1 blocks, which does so at any time."""
    blocks = np.random.default_rng(3).integers(500, 4_000, N_STEP)
    early = rank_of(make, np.full(N_STEP, 50), blocks + lag)
    return couple(early, rank_of(make, blocks - 60, blocks), hosts=hosts)


def turns(job):
    """Incidental orders, as pairs of names and ranks."""
    op = job.op
    told = op.select(pl.format("{} {}", pl.col("name").cast(pl.String), "rank")).to_series()
    found = [
        (told[int(job.graph.op[u])], told[int(job.graph.op[v])])
        for u, v, kind in predecessors(job.graph)
        if kind == EdgeKind.INCIDENTAL
    ]
    return sorted(found)


def test_a_thread_that_begins_when_another_blocks_waited_for_its_processor(couple, make):
    job = job_of(couple, make, 30)
    assert turns(job) == [("ProfilerStep 1", "gloo:all_reduce 0")] * N_STEP


def test_threads_that_begin_at_any_time_waited_for_nobody(couple, make):
    at_any_time = np.random.default_rng(4).integers(-400, 900, N_STEP)
    assert turns(job_of(couple, make, at_any_time)) == []


def test_threads_of_other_machines_hold_no_processor(couple, make):
    assert turns(job_of(couple, make, 30, hosts=("node", "other"))) == []


def test_threads_without_delay_need_no_processor_of_others(couple, make):
    asked = np.full(N_STEP, 700)
    begun = rank_of(make, asked, asked + 60)
    assert turns(couple(begun, begun, hosts=("node", "node"))) == []


@pytest.mark.parametrize("seed", range(40))
def test_ranks_that_run_the_same_program_share_no_processor_by_chance(couple, make, seed):
    rng = np.random.default_rng(seed)
    asked = rng.integers(500, 600, (2, N_STEP))
    late = 60 + rng.exponential(400, (2, N_STEP)).astype(int)
    ranks = [rank_of(make, asked[r], asked[r] + late[r]) for r in (0, 1)]
    assert turns(couple(*ranks, hosts=("node", "node"))) == []
