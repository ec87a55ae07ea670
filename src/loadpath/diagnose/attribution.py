"""What each group of ops does to the step: removal from the measured job, addition to the ideal."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.labels import compact, numbered
from loadpath.diagnose.levels import FloatArray
from loadpath.replay import (
    Mixture,
    ScenarioLayout,
    Scenarios,
    Timeline,
    lay_out_scenarios,
    replay,
    replay_runs,
    replay_scenarios,
    step_time_ns,
)
from loadpath.replay.kernels import BLOCK
from loadpath.tables.results import ATTRIBUTION

__all__ = ["attribute"]

COLUMNS_AT_ONCE = 256
MOST_CLASSES = 200
"""Classes beyond the ones with most work are counted as one group, 'other'."""


class _Grouping(NamedTuple):
    """One way to group ops: its name, the group number of each op, and the names of the groups."""

    by: str
    number: NDArray[np.int32]
    keys: list[str]


_Means = tuple[_Grouping, FloatArray, FloatArray]
"""A grouping, and the mean step without and with each of its groups, in s."""
_Sides = tuple[FloatArray, FloatArray, list[_Means]]
"""Steps as measured and as ideal, in s, and the groupings."""


def attribute(job: CoupledJob, work_ns: FloatArray, ideal_ns: FloatArray) -> pl.DataFrame:
    """Attribute the slowdown to op classes, mechanisms, stages, replicas, ranks, links and steps.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    work_ns : (n_op,) or (n_run, n_op) array of float64
        Measured work.
    ideal_ns : (n_op,) array of float64
        Ideal work.

    Returns
    -------
    polars.DataFrame
        Table `ATTRIBUTION`. Ratios are NaN where there is no waste to share (under 0.5 %).

    References
    ----------
    .. [1] J. Lin et al., OSDI 2025, arXiv:2505.05713, section 4.
    """
    by_side = _means_of_runs if job.runs is not None else _means_of_job
    step, best, groups = by_side(job, work_ns, ideal_ns)
    bounds = (float(step.mean()), float(best.mean()))
    rows = [_step_rows(job, step, best)]
    rows += [_rows(grouping, bounds, means) for grouping, *means in groups]
    return ATTRIBUTION.build({k: np.concatenate([row[k] for row in rows]) for k in rows[0]})


def _means_of_runs(job: CoupledJob, work_ns: FloatArray, ideal_ns: FloatArray) -> _Sides:
    """Mix measured and ideal work by group, all runs of a graph side by side."""
    groupings = list(_groupings(job))
    every = np.ones(job.n_op, np.bool_)
    masks = [g.number == i for g in groupings for i in range(len(g.keys))]
    mixtures = [Mixture(mask) for mask in (every, ~every, *(~m for m in masks), *masks)]
    step_s = replay_runs(job.graph, work_ns, ideal_ns, mixtures)[:, :, 0] / 1e9
    means = step_s[2:].mean(axis=1).reshape(2, -1)
    return step_s[0], step_s[1], list(_shared_out(groupings, means))


def _means_of_job(job: CoupledJob, work_ns: FloatArray, ideal_ns: FloatArray) -> _Sides:
    """Replay what groups change as deviations, many groups side by side."""
    replayed = [replay(job.graph, work) for work in (work_ns, ideal_ns)]
    step, best = (np.asarray(step_time_ns(job.graph, t) / 1e9, np.float64) for t in replayed)
    sides = [
        (timeline, lay_out_scenarios(job.graph, timeline), delta)
        for timeline, delta in zip(replayed, (ideal_ns - work_ns, work_ns - ideal_ns), strict=True)
    ]
    groups: list[_Means] = []
    for groupings in _bundles(_groupings(job)):
        meeting = _meet(groupings)
        means = np.stack([_mean_steps(job, side, meeting) for side in sides])
        groups += _shared_out(groupings, means)
    return step, best, groups


def _shared_out(groupings: Sequence[_Grouping], means: FloatArray) -> Iterable[_Means]:
    """Give each grouping its columns of (2, n_key) means."""
    first = 0
    for grouping in groupings:
        mine = slice(first, first + len(grouping.keys))
        yield grouping, means[0, mine], means[1, mine]
        first = mine.stop


def _groupings(job: CoupledJob) -> Iterable[_Grouping]:
    """Name, group number of every op, and keys of each way to group."""
    op = job.op
    yield _Grouping("op_class", *_classes(job))
    for by in ("mechanism", "stage", "replica", "rank"):
        number, keys = numbered(op[by])
        if len(keys) > 1:
            yield _Grouping(by, number, keys)
    number, keys = _links(job)
    if len(keys) > 2:
        yield _Grouping("link", number, keys)


def _bundles(groupings: Iterable[_Grouping]) -> Iterable[list[_Grouping]]:
    """Join neighbours whose keys fit into one block of scenarios."""
    bundle: list[_Grouping] = []
    for grouping in groupings:
        if bundle and sum(len(g.keys) for g in (*bundle, grouping)) > BLOCK:
            yield bundle
            bundle = []
        bundle.append(grouping)
    yield bundle


def _classes(job: CoupledJob) -> tuple[NDArray[np.int32], list[str]]:
    """Names of ops; beyond `MOST_CLASSES` those with least work are one."""
    number, keys = numbered(job.op["name"])
    if len(keys) <= MOST_CLASSES:
        return number, keys
    work = np.atleast_2d(job.work_ns).sum(axis=0)
    total = np.bincount(number, work, minlength=len(keys))
    order = sorted(range(len(keys)), key=lambda i: (-total[i], keys[i]))
    kept = sorted([*(keys[i] for i in order[: MOST_CLASSES - 1]), "other"])
    of_key = np.array([kept.index(key if key in kept else "other") for key in keys], np.int32)
    return of_key[number], kept


def _links(job: CoupledJob) -> tuple[NDArray[np.int32], list[str]]:
    """Name of the communicator of each transfer, empty for other ops."""
    names = dict(job.communicator.select("communicator", "name").iter_rows())
    is_transfer = np.zeros(job.n_op, np.bool_)
    is_transfer[job.membership["op"].to_numpy()] = True
    number, found = numbered(
        pl.Series(np.where(is_transfer, job.op["communicator"].to_numpy(), -1))
    )
    labels = [names.get(int(key), "") for key in found]
    keys = sorted(set(labels))
    of_number = np.array([keys.index(label) for label in labels], np.int32)
    return of_number[number], keys


def _mean_steps(
    job: CoupledJob,
    side: tuple[Timeline, ScenarioLayout, FloatArray],
    meeting: tuple[NDArray[np.int32], NDArray[np.float32]],
) -> FloatArray:
    """Replay each group's change alone; mean step in s per group, groupings one after another."""
    timeline, layout, delta = side
    group, members = meeting
    means = []
    for first in range(0, members.shape[1], COLUMNS_AT_ONCE):
        scale = members[:, first : first + COLUMNS_AT_ONCE]
        steps = replay_scenarios(job.graph, timeline, Scenarios(delta, group, scale), layout=layout)
        means.append(steps.mean(axis=0) / 1e9)
    return np.concatenate(means) if means else np.zeros(0)


