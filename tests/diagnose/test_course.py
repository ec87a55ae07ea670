"""Courses planted in noise, and noise alone."""

import numpy as np
import pytest

from loadpath.diagnose.course import find_courses, main_course

STEPS = np.arange(60)


def noise(seed, n=60):
    return np.random.default_rng(seed).normal(size=n)


def main(value):
    """Return the main course of a series that has one."""
    course = main_course(value, STEPS)
    assert course is not None
    return course


def names(value, step=None):
    return [c.name for c in find_courses(value, np.arange(value.size) if step is None else step)]


@pytest.mark.parametrize("n", [8, 12, 20, 60])
@pytest.mark.parametrize("law", ["normal", "lognormal"])
def test_healthy_steps_seldom_show_a_course(n, law):
    rng = np.random.default_rng(n)
    draws = (
        rng.normal(size=n) if law == "normal" else rng.lognormal(0, 0.3, n) for _ in range(200)
    )
    assert sum(bool(names(value)) for value in draws) <= 8


def test_correlated_noise_is_not_periodic():
    found = 0
    for seed in range(50):
        walk = noise(seed, 200)
        for k in range(1, 200):
            walk[k] += 0.8 * walk[k - 1]
        found += "periodic" in names(walk)
    assert found <= 2


@pytest.mark.parametrize("period", [2, 3, 5, 7, 10])
def test_the_period_is_named_whether_or_not_the_steps_are_a_multiple_of_it(period):
    value = noise(period) + 8.0 * (STEPS % period == 1)
    (course,) = [c for c in find_courses(value, STEPS) if c.name == "periodic"]
    assert course.period == period
    assert (np.flatnonzero(course.slow) % period == 1).all()


def test_two_slow_steps_of_a_period_are_one_course():
    course = main(noise(1) + 8.0 * np.isin(STEPS % 10, [2, 3]))
    assert (course.name, course.period, course.slow.sum()) == ("periodic", 10, 12)


def test_one_event_is_rare_and_leaves_the_others_alone():
    (course,) = find_courses(noise(1) + 30.0 * (STEPS == 17), STEPS)
    assert course.name == "rare"
    assert np.flatnonzero(course.slow).tolist() == [17]


def test_a_fast_step_is_an_event_that_is_not_slow():
    (course,) = find_courses(noise(1) - 30.0 * (STEPS == 17), STEPS)
    assert not course.slow.any()
    assert main_course(noise(1) - 30.0 * (STEPS == 17), STEPS) is None


def test_many_events_at_odd_steps_are_irregular():
    slow = np.isin(STEPS, [3, 4, 11, 19, 30, 31, 37, 50, 58])
    course = main(noise(1) + 30.0 * slow)
    assert course.name == "irregular"
    assert (course.slow == slow).all()


def test_a_line_is_a_drift_and_a_jump_is_a_shift():
    drift = main(noise(1) + 0.2 * STEPS)
    assert (drift.name, round(drift.slope, 1)) == ("drift", 0.2)
    shift = main(noise(1) + 5.0 * (STEPS >= 25))
    assert (shift.name, np.flatnonzero(shift.slow)[0]) == ("shift", 25)


def test_the_slope_is_per_step_number_where_steps_are_sampled():
    every_third = np.arange(0, 180, 3)
    (drift,) = find_courses(noise(1) + 0.2 * every_third, every_third)
    assert drift.slope == pytest.approx(0.2, rel=0.05)


def test_steps_at_uneven_distances_have_no_period():
    value = noise(1) + 20.0 * (STEPS % 4 == 0)
    assert "periodic" in names(value)
    assert "periodic" not in names(value, STEPS**2)


def test_events_on_a_drift_are_both_found():
    value = noise(1) + 0.3 * STEPS + 60.0 * (STEPS == 40)
    assert set(names(value)) == {"rare", "drift"}


def test_under_eight_steps_nothing_is_told():
    assert names(np.array([1.0, 1, 1, 90, 1, 1, 1])) == []


def test_equal_steps_have_no_course():
    assert names(np.full(30, 7.0)) == []
