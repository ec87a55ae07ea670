"""Ops of a pipeline-parallel job as arrays of small numbers, by worker and start."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.graph import BoolArray, EdgeKind, Int32Array, Int64Array, UInt8Array

__all__ = [
    "OP_NAMES",
    "Edges",
    "WorkerRows",
    "first_by_key",
    "is_named",
    "last_by_key",
    "worker_rows",
]

OP_NAMES = (
    "backward-compute",
    "backward-recv",
    "backward-send",
    "embedding-grads-all-reduce",
    "forward-compute",
    "forward-recv",
    "forward-send",
    "gc",
    "grads-reduce-scatter",
    "layernorm-grads-all-reduce",
    "optimizer",
    "optimizer-clip-main-grad",
    "params-all-gather",
    "separate-grads-all-reduce",
)
"""Names of ops, in the order of the alphabet; the index of a name is its code."""


@dataclass(frozen=True, slots=True)
class WorkerRows:
    """Columns of the op table as arrays; a worker is one (step, replica, stage).

    Attributes
    ----------
    n_worker, n_stage : int
        Numbers of workers and of stages seen.
    worker : (n_op,) array of int32
        Number of the worker; rows ascend by it, then by start.
    step_number : (n_step,) array of int64
        Steps, ascending.
    step : (n_op,) array of int32
        Place of the step among them.
    replica, stage, rank : (n_op,) arrays of int32
        Place of the worker.
    name : (n_op,) array of uint8
        Index in `OP_NAMES`.
    sequence : (n_op,) array of int64
        Number within its name, worker and step, from 0.
    chunk : (n_op,) array of int32
        Model chunk, -1 for none.
    start_ns, end_ns : (n_op,) arrays of int64
        Recorded times.
    """

    n_worker: int
    n_stage: int
    worker: Int32Array
    step_number: Int64Array
    step: Int32Array
    replica: Int32Array
    stage: Int32Array
    rank: Int32Array
    name: UInt8Array
    sequence: Int64Array
    chunk: Int32Array
    start_ns: Int64Array
    end_ns: Int64Array


class Edges(NamedTuple):
    """Ops that wait for others, all for the same reason.

    Attributes
    ----------
    source, target : (n,) arrays of int32
        Ops.
    kind : EdgeKind
        The reason.
    """

    source: Int32Array
    target: Int32Array
    kind: EdgeKind


def worker_rows(op: pl.DataFrame) -> tuple[pl.DataFrame, WorkerRows]:
    """Put ops in the order of workers and starts, and give their columns as arrays.

    Parameters
    ----------
    op : polars.DataFrame
        Table `COUPLED_OP` of an op-table recording.

    Returns
    -------
    op : polars.DataFrame
        The same rows by step, replica, stage, start, sequence and name.
    rows : WorkerRows
        Their columns.
    """
    rows = _rows(op)
    if not _ascends(rows.worker, rows.start_ns, rows.sequence, rows.name):
        order = np.lexsort((rows.name, rows.sequence, rows.start_ns, rows.worker))
        op = op[order]
        rows = _rows(op)
    return op, rows


def _rows(op: pl.DataFrame) -> WorkerRows:
    steps = np.unique(op["step"].to_numpy())
    step = np.searchsorted(steps, op["step"].to_numpy()).astype(np.int32)
    replica, stage, start = (op[name].to_numpy() for name in ("replica", "stage", "start_ns"))
    n_replica, n_stage = int(replica.max(initial=0)) + 1, int(stage.max(initial=0)) + 1
    name = op["name"].cast(pl.Enum(OP_NAMES)).to_physical().to_numpy()
    return WorkerRows(
        n_worker=steps.size * n_replica * n_stage,
        n_stage=n_stage,
        worker=(step * n_replica + replica) * n_stage + stage,
        step_number=steps,
        step=step,
        replica=replica,
        stage=stage,
        rank=op["rank"].to_numpy(),
        name=name,
        sequence=_from_zero(op["sequence"].to_numpy(), step * np.int32(len(OP_NAMES)) + name),
        chunk=op["chunk"].to_numpy(),
        start_ns=start,
        end_ns=start + op["duration_ns"].to_numpy(),
    )


def _from_zero(sequence: Int64Array, kind: Int32Array) -> Int64Array:
    """Count from 0 where all workers of a step count a name from elsewhere, or on from step to step."""
    least = np.full(int(kind.max(initial=-1)) + 1, np.iinfo(np.int64).max)
    np.minimum.at(least, kind, sequence)
    return np.asarray(sequence - np.maximum(least, 0)[kind])


def _ascends(*keys: NDArray[np.integer]) -> bool:
    """Say whether rows are sorted by the first key, then by the next."""
    tied = np.ones(max(keys[0].size - 1, 0), np.bool_)
    for key in keys:
        if (tied & (key[1:] < key[:-1])).any():
            return False
        tied &= key[1:] == key[:-1]
    return True


def is_named(rows: WorkerRows, *names: str) -> BoolArray:
    """Say which ops have one of these names.

    Parameters
    ----------
    rows : WorkerRows
        Ops.
    *names : str
        Entries of `OP_NAMES`.

    Returns
    -------
    (n_op,) array of bool
        True where the name is one of them.
    """  # numpydoc ignore=PR01,PR02
    wanted = np.isin(OP_NAMES, names)
    found: BoolArray = wanted[rows.name]
    return found


def first_by_key(key: Int32Array, op: Int32Array, n_key: int) -> Int32Array:
    """Find the first op of each key.

    Parameters
    ----------
    key : (n,) array of int32
        Key of each op.
    op : (n,) array of int32
        Ops, in order.
    n_key : int
        Number of keys.

    Returns
    -------
    (n_key,) array of int32
        Ops; -1 where a key has none.
    """
    return last_by_key(key[::-1], op[::-1], n_key)


def last_by_key(key: Int32Array, op: Int32Array, n_key: int) -> Int32Array:
    """Find the last op of each key.

    Parameters
    ----------
    key : (n,) array of int32
        Key of each op.
    op : (n,) array of int32
        Ops, in order.
    n_key : int
        Number of keys.

    Returns
    -------
    (n_key,) array of int32
        Ops; -1 where a key has none.
    """
    found = np.full(n_key, -1, np.int32)
    found[key] = op
    return found
