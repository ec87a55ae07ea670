"""Frontier accounting: at which stage, and by which rank, delay of a step first shows.

The frontier is the cumulative time of the rank that is furthest at each stage boundary. Its increments
sum to the time of the step, whatever the ranks do::

    rank 0   |==input==|=====forward=====|     frontier 10, 27: forward shows 17
    rank 1   |===input====|===forward===|      of which rank 0 leads its peers by 2
"""

from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.couple.graph import Int64Array
from loadpath.diagnose.significance import ALPHA
from loadpath.tables.frontier import FRONTIER, SUSPECT

__all__ = ["account_frontier", "find_suspects"]

N_SHUFFLE = 1_000
MOST_SUSPECTS = 8
WINDOW = 4
"""Steps of a window that a profiler records, as a rule."""
FloatArray = NDArray[np.float64]


class _Delays(NamedTuple):
    """What first shows at each boundary of each step.

    Attributes
    ----------
    exposed_ns : (n_step, n_stage) array of int64
        Increments of the frontier.
    shown_ns : (n_step, n_stage) array of float64
        By how much more than before the furthest rank leads the middle of the ranks there.
    leader : (n_step, n_stage) array of int64
        Row of that rank.
    middle_ns : (n_step, n_stage) array of float64
        Increments of the middle of the ranks.
    """

    exposed_ns: Int64Array
    shown_ns: FloatArray
    leader: Int64Array
    middle_ns: FloatArray


def account_frontier(job: CoupledJob) -> pl.DataFrame:
    """Share the time of the steps out among the stages at which it first shows.

    Parameters
    ----------
    job : CoupledJob
        Coupled stage log.

    Returns
    -------
    polars.DataFrame
        Table `FRONTIER`; its ``exposed_s`` sums to the mean time between two meetings.

    References
    ----------
    .. [1] B. Yoon, W. Chen, V. Kallioniemi, "StageFrontier: Synchronization-Aware Stage Accounting
       for Distributed ML Training", arXiv:2606.06751.
    """
    name, rank, duration = _by_stage(job)
    found = _delays(duration)
    exposed = found.exposed_ns.mean(axis=0) / 1e9
    shown = np.maximum(found.shown_ns, 0.0)
    total = _by_rank(found, rank.size)
    return FRONTIER.build({
        "order": range(len(name)),
        "stage": name,
        "exposed_s": exposed,
        "share_ratio": exposed / exposed.sum() if exposed.sum() > 0 else np.zeros(len(name)),
        "shown_s": shown.mean(axis=0) / 1e9,
        "leader": rank[total.argmax(axis=1)],
        "leader_s": total.max(axis=1) / len(duration) / 1e9,
    })  # fmt: skip


def find_suspects(job: CoupledJob, rng: np.random.Generator) -> pl.DataFrame:
    """Rank the stages and ranks at which to look next.

    Parameters
    ----------
    job : CoupledJob
        Coupled stage log.
    rng : numpy.random.Generator
        Source of the shuffles.

    Returns
    -------
    polars.DataFrame
        Table `SUSPECT`. First those that lead beyond chance, by their delay; then, by how much they may hide,
        those that need more evidence: ranks within chance, and stages in which all ranks are alike.

    Notes
    -----
    If no rank is special, the furthest of a step could be anybody: leaders are drawn anew for every step and
    stage, and a delay must exceed the largest one of all stages and ranks so drawn, with a family-wise
    error rate of 0.5 %.
    """
    name, rank, duration = _by_stage(job)
    found = _delays(duration)
    rows = [*_leading((name, rank, job.step_number), found, rng), *_alike(job, found, name)]
    rows.sort(key=lambda row: (row["state"] != "leads", -row["delay_s"]))
    columns = dict(list(SUSPECT.schema.items())[1:])
    return SUSPECT.build(pl.DataFrame(rows[:MOST_SUSPECTS], columns).with_row_index("order"))


