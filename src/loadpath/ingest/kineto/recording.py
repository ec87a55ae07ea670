"""Kineto traces of all ranks to one recording."""

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from loadpath.errors import InputError
from loadpath.ingest.kineto.groups import describe_groups, map_groups
from loadpath.ingest.kineto.op_columns import build_ops, op_columns
from loadpath.ingest.kineto.parsed import Parsed, parse_file
from loadpath.ingest.kineto.rank_ops import RankOps
from loadpath.ingest.kineto.ranks import own_rank, rank_in_name, rank_of
from loadpath.tables import (
    LANE,
    RANK,
    STEP,
    SYNCHRONISATION,
    Recording,
    caveat_table,
)

__all__ = ["read_kineto"]

SUFFIXES = (".json", ".json.gz")
MOST_THREADS = 16
"""Files read at a time: each holds one trace in memory."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Traced:
    """One rank's file."""

    rank: int
    name: str
    digest: tuple[str, str, int]
    ops: RankOps


def read_kineto(
    paths: Sequence[Path],
    progress: Progress | None = None,
    *,
    ranks: Mapping[str, int] | None = None,
    shelf: Path | None = None,
) -> Recording:
    """Read the Kineto traces of one job, one file per rank.

    Parameters
    ----------
    paths : sequence of Path
        Files, or folders whose ``.json`` and ``.json.gz`` files are read. Files that hold no trace
        events (execution traces, flight-recorder dumps, logs) are skipped with a caveat.
    progress : callable of (int, int), optional
        Told the number of files done and in all.
    ranks : mapping of str to int, optional
        Rank by name of a file, where the traces do not say it or say it wrongly.
    shelf : Path, optional
        Folder in which parsed traces are kept for the next time.

    Returns
    -------
    Recording
        Tables of all ranks, ordered by rank; times in ns of one epoch. The same at any number of
        threads, and with or without a shelf.

    Raises
    ------
    InputError
        If there is no trace at all, a file is damaged beyond use or names no rank, two files
        hold the same rank, or `ranks` names a file that is not there.
    """
    files = _files(paths)
    _refuse_unknown(files, ranks or {})
    parsed = _parse_all(files, progress, shelf)
    traces = _by_rank(parsed, ranks or {})
    said = {trace.rank: [trace.ops.said[row] for row in sorted(trace.ops.said)] for trace in traces}
    groups = map_groups(said)
    doubts = _doubts(traces, [one.path for one in parsed if one.ops is None])
    lane, step = _lanes(traces), _steps(traces)
    rank, synchronisation = _ranks(traces), _synchronisations(traces)
    communicator = describe_groups(groups, {t.rank: t.ops.groups for t in traces})
    digests = tuple(trace.digest for trace in traces)
    columns = op_columns({trace.rank: trace.ops for trace in traces}, groups)
    del parsed, traces
    return Recording(
        source="kineto",
        op=build_ops(columns),
        lane=lane,
        communicator=communicator,
        rank=rank,
        step=step,
        caveat=caveat_table(doubts),
        inputs=digests,
        synchronisation=synchronisation,
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


def _refuse_unknown(files: list[Path], ranks: Mapping[str, int]) -> None:
    problems = [f"no file {name!r}" for name in sorted(set(ranks) - {path.name for path in files})]
    if problems:
        raise InputError("--ranks", problems, "Name files as they are in the folder.")


def _parse_all(files: list[Path], progress: Progress | None, shelf: Path | None) -> list[Parsed]:
    """Parse files side by side: decompression and scan run outside the interpreter's lock."""
    n_thread = max(1, min(len(files) - 1, os.cpu_count() or 1, MOST_THREADS))
    parsed = []
    with ThreadPoolExecutor(n_thread) as pool:
        waiting = [pool.submit(parse_file, path, shelf) for path in files[1:]]
        # the first is read here: a single trace needs less memory than in a thread of its own
        try:
            for i in range(len(files)):
                parsed.append(waiting[i - 1].result() if i else parse_file(files[0], shelf))
                if progress is not None:
                    progress(i + 1, len(files))
        finally:
            pool.shutdown(cancel_futures=True)
    if not any(one.ops for one in parsed):
        where = str(files[0] if len(files) == 1 else files[0].parent)
        raise InputError(
            where,
            "no Kineto trace (JSON with traceEvents) among the files",
            "Give the traces that torch.profiler exported, one per rank.",
        )
    return parsed


def _by_rank(parsed: list[Parsed], told: Mapping[str, int]) -> list[_Traced]:
    found: dict[int, Parsed] = {}
    problems = []
    for one in parsed:
        if one.ops is None:
            continue
        rank = rank_of(one, one.ops, told)
        if rank in found:
            both = found[rank].path, one.path
            names = {path.name for path in both}
            first, second = (path.name if len(names) == 2 else path for path in both)
            problems.append(f"rank {rank} is in {first} and in {second}")
        found.setdefault(rank, one)
    if problems:
        raise InputError(str(parsed[0].path.parent), problems, "Keep one trace per rank.")
    _refuse_exchanged(found, told)
    return [
        _Traced(rank, one.path.name, one.digest, one.ops)
        for rank, one in sorted(found.items())
        if one.ops is not None
    ]


def _refuse_exchanged(found: Mapping[int, Parsed], told: Mapping[str, int]) -> None:
    """Refuse files whose names hold the ranks of the traces, but in another order."""
    named = {one.path.name: rank_in_name(one.path) for one in found.values()}
    problems = [
        f"{one.path.name} holds rank {rank}"
        for rank, one in sorted(found.items())
        if named[one.path.name] != rank and one.path.name not in told
    ]
    if problems and sorted(named.values()) == sorted(found):
        where = str(next(iter(found.values())).path.parent)
        remedy = "Let name and distributedInfo of each trace agree, or say --ranks FILE=RANK."
        raise InputError(where, problems, remedy)


def _lanes(traces: list[_Traced]) -> pl.DataFrame:
    rows = [
        (trace.rank, lane, kind, name)
        for trace in traces
        for lane, (kind, name) in enumerate(trace.ops.lanes)
    ]
    return LANE.validate(pl.DataFrame(rows, schema=LANE.schema, orient="row"))


def _steps(traces: list[_Traced]) -> pl.DataFrame:
    steps = np.concatenate([trace.ops.steps for trace in traces])
    rank = np.repeat([trace.rank for trace in traces], [t.ops.steps.shape[0] for t in traces])
    columns = {"step": steps[:, 0], "rank": rank, "start_ns": steps[:, 1], "end_ns": steps[:, 2]}
    return STEP.build(columns)


def _synchronisations(traces: list[_Traced]) -> pl.DataFrame:
    rows = [
        (trace.rank, fact.kind, fact.correlation, lane, source, fact.record, fact.event, start, ns)
        for trace in traces
        for fact, lane, source, start, ns in trace.ops.asked
    ]
    schema = SYNCHRONISATION.schema
    return SYNCHRONISATION.validate(pl.DataFrame(rows, schema=schema, orient="row"))


def _ranks(traces: list[_Traced]) -> pl.DataFrame:
    return RANK.build(
        {
            "rank": [trace.rank for trace in traces],
            "host": [trace.ops.host for trace in traces],
            "device": [trace.ops.device for trace in traces],
        }
    )


def _doubts(traces: list[_Traced], skipped: list[Path]) -> list[tuple[str, str, int]]:
    unmarked = sum(not t.ops.is_marked for t in traces)
    sizes = {trace.ops.world_size for trace in traces if trace.ops.world_size >= 0}
    epochs = {trace.ops.base_ns > 0 for trace in traces}
    unread = _listed(path.name for path in skipped)
    jobs = f"traces name different world sizes ({sorted(sizes)}): they are of different jobs; give those of one"
    return [
        *((code, f"{t.name}: {text}", n) for t in traces for code, text, n in t.ops.doubts),
        ("no_step_marks", "traces without step marks (ProfilerStep#N): each is taken as one step", unmarked),
        ("not_kineto", f"files without trace events, skipped: {unread}", len(skipped)),
        *_rank_doubts(traces),
        ("different_jobs", jobs, max(0, len(sizes) - 1)),
        ("no_common_epoch", "some traces have baseTimeNanoseconds, others not", len(epochs) - 1),
    ]  # fmt: skip


def _rank_doubts(traces: list[_Traced]) -> list[tuple[str, str, int]]:
    """Say which ranks were not recorded, and which traces say another rank than they stand for."""
    size = max(trace.ops.world_size for trace in traces)
    missing = sorted(set(range(size)) - {trace.rank for trace in traces})
    lacking = f"of {size} ranks no trace of: {_listed(missing, 8)}; waits for them are unexplained"
    told = [
        f"{t.name} says {t.ops.rank}, told {t.rank}" for t in traces if 0 <= t.ops.rank != t.rank
    ]
    own = {t.name: own_rank(t.ops) for t in traces}
    wrong = [
        f"{t.name}: {own[t.name]}, not {t.rank}" for t in traces if own[t.name] not in {-1, t.rank}
    ]
    misnamed = (
        f"communications name another rank as their own than that of their trace ({_listed(wrong)}): "
        "conclusions across ranks are refused; give each trace under its own rank"
    )
    return [
        ("missing_ranks", lacking, len(missing)),
        ("told_otherwise", f"ranks told by --ranks contradict distributedInfo: {_listed(told)}", len(told)),
        ("wrong_ranks", misnamed, len(wrong)),
    ]  # fmt: skip


def _listed(items: Iterable[object], most: int = 3) -> str:
    """List the first few."""
    first = [str(item) for item in itertools.islice(items, most + 1)]
    return ", ".join([*first[:most], *(["..."] if len(first) > most else [])])
