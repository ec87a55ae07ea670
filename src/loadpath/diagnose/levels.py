"""Ideals: what each op would need if it did as its peers do."""

from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.alike import alike, in_turn
from loadpath.diagnose.common_pauses import common_pauses
from loadpath.diagnose.extra_work import without_extra
from loadpath.diagnose.labels import compact, joint_code, numbered
from loadpath.diagnose.medians import medians, quantiles
from loadpath.diagnose.thread_shares import even_threads_ns
from loadpath.errors import UsageError

__all__ = [
    "BASELINES",
    "WAITS_FOR_DATA",
    "Baseline",
    "FloatArray",
    "ideal_work_ns",
    "peer_level_ns",
    "peer_levels",
    "stage_level_ns",
]

FloatArray = NDArray[np.float64]
Columns = tuple[NDArray[np.int64], NDArray[np.intp]]
"""Work of ops, perhaps in rows, and which of its columns are looked at."""
Baseline = Literal["median", "mean", "best"]
BASELINES: tuple[Baseline, ...] = ("median", "mean", "best")

WAITS_FOR_DATA = ("input", "checkpoint", "storage")
ONE_PROGRAM = ("kineto", "nsys")
"""Records in which the ranks of a stage run one program; rows of a table may be left out."""
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
    work = job.work_ns
    if baseline == "best":
        found, place = compact(_class_and_position(job))
        return _with_data_level(
            job, quantiles(place, work, found.size, BEST_QUANTILE)[place], baseline
        )
    of_table = job.source == "op_table"
    code = job.op["name"].to_physical().to_numpy() if of_table else _class_and_position(job)
    found, group = compact(code)
    communicates = _is_transfer(job) | (job.op["kind"] == "communicate").to_numpy()
    asked = np.flatnonzero(np.bincount(group, communicates, found.size)[group])
    middle, _ = medians(group[asked], work, found.size, column=asked)
    runs = work.reshape(-1, job.n_op)
    mean = np.bincount(group, runs.sum(axis=0), found.size) / (len(runs) * np.bincount(group))
    return _with_data_level(job, np.where(communicates, middle[group], mean[group]), baseline)


def _class_and_position(job: CoupledJob) -> NDArray[np.int64]:
    return joint_code(job.op["op_class"].to_physical().to_numpy(), job.op["position"].to_numpy())


def peer_level_ns(job: CoupledJob) -> FloatArray:
    """Peers' median of every op: over ranks for work, over communicators for transfers.

    Peers of a computation share its class, stage and position in the step; peers of a transfer
    share its class and kind of group, and its turn where its size is unknown. The median is taken over the medians of the peers (each over its steps and
    repetitions), so one culprit does not move it; of an even number it is the lower of the two
    middle ones, so that half of the peers may be slow.

    Waiting for data (input, checkpoints, files) belongs to no stage: its peers are all ranks, and a
    rank that waits for none of a class counts with 0. So what one rank alone writes is in excess.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    (n_op,) array of float64
        Level in ns, the same in every run.
    """
    return peer_levels(job)[0]


