import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from tests.couple.readable import couple_pipeline
from tests.diagnose.small_jobs import (
    Op,
    all_reduce_job,
    communicate,
    compute,
    job,
    random_jobs,
    walked,
)

from loadpath.diagnose import root_cause
from loadpath.diagnose.exposure import exposed
from loadpath.ingest.op_table import read_op_table
from loadpath.replay import replay


def walk(small, ideal_ns):
    sink, coupling, _, waits = walked(small, ideal_ns)
    return sink, coupling, waits


def sinks(small, ideal_ns):
    """Waiting in ns and hops by (sink, rank, class)."""
    table = walk(small, ideal_ns)[0]
    return {
        row[:3]: (round(row[3] * 1e9, 6), round(row[5], 6))
        for row in table.select("sink", "rank", "op_class", "wait_s", "n_waits", "hops_mean").rows()
    }


def chain_of_four(first):
    # each rank receives from the one before, computes 10 and sends on; a transfer takes 1
    ops, meetings = [], []
    for rank in range(4):
        if rank:
            ops.append(communicate(rank, 1, "receive"))
            meetings.append((len(ops) - 2, len(ops) - 1))
        ops.append(compute(rank, first if rank == 0 else 10))
        if rank < 3:
            ops.append(communicate(rank, 1, "send"))
    return job(ops, meetings)


def test_every_wait_behind_a_slow_first_rank_ends_at_it():
    # waits of ranks 1, 2, 3: 60, 71, 82, of which 10, 21, 32 are there in the ideal too
    small = chain_of_four(60)
    ideal = np.where(small.op["kind"] == "compute", 10, 1)
    assert sinks(small, ideal) == {
        ("excess", 0, "compute"): (150, 2),
        ("bubble", -1, ""): (63, 0),
    }
    waits = walk(small, ideal)[2]
    assert waits.n_hop.tolist() == [1, 2, 3]
    assert waits.n_rank.tolist() == [1, 2, 3]
    assert waits.last_rank.tolist() == [0, 1, 2]
    assert waits.sink_rank.tolist() == [0, 0, 0]
    assert waits.distance_ns.tolist() == [0, 11, 22]


def test_last_arriver_is_not_blamed_for_what_another_rank_did():
    _, coupling, _ = walk(chain_of_four(60), [10, 1, 1, 10, 1, 1, 10, 1, 1, 10])
    entries = {
        row[:2]: row[2:]
        for row in (
            coupling.select("cause", "waiter", pl.col("direct_s", "transitive_s") * 1e9)
        ).rows()
    }
    assert entries[2, 3] == (pytest.approx(50), 0)
    assert entries[0, 3] == (0, pytest.approx(50))
    assert len(entries) == 16


def test_delay_long_before_the_waiter_arrives_is_still_its_cause():
    # the slow op ends at 60; the waiter arrives at 110, and all ops after 60 are as they should be
    ops = [compute(0, 60, "early"), compute(0, 100, "late"), communicate(0, 5)]
    ops += [compute(1, 10, "early"), compute(1, 100, "late"), communicate(1, 5)]
    small = job(ops, [(2, 5)])
    assert sinks(small, [10, 100, 5, 10, 100, 5]) == {("excess", 0, "early"): (50, 1)}


def test_delay_before_the_paths_part_explains_no_wait():
    # rank 1 delays both at the first meeting by 90, rank 0 then comes late by 30
    ops = [compute(0, 10, "a"), communicate(0, 5), compute(0, 40, "b"), communicate(0, 5)]
    ops += [compute(1, 100, "a"), communicate(1, 5), compute(1, 10, "b"), communicate(1, 5)]
    small = job(ops, [(1, 5), (3, 7)])
    assert sinks(small, [10, 5] * 4) == {
        ("excess", 1, "a"): (90, 1),
        ("excess", 0, "b"): (30, 1),
    }


