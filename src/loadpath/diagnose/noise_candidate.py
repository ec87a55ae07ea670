"""Noise as a candidate cause: what steady work of the same mean would return."""

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.alike import alike
from loadpath.diagnose.candidate import Candidate
from loadpath.diagnose.labels import compact, joint_code
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.medians import reduced

__all__ = ["noise_candidate"]


def noise_candidate(job: CoupledJob, work_ns: FloatArray, taken: NDArray[np.bool_]) -> Candidate:
    """Take what ops differ by from the mean of their peers, over ranks and steps, as a candidate.

    The mean, not the median, is what remains: only waiting for whoever is slow this time is lost to
    noise. What all ranks do alike, and skewed laws of ops that even out within a step, are not.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    work_ns : (n_op,) or (n_run, n_op) array of float64
        Work in which places that cost time are ideal.
    taken : (n_op,) array of bool
        Ops of such places, which have no noise left.

    Returns
    -------
    Candidate
        Kind jitter.
    """
    op = np.flatnonzero(~taken).astype(np.int32)
    transfers = np.zeros(job.n_op, np.bool_)
    transfers[job.membership["op"].to_numpy()] = True
    like, stage, position = alike(job), *(job.op[n].to_numpy() for n in ("stage", "position"))
    stage = np.where(transfers, -1, stage)
    found, peers = compact(joint_code(like, stage, position)[op])
    mean = reduced(np.add, peers, work_ns[..., op], found.size)
    mean = np.atleast_2d(mean).mean(axis=0) / np.bincount(peers)
    return Candidate(
        kind="jitter",
        place="all",
        mechanism="noise",
        key="noise of all ranks",
        op=op,
        change_ns=mean[peers] - work_ns[..., op],
        significant=True,
        specificity=4,
        ranks=tuple(job.rank["rank"].to_list()),
    )
