"""Phases of a step, as far as the record tells them: forward, backward, update."""

import re

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob, NodeRole
from loadpath.couple.graph import EdgeKind
from loadpath.diagnose.labels import numbered

__all__ = ["PHASES", "op_phases"]

PHASES = ("forward", "backward", "update", "other")
"""`update`: gradients are reduced and clipped, the optimizer runs; `other`: the record does not say."""

AUTOGRAD = "autograd::engine"
OP_TABLE = (
    (re.compile(r"^(forward|params)-"), PHASES.index("forward")),
    (re.compile(r"^backward-"), PHASES.index("backward")),
    (re.compile(r"grad|^optimizer|^gc$"), PHASES.index("update")),
)
Int32Array = NDArray[np.int32]


def op_phases(job: CoupledJob) -> Int32Array:
    """Say of each op which phase of the step it belongs to.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    (n_op,) array of int32
        Place in `PHASES`. Op tables name the phase. In a trace, the optimizer is marked, and a thread
        other than the one that begins, on which autograd's nodes run, is that of the backward pass;
        what a thread launches belongs to its phase. Where they share a thread both are ``other``.
    """
    if job.source == "op_table":
        code, names = numbered(job.op["name"])
        return np.array([_named(name) for name in names], np.int32)[code]
    phase = _threads(job)
    graph = job.graph
    launch = np.flatnonzero((graph.role == NodeRole.LAUNCH) & (graph.first_kind == EdgeKind.LAUNCH))
    phase[graph.op[launch]] = phase[graph.op[graph.first[launch] - 1]]
    return phase


def _named(name: str) -> int:
    found = (phase for pattern, phase in OP_TABLE if pattern.search(name))
    return next(found, PHASES.index("other"))


def _threads(job: CoupledJob) -> Int32Array:
    """Phases of host ops by their thread, on ranks whose autograd has one of its own."""
    phase = np.full(job.n_op, PHASES.index("other"), np.int32)
    code, names = numbered(job.op["name"])
    is_node = np.array([name.startswith(AUTOGRAD) for name in names], np.bool_)[code]
    rank, lane, start = (
        job.op[name].to_numpy().astype(np.int64) for name in ("rank", "lane", "start_ns")
    )
    thread = rank << 32 | lane
    host = np.flatnonzero(job.op["mechanism"].is_in(["host", "input"]).to_numpy())
    host = host[np.lexsort((start[host], rank[host]))]
    _, first = np.unique(rank[host], return_index=True)
    backward = np.setdiff1d(thread[is_node], thread[host[first]])
    mixed = np.setdiff1d(thread[is_node], backward) >> 32
    apart = host[np.isin(rank[host], np.setdiff1d(backward >> 32, mixed))]
    phase[apart] = np.where(
        np.isin(thread[apart], backward), PHASES.index("backward"), PHASES.index("forward")
    )
    phase[(job.op["kind"] == "optimise").to_numpy()] = PHASES.index("update")
    return phase
