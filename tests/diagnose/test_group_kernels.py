"""Kernels over groups on arrays written out by hand; they must also pass with NUMBA_DISABLE_JIT=1."""

import numpy as np
import pytest

from loadpath.diagnose import group_kernels as kernels

# Group 0 holds entries 0 and 2, group 1 entry 1, group 2 entries 3, 4 and 5.
START, ORDER = np.array([0, 2, 3, 6]), np.array([0, 2, 1, 3, 4, 5])


def test_time_that_several_ops_of_a_group_cover_counts_once_in_every_run():
    start = np.array([[0, 5, 3, 0, 10, 2], [0, 0, 50, 7, 7, 7]])
    duration = np.array([[4, 1, 4, 5, 5, 1], [1, 2, 3, 0, 4, 2]])
    covered, each = np.zeros((1, 3), np.int64), np.zeros((2, 3), np.int64)
    kernels.cover(START, ORDER, np.arange(6), start, duration, covered)
    kernels.cover(START, ORDER, np.arange(6), start, duration, each)
    assert covered.tolist() == [[7 + 4, 1 + 2, 10 + 4]]
    assert each.tolist() == [[7, 1, 10], [4, 2, 4]]


def test_columns_are_added_up_and_changed_in_every_row():
    value, total = np.arange(8.0).reshape(2, 4), np.array([100.0, 0.0])
    kernels.add_up(np.array([3, 1]), value, total)
    assert total.tolist() == [104, 12]
    kernels.change_columns(np.array([3, 1]), np.array([[1.0, -1.0]]), value)
    assert value.tolist() == [[0, 0, 2, 4], [4, 4, 6, 8]]
    kernels.change_columns(np.array([2]), np.array([[1.0], [-6.0]]), value)
    assert value[:, 2].tolist() == [3, 0]


def test_who_comes_last_is_counted_and_ties_and_lone_members_are_not():
    rank = np.array([7, 3, 5, 1, 2, 4])
    arrive = np.array([[0, 9, 10, 4, 4, 2], [11, 0, 0, 0, 1, 8]])
    count = np.zeros(8, np.int64)
    n_tie = kernels.count_last(START, ORDER, rank, arrive, 2, count)
    assert n_tie == 1
    assert {r: n for r, n in enumerate(count.tolist()) if n} == {3: 1, 4: 1, 7: 1}


@pytest.mark.parametrize("n_distinct", [1, 2, 10, 1000])
@pytest.mark.parametrize("n", [1, 22, 60, 300])
def test_what_is_selected_stands_between_smaller_and_larger_values(n, n_distinct):
    value = np.random.default_rng(n).integers(0, n_distinct, n).astype(np.float64)
    for place in range(0, n, 1 + n // 20):
        some = value.copy()
        assert kernels.select(some, 0, n - 1, place) == np.sort(value)[place]
        assert some[:place].max(initial=0) <= some[place] <= some[place:].min()
        assert sorted(some.tolist()) == sorted(value.tolist())


def test_quantiles_of_groups_are_taken_of_all_rows_or_of_each():
    value = np.array([[1.0, 10, 3], [5.0, 20, 7]])
    number, column = np.array([0, 1, 0], np.int32), np.arange(3)
    pooled, each = np.empty((1, 3)), np.empty((2, 3))
    kernels.group_quantiles(number, column, value, np.array([4, 2, 0]), 0.5, 0, np.empty(6), pooled)
    assert pooled[0, :2].tolist() == [4.0, 15.0]
    assert np.isnan(pooled[0, 2])
    kernels.group_quantiles(number, column, value, np.array([2, 1, 0]), 0.5, 1, np.empty(3), each)
    assert each[:, :2].tolist() == [[1.0, 10.0], [5.0, 20.0]]


def test_stretches_in_order_are_merged_and_equals_keep_their_order():
    rng = np.random.default_rng(0)
    key = rng.integers(0, 5, 12)
    for n in range(13):
        index = rng.permutation(12)[:n]
        expected = index[np.argsort(key[index], kind="stable")]
        kernels.sort_by(key, index, np.empty(n, np.int64))
        assert index.tolist() == expected.tolist()


def test_entries_near_their_places_are_settled_and_others_are_left_to_be_merged():
    near = np.array([3, 1, 2, 2, 5, 4])
    index = np.arange(6)
    kernels.settle(near, index)
    assert index.tolist() == [1, 2, 3, 0, 5, 4]
    far = np.arange(100)[::-1].copy()
    index = np.arange(100)
    kernels.settle(far, index)
    assert np.any(np.diff(far[index]) < 0)
    assert sorted(index.tolist()) == list(range(100))
    kernels.sort_by(far, index, np.empty(100, np.int64))
    assert index.tolist() == list(range(99, -1, -1))
