"""Ranks and sets of ranks as candidate causes."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.candidate import Candidate, hosts_of, join
from loadpath.diagnose.course import main_course
from loadpath.diagnose.dominance import excess_by_step
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.evidence import unit_p_values
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.lone_events import lone_events, smooth_courses
from loadpath.diagnose.rare_pauses import PAUSES_P, pause_p_values
from loadpath.diagnose.shared_processors import luck_of_units
from loadpath.diagnose.significance import (
    ALPHA,
    Cells,
    cells_by_unit,
    is_intermittent,
    worth_judging,
)

__all__ = ["comparable", "mechanisms_of", "rank_candidates", "sets_of_ranks"]

MOST_JOINED = 8
"""Ranks in a set, most."""


def rank_candidates(job: CoupledJob, effects: Effects, rng: np.random.Generator) -> list[Candidate]:
    """Compare each rank's work with its peers', mechanism by mechanism.

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
        Significant ranks, and the few largest others for the record.
    """
    rank = job.op["rank"].to_numpy()
    found = []
    residual = effects.residual_ns
    for mechanism, mine in mechanisms_of(job, effects):
        unit = np.where(mine, rank, -1).astype(np.int32)
        cells = cells_by_unit(job, unit, residual)
        if mechanism == "input":
            cells = _with_idle_ranks(job, cells)
        by_step = excess_by_step(job, unit, cells.unit, residual)
        on_host = mechanism in {"host", "input"}
        alike = comparable(job, effects, cells, mine)
        luck = luck_of_units(job, by_step * alike[0][:, None])
        p = unit_p_values(cells, *alike, by_step_s=by_step, rng=rng, is_heavy=on_host)
        p = np.maximum(p, luck)
        if on_host:
            rare = pause_p_values(job, effects, mine, cells.unit)
            p, beyond = np.minimum(p, rare), (p <= ALPHA) | (rare <= PAUSES_P)
            beyond |= lone_events(by_step).any(axis=1)
        else:
            beyond = (p <= ALPHA) | _has_course(by_step, job.step_number, luck <= ALPHA)
        for place in worth_judging(cells, np.where(beyond, 0.0, p)):
            number = int(cells.unit[place])
            op = np.flatnonzero(mine & (rank == number)).astype(np.int32)
            one = _candidate(
                job, number, mechanism, (op, -residual[..., op]), excess_s=by_step[place]
            )
            found.append(replace(one, significant=bool(beyond[place]), p_value=float(p[place])))
    return found


def _candidate(
    job: CoupledJob,
    number: int,
    mechanism: str,
    sits: tuple[NDArray[np.int32], FloatArray],
    *,
    excess_s: FloatArray,
) -> Candidate:
    """Describe one rank: the ops it sits on with what they would need, its excess in each step."""
    return Candidate(
        kind="host" if mechanism in {"host", "input"} else "rank",
        place="rank",
        mechanism=mechanism,
        key=f"rank {number}",
        op=sits[0],
        change_ns=sits[1],
        significant=False,
        specificity=0,
        ranks=(number,),
        hosts=hosts_of(job, (number,)),
        intermittent=is_intermittent(excess_s),
        course=main_course(excess_s, job.step_number),
    )


def _has_course(
    by_step_s: FloatArray, step: NDArray[np.int64], beyond_luck: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Say which ranks have events or, beyond luck that lasts, a drift or a period of their own."""
    event = lone_events(by_step_s)
    smooth = smooth_courses(by_step_s, event, step).any(axis=1)
    return np.asarray(event.any(axis=1) | (smooth & beyond_luck))


def _with_idle_ranks(job: CoupledJob, cells: Cells) -> Cells:
    """Add ranks that neither load data nor write: they are peers of those that do."""
    every = np.unique(job.op["rank"].to_numpy()).astype(cells.unit.dtype)
    excess = np.zeros((every.size, cells.excess_s.shape[1]))
    excess[np.searchsorted(every, cells.unit)] = cells.excess_s
    return Cells(every, excess, cells.step)


def comparable(
    job: CoupledJob, effects: Effects, cells: Cells, mine: NDArray[np.bool_]
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Say what each rank's excess is to be scaled by, for the work it has, and its stage.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Nested effects.
    cells : Cells
        Excess of ranks.
    mine : (n_op,) array of bool
        Ops that the excess is of.

    Returns
    -------
    scale : (n_unit,) array of float64
        Typical work over that of each rank.
    stage : (n_unit,) array of int64
        Stages, 0 where unknown.
    """
    rank = job.op["rank"].to_numpy()
    row = np.full(max(int(rank.max(initial=0)), int(cells.unit.max(initial=0))) + 1, -1, np.int32)
    row[cells.unit] = np.arange(cells.unit.size)
    place = row[rank]
    total = np.bincount(place[mine], effects.level_ns[mine], minlength=cells.unit.size)
    typical = np.median(total[total > 0]) if (total > 0).any() else 1.0
    stage = np.zeros(cells.unit.size, np.int64)
    known = place >= 0
    stage[place[known]] = job.op["stage"].to_numpy()[known]
    return typical / np.maximum(total, typical * 1e-6), stage


def sets_of_ranks(ranks: Sequence[Candidate]) -> list[Candidate]:
    """Join significant ranks of one mechanism, largest first; and all mechanisms of one rank.

    Two causes that hide each other (each alone returns nothing) are found only together.

    Parameters
    ----------
    ranks : sequence of Candidate
        Result of `rank_candidates`.

    Returns
    -------
    list of Candidate
        Sets of two and more ranks, and ranks slow in more than one mechanism.
    """
    joint = []
    for mechanism in dict.fromkeys(c.mechanism for c in ranks):
        several = [c for c in ranks if c.mechanism == mechanism and c.significant]
        if len(several) < 2:
            continue
        several.sort(key=lambda c: float(c.change_ns.sum()))
        for n in range(2, min(len(several), MOST_JOINED) + 1):
            some = sorted(several[:n], key=lambda c: c.ranks)
            names = ", ".join(str(c.ranks[0]) for c in some)
            joint.append(
                join(some, kind=some[0].kind, place="rank", key=f"ranks {names}", specificity=n - 1)
            )
    for number in dict.fromkeys(c.ranks[0] for c in ranks):
        same = [c for c in ranks if c.ranks == (number,) and c.significant]
        if len(same) > 1:
            joint.append(
                join(
                    same,
                    kind="rank",
                    place="rank",
                    mechanism="unknown",
                    key=f"rank {number}",
                    specificity=1,
                )
            )
    return joint


def mechanisms_of(job: CoupledJob, effects: Effects) -> list[tuple[str, NDArray[np.bool_]]]:
    """List the groups of work that a rank can be slow in.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Nested effects.

    Returns
    -------
    list of (str, (n_op,) array of bool)
        Mechanisms that occur, and the ops of each.
    """
    column = job.op["mechanism"]
    groups = ((m, (column == m).to_numpy()) for m in ("device", "unknown", "host", "input"))
    return [(m, mine & ~effects.is_transfer) for m, mine in groups if mine.any()]
