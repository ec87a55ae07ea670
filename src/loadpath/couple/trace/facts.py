"""What the record says of each communication op, itself or in the calls around its launch."""

from dataclasses import dataclass

import numpy as np

from loadpath.couple.trace import kernels
from loadpath.couple.trace.batches import batched_calls
from loadpath.couple.trace.launches import DeviceWork
from loadpath.couple.trace.posted import are_ends, are_posts
from loadpath.couple.trace.rows import KIND, BoolArray, Int32Array, Int64Array, Rows

__all__ = ["Facts", "are_collective", "communication_facts", "pick_facts"]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of each communication op; one entry per op, of a batch one per call that it runs.

    Attributes
    ----------
    work : (n,) array of int32
        Index into `DeviceWork`, ascending.
    rank, communicator, collective, peer : (n,) arrays of int32
        As in `Rows`, from the op itself or from a call around its launch.
    start, end, step, sequence, bytes, tag, comms_id : (n,) arrays of int64
        As in `Rows`, likewise.
    is_threaded : (n,) array of bool
        It runs on a communication thread, not on a device.
    is_post, is_end : (n,) arrays of bool
        It is only the post, or only the end, of a communication.
    """

    work: Int32Array
    rank: Int32Array
    start: Int64Array
    end: Int64Array
    step: Int64Array
    communicator: Int32Array
    sequence: Int64Array
    collective: Int32Array
    bytes: Int64Array
    peer: Int32Array
    tag: Int64Array
    comms_id: Int64Array
    is_threaded: BoolArray
    is_post: BoolArray
    is_end: BoolArray


def communication_facts(rows: Rows, work: DeviceWork) -> Facts:
    """Collect what is known of communication ops.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    work : DeviceWork
        What hosts launched, communication ops among it.

    Returns
    -------
    Facts
        One entry per communication op and call.
    """
    index, call = _told_by(rows, work)
    row = work.row[index]
    no_name = rows.collectives.index("")
    grouped = kernels.innermost_said(rows.parent, rows.communicator >= 0, call)
    grouped = np.where(rows.communicator[row] >= 0, row, grouped)
    called = kernels.innermost_said(rows.parent, rows.collective != no_name, call)
    called = np.where(_tells(rows)[rows.collective[row]] | (called < 0), row, called)
    numbered = kernels.innermost_said(rows.parent, rows.comms_id != 0, call)
    numbered = np.where(rows.comms_id[row] != 0, row, numbered)
    by_call = kernels.innermost_said(rows.parent, rows.peer >= 0, call)
    # where no call names a group, one may tell the payload all the same
    sized = kernels.innermost_said(rows.parent, rows.bytes >= 0, call)
    paid = np.where(rows.bytes[row] >= 0, row, np.where(grouped >= 0, grouped, sized))
    return Facts(
        work=index,
        rank=rows.rank[row],
        start=rows.start[row],
        end=rows.end[row],
        step=rows.step[row],
        communicator=np.where(grouped >= 0, rows.communicator[grouped], -1).astype(np.int32),
        sequence=np.where(grouped >= 0, rows.sequence[grouped], -1),
        collective=rows.collective[called],
        bytes=np.where(paid >= 0, rows.bytes[paid], -1),
        peer=np.where(by_call >= 0, rows.peer[by_call], -1).astype(np.int32),
        tag=np.where(by_call >= 0, rows.tag[by_call], -1),
        comms_id=np.where(numbered >= 0, rows.comms_id[numbered], 0),
        is_threaded=rows.on_worker[row],
        is_post=are_posts(rows.correlation[row]),
        is_end=are_ends(rows.correlation[row]),
    )


def _told_by(rows: Rows, work: DeviceWork) -> tuple[Int32Array, Int32Array]:
    """Communication ops, and the row that each was asked for in: one entry for each call it runs."""
    batches = batched_calls(rows, work)
    index = np.flatnonzero(rows.kind[work.row] == KIND["communicate"])
    index = index[~np.isin(index, batches.work) & ~np.isin(index, batches.rest)]
    both = np.append(index, batches.work)
    order = np.argsort(both, kind="stable")
    call = np.append(work.call[index], batches.call)
    return both[order].astype(np.int32), call[order].astype(np.int32)


def _tells(rows: Rows) -> BoolArray:
    """Which collectives say what they are: a kernel that only sends and receives may be any."""
    return np.array([name not in {"", "send_recv"} for name in rows.collectives], np.bool_)


def pick_facts(facts: Facts, keep: BoolArray) -> Facts:
    """Keep some of the ops.

    Parameters
    ----------
    facts : Facts
        Communication ops.
    keep : (n,) array of bool
        Which.

    Returns
    -------
    Facts
        Those.
    """
    return Facts(*(getattr(facts, name)[keep] for name in Facts.__slots__))


def are_collective(rows: Rows, facts: Facts, names: tuple[str, ...]) -> BoolArray:
    """Tell which ops run one of some collectives.

    Parameters
    ----------
    rows : Rows
        Names of collectives.
    facts : Facts
        Communication ops.
    names : tuple of str
        Collectives.

    Returns
    -------
    (n,) array of bool
        True for ops of those.
    """
    return np.array([name in names for name in rows.collectives], np.bool_)[facts.collective]
