"""Couple op tables: the dependency model of pipeline and data parallelism, put into edges.

One worker (replica, stage) in one step::

    all-gather --> first forward of its chunk
    forward 0 -> forward 1 -> backward 0 -> ...           program order
    recv i  --> compute i,  compute i-1 --> recv i         (same direction)
    compute i --> send i                                   four streams, one per direction and role
    last compute -> gc -> layernorm -> embedding -> reduce-scatters -> clip -> optimizer

Sends and receives of neighbours, data-parallel collectives over replicas, the embedding all-reduce
of first and last stage, and the gradient clip of all workers are communication instances.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from loadpath.couple.graph import Coupling, Int32Array
from loadpath.couple.job import COUPLED_OP, CoupledJob, assemble_job
from loadpath.couple.pipeline_alike import run_alike
from loadpath.couple.pipeline_edges import worker_edges
from loadpath.couple.pipeline_members import Meetings, communicators, find_meetings
from loadpath.couple.pipeline_program import worker_program
from loadpath.couple.pipeline_rows import (
    OP_NAMES,
    Edges,
    WorkerRows,
    first_by_key,
    last_by_key,
    worker_rows,
)
from loadpath.couple.pipeline_transfers import hand_over, match_transfers
from loadpath.couple.steps import CoupledSteps, as_steps
from loadpath.errors import StructureError
from loadpath.tables import INSTANCE, MEMBERSHIP, Recording, caveat_table, unroll

__all__ = ["couple_steps"]


def couple_steps(recording: Recording) -> CoupledSteps:
    """Couple an op table; where all steps are coupled alike, the first of them alone.

    Parameters
    ----------
    recording : Recording
        Recording of source ``op_table``.

    Returns
    -------
    CoupledSteps
        One graph, and what was measured each time that it ran; steps are not connected, because they
        need not be adjacent.

    Raises
    ------
    StructureError
        If the order of ops contradicts itself.

    References
    ----------
    .. [1] J. Lin et al., "Understanding Stragglers in Large Model Training Using What-if
       Analysis", OSDI 2025, arXiv:2505.05713.
    """
    alike = recording.alike
    if alike is None:
        return as_steps(_couple(recording)[0])
    job, same = _couple(recording)
    return (
        CoupledSteps(job, alike.step, alike.start_ns, alike.duration_ns)
        if same
        else as_steps(_couple(unroll(recording))[0])
    )


def _couple(recording: Recording) -> tuple[CoupledJob, bool]:
    """Couple the ops there are, as `_join`; where that fails, say which of them were left out."""
    try:
        return _join(recording)
    except StructureError as error:
        problems = [*error.problems, *_left_out(recording)]
        raise StructureError(error.where, problems, error.remedy) from error


def _join(recording: Recording) -> tuple[CoupledJob, bool]:
    """Couple the ops there are; say whether all steps that are alike would be coupled like them."""
    placed = _place(recording)
    op, rows = worker_rows(placed)
    sizes = recording.layout
    uses_dp = sizes["dp_size"] * sizes["dsp_size"] > 1
    program = worker_program(rows, sizes)
    transfers = match_transfers(rows, program)
    passed = hand_over(rows, program, transfers, sizes["pp_size"])
    meetings = find_meetings(rows, (passed.send, passed.receive), sizes, uses_dp=uses_dp)
    communicator, of_instance = communicators(rows, meetings)
    alike = recording.alike
    # times stand in the order of the recorded ops
    same = alike is not None and op is placed and run_alike(rows, transfers, alike)
    n_run = alike.step.size if alike is not None and same else 1
    op = op.with_columns(_communicator(op, meetings, of_instance))
    job = assemble_job(
        _with_caveats(recording, transfers.n_uneven * n_run, passed.n_lone * n_run, communicator),
        op,
        _coupling(rows, [*worker_edges(rows, transfers, uses_dp=uses_dp), passed.lone], meetings),
        instance=_instances(op, meetings, of_instance),
        membership=_membership(meetings),
    )
    return job, same


def _left_out(recording: Recording) -> list[str]:
    """Say what an order that contradicts itself may come from: rows that could not be read."""
    left_out = recording.caveat.filter(pl.col("code").is_in(["unreadable_row", "unknown_op_type"]))
    n = int(left_out["n"].sum())
    return [f"{n} rows of the table were left out, which may be why"] if n else []


def _communicator(op: pl.DataFrame, meetings: Meetings, of_instance: Int32Array) -> pl.Series:
    column = np.full(op.height, -1, np.int32)
    column[meetings.op] = of_instance[meetings.instance]
    return pl.Series("communicator", column)


def _place(recording: Recording) -> pl.DataFrame:
    """Add what a graph op has beyond a recorded one."""
    op, rank = recording.op, recording.rank
    row = np.zeros(int(rank["rank"].max() or 0) + 1, np.int32)  # type: ignore[arg-type]
    row[rank["rank"].to_numpy()] = np.arange(rank.height)
    row_of_op = row[op["rank"].to_numpy()]
    communicates = op["kind"] == "communicate"
    mechanisms = pl.Series(["unknown", "communication"], dtype=COUPLED_OP.schema["mechanism"])
    return op.with_columns(
        _op_class(op),
        pl.lit(0, pl.Int32).alias("position"),
        mechanisms.gather(communicates.cast(pl.UInt32)).alias("mechanism"),
        rank["pp"].gather(row_of_op).alias("stage"),
        rank["dp"].gather(row_of_op).alias("replica"),
    ).select(*COUPLED_OP.schema)


def _op_class(op: pl.DataFrame) -> pl.Series:
    """Name of each op, with its chunk beyond the first."""
    chunk = np.maximum(op["chunk"].to_numpy(), 0)
    n_chunk = int(chunk.max(initial=0)) + 1
    endings = ["", *(f" chunk {k}" for k in range(1, n_chunk))]
    labels = [name + ending for name in OP_NAMES for ending in endings]
    name = op["name"].cast(pl.Enum(OP_NAMES)).to_physical().to_numpy()
    return pl.Series("op_class", labels).cast(pl.Categorical).gather(name * n_chunk + chunk)


def _coupling(rows: WorkerRows, edges: Sequence[Edges], meetings: Meetings) -> Coupling:
    begin, last = _first_of_ranks(rows), _last_of_names(rows)
    every = np.ones(meetings.op.size, np.bool_)
    return Coupling(
        n_op=rows.worker.size,
        edge_source=np.concatenate([e.source for e in edges]),
        edge_target=np.concatenate([e.target for e in edges]),
        edge_kind=np.repeat(
            np.array([e.kind for e in edges], np.uint8), [e.source.size for e in edges]
        ),
        member_op=meetings.op,
        member_instance=meetings.instance,
        member_contributes=every,
        member_waits=every,
        begin_op=begin,
        begin_step=rows.step_number[rows.step[begin]],
        end_op=last,
        end_step=rows.step_number[rows.step[last]],
    )


def _first_of_ranks(rows: WorkerRows) -> Int32Array:
    """Op with which each rank begins each step, by step and rank."""
    n_rank = int(rows.rank.max(initial=0)) + 1
    every = np.arange(rows.worker.size, dtype=np.int32)
    first = first_by_key(rows.step * n_rank + rows.rank, every, rows.step_number.size * n_rank)
    return first[first >= 0]


def _last_of_names(rows: WorkerRows) -> Int32Array:
    """Ops that may end a step: the last of each name on each rank (names share lanes)."""
    n_rank = int(rows.rank.max(initial=0)) + 1
    place = (rows.step * n_rank + rows.rank) * np.int32(len(OP_NAMES)) + rows.name
    latest = np.full(int(place.max(initial=0)) + 1, np.iinfo(np.int64).min)
    np.maximum.at(latest, place, rows.end_ns)
    is_last = np.flatnonzero(rows.end_ns == latest[place]).astype(np.int32)
    last = last_by_key(place[is_last], is_last, latest.size)
    return np.sort(last[last >= 0])


def _instances(op: pl.DataFrame, meetings: Meetings, of_instance: Int32Array) -> pl.DataFrame:
    first = meetings.op[meetings.first]
    return INSTANCE.build(
        op.select("collective", "sequence", "step")[first].with_columns(
            pl.Series("instance", np.arange(first.size, dtype=np.int32)),
            pl.Series("communicator", of_instance),
            pl.Series("n_members", np.diff(np.append(meetings.first, meetings.op.size))),
            pl.lit(value=True).alias("matched"),
        )
    )


def _membership(meetings: Meetings) -> pl.DataFrame:
    return MEMBERSHIP.build(
        pl.DataFrame({"op": meetings.op, "instance": meetings.instance}).with_columns(
            pl.lit("all").alias("role"),
            pl.lit(value=True).alias("contributes"),
            pl.lit(value=True).alias("waits"),
        )
    )


def _with_caveats(
    recording: Recording, n_uneven: int, n_lone: int, communicator: pl.DataFrame
) -> Recording:
    uneven = (
        "a worker's sends or receives do not match its computations in number: some are missing"
    )
    lone = "sends or receives have no recorded partner: their wait is unknown and counts as work"
    doubts = [("uneven_transfers", uneven, n_uneven), ("lone_transfer", lone, n_lone)]
    return replace(
        recording,
        communicator=communicator,
        caveat=pl.concat([recording.caveat, caveat_table(doubts)]),
    )
