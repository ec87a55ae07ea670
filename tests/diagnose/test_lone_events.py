"""Events of single ranks among the noise of all."""

import numpy as np
import pytest
from tests.diagnose.peer_jobs import peers
from tests.diagnose.test_verdict import judged, named

from loadpath.diagnose.lone_events import events_of_units, lone_events, smooth_courses, stands_out


def draws(law, n_unit, n_step, seed):
    rng = np.random.default_rng(seed)
    size = (n_unit, n_step)
    if law == "exponential":
        return rng.exponential(size=size)
    normal = rng.normal(size=size)
    return normal if law == "normal" else np.exp(float(law.removeprefix("log-normal ")) * normal)


@pytest.mark.parametrize("law", ["normal", "exponential", "log-normal 0.3", "log-normal 1"])
@pytest.mark.parametrize(("n_unit", "n_step"), [(2, 20), (4, 8), (8, 16), (16, 60)])
def test_noise_seldom_has_an_event(law, n_unit, n_step):
    found = sum(lone_events(draws(law, n_unit, n_step, seed)).any() for seed in range(200))
    assert found <= 6


@pytest.mark.parametrize(("n_unit", "n_step"), [(4, 20), (8, 64), (64, 40)])
def test_even_noise_whose_middle_is_a_seventh_of_its_90th_percentile_seldom_has_one(n_unit, n_step):
    # spacings of an exponential tail would have one in every fifth such job
    found = sum(
        lone_events(draws("log-normal 1.5", n_unit, n_step, seed)).any() for seed in range(150)
    )
    assert found <= 6


def test_an_event_stands_out_of_heavy_noise_if_it_is_far_enough():
    found = 0
    for seed in range(100):
        excess = draws("log-normal 1", 8, 40, seed)
        excess[3, 17] += 400.0
        found += bool(lone_events(excess)[3, 17])
    assert found >= 95


def test_a_noisier_unit_has_no_events_for_that():
    found = 0
    for seed in range(100):
        excess = draws("normal", 8, 40, seed)
        excess[3] *= 5
        found += bool(events_of_units(excess).any())
    assert found <= 4


def test_events_of_several_units_are_nobodys():
    excess = draws("normal", 8, 40, 1)
    excess[[1, 4, 6], [3, 9, 30]] = 60.0
    assert not lone_events(excess).any()
    assert not stands_out(excess).any()


def test_a_units_own_period_is_taken_for_its_own():
    excess = draws("normal", 4, 40, 1)
    excess[2, ::4] += 10
    part = smooth_courses(excess, np.zeros(excess.shape, bool), np.arange(40))
    assert np.flatnonzero(part.any(axis=1)).tolist() == [2]
    assert np.ptp(part[2]) == pytest.approx(10, abs=1.0)


def test_one_event_on_one_rank_is_the_ranks_and_not_noise_of_all():
    work = 70 * (1 + 0.01 * np.random.default_rng(1).standard_normal((40, 8)))
    work[7, 3] += 400
    found = judged(peers(work))
    assert named(found) == ("rank", "rank", "rank 3")
    assert found.cause.candidate.intermittent
    assert found.cause.candidate.course.name == "rare"
    assert found.cause.gain_s == pytest.approx(0.010, rel=0.05)
    assert "an event that strikes any rank" in found.indistinguishable_from


def test_events_that_strike_every_rank_in_turn_accuse_none():
    rng = np.random.default_rng(4)
    work = 70 * (1 + 0.01 * rng.standard_normal((40, 8)))
    work[rng.permutation(40)[:16], np.arange(16) % 8] += 200
    found = judged(peers(work))
    assert named(found) == ("jitter", "all", "noise of all ranks")


def test_heavy_noise_of_all_ranks_accuses_no_rank_of_an_event():
    accused = []
    for seed in range(120):
        spread, n_rank = (0.3, 0.6, 1.0)[seed % 3], 4 + 4 * (seed % 2)
        noise = np.exp(spread * np.random.default_rng(seed).standard_normal((24, n_rank)))
        found = judged(peers(70 * noise))
        accused += [found.cause.candidate.course] if found.kind == "rank" else []
    # the exponential tail alone accuses two of them of rare events
    assert len(accused) <= 3
    assert sum(course is not None and course.name == "rare" for course in accused) <= 1
