"""What each group of ops does to the step: removal from the measured job, addition to the ideal."""

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.levels import FloatArray
from loadpath.replay import (
    ScenarioLayout,
    Scenarios,
    Timeline,
    lay_out_scenarios,
    replay,
    replay_scenarios,
    step_time_ns,
)
from loadpath.tables.results import ATTRIBUTION

__all__ = ["attribute"]

COLUMNS_AT_ONCE = 256
MOST_CLASSES = 200
"""Classes beyond the ones with most work are counted as one group, 'other'."""


def attribute(job: CoupledJob, work_ns: FloatArray, ideal_ns: FloatArray) -> pl.DataFrame:
    """Attribute the slowdown to op classes, mechanisms, stages, replicas, ranks, links and steps.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    work_ns, ideal_ns : (n_op,) arrays of float64
        Measured and ideal work.

    Returns
    -------
    polars.DataFrame
        Table `ATTRIBUTION`. Ratios are NaN where there is no waste to share (under 0.5 %).

    References
    ----------
    .. [1] J. Lin et al., OSDI 2025, arXiv:2505.05713, section 4.
    """
    measured = replay(job.graph, work_ns)
    ideal = replay(job.graph, ideal_ns)
    step = np.asarray(step_time_ns(job.graph, measured) / 1e9, np.float64)
    best = np.asarray(step_time_ns(job.graph, ideal) / 1e9, np.float64)
    rows = [_step_rows(job, step, best)]
    layouts = [lay_out_scenarios(job.graph, t) for t in (measured, ideal)]
    for by, group, keys in _groupings(job):
        means = [
            _mean_steps(job, (timeline, layout), delta, group=group, n_key=len(keys))
            for timeline, layout, delta in (
                (measured, layouts[0], ideal_ns - work_ns),
                (ideal, layouts[1], work_ns - ideal_ns),
            )
        ]
        rows.append(_rows(by, keys, (float(step.mean()), float(best.mean())), means))
    return ATTRIBUTION.validate(pl.concat(rows))


def _groupings(job: CoupledJob) -> Iterable[tuple[str, NDArray[np.int32], list[str]]]:
    """Name, group number of every op, and keys of each way to group."""
    op = job.op
    yield ("op_class", *_numbered(_classes(job)))
    for by in ("mechanism", "stage", "replica", "rank"):
        if op[by].n_unique() > 1:
            yield (by, *_numbered(op[by].cast(pl.String)))
    is_transfer = np.zeros(job.n_op, np.bool_)
    is_transfer[job.membership["op"].to_numpy()] = True
    names = dict(job.communicator.select("communicator", "name").iter_rows())
    link = op["communicator"].replace_strict(names, default="", return_dtype=pl.String)
    link = pl.DataFrame({"l": link, "t": is_transfer}).select(
        pl.when("t").then("l").otherwise(pl.lit(""))
    )["l"]
    if link.n_unique() > 2:
        yield ("link", *_numbered(link))


def _classes(job: CoupledJob) -> pl.Series:
    """Names of ops, or classes where a job has few enough of them."""
    names = pl.DataFrame({"n": job.op["name"].cast(pl.String), "w": job.work_ns})
    if names["n"].n_unique() <= MOST_CLASSES:
        return names["n"]
    largest = names.group_by("n").agg(pl.col("w").sum()).sort(["w", "n"], descending=[True, False])
    kept = largest["n"].head(MOST_CLASSES - 1).to_list()
    return names.select(pl.when(pl.col("n").is_in(kept)).then("n").otherwise(pl.lit("other")))["n"]


def _numbered(label: pl.Series) -> tuple[NDArray[np.int32], list[str]]:
    keys = label.unique().sort().to_list()
    if all(key.lstrip("-").isdigit() for key in keys):
        keys.sort(key=int)
    number = label.replace_strict(keys, list(range(len(keys))), return_dtype=pl.Int32)
    return number.to_numpy(), keys


def _mean_steps(
    job: CoupledJob,
    replayed: tuple[Timeline, ScenarioLayout],
    delta: FloatArray,
    *,
    group: NDArray[np.int32],
    n_key: int,
) -> FloatArray:
    """Replay each group's change alone; mean step in s per group."""
    timeline, layout = replayed
    means = []
    for first in range(0, n_key, COLUMNS_AT_ONCE):
        width = min(COLUMNS_AT_ONCE, n_key - first)
        scale = np.zeros((n_key, width), np.float32)
        scale[np.arange(first, first + width), np.arange(width)] = 1.0
        steps = replay_scenarios(job.graph, timeline, Scenarios(delta, group, scale), layout=layout)
        means.append(steps.mean(axis=0) / 1e9)
    return np.concatenate(means)


def _rows(
    by: str, keys: list[str], bounds: tuple[float, float], means: list[FloatArray]
) -> pl.DataFrame:
    step, best = bounds
    without, with_it = means
    waste = step - best
    share = waste if waste > 0.005 * step else float("nan")
    frame = pl.DataFrame(
        {
            "by": [by] * len(keys),
            "key": keys,
            "slowdown_ratio": with_it / best if best > 0 else np.full(len(keys), np.nan),
            "removal_ratio": (step - without) / share,
            "addition_ratio": (with_it - best) / share,
            "gain_s": step - without,
        },
        schema=ATTRIBUTION.schema,
    )
    return frame.filter(pl.col("key") != "").sort("slowdown_ratio", "key", descending=[True, False])


def _step_rows(job: CoupledJob, step: FloatArray, best: FloatArray) -> pl.DataFrame:
    waste = float((step - best).sum())
    share = waste if waste > 0.005 * float(step.sum()) else float("nan")
    return pl.DataFrame(
        {
            "by": ["step"] * step.size,
            "key": [str(s) for s in job.graph.step],
            "slowdown_ratio": step / np.maximum(best, 1e-12),
            "removal_ratio": (step - best) / share,
            "addition_ratio": (step - best) / share,
            "gain_s": (step - best) / max(1, step.size),
        },
        schema=ATTRIBUTION.schema,
    )
