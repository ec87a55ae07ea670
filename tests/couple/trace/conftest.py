import json

import pytest

from loadpath.couple.trace import couple_trace
from loadpath.ingest.kineto import read_kineto


def span(name, cat, ts, dur, tid=1, **args):
    """One complete event; times in us."""
    return {"ph": "X", "name": name, "cat": cat, "ts": ts, "dur": dur, "pid": 1, "tid": tid,
            "args": args}  # fmt: skip


def kernel(name, ts, dur, stream, correlation):
    return span(name, "kernel", ts, dur, stream, correlation=correlation, stream=stream, device=0)


def launch(ts, dur, correlation, name="cudaLaunchKernel"):
    return span(name, "cuda_runtime", ts, dur, correlation=correlation)


def all_reduce(ts, correlation, sequence, group="5", ranks="[0, 1]"):
    """Host side of an NCCL all-reduce that begins at `ts` and launches at `ts` + 20."""
    said = {"Collective name": "allreduce", "Process Group Name": group, "Group size": 2,
            "Process Group Ranks": ranks, "Seq": sequence, "In msg nelems": 8, "dtype": "Float"}  # fmt: skip
    return [
        span("c10d::allreduce_", "cpu_op", ts, 50),
        span("record_param_comms", "cpu_op", ts + 5, 40, **said),
        span("nccl:all_reduce", "user_annotation", ts + 10, 30),
        launch(ts + 20, 10, correlation, "cudaLaunchKernelExC"),
    ]


@pytest.fixture
def make():
    return {"span": span, "kernel": kernel, "launch": launch, "all_reduce": all_reduce}


@pytest.fixture
def couple(tmp_path):
    """Couple ranks given as lists of events, on hosts if they are named."""

    def couple_events(*ranks, hosts=()):
        for rank, events in enumerate(ranks):
            head = {"host_name": hosts[rank]} if hosts else {}
            (tmp_path / f"rank{rank}.json").write_text(json.dumps({**head, "traceEvents": events}))
        return couple_trace(read_kineto([tmp_path]))

    return couple_events
