"""Ideals: what each op would need if it did as its peers do."""

from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.labels import joint_code
from loadpath.errors import UsageError

__all__ = [
    "BASELINES",
    "Baseline",
    "FloatArray",
    "ideal_work_ns",
    "peer_level_ns",
    "stage_level_ns",
]

FloatArray = NDArray[np.float64]
Baseline = Literal["median", "mean", "best"]
BASELINES: tuple[Baseline, ...] = ("median", "mean", "best")

BEST_QUANTILE = 0.1
"""The `best` baseline is this quantile of the peers, not the minimum, which noise decides."""


def ideal_work_ns(job: CoupledJob, baseline: Baseline) -> FloatArray:
    """Give every op the work that its peers need.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    baseline : {"median", "mean", "best"}
        ``median``: peers' median within class and stage, evened out over stages, for verdicts and
        savings. ``mean``: the published method, the mean of computations and the median of
        communications of one name over replicas, stages and steps. ``best``: a low quantile within
        class over all stages.

    Returns
    -------
    (n_op,) array of float64
        Ideal work in ns.

    Raises
    ------
    UsageError
        If the baseline is unknown.

    References
    ----------
    .. [1] J. Lin et al., OSDI 2025, arXiv:2505.05713.
    """
    if baseline == "median":
        level = peer_level_ns(job)
        return np.asarray(np.minimum(level, stage_level_ns(job, level)))
    if baseline not in BASELINES:
        raise UsageError(f"unknown baseline {baseline!r}. Use one of {', '.join(BASELINES)}.")
    if baseline == "best":
        frame = _frame(job, "place")
        value = pl.col("work").quantile(BEST_QUANTILE, "linear").over("place")
    else:
        key = "name_code" if job.source == "op_table" else "place"
        frame = _frame(job, *{key} - {"name_code"})
        value = (
            pl.when(pl.col("is_transfer") | (pl.col("kind") == "communicate"))
            .then(pl.col("work").median().over(key))
            .otherwise(pl.col("work").mean().over(key))
        )
    return frame.select(value.alias("ideal"))["ideal"].to_numpy().copy()


def peer_level_ns(job: CoupledJob) -> FloatArray:
    """Peers' median of every op: over ranks for work, over communicators for transfers.

    Peers of a computation share its class, stage and position in the step; peers of a transfer
    share its class. The median is taken over the medians of the peers (each over its steps and
    repetitions), so one culprit does not move it; of an even number it is the lower of the two
    middle ones, so that half of the peers may be slow.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    (n_op,) array of float64
        Level in ns.
    """
    frame = _frame(job, "class_code", "stage_class", "peers")
    transfer = _level(frame, "class_code", "class_code", "communicator")
    work = _level(frame, "peers", "stage_class", "rank")
    return np.where(frame["is_transfer"].to_numpy(), transfer, work)


def stage_level_ns(job: CoupledJob, level_ns: FloatArray) -> FloatArray:
    """Level of every computation if its stage did as the other stages do.

    Only classes that every stage runs equally often can be compared; others keep their level.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    level_ns : (n_op,) array of float64
        Peers' level within the stage.

    Returns
    -------
    (n_op,) array of float64
        Level over all stages in ns.
    """
    n_stage = job.op["stage"].n_unique()
    if n_stage == 1:
        return level_ns
    frame = _frame(job).with_columns(pl.Series("level", level_ns))
    if job.source != "op_table":
        return _scaled_stage_level(frame)
    by_stage = (
        frame.filter(~pl.col("is_transfer"))
        .group_by("name", "stage")
        .agg(pl.col("level").median(), pl.len().alias("n"))
    )
    ranks = frame.group_by("stage").agg(pl.col("rank").n_unique().alias("n_rank"))
    across = (
        by_stage.join(ranks, on="stage")
        .with_columns((pl.col("n") / pl.col("n_rank")).alias("each"))
        .group_by("name")
        .agg(
            pl.col("level").median().alias("across"),
            ((pl.len() == n_stage) & (pl.col("each").n_unique() == 1)).alias("whole"),
        )
    )
    joined = frame.join(across, on="name", how="left", maintain_order="left")
    compared = ~pl.col("is_transfer") & (pl.col("kind") == "compute") & pl.col("whole")
    return joined.select(
        pl.when(compared.fill_null(value=False)).then("across").otherwise("level").alias("ideal")
    )["ideal"].to_numpy()


def _scaled_stage_level(frame: pl.DataFrame) -> FloatArray:
    """Stages run different programs: scale each one's device work to the median stage's."""
    device = pl.col("kind").is_in(["compute", "copy"]) & ~pl.col("is_transfer")
    total = (
        frame.filter(device)
        .group_by("stage")
        .agg((pl.col("level").sum() / pl.struct("rank", "step").n_unique()).alias("total"))
        .with_columns((pl.col("total").median() / pl.col("total")).alias("scale"))
    )
    scaled = frame.join(total, on="stage", how="left", maintain_order="left").select(
        pl.when(device)
        .then(pl.col("level") * pl.col("scale").fill_null(1.0))
        .otherwise("level")
        .alias("ideal")
    )
    return scaled["ideal"].to_numpy()


def _frame(job: CoupledJob, *codes: str) -> pl.DataFrame:
    """Columns that peers are found by, those of `codes` as numbers, and the work."""
    is_transfer = np.zeros(job.n_op, np.bool_)
    is_transfer[job.membership["op"].to_numpy()] = True
    op_class, stage = job.op["op_class"].to_physical().to_numpy(), job.op["stage"].to_numpy()
    parts: dict[str, tuple[NDArray[Any], ...]] = {
        "class_code": (op_class,),
        "place": (op_class, job.op["position"].to_numpy()),
        "stage_class": (op_class, stage),
        "peers": (op_class, stage, job.op["position"].to_numpy()),
    }
    return job.op.select("rank", "step", "kind", "name", "stage", "communicator").with_columns(
        pl.col("name").to_physical().alias("name_code"),
        *(pl.Series(code, joint_code(*parts[code])) for code in codes),
        pl.Series("work", job.work_ns, pl.Float64),
        pl.Series("is_transfer", is_transfer),
    )


def _level(frame: pl.DataFrame, key: str, wide: str, peer: str) -> FloatArray:
    """Median over peers' medians; rows of groups too small to judge fall back to wider ones."""
    tight, n_value = _median_of_medians(frame, key, peer)
    if (n_value >= 3).all():
        return tight
    wider, n_wide = _median_of_medians(frame, wide, peer)
    return np.where((n_value >= 3) | (n_wide < 3), tight, wider)


def _median_of_medians(
    frame: pl.DataFrame, key: str, peer: str
) -> tuple[FloatArray, NDArray[np.uint32]]:
    """Level of each row's group, and the size of the group."""
    by_peer = frame.group_by(key, peer).agg(pl.col("work").median(), pl.len().alias("n"))
    levels = by_peer.group_by(key).agg(
        pl.col("work").quantile(0.5, "lower").alias("level"), pl.col("n").sum()
    )
    joined = frame.select(key).join(levels, on=key, how="left", maintain_order="left")
    return joined["level"].to_numpy().copy(), joined["n"].to_numpy()
