from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from tests.diagnose.peer_jobs import MS, coupled, peers
from tests.diagnose.small_jobs import communicate, compute

from loadpath.diagnose.levels import ideal_work_ns
from loadpath.diagnose.limitation import limitations
from loadpath.testing import job as small_job


def limits_of(job, ideal_ns=None, **which):
    ideal = job.work_ns.astype(float) if ideal_ns is None else np.asarray(ideal_ns, float)
    table = limitations(job, ideal, np.random.default_rng(0))
    wanted = {"phase": "all", "limit": "all"} | which
    return table.filter(**wanted) if wanted else table


def figures(job, name="elasticity_ratio", **which):
    table = limits_of(job, **which)
    return dict(table.select("resource", name).iter_rows())


# rank 0  |-- 100 --|- 20 -|
# rank 1  |-- 100 --|- 20 -|
def test_elasticities_are_shares_of_the_critical_path():
    job = peers([100, 100], steps=4)
    assert figures(job) == {
        "compute": pytest.approx(100 / 120, rel=1e-6),
        "interconnect": pytest.approx(20 / 120, rel=1e-6),
        "lag": 0.0,
        "spread": 0.0,
    }


def test_half_the_time_and_no_time_return_what_the_path_holds():
    job = peers([100, 100], steps=4)
    assert figures(job, "gain_half_ratio")["compute"] == pytest.approx(50 / 120, rel=1e-6)
    assert figures(job, "gain_whole_ratio")["interconnect"] == pytest.approx(20 / 120, rel=1e-6)


def test_work_that_has_slack_limits_nothing():
    # rank 1 copies on a lane of its own, beside its computation
    ops = [compute(0, 100 * MS), communicate(0, 20 * MS), compute(1, 90 * MS)]
    ops += [communicate(1, 20 * MS), compute(1, 50 * MS, lane=1)]
    job = coupled(ops, [(1, 3)], op={"mechanism": ["unknown", "communication"] * 2 + ["host"]})
    assert figures(job)["host"] == 0
    assert sum(figures(job).values()) == pytest.approx(1)


def test_lag_is_what_it_adds_to_the_step():
    ops = [compute(0, 60 * MS), communicate(0, 20 * MS), compute(1, 60 * MS, lag=20 * MS)]
    job = coupled([*ops, communicate(1, 20 * MS)], [(1, 3)])
    assert figures(job)["lag"] == pytest.approx(0.2)
    assert sum(figures(job).values()) == pytest.approx(1)


def test_spread_is_beside_the_sum():
    job = peers([100, 70, 70, 70], steps=6)
    found = figures(job, ideal_ns=ideal_work_ns(job, "median"))
    assert found.pop("spread") == pytest.approx(30 / 120)
    assert sum(found.values()) == pytest.approx(1)


def test_margin_is_the_lead_over_the_next_resource():
    table = limits_of(peers([100, 100], steps=8)).filter(pl.col("resource") != "spread")
    assert table["resource"].to_list() == ["compute", "interconnect", "lag"]
    assert table["margin_ratio"].to_list() == pytest.approx([80 / 120, -80 / 120, -100 / 120])
    assert table["margin_low_ratio"][0] == pytest.approx(80 / 120)


def test_resources_that_may_change_places_have_a_margin_around_nothing():
    works = np.where(np.arange(12)[:, None] % 2, [12.0, 12.0], [28.0, 28.0])
    margin = limits_of(peers(works)).row(0, named=True)
    assert margin["margin_low_ratio"] < 0 < margin["margin_high_ratio"]


def test_few_steps_give_no_interval():
    assert limits_of(peers([100, 100], steps=3))["elasticity_low_ratio"].is_null().all()
    assert limits_of(peers([100, 100], steps=4))["elasticity_low_ratio"].is_not_null().all()


def test_phases_of_an_op_table_are_told_by_its_op_types():
    names = ["forward-compute", "backward-compute", "grads-reduce-scatter"]
    ops = [
        op
        for rank in range(2)
        for op in (
            compute(rank, 30 * MS, names[0]),
            compute(rank, 60 * MS, names[1]),
            communicate(rank, 10 * MS, names[2]),
        )
    ]
    job = coupled(ops, [(2, 5)])
    table = limitations(job, job.work_ns.astype(float), np.random.default_rng(0))
    by_phase = table.filter(pl.col("phase") != "all")["phase", "resource", "elasticity_ratio"]
    assert by_phase.rows() == [
        ("forward", "compute", pytest.approx(0.3)),
        ("backward", "compute", pytest.approx(0.6)),
        ("update", "interconnect", pytest.approx(0.1)),
    ]


@pytest.mark.parametrize(
    ("hosts", "classes"),
    [
        (["a", "a"], ["intra_node"]),
        (["a", "b"], ["inter_node"]),
        (["", "b"], ["transfer"]),
    ],
)
def test_links_are_within_or_between_hosts_where_these_are_known(hosts, classes):
    job = peers([10, 10], steps=2, hosts=hosts)
    table = limits_of(job, resource="interconnect", limit="all")
    assert table.height == 1
    assert limits_of(job, resource="interconnect", limit=classes[0]).height == 1


def test_matrix_products_and_copies_are_told_from_other_kernels():
    names = ["ampere_sgemm_128x64_nn", "elementwise_kernel", "Memcpy DtoD"]
    ops = [
        compute(rank, 10 * MS, name, kind="copy" if "Memcpy" in name else "compute")
        for rank in range(2)
        for name in names
    ]
    ops += [communicate(rank, 10 * MS) for rank in range(2)]
    job = coupled(ops, [(6, 7)], device="device")
    table = limitations(job, job.work_ns.astype(float), np.random.default_rng(0))
    device = table.filter((pl.col("resource") == "device") & (pl.col("limit") != "all"))
    assert sorted(device["limit"]) == ["copy", "matrix", "memory"]
    assert device["elasticity_ratio"].to_list() == pytest.approx([0.25] * 3)


def test_a_job_without_time_is_limited_by_nothing():
    job = peers([0, 0], transfer=0, steps=4)
    assert set(figures(job).values()) == {0.0}


def test_a_recorded_small_job_agrees_with_the_closed_form():
    from loadpath.couple.trace import couple_trace  # noqa: PLC0415 - needs a recording

    recording = small_job(ranks=4).compute([70_000] * 4).all_reduce(30_000).recording()
    job = couple_trace(recording)
    found = figures(replace(job, source="kineto"))
    assert found["interconnect"] == pytest.approx(0.3)
