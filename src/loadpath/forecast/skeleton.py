"""A graph without durations: ops by kind, stage and chunk, so that one graph serves all designs."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.graph import Coupling, CouplingGraph, EdgeKind, build_graph

__all__ = [
    "Edge",
    "IntArray",
    "OpKind",
    "Part",
    "Skeleton",
    "assemble",
    "part_of",
    "small_skeleton",
]

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Edge = tuple[IntArray, IntArray, EdgeKind]


class OpKind(IntEnum):
    """What an op of a training step does."""

    OVERHEAD = 0
    """The loop of the host."""
    FORWARD = 1
    """One segment of a forward pass."""
    BACKWARD = 2
    """One segment of a backward pass."""
    SEND = 3
    """Activations or their gradients to a neighbouring stage."""
    REDUCE = 4
    """Gradients of a segment to the replicas."""
    GATHER = 5
    """Parameters of a segment from the replicas."""
    TIE = 6
    """Gradients of the embedding that the first and the last stage share."""
    CLIP = 7
    """The norm of the gradients over all stages."""
    UPDATE = 8
    """The optimiser."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A graph without durations.

    Attributes
    ----------
    graph : CouplingGraph
        Who waits for whom.
    kind, stage, chunk : (n_op,) arrays of int
        `OpKind` and place of each op.
    share : (n_op,) array of float
        Part of the duration of its kind and place that the op takes.
    replica : (n_op,) array of int
        Pipeline it belongs to.
    place : (n_op,) array of int
        Kind, stage and chunk in one number: where its duration is in a flat table of them.
    passed : (n_kind, stages, chunks) array of float
        How often each duration of such a table is spent on one pipeline.
    """

    graph: CouplingGraph
    kind: NDArray[np.int8]
    stage: NDArray[np.int32]
    chunk: NDArray[np.int32]
    share: NDArray[np.float64]
    replica: NDArray[np.int32]
    place: NDArray[np.intp]
    passed: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Part:
    """Some ops of one pipeline, numbered from `first`, and edges that their coupling needs.

    Attributes
    ----------
    first : int
        Number of the first op.
    kind, stage, chunk : (n,) arrays of int
        `OpKind` and place.
    share : (n,) array of float
        Part of the duration of their kind and place.
    edges : tuple of (source, target, EdgeKind)
        Ops that wait for others.
    """

    first: int
    kind: IntArray
    stage: IntArray
    chunk: IntArray
    share: NDArray[np.float64]
    edges: tuple[tuple[IntArray, IntArray, EdgeKind], ...] = ()

    @property
    def op(self) -> IntArray:
        """Numbers of the ops."""
        return np.arange(self.first, self.first + self.kind.size)

    @property
    def end(self) -> int:
        """Number after the last."""
        return self.first + self.kind.size


def part_of(
    first: int,
    kind: int | IntArray,
    stage: IntArray,
    *,
    chunk: int | IntArray = 0,
    share: float | FloatArray = 1.0,
    edges: tuple[Edge, ...] = (),
) -> Part:
    """Give some ops their numbers; one kind, chunk or share stands for all of them.

    Parameters
    ----------
    first : int
        Number of the first.
    kind : int or (n,) array of int
        What they do.
    stage : (n,) array of int
        Where.
    chunk : int or (n,) array of int
        Model chunk of the stage.
    share : float or (n,) array of float
        Part of the duration of their kind and place.
    edges : tuple of (source, target, EdgeKind)
        Ops that wait for others.

    Returns
    -------
    Part
        As given.
    """
    shape = stage.shape
    kinds = np.broadcast_to(np.asarray(kind, np.int64), shape)
    chunks = np.broadcast_to(np.asarray(chunk, np.int64), shape)
    shares = np.broadcast_to(np.asarray(share, np.float64), shape)
    return Part(first, kinds, stage, chunks, shares, edges)


def small_skeleton(
    kind: list[OpKind], stage: list[int], edges: list[tuple[int, int, EdgeKind]]
) -> Skeleton:
    """Couple a few ops of which every rank does the same.

    Parameters
    ----------
    kind : list of OpKind
        What each op does; the step begins with the first and ends with the last.
    stage : list of int
        Where it does it.
    edges : list of (int, int, EdgeKind)
        Source, target and reason.

    Returns
    -------
    Skeleton
        One rank for all.
    """
    where = np.array(stage)
    why = tuple((np.array([a]), np.array([b]), c) for a, b, c in edges)
    parts = [part_of(0, np.array([int(k) for k in kind]), where, edges=why)]
    return assemble(parts, (np.array([0]), np.array([len(kind) - 1])), 1)


def assemble(parts: list[Part], ends: tuple[IntArray, IntArray], replicas: int) -> Skeleton:
    """Repeat the ops of one pipeline for each replica, join what meets, and number the nodes.

    Parameters
    ----------
    parts : list of Part
        All ops of one pipeline.
    ends : (first, last) arrays of int
        Ops with which stages begin and end the step.
    replicas : int
        Pipelines that are laid out one by one.

    Returns
    -------
    Skeleton
        The graph.
    """
    kind, stage, chunk = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("kind", "stage", "chunk")
    )
    share = np.concatenate([part.share for part in parts])
    graph = build_graph(_coupling(parts, ends, replicas))
    shape = (len(OpKind), int(stage.max()) + 1, int(chunk.max()) + 1)
    place = np.ravel_multi_index((kind, stage, chunk), shape)
    passed = np.bincount(place, share, minlength=int(np.prod(shape))).astype(np.float64)
    return Skeleton(
        graph=graph,
        kind=np.tile(kind.astype(np.int8), replicas),
        stage=np.tile(stage.astype(np.int32), replicas),
        chunk=np.tile(chunk.astype(np.int32), replicas),
        share=np.tile(share, replicas),
        replica=np.repeat(np.arange(replicas, dtype=np.int32), kind.size),
        place=np.tile(place, replicas),
        passed=passed.reshape(shape),
    )


def _coupling(parts: list[Part], ends: tuple[IntArray, IntArray], replicas: int) -> Coupling:
    kind, stage = (np.concatenate([getattr(p, name) for p in parts]) for name in ("kind", "stage"))
    copies, n = np.arange(replicas)[:, None], kind.size
    none = np.empty(0, np.int64)
    edges = [(none, none, EdgeKind.PROGRAM), *(edge for part in parts for edge in part.edges)]
    source = np.concatenate([e[0] for e in edges]) + copies * n
    target = np.concatenate([e[1] for e in edges]) + copies * n
    kinds = np.concatenate([np.full(e[0].size, e[2], np.uint8) for e in edges])
    member, instance = _meetings(kind, stage, replicas)
    first, last = (op + copies * n for op in ends)
    return Coupling(
        n_op=n * replicas,
        edge_source=source.ravel().astype(np.int32),
        edge_target=target.ravel().astype(np.int32),
        edge_kind=np.tile(kinds, replicas),
        member_op=member.astype(np.int32),
        member_instance=instance.astype(np.int32),
        member_contributes=np.ones(member.size, np.bool_),
        member_waits=np.ones(member.size, np.bool_),
        begin_op=first.ravel().astype(np.int32),
        begin_step=np.zeros(first.size, np.int64),
        end_op=last.ravel().astype(np.int32),
        end_step=np.zeros(last.size, np.int64),
    )


def _meetings(kind: IntArray, stage: IntArray, replicas: int) -> tuple[IntArray, IntArray]:
    """Find who meets whom: the clip of all stages and replicas, the shared embedding, replicas."""
    n, copies = kind.size, np.arange(replicas)[:, None]
    members, instances, next_instance = [], [], 0
    clip = (np.flatnonzero(kind == OpKind.CLIP) + copies * n).ravel()
    if clip.size > 1:
        members, instances, next_instance = [clip], [np.zeros_like(clip)], 1
    tie = np.flatnonzero((kind == OpKind.TIE) & ((stage == 0) | (stage == stage.max())))
    if tie.size:
        members.append((tie + copies * n).ravel())
        instances.append(np.repeat(next_instance + copies.ravel(), tie.size))
        next_instance += replicas
    if replicas > 1:
        shared = np.flatnonzero((kind == OpKind.REDUCE) | (kind == OpKind.GATHER))
        members.append((shared + copies * n).ravel())
        instances.append(np.tile(next_instance + np.arange(shared.size), replicas))
    empty = [np.empty(0, np.int64)]
    return np.concatenate([*members, *empty]), np.concatenate([*instances, *empty])
