"""Work that few of the peers do: what one rank does beyond the program of all is in excess."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.labels import compact, first_of, joint_code, numbered

__all__ = ["without_extra"]


def without_extra(
    job: CoupledJob, level_ns: NDArray[np.float64], place: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Lower the level of work at places of the program that at most half of the peers run.

    Parameters
    ----------
    job : CoupledJob
        Job recorded in traces, whose ranks run one program in each stage.
    level_ns : (n_op,) array of float64
        Level of each op among those peers that run its place; 0 for what has no such level.
    place : (n_op,) array of int64
        Code of class, stage and position.

    Returns
    -------
    (n_op,) array of float64
        Level among all peers, of which those that do not run it take 0. What a rank lacks of the
        program of its peers is work that it may do under other names (kernels of another tile): so much
        of its extra work, by mechanism, keeps its level.
    """
    rank, stage = (numbered(job.op[name])[0].astype(np.int64) for name in ("rank", "stage"))
    few = _few(place, rank, stage) & (level_ns > 0)
    if not few.any():
        return level_ns
    mechanism = numbered(job.op["mechanism"])[0].astype(np.int64)
    n_rank, n_mechanism = int(rank.max()) + 1, int(mechanism.max()) + 1
    cell = rank * n_mechanism + mechanism
    shape = (n_rank, n_mechanism)
    usual, extra = (
        np.bincount(cell, level_ns * some, n_rank * n_mechanism).reshape(shape)
        for some in (~few, few)
    )
    lacking = np.maximum(_middle(usual, rank, stage) - usual, 0.0)
    kept = np.minimum(lacking / np.where(extra > 0, extra, np.inf), 1.0)
    return np.where(few, level_ns * kept[rank, mechanism], level_ns)


def _few(
    place: NDArray[np.int64], rank: NDArray[np.int64], stage: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Mark places that so few ranks of their stage run that the lower median of all is 0."""
    where = compact(place)[1]
    n_run = _ranks_in(where, rank)[where]
    n_peer = _ranks_in(stage, rank)[stage]
    return np.asarray(n_peer - n_run > (n_peer - 1) // 2)


def _ranks_in(group: NDArray[np.integer], rank: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the ranks of each group."""
    found, pair = compact(joint_code(group, rank))
    return np.bincount(group[first_of(pair, found.size)])


def _middle(
    total: NDArray[Any], rank: NDArray[np.int64], stage: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Median over the ranks of its stage, for each rank."""
    stage_of = np.zeros(total.shape[0], np.int64)
    stage_of[rank] = stage
    middle = np.empty_like(total)
    for one in np.unique(stage_of):
        middle[stage_of == one] = np.median(total[stage_of == one], axis=0)
    return middle
