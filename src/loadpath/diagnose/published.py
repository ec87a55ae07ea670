"""The published what-if method, field by field, in its own arithmetic.

Computations take their mean and communications their median over replicas, stages and steps; a
transfer is an op's end, as float32(start + duration), less the latest start of its group, and
counts as 0 from -10 ms downwards.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.labels import numbered
from loadpath.diagnose.levels import FloatArray
from loadpath.errors import UsageError
from loadpath.replay import replay, step_time_ns

__all__ = ["published_fields", "published_slowdown", "published_work_s"]

DECOMPOSE_FROM = 1.03
"""Decompositions are null where the slowdown is below this."""
EARLY_S = -1e-2
"""Transfers at or below this are taken as 0."""
TOP_WORKERS_RATIO = 0.03
MERGED = {
    "forward-send": "forward-pp-comm",
    "forward-recv": "forward-pp-comm",
    "backward-send": "backward-pp-comm",
    "backward-recv": "backward-pp-comm",
}


def published_work_s(job: CoupledJob) -> FloatArray:
    """Durations and transfers as the published method reads them.

    Parameters
    ----------
    job : CoupledJob
        Job coupled from an op table.

    Returns
    -------
    (n_op,) array of float64
        Seconds; a transfer may be slightly negative.
    """
    start, duration = _recorded_s(job)
    end = (start + duration).astype(np.float64)
    op = job.membership["op"].to_numpy()
    instance = job.membership["instance"].to_numpy()
    latest = np.zeros(int(instance.max(initial=-1)) + 1)
    np.maximum.at(latest, instance, start[op].astype(np.float64))
    transfer = end[op] - latest[instance]
    work = duration.astype(np.float64)
    work[op] = np.where(transfer <= EARLY_S, 0.0, transfer)
    return work


def published_slowdown(job: CoupledJob) -> tuple[float, float | None, float | None]:
    """Slowdown of the published method, and the shares that it lays on workers and last stage.

    Parameters
    ----------
    job : CoupledJob
        Job coupled from an op table.

    Returns
    -------
    s : float
        Mean step as measured without lag over mean ideal step, 1 for a job without stragglers.
    m_w, m_s : float or None
        Removal of the top 3 % of workers, and of the last stage; None where nothing is lost.
    """
    work = published_work_s(job)
    ideal = _ideal(job, work)
    nodelay, noblock = _steps(job, work), _steps(job, ideal)
    slowdown = float(nodelay.mean() / noblock.mean())
    if nodelay.mean() <= noblock.mean():
        return slowdown, None, None
    figures = (work, ideal, float(nodelay.mean()), float(noblock.mean()))
    last_stage = (job.op["stage"] == job.op["stage"].max()).to_numpy()
    top = _top_workers(job, {}, work=work, ideal=ideal, noblock=noblock)
    m_w, m_s = (_explain(job, mine, figures)["rem"] for mine in (top, last_stage))
    return slowdown, m_w, m_s


def published_fields(job: CoupledJob, layout: Mapping[str, int], name: str) -> dict[str, Any]:
    """Compute every field of the published ``result``, ``ms`` and ``mw`` files.

    Parameters
    ----------
    job : CoupledJob
        Job coupled from an op table.
    layout : mapping of str to int
        Declared sizes.
    name : str
        Name of the trial.

    Returns
    -------
    dict
        ``{"result": ..., "ms": ..., "mw": ...}`` with the published names.

    Raises
    ------
    UsageError
        If the job was not recorded as an op table.

    References
    ----------
    .. [1] J. Lin et al., "Understanding Stragglers in Large Model Training Using What-if
       Analysis", OSDI 2025, arXiv:2505.05713.
    """
    if job.source != "op_table":
        raise UsageError("the published method needs an op table. Give a Parquet or CSV table.")
    work = published_work_s(job)
    ideal = _ideal(job, work)
    nodelay, noblock = _steps(job, work), _steps(job, ideal)
    base = _recorded_steps(job)
    result: dict[str, Any] = {
        "job_meta": _meta(layout, name),
        "step_t_base": _by_step(job, base),
        "step_t_nodelay": _by_step(job, nodelay),
        "step_t_noblk": _by_step(job, noblock),
        "launch_slowdown": float(base.mean() / nodelay.mean()),
        "blocking_slowdown": float(nodelay.mean() / noblock.mean()),
        "blocking_step_slowdown": _descending(_by_step(job, nodelay / noblock)),
        "launch_step_slowdown": _descending(_by_step(job, base / nodelay)),
    }
    result |= _decompositions(
        job,
        "blocking",
        result["blocking_slowdown"],
        steps_of=lambda keep: _steps(job, np.where(keep, work, ideal)),
        base=noblock,
    )
    lag = _launch_delay_s(job)
    result |= _decompositions(
        job,
        "launch",
        result["launch_slowdown"],
        steps_of=lambda keep: _steps(job, work, np.where(keep, lag, 0.0)),
        base=nodelay,
    )
    figures = (work, ideal, float(nodelay.mean()), float(noblock.mean()))
    last_stage = (job.op["stage"] == job.op["stage"].max()).to_numpy()
    ms = _explain(job, last_stage, figures)
    mw = _explain(job, _top_workers(job, result, work=work, ideal=ideal, noblock=noblock), figures)
    return {
        "result": result,
        "ms": ms | {"Ms": ms["rem"]},
        "mw": mw | {"Mw": mw["rem"]},
    }


def _recorded_s(job: CoupledJob) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read starts and durations as precise as the table: float32 where its clock has steps."""
    single = job.rank["clock_residual_ns"].max() or 0
    precision = np.float32 if single else np.float64
    start, duration = (job.op[name].to_numpy() * 1e-9 for name in ("start_ns", "duration_ns"))
    return start.astype(precision), duration.astype(precision)


