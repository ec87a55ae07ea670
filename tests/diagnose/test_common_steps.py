"""Steps slow for all ranks together, on ranks that compute 70 ms and then meet in 20 ms."""

import numpy as np
import pytest
from tests.diagnose.peer_jobs import peers
from tests.diagnose.test_verdict import judged, named

from loadpath.diagnose.common_steps import common_parts
from loadpath.diagnose.course import Course

STEPS = np.arange(40)


def works(*, ranks=4, steps=40, noise=0.01, seed=1):
    return 70 * (1 + noise * np.random.default_rng(seed).standard_normal((steps, ranks)))


def parts(work):
    small = peers(work)
    return common_parts(small, small.work_ns.astype(float))


def test_every_fifth_step_slow_on_all_ranks_is_periodic_and_no_noise():
    work = works()
    work[::5] += 50
    found = judged(peers(work))
    assert named(found) == ("jitter", "all", "all ranks together, every 5th step")
    assert found.mechanism == "periodic"
    # 8 of 40 steps take 50 ms longer
    assert found.cause.gain_s == pytest.approx(0.010, rel=0.03)


def test_removing_a_common_event_gives_the_steps_as_they_would_be_without_it():
    calm = works()
    struck = calm.copy()
    struck[7] += 500
    found, without = judged(peers(struck)), judged(peers(calm))
    assert (found.mechanism, found.cause.candidate.key) == ("rare", "all ranks together, step 7")
    assert found.step_without_s == pytest.approx(without.step_s, rel=0.003)


def test_a_drift_of_all_ranks_is_named_with_its_slope():
    work = works()
    work += 0.5 * STEPS[:, None]
    found = judged(peers(work))
    assert found.mechanism == "drift"
    assert found.cause.candidate.course.slope == pytest.approx(0.0005, rel=0.05)
    # without it every step is like the first: the mean of 0.5 ms times 0 to 39
    assert found.cause.gain_s == pytest.approx(0.00975, rel=0.05)


def test_a_drift_of_one_rank_is_the_ranks():
    work = works(ranks=2)
    work[:, 1] += 1.0 * STEPS
    assert parts(work) == ()
    found = judged(peers(work))
    assert named(found)[2] == "rank 1"
    assert found.cause.candidate.course.name == "drift"
    assert found.cause.candidate.course.slope == pytest.approx(0.001, rel=0.1)


@pytest.mark.parametrize("n_slow", [1, 2])
def test_what_half_of_the_ranks_have_is_not_common(n_slow):
    work = works()
    work[::5, :n_slow] += 50
    assert parts(work) == ()


def test_what_three_quarters_of_the_ranks_have_is_common():
    work = works(ranks=8)
    work[::5, :7] += 50
    assert [part.course.name for part in parts(work)] == ["periodic"]


def test_steps_that_are_faster_for_all_cost_nobody_time():
    work = works()
    work[11] -= 40
    assert parts(work) == ()


def test_a_rank_slow_beside_common_steps_is_found_too():
    work = works(ranks=8)
    work[::5] += 20
    work[:, 3] += 20
    keys = {j.candidate.key: j.state for j in judged(peers(work)).causes}
    assert keys["rank 3"] in {"verdict", "present"}
    assert keys["all ranks together, every 5th step"] in {"verdict", "present"}


def test_no_op_loses_more_than_it_took():
    work = works()
    work[7] += 500
    (part,) = parts(work)
    assert isinstance(part.course, Course)
    small = peers(work)
    assert (part.part_ns <= small.work_ns).all()


def test_random_steps_common_to_all_ranks_are_neither_a_course_nor_a_ranks_noise():
    rng = np.random.default_rng(3)
    together = 70 * (1 + 0.2 * rng.standard_normal((40, 1))) * np.ones((1, 8))
    found = judged(peers(together))
    assert found.kind == "none"


def test_skewed_ops_that_even_out_within_a_step_are_no_jitter():
    # the median of many exponential ops is 30 % below their mean: no waiting returns that
    rng = np.random.default_rng(3)
    together = 70 * rng.exponential(size=(60, 1)) * np.ones((1, 4))
    assert judged(peers(together)).mechanism != "noise"
