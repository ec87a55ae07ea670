"""One trace to rows of the op table: lanes, kinds, steps, nesting."""

import re
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.ingest.kineto import kernels
from loadpath.ingest.kineto.columns import NO_TIME, ON_DEVICE, Columns
from loadpath.ingest.kineto.communications import Communication, collective_of
from loadpath.ingest.kineto.trace import Trace

__all__ = ["RankOps", "rank_ops"]

Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

STEP_MARK = re.compile(r"ProfilerStep#(\d+)$")
LOADER = re.compile(r"loader|next\(data|get_batch|fetch_batch", re.IGNORECASE)
BACKEND = ("gloo:", "mpi:", "ucc:")


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
    columns = trace.columns
    names = np.array(trace.names, object)
    category = np.array(trace.categories, object)[columns.category]
    step_number = _step_numbers(trace.names)[columns.name]
    is_mark = (step_number >= 0) & np.isin(category, ("annotation", "cpu_op"))
    lane, lane_table = _lanes(trace, category, is_mark)
    row, doubts = _sound_rows(trace, lane)
    op = pl.DataFrame(
        {
            "lane": lane[row].astype(np.int32),
            "name": pl.Series(names, dtype=pl.String).gather(columns.name[row]),
            "start_ns": columns.start_ns[row] + trace.base_ns,
            "duration_ns": columns.duration_ns[row],
            "bytes": columns.bytes[row],
            "correlation": columns.correlation[row],
        }
    )
    back = np.full(lane.size, -1, np.int64)
    back[row] = np.arange(row.size)
    said = {int(back[i]): fact for i, fact in columns.said.items() if back[i] >= 0}
    start = op["start_ns"].to_numpy()
    end = start + op["duration_ns"].to_numpy()
    steps = _steps(trace.rank, step_number[row], is_mark[row], start, end)
    on_device = np.isin(category[row], ON_DEVICE)
    return RankOps(
        op=op.with_columns(
            rank=pl.lit(trace.rank, pl.Int32),
            kind=pl.Series(_kinds(trace, category, is_mark, lane_table, lane)[row]),
            collective=pl.Series(_collectives(trace, category)[row]),
            step=pl.Series(_step_of(steps, start, op["correlation"].to_numpy(), on_device)),
            parent=pl.Series(kernels.enclosing(lane[row], start, end)),
        ),
        lane=lane_table,
        step=steps,
        said=said,
        doubts=doubts,
    )


def _step_numbers(names: tuple[str, ...]) -> Int64Array:
    found = (STEP_MARK.match(name) for name in names)
    return np.array([int(match[1]) if match else -1 for match in found], np.int64)


def _lanes(
    trace: Trace, category: NDArray[np.object_], is_mark: BoolArray
) -> tuple[Int64Array, pl.DataFrame]:
    """Number lanes: host threads (the one with step marks first), then device streams."""
    columns = trace.columns
    keys = [(on_device, str(a), str(b)) for on_device, a, b in trace.lanes]
    lane_of = np.array([keys.index(key) for key in keys], np.int64)[columns.lane]
    n = len(keys)
    has_mark = np.bincount(lane_of[is_mark], minlength=n) > 0
    first = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(first, lane_of, columns.start_ns)
    used = np.flatnonzero(np.bincount(lane_of, minlength=n))
    order = sorted(
        used.tolist(),
        key=lambda k: (
            keys[k][0],
            not has_mark[k],
            (_natural(keys[k][1]), _natural(keys[k][2])) if keys[k][0] else ((0, int(first[k])),),
        ),
    )
    number = np.full(n, -1, np.int64)
    number[order] = np.arange(len(order))
    talks = np.isin(columns.name, _starting(trace.names, BACKEND)) & (category == "annotation")
    n_talk = np.bincount(lane_of[talks], minlength=n)
    silent = _communicating_streams(trace, category, lane_of, n)
    table = pl.DataFrame(
        {
            "rank": [trace.rank] * len(order),
            "lane": list(range(len(order))),
            "kind": [
                ("communication" if silent[k] else "device")
                if keys[k][0]
                else ("communication" if n_talk[k] and not has_mark[k] else "host")
                for k in order
            ],
            "name": [_lane_name(trace, keys[k]) for k in order],
        }
    )
    return number[lane_of], table


def _communicating_streams(
    trace: Trace, category: NDArray[np.object_], lane_of: Int64Array, n: int
) -> BoolArray:
    """Streams that run nothing but communication kernels."""
    talks = _is_nccl(trace.names)[trace.columns.name] & (category == "kernel")
    return np.bincount(lane_of, minlength=n) == np.bincount(lane_of[talks], minlength=n)


