"""Recording of a synthetic job as a folder of Kineto traces, one per rank."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from loadpath.errors import UsageError
from loadpath.testing.kineto_events import STREAMS, Tracer, members_of, rank_events
from loadpath.testing.op_table import write_hosts
from loadpath.testing.shape import Shape, host_of
from loadpath.testing.synthesis import SyntheticJob, recorded_ns

__all__ = ["kineto_trace", "write_kineto"]

BASE_NS = 1_790_857_026_000_000_000
"""Epoch time that all time stamps count from."""

BEGIN_NS = 4_487_401_000_000_000
"""Time stamp of the job's begin."""


def write_kineto(
    job: SyntheticJob, folder: str | Path, *, sync_events: bool = True, compress: bool = True
) -> Path:
    """Write one trace per rank, and ``hosts.csv`` beside them.

    Parameters
    ----------
    job : SyntheticJob
        A job made with ``recorder="kineto"``.
    folder : path
        Where to; made if absent.
    sync_events : bool
        Whether waits between streams are recorded on the device too (category ``cuda_sync``), as
        profilers of today can.
    compress : bool
        Write ``.json.gz`` instead of ``.json``.

    Returns
    -------
    pathlib.Path
        The folder ``traces`` in `folder`, which holds nothing else.
    """
    traces = Path(folder) / "traces"
    traces.mkdir(parents=True, exist_ok=True)
    write_hosts(job, Path(folder) / "hosts.csv")
    for rank in job.clock["rank"].to_list():
        text = msgspec.json.encode(kineto_trace(job, rank, sync_events=sync_events))
        path = traces / f"rank{rank}.json"
        if compress:
            # mtime=0 keeps equal jobs equal byte for byte.
            path.with_suffix(".json.gz").write_bytes(gzip.compress(text, 5, mtime=0))
        else:
            path.write_bytes(text)
    return traces


def kineto_trace(job: SyntheticJob, rank: int, *, sync_events: bool = True) -> dict[str, Any]:
    """Record one rank of a job.

    Parameters
    ----------
    job : SyntheticJob
        A job made with ``recorder="kineto"``.
    rank : int
        Which rank.
    sync_events : bool
        See `write_kineto`.

    Returns
    -------
    dict
        A Chrome trace as PyTorch's profiler writes it.

    Raises
    ------
    UsageError
        If the job was made for another recorder.
    """
    if job.shape.recorder != "kineto":
        raise UsageError("write_kineto needs a job made with recorder='kineto'.")
    start, end = recorded_ns(job)
    rows = job.op.with_row_index("id").with_columns(
        start_ns=pl.Series(start) + BEGIN_NS, end_ns=pl.Series(end) + BEGIN_NS
    )
    tracer = Tracer(job.shape, rank, 20_000 + rank, sync_events)
    events = rank_events(tracer, rows.filter(pl.col("rank") == rank).to_dicts())
    return {
        "schemaVersion": 1,
        "deviceProperties": [{"id": 0, "name": "NVIDIA H100 80GB HBM3", "numSms": 132}],
        "record_shapes": 0,
        "cupti_version": 26,
        "distributedInfo": _distributed_info(job.shape, rank, rows),
        "host_name": host_of(job.shape, rank),
        "displayTimeUnit": "ms",
        "baseTimeNanoseconds": BASE_NS,
        "traceEvents": [*_names(tracer), *events],
        "traceName": f"rank{rank}.json",
    }


def _distributed_info(shape: Shape, rank: int, rows: pl.DataFrame) -> dict[str, Any]:
    mine = rows.filter((pl.col("rank") == rank) & (pl.col("communicator") != ""))
    groups = ["world", *mine["communicator"].unique().sort().to_list()]
    config = [_group(shape, name) for name in dict.fromkeys(groups)]
    return {
        "backend": "nccl",
        "rank": rank,
        "world_size": shape.pp * shape.dp * shape.tp,
        "pg_count": len(config),
        "pg_config": config,
        "nccl_version": "2.27.5",
    }


def _group(shape: Shape, communicator: str) -> dict[str, Any]:
    name, description, members = members_of(shape, communicator)
    return {
        "pg_name": name,
        "pg_desc": description,
        "backend_config": "cuda:nccl",
        "pg_size": len(members),
        "ranks": members,
    }


def _names(tracer: Tracer) -> list[dict[str, Any]]:
    # Names of the process, the device and its streams.
    lanes: Sequence[tuple[int, int, str]] = [
        (tracer.process, tracer.process, f"thread {tracer.process} (python)"),
        *((0, stream, f"stream {stream} ") for stream in STREAMS.values()),
    ]
    named = [
        {"ph": "M", "name": "process_name", "pid": tracer.process, "tid": 0}
        | {"ts": BEGIN_NS / 1000, "args": {"name": "python"}},
        {"ph": "M", "name": "process_labels", "pid": 0, "tid": 0}
        | {"ts": BEGIN_NS / 1000, "args": {"labels": "GPU 0"}},
    ]
    return named + [
        {"ph": "M", "name": "thread_name", "pid": process, "tid": thread}
        | {"ts": BEGIN_NS / 1000, "args": {"name": name}}
        for process, thread, name in lanes
    ]
