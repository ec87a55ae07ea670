"""What bounds each step: the device, communication, input, launching, or other host work."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob, NodeRole
from loadpath.couple.graph import EdgeKind
from loadpath.couple.order import lane_order
from loadpath.replay import replay, step_time_ns
from loadpath.tables.results import BOUNDS, STEP_BOUND

__all__ = ["step_bounds"]

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]

LEAST_RATIO = 0.005
"""Share of the step below which an effect is none; the policy of the verdicts too."""


def step_bounds(job: CoupledJob) -> pl.DataFrame:
    """Tell what bounds each step.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    polars.DataFrame
        Table `STEP_BOUND`: by how much the replayed step would be shorter if each kind of work
        took no time, and the kind whose absence shortens it most (``balanced`` if none does by
        0.5 %). Empty where no host thread was recorded.

    Notes
    -----
    Host time up to a launch is launching as far as it is usual (the median over the launches of the
    job, waits left out), and other host work beyond: a host that hands over short kernels one after
    the other is bound by launches, one that pauses between them is not.
    """
    device, communication, waits, host = (
        (job.op["mechanism"] == name).to_numpy()
        for name in ("device", "communication", "input", "host")
    )
    if not (host | waits).any():
        return STEP_BOUND.empty()
    launching = _launching_ns(job, host)
    work = job.work_ns.astype(np.float64)
    whole = step_time_ns(job.graph, replay(job.graph, work))
    left = {
        "device": np.where(device, 0, work),
        "communication": np.where(communication, 0, work),
        "input": np.where(waits, 0, work),
        "launch": work - launching,
        "host": np.where(host, launching, work),
    }
    gain = np.stack(
        [whole - step_time_ns(job.graph, replay(job.graph, rest)) for rest in left.values()]
    )
    bound = np.array([*left, BOUNDS[-1]], object)[
        np.where(gain.max(axis=0) < LEAST_RATIO * whole, len(left), gain.argmax(axis=0))
    ]
    seconds = {f"{name}_s": gain[i] / 1e9 for i, name in enumerate(left)}
    return STEP_BOUND.build(
        {"step": job.graph.step, "bound": pl.Series(bound, dtype=pl.String), **seconds}
    )


def _launching_ns(job: CoupledJob, on_host: NDArray[np.bool_]) -> FloatArray:
    """Part of each host op's work that launches things, in ns."""
    part = np.zeros(job.n_op)
    launches = np.zeros(job.n_op, np.bool_)
    launches[_launching_ops(job)] = True
    host = np.flatnonzero(on_host)
    host = host[lane_order(*(job.op[n].to_numpy()[host] for n in ("rank", "lane", "start_ns")))]
    if not launches.any():
        return part
    thread = job.op["rank"].to_numpy().astype(np.int64) << 32 | job.op["lane"].to_numpy()
    begins = np.append(True, launches[host[:-1]] | (thread[host[1:]] != thread[host[:-1]]))
    run = np.cumsum(begins) - 1
    total = np.bincount(run, weights=job.work_ns[host])
    closed = np.zeros(total.size, np.bool_)
    closed[run[launches[host]]] = True
    usual = float(np.median(total[closed]))
    share = np.where(closed, np.minimum(1.0, usual / np.maximum(total, 1.0)), 0.0)
    part[host] = job.work_ns[host] * share[run]
    return part


def _launching_ops(job: CoupledJob) -> Int64Array:
    """Host ops that hand something over."""
    graph = job.graph
    handed = np.flatnonzero((graph.role == NodeRole.LAUNCH) & (graph.first_kind == EdgeKind.LAUNCH))
    return np.unique(graph.op[graph.first[handed] - 1]).astype(np.int64)
