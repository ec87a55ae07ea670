"""Kineto traces of all ranks to one recording."""

import itertools
import operator
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from loadpath.errors import InputError
from loadpath.ingest.kineto.groups import Groups, map_groups
from loadpath.ingest.kineto.rank_ops import RankOps, rank_ops
from loadpath.ingest.kineto.trace import Trace, read_trace
from loadpath.tables import LANE, OP, RANK, STEP, Recording, caveat_table

__all__ = ["read_kineto"]

SUFFIXES = (".json", ".json.gz")
Progress = Callable[[int, int], None]


def read_kineto(paths: Sequence[Path], progress: Progress | None = None) -> Recording:
    """Read the Kineto traces of one job, one file per rank.

    Parameters
    ----------
    paths : sequence of Path
        Files, or folders whose ``.json`` and ``.json.gz`` files are read. Files that hold no trace
        events (execution traces, flight-recorder dumps, logs) are skipped with a caveat.
    progress : callable of (int, int), optional
        Told the number of files done and in all.

    Returns
    -------
    Recording
        Tables of all ranks, ordered by rank; times in ns of one epoch.

    Raises
    ------
    InputError
        If there is no trace at all, a file is damaged beyond use or names no rank, or two files
        hold the same rank.
    """
    files = _files(paths)
    traces, skipped = _read_all(files, progress)
    traces.sort(key=operator.attrgetter("rank"))
    _refuse_twice(traces)
    ranks = [rank_ops(trace) for trace in traces]
    groups = map_groups(
        {
            trace.rank: [ops.said[row] for row in sorted(ops.said)]
            for trace, ops in zip(traces, ranks, strict=True)
        }
    )
    return Recording(
        source="kineto",
        op=_ops(traces, ranks, groups),
        lane=LANE.build(pl.concat(ops.lane for ops in ranks)),
        communicator=groups.communicator,
        rank=_ranks(traces),
        step=STEP.build(pl.concat(ops.step for ops in ranks)),
        caveat=caveat_table(_doubts(traces, ranks, skipped)),
        inputs=tuple(trace.digest for trace in traces),
    )


def _files(paths: Sequence[Path]) -> list[Path]:
    files = []
    for path in paths:
        if path.is_dir():
            named = (p for p in path.iterdir() if p.name.lower().endswith(SUFFIXES))
            files += sorted(p for p in named if not p.is_dir())
        else:
            files.append(path)
    if not files:
        where = ", ".join(map(str, paths)) or "no path"
        raise InputError(
            where, "no .json or .json.gz file", "Give the folder that holds one trace per rank."
        )
    return files


def _read_all(files: list[Path], progress: Progress | None) -> tuple[list[Trace], list[Path]]:
    traces, skipped = [], []
    for i, path in enumerate(files):
        trace = read_trace(path)
        if trace is None:
            skipped.append(path)
        else:
            traces.append(trace)
        if progress is not None:
            progress(i + 1, len(files))
    if not traces:
        where = str(files[0] if len(files) == 1 else files[0].parent)
        raise InputError(
            where,
            "no Kineto trace (JSON with traceEvents) among the files",
            "Give the traces that torch.profiler exported, one per rank.",
        )
    return traces, skipped


def _refuse_twice(traces: list[Trace]) -> None:
    problems = [
        f"rank {one.rank} is in {one.path.name} and in {other.path.name}"
        for one, other in itertools.pairwise(traces)
        if one.rank == other.rank
    ]
    if problems:
        raise InputError(str(traces[0].path.parent), problems, "Keep one trace per rank.")


def _ops(traces: list[Trace], ranks: list[RankOps], groups: Groups) -> pl.DataFrame:
    first = np.cumsum([0, *(ops.op.height for ops in ranks)])
    frames = []
    for i, (trace, ops) in enumerate(zip(traces, ranks, strict=True)):
        parent = ops.op["parent"].to_numpy()
        frames.append(
            ops.op.with_columns(
                *_said_columns(ops, trace.rank, groups),
                parent=pl.Series(np.where(parent >= 0, parent + first[i], -1)),
            )
        )
    return OP.build(pl.concat(frames))


def _said_columns(ops: RankOps, rank: int, groups: Groups) -> list[pl.Series]:
    n = ops.op.height
    columns = {
        "sequence": np.full(n, -1, np.int64),
        "communicator": np.full(n, -1, np.int64),
        "peer": np.full(n, -1, np.int64),
        "bytes": ops.op["bytes"].to_numpy().copy(),
    }
    for row, fact in ops.said.items():
        columns["sequence"][row] = fact.sequence
        columns["communicator"][row] = groups.number.get((rank, fact.group), -1)
        columns["peer"][row] = fact.peer
        columns["bytes"][row] = max(fact.bytes, columns["bytes"][row])
    return [pl.Series(name, values) for name, values in columns.items()]


def _ranks(traces: list[Trace]) -> pl.DataFrame:
    return RANK.build(
        {
            "rank": [trace.rank for trace in traces],
            "host": [trace.host for trace in traces],
            "device": [trace.device for trace in traces],
        }
    )


def _doubts(
    traces: list[Trace], ranks: list[RankOps], skipped: list[Path]
) -> list[tuple[str, str, int]]:
    rows = [row for trace in traces for row in trace.doubts]
    rows += [row for ops in ranks for row in ops.doubts]
    named = ", ".join(path.name for path in skipped[:3]) + (", ..." if len(skipped) > 3 else "")
    rows.append(("not_kineto", f"files without trace events, skipped: {named}", len(skipped)))
    size = max(trace.world_size for trace in traces)
    missing = sorted(set(range(size)) - {trace.rank for trace in traces})
    listed = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
    rows.append(
        ("missing_ranks", f"of {size} ranks no trace of: {listed}; waits for them are unexplained",
         len(missing))
    )  # fmt: skip
    sizes = {trace.world_size for trace in traces if trace.world_size >= 0}
    rows.append(("different_jobs", f"traces name different world sizes: {sorted(sizes)}",
                 max(0, len(sizes) - 1)))  # fmt: skip
    epochs = {trace.base_ns > 0 for trace in traces}
    rows.append(("no_common_epoch", "some traces have baseTimeNanoseconds, others not",
                 len(epochs) - 1))  # fmt: skip
    return rows
