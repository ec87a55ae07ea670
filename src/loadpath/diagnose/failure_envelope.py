"""Failure envelope: how much slower how many ranks may be, for how long, before a bound is broken."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.places import rank_index
from loadpath.diagnose.slow_choices import MOST_CHOICES, N_PART, Choices, choose
from loadpath.diagnose.step_sample import StepSample
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

__all__ = ["SHARES", "SIZES", "failure_envelope", "own_work"]

SIZES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""How much longer the work of a slowed rank takes."""
SHARES = (0.125, 0.25, 0.5, 1.0)
"""Shares of the ranks that are slow, beside one rank alone."""
MOST_NODES = 1_500_000_000
"""Nodes that are replayed for the grid, all scenarios together: fewer choices where a step is large."""

FloatArray = NDArray[np.float64]
Int32Array = NDArray[np.int32]


def failure_envelope(
    job: CoupledJob,
    sample: StepSample,
    ideal_ns: FloatArray,
    *,
    bound_ratio: float,
    rng: np.random.Generator,
) -> pl.DataFrame:
    """Slow the ideal job, by size, number of ranks and duration, and see where it breaks a bound.

    More slowness, on more ranks or for longer is never better: work only grows, and a replay is
    monotone in it.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    sample : StepSample
        Steps that are slowed; of runs of one graph one step, since one is ideal for all.
    ideal_ns : (n_op,) array of float64
        Work that each op would need, in ns.
    bound_ratio : float
        By how much the mean step may be longer than the ideal one: a policy.
    rng : numpy.random.Generator
        Chooses which ranks are slow, and when, where there are too many choices to try all.

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
    some, best_ns = sample.job, ideal_ns[sample.op]
    base = replay(some.graph, best_ns)
    layout = lay_out_scenarios(some.graph, base)
    delta = np.where(own_work(some), best_ns, 0.0)
    group = rank_index(some) * np.int32(N_PART) + _part_of_step(some, base, best_ns)
    own = np.bincount(rank_index(some), delta, some.rank.height).astype(np.float64)
    step_ns = step_time_ns(some.graph, base).mean()
    n_most = min(MOST_CHOICES, MOST_NODES // (len(SIZES) * (job.graph.n_node + own.size * N_PART)))
    rows = []
    for one in choose(_counts(job.rank.height), own, n_most, rng):
        scenarios = Scenarios(delta, group, _scale(one))
        times = replay_scenarios(some.graph, base, scenarios, layout=layout)
        longer = _growth(times.mean(axis=0), step_ns).reshape(-1, len(SIZES))
        rows += _rows(one, longer[one.number], own.size, bound_ratio)
    rows.append(_standing(job, ideal_ns, bound_ratio=bound_ratio))
    return FAILURE_ENVELOPE.build(pl.DataFrame(rows, schema=FAILURE_ENVELOPE.schema))


def _growth(time_ns: Any, ideal_ns: Any) -> FloatArray:
    """By how much times are longer; 0 where neither is any."""
    longer: FloatArray = np.subtract(time_ns, ideal_ns) / np.maximum(ideal_ns, 1.0)
    return longer


def _counts(n_rank: int) -> list[int]:
    return sorted({1, *(max(1, round(share * n_rank)) for share in SHARES)})


def _scale(choices: Choices) -> NDArray[np.float32]:
    """(n_group, n_different * n_size): every choice at every size."""
    member = choices.member.T.astype(np.float32)
    scale = member[:, :, None] * np.array(SIZES, np.float32)
    return scale.reshape(len(member), -1).astype(np.float32, copy=False)


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
    choices: Choices, longer: FloatArray, n_rank: int, bound_ratio: float
) -> list[dict[str, Any]]:
    """One row for each size, and one for the limit, of one number of ranks and one duration."""
    place = {
        "n_ranks": choices.n_rank,
        "share_ratio": choices.n_rank / n_rank,
        "duration_ratio": choices.duration / N_PART,
        "n_tried": len(choices.member),
        "n_possible": float(choices.n_possible),
        "basis": _basis(choices),
    }
    limits = _limits(longer, bound_ratio)
    low, high = limits.min(), limits.max()
    rows = [place | _row("limit", low, [bound_ratio] * 3, "meets") | {"most_ratio": high}]
    for k, size in enumerate(SIZES):
        times = longer[:, k]
        meets = times <= bound_ratio
        state = "meets" if meets.all() else "depends" if meets.any() else "breaks"
        figures = [float(f) for f in (times.mean(), times.min(), times.max())]
        rows.append(place | _row("grid", size, figures, state))
    return rows


def _basis(choices: Choices) -> str:
    n = len(choices.member)
    if n == choices.n_possible:
        return f"replayed: {'the one choice' if n == 1 else f'all {n} choices'} of ranks and time"
    return f"replayed: {n} of {choices.n_possible:.3g} choices of ranks and time, drawn by the seed"


def _row(what: str, size: float, longer: list[float], state: str) -> dict[str, Any]:
    names = ("growth_ratio", "growth_low_ratio", "growth_high_ratio")
    figures = dict(zip(names, longer, strict=True))
    return {"what": what, "size_ratio": size, "most_ratio": None, "state": state, **figures}


def _limits(longer: FloatArray, bound_ratio: float) -> FloatArray:
    """Largest size within the bound, between the sizes that were replayed; the last if all are."""
    size = np.array([0.0, *SIZES])
    rising = np.maximum.accumulate(np.pad(longer, ((0, 0), (1, 0))), axis=1)
    row, within = np.arange(len(rising)), (rising <= bound_ratio).sum(axis=1) - 1
    beyond = np.minimum(within + 1, len(SIZES))
    low, high = rising[row, within], rising[row, beyond]
    slope = (size[beyond] - size[within]) / np.where(high > low, high - low, 1.0)
    return np.asarray(slope * (bound_ratio - low) + size[within])


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
    place = {
        "n_ranks": n_slow,
        "share_ratio": n_slow / n_rank,
        "duration_ratio": 1.0,
        "n_tried": 1,
        "n_possible": 1.0,
        "basis": "replayed: the job as recorded",
    }
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
