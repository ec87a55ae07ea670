"""Synthetic jobs against closed forms: bubbles, bulk-synchronous excess, twins, seeds."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from loadpath.errors import UsageError
from loadpath.testing import Cause, make_job

QUIET: dict[str, Any] = {"noise": 0.0, "lag_s": 0.0, "stage_spread": 0.0}
CAUSES = {
    "rank": Cause("rank", 0.1),
    "two-ranks": Cause("rank", 0.1, n_ranks=2),
    "intermittent-rank": Cause("rank", 0.1, steps_ratio=0.25),
    "host": Cause("host", 0.1),
    "link": Cause("link", 0.1),
    "group": Cause("link", 0.1, place="group"),
    "stage": Cause("stage", 0.1),
    "data": Cause("data", 0.1),
    "jitter": Cause("jitter", 0.1),
}
HOST_CAUSES = [
    Cause("host", 0.1, place="rank", mechanism="host"),
    Cause("host", 0.1, place="rank", mechanism="input"),
    Cause("host", 0.1, place="all"),
]


@pytest.mark.parametrize(
    ("pp", "microbatches", "vpp"), [(2, 4, 1), (4, 8, 1), (4, 8, 2), (3, 1, 1)]
)
def test_idle_share_of_a_quiet_pipeline_is_the_1f1b_bubble(pp, microbatches, vpp):
    job = make_job(
        0, pp=pp, dp=1, vpp=vpp, microbatches=microbatches, steps=1, transfer_ratio=0.0, **QUIET
    )
    passes = job.op.filter(pl.col("lane") == "compute")
    span_ns = passes["end_ns"].to_numpy().max() - passes["start_ns"].to_numpy().min()
    busy_ns = passes.group_by("rank").agg((pl.col("end_ns") - pl.col("start_ns")).sum())
    bubble = (pp - 1) / (vpp * microbatches + pp - 1)
    np.testing.assert_allclose(1 - busy_ns["end_ns"].to_numpy() / span_ns, bubble, rtol=1e-9)


def test_slow_rank_of_a_bulk_synchronous_job_lengthens_the_step_by_its_excess():
    fault = Cause("rank", 0.2, ranks=(2,))
    truth = make_job(0, pp=1, dp=4, cause=fault, calibrate=False, **QUIET).truth
    assert truth.excess_ratio == 0.2
    assert truth.effect_ratio == pytest.approx(0.2, abs=1e-8)


def test_slack_absorbs_part_of_the_excess_of_a_rank_that_is_not_the_slowest():
    work = (1.0, 0.8, 1.0, 1.0)
    fault = Cause("rank", 0.05, ranks=(2,))
    truth = make_job(0, pp=4, dp=2, stage_work=work, cause=fault, calibrate=False).truth
    assert 0 <= truth.effect_ratio < 0.05


@pytest.mark.parametrize("recorder", ["op_table", "kineto"])
@pytest.mark.parametrize("fault", CAUSES.values(), ids=CAUSES)
def test_planted_effect_has_the_size_asked_for(fault, recorder):
    job = make_job(4, pp=2, dp=4, steps=4, microbatches=4, cause=fault, recorder=recorder)
    assert job.truth.effect_ratio == pytest.approx(fault.size, rel=0.02)


@pytest.mark.parametrize("fault", HOST_CAUSES, ids=lambda cause: f"{cause.place}-{cause.mechanism}")
def test_host_causes_have_the_size_asked_for_on_kineto_jobs(fault):
    job = make_job(4, pp=1, dp=4, steps=3, microbatches=2, cause=fault, recorder="kineto")
    assert job.truth.effect_ratio == pytest.approx(fault.size, rel=0.02)
    assert job.truth.kind == "host"


@pytest.mark.parametrize("recorder", ["op_table", "kineto"])
@pytest.mark.parametrize("fault", CAUSES.values(), ids=CAUSES)
def test_twin_without_the_cause_is_the_job_with_a_cause_of_size_zero(fault, recorder):
    shape: dict[str, Any] = {"pp": 2, "dp": 4, "steps": 2, "microbatches": 4, "recorder": recorder}
    with_cause = make_job(9, cause=fault, **shape)
    without = make_job(9, cause=Cause(fault.kind, 0.0, place=fault.place), **shape)
    healthy = make_job(9, **shape)
    assert without.op.equals(healthy.op)
    assert with_cause.truth.step_s_without == without.truth.step_s == healthy.truth.step_s


@pytest.mark.parametrize("recorder", ["op_table", "kineto"])
def test_equal_seeds_give_equal_jobs_and_other_seeds_do_not(recorder):
    shape: dict[str, Any] = {
        "recorder": recorder,
        "steps": 2,
        "skewed_ratio": 0.5,
        "cause": Cause("rank", 0.1),
    }
    assert make_job(1, **shape).op.equals(make_job(1, **shape).op)
    assert make_job(1, **shape).clock.equals(make_job(1, **shape).clock)
    assert not make_job(1, **shape).op.equals(make_job(2, **shape).op)


@pytest.mark.parametrize("law", ["lognormal", "gamma"])
def test_noise_has_the_mean_and_variation_asked_for(law):
    job = make_job(3, dp=8, pp=1, steps=40, noise=0.05, noise_law=law, lag_s=0.0)
    forward = job.op.filter(pl.col("name") == "forward-compute")
    length = (forward["end_ns"] - forward["start_ns"]).to_numpy() / 20e6
    assert length.mean() == pytest.approx(1.0, abs=0.005)
    assert length.std() == pytest.approx(0.05, rel=0.05)


def test_intermittent_cause_is_in_its_steps_only():
    fault = Cause("rank", 0.1, ranks=(0,), steps_ratio=0.25)
    shape: dict[str, Any] = {"pp": 1, "dp": 4, "steps": 8, "noise": 0.0}
    sick, well = make_job(5, cause=fault, **shape), make_job(5, **shape)
    span = (pl.col("end_ns").max() - pl.col("start_ns").min()).alias("span")
    spans = [job.op.group_by("step").agg(span).sort("step")["span"] for job in (sick, well)]
    assert len(sick.truth.steps) == 2
    assert (spans[0] - spans[1] > 0).sum() == 2


def test_members_of_a_communication_end_together_after_the_last_has_come():
    job = make_job(2, pp=2, tp=2, dp=2, recorder="kineto", steps=2, microbatches=2)
    member = job.op.filter(pl.col("group") != "").group_by("group")
    ends = member.agg(pl.col("end_ns").n_unique().alias("n_ends"), pl.len().alias("n"))
    assert set(ends["n_ends"]) == {1}
    assert set(ends["n"]) == {2, 8}


@pytest.mark.parametrize("shape", [{}, {"p2p": "batched"}, {"overlap": True, "vpp": 2}])
def test_work_of_one_lane_never_overlaps(shape):
    job = make_job(2, pp=4, dp=2, steps=2, **shape)
    lanes = job.op.filter(pl.col("lane") == "compute").sort("rank", "step", "start_ns")
    overlap = pl.col("start_ns") < pl.col("end_ns").shift(1).over("rank", "step")
    assert not lanes.select(overlap.any()).item()


def test_overlapped_gradients_hide_behind_the_backward_pass():
    shape: dict[str, Any] = {"pp": 1, "dp": 4, "recorder": "kineto", "noise": 0.0, "layers": 8}
    hidden, shown = make_job(0, overlap=True, **shape), make_job(0, **shape)
    assert hidden.truth.step_s < shown.truth.step_s


def test_host_sets_the_pace_of_a_launch_bound_job():
    job = make_job(0, pp=1, dp=2, recorder="kineto", launch_bound=True, layers=8)
    length = (pl.col("end_ns") - pl.col("start_ns")).sum()
    busy = job.op.filter((pl.col("lane") == "compute") & (pl.col("rank") == 0)).select(length)
    assert busy.item() < 0.5 * job.op["end_ns"].to_numpy().max()


@pytest.mark.parametrize(
    ("fault", "shape"),
    [
        (Cause("link", 0.1), {"pp": 1}),
        (Cause("link", 0.1, place="group"), {"dp": 1}),
        (Cause("stage", 0.1), {"pp": 1}),
        (Cause("host", 0.1, place="all"), {"recorder": "op_table"}),
        (Cause("rank", 0.1, ranks=(99,)), {}),
        (None, {"vpp": 2, "microbatches": 3}),
        (None, {"vpp": 2, "p2p": "batched"}),
        (None, {"recorder": "kineto", "vpp": 2}),
        (None, {"stage_work": (1.0,)}),
        (None, {"recorder": "paper"}),
        (None, {"steps": 0}),
    ],
)
def test_jobs_that_cannot_be_are_refused(fault, shape):
    with pytest.raises(UsageError):
        make_job(0, cause=fault, **shape)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "ghost"},
        {"kind": "rank", "size": -0.1},
        {"kind": "rank", "steps_ratio": 0.0},
        {"kind": "rank", "place": "stage"},
    ],
)
def test_causes_that_cannot_be_are_refused(fields):
    with pytest.raises(UsageError):
        Cause(**fields)
