"""Which steps estimates look at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.diagnose.stability_jobs import bsp

from loadpath.diagnose.step_sample import (
    MOST_OPS,
    MOST_STEPS,
    n_sampled,
    sample_steps,
    sampled_caveat,
    spread_out,
)


@given(st.integers(1, 5000), st.integers(1, 300))
def test_one_entry_of_each_stretch_is_taken(n, n_kept):
    n_kept = min(n, n_kept)
    found = spread_out(n, n_kept)
    assert found.size == n_kept
    assert (np.diff(found) > 0).all()
    stretch = np.searchsorted(np.arange(1, n_kept + 1) * n // n_kept, found, side="right")
    assert stretch.tolist() == list(range(n_kept))


@pytest.mark.parametrize("n", [700, 1280, 1892, 2048, 2560, 10_000])
def test_what_comes_with_a_period_is_met_about_as_often_as_by_chance(n):
    found = spread_out(n, MOST_STEPS)
    for period in range(2, 41):
        met = np.bincount(found % period, minlength=period)
        spread = np.sqrt(MOST_STEPS / period)
        assert np.abs(met - MOST_STEPS / period).max() < 4 * spread


@pytest.mark.parametrize(
    ("n_step", "n_op", "n_kept"),
    [
        (400, MOST_OPS // 400, 400),
        (400, MOST_OPS // 400 + 1, MOST_STEPS),
        (400, MOST_OPS // 50, 50),
        (400, MOST_OPS, 8),
        (5, MOST_OPS, 5),
    ],
)
def test_a_large_job_is_sampled_by_steps_and_ops(n_step, n_op, n_kept):
    assert n_sampled(n_step, n_step * n_op) == n_kept


def test_a_small_job_keeps_all_of_its_steps():
    job = bsp([70, 70], steps=3)
    sample = sample_steps(job)
    assert sample.job is job
    assert sample.kept.tolist() == [0, 1, 2]
    assert sampled_caveat(sample).is_empty()