def _meet(groupings: Sequence[_Grouping]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Give groups that several groupings make together numbers, and the keys that each belongs to."""
    joint = np.zeros(groupings[0].number.size, np.int64)
    for grouping in groupings:
        joint = joint * len(grouping.keys) + grouping.number
    found, group = compact(joint)
    members = np.zeros((found.size, sum(len(g.keys) for g in groupings)), np.float32)
    last = members.shape[1]
    for grouping in reversed(groupings):
        last -= len(grouping.keys)
        members[np.arange(found.size), last + found % len(grouping.keys)] = 1.0
        found //= len(grouping.keys)
    return group, members


def _rows(
    grouping: _Grouping, bounds: tuple[float, float], means: Sequence[FloatArray]
) -> dict[str, NDArray[Any]]:
    """Rows of one grouping, the slowest group first."""
    by, keys = grouping.by, grouping.keys
    step, best = bounds
    without, with_it = means
    waste = step - best
    share = waste if waste > 0.005 * step else float("nan")
    slowdown = with_it / best if best > 0 else np.full(len(keys), np.nan)
    order = sorted(range(len(keys)), key=lambda i: (-slowdown[i], keys[i]))
    shown = [i for i in order if keys[i]]
    return {
        "by": np.full(len(shown), by, object),
        "key": np.array([keys[i] for i in shown], object),
        "slowdown_ratio": slowdown[shown],
        "removal_ratio": ((step - without) / share)[shown],
        "addition_ratio": ((with_it - best) / share)[shown],
        "gain_s": (step - without)[shown],
    }


def _step_rows(job: CoupledJob, step: FloatArray, best: FloatArray) -> dict[str, NDArray[Any]]:
    waste = float((step - best).sum())
    share = waste if waste > 0.005 * float(step.sum()) else float("nan")
    return {
        "by": np.full(step.size, "step", object),
        "key": np.array([str(s) for s in job.step_number], object),
        "slowdown_ratio": step / np.maximum(best, 1e-12),
        "removal_ratio": (step - best) / share,
        "addition_ratio": (step - best) / share,
        "gain_s": (step - best) / max(1, step.size),
    }
