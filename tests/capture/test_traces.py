"""What processes wrote for an agent: whole or not, with something in it or nothing."""

import json
import time

import pytest

from loadpath.capture.traces import collect_traces, holds_events
from loadpath.errors import UsageError

NAMES = {"ph": "M", "name": "process_name", "ts": 1.5, "pid": 7, "args": {"name": "python"}}
SPAN = {"ph": "X", "cat": "Trace", "ts": 1, "dur": 9, "name": "PyTorch Profiler (0)"}
OP = {"ph": "X", "cat": "cpu_op", "ts": 2, "dur": 1, "name": "aten::mm"}


def written(folder, pid, *events):
    path = folder / f"trace_{pid}.json"
    path.write_text(json.dumps({"traceEvents": list(events)}, indent=2))
    return path


@pytest.mark.parametrize(
    ("events", "held"), [([NAMES], False), ([NAMES, SPAN], False), ([NAMES, SPAN, OP], True)]
)
def test_marks_of_the_profiler_are_no_events_of_the_job(events, held, tmp_path):
    assert holds_events(written(tmp_path, 7, *events)) is held


def test_an_empty_window_is_no_success_and_the_other_ranks_are_kept(tmp_path):
    out = tmp_path / "window"
    out.mkdir()
    written(tmp_path, 70, NAMES, OP)
    written(tmp_path, 71, NAMES, SPAN)
    with pytest.raises(UsageError, match=r"nothing happened on processes 71 \(rank 1\)") as told:
        collect_traces(tmp_path, out, {70: 0, 71: 1}, time.time() + 5)
    assert "The traces of the other 1 are there" in str(told.value)
    assert [path.name for path in out.iterdir()] == ["rank0.json.gz"]


def test_a_window_that_is_empty_on_all_ranks_leaves_no_folder(tmp_path):
    out = tmp_path / "window"
    out.mkdir()
    for pid in (70, 71):
        written(tmp_path, pid, NAMES)
    with pytest.raises(UsageError, match=r"70 \(rank 0\), 71 \(rank 1\) in the window") as told:
        collect_traces(tmp_path, out, {70: 0, 71: 1}, time.time() + 5)
    assert "other" not in str(told.value)
    assert not out.exists()


def test_what_is_not_written_and_what_is_empty_is_said_at_once(tmp_path):
    out = tmp_path / "window"
    out.mkdir()
    written(tmp_path, 70, NAMES)
    (tmp_path / "trace_71.json").write_text('{"traceEvents": [')
    with pytest.raises(UsageError, match=r"no whole trace .* 71 \(rank 1\).*nothing happened .*70"):
        collect_traces(tmp_path, out, {70: 0, 71: 1}, time.time() + 1)
