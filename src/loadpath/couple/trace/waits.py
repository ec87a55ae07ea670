"""Where a host thread waits for a communication thread: no call records it, the program shows it."""

import re
from dataclasses import dataclass

import numpy as np
import polars as pl

from loadpath.couple.trace.launches import DeviceWork
from loadpath.couple.trace.posted import are_ends
from loadpath.couple.trace.rows import KIND, BoolArray, Int32Array, Int64Array, Rows
from loadpath.couple.trace.segments import Segments, occurrences

__all__ = ["WorkerWaits", "first_part", "worker_waits"]

CLOCK_NS = 1_000
WAITS_INSIDE = re.compile(r"^(c10d|_?c10d_functional)::|wait|barrier", re.IGNORECASE)
"""Calls that may wait for a communication before they return."""
MOST_LATE_RATIO = 0.5
"""Share of occurrences that may have been recorded after the thread went on."""
LEAST_RATIO = 0.1
"""Share of occurrences, and of time waited, that a place of waiting has; a policy."""
KEY = ["collective", "bytes", "occurrence"]


@dataclass(frozen=True, slots=True)
class WorkerWaits:
    """Waits for communication threads.

    Attributes
    ----------
    source : (n_wait,) array of int32
        Index into `DeviceWork`.
    segment : (n_wait,) array of int32
        Segment in which the program waits for it.
    end : (n_row,) array of int64
        Ends of all recorded rows; an op that was recorded to end after the thread that waited for
        it had gone on ends when that thread went on.
    """

    source: Int32Array
    segment: Int32Array
    end: Int64Array


def first_part(segments: Segments, n_row: int) -> Int32Array:
    """Find the first segment of every recorded call.

    Parameters
    ----------
    segments : Segments
        Parts of host threads.
    n_row : int
        Number of recorded rows.

    Returns
    -------
    (n_row,) array of int32
        Segment, -1 for rows without.
    """
    found = np.full(n_row, -1, np.int32)
    first = np.flatnonzero((segments.call >= 0) & (segments.before < 0))
    found[segments.call[first]] = first
    return found


def worker_waits(rows: Rows, segments: Segments, work: DeviceWork) -> WorkerWaits:
    """Find the segment in which the program waits for each op of a communication thread.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    segments : Segments
        Parts of host threads.
    work : DeviceWork
        What hosts launched.

    Returns
    -------
    WorkerWaits
        Waits, and ends that were recorded too late.

    Notes
    -----
    The segment in which the op ended is where the thread can have waited at the earliest. The
    program waits at the same place for the same communication of every rank and step, and an op
    that ends while the thread waits ends at that place. It is no place inside a call that
    computes: the thread waits between recorded calls, or inside a communication call; or right behind that,
    if at most a tenth of all occurrences end later and the thread goes on when they do (a call that adds up
    over a group, of tensor parallel layers). So the place
    is the latest such one that a tenth of all occurrences (and two of them) end in, and that holds a tenth of
    the longest time waited at one place. Time counts as waited if the thread goes on when the op is done, within a tenth
    of it. Where nobody waits so, time is not asked. Later ends are records of a thread that lost its processor between
    its work and its end mark: the waiting thread went on before.
    """
    begun = first_part(segments, rows.rank.size)
    index = np.flatnonzero(rows.on_worker[work.row] & (work.call >= 0))
    index = index[(begun[work.call[index]] >= 0) & (rows.correlation[work.row[index]] >= -1)]
    posted, known = _posted_waits(rows, begun, work)
    if not index.size:
        return WorkerWaits(posted, known, rows.end)
    found = _occurrences(rows, segments, work, index)
    waiting = (
        found.drop("name", "position", "offset", "may_wait", "is_next", "waited_ns")
        .join(_waiting_places(found), on=KEY)
        .join(_places(segments), on=["rank", "lane", "step", "name", "position"])
        .with_columns(late=pl.col("segment_end") < pl.col("end") - CLOCK_NS)
        .with_columns(late_ratio=pl.col("late").mean().over(KEY))
        .filter(pl.col("late_ratio") <= MOST_LATE_RATIO)
        .sort("work")
    )
    source, segment = waiting["work"].to_numpy(), waiting["segment"].to_numpy()
    end = rows.end.copy()
    row = work.row[source]
    end[row] = np.maximum(np.minimum(end[row], segments.end[segment]), rows.start[row])
    return WorkerWaits(
        np.concatenate([posted, source.astype(np.int32)]), np.concatenate([known, segment]), end
    )


