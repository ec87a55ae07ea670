"""Unequal work as a candidate cause: between stages, and between microbatches."""

import math
from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.candidate import Candidate, hosts_of
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.labels import compact, joint_code, numbered
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.medians import medians, reduced
from loadpath.diagnose.tails import student_tail

__all__ = ["data_candidate", "stage_candidates"]

STANDS_OUT = 5.0
"""A stage's excess must exceed what noise makes of a sum over its ops this many times."""
UNLIKE_P = 0.05
"""A stage must have more work than the spread of the others foretells, at this family-wise error:
stages are seldom equal by design, and what they differ by anyway accuses none."""
UNLIKE_ANY_RATIO = 0.25
"""A stage with this much more work than any other is unlike them, whatever their spread (which two
stages have none of, and three hardly show); a stated policy."""


def stage_candidates(job: CoupledJob, effects: Effects) -> list[Candidate]:
    """Compare the level of each stage with the other stages'.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Nested effects.

    Returns
    -------
    list of Candidate
        Stages with more work than the middle one.
    """
    excess = effects.level_ns - effects.across_ns
    stage = job.op["stage"].to_numpy()
    last = int(stage.max(initial=0))
    unlike = _unlike_others(job, effects)
    found = []
    for s in range(last + 1 if last else 0):
        op = np.flatnonzero((stage == s) & (excess != 0)).astype(np.int32)
        total = float(excess[op].sum())
        if total <= 0:
            continue
        ranks = tuple(sorted(set(job.op["rank"].gather(op).to_list())))
        found.append(
            Candidate(
                kind="stage",
                place="stage",
                mechanism="device" if job.source == "kineto" else "unknown",
                key=f"stage {s}",
                op=op,
                change_ns=-excess[op],
                significant=unlike.get(s, False) and _stands_out(effects, op),
                specificity=2,
                ranks=ranks,
                hosts=hosts_of(job, ranks),
                stage=s,
            )
        )
    return found


def _stands_out(effects: Effects, op: NDArray[np.int32]) -> bool:
    """Say whether a stage's excess is far beyond what noise makes of a sum over its ops."""
    rest = effects.residual_ns[..., op]
    n_run = rest.size // op.size
    total = n_run * float((effects.level_ns - effects.across_ns)[op].sum())
    spread = 1.4826 * _median(np.abs(rest - _median(rest)))
    return bool(total > STANDS_OUT * spread * np.sqrt(rest.size))


def _median(value: FloatArray) -> float:
    return float(medians(np.zeros(value.shape[-1], np.int32), value, 1)[0][0])


def _unlike_others(job: CoupledJob, effects: Effects) -> dict[int, bool]:
    """Say for each stage whether its work stands out from the spread of the other stages.

    References
    ----------
    .. [1] G. J. Hahn, W. Q. Meeker, "Statistical Intervals", Wiley, 1991: prediction of one more
       value of a normal law.
    """  # noqa: DOC201
    computes = pl.col("kind").is_in(["compute", "copy"]) & (pl.col("mechanism") != "communication")
    totals = (
        job.op.select("stage", "rank", "step", "kind", "mechanism")
        .with_columns(pl.Series("level", effects.level_ns))
        .filter(computes)
        .group_by("stage")
        .agg(pl.col("level").sum() / pl.struct("rank", "step").n_unique())
        .sort("stage")
    )
    work = dict(totals.iter_rows())
    return {int(stage): _is_unlike(stage, work) for stage in work}


def _is_unlike(stage: int, work: Mapping[int, float]) -> bool:
    """Compare a stage's work with what the others foretell of one more stage like them."""
    others = np.array([w for s, w in work.items() if s != stage])
    if others.size and work[stage] > (1 + UNLIKE_ANY_RATIO) * others.max():
        return True
    if others.size < 2:
        return False
    error = float(others.std(ddof=1)) * math.sqrt(1 + 1 / others.size)
    beyond = work[stage] - float(others.mean())
    t = beyond / max(error, 1e-9 * work[stage])
    return student_tail(t, others.size - 1) * len(work) <= UNLIKE_P


def data_candidate(job: CoupledJob, effects: Effects) -> list[Candidate]:
    """Take unequal microbatches as a cause; removing it balances the work of each step.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Nested effects.

    Returns
    -------
    list of Candidate
        One candidate, or none where microbatches are equal within chance.
    """
    if not effects.data_ns.any():
        return []
    mine = (job.op["microbatch"] >= 0) & (job.op["kind"] == "compute")
    op = np.flatnonzero(mine.to_numpy()).astype(np.int32)
    level = effects.level_ns[op]
    data = effects.data_ns[..., op]
    relative = np.divide(data, level, out=np.zeros_like(data), where=level > 0)
    name, step = numbered(job.op["name"])[0][op], job.op["step"].to_numpy()[op]
    found, like = compact(joint_code(step, name))
    mean = reduced(np.add, like, relative, found.size) / np.bincount(like)
    replicas, replica = compact(job.op["replica"].to_numpy()[op])
    by_op = np.atleast_2d(relative).mean(axis=0)
    by_replica = np.bincount(replica, by_op) / np.bincount(replica)
    worst = replicas[np.flatnonzero(by_replica == by_replica.max())[-1]]
    return [
        Candidate(
            kind="data",
            place="microbatch",
            mechanism="workload",
            key=f"microbatches of unequal work, most on replica {worst}",
            op=op,
            change_ns=-(relative - mean[..., like]) * level,
            significant=True,
            specificity=0,
        )
    ]
