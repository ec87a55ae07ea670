"""Recorded jobs at other sizes, beside jobs that were made at those sizes."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loadpath.audit.pipeline import couple_sources
from loadpath.audit.settings import Settings
from loadpath.couple.steps import as_runs, lay_out
from loadpath.errors import UsageError
from loadpath.forecast.audited_job import (
    JobSize,
    overhead_s,
    resized,
    resized_steps_s,
)
from loadpath.forecast.durations import replayed_s
from loadpath.forecast.measured_pipeline import measure_pipeline
from loadpath.forecast.skeleton import OpKind
from loadpath.testing import Cause, make_job, write_op_table


def coupled(path):
    return lay_out(as_runs(couple_sources([path], Settings(), lambda _: None)))


# Without noise and slow ranks.
def calm_step_s(found, size):
    return replayed_s(resized(found, size))


def step_times_s(job):
    spans = job.step.group_by("step").agg(
        (pl.col("end_ns").max() - pl.col("start_ns").min()).alias("ns")
    )
    return spans.sort("step")["step"].to_numpy(), spans.sort("step")["ns"].to_numpy() / 1e9


@pytest.fixture
def recorded(tmp_path):
    def record(cause=None, seed=0, **shape):
        options = {
            "steps": 10,
            "microbatches": 8,
            "transfer_ratio": 0.01,
            "noise": 0.05,
            "lag_s": 0.0,
        }
        made = make_job(seed, cause=cause, **(options | shape))
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
        write_op_table(made, path)
        return coupled(path)

    return record


def measured(job, **more):
    return measure_pipeline(job.op, job.work_ns, job.layout, **more)


def forecast(job, size, n=128):
    return resized_steps_s(measured(job), size, np.random.default_rng(0), n_scenario=n)


STAGES = (1.1, 1.0, 1.0, 1.2)


@pytest.mark.parametrize(
    ("size", "truth"),
    [
        (JobSize(), {"pp": 4, "dp": 2, "stage_work": STAGES}),
        (JobSize(replicas=8), {"pp": 4, "dp": 8, "stage_work": STAGES}),
        (JobSize(microbatches=16), {"pp": 4, "dp": 2, "stage_work": STAGES, "microbatches": 16}),
        (JobSize(stages=2), {"pp": 2, "dp": 2, "stage_work": (2.1, 2.2)}),
        (JobSize(stages=8, replicas=4),
         {"pp": 8, "dp": 4, "stage_work": (0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.7)}),
    ],
)  # fmt: skip
def test_job_at_another_size_takes_what_one_made_at_that_size_takes(recorded, size, truth):
    drawn = forecast(recorded(pp=4, dp=2, stage_work=STAGES), size)
    _, steps = step_times_s(recorded(seed=7, **truth))
    assert drawn.mean() == pytest.approx(steps.mean(), rel=0.02)


def test_interleaved_job_is_met_at_its_size_and_as_a_plain_one(recorded):
    job = recorded(pp=2, dp=2, vpp=2, noise=0.02)
    assert forecast(job, JobSize()).mean() == pytest.approx(step_times_s(job)[1].mean(), rel=0.02)
    found = measured(job)
    assert (found.seconds[OpKind.SEND] > 0).all()
    plain, interleaved = (calm_step_s(found, JobSize(chunks=n)) for n in (1, 2))
    # Half of a chunk's bubble; the transfers are small.
    assert interleaved < plain


@pytest.mark.parametrize(
    ("size", "word"),
    [
        (JobSize(stages=-1), "stages is -1"),
        (JobSize(chunks=2, microbatches=5), "5 on 2"),
        (JobSize(chunks=2, stages=1), "more than one stage"),
    ],
)
def test_size_that_no_job_has_is_refused(recorded, size, word):
    with pytest.raises(UsageError, match=word):
        resized(measured(recorded(pp=2, dp=2)), size)


def test_noise_costs_more_with_more_replicas(recorded):
    job = recorded(pp=2, dp=2, noise=0.2)
    few, many = (forecast(job, JobSize(replicas=n)).mean() for n in (2, 64))
    calm = calm_step_s(measured(job), JobSize(replicas=64))
    assert many > 1.05 * few
    assert calm < 1.03 * calm_step_s(measured(job), JobSize(replicas=2))


def test_slow_rank_stays_slow_at_its_size_and_is_met_more_often_in_larger_jobs(recorded):
    job = recorded(Cause("rank", size=0.5), pp=2, dp=8)
    found = measured(job)
    assert found.factor.max() > 1.4
    assert np.sum(found.factor > 1.2) == 1
    same = forecast(job, JobSize())
    assert same.mean() == pytest.approx(step_times_s(job)[1].mean(), rel=0.02)
    few, many = (forecast(job, JobSize(replicas=n), 512) for n in (2, 64))
    hit = [
        np.mean(steps > (same.mean() + calm_step_s(found, JobSize())) / 2) for steps in (few, many)
    ]
    assert hit[0] < 0.6
    assert hit[1] > 0.99


def test_bands_hold_the_steps_that_were_not_used(recorded):
    job = recorded(pp=2, dp=4, steps=40, noise=0.1)
    number, steps = step_times_s(job)
    found = measured(job, steps=number[::2])
    late = overhead_s(found, steps[::2])
    drawn = resized_steps_s(
        found, JobSize(), np.random.default_rng(1), n_scenario=512, overhead=late
    )
    low, high = np.quantile(drawn, [0.05, 0.95])
    assert 0.7 <= np.mean((steps[1::2] >= low) & (steps[1::2] <= high)) <= 1.0
    assert drawn.mean() == pytest.approx(steps[1::2].mean(), rel=0.01)


@pytest.mark.parametrize("name", ["AR", "ST"])
def test_half_of_the_steps_of_a_real_job_predicts_the_other_half(name):
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    path = Path(root) / "data" / "bytedance-straggler" / f"trace-{name}.parquet"
    assert path.is_file(), f"LOADPATH_DATA has no {path}"
    job = coupled(path)
    number, steps = step_times_s(job)
    errors, inside = [], []
    for used in (0, 1):
        found = measured(job, steps=number[used::2])
        late = overhead_s(found, steps[used::2])
        drawn = resized_steps_s(
            found, JobSize(), np.random.default_rng(2), n_scenario=512, overhead=late
        )
        low, high = np.quantile(drawn, [0.05, 0.95])
        rest = steps[1 - used :: 2]
        inside.append(np.mean((rest >= low) & (rest <= high)))
        errors.append(abs(drawn.mean() / rest.mean() - 1))
    assert max(errors) <= 0.005
    assert 0.80 <= np.mean(inside) <= 0.97


def test_gradients_of_more_replicas_take_the_share_of_a_ring(recorded):
    found = measured(recorded(pp=2, dp=2, transfer_ratio=0.5, noise=0.0))
    few, many = (resized(found, JobSize(replicas=n)).seconds.sum(axis=-1) for n in (2, 4))
    moving = (OpKind.REDUCE, OpKind.GATHER)
    before = np.array([few[k].sum() for k in moving])
    after = np.array([many[k].sum() for k in moving])
    assert before.min() > 0
    assert after / before == pytest.approx(np.array([1.5, 1.5]), rel=0.01)


def test_wider_tensor_shortens_all_but_the_serial_share(recorded):
    found = measured(recorded(pp=2, dp=2))
    one, two = (resized(found, JobSize(tensor=n)).seconds[OpKind.FORWARD].sum() for n in (1, 2))
    assert two / one == pytest.approx(0.07 + 0.93 / 2, rel=1e-6)


def test_lone_replica_tells_nothing_of_gradients(recorded):
    found = measured(recorded(pp=2, dp=1))
    with pytest.raises(UsageError, match="One replica was recorded"):
        resized(found, JobSize(replicas=2))


def test_record_without_passes_is_refused(recorded):
    job = recorded(pp=2, dp=2)
    keep = (job.op["name"].cast(pl.String) == "optimizer").to_numpy()
    with pytest.raises(UsageError, match="no forward and backward passes"):
        measure_pipeline(job.op.filter(keep), job.work_ns[keep], job.layout)


def test_step_that_was_cut_is_refused(recorded):
    job = recorded(pp=2, dp=2)
    keep = np.arange(job.n_op) > 10
    with pytest.raises(UsageError, match="differ, or some were not recorded"):
        measure_pipeline(job.op.filter(keep), job.work_ns[keep], job.layout)
