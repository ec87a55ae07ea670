"""Planted optima: a step of a / n + b + c n s on n accelerators has closed forms for all flags."""

import numpy as np
import pytest

from loadpath.errors import UsageError
from loadpath.forecast.inversion import find_inversions

SIZES = np.unique(np.round(2.0 ** np.arange(3, 15, 0.5)).astype(int))


def raised(flag):
    assert flag is not None
    return flag


def worlds(a, b, c, *, spread=0.0, seed=0, n_sample=200):
    """Throughput of a / n + b + c n in worlds whose parts differ by a lognormal factor."""
    rng = np.random.default_rng(seed)
    factors = np.exp(spread * rng.standard_normal((3, n_sample, 1)))
    return 1 / (a * factors[0] / SIZES + b * factors[1] + c * factors[2] * SIZES)


@pytest.mark.parametrize(("a", "c"), [(1e4, 1e-2), (1e3, 1e-3), (5e3, 5e-4)])
def test_throughput_falls_from_the_root_of_a_over_c(a, c):
    flag = raised(find_inversions(SIZES, worlds(a, 1.0, c)).throughput)
    assert flag.n == pytest.approx(np.sqrt(a / c), rel=0.02)


@pytest.mark.parametrize("ratio", [1.2, 2.0, 5.0])
def test_average_cost_rises_above_its_best_where_algebra_says(ratio):
    a, b = 1e4, 10.0
    flag = raised(find_inversions(SIZES, worlds(a, b, 0.0), worst_ratio=ratio).average)
    best = a + b * SIZES[0]
    assert flag.n == pytest.approx((ratio * best - a) / b, rel=0.05)


def test_marginal_cost_passes_the_value_where_the_derivative_does():
    a, b, value = 1e4, 10.0, 1e5
    flag = raised(find_inversions(SIZES, worlds(a, b, 0.0), value_per_unit=value).marginal)
    # spent n over throughput 1 / (a / n + b): d n / d throughput = (a + b n)^2 / a
    assert flag.n == pytest.approx((np.sqrt(value * a) - a) / b, rel=0.05)


def test_prices_that_do_not_depend_on_size_change_no_flag_of_the_average():
    throughput = worlds(1e4, 10.0, 0.0)
    plain = find_inversions(SIZES, throughput)
    priced = find_inversions(SIZES, throughput, 7.5 * SIZES / throughput)
    assert raised(priced.average).n == pytest.approx(raised(plain.average).n)


@pytest.mark.parametrize("seed", range(5))
def test_planted_optimum_lies_in_the_band_of_uncertain_worlds(seed):
    a, c = 1e4, 1e-2
    found = find_inversions(SIZES, worlds(a, 1.0, c, spread=0.2, seed=seed))
    flag = raised(found.throughput)
    assert flag.low <= np.sqrt(a / c) <= flag.high
    assert flag.low < flag.n < flag.high


def test_perfect_scaling_has_no_inversion():
    found = find_inversions(SIZES, worlds(1e4, 0.0, 0.0, spread=0.3), value_per_unit=1e6)
    assert (found.average, found.marginal, found.throughput) == (None, None, None)
    assert found.n_largest == SIZES[-1]


def test_throughput_that_only_levels_off_never_falls():
    found = find_inversions(SIZES, worlds(1e4, 1e3, 0.0))
    assert found.throughput is None
    assert found.average is not None


def test_flag_that_few_worlds_raise_is_none_and_that_many_raise_may_have_no_upper_edge():
    rising, falling = worlds(1e4, 1.0, 0.0), worlds(1e4, 1.0, 1e-2)
    few = find_inversions(SIZES, np.concatenate([rising[:150], falling[:50]]))
    many = find_inversions(SIZES, np.concatenate([rising[:20], falling[:180]]))
    assert few.throughput is None
    assert raised(many.throughput).high is None
    assert raised(many.throughput).likelihood_ratio == pytest.approx(0.9)


def test_throughput_that_falls_from_the_start_inverts_at_the_smallest_size():
    found = find_inversions([8, 16, 32], np.array([[3.0, 2.0, 1.0]]))
    assert raised(found.throughput).n == pytest.approx(8)


def test_value_below_all_marginal_costs_inverts_at_the_first_step():
    flag = raised(find_inversions(SIZES, worlds(1e4, 10.0, 0.0), value_per_unit=1e-3).marginal)
    assert flag.n == pytest.approx(np.sqrt(SIZES[0] * SIZES[1]))


@pytest.mark.parametrize("arguments", [{"worst_ratio": 1.0}, {"value_per_unit": 0.0}])
def test_impossible_bounds_are_refused(arguments):
    with pytest.raises(UsageError, match="inversion"):
        find_inversions(SIZES, worlds(1, 1, 0), **arguments)


def test_single_size_is_refused():
    with pytest.raises(UsageError, match="two sizes"):
        find_inversions([8], np.ones((3, 1)))
