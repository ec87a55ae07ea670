"""Pipelines known by traces, synthesised with other stages, microbatches and replicas."""

from dataclasses import replace
from functools import cache

import numpy as np
import polars as pl
import pytest

from loadpath.audit.forecast_known import known_of_audit
from loadpath.audit.forecast_settings import ForecastSettings
from loadpath.audit.pipeline import run_audit
from loadpath.errors import UsageError
from loadpath.forecast.audited_job import JobSize
from loadpath.forecast.audited_point import audited_pipeline, mean_step_s
from loadpath.forecast.skeleton import OpKind
from loadpath.forecast.traced_pipeline import check_synthesis, measure_traced_pipeline
from loadpath.testing import make_job, write_kineto

FORWARD_S, LAYERS, MICROBATCHES = 0.020, 2, 8


@cache
def audited(folder, **form):
    told = {"pp": 2, "dp": 2, "tp": 1, "microbatches": MICROBATCHES, "p2p": "streams", **form}
    stages = (2 / told["pp"],) * told["pp"]
    made = make_job(
        3, recorder="kineto", steps=4, layers=LAYERS, noise=0.05, skewed_ratio=0.0, stage_work=stages, **told
    )  # fmt: skip
    return run_audit(write_kineto(made, folder / repr(sorted(form.items()))), brief=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("traced-pipelines")


@pytest.fixture(scope="module", params=["streams", "batched"])
def recorded(request, folder):
    return audited(folder, p2p=request.param)


def pipeline_of(audit):
    replica = dict(audit.job.rank.select("rank", "dp").iter_rows())
    measured = measure_traced_pipeline(audit.job, replica)
    return audited_pipeline(measured, audit.tables["step_time"]["measured_s"].to_numpy())


def step_of(audit):
    return float(np.mean(audit.tables["step_time"]["measured_s"].to_numpy()))


def test_passes_are_what_the_job_was_made_of(recorded):
    measured = pipeline_of(recorded).measured
    assert (measured.stages, measured.replicas, measured.microbatches) == (2, 2, MICROBATCHES)
    # The generator's backward pass takes twice its forward pass; its transfers a twentieth of that.
    assert measured.seconds[OpKind.FORWARD, :, 0] == pytest.approx([FORWARD_S] * 2, rel=0.02)
    assert measured.seconds[OpKind.BACKWARD, :, 0] == pytest.approx([2 * FORWARD_S] * 2, rel=0.02)
    assert measured.seconds[OpKind.SEND, :, 0] == pytest.approx([0.05 * FORWARD_S] * 2, rel=0.05)
    assert measured.factor == pytest.approx(np.ones((2, 2)), abs=0.02)


@pytest.mark.parametrize(
    ("replicas", "stages", "microbatches"), [(4, 2, 4), (2, 4, 8), (1, 4, 16), (2, 2, 16)]
)
def test_job_of_another_shape_takes_what_is_synthesised(
    folder, recorded, replicas, stages, microbatches
):
    size = {"dp": replicas, "pp": stages, "microbatches": microbatches}
    other = audited(folder, **size)
    to = JobSize(replicas=replicas, stages=stages, microbatches=microbatches)
    assert mean_step_s(pipeline_of(recorded), to) == pytest.approx(step_of(other), rel=0.03)


def test_recorded_step_is_met(recorded):
    assert mean_step_s(pipeline_of(recorded), JobSize()) == pytest.approx(
        step_of(recorded), rel=0.01
    )


def test_stages_are_asked_for_of_traces(recorded):
    settings = ForecastSettings(worlds=32, pipeline=4, sizes="8,10", goal="strong")
    known = known_of_audit("x", recorded, settings)
    assert (known.curve.n.tolist(), known.unit) == ([8], "microbatch")
    assert "counted by sends" in " ".join(known.assumptions)
    assert "--samples" in _refused(recorded, pipeline=4, samples=8, goal="strong")


def _refused(audit, **options):
    with pytest.raises(UsageError) as refused:
        known_of_audit("x", audit, ForecastSettings(worlds=32, **options))
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


def test_step_that_passes_do_not_explain_is_refused(recorded):
    pipeline = pipeline_of(recorded)
    check_synthesis(pipeline)
    with pytest.raises(UsageError, match="make up 50 % of a recorded step"):
        check_synthesis(
            replace(pipeline, step_s=2 * mean_step_s(replace(pipeline, overhead=0.0), JobSize()))
        )


def test_traces_without_stages_or_with_uneven_sends_are_refused(recorded):
    job = recorded.job
    replica = dict(job.rank.select("rank", "dp").iter_rows())
    flat = job.rank.with_columns(pl.lit(-1, pl.Int32).alias("pp"))
    with pytest.raises(UsageError, match="tell no stages"):
        measure_traced_pipeline(replace(job, rank=flat), replica)
    sends = job.membership.filter(pl.col("role") == "sender")["instance"].unique().sort()
    fewer = job.membership.filter(pl.col("instance") != sends[0])
    fewer = fewer.filter(pl.col("instance") != sends[1])
    with pytest.raises(UsageError, match="microbatches cannot be counted"):
        measure_traced_pipeline(replace(job, membership=fewer), replica)
