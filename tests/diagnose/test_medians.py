"""Statistics of groups of columns against NumPy's, group by group."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadpath.diagnose.medians import medians, medians_by_run, quantiles, reduced

LAWS = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def grouped(draw):
    """Rows of values, the group of each column, and the number of groups; ties are frequent."""
    n_run, n = draw(st.sampled_from([(1, 1), (1, 40), (3, 7), (5, 60), (40, 9)]))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    n_group = draw(st.integers(1, n))
    number = np.concatenate([np.arange(n_group), rng.integers(0, n_group, n - n_group)])
    top = draw(st.sampled_from([3, 1000]))
    return rng.integers(0, top, (n_run, n)).astype(float), rng.permutation(number), n_group


@LAWS
@given(grouped())
def test_pooled_medians_are_those_of_all_values_of_a_group(case):
    value, number, n_group = case
    median, size = medians(number, value, n_group)
    lower, _ = medians(number, value, n_group, lower=True)
    for g in range(n_group):
        mine = value[:, number == g].ravel()
        assert size[g] == mine.size
        assert median[g] == np.median(mine)
        assert lower[g] == np.quantile(mine, 0.5, method="lower")


@LAWS
@given(grouped())
def test_medians_by_run_are_those_of_each_row(case):
    value, number, n_group = case
    found = medians_by_run(number, value, n_group)
    for g in range(n_group):
        assert found[:, g].tolist() == np.median(value[:, number == g], axis=1).tolist()
    assert medians_by_run(number, value[0], n_group).tolist() == found[0].tolist()


@LAWS
@given(grouped(), st.sampled_from([0.0, 0.1, 0.3, 0.75, 1.0]))
def test_quantiles_lie_between_two_values_in_proportion(case, share):
    value, number, n_group = case
    found = quantiles(number, value, n_group, share)
    for g in range(n_group):
        assert found[g] == pytest.approx(np.quantile(value[:, number == g], share), rel=1e-12)


def test_a_group_without_values_has_no_median():
    median, size = medians(np.array([1, 1]), np.array([2.0, 4.0]), 3)
    assert np.isnan(median[[0, 2]]).all()
    assert (median[1], size.tolist()) == (3.0, [0, 2, 0])


@pytest.mark.parametrize("order", ["ascending", "descending", "equal", "organ pipe"])
def test_medians_of_ordered_values_are_found_too(order):
    value = np.arange(10_001.0)
    value = {
        "ascending": value,
        "descending": value[::-1].copy(),
        "equal": np.ones_like(value),
        "organ pipe": np.concatenate([value[::2], value[1::2][::-1]]),
    }[order]
    median, _ = medians(np.zeros(value.size, np.int32), value, 1)
    assert median[0] == np.median(value)


@LAWS
@given(grouped())
def test_sums_and_extremes_of_groups_are_those_of_their_columns(case):
    value, number, n_group = case
    for function, whole in ((np.add, np.sum), (np.minimum, np.min), (np.maximum, np.max)):
        found = reduced(function, number, value, n_group)
        for g in range(n_group):
            assert found[:, g].tolist() == whole(value[:, number == g], axis=1).tolist()
    assert reduced(np.add, number[:0], value[:, :0], 0).shape == (len(value), 0)
