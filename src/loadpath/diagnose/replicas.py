"""Data-parallel replicas: who computes the same on other data, and may do without another."""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.labels import compact, joint_code, numbered

__all__ = ["NO_REPLICAS", "Replicas", "across_replicas", "find_replicas"]

MARK = "DistributedDataParallel.forward"
"""What PyTorch records on every rank whose gradients it reduces."""


NO_REPLICAS = "two data-parallel replicas or more, told by names of process groups or by a layout"
"""What is missing where the record does not tell replicas."""


class Replicas(NamedTuple):
    """The replicas of a job.

    Attributes
    ----------
    number : (n_op,) array of int32
        Replica of each op.
    names : list of str
        Their names.
    """

    number: NDArray[np.int32]
    names: list[str]


def find_replicas(job: CoupledJob) -> Replicas | None:
    """Say which ranks are replicas of each other.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    Replicas or None
        As the coordinates of ranks say; or each rank, where all ranks run
        `DistributedDataParallel` and no group but that of all ranks communicates. None where the
        record tells fewer than two.
    """
    number, names = numbered(job.op["replica"])
    if len(names) > 1:
        return Replicas(number, names)
    marked = job.op.filter(pl.col("name") == MARK)["rank"].n_unique()
    groups = job.communicator.filter(pl.col("n_members") > 1)["n_members"].unique().to_list()
    if job.rank.height < 2 or marked < job.rank.height or groups != [job.rank.height]:
        return None
    return Replicas(*numbered(job.op["rank"]))


def across_replicas(job: CoupledJob, replicas: Replicas) -> NDArray[np.bool_]:
    """Say which members of communications meet another replica there.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    replicas : Replicas
        Its replicas.

    Returns
    -------
    (n_membership,) array of bool
        By row of the job's table `membership`.
    """
    instance = compact(job.membership["instance"].to_numpy())[1]
    mine = replicas.number[job.membership["op"].to_numpy()]
    pairs = compact(joint_code(instance, mine))[1]
    first = np.zeros(int(pairs.max(initial=-1)) + 1, np.int32)
    first[pairs] = instance
    return np.asarray(np.bincount(first, minlength=1)[instance] > 1)
