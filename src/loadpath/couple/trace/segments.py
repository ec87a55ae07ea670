"""Host threads as chains of segments: the innermost call's own time, or the time between calls."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from loadpath.couple.order import lane_order
from loadpath.couple.trace import kernels
from loadpath.couple.trace.rows import KIND, BoolArray, Int32Array, Int64Array, Rows

__all__ = ["GAP", "MARKS", "WAITS_FOR_DATA", "Segments", "cut_threads", "occurrences"]

GAP = "gap"
"""Name of time between calls that no annotation encloses."""
MARKS = {"input": 1, "optimise": 2, "checkpoint": 3, "storage": 4}
"""Kinds of calls that mark what runs inside them, and their codes; 0 is other host work."""
WAITS_FOR_DATA = tuple(MARKS[kind] for kind in ("input", "checkpoint", "storage"))
"""Codes of the marks whose mechanism is input."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Parts of host threads, in order of rank, lane and time.

    Attributes
    ----------
    rank, lane : (n,) arrays of int32
        Where.
    step, start, end : (n,) arrays of int64
        Step, and times in ns.
    call : (n,) array of int32
        Recorded row whose own time it is, -1 between calls.
    before : (n,) array of int32
        Recorded row that ended before it inside the same call, -1 in a call's first part.
    name : (n,) array of int32
        Code of its name in `Rows.names`; one past the last for `GAP`.
    mark : (n,) array of uint8
        Code of `MARKS` inside such a call, 0 elsewhere.
    position : (n,) array of int64
        Place in the program: equal for segments of peers between the same calls.
    """

    rank: Int32Array
    lane: Int32Array
    step: Int64Array
    start: Int64Array
    end: Int64Array
    call: Int32Array
    before: Int32Array
    name: Int32Array
    mark: Any
    position: Int64Array


def cut_threads(rows: Rows, steps: list[int]) -> Segments:
    """Cut every host thread into segments.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    steps : list of int
        Steps to keep.

    Returns
    -------
    Segments
        Segments of those steps. Some are empty: they keep the places of peers aligned.
    """
    row = _host_rows(rows, steps)
    mark = np.zeros(row.size, np.uint8)
    for kind, value in MARKS.items():
        mark[rows.kind[row] == KIND[kind]] = value
    call, before, start, end, flag = kernels.flatten(
        rows.rank[row].astype(np.int64) << 32 | rows.lane[row], rows.start[row], rows.end[row], mark
    )
    anchor = row[np.where(call >= 0, call, before)]
    call_row = np.where(call >= 0, row[call], -1).astype(np.int32)
    before_row = np.where(before >= 0, row[before], -1).astype(np.int32)
    return Segments(
        rank=rows.rank[anchor],
        lane=rows.lane[anchor],
        step=np.maximum(rows.step[anchor], np.where(before >= 0, rows.step[before_row], -1)),
        start=start,
        end=end,
        call=call_row,
        before=before_row,
        name=np.where(call >= 0, rows.name[call_row], len(rows.names)).astype(np.int32),
        mark=flag,
        position=_positions(rows, row, anchor, before_row),
    )


def _host_rows(rows: Rows, steps: list[int]) -> Int32Array:
    """Rows of host calls, by rank, lane, start, and longest first."""
    row = np.flatnonzero(rows.keeps_time & np.isin(rows.step, steps)).astype(np.int32)
    start = rows.start[row]
    return row[lane_order(rows.rank[row], rows.lane[row], start, start - rows.end[row])]


def _positions(
    rows: Rows, row: Int32Array, anchor: Int32Array, before_row: Int32Array
) -> Int64Array:
    """Which call ended before (0: none, a first part), and the how-manieth of its name that is."""
    occurrence = np.full(rows.rank.size, -1, np.int64)
    occurrence[row] = occurrences(
        [rows.rank[row], rows.lane[row], rows.step[row], rows.name[row]], rows.start[row]
    )
    previous = np.where(before_row >= 0, rows.name[before_row] + 1, 0).astype(np.int64)
    count = np.where(before_row >= 0, occurrence[before_row], occurrence[anchor])
    return (previous << 32) | count


def occurrences(keys: list[Any], start: Int64Array) -> Int64Array:
    """Count how often each row's kind began before it.

    Parameters
    ----------
    keys : list of (n,) arrays
        What makes rows equal.
    start : (n,) array of int64
        Order among equals.

    Returns
    -------
    (n,) array of int64
        0 for the first of its kind.

    Examples
    --------
    >>> occurrences([np.array([1, 2, 1])], np.array([5, 0, 3])).tolist()
    [1, 0, 0]
    """
    order = np.lexsort((start, *keys))
    new = _changes([key[order] for key in keys])
    first = np.maximum.accumulate(np.where(new, np.arange(order.size), 0))
    number = np.empty(order.size, np.int64)
    number[order] = np.arange(order.size) - first
    return number


def _changes(columns: list[Any]) -> BoolArray:
    n = columns[0].size
    new = np.ones(n, np.bool_)
    for k, column in enumerate(columns):
        differs = column[1:] != column[:-1]
        new[1:] = differs if k == 0 else new[1:] | differs
    return new
