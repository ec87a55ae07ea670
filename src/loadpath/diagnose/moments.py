"""A look at every moment of every step: where the time of ranks goes, and who waits for whom.

Where steps are runs of one graph, a few are laid out at a time: what is kept of them are sums.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.couple.steps import keep_runs, lay_out
from loadpath.diagnose.distance import Told, missed_by_step, tell_causes
from loadpath.diagnose.exposure import exposed
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.places import Places, placed_windows
from loadpath.diagnose.rank_time import RankSums, rank_step, rank_sums, rank_time
from loadpath.diagnose.root_cause import WaitSums, wait_tables, walk_back
from loadpath.diagnose.sinks import SinkKeys, sink_keys
from loadpath.replay import replay
from loadpath.tables.results import RANK_STEP

__all__ = ["Moments", "look_at_moments"]


class Moments(NamedTuple):
    """What a look at every moment of every step found.

    Attributes
    ----------
    rank_time, sink, coupling, coupling_group, rank_step : polars.DataFrame
        Tables of these names.
    told : tuple of Told
        How far causes are from the waits that they explain, some steps at a time.
    missed_ns : (n_step, n_part) array of float64
        Result of `missed_by_step`.
    """

    rank_time: pl.DataFrame
    sink: pl.DataFrame
    coupling: pl.DataFrame
    coupling_group: pl.DataFrame
    rank_step: pl.DataFrame
    told: tuple[Told, ...]
    missed_ns: FloatArray


class _Ideal(NamedTuple):
    """Of the ops of one run: what each would need, its waiting then, and where walks may end."""

    work_ns: NDArray[np.int64]
    wait_ns: NDArray[np.int64]
    keys: SinkKeys

    def of_runs(self, n_run: int) -> "_Ideal":
        """Repeat it for each of some runs."""
        key, is_transfer, keys = self.keys
        repeated = SinkKeys(np.tile(key, n_run), np.tile(is_transfer, n_run), keys)
        return _Ideal(np.tile(self.work_ns, n_run), np.tile(self.wait_ns, n_run), repeated)


class _Each(NamedTuple):
    """What stays apart from what was found in other steps."""

    told: Told
    missed_ns: FloatArray
    rank_step: tuple[pl.DataFrame, ...]


class _Look(NamedTuple):
    """What a look at some steps found: sums, and what stays apart."""

    ranks: RankSums
    waits: WaitSums
    each: _Each


def look_at_moments(
    job: CoupledJob, ideal_ns: FloatArray, *, by_step: bool = True, at_once: int | None = None
) -> Moments:
    """Say what ranks did, what they waited for, and because of whom.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    ideal_ns : (n_op,) array of float64
        Work that each op would need, in ns.
    by_step : bool
        Whether table ``rank_step`` is wanted.
    at_once : int, optional
        How many ops to lay out together; as `windows` chooses if left out.

    Returns
    -------
    Moments
        Tables, and what further tables are made of.
    """
    ideal = _ideal(job, np.rint(ideal_ns).astype(np.int64))
    looks = _looks(job, ideal, by_step=by_step, at_once=at_once)
    first = next(looks)
    ranks, waits, each = first.ranks, first.waits, [first.each]
    for look in looks:
        ranks, waits = ranks.plus(look.ranks), waits.plus(look.waits)
        each.append(look.each)
    return Moments(
        rank_time(job, ranks),
        *wait_tables(job, ideal.keys.keys, waits),
        pl.concat([RANK_STEP.empty(), *(t for one in each for t in one.rank_step)]).sort(
            "rank", "step"
        ),
        tuple(one.told for one in each),
        np.concatenate([one.missed_ns for one in each]),
    )


def _ideal(job: CoupledJob, work_ns: NDArray[np.int64]) -> _Ideal:
    one = lay_out(keep_runs(job, slice(0, 1)))
    wait = exposed(one, replay(one.graph, work_ns), work_ns).wait_ns
    return _Ideal(work_ns, wait, sink_keys(one))


def _looks(
    job: CoupledJob, ideal: _Ideal, *, by_step: bool, at_once: int | None
) -> Iterator[_Look]:
    """Look at a few steps at a time."""
    same = None
    for part, some, places in placed_windows(job, at_once):
        n_run = part.stop - part.start
        if same is None or same.work_ns.size != some.n_op:
            same = ideal.of_runs(n_run)
        step = job.step_number[part] if job.runs else job.step_number
        yield _look(some, same, places, step if by_step else None)


def _look(job: CoupledJob, ideal: _Ideal, places: Places, step: NDArray[np.int64] | None) -> _Look:
    """Replay some steps, and sum up what ranks did and waited for."""
    timeline = replay(job.graph, job.work_ns)
    exposure = exposed(job, timeline, job.work_ns, places=places)
    sums, waits = walk_back(
        job,
        timeline,
        job.work_ns - ideal.work_ns,
        keys=ideal.keys,
        waits=(exposure, ideal.wait_ns),
    )
    tables = [] if step is None else [rank_step(job, ideal.work_ns, exposure, step=step)]
    return _Look(
        rank_sums(job, timeline, exposure, ideal.wait_ns),
        sums,
        _Each(
            tell_causes(waits),
            missed_by_step(places.step, job.graph.step.size, waits),
            tuple(tables),
        ),
    )
