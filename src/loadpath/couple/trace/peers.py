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
    peer = op["peer"].to_numpy().astype(np.int64)
    group = _groups(op, row)
    rank = op["rank"].to_numpy()
    for number, members in _known_groups(recording):
        here = row[group == number]
        at = np.append(members, -1)
        peer[here] = at[np.minimum(peer[here], members.size)]
        group[group == number] = -2
    open_ended = row[group != -2]
    collective = op["collective"].cast(pl.String).to_numpy()[open_ended]
    paired = open_ended[np.isin(collective, ("send", "recv"))]
    if paired.size:
        arrange = _arrangement(recording, paired, peer)
        peer[paired] = arrange(rank[paired].astype(np.int64), peer[paired])
    return dataclasses.replace(recording, op=op.with_columns(peer=pl.Series(peer.astype(np.int32))))


def _groups(op: pl.DataFrame, row: Int64Array) -> Int64Array:
    """Communicator of each call, its own or that of a record inside it; -1 unknown."""
    communicator, parent = op["communicator"].to_numpy(), op["parent"].to_numpy()
    of_row = communicator.astype(np.int64)
    inside = np.flatnonzero((parent >= 0) & (communicator >= 0))
    of_row[parent[inside]] = np.maximum(of_row[parent[inside]], communicator[inside])
    return np.asarray(of_row[row])


def _known_groups(recording: Recording) -> Iterator[tuple[int, Int64Array]]:
    groups = recording.communicator.select("communicator", "members", "n_members").rows()
    for number, members, size in groups:
        if members and size == len(members):
            yield number, np.array(members, np.int64)


def _arrangement(recording: Recording, row: Int64Array, peer: Int64Array) -> Arrangement:
    """Find the arrangement of unnamed groups in which most sends and receives pair up."""
    n = recording.rank.height
    rank = recording.op["rank"].to_numpy()[row].astype(np.int64)
    tag = recording.op["tag"].to_numpy()[row]
    is_send = (recording.op["collective"].cast(pl.String) == "send").to_numpy()[row]
    choices = [_whole_job, *_parts(n)]
    n_lone = []
    for arrange in choices:
        other = arrange(rank, peer[row])
        pair = np.stack([np.where(is_send, rank, other), np.where(is_send, other, rank), tag])
        key = np.unique(pair, axis=1, return_inverse=True)[1].ravel()
        surplus = np.bincount(key, weights=np.where(is_send, 1, -1))
        impossible = (other < 0) | (other == rank)
        n_lone.append(np.abs(surplus).sum() + impossible.sum())
    return choices[int(np.argmin(n_lone))]


def _whole_job(_: Int64Array, number: Int64Array) -> Int64Array:
    return number


def _parts(n: int) -> Iterator[Arrangement]:
    for size in range(2, n):
        for stride in equal_parts(n, size):
            yield _spaced(size, stride)


def _spaced(size: int, stride: int) -> Arrangement:
    def arrange(rank: Int64Array, number: Int64Array) -> Int64Array:
        first = rank // (size * stride) * (size * stride) + rank % stride
        return np.where(number < size, first + number * stride, -1)

    return arrange
