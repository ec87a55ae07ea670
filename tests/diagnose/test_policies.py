"""Policies whose effect is known."""

import numpy as np
import polars as pl
import pytest
from tests.diagnose.peer_jobs import MS, coupled
from tests.diagnose.small_jobs import communicate, compute
from tests.diagnose.stability_jobs import bsp, footing

from loadpath.diagnose.policies import policy_table


def policies(job):
    return {row["policy"]: row for row in policy_table(footing(job)).iter_rows(named=True)}


def test_excluding_the_slow_rank_returns_what_it_costs():
    found = policies(bsp([70, 70, 100, 70]))["exclude"]
    assert found["target"] == "rank 2, for one like its peers"
    assert found["gain_s"] == pytest.approx(0.03, rel=1e-4)
    assert found["gain_ratio"] == pytest.approx(0.3, rel=1e-3)
    assert found["basis"] == "replayed"


def test_where_nobody_is_slow_there_is_nobody_to_exclude():
    found = policies(bsp([70, 70, 70, 70]))["exclude"]
    assert found["target"] == "nobody is persistently slow"
    assert found["gain_s"] == 0.0


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
    assert found["target"] == "rank 1 to the place of rank 2"
    assert found["gain_s"] == pytest.approx(0.05, rel=1e-3)


def test_overlap_returns_at_most_the_exposed_transfers():
    found = policies(bsp([70, 100], transfer=20))["overlap"]
    assert found["gain_s"] == pytest.approx(0.02, rel=1e-6)
    assert "at most" in found["basis"]


def test_a_backup_replica_takes_out_the_slowest_of_every_step():
    """One of three replicas is slow in each step, never the same two times running."""
    works = np.full((30, 3), 70.0)
    works[np.arange(30), np.arange(30) % 3] = 100.0
    job = bsp(works, steps=30)
    replica = job.op["rank"].cast(pl.Int32)
    with_replicas = type(job)(
        **{n: getattr(job, n) for n in job.__dataclass_fields__}
        | {"op": job.op.with_columns(replica.alias("replica"))}
    )
    assert policies(job)["backup"]["missing"] == "two data-parallel replicas or more"
    found = policies(with_replicas)["backup"]
    assert found["gain_s"] == pytest.approx(0.02, abs=0.001)


def test_what_the_record_lacks_is_named():
    found = policies(bsp([70, 100], steps=3))
    assert "nccl-tests" in found["bucket"]["missing"]
    assert "failure rate" in found["checkpoint"]["missing"]
    assert "8 steps" in found["exclude"]["missing"]
    assert found["exclude"]["gain_s"] is None
    assert found["exclude"]["basis"] == "not assessed"
