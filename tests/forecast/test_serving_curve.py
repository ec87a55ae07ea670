"""Served models against width and load."""

import os
from importlib.resources import files
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

from loadpath.errors import UsageError
from loadpath.forecast import parse_design
from loadpath.forecast.design import Prices
from loadpath.forecast.iteration import IterationTimes
from loadpath.forecast.measured_iterations import TimedWidth
from loadpath.forecast.request_queue import Service
from loadpath.forecast.serving_curve import serving_capacity, serving_curve
from loadpath.ingest.request_trace import read_requests

PROMISE = Service(ttft_s=0.5, tpot_s=0.05)


@pytest.fixture(scope="module")
def served():
    text = files("loadpath.forecast").joinpath("examples/serving.toml").read_text(encoding="utf-8")
    return replace(parse_design(text), prices=Prices(accelerator_hour=3.6))


@pytest.fixture(scope="module")
def requests():
    rng = np.random.default_rng(0)
    n = 1500
    return pl.DataFrame(
        {
            "arrival_ns": np.sort(rng.integers(0, 300 * 10**9, n)) - 0,
            "prompt_tokens": rng.integers(10, 2000, n),
            "output_tokens": rng.integers(1, 400, n),
        }
    )


def even(tokens_per_s, cache=10**7):
    """A replica that does so many tokens a second, whatever they are."""
    grid = np.array([1.0, 1001.0])
    return IterationTimes(grid, grid / tokens_per_s, np.zeros(2), 0.0, 0.0, cache)


def timed(tokens_per_s, band):
    return {8: TimedWidth(even(tokens_per_s), band)}


def test_tails_grow_and_promises_break_with_the_load(served, requests):
    table = serving_curve(
        served, requests, (4,), loads=(0.5, 1.0, 2.0, 4.0), service=PROMISE
    ).points
    assert table["load_ratio"].to_list() == [0.5, 1.0, 2.0, 4.0]
    for name in ("ttft_p99_s", "tpot_p99_s", "requests_per_s"):
        assert table[name].is_sorted()
    assert table["good_ratio"].is_sorted(descending=True)
    assert table["good_ratio"][0] > 0.9 > table["good_ratio"][3]


def test_edges_of_the_band_enclose_the_figure(served, requests):
    row = serving_curve(served, requests, (4,), service=PROMISE).points.row(0, named=True)
    assert row["ttft_p99_low_s"] < row["ttft_p99_s"] < row["ttft_p99_high_s"]
    assert row["tpot_p99_low_s"] < row["tpot_p99_s"] < row["tpot_p99_high_s"]
    assert row["good_low_ratio"] <= row["good_ratio"] <= row["good_high_ratio"]


def test_money_is_that_of_all_accelerators_until_the_last_token(served, requests):
    row = serving_curve(served, requests, (8,), service=PROMISE).points.row(0, named=True)
    span = requests["arrival_ns"].max() / 1e9 + row["backlog_s"]
    tokens = requests["output_tokens"].sum()
    assert row["accelerator_s_per_million"] == pytest.approx(8 * span / tokens * 1e6)
    assert row["cost_per_million"] == pytest.approx(8 * span * 0.001 / tokens * 1e6)
    assert row["cost_per_good_million"] >= row["cost_per_million"]
    assert row["goodput_per_s"] * span == pytest.approx(row["good_ratio"] * requests.height)


def test_width_at_which_weights_do_not_fit_is_named_and_left_out(served, requests):
    found = serving_curve(served, requests, (1, 2, 3), service=PROMISE)
    assert found.points["tensor"].to_list() == [2]
    assert [text[:7] for text in found.refused] == ["width 1", "width 3"]
    with pytest.raises(UsageError, match="No width serves"):
        serving_curve(served, requests, (1,))


def test_capacity_of_an_even_server_is_met_where_its_tokens_run_out(served):
    # Requests of 100 + 100 tokens and a short wait: at the edge all that the replica can do is needed.
    rng = np.random.default_rng(4)
    n = 4000
    flow = pl.DataFrame(
        {
            "arrival_ns": np.arange(n) * 10**9,
            "prompt_tokens": np.full(n, 100),
            "output_tokens": rng.integers(90, 111, n),
        }
    )
    found = serving_capacity(
        served, flow, (8,), service=Service(ttft_s=0.3, tpot_s=1.0),
        measured=timed(40_000, 1.0001),
    )  # fmt: skip
    assert found.points["requests_per_s"][0] == pytest.approx(40_000 / 200, rel=0.05)


def test_faster_iterations_by_the_band_keep_up_with_as_much_more(served):
    flow = pl.DataFrame(
        {"arrival_ns": np.arange(2000) * 10**8, "prompt_tokens": np.full(2000, 50),
         "output_tokens": np.full(2000, 50)},
    )  # fmt: skip
    row = serving_capacity(
        served, flow, (8,), service=Service(ttft_s=0.2, tpot_s=1.0),
        measured=timed(20_000, 1.5),
    ).points.row(0, named=True)  # fmt: skip
    assert row["requests_high_per_s"] / row["requests_per_s"] == pytest.approx(1.5, rel=0.05)
    assert row["requests_per_s"] / row["requests_low_per_s"] == pytest.approx(1.5, rel=0.05)


def test_promise_that_no_load_keeps_gives_no_capacity_and_no_price(served, requests):
    found = serving_capacity(served, requests, (8,), service=Service(ttft_s=1e-6))
    assert found.points.select("requests_per_s", "cost_per_million").row(0) == (0.0, None)


def test_strict_promises_want_width_and_loose_ones_want_replicas(served):
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    folder = Path(root) / "data" / "azure-llm-requests"
    assert folder.is_dir(), f"LOADPATH_DATA has no {folder}"
    flow = read_requests(folder / "AzureLLMInferenceTrace_conv.csv.gz")
    assert flow.height == 19_366
    best = [
        serving_capacity(served, flow, (2, 8), service=service).points.sort(
            "cost_per_million", nulls_last=True
        )["tensor"][0]
        for service in (Service(ttft_s=0.5, tpot_s=0.03), Service(ttft_s=5.0, tpot_s=0.2))
    ]
    assert best == [8, 2]
