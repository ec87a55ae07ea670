import json

import pytest


def span(name, cat, ts, dur, tid=1, **args):
    """One complete event; times in us."""
    return {"ph": "X", "name": name, "cat": cat, "ts": ts, "dur": dur, "pid": 1, "tid": tid,
            "args": args}  # fmt: skip


@pytest.fixture
def event():
    return span


@pytest.fixture
def write(tmp_path):
    """Write a trace as Kineto lays it out; returns its path."""

    def write_trace(name, events, **head):
        path = tmp_path / name
        path.write_text(json.dumps({"schemaVersion": 1, **head, "traceEvents": events}, indent=2))
        return path

    return write_trace
