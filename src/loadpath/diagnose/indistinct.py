"""What the record cannot tell from a cause: other names of it, and what may hide in noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.candidate import Candidate
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.labels import compact, joint_code
from loadpath.diagnose.shared_work import device_kernels, ways_to_part

__all__ = ["behind_noise", "other_names"]

UNEQUAL_DATA = "data of unequal work"
COMMON_Z = 3.0
"""Standard deviations of agreement beyond which the parts of a step have something in common."""


def other_names(job: CoupledJob, cause: Candidate) -> tuple[str, ...]:
    """List other names of the ranks of a cause.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    cause : Candidate
        A place.

    Returns
    -------
    tuple of str
        Stages, hosts, ranks and microbatches that coincide with it.
    """
    stages = _ranks_of(job.op.group_by("stage").agg(pl.col("rank").unique().sort()).sort("stage"))
    known = job.rank.filter(pl.col("host") != "")
    hosts = _ranks_of(known.group_by("host").agg(pl.col("rank").sort()).sort("host"))
    several = len(stages) > 1
    alike = []
    if cause.kind != "stage" and several:
        alike += [f"stage {stage}" for stage, ranks in stages.items() if ranks == cause.ranks]
    if cause.kind == "stage" and len(cause.ranks) <= 2:
        alike.append(f"rank{'s' * (len(cause.ranks) > 1)} {', '.join(map(str, cause.ranks))}")
    if cause.kind == "stage":
        alike += [f"host {host}" for host, ranks in hosts.items() if ranks == cause.ranks]
    if cause.place == "rank" and cause.mechanism == "unknown":
        alike.append(f"host of {cause.key}")
        if not several and (job.op["microbatch"] >= 0).any():
            alike.append(f"the microbatches that {cause.key} was given")
    return tuple(alike)


def behind_noise(job: CoupledJob, effects: Effects, near: Sequence[Candidate]) -> tuple[str, ...]:
    """List what noise of all ranks may be instead.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        What each op's work consists of.
    near : sequence of Candidate
        Candidates that return nearly as much as all noise does.

    Returns
    -------
    tuple of str
        A rank that holds nearly all of the noise, though too seldom to be no chance; and, in traces of
        replicas of one rank, unequal data, where the kernels of a rank's step are long or short
        together.

    Notes
    -----
    The kernels of each rank and step are parted in two, every other one. Without anything that a step
    has in common the products of what both parts take beyond their level, less the rank's mean, are
    symmetric about 0, and their sum over its root sum of squares is a standard normal variable; beyond
    3 the step has something in common, of which traces do not tell whether it is the size of the data
    or the speed of the device.
    """
    ranks = [c.key for c in near if c.place == "rank" and len(c.ranks) == 1]
    hidden = job.source == "kineto" and not ways_to_part(job) and _common(job, effects) > COMMON_Z
    return (*ranks[:1], *([UNEQUAL_DATA] if hidden else []))


def _common(job: CoupledJob, effects: Effects) -> float:
    """Say by how many standard deviations the two parts of the steps of the ranks agree."""
    op = device_kernels(job, effects.level_ns)
    if not op.size:
        return 0.0
    rank, step = (job.op[name].to_numpy()[op] for name in ("rank", "step"))
    cells, cell = compact(joint_code(rank, step))
    half = 2 * cell + _every_other(cell)
    beyond, level = (
        np.bincount(half, weights=work[op], minlength=2 * cells.size).reshape(-1, 2)
        for work in (effects.work_ns - effects.level_ns, effects.level_ns)
    )
    excess = beyond / np.maximum(level, 1.0)
    own = compact(rank[np.unique(cell, return_index=True)[1]])[1]
    mean = np.stack([np.bincount(own, e) / np.bincount(own) for e in excess.T], axis=1)
    product = (excess - mean[own]).prod(axis=1)
    spread = float(np.sqrt((product**2).sum()))
    return float(product.sum()) / spread if spread > 0 else 0.0


def _every_other(cell: NDArray[Any]) -> NDArray[np.int64]:
    """Give the rows of each cell the numbers 0, 1, 0, 1, ..."""
    order = np.argsort(cell, kind="stable")
    number = np.empty(cell.size, np.int64)
    number[order] = (np.arange(cell.size) - np.searchsorted(cell[order], cell[order])) % 2
    return number


def _ranks_of(table: pl.DataFrame) -> dict[int | str, tuple[int, ...]]:
    return {place: tuple(ranks) for place, ranks in table.iter_rows()}
