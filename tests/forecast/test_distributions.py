"""Against SciPy, which tests may use."""

import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.special import digamma
from scipy.stats import exponnorm, nbinom, norm, poisson
from scipy.stats import t as student

from loadpath.forecast.distributions import (
    harmonic_number,
    log_normal_cdf,
    normal_cdf,
    overdispersed_quantile,
    student_quantile,
)
from loadpath.forecast.least_squares import fit_ratios
from loadpath.forecast.noise import Noise


def test_normal_is_scipy_s_into_the_far_tail():
    z = np.linspace(-60, 8, 500)
    assert normal_cdf(z) == pytest.approx(norm.cdf(z), rel=1e-9, abs=1e-300)
    assert log_normal_cdf(z) == pytest.approx(norm.logcdf(z), rel=2e-6)


@pytest.mark.parametrize("n_free", [1, 2, 3, 7, 40, 500])
def test_student_s_quantiles_are_scipy_s(n_free):
    for probability in (0.55, 0.8, 0.95, 0.975):
        wanted = student.ppf(probability, n_free)
        assert student_quantile(probability, n_free) == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("mean", [0.0, 0.3, 12.5, 900.0])
@pytest.mark.parametrize("level", [0.1, 0.5, 0.99, 0.9999])
def test_quantiles_of_counts_are_scipy_s(mean, level):
    assert overdispersed_quantile(level, mean) == poisson.ppf(level, mean)
    if mean:
        wanted = nbinom.ppf(level, mean / 2.5, 1 / 3.5)
        assert overdispersed_quantile(level, mean, 3.5) == wanted


def test_harmonic_numbers_are_those_of_the_digamma_function():
    n = np.array([0.5, 1, 2, 10, 1e3, 1e6])
    assert harmonic_number(n) == pytest.approx(digamma(n + 1) + np.euler_gamma, rel=1e-7)


@pytest.mark.parametrize(("jitter", "spike"), [(0.01, 0.3), (0.2, 0.01), (1e-4, 2.0)])
def test_spikes_on_jitter_are_an_exponentially_modified_normal(jitter, spike):
    logs = np.linspace(-5 * jitter, 5 * jitter + 5 * spike, 300)
    wanted = exponnorm.cdf(logs, spike / jitter, scale=jitter)
    assert Noise(jitter, 1.0, spike).cdf(np.exp(logs)) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_parts_that_are_not_negative_are_scipy_s(seed):
    rng = np.random.default_rng(seed)
    features, measured = rng.random((9, 4)) - 0.2, rng.random(9) + 0.1
    weighted = features / measured[:, None]
    ours = weighted @ fit_ratios(features, measured) - 1
    theirs = weighted @ nnls(weighted, np.ones(9))[0] - 1
    assert np.square(ours).sum() == pytest.approx(np.square(theirs).sum(), rel=1e-6)
