"""An op table looked at by some of its steps."""

from pathlib import Path

import polars as pl
import pytest

from loadpath.audit import open_audit, run_audit
from loadpath.errors import UsageError
from loadpath.testing import Cause, make_job, write_kineto, write_op_table

TIMES = ("measured_s", "replayed_s")


@pytest.fixture(scope="module", params=[0, 1], ids=["steps alike", "steps that differ"])
def long_table(request, tmp_path_factory):
    """Sixty steps with one slow rank; where steps differ, one lacks an op."""
    cause = Cause("rank", 0.3, ranks=(1,))
    made = make_job(4, cause=cause, pp=2, dp=2, steps=60, microbatches=4)
    path: Path = write_op_table(made, tmp_path_factory.mktemp("long"))
    if request.param:
        ops = pl.read_parquet(path)
        place = ops.with_row_index().filter(pl.col("optype") == "forward-compute")["index"][200]
        pl.concat([ops[:place], ops[place + 1 :]]).write_parquet(path)
    return path


def test_times_of_screened_steps_are_those_of_the_whole_audit(long_table):
    whole = run_audit(long_table, brief=False)
    some = run_audit(long_table, brief=False, steps=20)
    steps = some.table("step_time")
    assert steps.height == some.document["job"]["steps"] == 20
    beside = whole.table("step_time").filter(pl.col("step").is_in(steps["step"].implode()))
    assert steps.select("step", *TIMES).equals(beside.select("step", *TIMES))
    for audit in (whole, some):
        assert (audit.verdict["kind"], audit.verdict["ranks"]) == ("rank", [1])


def test_what_was_left_out_is_counted(long_table):
    doubts = {row["code"]: row for row in run_audit(long_table, steps=20).document["caveats"]}
    assert doubts["steps_left_out"]["count"] == 40
    assert "20 of 60 steps" in doubts["steps_left_out"]["text"]


def test_no_more_steps_than_there_are_is_the_whole_audit(long_table):
    whole, asked = run_audit(long_table), run_audit(long_table, steps=60)
    parts = [part for part in whole.document if part != "command"]
    assert [whole.document[part] for part in parts] == [asked.document[part] for part in parts]


def test_counterfactuals_of_a_folder_are_of_the_screened_steps(long_table, tmp_path):
    run_audit(long_table, out=tmp_path / "out", brief=False, steps=20)
    audit = open_audit(tmp_path / "out")
    replayed = audit.table("step_time")["replayed_s"]
    assert audit.what_if("rank=1:ideal").step_s == pytest.approx(replayed.mean(), rel=1e-9)


def test_steps_that_hand_work_on_are_not_cut(tmp_path):
    traces = write_kineto(make_job(4, recorder="kineto", dp=2, steps=6), tmp_path)
    with pytest.raises(UsageError, match=r"--steps is for op tables"):
        run_audit(traces, steps=3)


def test_a_single_step_is_refused(long_table):
    with pytest.raises(UsageError, match="steps 1 is less than 2"):
        run_audit(long_table, steps=1)