def _leading(
    told: tuple[list[str], Int64Array, Int64Array], found: _Delays, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Ranks that show more delay at a stage than the others do."""
    name, rank, step = told
    total = _by_rank(found, rank.size)
    p = _p_values(found, total, rng)
    beyond = total - (total.sum(axis=1, keepdims=True) - total) / max(1, rank.size - 1)
    rows = []
    for stage, row in np.argwhere(beyond > 0):
        mine = np.where(found.leader[:, stage] == row, np.maximum(found.shown_ns[:, stage], 0), 0)
        rows.append({
            "stage": name[stage],
            "rank": int(rank[row]),
            "delay_s": float(beyond[stage, row]) / step.size / 1e9,
            "p_value": float(p[stage, row]),
            "state": "leads" if p[stage, row] <= ALPHA else "needs_evidence",
            **_worst(mine, step),
        })  # fmt: skip
    return rows


def _by_stage(job: CoupledJob) -> tuple[list[str], Int64Array, Int64Array]:
    """Names of the stages, ranks, and durations (n_step, n_rank, n_stage)."""
    n_step, n_rank = job.step_number.size, job.rank.height
    duration = job.duration_ns.reshape(n_step, n_rank, -1)
    n_stage = duration.shape[2]
    names = job.op["name"].head(n_stage).cast(pl.String).to_list()
    ranks = job.op["rank"].to_numpy()[: n_rank * n_stage : n_stage]
    return names, ranks.astype(np.int64), duration


def _delays(duration_ns: Int64Array) -> _Delays:
    reached = np.cumsum(duration_ns, axis=2)
    frontier = reached.max(axis=1)
    middle = np.quantile(reached, 0.5, axis=1, method="inverted_cdf")
    return _Delays(
        np.diff(frontier, axis=1, prepend=0),
        np.diff(frontier - middle, axis=1, prepend=0),
        reached.argmax(axis=1),
        np.diff(middle, axis=1, prepend=0),
    )


def _by_rank(found: _Delays, n_rank: int) -> FloatArray:
    """Delay that first shows, in all steps together, by stage and rank."""
    n_stage = found.leader.shape[1]
    key = np.arange(n_stage) * n_rank + found.leader
    shown = np.maximum(found.shown_ns, 0.0)
    total = np.bincount(key.ravel(), shown.ravel(), minlength=n_stage * n_rank)
    return np.asarray(total.reshape(n_stage, n_rank), np.float64)


def _p_values(found: _Delays, total: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Share of shuffled logs in which anybody shows that much delay."""
    n_rank = total.shape[1]
    largest = np.empty(N_SHUFFLE)
    for k in range(N_SHUFFLE):
        anybody = found._replace(leader=rng.integers(0, n_rank, found.leader.shape))
        largest[k] = _by_rank(anybody, n_rank).max()
    beyond = N_SHUFFLE - np.searchsorted(np.sort(largest), total, side="left")
    return np.asarray((1 + beyond) / (1 + N_SHUFFLE))


def _alike(job: CoupledJob, found: _Delays, name: list[str]) -> list[dict[str, Any]]:
    """Stages that take longer on all ranks in some steps; and the one that holds waiting, as a whole."""
    holds_waiting = (job.caveat["code"] == "shared_stage").any()
    rows = []
    for stage, label in enumerate(name):
        rise = found.middle_ns[:, stage] - np.median(found.middle_ns[:, stage])
        mine = np.maximum(rise, 0.0)
        whole = holds_waiting and stage == len(name) - 2
        delay_s = float((found.exposed_ns[:, stage] if whole else mine).mean()) / 1e9
        if delay_s > 0:
            rows.append({
                "stage": label,
                "rank": -1,
                "delay_s": delay_s,
                "p_value": None,
                "state": "needs_evidence",
                **_worst(mine, job.step_number),
            })  # fmt: skip
    return rows


def _worst(delay_ns: FloatArray, step: Int64Array) -> dict[str, int]:
    """Count the steps with most of a delay, and name the window of a few that holds most of it."""
    n = min(WINDOW, delay_ns.size)
    held = np.convolve(delay_ns, np.ones(n), mode="valid")
    first = int(held.argmax())
    n_steps = int((delay_ns > delay_ns.max() / 2).sum())
    return {
        "n_steps": n_steps,
        "first_step": int(step[first]),
        "last_step": int(step[first + n - 1]),
    }