def _natural(text: str) -> tuple[int, int | str]:
    return (0, int(text)) if text.lstrip("-").isdigit() else (1, text)


def _lane_name(trace: Trace, key: tuple[bool, str, str]) -> str:
    on_device, parent, child = key
    if on_device:
        return f"device {parent} stream {child.removeprefix('stream ')}"
    return trace.threads.get((parent, child)) or f"thread {child}"


def _starting(names: tuple[str, ...], prefixes: tuple[str, ...]) -> Int64Array:
    return np.array([i for i, name in enumerate(names) if name.startswith(prefixes)], np.int64)


def _is_nccl(names: tuple[str, ...]) -> BoolArray:
    return np.array(["nccl" in name[:80].lower() for name in names], np.bool_)


def _kinds(
    trace: Trace,
    category: NDArray[np.object_],
    is_mark: BoolArray,
    lanes: pl.DataFrame,
    lane: Int64Array,
) -> NDArray[np.object_]:
    name = trace.columns.name
    named_input = np.array([bool(LOADER.search(text[:120])) for text in trace.names], np.bool_)
    optimises = np.array([text.startswith("Optimizer.") for text in trace.names], np.bool_)
    nccl = _is_nccl(trace.names)
    talking = (lanes["kind"] == "communication").to_numpy()[lane] & (category == "annotation")
    kind = np.full(name.size, "host", object)
    annotation = category == "annotation"
    kind[annotation] = "marker"
    kind[annotation & optimises[name]] = "optimise"
    kind[np.isin(category, ("annotation", "cpu_op")) & named_input[name]] = "input"
    kind[is_mark] = "marker"
    kind[np.isin(category, ("copy", "set"))] = "copy"
    kind[category == "kernel"] = "compute"
    kind[((category == "kernel") & nccl[name]) | talking] = "communicate"
    return kind


def _collectives(trace: Trace, category: NDArray[np.object_]) -> NDArray[np.object_]:
    """Collective by name, or as the span's arguments say."""
    nccl = _is_nccl(trace.names)
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
    negative = ~no_time & (columns.duration_ns < 0)
    sound = np.flatnonzero(~no_time & ~negative)
    order = np.lexsort((-columns.duration_ns[sound], columns.start_ns[sound], lane[sound]))
    name = trace.path.name
    doubts = (
        ("bad_times", f"{name}: events dropped, their times are no times", int(no_time.sum())),
        ("negative_durations", f"{name}: events dropped, they end too early", int(negative.sum())),
    )
    return sound[order], doubts


def _steps(
    rank: int, number: Int64Array, is_mark: BoolArray, start: Int64Array, end: Int64Array
) -> pl.DataFrame:
    rows = np.flatnonzero(is_mark)
    if not rows.size:
        return pl.DataFrame(
            {"step": [0], "rank": [rank], "start_ns": [start.min()], "end_ns": [end.max()]}
            if start.size
            else {"step": [], "rank": [], "start_ns": [], "end_ns": []}
        )
    marks = pl.DataFrame({"step": number[rows], "start_ns": start[rows], "end_ns": end[rows]})
    return (
        marks.unique("step", keep="first", maintain_order=True)
        .sort("start_ns")
        .select("step", pl.lit(rank).alias("rank"), "start_ns", "end_ns")
    )


def _step_of(
    steps: pl.DataFrame, start: Int64Array, correlation: Int64Array, on_device: BoolArray
) -> Int64Array:
    """Step by start on the host; a device op belongs to the step of the call that launched it."""
    if not steps.height:
        return np.full(start.size, -1, np.int64)
    begins = steps["start_ns"].to_numpy()
    place = np.searchsorted(begins, start, "right") - 1
    outside = (place < 0) | (start >= steps["end_ns"].to_numpy()[-1])
    step = np.where(outside, -1, steps["step"].to_numpy()[place])
    call = np.flatnonzero(~on_device & (correlation >= 0))
    launched = np.flatnonzero(on_device & (correlation >= 0))
    call = call[np.argsort(correlation[call], kind="stable")]
    if call.size and launched.size:
        found = np.minimum(np.searchsorted(correlation[call], correlation[launched]), call.size - 1)
        same = correlation[call[found]] == correlation[launched]
        step[launched[same]] = step[call[found[same]]]
    return step
