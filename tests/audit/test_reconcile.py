import json
from pathlib import Path

import polars as pl
import pytest
from tests.audit.stage_logs import stage_log
from tests.couple.logged.written import play, write_dumps, write_inspector
from tests.ingest.nsys.written import trace_events

import loadpath as lp
from loadpath.audit.sources import load_recording
from loadpath.testing import make_job, write_kineto


def caveat(audit, code):
    return next((c for c in audit.document["caveats"] if c["code"] == code), None)


def log_of_traces(folder, traces, stretch):
    """Inspector logs of the communication kernels of traces, each `stretch` times as long."""
    folder.mkdir(exist_ok=True)
    for rank, path in enumerate(sorted(traces.glob("rank*.json*"))):
        events = trace_events(path)
        kernels = [e for e in events if e.get("cat") == "kernel" and "nccl" in e["name"].lower()]
        lines = [
            {"header": {"id": "0x1", "rank": rank, "n_ranks": 4},
             "metadata": {"inspector_output_format_version": "v4.0", "hostname": "h", "pid": rank},
             "coll_perf": {"coll": "AllReduce", "coll_sn": i, "coll_msg_size_bytes": 1024,
                           "coll_exec_time_us": round(float(e["dur"]) * stretch)}}
            for i, e in enumerate(kernels)
        ]  # fmt: skip
        (folder / f"h-pid{rank}.log").write_text("\n".join(map(json.dumps, lines)))


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    job = make_job(3, recorder="kineto", pp=1, dp=4, steps=12, microbatches=2)
    return Path(write_kineto(job, tmp_path_factory.mktemp("traces")))


def test_traces_and_logs_that_agree_are_audited_as_traces(traces):
    log_of_traces(traces, traces, 1.0)
    found = lp.run_audit(traces, brief=False, cache=False)
    assert caveat(found, "records_compared")["count"] == 4
    assert caveat(found, "records_disagree") is None
    assert found.document["record"]["source"] == "kineto"


def test_a_caveat_says_which_records_disagree_and_by_how_much(traces):
    log_of_traces(traces, traces, 3.0)
    found = lp.run_audit(traces, brief=False, cache=False)
    told = caveat(found, "records_disagree")
    assert told["count"] == 4
    assert "all_reduce of rank" in told["text"]


def test_logs_beside_dumps_without_durations_are_audited(tmp_path):
    job = play(slow=3)
    write_dumps(job, tmp_path, timed=False)
    write_inspector(job, tmp_path)
    found = lp.run_audit(tmp_path, brief=False)
    assert (found.verdict["kind"], found.verdict["ranks"]) == ("rank", [3])


def test_logs_and_timed_dumps_of_one_job_agree(tmp_path):
    job = play(slow=3)
    write_dumps(job, tmp_path)
    write_inspector(job, tmp_path)
    found = lp.run_audit(tmp_path, brief=False)
    assert caveat(found, "records_compared")["count"] == 8
    assert caveat(found, "records_disagree") is None


def stage_log_of_traces(traces, folder, stretch):
    """Stage logs of the steps of traces, each as long as there or `stretch` times."""
    step = load_recording(traces).step
    lines = ["rank,step,forward_ns,backward_ns"]
    for rank, number, start, end in step.select("rank", "step", "start_ns", "end_ns").rows():
        half = round((end - start) * stretch / 2)
        lines.append(f"{rank},{number},{half},{half}")
    (folder / "stages.csv").write_text("\n".join([*lines, ""]))


@pytest.mark.parametrize(("stretch", "n_apart"), [(1.0, None), (0.5, 4)])
def test_stage_logs_beside_traces_are_compared_step_by_step(stretch, n_apart, tmp_path):
    job = make_job(3, recorder="kineto", pp=1, dp=4, steps=12, microbatches=2)
    folder = Path(write_kineto(job, tmp_path / "both"))
    stage_log_of_traces(folder, folder, stretch)
    found = lp.run_audit(folder, brief=False, cache=False)
    assert caveat(found, "records_compared")["text"].startswith("steps of ranks")
    told = caveat(found, "records_disagree")
    assert (told and told["count"]) == n_apart
    assert found.document["record"]["source"] == "kineto"


def test_stage_logs_beside_traces_that_cannot_be_read_are_said(tmp_path):
    job = make_job(3, recorder="kineto", pp=1, dp=4, steps=4, microbatches=2)
    folder = Path(write_kineto(job, tmp_path / "both"))
    (folder / "stages.csv").write_text("rank,step,forward_ns,backward_ns\n0,1,x,y\n")
    found = lp.run_audit(folder, brief=False, cache=False)
    assert "no usable row" in caveat(found, "unread_files")["text"]


@pytest.mark.parametrize(
    ("write", "what"),
    [
        (lambda folder: write_dumps(play(n=6), folder, timed=False), "flight recorders"),
        (lambda folder: write_inspector(play(n=6), folder), "Inspector logs"),
        (lambda folder: six_ranks().write_csv(folder / "stages.csv"), "stage logs"),
    ],
)
def test_ranks_that_only_another_record_tells_of_are_said_and_nobody_is_cleared(
    write, what, tmp_path
):
    job = make_job(3, recorder="kineto", pp=1, dp=4, steps=12, microbatches=2)
    folder = Path(write_kineto(job, tmp_path / "job"))
    assert lp.run_audit(folder, brief=False).verdict["kind"] in {"none", "jitter"}
    write(folder)
    found = lp.run_audit(folder, brief=False)
    assert caveat(found, "unrecorded_ranks")["count"] == 2
    assert caveat(found, "unrecorded_ranks")["text"].startswith(f"{what} tell of ranks")
    assert "(4, 5)" in found.verdict["summary"]
    assert found.verdict["kind"] == "not_assessable"
    other_run = caveat(found, "flight_recorder_gaps")
    assert (other_run is not None) == (what == "flight recorders")
    assert other_run is None or "of another run" in other_run["text"]


def six_ranks():
    one = stage_log("input", steps=12)
    more = one.filter(pl.col("rank") < 2).with_columns(pl.col("rank") + 4)
    return pl.concat([one, more])
