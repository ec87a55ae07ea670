"""Exports of all ranks to one recording."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.decode import collective_of, file_digest, first_block
from loadpath.decode.kinds import kind_of
from loadpath.decode.nesting import enclosing
from loadpath.errors import InputError
from loadpath.ingest.nsys.database import MAGIC, opened
from loadpath.ingest.nsys.events import CATEGORY, Events, Process, read_events
from loadpath.tables import COMMUNICATOR, LANE, OP, OP_KINDS, RANK, STEP, Recording, caveat_table

__all__ = ["is_nsys", "read_nsys"]

STEP_MARK = re.compile(
    r"(?:ProfilerStep#|(?:train(?:ing)?[ _])?(?:step|iter(?:ation)?|timestep)[ _#:=]*)([0-9]{1,15})$",
    re.IGNORECASE,
)
RANK_IN_NAME = re.compile(r"rank[-_]?(\d{1,6})", re.IGNORECASE)
LAST_NUMBER = re.compile(r"(\d{1,6})$")
MAX_TIME_NS = 1 << 61
HOST_CATEGORIES = 2
"""Of `CATEGORY`: calls and ranges run on hosts, the others on devices."""
SUFFIXES = (".gz", ".sqlite", ".sqlite3", ".db", ".nsys-rep")
REMEDY = "Name the files ..._rank_N.sqlite or ...N.sqlite, or say --ranks FILE=RANK."
Int64Array = NDArray[np.int64]
Doubt = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class _Process:
    """One process as a rank: where it was recorded, and its spans."""

    rank: int
    name: str
    events: Events
    span: pl.DataFrame


def is_nsys(path: Path) -> bool:
    """Tell an export of Nsight Systems by its first bytes: a SQLite database, gzipped or not.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    bool
        False too for a file that cannot be read: another reader says why.
    """
    head = first_block(path)
    return head.startswith(MAGIC)


def read_nsys(paths: Sequence[Path], ranks: Mapping[str, int] | None = None) -> Recording:
    """Read the exports of one job.

    Parameters
    ----------
    paths : sequence of Path
        Files for which `is_nsys` holds; each holds one process or several.
    ranks : mapping of str to int, optional
        Rank by name of a file that holds one process.

    Returns
    -------
    Recording
        Source ``nsys``: calls, ranges, kernels and copies of all ranks, in ns of one epoch.

    Raises
    ------
    InputError
        If a file is damaged or holds no call, or ranks cannot be told or are there twice.
    """
    doubts: list[Doubt] = []
    processes: list[_Process] = []
    for path in sorted(paths):
        with opened(path) as database:
            events = read_events(database)
        processes += _ranked(path, events, ranks or {}, doubts, alone=len(paths) == 1)
    processes = _timed(processes, doubts)
    _refuse_twice(processes)
    processes.sort(key=lambda one: one.rank)
    lanes = [_lanes(one) for one in processes]
    tables = [_ops(one, lane, doubts) for one, lane in zip(processes, lanes, strict=True)]
    first = np.cumsum([0, *(op.height for op, _ in tables)])
    shifted = [
        op.with_columns(parent=pl.when(pl.col("parent") >= 0).then(pl.col("parent") + int(n)).otherwise(-1))
        for (op, _), n in zip(tables, first, strict=False)
    ]  # fmt: skip
    unmarked = sum(int(steps["step"].max() == 0 and steps.height == 1) for _, steps in tables)
    doubts.append(("no_step_marks", "ranks without ranges that mark steps: each is taken as one step", unmarked))  # fmt: skip
    return Recording(
        source="nsys",
        op=OP.build(pl.concat(shifted)),
        lane=LANE.build(pl.concat(lane.select(*LANE.schema) for lane in lanes)),
        communicator=COMMUNICATOR.empty(),
        rank=RANK.build({
            "rank": [one.rank for one in processes],
            "host": [one.events.host for one in processes],
            "device": [one.events.device for one in processes],
        }),
        step=STEP.build(pl.concat(steps for _, steps in tables)),
        caveat=caveat_table(doubts),
        inputs=tuple(file_digest(path) for path in sorted(paths)),
    )  # fmt: skip


def _ranked(
    path: Path, events: Events, told: Mapping[str, int], doubts: list[Doubt], *, alone: bool
) -> list[_Process]:
    """Give ranks to the processes of a file that used a device, or to all where none did."""
    mpi = "calls of MPI: host time, who waits for whom in them is not known"
    doubts.append(("mpi_unmatched", f"{path.name}: {mpi}", events.n_mpi))
    lacking = f"{path.name}: the export lacks tables: {', '.join(events.absent)} (nsys profile -t cuda,nvtx)"
    doubts.append(("tables_absent", lacking, len(events.absent)))
    on_device = set(events.span.filter(pl.col("thread") < 0)["pid"])
    used = [one for one in events.process if one.pid in on_device] or list(events.process)
    if not used:
        raise InputError(path.name, "no calls, kernels or ranges", "Trace cuda and nvtx.")
    unknown = [one for one in used if one.rank < 0]
    if len(used) == 1:
        rank = told.get(path.name, used[0].rank)
        rank = rank if rank >= 0 else _rank_in_name(path)
        ranks = [0 if rank < 0 and alone else rank]
    elif unknown:
        text = f"{path.name}: processes without a rank of MPI, numbered by their order"
        doubts.append(("ranks_numbered", text, len(unknown)))
        ranks = list(range(len(used)))
    else:
        ranks = [one.rank for one in used]
    if min(ranks) < 0:
        raise InputError(path.name, "no rank in the export nor in the name", REMEDY)
    return [
        _Process(rank, path.name, events, _sound(path, one, events, doubts))
        for rank, one in zip(ranks, used, strict=True)
    ]


def _timed(processes: Sequence[_Process], doubts: list[Doubt]) -> list[_Process]:
    """Leave out processes without an event of sound times."""
    empty = ", ".join(one.name for one in processes if not one.span.height)
    timed = [one for one in processes if one.span.height]
    if not timed:
        raise InputError(empty, "no event has sound times", "Export the report again.")
    text = f"processes without an event of sound times, left out: {empty}"
    doubts.append(("no_sound_times", text, len(processes) - len(timed)))
    return timed


def _rank_in_name(path: Path) -> int:
    stem = path.name
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    found = RANK_IN_NAME.findall(stem) or LAST_NUMBER.findall(stem)
    return int(found[-1]) if found else -1


def _refuse_twice(processes: Sequence[_Process]) -> None:
    held: dict[int, str] = {}
    problems = []
    for one in processes:
        if one.rank in held:
            problems.append(f"rank {one.rank} is in {held[one.rank]} and in {one.name}")
        held.setdefault(one.rank, one.name)
    if problems:
        raise InputError("exports", problems, "Keep one export per rank, or say --ranks.")


def _sound(path: Path, process: Process, events: Events, doubts: list[Doubt]) -> pl.DataFrame:
    """Spans of a process with sound times, on the epoch."""
    own = events.span.filter(pl.col("pid") == process.pid)
    sane = pl.col("start").abs().lt(MAX_TIME_NS) & pl.col("end").abs().lt(MAX_TIME_NS)
    kept = own.filter(sane & (pl.col("end") >= pl.col("start")))
    text = f"{path.name}: events dropped, their times are no times or they end before they begin"
    doubts.append(("bad_times", text, own.height - kept.height))
    return kept.with_columns(
        (pl.col("start") + events.epoch_ns).alias("start"),
        (pl.col("end") + events.epoch_ns).alias("end"),
    )


def _lanes(one: _Process) -> pl.DataFrame:
    """Give numbers to threads (the one with step marks, then the earliest, first), then streams."""
    keyed = one.span.with_columns(
        marks=(pl.col("category") == 1)
        & pl.col("name").str.contains(f"(?i)^(?:{STEP_MARK.pattern})"),
        talks=pl.col("name").str.to_lowercase().str.contains("nccl") & (pl.col("category") == 2),
    )
    place = ["thread", "device", "stream"]
    order = keyed.group_by(place).agg(
        pl.col("marks").any(), pl.col("start").min(), talks=pl.col("talks").all()
    ).sort(pl.col("thread") < 0, ~pl.col("marks"), "device", "stream", "start")  # fmt: skip
    stream = pl.format("device {} stream {}", "device", "stream")
    on_device = pl.col("thread") < 0
    return order.with_columns(
        rank=pl.lit(one.rank, pl.Int32),
        lane=pl.int_range(pl.len(), dtype=pl.Int32),
        kind=pl.when(~on_device)
        .then(pl.lit("host"))
        .when("talks")
        .then(pl.lit("communication"))
        .otherwise(pl.lit("device"))
        .cast(LANE.schema["kind"]),
        name=pl.when(on_device).then(stream).otherwise(pl.format("thread {}", "thread")),
    )


def _ops(
    one: _Process, lanes: pl.DataFrame, doubts: list[Doubt]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Spans of a process as ops, and its steps."""
    place = ["thread", "device", "stream"]
    span = one.span.join(lanes.select(*place, "lane"), on=place, how="left", maintain_order="left")
    span = span.with_columns(duration=pl.col("end") - pl.col("start"))
    span = span.sort("lane", "start", pl.col("duration").neg(), maintain_order=True)
    lane, start, end = (span[name].to_numpy() for name in ("lane", "start", "end"))
    kind, collective = _kinds(span)
    steps = _steps(span)
    op = span.select(
        "lane", "name", "correlation", "bytes",
        rank=pl.lit(one.rank, pl.Int32),
        step=pl.Series(_step_of(span, steps)),
        kind=pl.Series(kind).cast(OP.schema["kind"]),
        start_ns="start",
        duration_ns="duration",
        collective=pl.Series(collective),
        parent=pl.Series(enclosing(lane, start, end)),
    )  # fmt: skip
    odd = [
        text
        for text in set(span["name"])
        if text.startswith("ProfilerStep#") and not STEP_MARK.match(text)
    ]
    doubts.append(("odd_step_marks", f"{one.name}: step marks whose number is unusable", len(odd)))
    return op, steps.with_columns(rank=pl.lit(one.rank, pl.Int32)).select(*STEP.schema)


