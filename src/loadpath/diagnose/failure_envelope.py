"""Failure envelope: how much slower how many ranks may be, for how long, before a bound is broken."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.exposure import rank_index
from loadpath.replay import (
    Mixture,
    Scenarios,
    Timeline,
    lay_out_scenarios,
    op_ready_ns,
    replay,
    replay_runs,
    replay_scenarios,
    step_bounds_ns,
    step_time_ns,
)
from loadpath.tables.results import FAILURE_ENVELOPE

__all__ = ["DURATIONS", "N_PART", "SHARES", "SIZES", "failure_envelope", "own_work"]

SIZES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""How much longer the work of a slowed rank takes."""
SHARES = (0.125, 0.25, 0.5, 1.0)
"""Shares of the ranks that are slow, beside one rank alone."""
N_PART = 8
"""Parts of a step in which work may begin."""
DURATIONS = (1, 2, 4, 8)
"""Parts of a step that the slowness lasts."""
N_PLACE = 6
"""Choices of ranks and of a beginning for each share and duration."""

FloatArray = NDArray[np.float64]
Int32Array = NDArray[np.int32]


class _Slowed(NamedTuple):
    """How many ranks are slow, for how many parts of a step, and one choice of ranks and parts."""

    n_rank: int
    duration: int
    member: NDArray[np.bool_]


def failure_envelope(
    job: CoupledJob, ideal_ns: FloatArray, *, bound_ratio: float, rng: np.random.Generator
) -> pl.DataFrame:
    """Slow the ideal job, by size, number of ranks and duration, and see where it breaks a bound.

    Parameters
    ----------
    job : CoupledJob
        Coupled job; where its steps are alike one of them is slowed, since one is ideal for all.
    ideal_ns : (n_op,) array of float64
        Work that each op would need, in ns.
    bound_ratio : float
        By how much the mean step may be longer than the ideal one: a policy.
    rng : numpy.random.Generator
        Chooses which ranks are slow, and when.

    Returns
    -------
    polars.DataFrame
        Table `FAILURE_ENVELOPE`: the grid, the largest size within the bound for each number of
        ranks and duration, and where the job stands.

    Notes
    -----
    The own work of a slowed rank takes 1 + size times as long while the slowness lasts; ops that
    begin within it are slowed whole. Step time is convex in the size, so a limit interpolated
    between two sizes is never too large.
    """
    base = replay(job.graph, ideal_ns)
    layout = lay_out_scenarios(job.graph, base)
    delta = np.where(own_work(job), ideal_ns, 0.0)
    group = rank_index(job) * np.int32(N_PART) + _part_of_step(job, base, ideal_ns)
    own = np.bincount(rank_index(job), delta, job.rank.height).astype(np.float64)
    step_ns = step_time_ns(job.graph, base).mean()
    rows = []
    for n_slow in _counts(job.rank.height):
        slowed = list(_choices(n_slow, own, rng))
        scenarios = Scenarios(delta, group, _scale(slowed))
        times = replay_scenarios(job.graph, base, scenarios, layout=layout)
        longer = _growth(times.mean(axis=0), step_ns).reshape(-1, N_PLACE, len(SIZES))
        rows += _rows(slowed[::N_PLACE], longer, own.size, bound_ratio)
    rows.append(_standing(job, ideal_ns, bound_ratio=bound_ratio))
    return FAILURE_ENVELOPE.build(pl.DataFrame(rows, schema=FAILURE_ENVELOPE.schema))


def _growth(time_ns: Any, ideal_ns: Any) -> FloatArray:
    """By how much times are longer; 0 where neither is any."""
    longer: FloatArray = np.subtract(time_ns, ideal_ns) / np.maximum(ideal_ns, 1.0)
    return longer


def _counts(n_rank: int) -> list[int]:
    return sorted({1, *(max(1, round(share * n_rank)) for share in SHARES)})


def _scale(slowed: list[_Slowed]) -> NDArray[np.float32]:
    """(n_group, n_choice * n_size): every choice at every size."""
    member = np.stack([one.member for one in slowed], axis=1).astype(np.float32)
    scale = member[:, :, None] * np.array(SIZES, np.float32)
    return scale.reshape(len(member), -1).astype(np.float32, copy=False)


