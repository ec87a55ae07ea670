"""The published what-if method, field by field, in its own arithmetic.

Computations take their mean and communications their median over replicas, stages and steps; a
transfer is an op's end, as float32(start + duration), less the latest start of its group, and
counts as 0 from -10 ms downwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.couple.steps import CoupledSteps, measure_steps
from loadpath.diagnose import kernels
from loadpath.diagnose.labels import numbered
from loadpath.diagnose.levels import FloatArray
from loadpath.errors import UsageError
from loadpath.replay import Mixture, replay_runs

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


@dataclass(frozen=True, slots=True)
class _Measured:
    """What the published method reads off a job, and the means of its two replays.

    Attributes
    ----------
    steps : CoupledSteps
        The job.
    work_ns : (n_run, n_op) array of float64
        Durations and transfers.
    ideal_ns : (n_op,) array of float64
        Mean or median of each op's name.
    nodelay, noblock : (n_step,) arrays of float64
        Replayed steps as measured and ideal, in s.
    """

    steps: CoupledSteps
    work_ns: FloatArray
    ideal_ns: FloatArray
    nodelay: FloatArray
    noblock: FloatArray


def published_slowdown(steps: CoupledSteps) -> tuple[float, float | None, float | None]:
    """Slowdown of the published method, and the shares that it lays on workers and last stage.

    Parameters
    ----------
    steps : CoupledSteps
        Job coupled from an op table.

    Returns
    -------
    s : float
        Mean step as measured without lag over mean ideal step, 1 for a job without stragglers.
    m_w, m_s : float or None
        Removal of the top 3 % of workers, and of the last stage; None where nothing is lost.
    """
    measured = _measure(steps, published_work_s(steps)[0])
    original, best = measured.nodelay.mean(), measured.noblock.mean()
    slowdown = float(original / best)
    if original <= best:
        return slowdown, None, None
    top = _top_workers(measured, {})
    m_w, m_s = (e["rem"] for e in _explain(measured, [top, _last_stage(steps)]))
    return slowdown, m_w, m_s


def published_fields(steps: CoupledSteps, layout: Mapping[str, int], name: str) -> dict[str, Any]:
    """Compute every field of the published ``result``, ``ms`` and ``mw`` files.

    Parameters
    ----------
    steps : CoupledSteps
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
    if steps.job.source != "op_table":
        raise UsageError("the published method needs an op table. Give a Parquet or CSV table.")
    work, base = published_work_s(steps)
    measured = _measure(steps, work)
    nodelay, noblock = measured.nodelay, measured.noblock
    result: dict[str, Any] = {
        "job_meta": _meta(layout, name),
        "step_t_base": _by_step(steps, base),
        "step_t_nodelay": _by_step(steps, nodelay),
        "step_t_noblk": _by_step(steps, noblock),
        "launch_slowdown": float(base.mean() / nodelay.mean()),
        "blocking_slowdown": float(nodelay.mean() / noblock.mean()),
        "blocking_step_slowdown": _descending(_by_step(steps, nodelay / noblock)),
        "launch_step_slowdown": _descending(_by_step(steps, base / nodelay)),
    }
    result |= _decompositions(measured, "blocking", result["blocking_slowdown"])
    result |= _decompositions(measured, "launch", result["launch_slowdown"])
    ms, mw = _explain(measured, [_last_stage(steps), _top_workers(measured, result)])
    return {
        "result": result,
        "ms": ms | {"Ms": ms["rem"]},
        "mw": mw | {"Mw": mw["rem"]},
    }


