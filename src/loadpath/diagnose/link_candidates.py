"""Links and process groups as candidate causes."""

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.alike import alike
from loadpath.diagnose.candidate import Candidate, hosts_of
from loadpath.diagnose.course import main_course
from loadpath.diagnose.dominance import excess_by_step
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.evidence import unit_p_values
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.link_sets import slow_together
from loadpath.diagnose.shared_processors import luck_of_units
from loadpath.diagnose.significance import (
    ALPHA,
    Cells,
    cells_by_unit,
    is_intermittent,
    worth_judging,
)

__all__ = ["link_candidates"]


def link_candidates(job: CoupledJob, effects: Effects, rng: np.random.Generator) -> list[Candidate]:
    """Compare the transfers of each communicator with those of its like.

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
        Links and groups; one without its like has no reference and is left out.
    """
    communicator = np.where(effects.is_transfer, job.op["communicator"].to_numpy(), -1).astype(
        np.int32
    )
    members = dict(job.communicator.select("communicator", "members").iter_rows())
    hosts = dict(job.rank.select("rank", "host").iter_rows())
    found: list[Candidate] = []
    compared: list[tuple[int, ...]] = []
    residual = effects.residual_ns
    for family in _families(job, communicator):
        unit = np.where(np.isin(communicator, family), communicator, -1).astype(np.int32)
        compared += [tuple(members[number]) for number in family]
        cells = cells_by_unit(job, unit, residual)
        by_step = excess_by_step(job, unit, cells.unit, residual)
        p = np.maximum(_p_values(cells, by_step, rng), luck_of_units(job, by_step))
        for place in worth_judging(cells, p):
            number = int(cells.unit[place])
            found.append(
                _candidate(job, effects, number, p_value=float(p[place]), excess_s=by_step[place])
            )
    return [*found, *slow_together(found, compared, hosts)]


def _candidate(
    job: CoupledJob, effects: Effects, number: int, *, p_value: float, excess_s: FloatArray
) -> Candidate:
    """Describe one communicator, with its excess in each step."""
    mine = effects.is_transfer & (job.op["communicator"] == number).to_numpy()
    op = np.flatnonzero(mine).astype(np.int32)
    row = job.communicator.row(by_predicate=pl.col("communicator") == number, named=True)
    ranks = tuple(row["members"]) or tuple(sorted(set(job.op["rank"].gather(op).to_list())))
    return Candidate(
        kind="link",
        place="link" if len(ranks) == 2 else "group",
        mechanism="communication",
        key=str(row["name"]),
        op=op,
        change_ns=-effects.residual_ns[..., op],
        significant=p_value <= ALPHA,
        specificity=0,
        ranks=ranks,
        hosts=hosts_of(job, ranks),
        link=str(row["name"]),
        p_value=p_value,
        intermittent=is_intermittent(excess_s),
        course=main_course(excess_s, job.step_number),
    )


def _p_values(cells: Cells, by_step_s: FloatArray, rng: np.random.Generator) -> FloatArray:
    same = np.ones(cells.unit.size)
    return unit_p_values(cells, same, same.astype(np.int64), by_step_s=by_step_s, rng=rng)


def _families(job: CoupledJob, communicator: NDArray[np.int32]) -> Iterable[list[int]]:
    """Group communicators that do the same: same size and the same kinds of ops."""
    likes = (
        pl.DataFrame({"communicator": communicator, "c": alike(job)})
        .filter(pl.col("communicator") >= 0)
        .group_by("communicator")
        .agg(pl.col("c").unique().sort())
        .join(job.communicator.select("communicator", "n_members"), on="communicator")
        .group_by("c", "n_members")
        .agg(pl.col("communicator").sort())
        .sort("c", "n_members")
    )
    return [family for family in likes["communicator"].to_list() if len(family) > 1]
