import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loadpath.errors import InputError
from loadpath.forecast.extremes import (
    expected_max_exponential,
    expected_max_normal,
    probability_of_any,
)
from loadpath.forecast.noise import Noise, fit_noise, fit_noise_summary


@pytest.fixture
def published():
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    file = Path(root) / "tables" / "extreme_value_expected_max.csv"
    assert file.is_file(), f"LOADPATH_DATA has no {file}"
    return pl.read_csv(file, comment_prefix="#")


def test_expected_maxima_are_the_published_ones(published):
    for row in published.iter_rows(named=True):
        n = row["n"]
        assert expected_max_normal(n) == pytest.approx(row["normal_emax_sigma"], abs=2e-4)
        exponential = float(expected_max_exponential(n))
        assert exponential == pytest.approx(row["exponential_emax_means"], abs=1e-4)
        hit = [float(probability_of_any(p, n)) for p in (1e-2, 1e-4)]
        assert hit == pytest.approx([row["p_any_1e-2"], row["p_any_1e-4"]], abs=1e-4)


@pytest.mark.parametrize("n", [1, 16, 1024, 16384])
def test_longest_of_many_ranks_follows_the_normal_maximum_where_jitter_is_small(n):
    jitter = 1e-4
    excess = Noise(jitter).expected_max(n) - 1
    assert excess == pytest.approx(jitter * expected_max_normal(n), rel=0.01, abs=1e-7)


def test_longest_of_many_spikes_follows_the_harmonic_number():
    spikes = Noise(1e-5, 1.0, 1e-3)
    assert spikes.expected_max(1024) - 1 == pytest.approx(
        1e-3 * float(expected_max_exponential(1024)), rel=0.02
    )


@pytest.mark.parametrize("noise", [Noise(0.02), Noise(0.01, 0.01, 0.2), Noise(0.005, 0.5, 0.05)])
def test_quantiles_and_maxima_are_those_of_durations_drawn(noise):
    drawn = noise.draw(np.random.default_rng(2), (4000, 256))
    probabilities = [0.1, 0.5, 0.9, 0.99]
    wanted = np.quantile(drawn, probabilities)
    assert noise.max_quantile(probabilities) == pytest.approx(wanted, rel=5e-3)
    assert noise.expected_max(256) == pytest.approx(drawn.max(axis=1).mean(), rel=1e-2)
    assert noise.variation_ratio() == pytest.approx(drawn.std() / drawn.mean(), rel=0.1)


def test_slowdown_by_noise_grows_with_ranks_and_spikes_take_over():
    calm, spiky = Noise(0.01), Noise(0.01, 1e-4, 0.3)
    ranks = [8, 128, 2048, 32768]
    slow = [[noise.expected_max(n) for n in ranks] for noise in (calm, spiky)]
    assert np.all(np.diff(slow, axis=1) > 0)
    assert slow[1][0] == pytest.approx(slow[0][0], rel=2e-3)
    assert slow[1][3] > 1.5 * slow[0][3]


def test_measured_durations_give_back_their_noise():
    fitted = fit_noise(3.5 * Noise(0.01, 0.02, 0.3).draw(np.random.default_rng(1), 50_000))
    assert fitted.jitter == pytest.approx(0.01, rel=0.05)
    assert fitted.spike_probability == pytest.approx(0.02, rel=0.2)
    assert fitted.spike == pytest.approx(0.3, rel=0.2)


def test_normal_jitter_has_no_spikes():
    fitted = fit_noise(Noise(0.01).draw(np.random.default_rng(1), 5000))
    assert fitted.spike_probability < 1e-3


def test_published_percentiles_and_largest_are_reproduced():
    noise = fit_noise_summary(1.002, 1.006, 1.167, 858)
    assert noise.max_quantile([0.9, 0.99]) == pytest.approx([1.002, 1.006], abs=5e-4)
    assert float(noise.max_quantile(0.5, 858)) == pytest.approx(1.167, abs=5e-3)


def test_spikes_too_heavy_for_a_mean_have_none():
    assert np.isinf(Noise(0.01, 1e-6, 1.0).expected_max(8))
    assert np.isinf(Noise(0.01, 1e-6, 0.6).variation_ratio())
    assert np.isfinite(Noise(0.01, 1e-6, 0.6).expected_max(8))


@pytest.mark.parametrize(
    "told", [(1.0, 1.0, 1.0, 100), (1.2, 1.5, 9.0, 1000), (1.001, 1.3, 3.0, 10**4)]
)
def test_odd_figures_are_fitted_without_failing(told):
    p90, p99, longest, n = told
    noise = fit_noise_summary(*told)
    assert noise.max_quantile([0.9, 0.99]) == pytest.approx([p90, p99], rel=0.02)
    assert float(noise.max_quantile(0.5, n)) == pytest.approx(longest, rel=0.35)


def test_what_is_no_noise_is_refused():
    with pytest.raises(InputError, match="jitter is -1"):
        Noise(-1.0)
    with pytest.raises(InputError, match="7 durations"):
        fit_noise(np.ones(7))
    with pytest.raises(InputError, match=r"p90 1\.2, p99 1\.1"):
        fit_noise_summary(1.2, 1.1, 1.3, 200)
