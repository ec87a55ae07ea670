"""Audits of stage logs: stage and rank of a planted fault, or what would tell them."""

import re
from pathlib import Path

import polars as pl
import pytest
from tests.audit.stage_logs import MEAN_MS, stage_log

from loadpath import run_audit
from loadpath.brief import render_briefing, render_summary

PAGE = Path(__file__).parents[2] / "docs" / "formats" / "audit.md"


def audit(table, tmp_path):
    path = tmp_path / "stages.csv"
    table.write_csv(path)
    return run_audit(path, brief=False)


def suspects(done):
    return [(s["stage"], s["rank"]) for s in done.document["frontier"]["suspects"]]


@pytest.mark.parametrize("fault", [name for name in MEAN_MS if name != "other"])
def test_a_planted_fault_is_the_first_suspect_and_the_verdict(fault, tmp_path):
    done = audit(stage_log(fault), tmp_path)
    first = done.document["frontier"]["suspects"][0]
    assert (first["stage"], first["rank"], first["state"]) == (fault, 2, "leads")
    assert first["delay_s"] == pytest.approx(0.008, rel=0.1)
    assert done.verdict["ranks"] == [2]
    assert done.verdict["gain_s"] == pytest.approx(0.008, rel=0.15)
    assert done.verdict["kind"] == ("host" if fault == "input" else "rank")


@pytest.mark.parametrize("fault", ["input", "forward", "optimizer"])
def test_waiting_inside_the_backward_pass_hides_no_fault_of_other_stages(fault, tmp_path):
    done = audit(stage_log(fault, apart=False), tmp_path)
    assert suspects(done)[0] == (fault, 2)
    assert done.verdict["ranks"] == [2]


def test_a_fault_inside_the_stage_that_holds_waiting_needs_more_evidence(tmp_path):
    done = audit(stage_log("backward", apart=False), tmp_path)
    section = done.document["frontier"]
    assert done.verdict["kind"] == "not_assessable"
    assert "inside backward" in done.verdict["summary"]
    assert suspects(done)[0] == ("backward", -1)
    assert section["suspects"][0]["state"] == "needs_evidence"
    assert section["trace_next"]["ranks"] == [0, 1, 2, 3]


@pytest.mark.parametrize("seed", range(4))
def test_a_healthy_log_accuses_nobody(seed, tmp_path):
    done = audit(stage_log(seed=seed), tmp_path)
    assert done.verdict["kind"] in {"none", "jitter"}
    assert {s["state"] for s in done.document["frontier"]["suspects"]} == {"needs_evidence"}


def test_a_fault_of_some_steps_is_traced_for_long_enough_to_see_it(tmp_path):
    every = audit(stage_log("forward", steps=100), tmp_path).document["frontier"]["trace_next"]
    some = audit(stage_log("forward", steps=100, ms=60, share=0.2), tmp_path)
    rare = some.document["frontier"]["trace_next"]
    assert (rare["stage"], 2 in rare["ranks"]) == ("forward", True)
    assert rare["n_steps"] > 2 * every["n_steps"]


def test_a_rank_slow_in_two_ways_is_one_cause(tmp_path):
    done = audit(stage_log("input+forward"), tmp_path)
    assert done.verdict["ranks"] == [2]
    assert set(suspects(done)[:2]) == {("input", 2), ("forward", 2)}


def test_increments_of_the_frontier_sum_to_the_step(tmp_path):
    done = audit(stage_log("forward"), tmp_path)
    table = done.table("frontier")
    spans = done.job.op.group_by("step", "rank").agg(pl.col("duration_ns").sum())
    longest = spans.group_by("step").agg(pl.col("duration_ns").max())["duration_ns"].mean()
    assert table["exposed_s"].sum() == pytest.approx(longest / 1e9, rel=1e-12)
    assert table["share_ratio"].sum() == pytest.approx(1)


def test_logs_without_waiting_are_read_as_steps_that_begin_together(tmp_path):
    table = stage_log("forward").drop("wait_ms")
    done = audit(table, tmp_path)
    assert "waits_assumed" in {c["code"] for c in done.document["caveats"]}
    assert suspects(done)[0] == ("forward", 2)
    assert done.verdict["ranks"] == [2]


def test_sampled_steps_and_steps_that_a_rank_lacks_are_said(tmp_path):
    table = stage_log("input", steps=60).filter(
        (pl.col("step") % 5 == 0) & ((pl.col("step") != 20) | (pl.col("rank") != 1))
    )
    done = audit(table, tmp_path)
    assert {c["code"]: c["count"] for c in done.document["caveats"]} == {"incomplete_step": 1}
    assert suspects(done)[0] == ("input", 2)


def test_ranks_without_a_log_are_not_cleared(tmp_path):
    done = audit(stage_log().filter(pl.col("rank") != 1), tmp_path)
    assert done.verdict["kind"] == "not_assessable"
    assert "have no log" in done.verdict["summary"]


def test_the_order_of_rows_changes_nothing(tmp_path):
    table = stage_log("forward", steps=20)
    ordered = audit(table.sort("rank", "step"), tmp_path).document
    mixed = audit(table.sort("step", "rank", descending=[False, True]), tmp_path).document
    assert ordered["frontier"] == mixed["frontier"]
    assert ordered["verdict"] == mixed["verdict"]


def test_fields_of_the_frontier_are_documented_and_shown(tmp_path):
    done = audit(stage_log("forward"), tmp_path)
    known = set(re.findall(r"`(\w+)`", PAGE.read_text(encoding="utf-8")))
    section = done.document["frontier"]
    rows = [section, section["trace_next"], section["stages"][0], section["suspects"][0]]
    assert {name for row in rows for name in row} - known == set()
    assert "forward of rank 2 leads its peers" in " ".join(render_summary(done.document).split())
    full = run_audit(tmp_path / "stages.csv")
    assert "Where delay first shows" in render_briefing(full.document, full.tables)