def peer_levels(job: CoupledJob) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Peers' median of every op, and where all peers pause at one place of their program.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    level_ns : (n_op,) array of float64
        As of `peer_level_ns`; of pauses, what other places need.
    paused : (n_op,) array of bool
        Result of `common_pauses`.
    """
    op_class = joint_code(job.op["op_class"].to_physical().to_numpy())
    stage, position, rank, communicator = (
        job.op[name].to_numpy() for name in ("stage", "position", "rank", "communicator")
    )
    is_transfer = _is_transfer(job)
    within = joint_code(op_class, stage)
    like = alike(job)
    turn = joint_code(like, in_turn(job, like))
    transfer = _level_of(job, is_transfer, (turn, like), peer=communicator)
    tight = joint_code(op_class, stage, position)
    own = _level_of(job, ~is_transfer, (tight, within), peer=rank)
    if job.source in ONE_PROGRAM:
        own = without_extra(job, own, tight)
    usual = common_pauses(job, own)
    paused = ~np.isnan(usual)
    own[paused] = usual[paused]
    return np.where(is_transfer, transfer, _with_data_level(job, own, "median")), paused


def _level_of(
    job: CoupledJob,
    wanted: NDArray[np.bool_],
    keys: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    peer: NDArray[np.int32],
) -> FloatArray:
    """Level of the ops that are wanted, by tight and wide keys; of some others it is 0."""
    op_class = joint_code(job.op["op_class"].to_physical().to_numpy())
    # peers may be ops that are not wanted, so whole classes are looked at
    mine = np.flatnonzero(np.bincount(op_class, wanted)[op_class])
    level = np.zeros(job.n_op)
    level[mine] = _level((job.work_ns, mine), *(key[mine] for key in keys), peer=peer[mine])
    return level


def _with_data_level(job: CoupledJob, level_ns: FloatArray, baseline: Baseline) -> FloatArray:
    """Replace the level of work that waits for data by what all ranks wait for it."""
    mine = _waits_for_data(job)
    if mine.any():
        work = job.work_ns[..., mine].astype(np.float64)
        like = joint_code(job.op["op_class"].to_physical().to_numpy()[mine])
        rank = job.op["rank"].to_numpy()[mine]
        level_ns[mine] = _data_level(work, (like, rank), job.rank.height, baseline)
    return level_ns


def _waits_for_data(job: CoupledJob) -> NDArray[np.bool_]:
    number, kinds = numbered(job.op["kind"])
    return np.isin(kinds, WAITS_FOR_DATA)[number] & ~_is_transfer(job)


def _data_level(
    work: FloatArray,
    peers: tuple[NDArray[np.int64], NDArray[np.int32]],
    n_rank: int,
    baseline: Baseline,
) -> FloatArray:
    """Level over all ranks by class, where those without such an op count as 0."""
    like, rank = peers
    found, pair = compact(joint_code(like, rank))
    group = np.empty(found.size, np.int64)
    group[pair] = compact(like)[1]
    n = np.bincount(group)
    if baseline == "mean":
        of_rank = np.bincount(pair, np.atleast_2d(work).mean(axis=0)) / np.bincount(pair)
        return np.asarray((np.bincount(group, of_rank) / n_rank)[group][pair])
    of_rank, _ = medians(pair, work, found.size)
    order = np.lexsort((of_rank, group))
    share = BEST_QUANTILE if baseline == "best" else 0.5
    place = int(share * (n_rank - 1)) - (n_rank - n)
    first = np.cumsum(n) - n
    level = np.where(place >= 0, of_rank[order][first + np.maximum(place, 0)], 0.0)
    return np.asarray(level[group][pair])


def stage_level_ns(job: CoupledJob, level_ns: FloatArray) -> FloatArray:
    """Level of every computation if its stage, or its thread, did as the others do.

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
        Level over all stages in ns; of one stage, over the threads that share work.
    """
    n_stage = job.op["stage"].n_unique()
    if n_stage == 1:
        return even_threads_ns(job, level_ns) if job.source == "otf2" else level_ns
    if job.source != "op_table":
        return _scaled_stage_level(
            job.op.select("rank", "step", "kind", "stage").with_columns(
                pl.Series("is_transfer", _is_transfer(job)), pl.Series("level", level_ns)
            )
        )
    name, names = numbered(job.op["name"])
    stage, rank = numbered(job.op["stage"])[0], numbered(job.op["rank"])[0]
    mine = ~_is_transfer(job)
    cell = name.astype(np.int64) * n_stage + stage
    by_stage, n = medians(cell[mine], level_ns[mine], len(names) * n_stage)
    holds = np.zeros((int(rank.max()) + 1, n_stage), np.bool_)
    holds[rank, stage] = True
    each = n.reshape(-1, n_stage) / holds.sum(axis=0)
    whole = (each > 0).all(axis=1) & (each == each[:, :1]).all(axis=1)
    across = np.median(by_stage.reshape(-1, n_stage), axis=1)
    compared = mine & (job.op["kind"] == "compute").to_numpy() & whole[name]
    return np.where(compared, across[name], level_ns)


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


def _is_transfer(job: CoupledJob) -> NDArray[np.bool_]:
    found = np.zeros(job.n_op, np.bool_)
    found[job.membership["op"].to_numpy()] = True
    return found


def _level(
    work: Columns, key: NDArray[np.int64], wide: NDArray[np.int64], *, peer: NDArray[np.int32]
) -> FloatArray:
    """Median over peers' medians; rows of groups too small to judge fall back to wider ones."""
    tight, n_value = _median_of_medians(work, key, peer)
    if (n_value >= 3).all():
        return tight
    wider, n_wide = _median_of_medians(work, wide, peer)
    return np.where((n_value >= 3) | (n_wide < 3), tight, wider)


def _median_of_medians(
    work: Columns, key: NDArray[np.int64], peer: NDArray[np.int32]
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Level of each column's group, and the size of the group."""
    found, pair = compact(joint_code(key, peer))
    of_peer, n = medians(pair, work[0], found.size, column=work[1])
    key_of_pair = np.empty(found.size, np.int64)
    key_of_pair[pair] = key
    keys, group = compact(key_of_pair)
    level, _ = medians(group, of_peer, keys.size, lower=True)
    size = np.bincount(group, n, minlength=keys.size).astype(np.int64)
    return level[group][pair], size[group][pair]
