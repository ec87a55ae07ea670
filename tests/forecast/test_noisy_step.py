"""Steps of designs under noise, all ranks laid out."""

import numpy as np
import pytest
from msgspec.structs import replace
from tests.forecast.designs import design, without_overheads

from loadpath.errors import UsageError
from loadpath.forecast import step_time
from loadpath.forecast.conditions import noise_ratio
from loadpath.forecast.design import Noise
from loadpath.forecast.devices import measured_priors, shipped_devices
from loadpath.forecast.durations import expected_maximum
from loadpath.forecast.noisy_step import (
    RelativeNoise,
    draw_steps_s,
    noise_of,
    noise_share,
    noisy_steps_s,
)
from loadpath.forecast.priors import assume
from loadpath.forecast.step import step_durations


def drawn(job, n=256, seed=0):
    return noisy_steps_s(job, np.random.default_rng(seed), n_scenario=n)


@pytest.mark.parametrize(
    "more", [{}, {"pipeline": 4, "chunks": 2}, {"tensor": 2, "sharding": "full"}]
)
def test_without_noise_every_step_is_the_replayed_one(more):
    job = without_overheads(design(**more))
    assert drawn(job) == pytest.approx(step_time(job).step_s, rel=1e-6)


@pytest.mark.parametrize("replicas", [2, 16, 64])
def test_normal_noise_costs_its_expected_maximum(replicas):
    job = without_overheads(
        design(replicas, sequences=256 * replicas, noise=Noise(variation_ratio=0.05))
    )
    calm = step_time(replace(job, noise=Noise())).step_s
    # All of this step is computation and its gradients, which are small here.
    cost = drawn(job, 2048).mean() / calm - 1
    assert cost == pytest.approx(0.05 * expected_maximum(replicas), rel=0.12)


def test_spread_of_devices_costs_what_one_pipeline_takes_for_it():
    job = without_overheads(design(64, sequences=16384))
    job = replace(job, priors=job.priors | {"device_spread": 0.02})
    worlds = [drawn(job, 1, seed).mean() for seed in range(64)]
    assert np.mean(worlds) == pytest.approx(step_time(job).step_s, rel=0.005)


def test_tail_decides_where_the_variation_is_the_same():
    tails = (
        Noise(variation_ratio=0.05),
        Noise(variation_ratio=0.05, tail="exponential"),
        Noise(variation_ratio=0.05, tail="pareto", tail_shape=3.0),
    )
    jobs = [without_overheads(design(64, sequences=16384, noise=noise)) for noise in tails]
    normal, exponential, pareto = (drawn(job, 1024).mean() for job in jobs)
    assert normal < exponential < pareto


def test_slow_ranks_set_the_pace_of_all():
    job = without_overheads(design(64, sequences=16384))
    slow = replace(job, noise=Noise(slow_ratio=0.2, slow_excess_ratio=0.5))
    assert drawn(slow).mean() / drawn(job).mean() == pytest.approx(1.5, rel=0.1)


def test_same_seed_gives_the_same_steps():
    job = design(16, noise=Noise(variation_ratio=0.05))
    assert drawn(job).tolist() == drawn(job).tolist()
    assert drawn(job).tolist() != drawn(job, seed=1).tolist()


def test_condensed_pipelines_are_refused():
    job = design(8, sequences=4096, pipeline=4)
    device = shipped_devices()[job.cluster.device]
    priors = assume({}, measured_priors(device))
    durations = step_durations(job, device, priors, condensed=True)
    assert durations.shorter is not None
    noise = noise_of(job, durations.frame, 0.0, np.random.default_rng(0))
    assert isinstance(noise, RelativeNoise)
    with pytest.raises(UsageError, match="uncondensed"):
        draw_steps_s(durations, noise, np.random.default_rng(0), n_scenario=1)


def test_without_a_pipeline_noise_costs_what_the_closed_form_says():
    assert noise_share(design(64, sequences=16384), 0.02) is None
    noise = Noise(variation_ratio=0.02, tail="pareto", tail_shape=3.0)
    job = without_overheads(design(16, sequences=4096, noise=noise))
    calm = step_time(replace(job, noise=Noise())).step_s
    assert drawn(job, 4096).mean() / calm == pytest.approx(noise_ratio(noise, 0.02, 16), abs=0.005)


def test_slowest_of_a_tensor_group_sets_the_pace_of_its_rank():
    job = without_overheads(design(16, sequences=256, tensor=8, noise=Noise(variation_ratio=0.05)))
    calm = step_time(replace(job, noise=Noise())).step_s
    alone = noisy_steps_s(job, np.random.default_rng(0), n_scenario=2048).mean() / calm - 1
    # Two replicas of eight: all wait for the slowest of sixteen.
    assert alone == pytest.approx(0.05 * expected_maximum(16), rel=0.1)


def test_bubble_of_a_short_pipeline_absorbs_noise():
    short, long = (
        noise_share(design(32, sequences=8 * m, pipeline=4), 0.01) or 0.0 for m in (1, 16)
    )
    assert 0 < short < long < 1.2
