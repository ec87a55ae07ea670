"""Which steps of a large job figures that are estimates look at; a stated policy."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.components import FEWEST_STEPS
from loadpath.tables import caveat_table

__all__ = ["MOST_OPS", "MOST_STEPS", "sample_runs", "sampled_caveat", "spread_out"]

MOST_OPS = 1_000_000
"""A job of more ops, whose steps are coupled alike, is sampled; a stated policy."""
MOST_STEPS = 128
"""Steps of a sample, which have at most `MOST_OPS` ops but are at least `FEWEST_STEPS`."""
GOLDEN_RATIO = (5**0.5 - 1) / 2


def sample_runs(job: CoupledJob) -> NDArray[np.intp]:
    """Choose the runs that estimates look at: all of them, unless the job is large.

    Parameters
    ----------
    job : CoupledJob
        A job, perhaps of several runs.

    Returns
    -------
    (n_kept,) array of int
        Rows of arrays that have one for each run, ascending.
    """
    if job.n_run * job.n_op <= MOST_OPS:
        return np.arange(job.n_run)
    most = min(MOST_STEPS, MOST_OPS // max(1, job.n_op))
    return spread_out(job.n_run, min(job.n_run, max(FEWEST_STEPS, most)))


def spread_out(n: int, n_kept: int) -> NDArray[np.intp]:
    r"""Take one entry of each of some stretches of equal length.

    Its place in stretch k is the fraction of :math:`\varphi\, k (k + 1) / 2`, with the golden ratio
    :math:`\varphi`: what comes with a period is met about as often as it is there, where a fixed
    distance (or a place that moves on evenly) meets some periods always or never.

    Parameters
    ----------
    n : int
        Entries there are.
    n_kept : int
        Entries wanted, at most `n`.

    Returns
    -------
    (n_kept,) array of int
        Entries, ascending.

    References
    ----------
    .. [1] H. Weyl, "Ueber die Gleichverteilung von Zahlen mod. Eins", Mathematische Annalen 77, 1916:
       quadratic sequences stay uniform whatever linear one is added.

    Examples
    --------
    >>> spread_out(12, 4).tolist(), spread_out(3, 3).tolist()
    ([0, 4, 8, 11], [0, 1, 2])
    """
    edge = np.arange(n_kept + 1) * n // n_kept
    k = np.arange(n_kept)
    place = k * (k + 1) // 2 * GOLDEN_RATIO % 1.0
    return edge[:-1] + (place * np.diff(edge)).astype(np.intp)


def sampled_caveat(job: CoupledJob) -> pl.DataFrame:
    """Say which share of the steps estimates look at, where it is not all.

    Parameters
    ----------
    job : CoupledJob
        A job, perhaps of several runs.

    Returns
    -------
    polars.DataFrame
        Table `CAVEAT` of one row, or none; it counts the steps that are left out.
    """
    n_kept = sample_runs(job).size
    text = (
        f"stability, limits and shares of interacting causes are estimated from {n_kept} of "
        f"{job.n_run:,} steps, spread evenly; everything else is of all steps"
    )
    return caveat_table([("sampled_steps", text, job.n_run - n_kept)])
