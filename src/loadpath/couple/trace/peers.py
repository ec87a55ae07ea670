"""Peers and roots by their rank in the job; calls of PyTorch count within a process group."""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl

from loadpath.couple.trace.groups import equal_parts
from loadpath.couple.trace.rows import Int64Array
from loadpath.tables import Recording

__all__ = ["resolve_peers"]

Arrangement = Callable[[Int64Array, Int64Array], Int64Array]
"""From ranks, and numbers in their groups, to ranks; -1 where a group has no such number."""


def resolve_peers(recording: Recording) -> Recording:
    """Turn peers and roots that count within a group into ranks of the job.

    Parameters
    ----------
    recording : Recording
        A trace recording: calls (``c10d::send``, ``c10d::broadcast_``, ...) name peers and roots by
        their number in the group, everything else by rank.

    Returns
    -------
    Recording
        The same with ranks. Where the members of the group are recorded they tell. Groups that no
        record names are taken to be the whole job, or equal parts of it (neighbours or equally
        spaced ranks): whichever leaves fewest sends without a receive.
    """
    op = recording.op
    called = (op["name"].cast(pl.String).str.starts_with("c10d::") & (op["peer"] >= 0)).arg_true()
    row = called.to_numpy()
    if not row.size:
        return recording
    said = op["peer"].to_numpy().astype(np.int64)
    peer = said.copy()
    peer[row] = _by_members(recording, _groups(op, row), said[row])
    paired = row[op["collective"].cast(pl.String).is_in(["send", "recv"]).to_numpy()[row]]
    if paired.size:
        peer[paired] = _best_arranged(recording, paired, said[paired], peer[paired])
    return dataclasses.replace(recording, op=op.with_columns(peer=pl.Series(peer.astype(np.int32))))


def _groups(op: pl.DataFrame, row: Int64Array) -> Int64Array:
    """Communicator of each call, its own or that of a record inside it; -1 unknown."""
    communicator, parent = op["communicator"].to_numpy(), op["parent"].to_numpy()
    of_row = communicator.astype(np.int64)
    inside = np.flatnonzero((parent >= 0) & (communicator >= 0))
    of_row[parent[inside]] = np.maximum(of_row[parent[inside]], communicator[inside])
    return np.asarray(of_row[row])


def _by_members(recording: Recording, group: Int64Array, number: Int64Array) -> Int64Array:
    """Rank by number in the group, where the members are recorded; elsewhere the number."""
    rank = number.copy()
    groups = recording.communicator.select("communicator", "members", "n_members").rows()
    for communicator, members, size in groups:
        here = group == communicator
        if size == len(members) > 0 and here.any():
            at = np.array([*members, -1], np.int64)
            rank[here] = at[np.minimum(number[here], size)]
    return rank


def _best_arranged(
    recording: Recording, row: Int64Array, number: Int64Array, told: Int64Array
) -> Int64Array:
    """Take the arrangement of groups in which most sends and receives pair up."""
    # members come first, but who uses a process-local name need not be all its members
    op = recording.op
    is_send = (op["collective"].cast(pl.String) == "send").to_numpy()[row]
    rank, tag = (op[name].to_numpy()[row].astype(np.int64) for name in ("rank", "tag"))
    kinds = np.stack([rank, tag, is_send, number, told])
    kind, of_row, count = np.unique(kinds, axis=1, return_inverse=True, return_counts=True)
    choices = [
        kind[4],
        kind[3],
        *(part(kind[0], kind[3]) for part in _parts(recording.rank.height)),
    ]
    n_lone = [_n_lone(kind, count, other) for other in choices]
    return np.asarray(choices[int(np.argmin(n_lone))][of_row.ravel()])


def _n_lone(kind: Int64Array, count: Int64Array, other: Int64Array) -> int:
    """Count sends and receives that would have no counterpart."""
    rank, tag, is_send = kind[:3]
    pair = np.stack([np.where(is_send, rank, other), np.where(is_send, other, rank), tag])
    key = np.unique(pair, axis=1, return_inverse=True)[1].ravel()
    surplus = np.bincount(key, weights=np.where(is_send, count, -count))
    impossible = count[(other < 0) | (other == rank)].sum()
    return int(np.abs(surplus).sum() + impossible)


def _parts(n: int) -> Iterator[Arrangement]:
    for size in range(2, n):
        for stride in equal_parts(n, size):
            yield _spaced(size, stride)


def _spaced(size: int, stride: int) -> Arrangement:
    def arrange(rank: Int64Array, number: Int64Array) -> Int64Array:
        first = rank // (size * stride) * (size * stride) + rank % stride
        return np.where(number < size, first + number * stride, -1)

    return arrange
