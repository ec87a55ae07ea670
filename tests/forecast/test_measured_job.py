"""Jobs of which runs alone are known: planted optima, and families without one."""

import numpy as np
import polars as pl
import pytest

from loadpath.errors import InputError, UsageError
from loadpath.forecast.inversion import Limits
from loadpath.forecast.known_advice import advise_known
from loadpath.forecast.measured_job import goal_of_runs, job_of_runs, sizes_of_runs
from loadpath.tables.measured import RUN_POINT

SIZES = (8, 16, 32, 64, 128)


def runs(step_s, n=SIZES, **columns):
    found = {"n": list(n), "step_s": [float(s) for s in step_s], **columns}
    filled = {name: found.get(name, [None] * len(n)) for name in RUN_POINT.schema}
    return pl.DataFrame(filled, schema=RUN_POINT.schema)


def flags(table, sizes=None, goal=None, seed=0):
    asked = sizes or sizes_of_runs(table)
    job, baselines = job_of_runs(
        "runs", table, asked, goal=goal or goal_of_runs(table), worlds=(seed, 256)
    )
    return job, advise_known(job, Limits(), baselines).inversions


def usl(n, contention, coherence):
    n = np.asarray(n, dtype=np.float64)
    return 100 * (1 / n + contention * (n - 1) / n + coherence * (n - 1))


@pytest.mark.parametrize(("contention", "coherence"), [(1e-3, 4e-5), (1e-3, 1e-5), (5e-3, 2e-5)])
def test_planted_optimum_of_the_universal_law_is_within_its_band(contention, coherence):
    inside, n = [], (*SIZES, 256)
    for seed in range(10):
        noise = np.exp(0.01 * np.random.default_rng(seed).standard_normal(len(n)))
        table = runs(usl(n, contention, coherence) * noise, n=n)
        job, found = flags(
            table, sizes=(8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 1024), seed=seed
        )
        best = np.sqrt((1 - contention) / coherence)
        assert job.curve.n[-1] == 1024
        if found.throughput is not None:
            high = np.inf if found.throughput.high is None else found.throughput.high
            inside.append(found.throughput.low <= best <= high)
    assert sum(inside) >= 8


def test_job_that_scales_as_it_should_has_no_inversion():
    _, found = flags(runs(1000 / np.array(SIZES)))
    assert (found.average, found.throughput) == (None, None)
    assert found.n_largest == 1024


def test_work_that_cannot_be_shared_makes_it_dearer_but_never_slower():
    _, found = flags(runs(1000 / np.array(SIZES) + 2))
    assert found.throughput is None
    assert found.average.low < found.average.n < 200


def test_curve_is_the_one_that_predicts_left_out_runs_best():
    microbatches = [64, 32, 16, 8, 4]
    step = 0.5 * np.array(microbatches) + 3.5
    table = runs(step, microbatches=microbatches, global_batch=[512] * 5, pp=[8] * 5)
    job, baselines = job_of_runs("runs", table, (8, 256), goal="strong", worlds=(0, 64))
    assert baselines[0].name == "affine"
    assert np.median(job.curve.step_s[:, -1]) == pytest.approx(0.5 * 2 + 3.5, rel=0.01)
    assert job.unit == "sample"


def test_batch_that_grows_with_the_size_is_weak_scaling():
    assert goal_of_runs(runs([1.0] * 5, global_batch=[8 * n for n in SIZES])) == "weak"
    assert goal_of_runs(runs([1.0] * 5, global_batch=[512] * 5)) == "strong"
    assert goal_of_runs(runs([1.0] * 5)) == "strong"


def test_two_runs_have_the_band_of_a_named_prior():
    job, _ = flags(runs([2.0, 1.1], n=(8, 16)))
    assert "model_error" in job.priors
    assert np.log(job.curve.step_s).std() > 0.05


def test_size_without_whole_microbatches_is_told():
    table = runs([9.0, 5.0, 3.0], n=(8, 16, 32), microbatches=[16, 8, 4], global_batch=[128] * 3)
    job, _ = flags(table, sizes=(8, 24, 64))
    assert [one.n for one in job.skipped] == [24]
    with pytest.raises(UsageError, match="not whole"):
        flags(table, sizes=(24,))


def test_runs_of_one_size_carry_no_curve():
    with pytest.raises(InputError, match="1 size"):
        flags(runs([2.0, 2.1], n=(8, 8)))


def test_power_that_was_measured_becomes_energy():
    job, _ = flags(runs([8.0, 4.0, 2.0], n=(8, 16, 32), power_w=[5600.0, 11200.0, 22400.0]))
    assert job.curve.power_w.tolist() == pytest.approx([700.0 * n for n in job.curve.n])
