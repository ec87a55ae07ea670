"""Laws of stability, checked on random jobs."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings
from tests.replay.graphs import durations, jobs

from loadpath.diagnose.delay import reaching
from loadpath.diagnose.interaction import shapley_values
from loadpath.diagnose.resampling import draw_steps, resample
from loadpath.diagnose.variance import split_series
from loadpath.replay import replay, slack_ns, step_bounds_ns

law = settings(max_examples=60, deadline=None, derandomize=True)


@st.composite
def delayed_jobs(draw):
    job = draw(jobs())
    op = draw(st.integers(0, job.n_op - 1))
    return job, draw(durations(job.n_op)), op, draw(st.integers(1, 2000))


@law
@given(delayed_jobs())
def test_the_end_moves_by_what_of_a_delay_exceeds_the_slack(case):
    """Of every step's end, the one that moves most moves by the gain times the delay."""
    job, work, op, delay = case
    graph = job.graph()
    timeline = replay(graph, work)
    later = work.copy()
    later[op] += delay
    moved = step_bounds_ns(graph, replay(graph, later))[1] - step_bounds_ns(graph, timeline)[1]
    slack = slack_ns(graph, timeline)[graph.end_node].astype(float)
    assert moved.max() == round(float(reaching(slack, delay)[op]) * delay)


@law
@given(st.integers(1, 5), st.data())
def test_shapley_values_sum_to_the_value_of_all(n, data):
    worth = data.draw(st.lists(st.floats(-10, 10), min_size=2**n, max_size=2**n))
    worth[0] = 0.0

    def value(sets):
        return np.array(worth)[sets @ (1 << np.arange(n))]

    values, _ = shapley_values(n, value)
    assert np.isclose(values.sum(), worth[-1])


@law
@given(st.lists(st.floats(0, 1000), min_size=8, max_size=80), st.floats(-50, 50), st.booleans())
def test_parts_of_variance_sum_to_the_mean_square_deviation(series, persistent, even):
    value = np.array(series)
    split = split_series(value, persistent, even=even)
    assert np.isclose(sum(split[:5]), value.var() + persistent**2, rtol=1e-9, atol=1e-9)


@law
@given(st.integers(2, 40), st.integers(1, 30))
def test_a_resample_in_pieces_is_the_whole_product(n_step, wide):
    rng = np.random.default_rng(n_step)
    weights = draw_steps(n_step, rng)
    value = rng.normal(size=(n_step, wide))
    assert np.allclose(resample(weights, value), weights @ value)
    assert np.allclose(resample(weights, value[:, 0]), weights @ value[:, 0])
    assert (weights.sum(axis=1) == n_step).all()
