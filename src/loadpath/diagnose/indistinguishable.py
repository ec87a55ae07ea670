"""What the record cannot tell from a cause."""

import polars as pl

from loadpath.couple import CoupledJob
from loadpath.diagnose.candidate import Candidate
from loadpath.diagnose.significance import ALPHA

__all__ = ["indistinguishable"]


def indistinguishable(job: CoupledJob, cause: Candidate) -> tuple[str, ...]:
    """List other names of a cause's ranks, and chance where its events are too few to rule it out.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    cause : Candidate
        What was named.

    Returns
    -------
    tuple of str
        Such as ``host of rank 2``.
    """
    stages = _ranks_of(job.op.group_by("stage").agg(pl.col("rank").unique().sort()).sort("stage"))
    known = job.rank.filter(pl.col("host") != "")
    hosts = _ranks_of(known.group_by("host").agg(pl.col("rank").sort()).sort("host"))
    several = len(stages) > 1
    alike = []
    if cause.kind != "stage" and several:
        alike += [f"stage {stage}" for stage, ranks in stages.items() if ranks == cause.ranks]
    if cause.kind == "stage" and len(cause.ranks) <= 2:
        alike.append(f"rank{'s' * (len(cause.ranks) > 1)} {', '.join(map(str, cause.ranks))}")
    if cause.kind == "stage":
        alike += [f"host {host}" for host, ranks in hosts.items() if ranks == cause.ranks]
    if cause.place == "rank" and cause.mechanism == "unknown":
        alike.append(f"host of {cause.key}")
        alike += _by_chance(job, cause)
        if not several and (job.op["microbatch"] >= 0).any():
            alike.append(f"the microbatches that {cause.key} was given")
    return tuple(alike)


def _by_chance(job: CoupledJob, cause: Candidate) -> list[str]:
    """Say that so few events could have struck any rank, if chance puts them all on one."""
    course = cause.course
    if course is None or course.name not in {"rare", "irregular"}:
        return []
    chance = job.rank.height ** (1.0 - int(course.slow.sum()))
    return ["an event that strikes any rank"] if chance > ALPHA else []


def _ranks_of(table: pl.DataFrame) -> dict[int | str, tuple[int, ...]]:
    return {place: tuple(ranks) for place, ranks in table.iter_rows()}
