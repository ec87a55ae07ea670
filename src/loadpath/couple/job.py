"""A coupled job: graph ops, their graph, and what the recording says of each op's wait and work."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl

from loadpath.couple import kernels
from loadpath.couple.graph import Coupling, CouplingGraph, Int64Array, build_graph
from loadpath.tables import OP, Recording, TableSchema
from loadpath.tables.schema import Column

__all__ = [
    "BETWEEN_CALLS",
    "COUPLED_OP",
    "MECHANISMS",
    "ON_THREAD",
    "CoupledJob",
    "Runs",
    "assemble_job",
]

BETWEEN_CALLS = "host between calls: "
"""Begins the class of host time that no recorded call explains."""
ON_THREAD = " on thread "
"""Before the number of the thread, in classes of work that the threads of a rank share."""
MECHANISMS = ("device", "host", "input", "communication", "overhead", "unknown")
"""What an op's duration depends on: `overhead` is what a message takes of a processor; `unknown` is
where the record cannot split device from host."""

COUPLED_OP = TableSchema(
    "coupled_op",
    "one op of the coupled graph; the row number is the op's id",
    (
        *(column for column in OP.columns if column.name not in {"tag", "comms_id", "external"}),
        Column("op_class", pl.Categorical, "what peers share: name and shape; see also position"),
        Column("position", pl.Int32, "k-th of its class on its rank in the step; 0 where pooled"),
        Column("mechanism", pl.Enum(MECHANISMS), "what its duration depends on"),
        Column("stage", pl.Int32, "pipeline stage of its rank, 0 without pipeline"),
        Column("replica", pl.Int32, "data-parallel replica of its rank, 0 if unknown"),
    ),
)


class Runs(NamedTuple):
    """When the ops of a graph of one step ran, each time that it ran.

    Attributes
    ----------
    step : (n_run,) array of int64
        Step number of each run, ascending.
    start_ns, duration_ns : (n_run, n_op) arrays of int64
        As recorded, in ns.
    """

    step: Int64Array
    start_ns: Int64Array
    duration_ns: Int64Array


@dataclass(frozen=True, slots=True)
class CoupledJob:
    """Ops of all ranks, their coupled graph, and the recording split into wait and work.

    A job whose steps are coupled alike is held as runs of one graph: tables and graph are those of
    its first step, and what was measured has a row for each run, ``(n_run, n_op)``. `lay_out` turns
    it into one graph of all steps.

    Attributes
    ----------
    source : {"op_table", "kineto", "goal", "otf2"}
        Kind of record.
    op : polars.DataFrame
        Table `COUPLED_OP`, one row per op of the graph; times after the first start.
    rank, lane, step, communicator, instance, membership, caveat : polars.DataFrame
        Tables of `loadpath.tables`.
    graph : CouplingGraph
        Couplings, numbered.
    work_ns : (n_op,) array of int64
        Duration of a computation, transfer of a communication op, or what remains of a
        synchronising call after its wait, in ns.
    lag_ns : (n_op,) array of int64
        Time between the last predecessor's end and the op's start that nothing explains, in ns.
    arrive_ns, wait_ns : (n_op,) arrays of int64
        When its data was ready and its lane free, and how long it then waited for others, in ns.
    negative_lag_ns : (n_op,) array of int64
        Time by which the op began (or ended) before a claimed predecessor ended; clamped, in ns.
    inputs : tuple of (str, str, int)
        Name, SHA-256 and bytes of every file read.
    layout : mapping of str to int
        Declared parallel sizes.
    runs : Runs, optional
        Recorded times of runs of one graph.
    """

    source: str
    op: pl.DataFrame
    rank: pl.DataFrame
    lane: pl.DataFrame
    step: pl.DataFrame
    communicator: pl.DataFrame
    instance: pl.DataFrame
    membership: pl.DataFrame
    caveat: pl.DataFrame
    graph: CouplingGraph
    work_ns: Int64Array
    lag_ns: Int64Array
    arrive_ns: Int64Array
    wait_ns: Int64Array
    negative_lag_ns: Int64Array
    inputs: tuple[tuple[str, str, int], ...] = ()
    layout: Mapping[str, int] = field(default_factory=dict)
    runs: Runs | None = None

    @property
    def n_op(self) -> int:
        """Number of ops in the graph."""
        return self.op.height

    @property
    def n_run(self) -> int:
        """How often the graph ran."""
        return self.runs.step.size if self.runs else 1

    @property
    def step_number(self) -> Int64Array:
        """(n_step,) numbers of all steps, of every run."""
        return self.runs.step if self.runs else self.graph.step

    @property
    def start_ns(self) -> Int64Array:
        """(n_op,) or (n_run, n_op) recorded starts, in ns."""
        return self.runs.start_ns if self.runs else self.op["start_ns"].to_numpy()

    @property
    def duration_ns(self) -> Int64Array:
        """(n_op,) or (n_run, n_op) recorded durations, in ns."""
        return self.runs.duration_ns if self.runs else self.op["duration_ns"].to_numpy()


def assemble_job(
    recording: Recording,
    op: pl.DataFrame,
    coupling: Coupling,
    *,
    instance: pl.DataFrame,
    membership: pl.DataFrame,
) -> CoupledJob:
    """Assemble the graph, and split every op's recorded time into lag, wait and work.

    Parameters
    ----------
    recording : Recording
        Where ranks, lanes, steps, communicators, caveats and inputs come from.
    op : polars.DataFrame
        Graph ops, table `COUPLED_OP`; ``start_ns`` counts from the first start (or from each
        step's start, where steps are not connected).
    coupling : Coupling
        Who waits for whom, by row of `op`.
    instance, membership : polars.DataFrame
        Communications and the parts ops play in them.

    Returns
    -------
    CoupledJob
        The coupled job.

    Raises
    ------
    StructureError
        If the couplings form a cycle.

    Notes
    -----
    A computation's work is its duration. A communication op arrives when its lane is free and its
    data is ready (or when it was recorded to start, if later); its instance is ready at the latest
    arrival among those it waits for; wait is ready minus arrival, and work (the transfer) is its
    recorded end minus ready. Where an op was recorded to start before a claimed predecessor ended,
    the difference is clamped and kept as negative lag.
    """
    COUPLED_OP.validate(op)
    graph = build_graph(coupling, lambda i: describe_op(op, i))
    is_member = np.zeros(op.height, np.bool_)
    is_member[coupling.member_op] = True
    arrive, work, lag, wait, negative = np.zeros((5, 1, op.height), np.int64)
    kernels.measure_runs(
        graph.first,
        graph.second,
        graph.overflow_node,
        graph.overflow_start,
        graph.overflow_pred,
        graph.role,
        graph.op,
        graph.fixed_ns,
        is_member,
        # writable, as times of runs are, so that one compiled version serves both
        *(np.array(op[name].to_numpy()[None, :]) for name in ("start_ns", "duration_ns")),
        *(arrive, work, lag, wait, negative),
    )
    return CoupledJob(
        source=recording.source,
        op=op,
        rank=recording.rank,
        lane=recording.lane,
        step=recording.step,
        communicator=recording.communicator,
        instance=instance,
        membership=membership,
        caveat=recording.caveat,
        graph=graph,
        work_ns=work[0],
        lag_ns=lag[0],
        arrive_ns=arrive[0],
        wait_ns=wait[0],
        negative_lag_ns=negative[0],
        inputs=recording.inputs,
        layout=recording.layout,
    )


def describe_op(op: pl.DataFrame, i: int) -> str:
    """Name an op for people.

    Parameters
    ----------
    op : polars.DataFrame
        Table of ops.
    i : int
        Row.

    Returns
    -------
    str
        Name, rank and step.
    """
    row = op.row(i, named=True)
    place = f"rank {row['rank']}" + (f", step {row['step']}" if row["step"] >= 0 else "")
    number = f" #{row['sequence']}" if row["sequence"] >= 0 else ""
    return f"{row['name']}{number} ({place})"