def published_work_s(steps: CoupledSteps) -> tuple[FloatArray, FloatArray]:
    """Read durations, transfers and step times as the published method does.

    Parameters
    ----------
    steps : CoupledSteps
        Job coupled from an op table.

    Returns
    -------
    work_s : (n_run, n_op) array of float64
        Seconds; a transfer may be slightly negative.
    step_s : (n_step,) array of float64
        Recorded steps, in s.
    """
    job = steps.job
    work = np.empty(steps.start_ns.shape)
    step_s = np.empty((len(work), job.graph.step.size))
    kernels.published_work(
        *(steps.start_ns, steps.duration_ns),
        # starts and durations are as precise as the table: float32 where its clock has steps
        bool(job.rank["clock_residual_ns"].max() or 0),
        *(job.membership[name].to_numpy() for name in ("op", "instance")),
        job.instance.height,
        np.searchsorted(job.graph.step, job.op["step"].to_numpy()),
        *(EARLY_S, work, step_s),
    )
    return work, step_s.ravel()


def _measure(steps: CoupledSteps, work_s: FloatArray) -> _Measured:
    """Replay the job as measured and as ideal; its work is turned into ns where it stands."""
    ideal = _ideal(steps, work_s) * 1e9
    work = np.multiply(work_s, 1e9, out=work_s)
    every = np.ones(steps.job.n_op, np.bool_)
    nodelay, noblock = _replayed_s(steps, work, ideal, [Mixture(every), Mixture(~every)])
    return _Measured(steps, work, ideal, nodelay, noblock)


def _replayed_s(
    steps: CoupledSteps,
    work_ns: FloatArray,
    ideal_ns: FloatArray,
    mixtures: Sequence[Mixture],
    *,
    lag_s: FloatArray | None = None,
) -> FloatArray:
    """Replay all steps in each scenario: (n_mixture, n_step) seconds."""
    lag = None if lag_s is None else lag_s * 1e9
    step = replay_runs(steps.job.graph, work_ns, ideal_ns, mixtures, lag_ns=lag)
    return np.asarray(step.reshape(len(mixtures), -1) / 1e9)


def _ideal(steps: CoupledSteps, work_s: FloatArray) -> FloatArray:
    """Mean of computations and median of communications of each name."""
    number, names = numbered(steps.job.op["name"])
    communicates = (steps.job.op["kind"] == "communicate").to_numpy()
    ideal = np.empty(steps.job.n_op)
    for i in range(len(names)):
        mine = np.flatnonzero(number == i)
        # a mean depends on the order of its terms: they are added op by op
        value = work_s[:, mine] if not communicates[mine[0]] else np.take(work_s, mine, axis=1)
        middle = np.median if communicates[mine[0]] else np.mean
        ideal[mine] = middle(value)
    return ideal


def _launch_delay_s(steps: CoupledSteps) -> FloatArray:
    """Start less the latest end of what the op depends on; 0 where it is -10 ms or less."""
    op, instance = (steps.job.membership[name].to_numpy() for name in ("op", "instance"))
    lag = np.empty(steps.start_ns.shape)
    measured = measure_steps(steps)
    kernels.published_lag(
        *(steps.start_ns, steps.duration_ns),
        *(measured.arrive_ns, measured.lag_ns, measured.negative_lag_ns),
        *(op, instance, steps.job.instance.height, EARLY_S, lag),
    )
    return lag


def _decompositions(measured: _Measured, what: str, slowdown: float) -> dict[str, Any]:
    """Slowdown by replica, stage and op type, overall and per step."""
    steps = measured.steps
    op = steps.job.op
    groups = {
        "dp_rank": numbered(op["replica"]),
        "stage": numbered(op["stage"]),
        "optype": _types(steps.job, what),
    }
    fields: dict[str, Any] = {}
    if slowdown < DECOMPOSE_FROM:
        for by in groups:
            fields[f"{what}_decompose_by_{by}"] = None
            fields[f"{what}_decompose_by_{by}_per_step"] = None
        return fields
    masks = [number == i for number, keys in groups.values() for i in range(len(keys))]
    if what == "blocking":
        base = measured.noblock
        mixtures, lag = [Mixture(mask) for mask in masks], None
    else:
        base = measured.nodelay
        every = np.ones(steps.job.n_op, np.bool_)
        mixtures, lag = [Mixture(every, mask) for mask in masks], _launch_delay_s(steps)
    replayed = iter(_replayed_s(steps, measured.work_ns, measured.ideal_ns, mixtures, lag_s=lag))
    for by, (_, keys) in groups.items():
        slow = {key: next(replayed) for key in keys}
        fields[f"{what}_decompose_by_{by}"] = _descending(
            {key: float(value.mean() / base.mean()) for key, value in slow.items()}
        )
        ratios = np.array([value / base for value in slow.values()])
        fields[f"{what}_decompose_by_{by}_per_step"] = _descending_steps(steps, keys, ratios)
    return fields


