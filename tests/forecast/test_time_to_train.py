import numpy as np
import pytest

from loadpath.errors import InputError
from loadpath.forecast.time_to_train import (
    JobPlan,
    fit_convergence,
    fit_duration,
    job_time_s,
)


def test_small_batches_need_the_same_samples_and_large_ones_the_same_steps():
    plan = JobPlan(100, 2000)
    assert plan.n_step([1, 2]) * [1, 2] == pytest.approx(200_000, rel=2e-3)
    assert plan.n_step(1e9) == pytest.approx(100, rel=1e-5)


def test_convergence_is_found_again():
    batch = np.array([256, 512, 2048, 4096])
    least, critical, fit = fit_convergence(batch, JobPlan(150, 3000).n_step(batch))
    assert (least, critical) == pytest.approx((150, 3000), rel=1e-6)
    assert np.allclose(fit.errors, 0, atol=1e-6)


def test_job_that_shows_no_least_number_of_steps_needs_the_same_samples_at_any_batch():
    least, critical, _ = fit_convergence([256, 512], [400, 200])
    plan = JobPlan(least, critical)
    assert plan.n_step(256) == pytest.approx(400, rel=0.01)


def test_evaluations_are_counted_by_samples_and_shared_in_part():
    plan = JobPlan(24, 0, evaluate_every=1000, evaluation_s=800, evaluation_floor_s=1.0)
    # 24 steps of 100 samples: two evaluations
    assert job_time_s(plan, 8, 100, 2.0) == pytest.approx(48 + 2 * (100 + 1))


def test_start_up_that_does_not_shrink_is_told_from_work_that_does():
    n = np.array([64, 512, 4096])
    assert fit_duration(n, 6400 / n + 30)[:2] == pytest.approx((6400, 30), rel=1e-6)


def test_plans_that_cannot_be_are_refused():
    with pytest.raises(InputError, match=r"startup_s is -1.*evaluate_every is 0"):
        JobPlan(1, 1, evaluate_every=0, startup_s=-1)
    with pytest.raises(InputError, match="no step"):
        JobPlan(0, 0)


def test_points_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="convergence"):
        fit_convergence([0], [10])
    with pytest.raises(InputError, match="durations"):
        fit_duration([], [])
