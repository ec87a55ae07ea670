"""What may hide in noise of all ranks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.candidate import Candidate
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.labels import compact, joint_code
from loadpath.diagnose.shared_work import device_kernels, ways_to_part

__all__ = ["behind_noise"]

UNEQUAL_DATA = "data of unequal work"
COMMON_Z = 3.0
"""Standard deviations of agreement beyond which the parts of a step have something in common."""


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
    hidden = (
        job.source in {"kineto", "nsys"}
        and not ways_to_part(job)
        and _common(job, effects) > COMMON_Z
    )
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
