"""The command on what is no design: audits, recordings, runs; and on what was measured of a design."""

import json

import polars as pl
import pytest
from tests.end_to_end.commands import call
from tests.end_to_end.test_forecast_command import EXAMPLES, LIMITS, POINT, SMALL

import loadpath as lp
from loadpath.testing import make_job, write_kineto, write_op_table

RUNS = "n,step_s\n8,10.4\n16,5.4\n32,2.95\n64,1.8\n128,1.35\n256,1.38\n"
REQUESTS = "arrival_s,prompt_tokens,output_tokens\n" + "".join(
    f"{place / 4},500,50\n" for place in range(40)
)
LOG = (
    "# nThread 1 nGpus 1 minBytes 33554432\n# Collective test starting: all_reduce_perf\n"
    + "".join(
        f"#  Rank {rank:2d} Group  0 Pid 1 on node0 device  0 [0x1b] NVIDIA H100 80GB HBM3\n"
        for rank in range(8)
    )
    + "    33554432       4194304    double     sum      -1   250.00  134.22  234.88       0"
    "   250.00  134.22  234.88       0\n"
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small.toml").write_text(SMALL, encoding="utf-8")
    (tmp_path / "runs.csv").write_text(RUNS, encoding="utf-8")
    (tmp_path / "requests.csv").write_text(REQUESTS, encoding="utf-8")
    (tmp_path / "nccl.log").write_text(LOG, encoding="utf-8")
    job = make_job(1, pp=2, dp=2, steps=6, microbatches=8, noise=0.05)
    write_op_table(job, tmp_path / "job.parquet")
    return tmp_path


def told(*words, folder):
    answer = call("forecast", *words, "--json", "--worlds", "64", folder=folder)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_audit_and_recording_are_forecast_alike(folder):
    assert call("audit", "job.parquet", "--out", "job-audit", folder=folder).code == 0
    of_audit = told("job-audit", folder=folder)
    of_record = told("job.parquet", folder=folder)
    assert of_audit["points"] == of_record["points"]
    assert of_audit["design"]["kind"] == "recorded"
    assert [item["path_name"] for item in of_audit["inputs"]] == ["audit.json"]
    assert any(item["path_name"].endswith(".parquet") for item in of_record["inputs"])
    for point in of_audit["points"]:
        assert set(point) == POINT
        assert set(point["limitation"]) == LIMITS
        assert sum(share or 0 for share in point["limitation"].values()) == pytest.approx(1)


def test_keys_are_those_of_a_design(folder):
    keys = set(told("small.toml", folder=folder))
    assert set(told("job.parquet", folder=folder)) == keys
    assert set(told("--points", "runs.csv", folder=folder)) == keys


def test_runs_alone_have_flags_with_intervals_and_baselines(folder):
    found = told("--points", "runs.csv", "--rate", "2.5", folder=folder)
    assert found["baselines"][0]["name"] == "usl"
    flag = found["inversion"]["throughput"]
    assert flag["low"] < flag["n"] < flag["high"] < 256
    assert found["currency"] == "USD"
    assert found["data_range"] == [8, 256]
    assert found["substitution"] == []


@pytest.mark.parametrize("words", [("job.parquet", "--rate", "2"), ("--points", "runs.csv")])
def test_summary_and_page_of_a_job_without_a_design(words, folder):
    answer = call("forecast", *words, "--worlds", "64", "--out", "out", folder=folder)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert len(lines) <= 25
    assert max(map(len, lines)) <= 80
    page = (folder / "out" / "briefing.html").read_text(encoding="utf-8")
    assert "Risk register" in page
    assert "None" not in page.replace("None.", "")
    assert pl.read_parquet(folder / "out" / "risk.parquet").height > 0


def test_other_stages_and_widths_are_asked_for_of_a_record_and_of_a_design(folder):
    found = told("job.parquet", "--pipeline", "4", "--sizes", "8", "--goal", "weak", folder=folder)
    assert [point["n"] for point in found["points"]] == [8]
    wide = told("small.toml", "--tensor", "2", folder=folder)
    assert wide["points"][0]["step_s"] != told("small.toml", folder=folder)["points"][0]["step_s"]
    answer = call("forecast", "small.toml", "--tensor", "3", folder=folder)
    assert (answer.code, "heads" in answer.err) == (2, True)


def test_runs_at_other_sizes_are_held_against_an_audit(folder):
    points = told("job.parquet", "--goal", "weak", "--sizes", "8", folder=folder)["points"]
    step = points[0]["step_s"]["median"]
    (folder / "later.csv").write_text(
        f"n,step_s\n8,{1.002 * step}\n16,{2 * step}\n", encoding="utf-8"
    )
    found = told("job.parquet", "--goal", "weak", "--points", "later.csv", folder=folder)
    near, far = (run for run in found["measured"])
    assert (near["in_band"], far["in_band"]) == (True, False)
    assert near["error_ratio"] == pytest.approx(-0.002, abs=1e-4)
    assert far["error_ratio"] < -0.4


def test_layouts_are_searched_within_bounds(folder):
    found = told(
        "small.toml", "--search", "--within", "cost_per_h=20", "--sizes", "4,8,16", folder=folder
    )
    assert found["search"]["n_within"] > 0
    assert all(
        row["accelerators"] <= 8 for row in found["search"]["layouts"] if row["within_budget"]
    )
    answer = call("forecast", "small.toml", "--within", "cost_per_h=20", folder=folder)
    assert (answer.code, "--search" in answer.err) == (2, True)


def test_served_design_answers_recorded_requests(folder):
    serving = next(path for path in EXAMPLES if path.stem == "serving")
    found = told(str(serving), "--requests", "requests.csv", "--tpot", "0.05", folder=folder)
    assert found["serving"]["requests"] == 40
    assert {row["tensor"] for row in found["serving"]["capacity"]} == {2, 4, 8}
    answer = call("forecast", "small.toml", "--requests", "requests.csv", folder=folder)
    assert (answer.code, "serves nothing" in answer.err) == (2, True)


def test_measured_collectives_set_links(folder):
    found = told("small.toml", "--collectives", "nccl.log", folder=folder)
    assert found["collectives"]["n_point"] == 1
    assert "nccl.log" in [item["path_name"] for item in found["inputs"]]
    named = {row["name"]: row["source"] for row in found["priors"]}
    assert (
        named.get("link_ratio", "fitted to measured collectives")
        == "fitted to measured collectives"
    )


def test_record_of_something_else_does_not_calibrate_a_design(folder):
    job = make_job(1, recorder="kineto", dp=1, tp=2, pp=1, steps=4, forward_s=1e-3)
    traces = write_kineto(job, folder / "traces")
    answer = call("forecast", "small.toml", "--calibrate", str(traces), folder=folder)
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give a design"),
        (("--points", "runs.csv", "--tensor", "2"), "--tensor: runs alone cannot answer"),
        (("--points", "runs.csv", "--search"), "--search: runs alone cannot answer"),
        (
            ("job.parquet", "--requests", "requests.csv"),
            "--requests: an audit or a recording cannot answer",
        ),
        (
            ("job.parquet", "--calibrate", "runs.csv"),
            "--calibrate: an audit or a recording cannot answer",
        ),
        (("small.toml", "--rate", "2"), "[prices]"),
        (("small.toml", "--objective", "beauty"), "none of cost_per_unit"),
        (("small.toml", "--search", "--within", "cost=3"), "cost_per_h=NUMBER"),
    ],
)
def test_wrong_calls_say_what_would_be_right(words, said, folder):
    answer = call("forecast", *words, folder=folder)
    assert answer.code == 2
    assert said in answer.err


