"""A recorded job of microbatches as durations of the synthesis: measured classes, ranks and residuals."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import UsageError
from loadpath.forecast.skeleton import OpKind
from loadpath.units import NS_PER_S

__all__ = ["ENDS", "PASSES", "MeasuredPipeline", "measure_pipeline"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

KINDS = {
    "forward-compute": OpKind.FORWARD,
    "backward-compute": OpKind.BACKWARD,
    "forward-send": OpKind.SEND,
    "backward-send": OpKind.SEND,
    "params-all-gather": OpKind.GATHER,
    "grads-reduce-scatter": OpKind.REDUCE,
    "separate-grads-all-reduce": OpKind.REDUCE,
    "embedding-grads-all-reduce": OpKind.TIE,
    "layernorm-grads-all-reduce": OpKind.CLIP,
    "optimizer-clip-main-grad": OpKind.CLIP,
    "optimizer": OpKind.UPDATE,
    "gc": OpKind.UPDATE,
}
"""What the ops of a microbatch recording do; a receive's transfer is that of its send."""

PASSES = (OpKind.FORWARD, OpKind.BACKWARD)
ENDS = (OpKind.GATHER, OpKind.REDUCE, OpKind.TIE, OpKind.CLIP, OpKind.UPDATE)
"""What begins and ends a step, once for each rank."""


@dataclass(frozen=True, slots=True)
class MeasuredPipeline:
    """What a recorded job of microbatches tells the synthesis.

    Attributes
    ----------
    seconds : (n_kind, stages, chunks) array
        Work of an op by `OpKind`, stage and chunk: the median over replicas, microbatches and steps.
    factor : (replicas, stages) array
        Passes of a rank over those of its peers, for good: median over median.
    excess : (2, stages, chunks, microbatches, n_turn) array
        By how much a pass took longer than is usual on its rank, as a share: forward and backward, in
        each step of each replica.
    end_excess : (n_kind, stages, n_turn) array
        The same of `ENDS`, all chunks together; 0 for what is not there.
    microbatches, tensor, accelerators : int
        Of a replica in a step; tensor width; accelerators, those that were not recorded included.
    reduces : bool
        Whether gradients are scattered, so that replicas share out optimiser and parameters.
    """

    seconds: FloatArray
    factor: FloatArray
    excess: FloatArray
    end_excess: FloatArray
    microbatches: int
    tensor: int
    accelerators: int
    reduces: bool

    @property
    def stages(self) -> int:
        """Pipeline stages."""
        return int(self.seconds.shape[1])

    @property
    def chunks(self) -> int:
        """Model chunks of a stage."""
        return int(self.seconds.shape[2])

    @property
    def replicas(self) -> int:
        """Data-parallel replicas."""
        return int(self.factor.shape[0])


def measure_pipeline(
    op: pl.DataFrame,
    work_ns: ArrayLike,
    layout: Mapping[str, int],
    *,
    steps: ArrayLike | None = None,
) -> MeasuredPipeline:
    """Take the classes, the lasting differences of ranks and the residuals of an audited job.

    Parameters
    ----------
    op : polars.DataFrame
        Table `COUPLED_OP` of an audit of an op table.
    work_ns : (n_op,) array_like of int
        Work of each op: computation, or transfer without the wait before it.
    layout : mapping of str to int
        Parallel sizes as declared; ``tp_size`` and ``world_size`` are read.
    steps : array_like of int, optional
        Steps to take it from; all if left out.

    Returns
    -------
    MeasuredPipeline
        All of it measured.

    Raises
    ------
    UsageError
        If the record has no passes of microbatches, not the same ones in every step and replica, or
        none of the steps.
    """
    table = op.select(
        "name", "stage", "replica", "step",
        pl.max_horizontal("chunk", 0).alias("chunk"),
        pl.Series("work", np.asarray(work_ns) / NS_PER_S),
    ).with_row_index("place")  # fmt: skip
    if steps is not None:
        table = table.filter(pl.col("step").is_in(np.asarray(steps).tolist()))
    known = pl.DataFrame({"name": list(KINDS), "kind": [int(k) for k in KINDS.values()]})
    table = table.with_columns(pl.col("name").cast(pl.String)).join(known, on="name")
    passes = _passes(table)
    stages, chunks = passes.shape[2:4]
    usual = np.median(passes, axis=(1, 4, 5))
    own = np.median(passes, axis=(4, 5))
    seconds = _medians(table, (len(OpKind), stages, chunks))
    seconds[list(PASSES)] = usual
    # A rank is slower for good by its passes of both directions and all chunks together.
    factor = own.sum(axis=(0, 3)) / usual.sum(axis=(0, 2))
    excess = passes / (usual[:, None] * factor[None, :, :, None])[..., None, None] - 1
    order = np.moveaxis(excess, 1, -2)
    return MeasuredPipeline(
        seconds=seconds,
        factor=factor,
        excess=order.reshape(*order.shape[:-2], -1),
        end_excess=_end_excess(table, (passes.shape[1], stages, passes.shape[5])),
        microbatches=passes.shape[4],
        tensor=int(layout.get("tp_size", 1)),
        accelerators=int(layout.get("world_size", factor.size)),
        reduces="grads-reduce-scatter" in set(table["name"].unique()),
    )