def test_slow_transfer_of_all_members_makes_nobody_wait():
    # the all-reduce takes 45 instead of 5 on both ranks; only the computation of rank 0 is late
    ops = [communicate(0, 45), compute(0, 30), communicate(0, 5, "barrier")]
    ops += [communicate(1, 45), compute(1, 10), communicate(1, 5, "barrier")]
    small = job(ops, [(0, 3), (2, 5)])
    assert sinks(small, [5, 10, 5] * 2) == {("excess", 0, "compute"): (20, 1)}


def test_slow_link_is_a_transfer_excess():
    # ranks 0 and 1 exchange over a slow link, then meet rank 2
    ops = [communicate(0, 50, "send"), communicate(1, 50, "receive")]
    ops += [communicate(r, 5, "barrier") for r in range(3)]
    small = job(ops, [(0, 1), (2, 3, 4)], [])
    assert sinks(small, [10, 10, 5, 5, 5]) == {
        ("transfer_excess", 0, "send"): (40, 1),
        ("bubble", -1, ""): (10, 0),
    }


def test_two_delays_on_one_path_share_by_size():
    ops = [compute(0, 40, "a"), compute(0, 20, "b"), communicate(0, 5)]
    ops += [compute(1, 20, "a"), compute(1, 10, "b"), communicate(1, 5)]
    small = job(ops, [(2, 5)])
    assert sinks(small, [10, 10, 5] * 2) == {
        ("excess", 0, "a"): (22.5, 1),
        ("excess", 0, "b"): (7.5, 1),
    }


def test_waiter_that_came_early_is_not_explained_by_others():
    small, ideal = all_reduce_job([70, 100], ideal=100)
    assert sinks(small, ideal) == {("unexplained", -1, ""): (30, 0)}
    assert walk(small, ideal)[2].early_ns.tolist() == [30]


def test_lag_is_a_sink_in_a_replay_with_lag():
    small = job(
        [compute(0, 10, lag=40), communicate(0, 5), compute(1, 10), communicate(1, 5)], [(1, 3)]
    )
    sink, coupling, _, waits = walked(small, small.work_ns, lag_ns=small.lag_ns)
    assert sink.select("sink", "rank", pl.col("wait_s") * 1e9).rows() == [("lag", 0, 40.0)]
    assert waits.lag_ns.tolist() == [40]
    assert coupling["transitive_s"].sum() == pytest.approx(40e-9)


def test_cause_may_lie_in_an_earlier_step():
    ops = [compute(0, 60), compute(0, 10, step=1), communicate(0, 5, step=1)]
    ops += [compute(1, 10), compute(1, 10, step=1), communicate(1, 5, step=1)]
    small = job(ops, [(2, 5)])
    waits = walk(small, [10, 10, 5] * 2)[2]
    assert (waits.sink_op.tolist(), waits.n_step.tolist()) == ([0], [1])
    assert waits.excess_ns.tolist() == [50]
    assert (waits.sink_rank.tolist(), waits.n_hop.tolist(), waits.n_rank.tolist()) == (
        [0],
        [1],
        [1],
    )
    assert waits.distance_ns.tolist() == [10]


def test_job_without_waits_has_no_sinks():
    small, ideal = all_reduce_job([70, 70])
    sink, coupling, waits = walk(small, ideal)
    assert (sink.height, waits.op.size) == (0, 0)
    assert coupling.select("direct_s", "transitive_s").sum().row(0) == (0, 0)


def test_walk_that_is_cut_short_leaves_the_rest_unexplained(monkeypatch):
    monkeypatch.setattr(root_cause, "REACH", 1)
    small = chain_of_four(60)
    found = sinks(small, np.where(small.op["kind"] == "compute", 10, 1))
    assert found["unexplained", -1, ""][0] > 0
    assert sum(amount for amount, _ in found.values()) == pytest.approx(213)


def test_waits_of_many_ranks_are_walked_in_blocks(monkeypatch):
    small, ideal = all_reduce_job([70, 100, 90, 100, 100], ideal=70)
    whole = walk(small, ideal)
    monkeypatch.setattr(root_cause, "BLOCK", 2)
    blocks = walk(small, ideal)
    assert whole[0].equals(blocks[0])
    assert whole[1].equals(blocks[1])