def test_traces_whose_replicas_are_not_told_ask_for_a_design(folder):
    job = make_job(1, recorder="kineto", dp=1, tp=2, pp=1, steps=4)
    traces = write_kineto(job, folder / "traces")
    answer = call("forecast", str(traces), folder=folder)
    assert answer.code == 2
    assert "give a design" in answer.err


def test_python_takes_the_same_sources(folder):
    done = lp.run_forecast(folder / "job.parquet", worlds=64)
    assert done.figure("levers").svg
    assert lp.run_forecast(points=folder / "runs.csv", worlds=64).table("risk").height
    with pytest.raises(lp.UsageError, match="give a design"):
        lp.run_forecast()


def test_measured_iterations_set_the_times_of_a_served_design(folder):
    rows = [(1, 0, 0), (64, 64_000, 0), (512, 0, 131_328), (1024, 32_000, 524_800)]
    text = "tokens,cached_tokens,prompt_pairs,step_s\n" + "".join(
        f"{tokens},{cached},{pairs},{0.05 + 1e-4 * tokens + 1e-7 * cached + 1e-8 * pairs}\n"
        for tokens, cached, pairs in rows
    )
    (folder / "iterations.csv").write_text(text, encoding="utf-8")
    serving = next(path for path in EXAMPLES if path.stem == "serving")
    words = (str(serving), "--requests", "requests.csv")
    free, bound = (
        told(*words, *more, folder=folder) for more in ((), ("--iterations", "iterations.csv"))
    )
    assert free["serving"]["iterations"] == []
    assert {fit["of_tensor"] for fit in bound["serving"]["iterations"]} == {8}
    assert "iterations.csv" in {item["path_name"] for item in bound["inputs"]}
    slow, fast = (one["serving"]["points"][-1]["tpot_p50_s"] for one in (bound, free))
    assert slow > 1.5 * fast
    answer = call("forecast", "small.toml", "--iterations", "iterations.csv", folder=folder)
    assert (answer.code, "give --requests" in answer.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--goal", "strong", "--samples", "16"), "strong scaling over 8, 16 accelerators"),
        (("--tensor", "4"), "weak scaling over 8, 16 accelerators"),
        (("--pipeline", "4", "--goal", "strong"), "per microbatch"),
    ],
)
def test_grid_of_traces_on_several_hosts_has_a_page(words, said, folder):
    job = make_job(
        1, recorder="kineto", dp=2, tp=2, pp=2, steps=4, microbatches=4, skewed_ratio=0.0
    )
    traces = write_kineto(job, folder / "grid")
    words = (str(traces), *words, "--sizes", "8,16", "--worlds", "64", "--out", "out")
    answer = call("forecast", *words, folder=folder)
    assert answer.code == 0, answer.err
    assert said in " ".join(answer.out.split())
    page = (folder / "out" / "briefing.html").read_text(encoding="utf-8")
    assert "Is the network saturated?" in page
