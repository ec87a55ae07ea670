r"""The coupled graph of a training step: passes of all stages, transfers, gradients, optimiser.

One pipeline stands for all replicas, one rank of each stage for its tensor-parallel peers: they do
the same at the same time unless noise tells them apart. Ops that cost time are numbered by kind,
stage and chunk, so that one graph serves all durations::

    stage 0   overhead F F .. F B F B ..  B | reduce | clip | update | gather
                        \      / \                     |
    stage 1   overhead   F .. B   F B ..  B | reduce | clip | update | gather
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadpath.couple.graph import Coupling, CouplingGraph, EdgeKind, build_graph

__all__ = ["Form", "OpKind", "Skeleton", "pass_order", "skeleton", "small_skeleton"]

IntArray = NDArray[np.int64]


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


class Form(Struct, frozen=True, kw_only=True):
    """What decides which ops there are, and who waits for whom: equal forms share a graph.

    Attributes
    ----------
    stages, chunks, microbatches : int
        Of one pipeline.
    segments : int
        Parts of a pass whose gradients or parameters travel apart.
    stage_overlap : bool
        Whether a stage goes on while it sends.
    reduce, gather : {"none", "after", "beside"}
        Whether gradients and parameters travel at all, and if beside computation.
    every_pass : bool
        Whether each pass gathers its parameters anew (FSDP), and each backward pass reduces.
    tied : bool
        Whether the first and the last stage share an embedding.
    replicas : int
        Pipelines that are laid out one by one; 1 stands for all.
    """

    stages: int
    chunks: int
    microbatches: int
    segments: int
    stage_overlap: bool
    reduce: str
    gather: str
    every_pass: bool
    tied: bool
    replicas: int = 1


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
    """

    graph: CouplingGraph
    kind: NDArray[np.int8]
    stage: NDArray[np.int32]
    chunk: NDArray[np.int32]
    share: NDArray[np.float64]
    replica: NDArray[np.int32]


def pass_order(stages: int, chunks: int, microbatches: int) -> tuple[IntArray, IntArray, IntArray]:
    """Order the passes of every stage: 1F1B, interleaved where a stage holds several chunks.

    Parameters
    ----------
    stages, chunks, microbatches : int
        Of the pipeline.

    Returns
    -------
    backward, chunk, microbatch : (stages, 2 * chunks * microbatches) arrays of int
        Direction (0 forward, 1 backward) and place of each pass.

    References
    ----------
    .. [1] D. Narayanan et al., "Efficient large-scale language model training on GPU clusters
       using Megatron-LM", SC 2021.

    Examples
    --------
    >>> pass_order(3, 1, 4)[0].tolist()
    [[0, 0, 0, 1, 0, 1, 1, 1], [0, 0, 1, 0, 1, 0, 1, 1], [0, 1, 0, 1, 0, 1, 0, 1]]
    """
    total = chunks * microbatches
    unit = np.arange(total)
    group = unit // (stages * chunks)
    width = np.minimum(stages, microbatches - group * stages)
    within = unit - group * stages * chunks
    chunk, microbatch = within // width, group * stages + within % width
    if chunks == 1:
        chunk, microbatch = np.zeros_like(unit), unit
    ahead = stages - 1 - np.arange(stages)
    if chunks > 1:
        ahead = 2 * ahead + (chunks - 1) * stages
    warm = np.minimum(ahead, total)[:, None]
    forward_at = np.where(unit < warm, unit, warm + 2 * (unit - warm))
    backward_at = np.where(unit < total - warm, warm + 2 * unit + 1, total + unit)
    shape = (stages, 2 * total)
    out = tuple(np.empty(shape, np.int64) for _ in range(3))
    rows = np.arange(stages)[:, None]
    for at, values in (
        (forward_at, (0, chunk, microbatch)),
        (backward_at, (1, chunks - 1 - chunk, microbatch)),
    ):
        for array, value in zip(out, values, strict=True):
            array[rows, at] = value
    return out[0], out[1], out[2]


@dataclass(frozen=True, slots=True)
class _Part:
    """Some ops of one pipeline, numbered from `first`, and edges that their coupling needs."""

    first: int
    kind: IntArray
    stage: IntArray
    chunk: IntArray
    share: NDArray[np.float64]
    edges: tuple[tuple[IntArray, IntArray, EdgeKind], ...] = ()

    @property
    def op(self) -> IntArray:
        return np.arange(self.first, self.first + self.kind.size)

    @property
    def end(self) -> int:
        return self.first + self.kind.size


