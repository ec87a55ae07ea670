"""An audited job over sizes, beside jobs that were made at those sizes."""

import numpy as np
import polars as pl
import pytest

from loadpath.audit.pipeline import couple_sources
from loadpath.audit.settings import Settings
from loadpath.couple.steps import as_runs, lay_out
from loadpath.errors import UsageError
from loadpath.forecast.audited_curve import audited_sizes, job_of_audit
from loadpath.forecast.audited_job import JobSize
from loadpath.forecast.audited_point import audited_pipeline
from loadpath.forecast.inversion import Limits
from loadpath.forecast.known_advice import advise_known
from loadpath.forecast.measured_pipeline import measure_pipeline
from loadpath.testing import Cause, make_job, write_op_table

SHAPE = {
    "pp": 2, "dp": 4, "steps": 10, "microbatches": 8, "transfer_ratio": 0.01, "noise": 0.05, "lag_s": 0.0,
}  # fmt: skip


@pytest.fixture
def recorded(tmp_path):
    def record(cause=None, seed=0, **shape):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.parquet"
        write_op_table(make_job(seed, cause=cause, **(SHAPE | shape)), path)
        job = lay_out(as_runs(couple_sources([path], Settings(), lambda _: None)))
        spans = job.step.group_by("step").agg(pl.col("end_ns").max() - pl.col("start_ns").min())
        measured = measure_pipeline(job.op, job.work_ns, job.layout)
        return audited_pipeline(measured, spans["end_ns"].to_numpy() / 1e9)

    return record


def known(audited, sizes, goal="strong", shape=None):
    return job_of_audit("job", audited, sizes, scaling=(shape or JobSize(), goal), worlds=(0, 256))


def test_steps_at_the_recorded_size_are_met_and_others_are_as_those_of_a_job_made_so(recorded):
    job = known(recorded(), (8, 16), "weak")
    here, there = np.median(job.curve.step_s, axis=0)
    assert abs(job.runs[0]["error_ratio"]) < 0.02
    assert here == pytest.approx(recorded(seed=3).step_s, rel=0.02)
    assert there == pytest.approx(recorded(seed=3, dp=8).step_s, rel=0.02)
    assert job.curve.work.tolist() == [32, 64]


def test_gain_without_the_slow_rank_is_that_of_the_healthy_twin(recorded):
    slow, healthy = recorded(Cause("rank", size=0.5)), recorded()
    gain = known(slow, (8, 16)).improved["no rank slow for good"]
    assert 1 - gain == pytest.approx(1 - healthy.step_s / slow.step_s, rel=0.1)


def test_other_ranks_than_recorded_may_be_slow_or_not(recorded):
    job = known(recorded(Cause("rank", size=0.5)), (8, 16))
    assert job.priors["slow_ranks"].low < job.priors["slow_ranks"].high
    narrow, wide = np.log(job.curve.step_s).std(axis=0)
    assert wide > 5 * narrow


def test_wider_tensors_and_more_stages_are_replayed_and_priors_widen_the_band(recorded):
    audited = recorded(noise=0.0)
    shape = JobSize(tensor=2, stages=4)
    assert audited_sizes(audited, shape) == (8, 16, 32, 64)
    job = known(audited, (16,), "weak", shape)
    # Two replicas of four stages, each of half the layers on two accelerators.
    assert np.median(job.curve.step_s) < 0.5 * audited.step_s
    assert np.log(job.curve.step_s).std() > 0.01


def test_sizes_that_no_replicas_fill_are_told(recorded):
    job = known(recorded(), (7, 8, 12, 64))
    assert [one.n for one in job.skipped] == [7, 12]
    assert "2 accelerators" in job.skipped[0].why
    assert "32 microbatches of a step cannot be shared by 6" in job.skipped[1].why
    with pytest.raises(UsageError, match="at none of the sizes"):
        known(recorded(), (7,))


def test_levers_of_a_record_are_devices_network_noise_and_failures(recorded):
    job = known(recorded(), (8, 16))
    advice = advise_known(job, Limits(), ())
    found = dict(advice.tables["elasticity"].select("parameter", "median").iter_rows())
    assert set(found) == {"device_speed", "network_bandwidth", "noise", "failure_rate"}
    assert found["device_speed"] == pytest.approx(-1, abs=0.1)
    assert -0.1 < found["network_bandwidth"] < 0
    assert 0 < found["noise"] < 0.2


def test_shares_of_the_paid_time_sum_to_one_at_every_size(recorded):
    advice = advise_known(known(recorded(), (8, 16, 32)), Limits(), ())
    sums = advice.tables["paid_share"].group_by("n").agg(pl.col("share_ratio").sum())
    assert sums["share_ratio"].to_list() == pytest.approx([1, 1, 1])
