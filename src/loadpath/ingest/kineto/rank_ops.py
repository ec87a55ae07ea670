"""One trace to rows of the op table: lanes, kinds, steps, nesting."""

import re
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.ingest.kineto import kernels
from loadpath.ingest.kineto.columns import NO_TIME, ON_DEVICE, Columns
from loadpath.ingest.kineto.communications import Communication, collective_of, without_impossible
from loadpath.ingest.kineto.lanes import BACKEND, is_nccl, number_lanes
from loadpath.ingest.kineto.trace import Trace

__all__ = ["RankOps", "rank_ops"]

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

STEP_MARK = re.compile(r"ProfilerStep#([0-9]{1,15})$")
MAX_DURATION_NS = 10**16
MAX_TIME_NS = 1 << 62
END = pl.col("start_ns") + pl.col("duration_ns")
LOADER = re.compile(r"loader|next\(data|get_batch|fetch_batch", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RankOps:
    """Ops, lanes and steps of one rank.

    Attributes
    ----------
    op : polars.DataFrame
        Table `OP` without communicators; `parent` counts from this rank's first row.
    lane, step : polars.DataFrame
        Tables `LANE` and `STEP` of this rank.
    said : dict of int to Communication
        What ops say about communications, by row of `op`.
    doubts : tuple of (str, str, int)
        Code, text and count of everything dropped.
    """

    op: pl.DataFrame
    lane: pl.DataFrame
    step: pl.DataFrame
    said: dict[int, Communication]
    doubts: tuple[tuple[str, str, int], ...]


def rank_ops(trace: Trace) -> RankOps:
    """Turn one trace into ops.

    Parameters
    ----------
    trace : Trace
        Spans as recorded.

    Returns
    -------
    RankOps
        Ops sorted by lane, start, and longest first.
    """
    category = np.array(trace.categories, object)[trace.columns.category]
    number = _step_numbers(trace.names)[trace.columns.name]
    number[~np.isin(category, ("annotation", "cpu_op"))] = -1
    lane, lane_table = number_lanes(trace, category, number >= 0)
    row, doubts = _sound_rows(trace, lane)
    op = _table(trace, row, lane[row]).with_columns(
        kind=pl.Series(_kinds(trace, category, lane_table, lane)[row], dtype=pl.String),
        collective=pl.Series(_collectives(trace, category)[row], dtype=pl.String),
    )
    steps = _steps(
        trace.rank, op.select(step=pl.Series(number[row]), start_ns="start_ns", end_ns=END)
    )
    on_device = np.isin(category[row], ON_DEVICE)
    back = np.full(lane.size, -1, np.int64)
    back[row] = np.arange(row.size)
    facts = {i: without_impossible(fact) for i, fact in trace.columns.said.items()}
    n_impossible = sum(fact is not trace.columns.said[i] for i, fact in facts.items())
    impossible = f"{trace.path.name}: ranks, sizes or payloads that no job has are ignored"
    return RankOps(
        op=op.with_columns(step=pl.Series(_step_of(steps, op, on_device))),
        lane=lane_table,
        step=steps,
        said={int(back[i]): fact for i, fact in facts.items() if back[i] >= 0},
        doubts=(*doubts, _odd_marks(trace), ("impossible_group", impossible, n_impossible)),
    )


def _table(trace: Trace, row: Int64Array, lane: Int64Array) -> pl.DataFrame:
    """Columns that are copied, and nesting."""
    columns = trace.columns
    start, duration = columns.start_ns[row] + trace.base_ns, columns.duration_ns[row]
    return pl.DataFrame(
        {
            "rank": np.full(row.size, trace.rank, np.int32),
            "lane": lane.astype(np.int32),
            "name": pl.Series(trace.names, dtype=pl.String).gather(columns.name[row]),
            "start_ns": start,
            "duration_ns": duration,
            "bytes": columns.bytes[row],
            "correlation": columns.correlation[row],
            "parent": kernels.enclosing(lane, start, start + duration),
        }
    )


def _step_numbers(names: tuple[str, ...]) -> Int64Array:
    found = (STEP_MARK.match(name) for name in names)
    return np.array([int(match[1]) if match else -1 for match in found], np.int64)


def _odd_marks(trace: Trace) -> tuple[str, str, int]:
    odd = [
        name
        for name in trace.names
        if name.startswith("ProfilerStep#") and not STEP_MARK.match(name)
    ]
    return "odd_step_marks", f"{trace.path.name}: step marks whose number is unusable", len(odd)


def _kinds(
    trace: Trace, category: NDArray[np.object_], lanes: pl.DataFrame, lane: Int64Array
) -> NDArray[np.object_]:
    name = trace.columns.name
    named_input = np.array([bool(LOADER.search(text[:120])) for text in trace.names], np.bool_)
    optimises = np.array([text.startswith("Optimizer.") for text in trace.names], np.bool_)
    marks = _step_numbers(trace.names) >= 0
    annotation, kernel = category == "annotation", category == "kernel"
    called = annotation | (category == "cpu_op")
    talking = (lanes["kind"] == "communication").to_numpy()[lane] & annotation
    kind = np.full(name.size, "host", object)
    kind[annotation] = "marker"
    kind[annotation & optimises[name]] = "optimise"
    kind[called & named_input[name]] = "input"
    kind[called & marks[name]] = "marker"
    kind[np.isin(category, ("copy", "set"))] = "copy"
    kind[kernel] = "compute"
    kind[(kernel & is_nccl(trace.names)[name]) | talking] = "communicate"
    return kind


def _collectives(trace: Trace, category: NDArray[np.object_]) -> NDArray[np.object_]:
    """Name collectives, by the span or by what its arguments say."""
    nccl = is_nccl(trace.names)
    by_name = np.array(
        [
            collective_of(name) if nccl[i] or name.startswith((*BACKEND, "c10d::")) else ""
            for i, name in enumerate(trace.names)
        ],
        object,
    )
    collective = by_name[trace.columns.name]
    for row, fact in trace.columns.said.items():
        if fact.collective and category[row] != "runtime":
            collective[row] = fact.collective
    return collective


def _sound_rows(
    trace: Trace, lane: Int64Array
) -> tuple[Int64Array, tuple[tuple[str, str, int], ...]]:
    """Rows with sound times, sorted by lane, start and longest first."""
    columns: Columns = trace.columns
    no_time = (columns.start_ns == NO_TIME) | (columns.duration_ns == NO_TIME)
    start, duration = columns.start_ns.astype(np.float64), columns.duration_ns.astype(np.float64)
    latest = np.maximum(np.abs(start + trace.base_ns), start + trace.base_ns + duration)
    no_time |= (duration > MAX_DURATION_NS) | (latest > MAX_TIME_NS)
    negative = ~no_time & (columns.duration_ns < 0)
    sound = np.flatnonzero(~no_time & ~negative)
    order = np.lexsort((-columns.duration_ns[sound], columns.start_ns[sound], lane[sound]))
    name = trace.path.name
    doubts = (
        ("bad_times", f"{name}: events dropped, their times are no times", int(no_time.sum())),
        ("negative_durations", f"{name}: events dropped, they end too early", int(negative.sum())),
    )
    return sound[order], doubts


def _steps(rank: int, spans: pl.DataFrame) -> pl.DataFrame:
    """Take steps from marks; the whole trace is one step where it has none."""
    marks = spans.filter(pl.col("step") >= 0)
    if not marks.height:
        marks = spans.select(
            step=pl.lit(0, pl.Int64),
            start_ns=pl.col("start_ns").min(),
            end_ns=pl.col("end_ns").max(),
        ).head(int(spans.height > 0))
    first = marks.sort("start_ns").unique("step", keep="first", maintain_order=True)
    return first.select("step", pl.lit(rank).alias("rank"), "start_ns", "end_ns")


def _step_of(steps: pl.DataFrame, op: pl.DataFrame, on_device: BoolArray) -> Int64Array:
    """Step by start on the host; a device op belongs to the step of the call that launched it."""
    start, correlation = op["start_ns"].to_numpy(), op["correlation"].to_numpy()
    if not steps.height:
        return np.full(start.size, -1, np.int64)
    place = np.searchsorted(steps["start_ns"].to_numpy(), start, "right") - 1
    outside = (place < 0) | (start >= steps["end_ns"].to_numpy()[-1])
    step = np.where(outside, -1, steps["step"].to_numpy()[place])
    call = np.flatnonzero(~on_device & (correlation >= 0))
    launched = np.flatnonzero(on_device & (correlation >= 0))
    call = call[np.argsort(correlation[call], kind="stable")]
    if call.size and launched.size:
        found = np.searchsorted(correlation[call], correlation[launched])
        found = np.minimum(found, call.size - 1)
        same = correlation[call[found]] == correlation[launched]
        step[launched[same]] = step[call[found[same]]]
    return step