@dataclass(frozen=True, slots=True)
class _Passes:
    """Where the ops of each pass are: (stages, passes) arrays, and (direction, s, c, m) back."""

    backward: IntArray
    chunk: IntArray
    microbatch: IntArray
    first: IntArray
    last: IntArray
    at: IntArray


@lru_cache(maxsize=128)
def skeleton(form: Form) -> Skeleton:
    """Couple one training step.

    Parameters
    ----------
    form : Form
        Its shape.

    Returns
    -------
    Skeleton
        Kept for the next design of the same form.
    """
    stage = np.arange(form.stages)
    start = _part(0, OpKind.OVERHEAD, stage)
    passes, computed = _computations(form, start)
    parts = [start, computed]
    for lay in (_sends, _gathers, _reductions):
        parts.append(lay(form, passes, parts))
    parts += _tail(form, passes, parts)
    return _finish(form, parts, ends=(parts[0].op, parts[-1].op))


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
    parts = [_part(0, np.array([int(k) for k in kind]), where, edges=why)]
    form = Form(
        stages=1, chunks=1, microbatches=1, segments=1, stage_overlap=False, reduce="none",
        gather="none", every_pass=False, tied=False,
    )  # fmt: skip
    return _finish(form, parts, ends=(np.array([0]), np.array([len(kind) - 1])))


def _part(
    first: int,
    kind: int | IntArray,
    stage: IntArray,
    chunk: IntArray | int = 0,
    share: float | NDArray[np.float64] = 1.0,
    edges: tuple[tuple[IntArray, IntArray, EdgeKind], ...] = (),
) -> _Part:
    def full(value: object, dtype: type) -> NDArray[np.generic]:
        return np.broadcast_to(np.asarray(value, dtype), stage.shape)

    return _Part(first, full(kind, int), stage, full(chunk, int), full(share, float), edges)


def _computations(form: Form, start: _Part) -> tuple[_Passes, _Part]:
    """Lay the passes of each stage out in program order, in segments where buckets need them."""
    back, chunk, microbatch = pass_order(form.stages, form.chunks, form.microbatches)
    n = np.ones_like(back)
    if form.every_pass:
        n[:] = form.segments
    else:
        if form.gather == "beside":
            n[(back == 0) & (microbatch == 0)] = form.segments
        if form.reduce == "beside":
            n[(back == 1) & (microbatch == form.microbatches - 1)] = form.segments
    ends = start.end + np.cumsum(n.ravel()).reshape(n.shape)
    first, last = ends - n, ends - 1
    stage = np.broadcast_to(np.arange(form.stages)[:, None], n.shape)
    at = np.empty((2, form.stages, form.chunks, form.microbatches), np.int64)
    at[back, stage, chunk, microbatch] = np.broadcast_to(np.arange(n.shape[1]), n.shape)
    times = n.ravel()
    kind = np.where(back == 1, OpKind.BACKWARD, OpKind.FORWARD)
    columns = [np.repeat(a.ravel(), times) for a in (kind, stage, chunk, 1.0 / n)]
    op = np.arange(start.end, int(ends[-1, -1]))
    same = columns[1][1:] == columns[1][:-1]
    edges = (
        (op[:-1][same], op[1:][same], EdgeKind.PROGRAM),
        (start.op, first[:, 0], EdgeKind.PROGRAM),
    )
    passes = _Passes(back, chunk, microbatch, first, last, at)
    return passes, _part(start.end, columns[0], columns[1], columns[2], columns[3], edges)


