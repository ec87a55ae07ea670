"""Pauses of all host threads of one pipeline stage as a candidate cause."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.candidate import Candidate, hosts_of
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.rare_pauses import PAUSES_P, long_pauses
from loadpath.diagnose.tails import binomial_tail

__all__ = ["stage_pauses"]


def stage_pauses(job: CoupledJob, effects: Effects) -> list[Candidate]:
    """Take the pauses of all ranks of one stage together, where stages have several ranks.

    Pauses are no work that a stage has more of by design. They are beyond chance where all of its ranks
    pause at one place of their program (`common_pauses`), or where too many of the job's long pauses
    fall on the half of its ranks that has fewer: a few ranks that pause do not accuse their stage.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Nested effects.

    Returns
    -------
    list of Candidate
        Stages whose pauses are beyond chance.
    """
    mine = job.op["mechanism"].is_in(["host", "input"]).to_numpy() & ~effects.is_transfer
    members = _members(job)
    if len(members) < 2 or not mine.any():
        return []
    stage, rank = job.op["stage"].to_numpy(), job.op["rank"].to_numpy()
    pause = effects.paused & mine
    long = long_pauses(job, effects, mine) & ~pause[mine]
    pause[np.flatnonzero(mine)[long]] = True
    n_long = np.bincount(rank[mine][long], minlength=int(rank.max()) + 1)
    # what ranks of all stages do is a cause common to all hosts, however little slack one stage has
    of_all = np.unique(rank[effects.paused]).size == job.rank.height
    found = []
    for number, ranks in members.items():
        at_one_place = not of_all and bool(effects.paused[stage == number].any())
        if len(ranks) < 2 or not (at_one_place or _beyond_chance(number, members, n_long)):
            continue
        op = np.flatnonzero(pause & (stage == number)).astype(np.int32)
        found.append(
            Candidate(
                kind="stage",
                place="stage",
                mechanism="host",
                key=f"stage {number}",
                op=op,
                change_ns=-effects.residual_ns[..., op],
                significant=True,
                specificity=2,
                ranks=ranks,
                hosts=hosts_of(job, ranks),
                stage=number,
            )
        )
    return found


def _members(job: CoupledJob) -> dict[int, tuple[int, ...]]:
    """List the ranks of each stage."""
    by_stage = job.op.group_by("stage").agg(pl.col("rank").unique().sort()).sort("stage")
    return {stage: tuple(ranks) for stage, ranks in by_stage.iter_rows()}


def _beyond_chance(
    stage: int, members: Mapping[int, tuple[int, ...]], n_long: NDArray[np.int64]
) -> bool:
    """Say whether the half of a stage's ranks that pauses less has more pauses than chance gives it."""
    ranks = members[stage]
    calm = np.sort(n_long[list(ranks)])[: (len(ranks) + 1) // 2]
    others = [r for s, rest in members.items() if s != stage for r in rest]
    n, total = int(calm.sum()), int(calm.sum() + n_long[others].sum())
    share = calm.size / (calm.size + len(others))
    return n > 0 and len(members) * binomial_tail(n, total, share) <= PAUSES_P
