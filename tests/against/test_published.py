"""Results of an independent program, StragglerAnalysis (ByteDance-Seed, 8efcd7f, Apache-2.0).

Those of real jobs are its authors' own, read from LOADPATH_DATA. Those in ``published/`` were
computed with it (pandas 2.2.3, numpy 1.26.4, pyarrow 17.0.0; wia.py, compute_ms.py, compute_mw.py)
on synthetic jobs of ``loadpath.testing``, rounded to microseconds:

- interleaved: two stages of two chunks, two replicas, separate gradients; the first forward
  receives are missing, and receives and sends that never ran are recorded at the ends of steps;
- late-clock: three stages, two replicas; the clock of rank 5 is 9 ms late, so transfers end before
  they begin and ops start before what they depend on.
"""

import json
import os
from functools import cache
from pathlib import Path

import pytest

from loadpath.audit import run_audit
from loadpath.couple.pipeline import couple_steps
from loadpath.couple.steps import as_steps
from loadpath.couple.trace import couple_trace
from loadpath.diagnose.published import published_fields, published_slowdown
from loadpath.errors import UsageError
from loadpath.ingest.op_table import read_op_table, read_steps
from loadpath.testing import job as small_job

SYNTHETIC = Path(__file__).parent / "published"
REAL = ("AR", "ST")
PARTS = ("result", "ms", "mw")
TOLERANCE = 1e-6


def real_jobs():
    root = os.environ.get("LOADPATH_DATA")
    if root is None:
        pytest.skip("LOADPATH_DATA is not set")
    folder = Path(root) / "data" / "bytedance-straggler"
    assert folder.is_dir(), f"LOADPATH_DATA has no {folder}"
    return folder


def fields_of(table: Path, layout: Path, name: str):
    steps = couple_steps(read_steps(table, layout))
    return json.loads(json.dumps(published_fields(steps, steps.job.layout, name)))


@cache
def real(name):
    folder = real_jobs()
    ours = fields_of(folder / f"trace-{name}.parquet", folder / f"meta-{name}.yaml", name)
    return ours, {part: json.loads((folder / f"{part}-{name}.json").read_text()) for part in PARTS}


@cache
def real_audit(name):
    return run_audit(real_jobs() / f"trace-{name}.parquet")


@cache
def synthetic(name):
    ours = fields_of(SYNTHETIC / f"{name}.csv", SYNTHETIC / f"{name}.yaml", name)
    return ours, json.loads((SYNTHETIC / f"{name}.json").read_text())


# Every difference beyond the tolerance, as (path, ours, theirs).
def differences(ours, theirs, path=""):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours.keys() != theirs.keys():
            return [(path, sorted(ours), sorted(theirs))]
        return [d for key in ours for d in differences(ours[key], theirs[key], f"{path}/{key}")]
    if isinstance(ours, float) and isinstance(theirs, float):
        near = abs(ours - theirs) <= TOLERANCE * abs(theirs)
        return [] if near else [(path, ours, theirs)]
    return [] if ours == theirs else [(path, ours, theirs)]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", REAL)
def test_every_published_field_of_a_real_job_is_met(name, part):
    ours, theirs = real(name)
    assert differences(ours[part], theirs[part]) == []


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["interleaved", "late-clock"])
def test_every_field_of_a_synthetic_job_agrees_with_the_independent_program(name, part):
    ours, theirs = synthetic(name)
    assert differences(ours[part], theirs[part]) == []


def test_comparison_sees_a_difference_in_any_field():
    _, theirs = synthetic("interleaved")
    wrong = json.loads(json.dumps(theirs))
    wrong["result"]["launch_decompose_by_stage_per_step"]["16"]["1"] *= 1 + 1e-5
    assert [path for path, _, _ in differences(wrong, theirs)] == [
        "/result/launch_decompose_by_stage_per_step/16/1"
    ]


def test_real_job_with_one_slow_worker_has_the_published_slowdown_and_worker_share():
    ours, _ = real("AR")
    assert round(ours["result"]["blocking_slowdown"], 3) == 1.973
    assert round(ours["mw"]["Mw"], 4) == 1.0017


def test_real_job_with_a_long_last_stage_has_the_published_slowdown_and_stage_share():
    ours, _ = real("ST")
    assert round(ours["result"]["blocking_slowdown"], 3) == 1.179
    assert round(ours["ms"]["Ms"], 2) == 1.22


def test_decompositions_are_left_out_where_the_slowdown_is_small():
    ours, _ = real("AR")
    assert ours["result"]["launch_slowdown"] < 1.03
    assert ours["result"]["launch_decompose_by_stage"] is None
    assert ours["result"]["blocking_decompose_by_stage"] is not None


def test_slowdown_of_the_audit_is_the_published_one():
    ours, _ = real("ST")
    assert real_audit("ST").document["slowdown"]["ratio"] == pytest.approx(
        ours["result"]["blocking_slowdown"], rel=TOLERANCE
    )


@pytest.mark.parametrize("name", ["AR", "ST"])
def test_shares_of_workers_and_last_stage_in_the_audit_are_the_published_ones(name):
    ours, _ = real(name)
    slowdown = real_audit(name).document["slowdown"]
    assert slowdown["m_w"] == pytest.approx(ours["mw"]["Mw"], rel=TOLERANCE)
    assert slowdown["m_s"] == pytest.approx(ours["ms"]["Ms"], rel=TOLERANCE)


def test_verdict_on_one_slow_worker_names_its_rank():
    verdict = real_audit("AR").verdict
    assert (verdict["kind"], verdict["place"], verdict["ranks"]) == ("rank", "rank", [0])


def test_verdict_on_a_long_last_stage_is_the_stage_and_not_a_rank():
    verdict = real_audit("ST").verdict
    assert (verdict["kind"], verdict["place"], verdict["stage"]) == ("stage", "stage", 3)
    assert verdict["ranks"] == []


def test_published_slowdown_alone_equals_that_of_all_fields():
    steps = couple_steps(
        read_op_table(SYNTHETIC / "interleaved.csv", SYNTHETIC / "interleaved.yaml")
    )
    ours, _ = synthetic("interleaved")
    shares = (ours["result"]["blocking_slowdown"], ours["mw"]["Mw"], ours["ms"]["Ms"])
    assert published_slowdown(steps) == pytest.approx(shares, rel=1e-12)


def test_published_method_refuses_jobs_that_were_not_recorded_as_an_op_table():
    recording = small_job(ranks=2).compute([70, 100]).recording()
    with pytest.raises(UsageError, match="needs an op table"):
        published_fields(as_steps(couple_trace(recording)), {}, "small")
