"""Work that threads share unequally as a candidate cause, the same on all ranks."""

import numpy as np

from loadpath.couple import CoupledJob
from loadpath.diagnose.candidate import Candidate, join
from loadpath.diagnose.dominance import excess_by_step
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.evidence import unit_p_values
from loadpath.diagnose.significance import ALPHA, cells_by_unit
from loadpath.diagnose.thread_shares import shared_work

__all__ = ["thread_candidates"]

MOST_JOINED = 8
"""Regions in a set, most."""


def thread_candidates(
    job: CoupledJob, effects: Effects, rng: np.random.Generator
) -> list[Candidate]:
    """Compare what each thread has of the work that the threads of a rank share.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Nested effects: the level of a thread is that of the same thread of other ranks.
    rng : numpy.random.Generator
        Source of the shuffles.

    Returns
    -------
    list of Candidate
        Classes of work that some thread has more of on all ranks, and the largest of them together.
    """
    number, names = shared_work(job)
    excess = effects.level_ns - effects.across_ns
    found = []
    for i, name in enumerate(names):
        op = np.flatnonzero((number == i) & (excess != 0)).astype(np.int32)
        if not op.size:
            continue
        p = _p_value(job, effects, op, rng)
        found.append(
            Candidate(
                kind="threads",
                place="all",
                mechanism="workload",
                key=f"threads in {name}",
                op=op,
                change_ns=-excess[op],
                significant=p <= ALPHA,
                specificity=2,
                ranks=tuple(job.rank["rank"].to_list()),
                p_value=p,
            )
        )
    return [*found, *_joint(found)]


def _p_value(job: CoupledJob, effects: Effects, op: np.ndarray, rng: np.random.Generator) -> float:
    """If no thread is special, what each has in a step could be any other's."""
    lane = np.full(job.n_op, -1, np.int32)
    lane[op] = job.op["lane"].to_numpy()[op]
    beyond = effects.usual_ns - effects.across_ns
    cells = cells_by_unit(job, lane, beyond)
    by_step = excess_by_step(job, lane, cells.unit, beyond)
    same = np.ones(cells.unit.size)
    p = unit_p_values(cells, same, same.astype(np.int64), by_step_s=by_step, rng=rng)
    return float(p.min(initial=1.0))


def _joint(found: list[Candidate]) -> list[Candidate]:
    """Join the largest of those that are beyond chance."""
    several = [c for c in found if c.significant]
    several.sort(key=lambda c: (float(np.minimum(c.change_ns, 0.0).sum()), c.key))
    if len(several) < 2:
        return []
    some = several[:MOST_JOINED]
    fields = {"kind": "threads", "place": "all", "specificity": 2}
    return [join(some, key=f"threads in {len(some)} regions", **fields)]
