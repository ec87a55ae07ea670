"""A rank that alone writes checkpoints is the cause, although no peer does what it does."""

import gzip
import json

import pytest

from loadpath.audit import run_audit
from loadpath.brief.names import mechanism_name
from loadpath.testing import Cause, make_job, write_kineto

LOADS = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Job whose rank 2 loads late, and the folder of its traces."""
    cause = Cause("host", 0.2, place="rank", mechanism="input", ranks=(2,))
    job = make_job(5, cause=cause, recorder="kineto", pp=1, tp=1, dp=4, steps=6)
    return job, write_kineto(job, tmp_path_factory.mktemp("job"))


# The job, with what rank 2 does while it waits under another name, and nothing of it elsewhere.
def renamed(recorded, folder, name, category):
    job, traces = recorded
    for path in sorted(traces.iterdir()):
        document = json.loads(gzip.decompress(path.read_bytes()))
        late = document["distributedInfo"]["rank"] == 2
        events = [e for e in document["traceEvents"] if late or e["name"] != LOADS]
        for event in events:
            if event["name"] == LOADS:
                event["name"], event["cat"] = name, category
        document["traceEvents"] = events
        (folder / path.name).write_bytes(gzip.compress(json.dumps(document).encode()))
    return job


@pytest.mark.parametrize(
    ("name", "category", "waits_for", "said"),
    [
        ("save_checkpoint", "user_annotation", "checkpoint", "saving or loading a checkpoint"),
        (
            "torch/serialization.py(943): save",
            "python_function",
            "checkpoint",
            "saving or loading a checkpoint",
        ),
        ("<built-in function fsync>", "python_function", "storage", "reading or writing files"),
    ],
)
def test_lone_writer_is_the_verdict_and_what_it_writes_is_said(
    recorded, tmp_path, name, category, waits_for, said
):
    job = renamed(recorded, tmp_path, name, category)
    document = run_audit(tmp_path, brief=False, cache=False).document
    verdict = document["verdict"]
    assert (verdict["kind"], verdict["mechanism"], verdict["ranks"]) == ("host", "input", [2])
    assert verdict["waits_for"] == waits_for
    assert verdict["summary"].startswith(f"rank 2: {said}; without it")
    assert mechanism_name(verdict) == said
    planted_s = job.truth.step_s - job.truth.step_s_without
    assert verdict["gain_s"] == pytest.approx(planted_s, rel=0.15)


def test_a_late_loader_waits_for_input(recorded):
    _, traces = recorded
    document = run_audit(traces, brief=False, cache=False).document
    assert document["verdict"]["waits_for"] == "input"
    assert document["verdict"]["summary"].startswith("rank 2: waiting for input; without it")
    assert mechanism_name(document["verdict"]) == "data input"
