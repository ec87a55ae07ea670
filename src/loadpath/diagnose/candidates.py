"""All candidate causes of a job."""

import numpy as np

from loadpath.couple import CoupledJob
from loadpath.diagnose.candidate import Candidate
from loadpath.diagnose.common_steps import common_candidates
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.host_candidates import common_hosts, shared_hosts, slow_hosts
from loadpath.diagnose.link_candidates import link_candidates
from loadpath.diagnose.rank_candidates import rank_candidates, sets_of_ranks
from loadpath.diagnose.shared_work import unequal_work
from loadpath.diagnose.stage_pauses import stage_pauses
from loadpath.diagnose.thread_candidates import thread_candidates
from loadpath.diagnose.work_candidates import data_candidate, stage_candidates

__all__ = ["find_candidates"]


def find_candidates(job: CoupledJob, effects: Effects, rng: np.random.Generator) -> list[Candidate]:
    """List the candidate causes of a job, significant or not.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Nested effects.
    rng : numpy.random.Generator
        Source of the permutations.

    Returns
    -------
    list of Candidate
        Ranks, sets of ranks, hosts, all hosts, common steps, links, stages, data and threads; noise is not among them.
    """
    ranks = rank_candidates(job, effects, rng)
    slow = {c.ranks[0] for c in ranks if c.significant}
    return [
        *ranks,
        # before sets: of equal causes the first is named, and a host is one place
        *shared_hosts(job, ranks),
        *slow_hosts(job, effects, slow, rng),
        *sets_of_ranks(ranks),
        *common_hosts(job, effects),
        *common_candidates(job, effects.common),
        *link_candidates(job, effects, rng),
        *stage_candidates(job, effects),
        *stage_pauses(job, effects),
        *_unequal_data(job, effects),
        *(thread_candidates(job, effects, rng) if job.source == "otf2" else []),
    ]


def _unequal_data(job: CoupledJob, effects: Effects) -> list[Candidate]:
    if job.source == "kineto":
        return unequal_work(job, effects.data_ns, effects.level_ns)
    return data_candidate(job, effects)
