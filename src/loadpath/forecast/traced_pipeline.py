"""Traces of a pipeline as durations of the synthesis: passes told by sends, kernels by what they follow."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.errors import UsageError
from loadpath.forecast.audited_job import JobSize
from loadpath.forecast.audited_point import AuditedPipeline, mean_step_s
from loadpath.forecast.measured_pipeline import MeasuredPipeline
from loadpath.forecast.skeleton import OpKind
from loadpath.forecast.traced_work import TracedWork, parts_of_instances, traced_work
from loadpath.units import NS_PER_S

__all__ = ["FORWARD_SHARE", "OF_TRACES", "check_synthesis", "measure_traced_pipeline"]

FloatArray = NDArray[np.float64]
FORWARD_SHARE = 1 / 3
"""Of the passes of a microbatch: a backward pass multiplies twice what its forward pass does."""
MOST_UNTOLD = 0.1
"""Share of a step, at most, that the passes, sends, gradients and optimiser of traces may leave unexplained."""
OF_TRACES = (
    "microbatches are counted by sends, run one forward, one backward, and take a third of their kernels forward",
    "what of a step neither kernels nor transfers explain (host, schedule) stays as it is",
)
ENDS_SPENT = {OpKind.REDUCE: "reduce_s", OpKind.CLIP: "clip_s", OpKind.UPDATE: "update_s"}
SPENT = ("pass_s", *ENDS_SPENT.values())
NO_STAGES = (
    "The traces tell no stages that send to each other (mesh_pp, PIPELINE_MODEL_PARALLEL_GROUP), so that no "
    "pipeline can be synthesised from them. Leave --pipeline out, or give a design."
)


def measure_traced_pipeline(job: CoupledJob, replica: Mapping[int, int]) -> MeasuredPipeline:
    """Take the passes, sends, gradients and lasting differences of a traced pipeline.

    Parameters
    ----------
    job : CoupledJob
        Of an audit of traces, in one graph.
    replica : mapping of int to int
        Replica of each rank.

    Returns
    -------
    MeasuredPipeline
        Microbatches are counted by the sends to the next stage; what the kernels and tensor transfers of a
        rank took in a step is shared out among them, `FORWARD_SHARE` to the forward passes. Of gradients
        counts what does not travel beside passes. All passes of a rank in a step have the same excess.

    Raises
    ------
    UsageError
        If the traces tell no stages, or stages of several chunks, or steps and replicas differ in their
        passes.
    """
    if (job.rank["pp"] < 0).any() or job.rank["pp"].n_unique() < 2:
        raise UsageError(NO_STAGES)
    parts = parts_of_instances(job, dict(replica))
    work = traced_work(job, parts)
    sent = _sent(job, parts)
    spent = _spent(job, work, replica).sort("replica", "stage", "step")
    shape = tuple(spent[name].n_unique() for name in ("replica", "stage", "step"))
    if spent.height != np.prod(shape):
        raise UsageError("Not all stages of all replicas were recorded in every step.")
    table = {name: spent[name].to_numpy().reshape(shape) for name in SPENT}
    between = parts.filter(pl.col("n_replica") > 1)["collective"].cast(pl.String)
    return _measured(
        table, _microbatches(sent),
        send_s=[_median_s(sent, stage) for stage in range(shape[1])],
        tensor=max(work.tensor, 1),
        accelerators=job.rank.height,
        reduces=bool((between == "reduce_scatter").any()),
    )  # fmt: skip


def check_synthesis(audited: AuditedPipeline) -> None:
    """Refuse a pipeline whose synthesis does not meet the recorded steps.

    Parameters
    ----------
    audited : AuditedPipeline
        Of traces.

    Raises
    ------
    UsageError
        If more than a tenth of a step is left unexplained, or explained too much.
    """
    told = mean_step_s(replace(audited, overhead=0.0), JobSize()) / audited.step_s
    if abs(told - 1) > MOST_UNTOLD:
        raise UsageError(
            f"Passes, sends, gradients and optimiser of the traces make up {100 * told:.0f} % of a recorded step: the "
            "rest (host, another schedule) would not follow stages. Leave --pipeline out, or give a design."
        )


def _measured(
    table: Mapping[str, FloatArray], microbatches: int, *, send_s: list[float], **told: Any
) -> MeasuredPipeline:
    """Lay out what each (replica, stage, step) spent as durations of the synthesis."""
    passes = table["pass_s"] / microbatches
    replicas, stages, steps = passes.shape
    usual, own = np.median(passes, axis=(0, 2)), np.median(passes, axis=2)
    seconds = np.zeros((len(OpKind), stages, 1))
    seconds[OpKind.FORWARD, :, 0] = FORWARD_SHARE * usual
    seconds[OpKind.BACKWARD, :, 0] = (1 - FORWARD_SHARE) * usual
    seconds[OpKind.SEND, :, 0] = send_s
    for kind, name in ENDS_SPENT.items():
        seconds[kind, :, 0] = np.median(table[name], axis=(0, 2))
    # (stages, replicas * steps): what a rank took in a step beyond what is usual on it.
    excess = np.moveaxis(passes / own[..., None] - 1, 0, 1).reshape(stages, -1)
    shape = (2, stages, 1, microbatches, replicas * steps)
    return MeasuredPipeline(
        seconds=seconds,
        factor=own / usual,
        excess=np.broadcast_to(excess[None, :, None, None, :], shape).copy(),
        end_excess=np.zeros((len(OpKind), stages, replicas * steps)),
        microbatches=microbatches,
        **told,
    )


def _sent(job: CoupledJob, parts: pl.DataFrame) -> pl.DataFrame:
    """List the sends between stages: their rank, step and work, and how many stages ahead they go."""
    op = parts["op"].to_numpy()
    ends = parts.with_columns(
        job.op["rank"].gather(op), pl.Series("work_s", job.work_ns[op] / NS_PER_S)
    )
    role = pl.col("role").cast(pl.String)
    to = ends.filter(role == "receiver").select("instance", pl.col("pp").alias("to"))
    sent = (
        ends.filter((role == "sender") & (pl.col("step") >= 0))
        .join(to.unique("instance"), on="instance")
        .with_columns((pl.col("to") - pl.col("pp")).alias("ahead"))
    )
    if sent.is_empty():
        raise UsageError(NO_STAGES)
    if job.rank["pp"].n_unique() > 2 and sent.filter(pl.col("ahead").abs() != 1).height:
        raise UsageError(
            "Stages send beyond their neighbours (chunks of stages, interleaved): which pass a kernel is of "
            "the traces do not tell. Leave --pipeline out, or give a design."
        )
    return sent


def _microbatches(sent: pl.DataFrame) -> int:
    """Count those of a replica in a step, by the sends to the next stage."""
    ahead = sent.filter(pl.col("ahead") == 1).group_by("rank", "step")
    counts = ahead.agg(pl.col("instance").n_unique())["instance"]
    if counts.n_unique() != 1:
        raise UsageError(
            "Ranks or steps differ in how often they send to the next stage, so that microbatches cannot be counted."
        )
    return int(counts[0])


def _median_s(sent: pl.DataFrame, stage: int) -> float:
    times = sent.filter(pl.col("pp") == stage)["work_s"].to_numpy()
    return float(np.median(times)) if times.size else 0.0


def _spent(job: CoupledJob, work: TracedWork, replica: Mapping[int, int]) -> pl.DataFrame:
    """Add up what each stage of each replica spent in a step, over its tensor peers the median, in s."""
    computes = (job.op["mechanism"] == "device").to_numpy()
    passes = (computes & work.batch) | (work.peers > 0)
    everyone = work.members >= job.rank.height
    end = job.op["start_ns"].to_numpy() + job.op["duration_ns"].to_numpy()
    table = job.op.select(
        "rank", "step",
        pl.Series("pass_s", np.where(passes, job.work_ns, 0)),
        pl.Series("update_s", np.where(computes & ~work.batch, job.work_ns, 0)),
        pl.Series("clip_s", np.where(everyone, job.work_ns, 0)),
        pl.Series("end", end),
        pl.Series("begin", end - job.work_ns),
        pl.Series("computed", np.where(passes, end, 0)),
        pl.Series("reduces", (work.members > 0) & ~everyone),
    ).filter(pl.col("step") >= 0)  # fmt: skip
    last = pl.col("computed").max().over("rank", "step")
    bare = (pl.col("end") - pl.max_horizontal("begin", last)).clip(0)
    table = table.with_columns(pl.when("reduces").then(bare).otherwise(0).alias("reduce_s"))
    stages = dict(job.rank.select("rank", "pp").iter_rows())
    where = [
        pl.col("rank").replace_strict(told).alias(name)
        for name, told in (("stage", stages), ("replica", dict(replica)))
    ]
    # Sums of whole ns, which follow no order of their terms.
    each = table.group_by("rank", "step").agg(pl.col(name).sum() for name in SPENT)
    by_stage = each.with_columns(where).group_by("replica", "stage", "step")
    return by_stage.agg(pl.col(name).median() / NS_PER_S for name in SPENT)