def _steps(job: CoupledJob, work_s: FloatArray, lag_s: FloatArray | None = None) -> FloatArray:
    lag = None if lag_s is None else lag_s * 1e9
    return np.asarray(step_time_ns(job.graph, replay(job.graph, work_s * 1e9, lag_ns=lag)) / 1e9)


def _ideal(job: CoupledJob, work: FloatArray) -> FloatArray:
    communicates = pl.col("kind") == "communicate"
    return (
        job.op.select("name", "kind")
        .with_columns(pl.Series("w", work))
        .select(
            pl.when(communicates)
            .then(pl.col("w").median().over("name"))
            .otherwise(pl.col("w").mean().over("name"))
            .alias("ideal")
        )["ideal"]
        .to_numpy()
    )


def _recorded_steps(job: CoupledJob) -> FloatArray:
    start, duration = _recorded_s(job)
    steps = job.graph.step
    place = np.searchsorted(steps, job.op["step"].to_numpy())
    first = np.full(steps.size, np.inf, start.dtype)
    last = np.full(steps.size, -np.inf, start.dtype)
    np.minimum.at(first, place, start)
    np.maximum.at(last, place, start + duration)
    return (last - first).astype(np.float64)


def _launch_delay_s(job: CoupledJob) -> FloatArray:
    """Start less the latest end of what the op depends on; 0 where it is -10 ms or less."""
    op = job.membership["op"].to_numpy()
    instance = job.membership["instance"].to_numpy()
    ready = np.zeros(int(instance.max(initial=-1)) + 1, np.int64)
    np.maximum.at(ready, instance, job.arrive_ns[op])
    early = job.negative_lag_ns.copy()
    # An op that ended before its group was complete has negative lag too, but began in time.
    end = (job.op["start_ns"] + job.op["duration_ns"]).to_numpy()
    early[op] -= np.maximum(ready[instance] - end[op], 0)
    lag = (job.lag_ns - early) / 1e9
    return np.where(lag <= EARLY_S, 0.0, lag)


