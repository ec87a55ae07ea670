"""What runs to a target tell of the steps that a job needs, and how sure that is."""

import numpy as np
import pytest
from tests.forecast.designs import design

from loadpath.forecast.convergence import draw_steps
from loadpath.forecast.design import Convergence, Prices, Startup
from loadpath.forecast.outlook import look_ahead, priced_of
from loadpath.forecast.sizes import resize
from loadpath.forecast.step_point import design_priors
from loadpath.forecast.time_to_train import JobPlan, fit_convergence

BATCHES = (64, 128, 256, 512, 1024)


def runs_of(batches, rng, spread):
    steps = JobPlan(5000, 300).n_step(batches) * np.exp(spread * rng.standard_normal(len(batches)))
    return Convergence(batches=tuple(batches), steps=tuple(steps.round().astype(int).tolist()))


def told_by(batches=BATCHES, spread=0.03, seed=0):
    return runs_of(batches, np.random.default_rng(seed), spread)


def width(values):
    low, high = np.quantile(values, [0.05, 0.95])
    return high / low


def job(convergence, **parts):
    return design(
        accelerators=16, sequences=256, convergence=convergence, prices=Prices(accelerator_hour=2.0),
        **({"startup": Startup(duration=0.0)} | parts),
    )  # fmt: skip


def priced(convergence, goal="weak"):
    one = job(convergence)
    designs = [resize(one, n, goal) for n in (16, 32, 128)]
    return priced_of(look_ahead(designs, design_priors(one), one))


def test_scattered_runs_widen_the_job_but_not_the_step():
    even, uneven = priced(told_by(spread=0)), priced(told_by(spread=0.1))
    assert (even["step_s"] == uneven["step_s"]).all()
    for name in ("job_s", "job_cost"):
        needed = [width(one[name][:, -1] / one["step_s"][:, -1]) for one in (even, uneven)]
        assert needed[1] > 1.05 * needed[0]


def test_worth_of_a_larger_batch_is_as_unsure_as_the_runs_leave_it():
    even, uneven = (priced(told_by(spread=spread))["cost_per_unit"] for spread in (0, 0.1))
    # A unit of work is one of the design's own batch, whose worth is 1 in every world.
    assert (even[:, 0] == uneven[:, 0]).all()
    assert width(uneven[:, -1]) > 1.03 * width(even[:, -1])


def test_two_runs_leave_the_prior_alone():
    told = told_by((128, 512))
    assert not draw_steps(told, [256, 4096], 0, 64).any()
    prior = design_priors(job(told))["convergence_error"]
    assert prior.low < 1 < prior.high


def test_design_that_names_its_steps_is_sure_of_them():
    prior = design_priors(job(None, startup=Startup(steps=100)))["convergence_error"]
    assert (prior.low, prior.high) == (1.0, 1.0)


def test_designs_with_the_same_runs_share_what_is_not_known_of_them():
    told = told_by()
    near, both = draw_steps(told, [256], 3, 64), draw_steps(told, [256, 512], 3, 64)
    assert near[:, 0] == pytest.approx(both[:, 0])
    assert not (draw_steps(told_by(seed=1), [256], 3, 64) == near).any()


def test_bands_hold_the_steps_of_batches_that_were_not_run():
    rng, held = np.random.default_rng(4), 2048
    truth = float(JobPlan(5000, 300).n_step(held))
    inside = 0
    for _ in range(200):
        told = runs_of(BATCHES, rng, 0.03)
        least, critical, _ = fit_convergence(told.batches, told.steps)
        middle = float(JobPlan(least, critical).n_step(held))
        low, high = np.quantile(
            middle * np.exp(draw_steps(told, [held], 0, 512)[:, 0]), [0.05, 0.95]
        )
        inside += bool(low <= truth <= high)
    assert inside == pytest.approx(180, abs=15)