@given(random_jobs())
@settings(max_examples=60, deadline=None)
def test_parts_sum_to_the_exposed_wait(small):
    ideal = np.array([4.5 if kind == "compute" else 2 for kind in small.op["kind"]])
    sink, coupling, waits = walk(small, ideal)
    total = exposed(small, replay(small.graph, small.work_ns), small.work_ns).wait_ns.sum()
    parts = np.stack(
        [
            waits.bubble_ns,
            waits.excess_ns,
            waits.transfer_excess_ns,
            waits.lag_ns,
            waits.unexplained_ns,
        ]
    )
    assert (parts >= 0).all()
    np.testing.assert_allclose(parts.sum(axis=0), waits.exposed_ns, rtol=1e-12)
    assert sink["wait_s"].sum() * 1e9 == pytest.approx(total, rel=1e-9)
    assert coupling["direct_s"].sum() * 1e9 == pytest.approx(total - parts[0].sum(), rel=1e-9)
    assert coupling["transitive_s"].sum() * 1e9 == pytest.approx(parts[1:4].sum(), rel=1e-9)
    assert (waits.early_ns <= waits.unexplained_ns).all()


def noisy_pipeline(culprit, factor, rng):
    """Twenty microbatches through four ranks, an all-reduce at the end; noise of 2 %."""
    ops: list[Op] = []
    meetings: list[tuple[int, int]] = []
    sent: dict[tuple[int, int], int] = {}
    for rank in range(4):
        for k in range(20):
            if rank:
                meetings.append((sent[rank - 1, k], len(ops)))
                ops.append(communicate(rank, 1_000, "receive"))
            scale = factor if rank == culprit else 1
            ops.append(compute(rank, int(100_000 * scale * rng.lognormal(0, 0.02))))
            sent[rank, k] = len(ops)
            if rank < 3:
                ops.append(communicate(rank, 1_000, "send", lane=1))
    edges = [(op - 1, op) for (rank, _), op in sent.items() if rank < 3]
    last = range(len(ops), len(ops) + 4)
    ops += [communicate(rank, 5_000) for rank in range(4)]
    return job(ops, [*meetings, last], edges)


@pytest.mark.parametrize("culprit", range(4))
def test_planted_slow_rank_gets_nearly_all_of_the_waiting(culprit):
    small = noisy_pipeline(culprit, 1.3, np.random.default_rng(culprit))
    frame = small.op.select(pl.col("name").cast(pl.String), pl.Series("work", small.work_ns))
    ideal = frame.select(pl.col("work").median().over("name"))["work"].to_numpy()
    sink, _, _ = walk(small, ideal)
    caused = sink.filter(pl.col("rank") >= 0)
    share = caused.filter(pl.col("rank") == culprit)["wait_s"].sum() / caused["wait_s"].sum()
    assert share > 0.9
    unexplained = sink.filter(pl.col("sink") == "unexplained")["wait_s"].sum()
    assert unexplained < 0.1 * caused["wait_s"].sum()


def test_production_job_waits_for_its_first_rank():
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA names no folder")
    recorded = couple_pipeline(
        read_op_table(Path(root) / "data/bytedance-straggler/trace-AR.parquet")
    )
    frame = recorded.op.select("op_class", pl.Series("work", recorded.work_ns))
    ideal = frame.select(pl.col("work").median().over("op_class"))["work"].to_numpy()
    sink, coupling, _ = walk(recorded, ideal)
    total = sink["wait_s"].sum()
    assert (
        sink.filter((pl.col("sink") == "excess") & (pl.col("rank") == 0))["wait_s"].sum()
        > 0.85 * total
    )
    assert sink.filter(pl.col("sink") == "unexplained")["wait_s"].sum() < 0.01 * total
    # rank 0 arrives last in less than a third of what it causes
    by_cause = coupling.filter(pl.col("cause") == 0).select("direct_s", "transitive_s").sum().row(0)
    assert by_cause[0] < by_cause[1] / 3
