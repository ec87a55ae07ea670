"""Ops of all ranks in one table, made one column after another.

What tells a column is given up as soon as the column is made: the table takes the place of what it
is made of, instead of standing beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.decode import release_free_memory
from loadpath.ingest.kineto.communications import Communication
from loadpath.ingest.kineto.groups import Groups
from loadpath.ingest.kineto.rank_ops import RankOps
from loadpath.tables import OP, OP_KINDS

__all__ = ["build_ops", "op_columns"]

Make = Callable[[], pl.Series]
Int64Array = NDArray[np.int64]
COPIED = ("lane", "step", "start_ns", "duration_ns", "correlation", "external")


def op_columns(ops: Mapping[int, RankOps], groups: Groups) -> dict[str, Make]:
    """Tell how each column of table `OP` is made; each holds nothing but what it is made of.

    Parameters
    ----------
    ops : mapping of int to RankOps
        Ops of each rank, in the order of the table.
    groups : Groups
        Numbers of the communicators.

    Returns
    -------
    dict of str to callable
        Makes the column of that name.
    """
    traces = list(ops.values())
    height = [one.lane.size for one in traces]
    first = np.cumsum([0, *height])
    columns: dict[str, Make] = {
        name: partial(_joined, [getattr(one, name) for one in traces]) for name in COPIED
    }
    columns["rank"] = partial(_ranks, list(ops), height)
    columns["parent"] = partial(_parents, [one.parent for one in traces], first)
    columns["kind"] = partial(_kinds, [one.kind for one in traces])
    columns["name"] = partial(_named, [(one.names, one.name) for one in traces])
    columns["collective"] = partial(_named, [(one.collectives, one.collective) for one in traces])
    return columns | _said_columns(ops, first, groups)


def build_ops(columns: dict[str, Make]) -> pl.DataFrame:
    """Make the columns one after another.

    Parameters
    ----------
    columns : dict of str to callable
        As `op_columns` gives them; empty afterwards.

    Returns
    -------
    polars.DataFrame
        Table `OP`.
    """
    made = {}
    for name in list(columns):
        made[name] = columns.pop(name)()
        release_free_memory()
    return OP.build(made)


def _joined(parts: list[Any]) -> pl.Series:
    return pl.Series(parts[0] if len(parts) == 1 else np.concatenate(parts))


def _ranks(ranks: Sequence[int], height: Sequence[int]) -> pl.Series:
    return pl.Series(np.repeat(np.array(ranks, np.int32), height))


def _parents(parents: list[NDArray[np.int32]], first: Int64Array) -> pl.Series:
    moved = (
        np.where(parent >= 0, parent + np.int32(begin), np.int32(-1))
        for parent, begin in zip(parents, first, strict=False)
    )
    return _joined(list(moved))


def _kinds(kinds: list[NDArray[np.uint8]]) -> pl.Series:
    named = pl.Series(OP_KINDS, dtype=OP.schema["kind"])
    return pl.concat([named.gather(kind) for kind in kinds])


def _named(coded: list[tuple[tuple[str, ...], Any]]) -> pl.Series:
    parts = [pl.Series(names, dtype=pl.Categorical).gather(code) for names, code in coded]
    return pl.concat(parts)


def _said_columns(ops: Mapping[int, RankOps], first: Int64Array, groups: Groups) -> dict[str, Make]:
    """Put what calls say at their rows; all other rows say nothing."""
    said = [
        (int(begin) + row, rank, fact)
        for (rank, one), begin in zip(ops.items(), first, strict=False)
        for row, fact in one.said.items()
    ]
    row = np.array([row for row, _, _ in said], np.int64)
    facts = [fact for _, _, fact in said]
    number = [groups.number.get((rank, fact.group), -1) for _, rank, fact in said]
    n, whole, small = int(first[-1]), np.dtype(np.int64), np.dtype(np.int32)
    columns: dict[str, Make] = {
        "sequence": partial(_said, n, row, [fact.sequence for fact in facts], whole),
        "communicator": partial(_said, n, row, number, small),
        "peer": partial(_said, n, row, [fact.peer for fact in facts], small),
        "bytes": partial(_bytes, [one.bytes for one in ops.values()], row, facts),
    }
    if any(fact.tag >= 0 for fact in facts):
        columns["tag"] = partial(_said, n, row, [fact.tag for fact in facts], whole)
    if any(fact.comms_id for fact in facts):
        told = [fact.comms_id for fact in facts]
        columns["comms_id"] = partial(_said, n, row, told, whole, none=0)
    return columns


def _said(
    n: int, row: Int64Array, values: list[int], dtype: np.dtype[Any], *, none: int = -1
) -> pl.Series:
    column = np.full(n, none, dtype)
    column[row] = values
    return pl.Series(column)


def _bytes(parts: list[Int64Array], row: Int64Array, facts: list[Communication]) -> pl.Series:
    column = np.concatenate(parts)
    column[row] = np.maximum(column[row], np.array([fact.bytes for fact in facts], np.int64))
    return pl.Series(column)