def _decompositions(
    job: CoupledJob,
    what: str,
    slowdown: float,
    *,
    steps_of: Callable[[NDArray[np.bool_]], FloatArray],
    base: FloatArray,
) -> dict[str, Any]:
    """Slowdown by replica, stage and op type, overall and per step."""
    groups = {
        "dp_rank": numbered(job.op["replica"]),
        "stage": numbered(job.op["stage"]),
        "optype": _types(job, what),
    }
    fields: dict[str, Any] = {}
    for by, (number, keys) in groups.items():
        total: dict[str, float] | None = None
        per_step: dict[str, dict[str, float]] | None = None
        if slowdown >= DECOMPOSE_FROM:
            steps = {key: steps_of(number == i) for i, key in enumerate(keys)}
            total = _descending({k: float(v.mean() / base.mean()) for k, v in steps.items()})
            per_step = {
                str(s): _descending({k: float(v[i] / base[i]) for k, v in steps.items()})
                for i, s in enumerate(job.graph.step)
            }
        fields[f"{what}_decompose_by_{by}"] = total
        fields[f"{what}_decompose_by_{by}_per_step"] = per_step
    return fields


def _types(job: CoupledJob, what: str) -> tuple[NDArray[np.int32], list[str]]:
    """Type of each op: sends and receives of one direction are one, and the first op is its own."""
    number, names = numbered(job.op["name"])
    merged = [MERGED.get(name, name) for name in names]
    types = sorted({*merged, *(["first-op"] if what == "launch" else [])})
    of_op = np.array([types.index(name) for name in merged], np.int32)[number]
    if what == "launch":
        stage, sequence = job.op["stage"].to_numpy(), job.op["sequence"].to_numpy()
        begins = np.array([name == "forward-compute" for name in names])[number] & (stage == 0)
        receives = np.array([name == "forward-recv" for name in names])[number] & (stage > 0)
        of_op[(begins | receives) & (sequence == 0)] = types.index("first-op")
    seen = np.unique(of_op)
    return np.searchsorted(seen, of_op).astype(np.int32), [types[i] for i in seen]


def _explain(
    job: CoupledJob, mine: NDArray[np.bool_], figures: tuple[FloatArray, FloatArray, float, float]
) -> dict[str, float]:
    """Explain the slowdown by a set of ops: removal and addition."""
    work, ideal, original, best = figures
    without = float(_steps(job, np.where(mine, ideal, work)).mean())
    with_it = float(_steps(job, np.where(mine, work, ideal)).mean())
    return {
        "trem": without,
        "tadd": with_it,
        "tori": original,
        "tideal": best,
        "rem": (original - without) / (original - best),
        "add": (with_it - best) / (original - best),
    }


def _top_workers(
    job: CoupledJob,
    totals: Mapping[str, Any],
    *,
    work: FloatArray,
    ideal: FloatArray,
    noblock: FloatArray,
) -> NDArray[np.bool_]:
    """Ops of the top 3 % of workers by the lesser of replica and stage slowdown.

    Decompositions are left out of a result with little slowdown, but count here all the same.
    """  # noqa: DOC201
    slow: dict[str, dict[int, float]] = {}
    for by in ("replica", "stage"):
        known = totals.get(f"blocking_decompose_by_{'dp_rank' if by == 'replica' else by}")
        number, keys = numbered(job.op[by])
        slow[by] = {
            int(key): known[key]
            if known
            else float(_steps(job, np.where(number == i, work, ideal)).mean() / noblock.mean())
            for i, key in enumerate(keys)
        }
    places = job.op.select("rank", "replica", "stage").unique().sort("rank")
    score = {
        rank: min(slow["replica"][replica], slow["stage"][stage])
        for rank, replica, stage in places.iter_rows()
    }
    n_top = -(-len(score) * round(100 * TOP_WORKERS_RATIO) // 100)
    top = sorted(score, key=lambda rank: (-score[rank], rank))[:n_top]
    return job.op["rank"].is_in(top).to_numpy()


def _meta(layout: Mapping[str, int], name: str) -> dict[str, Any]:
    keys = ("run_id", "dp_size", "pp_size", "tp_size", "dsp_size", "vpp_size", "world_size")
    return {"trial_name": name} | {
        key: layout.get(key, 0 if key == "run_id" else 1) for key in keys
    }


def _by_step(job: CoupledJob, value: FloatArray) -> dict[str, float]:
    return {str(s): float(v) for s, v in zip(job.graph.step, value, strict=True)}


def _descending(value: dict[str, float]) -> dict[str, float]:
    return dict(sorted(value.items(), key=lambda item: -item[1]))
