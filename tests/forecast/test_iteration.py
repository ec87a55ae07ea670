"""Times of iterations."""

from importlib.resources import files

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from loadpath.errors import InputError, UsageError
from loadpath.forecast import parse_design, step_time
from loadpath.forecast.design import Serving
from loadpath.forecast.iteration import Work, calibrate_iterations, iteration_s, iteration_times


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


def measured(times, factors, noise=0.0, n=40):
    rng = np.random.default_rng(3)
    tokens = rng.integers(1, 4000, n)
    cached = rng.integers(0, 400_000, n)
    pairs = rng.integers(0, 4_000_000, n).astype(float)
    step = (
        factors[0] * iteration_s(times, Work(tokens, tokens))
        + factors[1] * times.cached_token_s * cached
        + factors[2] * times.pair_s * pairs
    ) * np.exp(noise * rng.standard_normal(n))
    return pl.DataFrame(
        {"tokens": tokens, "cached_tokens": cached, "prompt_pairs": pairs, "step_s": step}
    )


def test_calibration_recovers_planted_factors(times):
    scaled, error = calibrate_iterations(times, measured(times, (1.4, 0.8, 2.0)))
    assert np.abs(error).max() < 1e-9
    assert scaled.cached_token_s == pytest.approx(0.8 * times.cached_token_s)
    assert scaled.pair_s == pytest.approx(2.0 * times.pair_s)
    assert scaled.body_s[0] == pytest.approx(1.4 * times.body_s[0])


def test_half_of_noisy_iterations_predicts_the_other_half(times):
    points = measured(times, (1.4, 0.8, 2.0), noise=0.05, n=400)
    scaled, _ = calibrate_iterations(times, points[:200])
    rest = points[200:]
    forecast = iteration_s(
        scaled, Work(rest["tokens"], rest["tokens"], rest["cached_tokens"], rest["prompt_pairs"])
    )
    error = forecast / rest["step_s"].to_numpy() - 1
    assert np.abs(np.median(error)) < 0.01
    assert np.std(error) == pytest.approx(0.05, rel=0.2)


def test_part_that_no_point_has_keeps_its_forecast(times):
    points = measured(times, (1.4, 1.0, 1.0)).with_columns(
        pl.lit(0, pl.Int64).alias("cached_tokens"), pl.lit(0.0).alias("prompt_pairs"),
    )  # fmt: skip
    points = points.with_columns(
        step_s=pl.Series(1.4 * iteration_s(times, Work(points["tokens"], points["tokens"])))
    )
    scaled, _ = calibrate_iterations(times, points)
    assert scaled.cached_token_s == times.cached_token_s
    assert scaled.body_s[0] == pytest.approx(1.4 * times.body_s[0])


def test_too_few_points_are_refused(times):
    with pytest.raises(InputError, match="2 iterations for 3 parts"):
        calibrate_iterations(times, measured(times, (1, 1, 1), n=2))