def _sends(form: Form, passes: _Passes, parts: list[_Part]) -> _Part:
    """Send activations onward and their gradients back, in the order in which they are made."""
    stage = np.broadcast_to(np.arange(form.stages)[:, None], passes.first.shape)
    back, chunk = passes.backward, passes.chunk
    step = np.where(back == 1, -1, 1)
    to_chunk = chunk + (stage + step) // form.stages
    sends = (to_chunk >= 0) & (to_chunk < form.chunks) & (form.stages > 1)
    to_stage = (stage + step) % form.stages
    where = passes.at[back[sends], to_stage[sends], to_chunk[sends], passes.microbatch[sends]]
    source, target = passes.last[sends], passes.first[to_stage[sends], where]
    first = parts[-1].end
    op = np.arange(first, first + source.size)
    edges = [(source, op, EdgeKind.DATA), (op, target, EdgeKind.DATA)]
    for direction in (0, 1):
        lane = op[back[sends] == direction]
        alike = np.diff(stage[sends][back[sends] == direction]) == 0
        edges.append((lane[:-1][alike], lane[1:][alike], EdgeKind.STREAM))
    if not form.stage_overlap:
        follows = np.zeros_like(sends)
        follows[:, :-1] = sends[:, :-1]
        after = np.roll(passes.first, -1, axis=1)[follows]
        edges.append((op[follows[sends]], after, EdgeKind.PROGRAM))
    return _part(first, OpKind.SEND, stage[sends], chunk[sends], 1.0, tuple(edges))


def _gathers(form: Form, passes: _Passes, parts: list[_Part]) -> _Part:
    """Gather parameters on a stream of their own, before the passes that need them."""
    first = parts[-1].end
    if form.gather != "beside":
        return _part(first, OpKind.GATHER, np.empty(0, np.int64))
    needs = np.ones_like(passes.first, bool)
    if not form.every_pass:
        needs = (passes.backward == 0) & (passes.microbatch == 0)
    target, stage, chunk = _segments(form, passes, needs)
    op = np.arange(first, first + target.size)
    edges = [(op, target, EdgeKind.CROSS_STREAM)]
    begin = np.concatenate([[True], np.diff(stage) != 0])
    overhead = parts[0].op
    edges.append((overhead[stage[begin]], op[begin], EdgeKind.CROSS_STREAM))
    edges.append((op[:-1][~begin[1:]], op[1:][~begin[1:]], EdgeKind.STREAM))
    if form.every_pass:
        same = stage[2:] == stage[:-2]
        edges.append((target[:-2][same], op[2:][same], EdgeKind.CROSS_STREAM))
    share = 1.0 / form.segments
    return _part(first, OpKind.GATHER, stage, chunk, share, tuple(edges))


def _reductions(form: Form, passes: _Passes, parts: list[_Part]) -> _Part:
    """Reduce gradients on a stream of their own, as soon as a segment is done with them."""
    first = parts[-1].end
    if form.reduce != "beside":
        return _part(first, OpKind.REDUCE, np.empty(0, np.int64))
    done = passes.backward == 1
    if not form.every_pass:
        done &= passes.microbatch == form.microbatches - 1
    source, stage, chunk = _segments(form, passes, done)
    op = np.arange(first, first + source.size)
    same = stage[1:] == stage[:-1]
    edges = [
        (source, op, EdgeKind.CROSS_STREAM),
        (op[:-1][same], op[1:][same], EdgeKind.STREAM),
    ]
    gathers = parts[-1]
    if form.every_pass and gathers.kind.size:
        edges.append(_interleaved(source, op, gathers))
    return _part(first, OpKind.REDUCE, stage, chunk, 1.0 / form.segments, tuple(edges))


def _interleaved(
    source: IntArray, op: IntArray, gathers: _Part
) -> tuple[IntArray, IntArray, EdgeKind]:
    """Let the gather that is issued after a reduction wait for it: both load the same links."""
    needed = np.asarray(gathers.edges[0][1])
    place = np.searchsorted(needed, source) + 2
    valid = place < needed.size
    valid[valid] &= gathers.stage[place[valid]] == gathers.stage[place[valid] - 2]
    return op[valid], gathers.op[place[valid]], EdgeKind.STREAM


def _segments(form: Form, passes: _Passes, chosen: NDArray[np.bool_]) -> tuple[IntArray, ...]:
    """List the segments of the chosen passes in program order: op, stage, chunk."""
    stage = np.broadcast_to(np.arange(form.stages)[:, None], chosen.shape)
    first = passes.first[chosen]
    op = (first[:, None] + np.arange(form.segments)).ravel()
    return (
        op,
        np.repeat(stage[chosen], form.segments),
        np.repeat(passes.chunk[chosen], form.segments),
    )


