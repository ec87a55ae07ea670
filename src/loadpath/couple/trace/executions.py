"""Data that device ops hand to each other, as execution traces tell.

The operator that launched a device op is the innermost one around its launch; what it reads was
written last by some operator before it, and its device ops must have ended by then.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.trace import kernels
from loadpath.couple.trace.launches import DeviceWork
from loadpath.couple.trace.rows import Int32Array, Int64Array, Rows

__all__ = ["Handovers", "Settled", "handovers", "number_shift", "settle"]

AGREEMENT = 0.95
"""Share of operators whose names must agree for traces to be of one run."""
FARTHEST = 16
"""Numbers of the profiler and of the observer differ by a small constant."""
DEPTH = 64


class Handovers(NamedTuple):
    """Pairs of device ops on different streams of one rank, one of which reads what the other wrote.

    Attributes
    ----------
    source, target : (n,) arrays of int32
        Indices into `DeviceWork`.
    n_operator : int
        Operators joined to execution traces.
    refused : tuple of int
        Ranks whose operators have other names in their execution trace.
    """

    source: Int32Array
    target: Int32Array
    n_operator: int
    refused: tuple[int, ...]


class Settled(NamedTuple):
    """Handovers beside the couplings that were known without them.

    Attributes
    ----------
    source, target : (n,) arrays of int32
        Indices into `DeviceWork`: those that nothing else implies, and no time contradicts.
    doubts : tuple of (str, str, int)
        Caveats.
    """

    source: Int32Array
    target: Int32Array
    doubts: tuple[tuple[str, str, int], ...]


def settle(
    handed: Handovers, rows: Rows, work: DeviceWork, crossing: tuple[Int32Array, Int32Array]
) -> Settled:
    """Tell which handovers are new.

    Parameters
    ----------
    handed : Handovers
        What execution traces tell.
    rows : Rows
        Recorded ops.
    work : DeviceWork
        What hosts launched.
    crossing : tuple of (n_edge,) arrays of int32
        Couplings between streams that are known, as indices into `work`.

    Returns
    -------
    Settled
        A handover is implied if a chain of couplings between streams leads from one op to the
        other, or if the host launched the one after the other had ended.
    """
    source, target = handed.source, handed.target
    known = kernels.reached(work.stream, work.previous, *_by_target(crossing), source, target)
    end, start = rows.end[work.row], rows.start[work.row]
    contradicted = start[target] < end[source]
    waited = ~known & ~contradicted & (work.launched[target] >= end[source])
    new = ~known & ~contradicted & ~waited
    text = (
        f"dependencies between streams in execution traces ({handed.n_operator} operators joined): "
        f"{int((known & ~contradicted).sum())} follow from couplings that were known, {int(waited.sum())} from hosts that "
        f"launched one op after the other had ended, {int(new.sum())} are added"
    )
    listed = ", ".join(map(str, handed.refused[:8]))
    return Settled(
        source[new],
        target[new],
        (
            ("execution_traces", text, int(source.size)),
            ("execution_contradicted", "dependencies of execution traces that the times of ops contradict: left out", int(contradicted.sum())),
            ("execution_refused", f"execution traces that name other operators than the traces do: left out, of ranks {listed}", len(handed.refused)),
        ),
    )  # fmt: skip


def _by_target(crossing: tuple[Int32Array, Int32Array]) -> tuple[Int32Array, Int32Array]:
    order = np.argsort(crossing[1], kind="stable")
    return crossing[0][order].astype(np.int32), crossing[1][order].astype(np.int32)


def number_shift(
    external: NDArray[np.integer], name: NDArray[np.object_], nodes: dict[int, str]
) -> int | None:
    """Find by how much a rank's numbers exceed those of its execution trace.

    Parameters
    ----------
    external : (n,) array of int
        Numbers of operators in the trace.
    name : (n,) array of object
        Their names.
    nodes : dict of int to str
        Names by number in the execution trace.

    Returns
    -------
    int or None
        None if no shift makes the names agree.
    """
    best, shift = 0.0, None
    for by in range(-FARTHEST, FARTHEST + 1):
        said = [nodes.get(number - by) for number in external.tolist()]
        there = [found == own for found, own in zip(said, name, strict=True) if found is not None]
        agreed = sum(there)
        if there and agreed / len(there) >= AGREEMENT and agreed > best:
            best, shift = agreed, by
    return shift


def handovers(rows: Rows, work: DeviceWork, external: Int32Array, node: pl.DataFrame) -> Handovers:
    """Join execution traces to the device ops that their operators launched.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    work : DeviceWork
        What hosts launched.
    external : (n,) array of int32
        Number of the operator of each recorded row, -1 for none.
    node : polars.DataFrame
        Table `EXECUTION`.

    Returns
    -------
    Handovers
        Pairs on different streams; those of one stream follow each other anyway.
    """
    operator = _operators(rows, work, external)
    names = np.array(rows.names, object)
    source: list[int] = []
    target: list[int] = []
    refused, n_joined = [], 0
    rank_of_work = rows.rank[work.row]
    for (rank,), own in node.group_by("rank", maintain_order=True):
        number = int(str(rank))
        mine = np.flatnonzero((rank_of_work == number) & (operator >= 0))
        ops = np.unique(operator[mine])
        known = dict(zip(own["node"].to_list(), own["name"].to_list(), strict=True))
        shift = number_shift(external[ops], names[rows.name[ops]], known)
        if shift is None:
            refused.append(number)
            continue
        n_joined += ops.size
        pairs = _pairs(own, mine, external[operator[mine]].astype(np.int64) - shift, work.stream)
        source += pairs[0]
        target += pairs[1]
    return Handovers(
        np.array(source, np.int32), np.array(target, np.int32), n_joined, tuple(refused)
    )


def _operators(rows: Rows, work: DeviceWork, external: Int32Array) -> Int32Array:
    """Row of the innermost numbered operator around the launch of each device op, -1 for none."""
    row = np.where(work.call >= 0, rows.parent[work.call], -1).astype(np.int32)
    for _ in range(DEPTH):
        above = (row >= 0) & (external[row] < 0)
        if not above.any():
            break
        row[above] = rows.parent[row[above]]
    return row


def _pairs(
    own: pl.DataFrame, mine: NDArray[np.intp], number: Int64Array, stream: Int32Array
) -> tuple[list[int], list[int]]:
    """Follow each storage from the device op that wrote it last to those that read it."""
    launched: dict[int, list[int]] = {}
    for index, node in zip(mine.tolist(), number.tolist(), strict=True):
        launched.setdefault(node, []).append(index)
    writer: dict[int, int] = {}
    source, target = [], []
    for node, reads, writes in own.select("node", "reads", "writes").iter_rows():
        works = launched.get(node)
        if works is None:
            continue
        first = works[0]
        for storage in reads:
            wrote = writer.get(storage, -1)
            if wrote >= 0 and stream[wrote] != stream[first]:
                source.append(wrote)
                target.append(first)
        for storage in writes:
            writer[storage] = works[-1]
    return source, target
