"""Clocks that jump, told from marks that come late and from records that are wrong by themselves."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from loadpath.couple.trace.clock_faults import clock_faults, largest_jump
from loadpath.couple.trace.clocks import Clocks

N = 40


def test_a_jump_is_found_where_it_is():
    value = np.random.default_rng(1).normal(0, 10_000, N)
    value[25:] += 3_000_000
    place, size = largest_jump(value)
    assert place == 25
    assert size == pytest.approx(3_000_000, abs=20_000)


@pytest.mark.parametrize("seed", range(20))
def test_marks_that_come_late_more_often_towards_the_end_are_no_jump(seed):
    rng = np.random.default_rng(seed)
    value = rng.exponential(20_000, N)
    late = rng.random(N) < np.where(np.arange(N) < N // 2, 0.1, 0.6)
    value[late] += rng.uniform(1e6, 2e6, late.sum())
    assert largest_jump(value) == (0, 0.0)


def test_a_side_needs_so_many_ends():
    value = np.zeros(N)
    value[:6] = 5e6
    assert largest_jump(value, 4)[0] == 6
    assert largest_jump(value, 8) == (0, 0.0)


def faults(broken, n=200):
    """Faults of two ranks with `n` communications, of which some are impossible."""
    member = pl.DataFrame(
        {
            "instance": np.repeat(np.arange(n), 2),
            "rank": np.tile(np.array([0, 1], np.int32), n),
            "role": "sender",
            "communicator": -1,
            "number": -1,
            "start": np.repeat(np.arange(n), 2) * 1_000_000,
            "causal": np.repeat(~np.isin(np.arange(n), broken), 2),
        }
    )
    steps = pl.DataFrame({"rank": [0, 1], "step": [0, 0], "start_ns": [0, 0]})
    away = pl.DataFrame(schema={"clock": pl.Int64, "end": pl.Int64, "among": pl.Boolean})
    recording: Any = SimpleNamespace(step=steps)
    still = np.zeros(2, np.int64)
    clocks = Clocks(np.arange(2, dtype=np.int32), still, still, still, still, still > 0, still)
    return clock_faults(recording, member, away, clocks)


def test_impossible_communications_that_lie_together_are_a_jump():
    (fault,) = faults([0, 2, 3, 5, 8])
    assert "rank 0 or rank 1 jumps: 5 impossible communications" in fault


def test_impossible_communications_that_lie_scattered_are_wrong_records():
    assert faults([3, 60, 110, 140, 190]) == []


def test_three_of_them_tell_nothing():
    assert faults([0, 1, 2]) == []
