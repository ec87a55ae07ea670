"""Luck on processors that threads share: what lasts for a whole recording is one draw."""

import numpy as np
import polars as pl
import pytest
from tests.diagnose.small_jobs import compute, job

from loadpath.diagnose.shared_processors import LUCK_P, luck_of_units, luck_p_values, on_processors


def noise(law, shape, rng):
    return rng.exponential(size=shape) if law == "exponential" else np.abs(rng.normal(size=shape))


@pytest.mark.parametrize("law", ["exponential", "half-normal"])
@pytest.mark.parametrize(("n_unit", "n_step"), [(2, 16), (4, 8), (4, 32), (8, 64)])
def test_a_unit_whose_steps_are_all_as_long_as_one_of_the_others_is_seldom_blamed(
    law, n_unit, n_step
):
    blamed = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        excess = noise(law, (n_unit, n_step), rng)
        # one draw that lasts: every step of a unit waits for the same luck
        excess[1] = noise(law, 1, rng)
        blamed += bool(luck_p_values(excess)[1] <= LUCK_P)
    assert blamed <= 9


@pytest.mark.parametrize("n_step", [8, 16, 32])
def test_a_fault_far_beyond_single_steps_is_blamed(n_step):
    found = 0
    for seed in range(100):
        excess = np.random.default_rng(seed).exponential(size=(4, n_step))
        excess[2] += 60.0
        p = luck_p_values(excess)
        found += bool(p[2] <= LUCK_P and (np.delete(p, 2) > LUCK_P).all())
    assert found >= 97


def test_a_fault_in_every_second_step_is_blamed():
    excess = np.random.default_rng(3).exponential(size=(4, 32))
    excess[2, ::2] += 60.0
    assert (luck_p_values(excess) <= LUCK_P).tolist() == [False, False, True, False]


def test_one_slow_step_blames_nobody():
    excess = np.random.default_rng(3).exponential(size=(4, 32))
    excess[2, 7] += 1e6
    assert (luck_p_values(excess) > LUCK_P).all()


def test_two_culprits_do_not_hide_each_other():
    excess = np.random.default_rng(3).exponential(size=(8, 32))
    excess[[2, 5]] += 60.0
    assert np.flatnonzero(luck_p_values(excess) <= LUCK_P).tolist() == [2, 5]


def test_where_nothing_of_others_is_known_luck_explains_all():
    assert luck_p_values(np.array([[5.0, 6.0]])).tolist() == [1.0]
    assert luck_p_values(np.array([[5.0], [0.0]])).tolist() == [1.0, 1.0]


def test_luck_strikes_traces_of_ranks_without_a_device_alone():
    small = job([compute(0, 10), compute(1, 10)])

    def lanes(source, *kinds):
        lane = pl.DataFrame({"kind": kinds})
        return type("Job", (), {"source": source, "lane": lane})()

    assert on_processors(lanes("kineto", "host", "communication"))
    assert not on_processors(lanes("kineto", "host", "device", "communication"))
    assert not on_processors(lanes("otf2", "host"))
    assert not on_processors(lanes("op_table"))
    assert luck_of_units(small, np.ones((2, 3))).tolist() == [0.0, 0.0]
    excess = np.random.default_rng(3).exponential(size=(4, 32)) + 6.0 * (np.arange(4) == 2)[:, None]
    alone = luck_p_values(excess)
    weighed = luck_of_units(lanes("kineto", "host"), excess)
    # at its own level it is as sure as the other tests at theirs
    assert 0 < alone[2] < 1
    assert weighed[2] == pytest.approx(alone[2] * 0.005 / LUCK_P)