def _kinds(span: pl.DataFrame) -> tuple[list[str], list[str]]:
    """Kind and collective of each span, by category and name."""
    pairs = span.select("category", "name").unique(maintain_order=True)
    told: dict[tuple[int, str], tuple[str, str]] = {}
    for category, name in pairs.iter_rows():
        nccl = category == CATEGORY.index("kernel") and "nccl" in name[:80].lower()
        kind = "communicate" if nccl else kind_of(_known(name), CATEGORY[category])
        kind = "host" if name.startswith("MPI_") else kind
        told[category, name] = (
            kind if kind in OP_KINDS else "host",
            collective_of(name) if nccl else "",
        )
    kinds, collectives = [], []
    for key in zip(span["category"], span["name"], strict=True):
        kinds.append(told[key][0])
        collectives.append(told[key][1])
    return kinds, collectives


def _known(name: str) -> str:
    """Say a mark of any spelling as the one that kinds know."""
    found = STEP_MARK.match(name)
    return f"ProfilerStep#{found[1]}" if found else name


def _steps(span: pl.DataFrame) -> pl.DataFrame:
    """Take steps from ranges that mark them; all is one step where there are none."""
    ranges = span.filter(pl.col("category") == 1).select("name", "start", "end")
    marks = [
        (int(found[1]), start, end)
        for name, start, end in ranges.iter_rows()
        if (found := STEP_MARK.match(name))
    ]
    if not marks:
        whole = span.select(pl.col("start").min(), pl.col("end").max()).row(0)
        marks = [(0, *whole)]
    table = pl.DataFrame(
        marks, {"step": pl.Int64, "start_ns": pl.Int64, "end_ns": pl.Int64}, orient="row"
    )
    return table.sort("start_ns").unique("step", keep="first", maintain_order=True)


def _step_of(span: pl.DataFrame, steps: pl.DataFrame) -> Int64Array:
    """Step by start on the host; a device op belongs to the step of the call that launched it."""
    number, begin, end = (steps[name].to_numpy() for name in ("step", "start_ns", "end_ns"))
    start = span["start"].to_numpy()
    place = np.searchsorted(begin, start, "right") - 1
    step = np.where((place < 0) | (start >= end[-1]), -1, number[place])
    called = span.with_columns(pl.Series("own", step))
    on_host = pl.col("category") < HOST_CATEGORIES
    calls = called.filter(on_host & (pl.col("correlation") >= 0)).unique(
        "correlation", keep="first"
    )
    joined = called.join(
        calls.select("correlation", launched="own"),
        on="correlation",
        how="left",
        maintain_order="left",
    )
    return joined.select(
        pl.when(~on_host & pl.col("launched").is_not_null()).then("launched").otherwise("own")
    ).to_series().to_numpy()  # fmt: skip