def _passes(table: pl.DataFrame) -> FloatArray:
    """Give the passes as (direction, replica, stage, chunk, microbatch, step)."""
    passes = table.filter(pl.col("kind").is_in([int(k) for k in PASSES]))
    if passes.is_empty():
        raise UsageError(
            "The record has no forward and backward passes of microbatches, so that no pipeline can be "
            "synthesised from it. Give a design and calibrate its priors instead."
        )
    keys = ["kind", "replica", "stage", "chunk"]
    passes = passes.sort("place").with_columns(
        pl.int_range(pl.len()).over([*keys, "step"]).alias("microbatch")
    )
    codes = [
        passes[name].rank("dense").cast(pl.Int64).to_numpy() - 1
        for name in (*keys, "microbatch", "step")
    ]
    shape = tuple(int(code.max()) + 1 for code in codes)
    if passes.height != np.prod(shape) or shape[0] != len(PASSES):
        what = " x ".join(
            f"{n} {name}" for n, name in zip(shape, (*keys, "microbatch", "step"), strict=True)
        )
        raise UsageError(
            f"The record has {passes.height} passes, not {what}: steps, replicas or stages differ, or "
            "some were not recorded. Choose steps that are whole."
        )
    found = np.empty(shape)
    found[tuple(codes)] = passes["work"].to_numpy()
    return found


def _medians(table: pl.DataFrame, shape: tuple[int, ...]) -> FloatArray:
    """Give medians of each kind and place; ops of one kind that follow each other add up."""
    seconds = np.zeros(shape)
    sends = table.filter(pl.col("kind") == int(OpKind.SEND)).group_by("stage")
    for stage, work in sends.agg(pl.col("work").median()).iter_rows():
        seconds[OpKind.SEND, stage] = work
    turns = pl.struct("replica", "step").n_unique()
    each = table.group_by("kind", "name", "stage", "chunk").agg(
        pl.col("work").median() * pl.len() / turns
    )
    for kind, _, stage, chunk, work in each.sort("kind", "name", "stage", "chunk").iter_rows():
        if kind != OpKind.SEND:
            seconds[kind, stage, chunk] += work
    return seconds


def _end_excess(table: pl.DataFrame, shape: tuple[int, int, int]) -> FloatArray:
    """Give the excess of what begins and ends a step, over its median, by kind, stage and turn."""
    replicas, stages, steps = shape
    found = np.zeros((len(OpKind), stages, replicas, steps))
    each = (
        table.filter(pl.col("kind").is_in([int(k) for k in ENDS]))
        .with_columns(pl.col("replica", "step").rank("dense").cast(pl.Int64) - 1)
        .group_by("kind", "stage", "replica", "step")
        .agg(pl.col("work").sum())
        .with_columns(usual=pl.col("work").median().over("kind", "stage"))
        .filter(pl.col("usual") > 0)
    )
    place = tuple(each[name].to_numpy() for name in ("kind", "stage", "replica", "step"))
    found[place] = each["work"].to_numpy() / each["usual"].to_numpy() - 1
    return found.reshape(len(OpKind), stages, replicas * steps)
