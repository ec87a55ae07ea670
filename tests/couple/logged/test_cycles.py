import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadpath.couple.logged.cycles import shortest_cycle


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=6),
    st.integers(4, 8),
    st.lists(st.integers(3, 5), max_size=3),
)
def test_a_repeated_pattern_is_found_after_a_prelude(pattern, n, prelude):
    length, begin = shortest_cycle(np.array([*prelude, *pattern * n]))
    assert 0 < length <= len(pattern)
    assert len(pattern) % length == 0 or length < len(pattern)
    assert begin <= len(prelude)
    repeated = [*prelude, *pattern * n][begin:]
    assert repeated[length:] == repeated[:-length]


def test_a_sequence_that_repeats_but_twice_has_no_cycle():
    assert shortest_cycle(np.array([1, 2, 3, 1, 2, 3])) == (0, 0)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_few_communications_have_no_cycle(n):
    assert shortest_cycle(np.arange(n)) == (0, 0)
