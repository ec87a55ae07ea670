r"""The coupled graph of a training step: passes of all stages, transfers, gradients, optimiser.

One pipeline stands for all replicas, one rank of each stage for its tensor-parallel peers: they do
the same at the same time unless noise tells them apart. Ops that cost time are numbered by kind,
stage and chunk, so that one graph serves all durations::

    stage 0   overhead F F .. F B F B ..  B | reduce | clip | update | gather
                        \      / \                     |
    stage 1   overhead   F .. B   F B ..  B | reduce | clip | update | gather
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadpath.couple.graph import EdgeKind
from loadpath.forecast.schedule import pass_order
from loadpath.forecast.skeleton import Edge, IntArray, OpKind, Part, Skeleton, assemble, part_of

__all__ = ["Form", "skeleton"]


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
class _Passes:
    """Where the ops of each pass are: (stages, passes) arrays, and (direction, s, c, m) back."""

    backward: IntArray
    chunk: IntArray
    microbatch: IntArray
    first: IntArray
    last: IntArray
    at: IntArray


@lru_cache(maxsize=64)
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
    start = part_of(0, OpKind.OVERHEAD, stage)
    passes, computed = _computations(form, start)
    parts = [start, computed]
    for lay in (_sends, _gathers, _reductions):
        parts.append(lay(form, passes, parts))
    parts += _tail(form, passes, parts)
    return assemble(parts, (parts[0].op, parts[-1].op), form.replicas)


def _computations(form: Form, start: Part) -> tuple[_Passes, Part]:
    """Lay the passes of each stage out in program order, in segments where buckets need them."""
    back, chunk, microbatch = pass_order(form.stages, form.chunks, form.microbatches)
    n = _segment_counts(form, back, microbatch)
    ends = start.end + np.cumsum(n.ravel()).reshape(n.shape)
    first, last = ends - n, ends - 1
    stage = np.broadcast_to(np.arange(form.stages)[:, None], n.shape)
    at = np.empty((2, form.stages, form.chunks, form.microbatches), np.int64)
    at[back, stage, chunk, microbatch] = np.broadcast_to(np.arange(n.shape[1]), n.shape)
    kind = np.where(back == 1, OpKind.BACKWARD, OpKind.FORWARD)
    columns = [np.repeat(a.ravel(), n.ravel()) for a in (kind, stage, chunk, 1.0 / n)]
    op = np.arange(start.end, int(ends[-1, -1]))
    same = columns[1][1:] == columns[1][:-1]
    edges = (
        (op[:-1][same], op[1:][same], EdgeKind.PROGRAM),
        (start.op, first[:, 0], EdgeKind.PROGRAM),
    )
    passes = _Passes(back, chunk, microbatch, first, last, at)
    return passes, part_of(
        start.end, columns[0], columns[1], chunk=columns[2], share=columns[3], edges=edges
    )


def _segment_counts(form: Form, back: IntArray, microbatch: IntArray) -> IntArray:
    """Count the segments of each pass: one, where nothing travels beside it."""
    n = np.ones_like(back)
    if form.every_pass:
        n[:] = form.segments
        return n
    if form.gather == "beside":
        n[(back == 0) & (microbatch == 0)] = form.segments
    if form.reduce == "beside":
        n[(back == 1) & (microbatch == form.microbatches - 1)] = form.segments
    return n


def _sends(form: Form, passes: _Passes, parts: list[Part]) -> Part:
    """Send activations onward and their gradients back, in the order in which they are made."""
    stage = np.broadcast_to(np.arange(form.stages)[:, None], passes.first.shape)
    to = stage + np.where(passes.backward == 1, -1, 1)
    to_chunk = passes.chunk + to // form.stages
    sends = (to_chunk >= 0) & (to_chunk < form.chunks) & (form.stages > 1)
    back, to_stage = passes.backward[sends], to[sends] % form.stages
    where = passes.at[back, to_stage, to_chunk[sends], passes.microbatch[sends]]
    first = parts[-1].end
    op = np.arange(first, first + back.size)
    edges = [
        (passes.last[sends], op, EdgeKind.DATA),
        (op, passes.first[to_stage, where], EdgeKind.DATA),
        *_lanes(op, stage[sends], back),
    ]
    if not form.stage_overlap:
        follows = np.zeros_like(sends)
        follows[:, :-1] = sends[:, :-1]
        after = np.roll(passes.first, -1, axis=1)[follows]
        edges.append((op[follows[sends]], after, EdgeKind.PROGRAM))
    chunk = passes.chunk[sends]
    return part_of(first, OpKind.SEND, stage[sends], chunk=chunk, edges=tuple(edges))


def _lanes(op: IntArray, stage: IntArray, back: IntArray) -> list[Edge]:
    """Keep the sends of a stage in one direction in order."""
    edges = []
    for direction in (0, 1):
        lane, at = op[back == direction], stage[back == direction]
        same = at[1:] == at[:-1]
        edges.append((lane[:-1][same], lane[1:][same], EdgeKind.STREAM))
    return edges


def _gathers(form: Form, passes: _Passes, parts: list[Part]) -> Part:
    """Gather parameters on a stream of their own, before the passes that need them."""
    first = parts[-1].end
    if form.gather != "beside":
        return part_of(first, OpKind.GATHER, np.empty(0, np.int64))
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
    return part_of(first, OpKind.GATHER, stage, chunk=chunk, share=share, edges=tuple(edges))


def _reductions(form: Form, passes: _Passes, parts: list[Part]) -> Part:
    """Reduce gradients on a stream of their own, as soon as a segment is done with them."""
    first = parts[-1].end
    if form.reduce != "beside":
        return part_of(first, OpKind.REDUCE, np.empty(0, np.int64))
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
    share = 1.0 / form.segments
    return part_of(first, OpKind.REDUCE, stage, chunk=chunk, share=share, edges=tuple(edges))


def _interleaved(
    source: IntArray, op: IntArray, gathers: Part
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


def _tail(form: Form, passes: _Passes, parts: list[Part]) -> list[Part]:
    """End each stage: what was not reduced beside, shared embedding, clip, update, gather."""
    stage = np.arange(form.stages)
    tail: list[Part] = []
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
            tail.append(part_of(first, kind, stage, chunk=chunk, share=share, edges=tuple(edges)))
            previous, first = op, first + form.stages
    return tail
