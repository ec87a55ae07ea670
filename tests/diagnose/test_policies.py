"""Policies whose effect is known."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.diagnose.peer_jobs import MS, coupled, peers
from tests.diagnose.small_jobs import Op, communicate, compute
from tests.diagnose.stability_jobs import bsp, footing

from loadpath.diagnose.policies import policy_table


def policies(job, culprits=()):
    table = policy_table(footing(job), culprits)
    return {row["policy"]: row for row in table.iter_rows(named=True)}


def replicas(job):
    """Return the job with a replica for each rank."""
    return replace(job, op=job.op.with_columns(replica=pl.col("rank").cast(pl.Int32)))


def bucketed(turns, *, ranks=2, steps=10, size=1000, latency=2):
    """Ranks that compute `turns` (ms) on one lane and reduce a bucket after each on another.

    A message takes `latency` ms and 1 ms for every 1000 bytes; sizes are `size` for each turn. A
    barrier of both lanes ends a step.
    """
    sizes = size if isinstance(size, list) else [size] * len(turns)
    ops, meetings, edges, moved = [], [], [], []
    for step in range(steps):
        met: list[list[int]] = [[] for _ in turns]
        ends = []
        for rank in range(ranks):
            for bucket, (work, load) in enumerate(zip(turns, sizes, strict=True)):
                ops.append(compute(rank, work * MS, step=step))
                edges.append((len(ops) - 1, len(ops)))
                met[bucket].append(len(ops))
                ops.append(communicate(rank, latency * MS + load * MS // 1000, lane=1, step=step))
                moved.append((len(ops) - 1, load))
            edges.append((len(ops) - 1, len(ops)))
            ends.append(len(ops))
            ops.append(compute(rank, 1 * MS, name="update", step=step))
        meetings += met
    size_of = np.full(len(ops), -1)
    for op, load in moved:
        size_of[op] = load
    collective = np.where(size_of > 0, "all_reduce", "")
    columns = {"bytes": size_of, "collective": collective, "replica": [op.rank for op in ops]}
    return coupled(ops, meetings, edges=edges, op=columns)


def test_replacing_the_slow_rank_returns_what_it_costs():
    found = policies(bsp([70, 70, 100, 70]))["replace"]
    assert found["target"] == "rank 2, by a spare like the peers"
    assert found["gain_s"] == pytest.approx(0.03, rel=1e-4)
    assert found["gain_ratio"] == found["saving_ratio"] == pytest.approx(0.3, rel=1e-3)
    assert found["basis"].startswith("replayed")


def test_ranks_that_hide_each_other_are_replaced_together():
    found = policies(bsp([70, 100, 70, 70, 100, 70]))["replace"]
    assert found["target"] == "ranks 1, 4, by spares like the peers"
    assert found["gain_s"] == pytest.approx(0.03, rel=1e-4)
    assert found["cost"] == "2 spares; what they replace goes free"


def test_a_slow_host_is_replaced_as_a_host():
    job = bsp([70, 70, 70, 70, 100, 100], hosts=["a", "a", "b", "b", "c", "c"])
    assert policies(job)["replace"]["target"] == "host c, by spares like the peers"


def test_the_set_that_the_verdict_names_is_tried_too():
    table = policy_table(footing(bsp([70, 70, 100, 70])), [0, 2])
    assert table["target"][0] == "rank 2, by a spare like the peers"
    named = policies(bsp([70, 70, 70, 70]), [1])["replace"]
    assert named["target"] == "rank 1, by a spare like the peers"
    assert named["gain_s"] == pytest.approx(0)


def test_where_nobody_is_slow_there_is_nobody_to_replace_or_exclude():
    found = policies(replicas(bsp([70, 70, 70, 70])))
    for policy in ("replace", "exclude", "remap"):
        assert (found[policy]["target"], found[policy]["gain_s"]) == ("no rank", 0.0)


def test_without_a_replica_the_others_do_its_work():
    """Of 4 ranks of 90, 90, 180 and 90 the slow one leaves: three do 120, a fifth more."""
    found = policies(replicas(bsp([90, 90, 180, 90])))["exclude"]
    assert found["target"] == "rank 2, with its replica"
    assert found["step_s"] == pytest.approx(0.12, rel=1e-4)
    assert found["machines_ratio"] == 0.75
    assert found["saving_ratio"] == pytest.approx(1 - 0.75 * 120 / 180, rel=1e-4)
    assert found["cost"] == "1 of 4 replicas; the others do 1.33 times the work"


def test_whoever_leaves_takes_its_whole_replica_along():
    """Two stages, three replicas: rank 3, in stage 1 of replica 1, leaves with rank 2."""
    job = bsp([60, 60, 60, 120, 60, 60])
    ranks = job.op["rank"].to_numpy()
    job = replace(
        job,
        op=job.op.with_columns(
            replica=pl.Series(ranks // 2, dtype=pl.Int32),
            stage=pl.Series(ranks % 2, dtype=pl.Int32),
        ),
    )
    found = policies(job)["exclude"]
    assert found["machines_ratio"] == pytest.approx(2 / 3)
    assert found["step_s"] == pytest.approx(0.09, rel=1e-4)


def test_no_one_is_excluded_where_replicas_are_not_told():
    found = policies(bsp([70, 70, 100, 70]))
    assert "replicas" in found["exclude"]["missing"]
    assert "replicas" in found["backup"]["missing"]
    assert found["exclude"]["basis"].startswith("not assessed: needs two data-parallel replicas")


def test_ranks_that_run_the_same_distributed_module_are_replicas():
    job = bsp([70, 70, 100, 70])
    marked = job.op.with_columns(
        name=pl.when(pl.col("kind") == "compute")
        .then(pl.lit("DistributedDataParallel.forward"))
        .otherwise("name")
    )
    assert policies(replace(job, op=marked))["backup"]["work_ratio"] == 0.75


def test_a_slow_rank_is_moved_to_where_there_is_slack():
    """Ranks 0, 1 do 100 a step, ranks 2, 3 do 40; rank 1 is slow by a half: 150 instead of 100.

    In the place of rank 2 it takes 60, and the step 100.
    """
    ops, meetings = [], []
    for step in range(10):
        met = []
        for rank, work in enumerate((100, 150, 40, 40)):
            ops.append(compute(rank, work * MS, step=step, name="big" if rank < 2 else "small"))
            met.append(len(ops))
            ops.append(communicate(rank, 1000, step=step))
        meetings.append(met)
    ranks = np.array([op.rank for op in ops])
    job = coupled(ops, meetings, op={"stage": ranks // 2})
    found = policies(job)["remap"]
    assert found["target"] == "rank 1 trades places with rank 2"
    assert found["gain_s"] == pytest.approx(0.05, rel=1e-3)
    assert "50 % longer" in found["basis"]


def test_overlap_returns_at_most_the_exposed_transfers():
    found = policies(bsp([70, 100], transfer=20))["overlap"]
    assert found["gain_s"] == pytest.approx(0.02, rel=1e-6)
    assert "at most" in found["basis"]


def test_overlap_hides_no_more_than_the_channel_has_time_for():
    found = policies(bsp([30, 30], transfer=50))["overlap"]
    assert found["step_s"] == pytest.approx(0.05, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_backup_waits_for_all_but_the_latest_of_every_step(seed):
    works = np.random.default_rng(seed).exponential(50, (30, 5)) + 10
    found = policies(replicas(bsp(works, steps=30)))["backup"]
    ordered = np.sort(works, axis=1)
    assert found["gain_s"] * 1e3 == pytest.approx(
        (ordered[:, -1] - ordered[:, -2]).mean(), rel=1e-4
    )
    assert found["work_ratio"] == 0.8


def test_the_backup_gives_up_one_replica_a_step_not_one_a_communication():
    """Two turns a step: replica 0 is 10 late in the first, replica 1 is 30 late in the second.

    Without replica 1 the first turn still takes 60, then both do 50: 110 instead of 140.
    """
    ops, meetings = [], []
    for step in range(10):
        for works in ((60, 50, 50), (50, 80, 50)):
            met = []
            for rank, work in enumerate(works):
                ops.append(compute(rank, work * MS, step=step))
                met.append(len(ops))
                ops.append(communicate(rank, 0, step=step))
            meetings.append(met)
    found = policies(replicas(coupled(ops, meetings)))["backup"]
    assert found["step_s"] == pytest.approx(0.11, rel=1e-6)


def test_one_message_for_all_buckets_saves_latencies():
    """Buckets of 1 and 2 ms of bytes and 2 ms of latency come every ms: 1 + 3 + 4 + 3 + 1 = 12.

    Of all in one message at 3 the latency is 2, the bytes take 4: 3 + 6 + 1 = 10.
    """
    job = bucketed([1, 1, 1], size=[1000, 2000, 1000])
    found = policies(job)["bucket"]
    assert found["target"] == "all consecutive buckets in one message"
    assert found["step_s"] == pytest.approx(0.010, rel=1e-5)
    assert found["gain_s"] == pytest.approx(0.002, rel=1e-5)
    assert "2e+03 us" in found["basis"]


def test_messages_of_one_size_do_not_tell_latency_from_rate():
    found = policies(bucketed([40, 40], size=[8000, 8000]))["bucket"]
    assert found["missing"].startswith("reductions of two sizes or more")


def test_where_no_other_size_returns_time_that_is_said():
    """No message has latency, and the last bucket is ready with the one before it."""
    found = policies(bucketed([40, 0], size=[2000, 1000], latency=0, ranks=2))["bucket"]
    assert found["gain_s"] == pytest.approx(0, abs=1e-9)
    assert found["target"].startswith("no other size returns time")


def test_a_bucket_in_parts_leaves_when_its_parts_are_ready():
    """Buckets at 40 and 80, 1 + 8 and 1 + 4 ms: in four parts 1 + 1 ms are left of the last 5."""
    found = policies(bucketed([40, 40], size=[8000, 4000], latency=1))["bucket"]
    assert found["target"] == "each bucket in 4 messages"
    assert found["step_s"] == pytest.approx(0.080 + 0.002 + 0.001, rel=1e-5)


def test_losses_and_norms_are_no_gradients():
    job = bucketed([10, 10], size=[4000, 8])
    assert policies(job)["bucket"]["missing"] == "two reductions of gradients or more in a step"


def test_half_of_what_writes_cost_is_returned_by_twice_the_interval():
    ops, meetings = [], []
    for step in range(12):
        met = []
        for rank in range(2):
            ops.append(compute(rank, 70 * MS, step=step))
            if rank == 0 and step % 4 == 0:
                ops.append(Op(rank, "save", 30 * MS, "checkpoint", step=step))
            met.append(len(ops))
            ops.append(communicate(rank, 0, step=step))
        meetings.append(met)
    found = policies(coupled(ops, meetings))["checkpoint"]
    assert found["gain_s"] == pytest.approx(0.030 * 3 / 12 / 2, rel=1e-5)
    assert found["target"] == "twice the interval; 3 of 12 steps write one"
    assert "failure" in found["cost"]


def test_a_spare_writes_the_checkpoint_of_the_rank_that_it_replaces():
    ops, meetings = [], []
    for step in range(12):
        met = []
        for rank in range(3):
            ops.append(compute(rank, 70 * MS, step=step))
            if rank == 1:
                ops.append(Op(rank, "save", 30 * MS, "checkpoint", step=step))
            met.append(len(ops))
            ops.append(communicate(rank, 0, step=step))
        meetings.append(met)
    found = policies(replicas(coupled(ops, meetings)), [1])
    assert found["replace"]["gain_s"] == pytest.approx(0, abs=1e-9)
    # a replica that gives its step up still writes, in 30 ms of the others' 70
    assert found["backup"]["gain_s"] == pytest.approx(0.03)
    assert found["exclude"]["gain_s"] < 0
    assert found["checkpoint"]["gain_s"] == pytest.approx(0.015)


def test_what_the_record_lacks_is_named():
    found = policies(bsp([70, 100], steps=3))
    assert "replicas" in found["bucket"]["missing"]
    assert "kind checkpoint" in found["checkpoint"]["missing"]
    assert "8 steps" in found["replace"]["missing"]
    assert found["replace"]["gain_s"] is None
    assert found["replace"]["basis"].startswith("not assessed: needs 8 steps")
    job = bucketed([10, 10], size=[4000, 8000])
    sizes = policies(replace(job, op=job.op.with_columns(bytes=pl.lit(-1, pl.Int64))))["bucket"]
    assert sizes["missing"] == "bytes of the reductions between replicas"


def test_one_step_has_no_interval_and_says_so():
    found = policies(bsp([70, 100], transfer=20, steps=1))["overlap"]
    assert found["gain_low_s"] is None
    assert found["basis"].endswith("one step gives no interval")


def test_every_row_says_why_a_figure_is_empty():
    for job in (peers([70, 100], steps=3), replicas(bsp([70, 100])), bsp([70.0] * 4)):
        for row in policies(job).values():
            assert (row["gain_s"] is None) == row["basis"].startswith("not assessed: needs")
            assert (row["missing"] != "") == (row["gain_s"] is None)