def _tail(form: Form, passes: _Passes, parts: list[_Part]) -> list[_Part]:
    """End each stage: what was not reduced beside, shared embedding, clip, update, gather."""
    stage = np.arange(form.stages)
    tail: list[_Part] = []
    previous, first = passes.last[:, -1], parts[-1].end
    joins = []
    reduced = parts[-1]
    if reduced.kind.size:
        final = np.concatenate([np.diff(reduced.stage) != 0, [True]])
        joins = [(reduced.op[final], EdgeKind.CROSS_STREAM)]
    kinds = [
        *([OpKind.REDUCE] * (form.reduce == "after")),
        *([OpKind.TIE] * (form.tied and form.stages > 1)),
        OpKind.CLIP,
        OpKind.UPDATE,
        *([OpKind.GATHER] * (form.gather == "after")),
    ]
    for kind in kinds:
        chunks = form.chunks if kind in {OpKind.REDUCE, OpKind.GATHER} else 1
        for chunk in range(chunks):
            op = np.arange(first, first + form.stages)
            edges = [(previous, op, EdgeKind.PROGRAM)]
            edges += [(source, op, why) for source, why in joins]
            joins = []
            share = ((stage == 0) | (stage == form.stages - 1)) * 1.0 if kind == OpKind.TIE else 1.0
            tail.append(_part(first, kind, stage, chunk, share, tuple(edges)))
            previous, first = op, first + form.stages
    return tail


def _finish(form: Form, parts: list[_Part], ends: tuple[IntArray, IntArray]) -> Skeleton:
    """Repeat the ops of one pipeline for each replica, join what meets, and number the nodes."""
    kind = np.concatenate([p.kind for p in parts])
    stage = np.concatenate([p.stage for p in parts])
    copies, n = np.arange(form.replicas)[:, None], kind.size
    none = np.empty(0, np.int64)
    edges = [(none, none, EdgeKind.PROGRAM), *(edge for part in parts for edge in part.edges)]
    source = np.concatenate([e[0] for e in edges]) + copies * n
    target = np.concatenate([e[1] for e in edges]) + copies * n
    kinds = np.concatenate([np.full(e[0].size, e[2], np.uint8) for e in edges])
    member, instance = _meetings(form, kind, stage)
    first, last = (op + copies * n for op in ends)
    coupling = Coupling(
        n_op=n * form.replicas,
        edge_source=source.ravel().astype(np.int32),
        edge_target=target.ravel().astype(np.int32),
        edge_kind=np.tile(kinds, form.replicas),
        member_op=member.astype(np.int32),
        member_instance=instance.astype(np.int32),
        member_contributes=np.ones(member.size, np.bool_),
        member_waits=np.ones(member.size, np.bool_),
        begin_op=first.ravel().astype(np.int32),
        begin_step=np.zeros(first.size, np.int64),
        end_op=last.ravel().astype(np.int32),
        end_step=np.zeros(last.size, np.int64),
    )
    chunk = np.concatenate([p.chunk for p in parts])
    share = np.concatenate([p.share for p in parts])
    return Skeleton(
        graph=build_graph(coupling),
        kind=np.tile(kind.astype(np.int8), form.replicas),
        stage=np.tile(stage.astype(np.int32), form.replicas),
        chunk=np.tile(chunk.astype(np.int32), form.replicas),
        share=np.tile(share, form.replicas),
        replica=np.repeat(np.arange(form.replicas, dtype=np.int32), n),
    )


def _meetings(form: Form, kind: IntArray, stage: IntArray) -> tuple[IntArray, IntArray]:
    """Find who meets whom: the clip of all stages and replicas, the shared embedding, replicas."""
    n, copies = kind.size, np.arange(form.replicas)[:, None]
    members, instances, next_instance = [], [], 0
    clip = (np.flatnonzero(kind == OpKind.CLIP) + copies * n).ravel()
    if clip.size > 1:
        members, instances, next_instance = [clip], [np.zeros_like(clip)], 1
    tie = np.flatnonzero((kind == OpKind.TIE) & ((stage == 0) | (stage == form.stages - 1)))
    if tie.size:
        members.append((tie + copies * n).ravel())
        instances.append(np.repeat(next_instance + copies.ravel(), tie.size))
        next_instance += form.replicas
    if form.replicas > 1:
        shared = np.flatnonzero((kind == OpKind.REDUCE) | (kind == OpKind.GATHER))
        members.append((shared + copies * n).ravel())
        instances.append(np.tile(next_instance + np.arange(shared.size), form.replicas))
    empty = [np.empty(0, np.int64)]
    return np.concatenate([*members, *empty]), np.concatenate([*instances, *empty])