def _descending_steps(
    steps: CoupledSteps, keys: Sequence[str], ratio: FloatArray
) -> dict[str, dict[str, float]]:
    """Ratios (n_key, n_step) of each step, largest first."""
    order = np.argsort(-ratio, axis=0, kind="stable").T.tolist()
    return {
        str(step): {keys[i]: value[i] for i in by_size}
        for step, value, by_size in zip(steps.step.tolist(), ratio.T.tolist(), order, strict=True)
    }


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


def _last_stage(steps: CoupledSteps) -> NDArray[np.bool_]:
    stage = steps.job.op["stage"].to_numpy()
    last: NDArray[np.bool_] = stage == stage.max()
    return last


def _explain(measured: _Measured, sets: Sequence[NDArray[np.bool_]]) -> list[dict[str, float]]:
    """Explain the slowdown by each set of ops: removal and addition."""
    mixtures = [Mixture(mask) for mine in sets for mask in (~mine, mine)]
    mean = _replayed_s(measured.steps, measured.work_ns, measured.ideal_ns, mixtures).mean(axis=1)
    original, best = measured.nodelay.mean(), measured.noblock.mean()
    return [
        {
            "trem": float(without),
            "tadd": float(with_it),
            "tori": float(original),
            "tideal": float(best),
            "rem": float((original - without) / (original - best)),
            "add": float((with_it - best) / (original - best)),
        }
        for without, with_it in mean.reshape(-1, 2)
    ]


def _top_workers(measured: _Measured, totals: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Ops of the top 3 % of workers by the lesser of replica and stage slowdown.

    Decompositions are left out of a result with little slowdown, but count here all the same.
    """  # noqa: DOC201
    steps = measured.steps
    op = steps.job.op
    slow: dict[str, dict[int, float]] = {}
    for by in ("replica", "stage"):
        known = totals.get(f"blocking_decompose_by_{'dp_rank' if by == 'replica' else by}")
        if known is None:
            number, keys = numbered(op[by])
            mixtures = [Mixture(number == i) for i in range(len(keys))]
            step = _replayed_s(steps, measured.work_ns, measured.ideal_ns, mixtures)
            ratio = step.mean(axis=1) / measured.noblock.mean()
            known = dict(zip(keys, ratio.tolist(), strict=True))
        slow[by] = {int(key): value for key, value in known.items()}
    places = op.select("rank", "replica", "stage").unique().sort("rank")
    score = {
        rank: min(slow["replica"][replica], slow["stage"][stage])
        for rank, replica, stage in places.iter_rows()
    }
    n_top = -(-len(score) * round(100 * TOP_WORKERS_RATIO) // 100)
    top = sorted(score, key=lambda rank: (-score[rank], rank))[:n_top]
    return op["rank"].is_in(top).to_numpy()


def _meta(layout: Mapping[str, int], name: str) -> dict[str, Any]:
    keys = ("run_id", "dp_size", "pp_size", "tp_size", "dsp_size", "vpp_size", "world_size")
    return {"trial_name": name} | {
        key: layout.get(key, 0 if key == "run_id" else 1) for key in keys
    }


def _by_step(steps: CoupledSteps, value: FloatArray) -> dict[str, float]:
    return {str(s): v for s, v in zip(steps.step.tolist(), value.tolist(), strict=True)}


def _descending(value: dict[str, float]) -> dict[str, float]:
    return dict(sorted(value.items(), key=lambda item: -item[1]))
