"""Which ops of a coupled job may be told as one: chains of a lane on which nothing else hangs.

Of a run of device ops between two couplings to anything but their own lane, the launches of the first
and the last are kept: the device starts no earlier than the one, and ends no earlier than the other::

    host    = h1 = h2 = h3 = h4 =            = h1 = h2, h3 = h4 =
               |    |    |    |       ->        |             |
    device     d1 = d2 = d3 = d4 = comm         d1, d2, d3 = d4 = comm
"""

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.graph import Coupling, EdgeKind, Int32Array, Int64Array
from loadpath.couple.job import CoupledJob

__all__ = ["chain_heads", "without_inner_launches"]

BoolArray = NDArray[np.bool_]
OF_LANE = (EdgeKind.PROGRAM, EdgeKind.STREAM)


def without_inner_launches(job: CoupledJob, coupling: Coupling) -> Coupling:
    """Drop launches that matter only if the device ran dry amid its work.

    Parameters
    ----------
    job : CoupledJob
        Coupled job, in one graph.
    coupling : Coupling
        Its couplings.

    Returns
    -------
    Coupling
        The same with fewer launches.
    """
    before = _lane_predecessor(job, coupling)
    alone = ~_tied(coupling, (EdgeKind.LAUNCH, *OF_LANE))
    follows = (before >= 0) & alone & alone[before]
    is_last = np.ones(coupling.n_op, np.bool_)
    is_last[before[follows]] = False
    inner = _everywhere(job, follows & ~is_last)
    kept = (coupling.edge_kind != EdgeKind.LAUNCH) | ~inner[coupling.edge_target]
    edges = {
        name: getattr(coupling, name)[kept] for name in ("edge_source", "edge_target", "edge_kind")
    }
    return replace(coupling, **edges)


def chain_heads(job: CoupledJob, coupling: Coupling) -> Int32Array:
    """Find the first op of the chain that each op is in.

    Parameters
    ----------
    job : CoupledJob
        Coupled job, in one graph.
    coupling : Coupling
        Its couplings.

    Returns
    -------
    (n_op,) array of int32
        The op itself where it stands alone. Peers (ops of one class and position) begin and end
        chains alike on all ranks and in all steps, so that what is added up stays comparable.
    """
    before = _lane_predecessor(job, coupling)
    plain = ~_tied(coupling, OF_LANE) & _placed_once(job)
    n_in = np.bincount(coupling.edge_target, minlength=coupling.n_op)
    n_out = np.bincount(coupling.edge_source, minlength=coupling.n_op)
    joins = (before >= 0) & plain & plain[before] & (n_in == 1) & (n_out[before] == 1)
    joined = np.flatnonzero(_everywhere(job, joins))
    head = np.arange(coupling.n_op, dtype=np.int32)
    head[joined] = before[joined]
    while (head != (further := head[head])).any():
        head = further
    return head


def _lane_predecessor(job: CoupledJob, coupling: Coupling) -> Int32Array:
    """Op of the same lane and step that each op follows directly; -1 for none."""
    source, target = coupling.edge_source, coupling.edge_target
    same = np.isin(coupling.edge_kind, OF_LANE)
    for name in ("rank", "lane", "step"):
        value = job.op[name].to_numpy()
        same &= value[source] == value[target]
    before = np.full(coupling.n_op, -1, np.int32)
    before[target[same]] = source[same]
    return before


def _tied(coupling: Coupling, but: tuple[EdgeKind, ...]) -> BoolArray:
    """Ops that begin or end something, talk, or have couplings of other kinds than `but`."""
    tied = np.zeros(coupling.n_op, np.bool_)
    other = ~np.isin(coupling.edge_kind, but)
    for ops in (
        coupling.edge_source[other],
        coupling.edge_target[other],
        coupling.member_op,
        coupling.release_op,
        coupling.begin_op,
        coupling.end_op,
    ):
        tied[ops] = True
    return tied


def _everywhere(job: CoupledJob, holds: BoolArray) -> BoolArray:
    """Keep what holds for all peers of an op: class and position on all ranks and in all steps."""
    place = _place(job)
    never = np.bincount(place[~holds], minlength=int(place.max(initial=0)) + 1) == 0
    kept: BoolArray = holds & never[place]
    return kept


def _placed_once(job: CoupledJob) -> BoolArray:
    """Ops that are the only ones of their class and position on their rank in their step."""
    frame = job.op.select("rank", "step", place=pl.Series(_place(job)))
    once: BoolArray = (
        frame.select(pl.len().over("rank", "step", "place") == 1).to_series().to_numpy()
    )
    return once


def _place(job: CoupledJob) -> Int64Array:
    """Give each op the number of its class and position."""
    code = job.op.select(pl.struct(pl.col("op_class").to_physical(), "position").rank("dense"))
    return code.to_series().to_numpy().astype(np.int64) - 1
