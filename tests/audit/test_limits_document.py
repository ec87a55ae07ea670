"""What audit.json says of limits."""

import pytest

from loadpath.audit import open_audit, run_audit
from loadpath.audit.limits import NO_LIMITS
from loadpath.errors import UsageError
from loadpath.testing import make_job, write_kineto, write_op_table

SECTIONS = ("limitation", "efficiency", "coupling", "failure_envelope")


def test_a_job_of_long_computations_is_bound_by_them(audited):
    found = audited.document["limitation"]
    assert (found["bound"], found["largest"]) == ("compute", "compute")
    assert found["summary"].startswith("Compute-bound: with 10 % faster computation the step is ")
    assert found["elasticity_sum_low"] <= 1.0001
    assert found["elasticity_sum_high"] >= 0.9999
    assert found["elasticity_sum_ratio"] == pytest.approx(1, abs=0.02)


def test_elasticities_of_phases_sum_to_that_of_the_resource(audited):
    table = audited.table("limitation").filter(limit="all", resource="compute")
    whole = table.filter(phase="all")["elasticity_ratio"].sum()
    parts = table.filter(table["phase"] != "all")["elasticity_ratio"].sum()
    assert parts == pytest.approx(whole, abs=0.02)


def test_three_steps_are_too_few_for_intervals_and_that_is_said(audited):
    found = audited.document["limitation"]
    assert found["margin"]["low"] is None
    assert found["interval_method"] == "no intervals: they need 4 steps to draw from"


def test_the_efficiency_misses_by_no_more_than_the_replay(audited):
    found = audited.document["efficiency"]
    product = found["load_balance"]["value"] * found["communication_efficiency"]["value"]
    assert product == pytest.approx(found["parallel_efficiency"]["value"])
    assert abs(found["product_error_ratio"]) < 0.03


def test_the_job_stands_at_its_planted_rank(audited):
    found = audited.document["failure_envelope"]
    assert found["bound_ratio"] == 0.05
    assert found["job"]["state"] == "breaks"
    assert found["job"]["n_ranks"] == 1
    assert "This job breaks that bound: its slowest rank works" in found["summary"]


def test_the_bound_is_an_option_and_is_written_down(table):
    loose = run_audit(table, bound=10.0, brief=False).document
    assert loose["failure_envelope"]["job"]["state"] == "meets"
    assert "even if all of them worked 200.0 % longer" in loose["failure_envelope"]["summary"]
    assert "--bound 10.0" in loose["command"]
    with pytest.raises(UsageError, match="bound 0 is not a positive number"):
        run_audit(table, bound=0, brief=False)


def test_above_the_gate_nothing_of_it_is_said(table):
    refused = run_audit(table, gate=1e-9)
    assert refused.verdict["kind"] == "not_assessable"
    assert [refused.document[name] for name in SECTIONS] == [None] * 4
    assert all(refused.table(schema.name).is_empty() for schema in NO_LIMITS)


def test_limits_are_the_same_from_the_folder(written, audited):
    opened = open_audit(written)
    for name in SECTIONS:
        assert opened.document[name] == audited.document[name]
    assert opened.coupling("stage").seconds.tolist() == audited.coupling("stage").seconds.tolist()


@pytest.mark.parametrize(
    ("recorder", "write"), [("op_table", write_op_table), ("kineto", write_kineto)]
)
@pytest.mark.parametrize("dp", [2, 48])
def test_one_step_of_few_or_many_ranks_has_limits(tmp_path, recorder, write, dp):
    job = make_job(1, recorder=recorder, pp=1, dp=dp, steps=1, microbatches=2)
    document = run_audit(write(job, tmp_path), brief=False).document
    assert document["verdict"]["kind"] != "not_assessable"
    assert document["limitation"]["margin"]["low"] is None
    assert document["limitation"]["elasticity_sum_ratio"] == pytest.approx(1, abs=0.02)
    assert max(limit["n_ranks"] for limit in document["failure_envelope"]["limits"]) == dp
