import json
from typing import Any

import polars as pl
import pytest

from loadpath.couple.trace import couple_trace
from loadpath.ingest.kineto import read_kineto
from loadpath.testing import Cause, kineto_trace, make_job


def unmarked(job, rank, begin=0.0, end=1.0):
    """Trace of a rank without step marks, recorded from `begin` to `end` of its time."""
    trace = kineto_trace(job, rank)
    events = [e for e in trace["traceEvents"] if not e["name"].startswith("ProfilerStep#")]
    times = [e["ts"] for e in events if e["ph"] == "X"]
    first, length = min(times), max(times) - min(times)
    low, high = first + begin * length, first + end * length
    called = {
        e["args"]["correlation"]
        for e in events
        if e.get("cat") == "cuda_runtime" and low <= e["ts"] <= high
    }

    def recorded(event):
        if event.get("cat") in {"kernel", "gpu_memcpy"}:
            return event["args"]["correlation"] in called
        return event["ph"] != "X" or low <= event["ts"] <= high

    return trace | {"traceEvents": [e for e in events if recorded(e)]}


def write(folder, traces):
    folder.mkdir()
    for rank, trace in enumerate(traces):
        (folder / f"rank{rank}.json").write_text(json.dumps(trace))
    return read_kineto([folder])


def step_lengths(job):
    end = pl.col("start_ns") + pl.col("duration_ns")
    spans = job.op.group_by("step").agg((end.max() - pl.col("start_ns").min()).alias("ns"))
    return spans.sort("step")["ns"].to_list()


LAYOUTS: dict[str, dict[str, Any]] = {
    "data": {"pp": 1, "dp": 4},
    "tensor": {"pp": 1, "dp": 1, "tp": 4},
    "pipeline": {"pp": 4, "dp": 1},
    "all": {"pp": 2, "dp": 2, "tp": 2},
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_steps_without_marks_are_those_that_were_marked(tmp_path, name):
    made = make_job(11, recorder="kineto", steps=5, microbatches=4, **LAYOUTS[name])
    ranks = made.clock["rank"].to_list()
    marked = couple_trace(write(tmp_path / "marked", [kineto_trace(made, r) for r in ranks]))
    found = couple_trace(write(tmp_path / "found", [unmarked(made, r) for r in ranks]))
    # the first step has no end of another one before it
    assert found.graph.step.tolist() == [0, 1, 2, 3]
    assert step_lengths(found) == pytest.approx(step_lengths(marked)[1:], rel=0.01)
    assert found.caveat.filter(pl.col("code") == "steps_from_pattern")["n"].to_list() == [4]
    assert "no_step_marks" not in found.caveat["code"]


def test_partial_first_and_last_steps_are_left_out(tmp_path):
    made = make_job(12, recorder="kineto", steps=6, microbatches=4, pp=2, dp=2)
    # each rank begins and ends its recording at another moment
    traces = [
        unmarked(made, r, 0.05 + 0.01 * r, 0.95 - 0.01 * r) for r in made.clock["rank"].to_list()
    ]
    job = couple_trace(write(tmp_path / "cut", traces))
    assert job.graph.step.size == 4
    assert job.instance["matched"].all()
    assert (
        job.instance.group_by("communicator", "collective")
        .agg((pl.len() % 4).alias("rest"))["rest"]
        .to_list()
        == [0] * job.instance.select("communicator", "collective").n_unique()
    )


def test_layers_that_repeat_in_one_step_are_no_steps(tmp_path):
    # two layers of a tensor-parallel forward pass repeat, but take no input
    made = make_job(13, recorder="kineto", steps=1, microbatches=8, pp=1, dp=1, tp=4)
    job = couple_trace(write(tmp_path / "one", [unmarked(made, r) for r in range(4)]))
    assert job.graph.step.tolist() == [0]
    assert "no_step_marks" in job.caveat["code"]


def test_recording_that_repeats_nothing_is_one_step_and_that_is_said(tmp_path):
    made = make_job(14, recorder="kineto", steps=2, pp=1, dp=2)
    job = couple_trace(write(tmp_path / "two", [unmarked(made, r) for r in range(2)]))
    assert job.graph.step.tolist() == [0]
    said = job.caveat.filter(pl.col("code") == "no_step_marks")
    assert said["n"].to_list() == [2]


def test_lost_communication_shifts_no_step(tmp_path):
    made = make_job(15, recorder="kineto", steps=6, pp=1, dp=2)
    whole, other = unmarked(made, 0), unmarked(made, 1)
    kernels = [e for e in other["traceEvents"] if e.get("cat") == "kernel" and "nccl" in e["name"]]
    lost = kernels[len(kernels) // 2]["args"]["correlation"]
    kept = [
        e for e in other["traceEvents"]
        if not (e.get("cat") == "kernel" and e["args"]["correlation"] == lost)
    ]  # fmt: skip
    job = couple_trace(write(tmp_path / "odd", [whole, other | {"traceEvents": kept}]))
    assert job.graph.step.tolist() == [0, 1, 2, 3, 4]
    per_step = job.instance.filter(pl.col("matched")).group_by("step").len().sort("step")["len"]
    assert sorted(per_step.to_list()) == [1, 2, 2, 2, 2]


def test_cause_is_the_same_with_and_without_marks(tmp_path):
    from loadpath.audit import run_audit  # noqa: PLC0415 - the one test that needs the whole line

    cause = Cause("rank", 0.1, ranks=(3,))
    made = make_job(11, recorder="kineto", steps=6, microbatches=4, pp=2, dp=2, cause=cause)
    folder = tmp_path / "unmarked"
    write(folder, [unmarked(made, r) for r in range(4)])
    verdict = run_audit(folder, brief=False).verdict
    assert (verdict["kind"], verdict["ranks"]) == ("rank", [3])
