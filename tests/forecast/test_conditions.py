"""Noise, failures, power and work of a design, against draws and sums by hand."""

import numpy as np
import pytest
from tests.forecast.designs import design

from loadpath.forecast.conditions import (
    failures_of,
    given_of,
    noise_ratio,
    plan_of,
    power_of,
    slow_ratio,
)
from loadpath.forecast.design import Checkpoint, Evaluation, Failures, Noise, Power, Startup
from loadpath.forecast.devices import shipped_devices
from loadpath.forecast.time_to_train import job_time_s

A100 = shipped_devices()["A100-SXM4-80GB"]
VALUES = {
    "node_failures": 1e-7,
    "job_failures": 1e-6,
    "restart": 600.0,
    "checkpoint_stall": 30.0,
    "idle_power_ratio": 0.5,
    "busy_power_ratio": 1.25,
}


@pytest.mark.parametrize("tail", ["normal", "exponential", "pareto"])
@pytest.mark.parametrize("n", [1, 8, 512])
def test_step_takes_what_the_slowest_of_its_ranks_takes_on_average(tail, n):
    rng = np.random.default_rng(3)
    shape = (20_000, n)
    drawn = {
        "normal": 0.02 * rng.standard_normal(shape),
        "exponential": rng.exponential(0.02, shape) - 0.02,
        "pareto": 0.02 * 2 * rng.pareto(3, shape) - 0.02,
    }[tail]
    mean = 1 + drawn.max(axis=1).mean()
    told = noise_ratio(Noise(tail=tail, tail_shape=3), 0.02, n)
    assert told == pytest.approx(mean, rel=0.01)


def test_without_variation_nobody_waits():
    assert noise_ratio(Noise(tail="exponential"), 0.0, 4096) == 1


def test_worlds_hold_a_slow_accelerator_as_often_as_chance_says():
    place = np.random.default_rng(0).random((20_000, 1))
    slower = slow_ratio(Noise(slow_ratio=0.01, slow_excess_ratio=0.3), np.array([8, 64]), place)
    assert (slower > 1).mean(axis=0) == pytest.approx([1 - 0.99**8, 1 - 0.99**64], abs=0.01)
    assert set(np.unique(slower)) == {1.0, 1.3}


def test_where_all_are_slow_all_worlds_are():
    assert (
        slow_ratio(Noise(slow_ratio=1, slow_excess_ratio=1), np.array([8]), np.zeros((3, 1))) == 2
    ).all()


def test_failures_of_a_design_are_its_own_where_it_tells_them():
    told = design(
        failures=Failures(node_rate=2e-7, restart=100.0), checkpoint=Checkpoint(interval=900.0)
    )
    given = given_of(told, A100)
    assert given["job_failures"] == 0
    found = failures_of(told, VALUES | given)
    assert found.per_node_day == pytest.approx(2e-7 * 86400)
    assert (found.per_job_day, found.recovery_s, found.interval_s) == (0.0, 100.0, 900.0)


def test_power_lies_between_idle_and_busy_and_a_cap_takes_off_the_busy_end():
    assert power_of(A100, VALUES, None).power_w([0.0, 1.0], 2).tolist() == [400.0, 1000.0]
    assert power_of(A100, VALUES, 300.0).busy_w == 400.0
    assert given_of(design(power=Power(idle=100.0)), A100)["idle_power_ratio"] == 0.25


def test_whole_job_needs_the_same_work_whatever_the_batch():
    job = design(accelerators=8, startup=Startup(steps=100))
    plan = plan_of(job, work=1000.0, step_s=2.0, startup_s=60.0)
    assert plan is not None
    assert float(job_time_s(plan, 8, 1000.0, 2.0)) == pytest.approx(260)
    assert float(job_time_s(plan, 8, 2000.0, 3.0)) == pytest.approx(210)
    assert plan_of(design(), 1000.0, 2.0, 60.0) is None


def test_evaluations_take_a_third_of_training_the_same_sequences():
    job = design(
        accelerators=8, sequences=64, startup=Startup(steps=100),
        evaluation=Evaluation(every_steps=50, sequences=192),
    )  # fmt: skip
    plan = plan_of(job, work=1000.0, step_s=2.0, startup_s=0.0)
    assert plan is not None
    # Two evaluations of 3 batches, a third of 2 s each.
    assert float(job_time_s(plan, 8, 1000.0, 2.0)) == pytest.approx(200 + 2 * 3 * 2 / 3)
    assert float(job_time_s(plan, 16, 1000.0, 2.0)) == pytest.approx(200 + 2 * 3 * 2 / 3 / 2)
