"""Execution of a training job, and its recording as one Kineto trace per rank."""

import gzip
import json
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from held_out_jobs.machine import Loop, Thread
from held_out_jobs.plan import Plan, hosts_of
from held_out_jobs.rank_program import Cluster, Rank, Span, train

__all__ = ["execute", "makespan_s", "step_s", "write"]

EPOCH_NS = 1_764_000_000_000_000_000
BEGIN_NS = 2_311_904_000_000_000
START_NS = 50_000
BUFFER = 4096


def _draws(plan: Plan, rank: int) -> Any:
    rng = np.random.default_rng([plan.seed, 2, rank])
    for _ in count():
        yield from rng.normal(size=BUFFER).tolist()


def execute(plan: Plan, program: Any = train) -> list[Rank]:
    """Run a job; every rank returns with what it recorded, on the true clock."""
    cluster = Cluster(plan, Loop())
    ranks = []
    begin = np.random.default_rng([plan.seed, 1]).integers(0, START_NS, plan.n_rank)
    for rank in range(plan.n_rank):
        pauses = np.random.default_rng([plan.seed, 4, rank])
        made = Rank(cluster, rank, int(begin[rank]), 1, _draws(plan, rank), pauses)
        Thread(cluster.loop, made.now, program(made))
        ranks.append(made)
    cluster.loop.run()
    return ranks


def makespan_s(ranks: list[Rank]) -> float:
    """Earliest start to latest end of the whole job, in s; each rank ends on its host."""
    hosts = [span for rank in ranks for span in rank.spans if span.work is None]
    return (max(span.end for span in hosts) - min(span.start for span in hosts)) / 1e9


def step_s(ranks: list[Rank]) -> float:
    """Mean over steps of earliest start to latest end, in s; steps of ranks may overlap."""
    marks: dict[str, list[Span]] = {}
    for span in (span for rank in ranks for span in rank.spans):
        if span.name.startswith("ProfilerStep"):
            marks.setdefault(span.name, []).append(span)
    lengths = [max(s.end for s in of) - min(s.start for s in of) for of in marks.values()]
    return float(np.mean(lengths)) / 1e9


def write(plan: Plan, ranks: list[Rank], folder: Path, *, first_step: int = 0) -> Path:
    """Write the traces to ``folder/traces`` and the hosts to ``folder/hosts.csv``.

    Profilers start with `first_step`: of what ranks began before nothing is recorded.
    """
    traces = folder / "traces"
    traces.mkdir(parents=True)
    names = hosts_of(plan)
    lines = "".join(f"{rank},{host}\n" for rank, host in enumerate(names))
    (folder / "hosts.csv").write_text("rank,host\n" + lines, encoding="utf-8")
    for rank in ranks:
        text = json.dumps(_trace(plan, rank, first_step), separators=(",", ":"))
        path = traces / f"job_rank{rank.rank}.pt.trace.json.gz"
        path.write_bytes(gzip.compress(text.encode(), 1, mtime=0))
    return traces


def clock_of(plan: Plan, rank: int) -> tuple[int, float]:
    """Offset in ns and drift of a rank's clock; in every second job ranks of one host share one."""
    if not plan.skew:
        return 0, 0.0
    clock = rank // plan.per_host if plan.seed % 2 else rank
    rng = np.random.default_rng([plan.seed, 6, clock])
    return int(rng.uniform(-5e6, 5e6)), float(rng.uniform(-50e-6, 50e-6))


def _trace(plan: Plan, rank: Rank, first_step: int) -> dict[str, Any]:
    offset, drift = clock_of(plan, rank.rank)
    process = 4_000 + rank.rank
    marks = [span.start for span in rank.spans if span.name.startswith("ProfilerStep")]
    begin = marks[first_step] if first_step else 0
    events = [
        _event(span, process, offset, drift)
        for span in rank.spans
        if (plan.sync_events or span.category != "cuda_sync")
        and (span.work.start if span.work else span.start) >= begin
    ]
    return {
        "schemaVersion": 1,
        "deviceProperties": [{"id": 0, "name": "NVIDIA H100 80GB HBM3", "numSms": 132}],
        "distributedInfo": {"backend": "nccl", "rank": rank.rank, "world_size": plan.n_rank},
        "displayTimeUnit": "ms",
        "baseTimeNanoseconds": EPOCH_NS,
        "traceEvents": events,
        "traceName": f"./job_rank{rank.rank}.json",
    }


def _event(span: Span, process: int, offset: int, drift: float) -> dict[str, Any]:
    start, end = (span.work.start, span.work.end) if span.work else (span.start, span.end)
    begin = start + round(drift * start) + offset
    length = end - start + round(drift * (end - start))
    on_device = span.category in {"kernel", "gpu_memcpy", "cuda_sync"}
    return {
        "ph": "X", "cat": span.category, "name": span.name,
        "pid": span.args["device"] if on_device else process,
        "tid": span.lane if on_device else process + span.lane - 1,
        "ts": (BEGIN_NS + begin) / 1000, "dur": length / 1000, "args": span.args,
    }  # fmt: skip
