"""Communications that were asked for one by one and run by one kernel: batches."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from loadpath.couple.trace import kernels
from loadpath.couple.trace.launches import DeviceWork
from loadpath.couple.trace.rows import KIND, BoolArray, Int32Array, Int64Array, Rows

__all__ = ["Batches", "batched_calls"]

ANY_PAIR = "send_recv"
"""Collective of a kernel that only sends and receives."""


@dataclass(frozen=True, slots=True)
class Batches:
    """Which calls a kernel runs that none of them launched.

    Attributes
    ----------
    work : (n_call,) array of int64
        Index into `DeviceWork`, ascending: a kernel.
    call : (n_call,) array of int64
        Row of a call that it runs, in the order of calls.
    rest : (n_rest,) array of int64
        Indices into `DeviceWork`: further kernels of a batch, whose calls the first one stands for.
    """

    work: Int64Array
    call: Int64Array
    rest: Int64Array


def batched_calls(rows: Rows, work: DeviceWork) -> Batches:
    """Find the calls of communications that are run by a kernel launched behind them.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    work : DeviceWork
        What hosts launched.

    Returns
    -------
    Batches
        Calls by kernel.

    Notes
    -----
    Between ``ncclGroupStart`` and ``ncclGroupEnd`` (``batch_isend_irecv``, coalesced collectives) calls
    launch nothing; the end of the group launches a kernel for all of them, outside any call that names
    a communication. So a communication kernel whose launch no such call encloses runs those calls of
    its thread since the last launch of one that launched nothing and are of its collective.
    """
    talks = rows.on_host & (rows.collective != rows.collectives.index(""))
    asked = kernels.innermost_said(rows.parent, talks, work.call)
    runs = (
        rows.on_device[work.row] & (rows.kind[work.row] == KIND["communicate"]) & (work.call >= 0)
    )
    runs = np.flatnonzero(runs)
    behind = (asked[runs] < 0) & (rows.communicator[work.row[runs]] < 0)
    if not behind.any():
        empty = np.empty(0, np.int64)
        return Batches(empty, empty, empty)
    call = _idle_calls(rows, talks, asked[asked >= 0])
    of_call = _next_launch(rows, call, work.call[runs])
    kernel = np.append(runs, -1)[of_call]
    fits = np.append(behind, False)[of_call] & _may_run(rows, work.row[kernel], call)
    first = np.isin(runs, kernel[fits])
    order = np.argsort(kernel[fits], kind="stable")
    rest = _rest(behind, first, rows.rank[work.call[runs]], rows.lane[work.call[runs]])
    return Batches(kernel[fits][order], call[fits][order], runs[rest])


def _idle_calls(rows: Rows, talks: BoolArray, launching: Int32Array) -> Int64Array:
    """Rows that say most of each outermost call in which nothing was launched, in order of start."""
    row = np.flatnonzero(talks)
    outer = kernels.outermost_said(rows.parent, talks, row)
    idle = ~np.isin(outer, kernels.outermost_said(rows.parent, talks, launching))
    row, outer = row[idle], outer[idle]
    order = np.lexsort((row, rows.communicator[row] < 0, outer))
    says_most = row[order][np.unique(outer[order], return_index=True)[1]]
    return says_most[np.argsort(rows.start[says_most], kind="stable")]


def _next_launch(rows: Rows, call: Int64Array, launch: Int32Array) -> Int64Array:
    """Place of the next launch on the thread of each call, -1 if there is none."""
    asked = pl.DataFrame(
        {"rank": rows.rank[call], "lane": rows.lane[call], "at": rows.start[call]}
    ).with_row_index("call")
    launched = pl.DataFrame(
        {"rank": rows.rank[launch], "lane": rows.lane[launch], "at": rows.start[launch]}
    ).with_row_index("place")
    found = asked.sort("at").join_asof(
        launched.sort("at"),
        on="at",
        by=["rank", "lane"],
        strategy="forward",
        check_sortedness=False,
    )
    return found.sort("call")["place"].cast(pl.Int64).fill_null(-1).to_numpy()


def _may_run(rows: Rows, kernel: Int32Array, call: Int64Array) -> BoolArray:
    """Say whether the name of a kernel allows that it runs a call."""
    names = np.array(rows.collectives, object)
    run, asked = names[rows.collective[kernel]], names[rows.collective[call]]
    pair = (run == ANY_PAIR) & np.isin(asked, ("send", "recv"))
    return np.asarray((run == "") | (run == asked) | pair, np.bool_)


def _rest(behind: BoolArray, first: BoolArray, rank: Int32Array, lane: Int32Array) -> Int64Array:
    """Kernels launched behind a batch, by the same thread, before anything else was asked for."""
    found: list[int] = []
    goes_on: dict[tuple[int, int], bool] = {}
    for i, thread in enumerate(zip(rank.tolist(), lane.tolist(), strict=True)):
        goes_on[thread] = bool(first[i] or (behind[i] and goes_on.get(thread, False)))
        if goes_on[thread] and not first[i]:
            found.append(i)
    return np.array(found, np.int64)
