"""Stability in an audit: what its document and tables hold, and what a refusal leaves of them."""

import os
from pathlib import Path

import pytest

from loadpath.audit import open_audit, run_audit
from loadpath.diagnose import step_sample
from loadpath.errors import UsageError
from loadpath.testing import Cause, make_job, write_kineto, write_op_table

ENTRIES = (
    "one_off_gain",
    "waiting_gain",
    "absorption_ratio",
    "noise_gain",
    "emergent_share_ratio",
    "slack_quantiles",
    "reserve",
    "step_cv_ratio",
    "step_p99_over_p50_ratio",
)
TABLES = ("stability", "load_curve", "variance", "policy", "interaction")


@pytest.fixture(scope="module")
def slow_rank(tmp_path_factory):
    job = make_job(5, cause=Cause("rank", 0.3, ranks=(2,)), pp=2, dp=4, steps=12, microbatches=4)
    return write_op_table(job, tmp_path_factory.mktemp("slow"))


def test_every_figure_has_value_interval_unit_and_basis(slow_rank):
    section = run_audit(slow_rank, brief=False).document["stability"]
    for name in ENTRIES:
        assert {"value", "low", "high", "unit", "basis"} <= set(section[name])
    gain = section["one_off_gain"]
    assert gain["low"] <= gain["value"] <= gain["high"]
    assert set(section["slack_quantiles"]["value"]) == {"p10", "p50", "p90"}
    assert section["reserve"]["value"]["own work"] > 0
    assert section["reserve"]["bound_ratio"] == 0.05


def test_a_planted_slow_rank_is_a_component_fault(slow_rank):
    section = run_audit(slow_rank, brief=False).document["stability"]
    assert section["emergent_share_ratio"]["high"] < 0.3
    assert section["loss"]["component"]["value"] > 3 * section["loss"]["emergent"]["value"]


def test_a_healthy_job_loses_to_noise_alone(tmp_path):
    """Seeds on which shrinking believes no rank; what it may take from noise is bounded."""
    shares = []
    for seed in range(4):
        job = make_job(seed, pp=1, dp=8, steps=16, microbatches=4, noise=0.03)
        table = write_op_table(job, tmp_path / str(seed))
        share = run_audit(table, brief=False).document["stability"]["emergent_share_ratio"]
        shares.append(share["value"])
    assert min(shares) > 0.85


def test_vector_under_load_variance_and_policy_come_with_the_folder(slow_rank, tmp_path):
    quick = run_audit(slow_rank, brief=False)
    assert quick.table("policy").is_empty()
    assert set(quick.table("stability")["factor"]) == {1.0}
    folder = tmp_path / "audit"
    full = run_audit(slow_rank, out=folder, brief=False)
    assert set(full.document["stability"]["knee"]) == {"transfers", "launches"}
    assert set(full.table("stability")["factor"]) == {1.0, 1.25, 1.5, 2.0}
    again = open_audit(folder)
    for name in TABLES:
        assert again.table(name).equals(full.table(name))
    assert quick.document["stability"] == full.document["stability"]


def test_above_the_gate_only_the_spread_of_measured_steps_is_given(slow_rank):
    refused = run_audit(slow_rank, gate=1e-9)
    section = refused.document["stability"]
    assert refused.document["verdict"]["kind"] == "not_assessable"
    assert section["step_cv_ratio"]["value"] > 0
    assert section["one_off_gain"]["value"] is None
    assert "no conclusion is drawn" in section["one_off_gain"]["basis"]
    assert section["reserve"]["value"] == {}
    for name in TABLES[1:]:
        assert refused.table(name).is_empty()


def test_the_bound_is_an_option_that_is_written_down(slow_rank):
    loose = run_audit(slow_rank, bound=0.2, brief=False)
    assert "--bound 0.2" in loose.document["command"]
    tight = run_audit(slow_rank, brief=False).document["stability"]["reserve"]["value"]
    assert loose.document["stability"]["reserve"]["value"]["own work"] > tight["own work"]
    with pytest.raises(UsageError, match="bound 0 is not a positive number"):
        run_audit(slow_rank, bound=0)


def test_progress_tells_what_is_being_measured(slow_rank):
    said: list[str] = []
    run_audit(slow_rank, progress=said.append)
    assert "measuring stability" in said
    assert any(text.startswith("replaying noise: ") for text in said)


def test_the_loss_of_a_real_job_with_one_slow_rank_is_a_component_fault():
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    table = Path(root) / "data" / "bytedance-straggler" / "trace-AR.parquet"
    assert table.is_file(), f"LOADPATH_DATA has no {table}"
    section = run_audit(table, brief=False).document["stability"]
    assert section["emergent_share_ratio"]["high"] < 0.02
    assert section["loss"]["component"]["value"] > 0.45 * 46


def test_estimates_of_a_large_job_are_of_some_steps_and_all_else_is_of_all(slow_rank, monkeypatch):
    whole = run_audit(slow_rank, brief=False).document
    monkeypatch.setattr(step_sample, "MOST_OPS", 1)
    part = run_audit(slow_rank, brief=False).document
    assert (whole["stability"]["n_steps"], part["stability"]["n_steps"]) == (12, 8)
    gain = part["stability"]["one_off_gain"]["value"]
    assert gain != whole["stability"]["one_off_gain"]["value"]
    assert gain == pytest.approx(whole["stability"]["one_off_gain"]["value"], rel=0.1)
    for name in ("verdict", "attribution", "waits", "replay", "efficiency"):
        assert part[name] == whole[name]
    doubts = [{c["code"]: c["count"] for c in found["caveats"]} for found in (whole, part)]
    assert [d.get("sampled_steps") for d in doubts] == [None, 4]


def test_estimates_of_a_large_trace_are_of_some_steps_cut_out_of_all(tmp_path, monkeypatch):
    cause = Cause("rank", 0.3, ranks=(2,))
    job = make_job(5, cause=cause, dp=4, steps=12, microbatches=2, recorder="kineto")
    traces = write_kineto(job, tmp_path)
    whole = run_audit(traces, brief=False).document
    monkeypatch.setattr(step_sample, "MOST_OPS", 1)
    part = run_audit(traces, brief=False).document
    assert (whole["stability"]["n_steps"], part["stability"]["n_steps"]) == (12, 8)
    for name in ("one_off_gain", "emergent_share_ratio"):
        value = whole["stability"][name]["value"]
        assert part["stability"][name]["value"] == pytest.approx(value, rel=0.1)
    for name in ("verdict", "attribution", "waits", "replay", "efficiency"):
        assert part[name] == whole[name]
    (doubt,) = [c for c in part["caveats"] if c["code"] == "sampled_steps"]
    assert doubt["count"] == 4
    assert "failure envelope" in doubt["text"]
