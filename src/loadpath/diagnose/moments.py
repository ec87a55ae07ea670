"""A look at every moment of every step: who waits for whom, and where the time of ranks goes.

Where steps are runs of one graph, a few are laid out at a time: what is kept of them are sums.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.couple.steps import windows
from loadpath.diagnose.exposure import Exposure, exposed, find_places
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.rank_time import RankSums, rank_sums, rank_time_table
from loadpath.diagnose.root_cause import WaitSums, wait_sums, wait_tables
from loadpath.diagnose.sinks import SinkKeys, sink_keys
from loadpath.replay import replay

__all__ = ["waiting_tables"]


class _Ideal(NamedTuple):
    """What all windows of one size share: where ops run, sinks, and the ideal replay."""

    work_ns: NDArray[np.int64]
    exposure: Exposure
    keys: SinkKeys


def waiting_tables(
    job: CoupledJob, ideal_ns: FloatArray, *, at_once: int | None = None
) -> dict[str, pl.DataFrame]:
    """Say what ranks did, what they waited for, and because of whom.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    ideal_ns : (n_op,) array of float64
        Work that each op would need, in ns.
    at_once : int, optional
        How many ops to lay out together; as `windows` chooses if left out.

    Returns
    -------
    dict of str to polars.DataFrame
        Tables ``rank_time``, ``sink`` and ``coupling``.
    """
    looks = _looks(job, ideal_ns, at_once)
    keys, ranks, waits = next(looks)
    for _, more_ranks, more_waits in looks:
        ranks, waits = ranks.plus(more_ranks), waits.plus(more_waits)
    sink, coupling = wait_tables(job, keys, waits)
    return {"rank_time": rank_time_table(job, ranks), "sink": sink, "coupling": coupling}


def _looks(
    job: CoupledJob, ideal_ns: FloatArray, at_once: int | None
) -> Iterator[tuple[pl.DataFrame, RankSums, WaitSums]]:
    """Look at a few steps at a time; pairs of rank and class are the same in all of them."""
    graph, ideal = None, None
    for some in windows(job, at_once):
        if ideal is None or some.graph is not graph:
            graph, ideal = some.graph, _ideal(some, np.tile(ideal_ns, some.n_op // job.n_op))
        yield ideal.keys.keys, *_look(some, ideal)


def _ideal(job: CoupledJob, ideal_ns: FloatArray) -> _Ideal:
    whole = np.rint(ideal_ns).astype(np.int64)
    exposure = exposed(job, replay(job.graph, whole), whole, places=find_places(job))
    return _Ideal(whole, exposure, sink_keys(job))


def _look(job: CoupledJob, ideal: _Ideal) -> tuple[RankSums, WaitSums]:
    """Replay some steps, and sum up what ranks did and waited for."""
    timeline = replay(job.graph, job.work_ns)
    exposure = exposed(job, timeline, job.work_ns, places=ideal.exposure.occupancy.places)
    return (
        rank_sums(job, timeline, exposure, ideal.exposure.wait_ns),
        wait_sums(
            job,
            timeline,
            job.work_ns - ideal.work_ns,
            keys=ideal.keys,
            exposures=(exposure, ideal.exposure),
        ),
    )
