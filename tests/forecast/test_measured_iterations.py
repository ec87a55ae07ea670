"""What measured iterations say of a served design."""

from importlib.resources import files

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from loadpath.errors import InputError
from loadpath.forecast import parse_design
from loadpath.forecast.iteration import Work, iteration_s, iteration_times
from loadpath.forecast.measured_iterations import (
    calibrate_iterations,
    calibrate_widths,
    fit_at,
    scaled,
    timed_width,
)
from loadpath.forecast.request_queue import Service
from loadpath.forecast.serving_curve import serving_curve


@pytest.fixture(scope="module")
def served():
    text = files("loadpath.forecast").joinpath("examples/serving.toml").read_text(encoding="utf-8")
    return parse_design(text)


@pytest.fixture(scope="module")
def times(served):
    return iteration_times(served)


def measured(times, factors, noise=0.0, n=40, tensor=None):
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
        {"tokens": tokens, "cached_tokens": cached, "prompt_pairs": pairs, "step_s": step,
         "tensor": pl.Series([tensor] * n, dtype=pl.Int64)}
    )  # fmt: skip


def test_calibration_recovers_planted_factors(times):
    fit = calibrate_iterations(times, measured(times, (1.4, 0.8, 2.0)))
    assert (fit.body, fit.cache, fit.pair) == pytest.approx((1.4, 0.8, 2.0))
    assert (fit.error_ratio, fit.band_factor) == pytest.approx((0, 1), abs=1e-9)
    assert scaled(times, fit).head_s == pytest.approx(1.4 * times.head_s)


def test_band_of_noisy_iterations_holds_nine_in_ten_that_were_not_shown(times):
    points = measured(times, (1.4, 0.8, 2.0), noise=0.05, n=3200)
    fit = calibrate_iterations(times, points[:1600])
    rest = points[1600:]
    work = Work(rest["tokens"], rest["tokens"], rest["cached_tokens"], rest["prompt_pairs"])
    off = np.abs(np.log(iteration_s(scaled(times, fit), work) / rest["step_s"].to_numpy()))
    assert np.mean(off <= np.log(fit.band_factor)) == pytest.approx(0.9, abs=0.03)


def test_part_that_no_point_has_keeps_its_forecast(times):
    points = measured(times, (1.4, 1.0, 1.0)).with_columns(
        pl.lit(0, pl.Int64).alias("cached_tokens"), pl.lit(0.0).alias("prompt_pairs"),
    )  # fmt: skip
    points = points.with_columns(
        step_s=pl.Series(1.4 * iteration_s(times, Work(points["tokens"], points["tokens"])))
    )
    fit = calibrate_iterations(times, points)
    assert (fit.cache, fit.pair) == (1.0, 1.0)
    assert fit.body == pytest.approx(1.4)


def test_too_few_points_are_refused(times):
    with pytest.raises(InputError, match="2 iterations for 3 parts"):
        calibrate_iterations(times, measured(times, (1, 1, 1), n=2))


def test_each_width_has_factors_of_its_own_and_the_nearest_stands_for_others(served, times):
    narrow = iteration_times(replace(served, parallelism=replace(served.parallelism, tensor=2)))
    points = pl.concat(
        [measured(times, (1.5, 1.0, 1.0)), measured(narrow, (1.1, 1.0, 1.0), tensor=2)]
    )
    fits = calibrate_widths(served, points, 0.9)
    assert {width: round(fit.body, 6) for width, fit in fits.items()} == {2: 1.1, 8: 1.5}
    assert [fit_at(fits, width)[0] for width in (1, 2, 4, 16)] == [2, 2, 2, 8]


def test_measured_iterations_move_the_tails_and_narrow_their_band(served, times):
    asked = pl.DataFrame(
        {"arrival_ns": [i * 10_000_000_000 for i in range(50)], "prompt_tokens": [1000] * 50,
         "output_tokens": [100] * 50}
    )  # fmt: skip
    fits = calibrate_widths(served, measured(times, (2.0, 2.0, 2.0), noise=0.02, n=200), 0.9)
    how = Service()
    known = timed_width(served, fits, 8, memory_ratio=how.memory_ratio, band_factor=how.band_factor)
    before, after = (
        serving_curve(served, asked, (8,), service=how, measured=one).points.row(0, named=True)
        for one in (None, {8: known})
    )
    assert after["tpot_p50_s"] == pytest.approx(2 * before["tpot_p50_s"], rel=0.1)
    spread = [row["tpot_p99_high_s"] / row["tpot_p99_low_s"] for row in (before, after)]
    assert spread[1] < 1.2 < spread[0]
