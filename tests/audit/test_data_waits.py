"""A rank that alone writes checkpoints is the cause, although no peer does what it does."""

import gzip
import json

import pytest

from loadpath.audit import run_audit
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
    ("name", "category"),
    [
        ("save_checkpoint", "user_annotation"),
        ("torch/serialization.py(943): save", "python_function"),
        ("<built-in function fsync>", "python_function"),
    ],
)
def test_lone_writer_is_the_verdict_with_mechanism_input(recorded, tmp_path, name, category):
    job = renamed(recorded, tmp_path, name, category)
    verdict = run_audit(tmp_path, brief=False, cache=False).verdict
    assert (verdict["kind"], verdict["mechanism"], verdict["ranks"]) == ("host", "input", [2])
    planted_s = job.truth.step_s - job.truth.step_s_without
    assert verdict["gain_s"] == pytest.approx(planted_s, rel=0.15)