def _posted_waits(rows: Rows, begun: Int32Array, work: DeviceWork) -> tuple[Int32Array, Int32Array]:
    """Pair ends of posted communications with the segments in which their threads wait."""
    end = np.flatnonzero(are_ends(rows.correlation[work.row]) & (work.call >= 0))
    segment = begun[work.call[end]]
    kept = segment >= 0
    return end[kept].astype(np.int32), segment[kept]


def _occurrences(
    rows: Rows, segments: Segments, work: DeviceWork, index: Int64Array
) -> pl.DataFrame:
    """Where in the program each op ended."""
    row = work.row[index]
    launch = first_part(segments, rows.rank.size)[work.call[index]]
    earliest = _first_ending_after(segments, launch, rows.end[row])
    return pl.DataFrame(
        {
            "collective": rows.collective[row],
            "bytes": rows.bytes[row],
            "occurrence": occurrences(
                [rows.rank[row], rows.step[row], rows.collective[row], rows.bytes[row]],
                rows.start[row],
            ),
            "offset": earliest - launch,
            "may_wait": _may_wait(rows, segments)[earliest],
            "is_next": (segments.before[earliest] == work.call[index]) & (earliest >= 0),
            "name": segments.name[earliest],
            "position": segments.position[earliest],
            "work": index,
            "rank": segments.rank[launch],
            "lane": segments.lane[launch],
            "step": segments.step[launch],
            "end": rows.end[row],
            "waited_ns": _waited(rows.start[row], rows.end[row], segments, earliest),
        }
    )


def _waited(
    start: Int64Array, end: Int64Array, segments: Segments, segment: Int64Array
) -> Int64Array:
    """Time from the begin of a segment to the end of an op in it, where the thread then goes on."""
    before = end - np.maximum(segments.start[segment], start)
    goes_on = segments.end[segment] - end <= LEAST_RATIO * before
    return np.where(goes_on, before, 0)


def _may_wait(rows: Rows, segments: Segments) -> BoolArray:
    """Say in which segments a thread can wait: between calls, and in communication calls."""
    inside = segments.call >= 0
    call = np.where(inside, segments.call, 0)
    talks = np.array([bool(WAITS_INSIDE.search(name[:200])) for name in rows.names], np.bool_)
    return np.asarray(~inside | (rows.kind[call] == KIND["marker"]) | talks[rows.name[call]])


def _waiting_places(found: pl.DataFrame) -> pl.DataFrame:
    least, waited = LEAST_RATIO * pl.col("n"), LEAST_RATIO * pl.col("waited_ns").max().over(KEY)
    return (
        found.filter(pl.col("offset") >= 0)
        .with_columns(n=pl.len().over(KEY))
        .group_by([*KEY, "n", "name", "position"])
        .agg(
            pl.col("may_wait", "is_next").all(),
            pl.len().alias("share"),
            pl.col("offset").median(),
            pl.col("waited_ns").sum(),
        )
        .with_columns(later=pl.col("n") - pl.col("share").cum_sum().over(KEY, order_by="offset"))
        .filter(pl.col("may_wait") | (pl.col("is_next") & (pl.col("later") <= least)))
        .filter(pl.col("share") >= pl.max_horizontal(pl.min_horizontal("n", 2), least))
        .with_columns(waits=(pl.col("waited_ns") > 0) & (pl.col("waited_ns") >= waited))
        .filter(pl.col("may_wait") | pl.col("waits"))
        .sort("waits", "offset", "name", "position", descending=[True, True, False, False])
        .group_by(KEY, maintain_order=True)
        .agg(pl.col("name", "position").first())
    )


def _first_ending_after(segments: Segments, launch: Int32Array, end: Int64Array) -> Int64Array:
    """First segment of the launching thread, from the launch on, that ends at or after `end`."""
    slot = segments.rank.astype(np.int64) * (int(segments.lane.max()) + 1) + segments.lane
    out = np.full(launch.size, -1, np.int64)
    for value in np.unique(slot[launch]):
        low, high = np.searchsorted(slot, value), np.searchsorted(slot, value, "right")
        here = np.flatnonzero(slot[launch] == value)
        place = low + np.searchsorted(segments.end[low:high], end[here])
        out[here] = np.where(place < high, np.maximum(place, launch[here]), -1)
    return out


def _places(segments: Segments) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "rank": segments.rank,
            "lane": segments.lane,
            "step": segments.step,
            "name": segments.name,
            "position": segments.position,
            "segment_end": segments.end,
            "segment": np.arange(segments.rank.size, dtype=np.int32),
        }
    ).unique(["rank", "lane", "step", "name", "position"], keep="first", maintain_order=True)
