"""Borders and quantiles that are found in fewer questions than by asking for each value."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadpath.diagnose.tails import beyond_student, few_quantiles, student_tail

VALUES = st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=1, max_size=60)


@given(st.lists(st.floats(-1e7, 1e7), max_size=40), st.integers(1, 250), st.floats(1e-9, 0.6))
def test_the_border_of_students_law_is_where_each_value_alone_finds_it(values, freedom, p):
    t = np.array(values)
    alone = [student_tail(min(value, 1e6), freedom) < p for value in values]
    assert beyond_student(t, freedom, p).tolist() == alone


@given(VALUES, st.lists(st.floats(0, 1), min_size=1, max_size=4))
def test_quantiles_off_an_order_are_those_of_numpy_to_the_last_digit(values, shares):
    found = few_quantiles(np.sort(values), *shares)
    assert found == np.quantile(values, shares).tolist()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_one_value_is_all_of_its_quantiles(share):
    assert few_quantiles(np.array([4.5]), share) == [4.5]
