"""Times of iterations."""

from importlib.resources import files

import pytest
from msgspec.structs import replace

from loadpath.errors import UsageError
from loadpath.forecast import parse_design, step_time
from loadpath.forecast.design import Serving
from loadpath.forecast.iteration import Work, iteration_s, iteration_times


@pytest.fixture(scope="module")
def served():
    text = files("loadpath.forecast").joinpath("examples/serving.toml").read_text(encoding="utf-8")
    return parse_design(text)


@pytest.fixture(scope="module")
def times(served):
    return iteration_times(served)


@pytest.mark.parametrize(("sequences", "context"), [(1, 512), (64, 4096), (200, 2000)])
def test_iteration_of_answers_alone_is_the_decoding_step(served, times, sequences, context):
    step = step_time(replace(served, serving=Serving(concurrent=sequences, context=context))).step_s
    made = iteration_s(times, Work(sequences, sequences, sequences * context))
    assert float(made) == pytest.approx(step, rel=0.03)


def test_prompt_costs_its_operations_at_the_rate_of_the_device(times):
    tokens = 8192
    flop = 2 * 69e9 * tokens + 4 * 8192 * 80 * tokens**2 / 2
    rate = 8 * 989.4e12
    made = float(iteration_s(times, Work(tokens, 1, 0, tokens * (tokens + 1) / 2)))
    # All-reduces stand between the products: nothing hides them.
    assert 0.35 < flop / rate / made < 0.70


def test_few_tokens_cost_what_reading_the_weights_costs(times):
    weights = 2 * 69e9 / 8
    one, eight = (float(iteration_s(times, Work(n, n))) for n in (1, 8))
    assert one > weights / 4800e9
    assert eight < 1.1 * one


def test_cache_takes_what_weights_leave(times):
    room = 0.9 * 151.4e9 - 2 * 70.55e9 / 8
    each = 80 * 2 * 8 * 128 * 2 / 8
    assert times.cache_tokens == pytest.approx(room / each, rel=0.01)


def test_weights_that_do_not_fit_are_refused(served):
    narrow = replace(served, parallelism=replace(served.parallelism, tensor=1))
    with pytest.raises(UsageError, match="no room for a cache"):
        iteration_times(narrow)


def test_width_that_does_not_divide_the_heads_is_refused(served):
    odd = replace(served, parallelism=replace(served.parallelism, tensor=3))
    with pytest.raises(UsageError, match="not divide"):
        iteration_times(odd)
