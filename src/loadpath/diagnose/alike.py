"""Which transfers are alike: the same call, over groups of the same size that lie alike."""

from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.labels import compact, first_of, joint_code, place_in_group

__all__ = ["alike", "in_turn"]

IN_PAIRS = ("send", "recv")


def alike(job: CoupledJob) -> NDArray[np.int64]:
    """Tell what ops are compared with: their class, of transfers also the kind of their group.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    (n_op,) array of int64
        Codes. Groups of one class are of one kind if they are of one size and, where no spacing of
        ranks occurs but once among them, equally spaced: neighbours sum up over another network than
        every eighth rank.
    """
    op_class = compact(job.op["op_class"].to_physical().to_numpy())[1]
    communicator = job.op["communicator"].to_numpy().astype(np.int64)
    communicator[~_communicates(job)] = -1
    found, pair = compact(joint_code(op_class, communicator))
    first = first_of(pair, found.size)
    size, spacing = (shape[communicator[first]] for shape in _shapes(job))
    like = compact(joint_code(op_class[first], size))[1]
    kind = compact(joint_code(like, spacing))[1]
    fewest = np.full(int(like.max(initial=-1)) + 1, first.size)
    np.minimum.at(fewest, like, np.bincount(kind)[kind])
    return joint_code(like, np.where(fewest[like] > 1, spacing, 0))[pair]


def _shapes(job: CoupledJob) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Size of each communicator, and a number for how far apart its ranks are; the last of none."""
    table = job.communicator.select("communicator", "n_members", "members").rows()
    size, spacing = np.full((2, max((row[0] for row in table), default=-1) + 2), -1)
    seen: dict[tuple[int, ...], int] = {}
    for number, n_member, members in table:
        apart = tuple(b - a for a, b in pairwise(sorted(members)))
        size[number], spacing[number] = n_member, seen.setdefault(apart, len(seen))
    return size, spacing


def _communicates(job: CoupledJob) -> NDArray[np.bool_]:
    found = np.zeros(job.n_op, np.bool_)
    found[job.membership["op"].to_numpy()] = True
    return found


def in_turn(job: CoupledJob, like: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tell sizes of transfers apart by their turn in the step, where a trace does not say them.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    like : (n_op,) array of int64
        Result of `alike`.

    Returns
    -------
    (n_op,) array of int64
        Of collectives without a payload, how many such ones their rank ran before in the step; 0 of
        all others, and in op tables, whose names tell like from unlike. Messages of a pipeline are
        of one size.
    """
    turn = np.zeros(job.n_op, np.int64)
    if job.source == "op_table":
        return turn
    paired = job.op["collective"].cast(pl.String).is_in(IN_PAIRS).to_numpy()
    mine = np.flatnonzero(_communicates(job) & (job.op["bytes"].to_numpy() < 0) & ~paired)
    rank, step, start = (job.op[name].to_numpy()[mine] for name in ("rank", "step", "start_ns"))
    turn[mine] = place_in_group(joint_code(rank, like[mine], step), start)
    return turn
