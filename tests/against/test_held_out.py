"""A fixed sample of benchmarks/held_out.py: jobs of a generator that shares no code with loadpath."""

import ast
import importlib
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadpath.audit import run_audit

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
GENERATOR = sorted((BENCHMARKS / "held_out_jobs").glob("*.py"))
FALSE_ALARM_RATIO = 0.05
"""Share of healthy jobs that may be accused."""
NAMED_RATIO = 0.95
"""Share of causes that must be named."""


@pytest.fixture(scope="module")
def held_out():
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("held_out")
    for name in set(sys.modules) - before:
        if name.split(".")[0] in {"held_out", "held_out_jobs", "detection"}:
            del sys.modules[name]


@pytest.fixture(scope="module")
def outcomes(held_out):
    return held_out.run(held_out.sample(), 1)


def allowance(n, rate):
    """Return how many of `n` may fail before the rate is above the limit, at 97.5 %."""
    k, below = 0, 0.0
    while below < 0.975:
        below += math.comb(n, k) * rate**k * (1 - rate) ** (n - k)
        k += 1
    return k - 1


@pytest.mark.slow
def test_causes_of_one_percent_and_more_are_named(held_out, outcomes):
    counted = [
        o for o in outcomes if o.case.name != "nobody" and o.effect_ratio >= held_out.LEAST_EFFECT
    ]
    wrong = [held_out.miss(o) for o in counted if not o.right]
    assert len(counted) >= 25
    assert len(wrong) <= allowance(len(counted), 1 - NAMED_RATIO), "\n".join(wrong)


@pytest.mark.slow
def test_healthy_jobs_are_not_accused(held_out, outcomes):
    healthy = [o for o in outcomes if o.case.name == "nobody"]
    accused = [held_out.miss(o) for o in healthy if o.accuses]
    assert len(healthy) >= 15
    assert len(accused) <= allowance(len(healthy), FALSE_ALARM_RATIO), "\n".join(accused)


@pytest.mark.slow
def test_predicted_gains_are_those_of_the_job_without_its_cause(outcomes):
    errors = sorted(
        o.gain_error_ratio for o in outcomes if o.right and not math.isnan(o.gain_error_ratio)
    )
    assert errors[len(errors) // 2] < 0.05


SCHEMAS: dict[str, dict[str, bool]] = {
    "2025": {},
    "2021": {"calls": True},
    "2021, kernels alone": {"calls": False},
}


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("skew", [False, True], ids=["one clock", "skew"])
@pytest.mark.parametrize("marks", [True, False], ids=["marks", "no marks"])
def test_exchanges_of_a_recommendation_model_match_by_order(
    held_out, tmp_path, marks, skew, schema
):
    dlrm, old = (importlib.import_module(f"held_out_jobs.{n}") for n in ("dlrm", "schema_2021"))
    kineto, plans = held_out.kineto, importlib.import_module("held_out_jobs.plan")
    healthy = dlrm.recommendation_plan(5, marks=marks, sync_events=False, skew=skew)
    plan = replace(healthy, fault=plans.Fault("rank", (3,), size=0.3))
    job = kineto.execute(plan, dlrm.recommend)
    traces = kineto.write(plan, job, tmp_path)
    if SCHEMAS[schema]:
        old.rewrite(traces, **SCHEMAS[schema])
    audit = run_audit(traces, brief=False, cache=False)
    assert (audit.document["job"]["instances"], audit.document["job"]["instances_matched"]) == (
        8,
        8,
    )
    assert audit.document["replay"]["error_ratio_max"] < 0.03
    assert (audit.verdict["kind"], audit.verdict["ranks"]) == ("rank", [3])
    gain_s = kineto.makespan_s(job) - kineto.makespan_s(kineto.execute(healthy, dlrm.recommend))
    predicted = audit.verdict["step_s"] - audit.verdict["step_s_without"]
    assert predicted * plan.steps == pytest.approx(gain_s, rel=0.1)


LAYOUTS: dict[str, dict[str, Any]] = {
    "dp": {"dp": 8},
    "sharded dp": {"dp": 4, "sharded": True},
    "tp": {"dp": 1, "tp": 4},
    "pp x tp x dp": {"dp": 2, "tp": 2, "pp": 2, "stage_work": (1.0, 1.0)},
}


@pytest.mark.parametrize("ids", ["full", "no_seq"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_recording_that_begins_while_devices_are_behind_keeps_the_verdict(
    held_out, tmp_path, layout, ids
):
    kineto, plans = held_out.kineto, importlib.import_module("held_out_jobs.plan")
    healthy = plans.Plan(
        11, steps=8, kernel_us=150.0, run_ahead=True, ids=ids, sync_events=False, **LAYOUTS[layout]
    )
    plan = replace(healthy, fault=plans.Fault("rank", (1,), size=0.2))
    job = kineto.execute(plan)
    audit = run_audit(kineto.write(plan, job, tmp_path, first_step=3), brief=False, cache=False)
    assert "earlier_work" in {row["code"] for row in audit.document["caveats"]}
    assert (audit.verdict["kind"], audit.verdict["ranks"]) == ("rank", [1])
    gain_s = kineto.makespan_s(job) - kineto.makespan_s(kineto.execute(healthy))
    predicted = audit.verdict["step_s"] - audit.verdict["step_s_without"]
    assert predicted * plan.steps == pytest.approx(gain_s, rel=0.1)


@pytest.mark.parametrize("path", GENERATOR, ids=lambda path: path.name)
def test_generator_of_held_out_jobs_shares_no_code_with_loadpath(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    named |= {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    roots = {name.split(".")[0] for name in named}
    assert roots <= sys.stdlib_module_names | {"numpy", "held_out_jobs"}
