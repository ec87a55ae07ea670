"""Who meets whom in a pipeline-parallel job: communications, their members, their groups."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.graph import BoolArray, Int32Array, Int64Array
from loadpath.couple.pipeline_rows import OP_NAMES, WorkerRows, is_named
from loadpath.tables import COMMUNICATOR

__all__ = ["Meetings", "communicators", "find_meetings"]

TITLES = (*OP_NAMES, "point to point")
NAMED = ("communicator", "name", "n_members", "members")
DATA_PARALLEL = ("params-all-gather", "grads-reduce-scatter", "separate-grads-all-reduce")

PairArrays = tuple[Int32Array, Int32Array]
"""Sends, and the receive of each."""


class Meetings(NamedTuple):
    """Communications with two and more members; members by communication, then op.

    Attributes
    ----------
    op, instance : (n_member,) arrays of int32
        Members, and the number of their communication.
    first : (n_instance,) array of int64
        Where the members of each communication begin.
    is_pair : (n_instance,) array of bool
        Whether it is a send and a receive.
    """

    op: Int32Array
    instance: Int32Array
    first: Int64Array
    is_pair: BoolArray


class _Keys(NamedTuple):
    """What members of one communication have in common: its place and kind, and its number."""

    op: Int32Array
    place: Int64Array
    number: Int64Array


def find_meetings(
    rows: WorkerRows, pairs: PairArrays, sizes: Mapping[str, int], *, uses_dp: bool
) -> Meetings:
    """Find the members of each communication.

    Parameters
    ----------
    rows : WorkerRows
        Ops.
    pairs : tuple of (n_pair,) arrays of int32
        Sends, and the receive of each.
    sizes : mapping of str to int
        Declared ``pp_size``.
    uses_dp : bool
        Whether parameters and gradients are shared with other replicas.

    Returns
    -------
    Meetings
        Communications by step, replica, kind, stage and number.
    """
    n_stage = sizes["pp_size"]
    sends, rest = _pairs(rows, pairs, n_stage), _collectives(rows, n_stage, uses_dp=uses_dp)
    op = np.concatenate([sends.op, rest.op])
    place = np.concatenate([sends.place, rest.place])
    number = np.concatenate([sends.number, rest.number])
    order = np.lexsort((op, number, place))
    op, place, number = op[order], place[order], number[order]
    is_first = np.ones(op.size, np.bool_)
    is_first[1:] = (place[1:] != place[:-1]) | (number[1:] != number[:-1])
    n_member = np.diff(np.append(np.flatnonzero(is_first), op.size))
    is_pair = (order < sends.op.size)[is_first]
    meets = n_member > 1
    kept = np.repeat(meets, n_member)
    instance = np.repeat(np.arange(int(meets.sum()), dtype=np.int32), n_member[meets])
    first = np.cumsum(n_member[meets]) - n_member[meets]
    return Meetings(op[kept], instance, first, is_pair[meets])


def _pairs(rows: WorkerRows, pairs: PairArrays, n_stage: int) -> _Keys:
    """List sends and receives by the place of the sender; pairs are numbered in order."""
    send, receive = pairs
    op = np.concatenate([send, receive])
    sender = np.concatenate([send, send])
    way = len(OP_NAMES) + is_named(rows, "forward-send")[sender].astype(np.int64)
    number = np.tile(np.arange(send.size), 2)
    kind = (way, rows.stage[sender], n_stage)
    return _Keys(op, _place(rows, op, rows.replica[op], kind), number)


def _collectives(rows: WorkerRows, n_stage: int, *, uses_dp: bool) -> _Keys:
    """List collectives over replicas, of first and last stage, and of everyone, by number."""
    over_replicas = is_named(rows, *(DATA_PARALLEL if uses_dp else ()))
    at_an_end = (rows.stage == 0) | (rows.stage == n_stage - 1)
    over_ends = is_named(rows, "embedding-grads-all-reduce") & at_an_end
    over_all = is_named(rows, "optimizer-clip-main-grad")
    op = np.flatnonzero(over_replicas | over_ends | over_all).astype(np.int32)
    replica = np.where(over_ends[op], rows.replica[op], np.int32(-1))
    stage = np.where(over_replicas[op], rows.stage[op], np.int32(0))
    return _Keys(op, _place(rows, op, replica, (rows.name[op], stage, n_stage)), rows.sequence[op])


def _place(
    rows: WorkerRows,
    op: Int32Array,
    replica: Int32Array,
    kind: tuple[NDArray[np.integer], Int32Array, int],
) -> Int64Array:
    """One number for step, replica (-1 for all of them), and kind: what, which stage, of how many."""
    what, stage, n_stage = kind
    n_what, n_replica = len(OP_NAMES) + 2, int(rows.replica.max(initial=0)) + 2
    place = rows.step[op].astype(np.int64) * n_replica + replica + 1
    numbered = (place * n_what + what) * n_stage + stage
    return numbered.astype(np.int64)


def communicators(rows: WorkerRows, meetings: Meetings) -> tuple[pl.DataFrame, Int32Array]:
    """Name each set of ranks that meet; the same set under one name is one communicator.

    Parameters
    ----------
    rows : WorkerRows
        Ops.
    meetings : Meetings
        Communications.

    Returns
    -------
    communicator : polars.DataFrame
        Table `COMMUNICATOR`, by name.
    of_instance : (n_instance,) array of int32
        Communicator of each communication.
    """
    op, instance, first, is_pair = meetings
    rank = rows.rank[op][np.lexsort((rows.rank[op], instance))]
    title = np.where(is_pair, len(OP_NAMES), rows.name[op[first]].astype(np.int64))
    example, which = _distinct(title, rank, first)
    stop = np.append(first, op.size)
    found = sorted(
        (f"{TITLES[title[i]]} {','.join(map(str, ranks))}", ranks, number)
        for number, i in enumerate(example)
        for ranks in [rank[first[i] : stop[i + 1]].tolist()]
    )
    place = np.empty(len(found), np.int32)
    place[[number for _, _, number in found]] = np.arange(len(found))
    table = COMMUNICATOR.build(
        pl.DataFrame(
            {
                "communicator": range(len(found)),
                "name": [label for label, _, _ in found],
                "n_members": [len(ranks) for _, ranks, _ in found],
                "members": [ranks for _, ranks, _ in found],
            },
            schema={name: COMMUNICATOR.schema[name] for name in NAMED},
        )
    )
    return table, place[which]


def _distinct(
    title: Int64Array, rank: Int32Array, first: Int64Array
) -> tuple[list[int], Int64Array]:
    """Find an example of each distinct (title, ranks), and which of them each communication is."""
    size = np.diff(np.append(first, rank.size))
    which = np.zeros(first.size, np.int64)
    example: list[int] = []
    for n_member in np.unique(size):
        same_size = np.flatnonzero(size == n_member)
        one, label = same_size, title[same_size]
        for k in range(n_member):
            # numbering after each member keeps the labels small
            label = label * (int(rank.max()) + 1) + rank[first[same_size] + k]
            _, one, label = np.unique(label, return_index=True, return_inverse=True)
        which[same_size] = len(example) + label
        example += same_size[one].tolist()
    return example, which