def _choices(n_slow: int, own_ns: FloatArray, rng: np.random.Generator) -> Iterator[_Slowed]:
    """Choose ranks and parts of a step, `N_PLACE` times for each duration.

    Ranks take turns by their own work, those with most first; beginnings are spread evenly.
    """  # noqa: DOC402
    n_rank = own_ns.size
    for duration in DURATIONS:
        turn = np.lexsort((rng.permutation(n_rank), -own_ns))
        begins = np.linspace(0, N_PART - duration, N_PLACE).round().astype(np.intp)
        for choice, begin in enumerate(rng.permutation(begins)):
            member = np.zeros((n_rank, N_PART), np.bool_)
            slow = turn[(choice * n_rank // N_PLACE + np.arange(n_slow)) % n_rank]
            member[slow, begin : begin + duration] = True
            yield _Slowed(n_slow, duration, member.ravel())


def _part_of_step(job: CoupledJob, base: Timeline, ideal_ns: FloatArray) -> Int32Array:
    """Part of its step in which each op's work begins, in the ideal replay."""
    graph = job.graph
    begin, end = step_bounds_ns(graph, base)
    index = np.searchsorted(graph.step, job.op["step"].to_numpy())
    index = np.minimum(index, graph.step.size - 1)
    since = op_ready_ns(graph, base, ideal_ns) - begin[index]
    part = N_PART * since / np.maximum(end - begin, 1.0)[index]
    clipped: Int32Array = np.clip(part, 0, N_PART - 1).astype(np.int32)
    return clipped


def _rows(
    slowed: list[_Slowed], longer: FloatArray, n_rank: int, bound_ratio: float
) -> list[dict[str, Any]]:
    """One row for each size, and one for the limit, of each number of ranks and duration."""
    rows = []
    for one, ratio in zip(slowed, longer, strict=True):
        place = {
            "n_ranks": one.n_rank,
            "share_ratio": one.n_rank / n_rank,
            "duration_ratio": one.duration / N_PART,
        }
        limits = np.array([_limit(each, bound_ratio) for each in ratio])
        low, high = limits.min(), limits.max()
        rows.append(place | _row("limit", low, [bound_ratio] * 3, "meets") | {"most_ratio": high})
        for k, size in enumerate(SIZES):
            times = ratio[:, k]
            meets = times <= bound_ratio
            state = "meets" if meets.all() else "depends" if meets.any() else "breaks"
            figures = [float(f) for f in (times.mean(), times.min(), times.max())]
            rows.append(place | _row("grid", size, figures, state))
    return rows


def _row(what: str, size: float, longer: list[float], state: str) -> dict[str, Any]:
    names = ("growth_ratio", "growth_low_ratio", "growth_high_ratio")
    figures = dict(zip(names, longer, strict=True))
    return {"what": what, "size_ratio": size, "most_ratio": None, "state": state, **figures}


def _limit(longer: FloatArray, bound_ratio: float) -> float:
    """Largest size within the bound, between the sizes that were replayed; the last if all are."""
    rising = np.maximum.accumulate([0.0, *longer])
    return float(np.interp(bound_ratio, rising, [0.0, *SIZES]))


def _standing(job: CoupledJob, ideal_ns: FloatArray, *, bound_ratio: float) -> dict[str, Any]:
    """Place the job by its slowest rank, and by the ranks that are at least half as slow."""
    n_rank = job.rank.height
    work = np.atleast_2d(job.work_ns)
    own, ideal = (_own_ns(job, part) for part in (work.mean(axis=0), ideal_ns))
    excess = np.maximum(own / np.maximum(ideal, 1.0) - 1, 0.0)
    n_slow = int(((excess > 0) & (excess >= excess.max() / 2)).sum())
    every = np.ones(job.n_op, np.bool_)
    actual, best = replay_runs(job.graph, work, ideal_ns, [Mixture(every), Mixture(~every)])
    longer, mean = _growth(actual, best), float(_growth(actual.sum(), best.sum()))
    state = "meets" if mean <= bound_ratio else "breaks"
    place = {"n_ranks": n_slow, "share_ratio": n_slow / n_rank, "duration_ratio": 1.0}
    figures = [mean, float(longer.min()), float(longer.max())]
    return place | _row("job", float(excess.max()), figures, state)


def _own_ns(job: CoupledJob, work_ns: FloatArray) -> FloatArray:
    """Sum the own work of each rank."""
    rank = np.where(own_work(job), rank_index(job), job.rank.height)
    total = np.bincount(rank, work_ns, minlength=job.rank.height + 1)
    return total[:-1].astype(np.float64)


def own_work(job: CoupledJob) -> NDArray[np.bool_]:
    """Say which ops are a rank's own work: all but communication and markers.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    (n_op,) array of bool
        What a slow rank is slow in.
    """
    moves = (job.op["mechanism"] == "communication") | (job.op["kind"] == "marker")
    return ~moves.to_numpy()
