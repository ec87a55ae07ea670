"""Work that the threads of a rank share: what each would have if all had the same."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.couple.job import ON_THREAD
from loadpath.diagnose.labels import compact, joint_code, sum_by

__all__ = ["even_threads_ns", "shared_work", "where_most"]

FloatArray = NDArray[np.float64]
MOST_RATIO = 0.8
"""A thread is named if this share of a rank's excess lies on it; a stated policy."""


def shared_work(job: CoupledJob) -> tuple[NDArray[np.int32], list[str]]:
    """Say which shared work each op is part of: a class that several threads of a rank run.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    number : (n_op,) array of int32
        Entry of the names, -1 for none.
    names : list of str
        Classes without their thread.
    """
    code = job.op["op_class"].to_physical().to_numpy()
    known, first = np.unique(code, return_index=True)
    texts = job.op["op_class"].gather(first).cast(pl.String).to_list()
    bases = [text.rpartition(ON_THREAD)[0] for text in texts]
    names = sorted({base for base in bases if base and bases.count(base) > 1})
    row = {name: i for i, name in enumerate(names)}
    of_class = np.array([row.get(base, -1) for base in bases], np.int32)
    number = of_class[np.searchsorted(known, code)]
    number[job.membership["op"].to_numpy()] = -1
    return number, names


def even_threads_ns(job: CoupledJob, level_ns: FloatArray) -> FloatArray:
    """Level of every op if the threads of its rank shared their work evenly.

    What a class takes on each thread of a rank in a step is scaled to the mean over those threads.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    level_ns : (n_op,) array of float64
        Peers' level: of the same thread of other ranks.

    Returns
    -------
    (n_op,) array of float64
        Level in ns; the same sum for each rank, step and class.
    """
    number, names = shared_work(job)
    mine = np.flatnonzero(number >= 0)
    even = level_ns.copy()
    if not names:
        return even
    rank, lane, step = (job.op[name].to_numpy()[mine] for name in ("rank", "lane", "step"))
    found, team = compact(joint_code(number[mine], rank, step))
    threads, thread = compact(joint_code(team, lane))
    of_thread = sum_by(thread, level_ns[mine], threads.size)
    team_of = np.empty(threads.size, np.int64)
    team_of[thread] = team
    mean = sum_by(team_of, of_thread, found.size) / np.bincount(team_of, minlength=found.size)
    scale = np.divide(mean[team_of], of_thread, out=np.ones(threads.size), where=of_thread > 0)
    even[mine] *= scale[thread]
    return even


def where_most(
    job: CoupledJob, op: NDArray[np.integer], excess_ns: FloatArray, column: str
) -> tuple[str | int, float] | None:
    """Find the thread, or the region, on which most of an excess lies.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    op : (n,) array of int
        Ops of a cause.
    excess_ns : (n,) array of float64
        What they take too long, in ns.
    column : {"lane", "name"}
        What to sum over.

    Returns
    -------
    (str or int, float) or None
        Thread or region, and its share; None where no one has `MOST_RATIO` of it.
    """
    label = job.op[column].gather(op)
    by = (
        pl.DataFrame(
            {"label": label.cast(pl.String) if column == "name" else label, "ns": excess_ns}
        )
        .group_by("label")
        .agg(pl.col("ns").sum())
        .filter(pl.col("ns") > 0)
        .sort("ns", "label", descending=[True, False])
    )
    if by.is_empty():
        return None
    share = float(by["ns"][0]) / float(by["ns"].sum())
    return (by["label"][0], share) if share >= MOST_RATIO else None
