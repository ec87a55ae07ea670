"""A coupled job as tables, and back."""

import numpy as np
import polars as pl

from loadpath.couple.condensed.merge import Condensed
from loadpath.couple.condensed.sketch import sketch_of
from loadpath.couple.graph import Coupling
from loadpath.couple.job import COUPLED_OP, CoupledJob, assemble_job
from loadpath.errors import InputError
from loadpath.tables import BOUND, COUPLED, EDGE, OP, STEP, Coupled, Recording

__all__ = ["couple_condensed", "recording_of"]

SAID = ("op_class", "position", "mechanism", "stage", "replica")
"""Columns of the coupled op that no recorded op has."""
BEGINS, ENDS, RELEASED = range(3)
"""`bound.what`."""


def recording_of(job: CoupledJob, condensed: Condensed) -> Recording:
    """Tell a condensed job in tables.

    Parameters
    ----------
    job : CoupledJob
        The whole job, in one graph.
    condensed : Condensed
        The same in fewer ops.

    Returns
    -------
    Recording
        Of the same source; `couple_condensed` makes a job of it.
    """
    op, coupling = condensed.op, condensed.coupling
    told = pl.DataFrame({"n_merged": condensed.n_merged, "launch_latency_ns": _latency(coupling)})
    mine = pl.Series("op", condensed.of[job.membership["op"].to_numpy()])
    order = np.lexsort((coupling.edge_source, coupling.edge_target))
    edge = {
        "source": coupling.edge_source[order],
        "target": coupling.edge_target[order],
        "kind": coupling.edge_kind[order],
    }
    return Recording(
        source=job.source,
        op=OP.build(op.drop(*SAID).with_columns(correlation=pl.lit(-1), parent=pl.lit(-1))),
        lane=job.lane,
        communicator=job.communicator,
        rank=job.rank,
        step=STEP.empty(),
        caveat=job.caveat,
        inputs=job.inputs,
        layout=job.layout,
        coupled=Coupled(
            coupled=COUPLED.build(
                op.select(*SAID).with_columns(pl.col("mechanism").cast(pl.String)).hstack(told)
            ),
            edge=EDGE.build(edge),
            bound=_bounds(coupling),
            sketch=sketch_of(job, condensed),
            instance=job.instance,
            membership=job.membership.with_columns(mine).sort("op", "instance"),
        ),
    )


def couple_condensed(recording: Recording) -> CoupledJob:
    """Make a job of a compressed recording.

    Parameters
    ----------
    recording : Recording
        One with `coupled`.

    Returns
    -------
    CoupledJob
        The coupled job.

    Raises
    ------
    InputError
        If the recording was not compressed.
    StructureError
        If its couplings form a cycle.
    """
    held = recording.coupled
    if held is None:
        raise InputError(recording.source, "is no compressed recording", "Make one first.")
    told = held.coupled.select(*SAID)
    op = COUPLED_OP.build(recording.op.drop("tag", "comms_id", "external").hstack(told))
    return assemble_job(
        recording,
        op,
        _coupling(held, op.height),
        instance=held.instance,
        membership=held.membership,
    )


def _coupling(held: Coupled, n_op: int) -> Coupling:
    member, edge = held.membership, held.edge
    bound = [held.bound.filter(pl.col("what") == what) for what in range(3)]
    begin, end, release = ((part["op"].to_numpy(), part["value"].to_numpy()) for part in bound)
    return Coupling(
        n_op=n_op,
        edge_source=edge["source"].to_numpy(),
        edge_target=edge["target"].to_numpy(),
        edge_kind=edge["kind"].to_numpy(),
        member_op=member["op"].to_numpy(),
        member_instance=member["instance"].to_numpy(),
        member_contributes=member["contributes"].to_numpy(),
        member_waits=member["waits"].to_numpy(),
        begin_op=begin[0],
        begin_step=begin[1],
        end_op=end[0],
        end_step=end[1],
        release_op=release[0],
        release_ns=release[1],
        launch_latency_ns=held.coupled["launch_latency_ns"].to_numpy(),
    )


def _latency(coupling: Coupling) -> np.ndarray:
    latency = coupling.launch_latency_ns
    return np.zeros(coupling.n_op, np.int64) if latency is None else latency


def _bounds(coupling: Coupling) -> pl.DataFrame:
    parts = (
        (BEGINS, coupling.begin_op, coupling.begin_step),
        (ENDS, coupling.end_op, coupling.end_step),
        (RELEASED, coupling.release_op, coupling.release_ns),
    )
    return pl.concat(
        BOUND.build({"op": op, "what": np.full(op.size, what), "value": value})
        for what, op, value in parts
    )
