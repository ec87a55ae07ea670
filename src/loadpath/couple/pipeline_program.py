"""What each worker computes in each direction, and which of it crosses to another stage."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from loadpath.couple.graph import BoolArray, Int32Array, Int64Array
from loadpath.couple.pipeline_rows import WorkerRows, is_named

__all__ = ["Program", "crossings", "find_computation", "worker_program"]


@dataclass(frozen=True, slots=True)
class Program:
    """Computations of all workers, those included that only other workers of the step recorded.

    A *way* is a worker in one direction: twice its number, and one more for forward.

    Attributes
    ----------
    op : (n,) array of int32
        Recorded computation; -1 for none.
    way, number : (n,) arrays of int64
        Way, and number of the computation on it; rows ascend by both.
    gives, takes : (n,) arrays of bool
        Whether another stage needs what it makes, and makes what it needs.
    place_given, place_taken : (n,) arrays of int64
        How many of its way that give (that take) come before it.
    n_compute : (n_way,) array of int64
        One beyond the highest number of each way.
    """

    op: Int32Array
    way: Int64Array
    number: Int64Array
    gives: BoolArray
    takes: BoolArray
    place_given: Int64Array
    place_taken: Int64Array
    n_compute: Int64Array


def worker_program(rows: WorkerRows, sizes: Mapping[str, int]) -> Program:
    """List what each worker computes, chunk after chunk going through all stages.

    Parameters
    ----------
    rows : WorkerRows
        Ops.
    sizes : mapping of str to int
        Declared ``pp_size`` and ``vpp_size``.

    Returns
    -------
    Program
        Computations by way and number.
    """
    op = np.flatnonzero(is_named(rows, "forward-compute", "backward-compute")).astype(np.int32)
    forward = is_named(rows, "forward-compute")[op]
    way, number = 2 * rows.worker[op].astype(np.int64) + forward, rows.sequence[op]
    n_compute = np.zeros(2 * rows.n_worker, np.int64)
    np.maximum.at(n_compute, way, number + 1)
    lost, like = _lost(rows, way, number, op=op, n_compute=n_compute)
    way, number = np.concatenate([way, lost]), np.concatenate([number, rows.sequence[like]])
    example = np.concatenate([op, like])
    op = np.concatenate([op, np.full(like.size, -1, np.int32)])
    order = np.lexsort((number, way))
    way = way[order]
    gives, takes = _crosses(rows, way, rows.chunk[example[order]], sizes)
    given, taken = _place(way, gives), _place(way, takes)
    return Program(op[order], way, number[order], gives, takes, given, taken, n_compute)


def _crosses(
    rows: WorkerRows, way: Int64Array, chunk: Int32Array, sizes: Mapping[str, int]
) -> tuple[BoolArray, BoolArray]:
    """Say of each computation whether another stage needs what it makes, or makes what it needs."""
    reach = np.maximum(chunk, 0) * sizes["pp_size"] + (way // 2) % rows.n_stage
    n_reach, onward = sizes["pp_size"] * sizes["vpp_size"], np.where(way % 2, 1, -1)
    ahead, behind = reach + onward, reach - onward
    return (ahead >= 0) & (ahead < n_reach), (behind >= 0) & (behind < n_reach)


def _lost(
    rows: WorkerRows, way: Int64Array, number: Int64Array, *, op: Int32Array, n_compute: Int64Array
) -> tuple[Int64Array, Int32Array]:
    """Way of each computation that was not recorded, and one like it on another worker of the step."""
    short = np.flatnonzero(np.bincount(way, minlength=n_compute.size) < n_compute)
    if not short.size:
        return np.empty(0, np.int64), np.empty(0, np.int32)
    group = 2 * rows.step[op].astype(np.int64) + way % 2
    like = np.lexsort((number, group))
    fresh = np.ones(like.size, np.bool_)
    fresh[1:] = (np.diff(group[like]) != 0) | (np.diff(number[like]) != 0)
    like = like[fresh]
    wanted = 2 * (short // 2 // (rows.n_worker // rows.step_number.size)) + short % 2
    begin = np.searchsorted(group[like], wanted)
    n = np.searchsorted(group[like], wanted, side="right") - begin
    lost = np.repeat(short, n)
    like = like[np.arange(lost.size) + np.repeat(begin + n - np.cumsum(n), n)]
    span = int(number.max()) + 1
    lacks = ~np.isin(lost * span + number[like], way * span + number)
    lacks &= number[like] < n_compute[lost]
    return lost[lacks], op[like[lacks]]


def _place(way: Int64Array, counts: BoolArray) -> Int64Array:
    """Count how many rows of the same way that count come before each row."""
    before: Int64Array = np.cumsum(counts) - counts
    return np.asarray(before - before[np.searchsorted(way, way)])


def find_computation(program: Program, way: Int64Array, number: Int64Array) -> Int64Array:
    """Find rows of a program.

    Parameters
    ----------
    program : Program
        Computations.
    way, number : (n,) arrays of int64
        Which.

    Returns
    -------
    (n,) array of int64
        Rows; -1 where there is none.
    """
    if not program.op.size:
        return np.full(way.size, -1)
    span = int(program.number.max()) + 1
    known = program.way * span + program.number
    row = np.minimum(np.searchsorted(known, way * span + number), known.size - 1)
    same = (program.way[row] == way) & (program.number[row] == number)
    return np.where(same, row, -1)


def crossings(program: Program, rows: WorkerRows, n_stage: int) -> tuple[Int64Array, Int64Array]:
    """Find which computation makes what which other one needs.

    Parameters
    ----------
    program : Program
        Computations.
    rows : WorkerRows
        Ops.
    n_stage : int
        Declared number of stages.

    Returns
    -------
    maker, user : (n,) arrays of int64
        Rows of the program: neighbours in the pipeline, in the order in which either computes.
    """
    given, taken = np.flatnonzero(program.gives), np.flatnonzero(program.takes)
    stage = (program.way // 2) % rows.n_stage
    replica = program.way // 2 // rows.n_stage
    sender = (stage - np.where(program.way % 2, 1, -1)) % n_stage
    n_place = int(program.number.max(initial=0)) + 1

    def key(row: Int64Array, of: Int64Array, place: Int64Array) -> Int64Array:
        where = (replica[row] * n_stage + of[row]) * 2 + program.way[row] % 2
        return np.asarray(where * n_place + place[row])

    made, needed = key(given, stage, program.place_given), key(taken, sender, program.place_taken)
    _, maker, user = np.intersect1d(made, needed, assume_unique=True, return_indices=True)
    return given[maker], taken[user]
