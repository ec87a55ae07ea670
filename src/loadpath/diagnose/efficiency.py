r"""Efficiency hierarchy: what share of the ranks' time is useful, and what takes the rest.

With :math:`u_r` the time rank r computes, T the step, :math:`T_0` its replay and :math:`T_n` the
replay with an ideal network (transfers take no time, nor do messages take any of a processor):

.. math:: \frac{\bar u}{T} \approx \frac{\bar u}{\max u} \cdot \frac{\max u}{T_n} \cdot
    \frac{T_n}{T_0} ,

parallel efficiency = load balance x serialisation x transfer. The left side is measured; the right
side is as wrong as the replay is.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.couple.kernels import group_by_key
from loadpath.couple.steps import keep_runs, lay_out
from loadpath.diagnose import group_kernels
from loadpath.diagnose.exposure import computation
from loadpath.diagnose.fidelity import measured_step_ns
from loadpath.diagnose.places import COMPUTE, Places, find_places, placed_windows, rank_index
from loadpath.diagnose.step_intervals import FEW_STEPS, drawn_sums, with_interval
from loadpath.replay import Mixture, Timeline, replay_runs
from loadpath.tables.results import EFFICIENCY, FACTORS
from loadpath.units import NS_PER_S

__all__ = ["efficiencies", "useful_ns"]

MEASURED = ("parallel_efficiency", "load_balance", "communication_efficiency")
"""Factors of measured times alone; the others need a replay."""
FloatArray = NDArray[np.float64]


def efficiencies(job: CoupledJob, rng: np.random.Generator) -> pl.DataFrame:
    """Split the efficiency of a job, and of each of its steps, into its factors.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    rng : numpy.random.Generator
        Source of resampled steps.

    Returns
    -------
    polars.DataFrame
        Table `EFFICIENCY`, the whole job (step -1) first. Factor `orchestration`, the part of
        serialisation that is waiting for hosts, is left out where no host thread was recorded. A
        quotient of nothing is empty: where nobody computes, load balance and serialisation.

    References
    ----------
    .. [1] M. Wagner, S. Mohr, J. Gimenez, J. Labarta, "A structured approach to performance
       analysis", Parallel Tools Workshop 2017.
    """
    useful = useful_ns(job)
    walls = _walls_ns(job)
    n_rank = useful.shape[1]
    sums = drawn_sums(np.hstack([useful, walls]), rng)
    whole = _factors(sums[:, :n_rank], sums[:, n_rank:])
    value, low, high = with_interval(_quotient(whole))
    n_step = max(1, job.step_number.size)
    rows = [_rows(np.array([-1]), whole[:1] / n_step, (value[None], low[None], high[None]))]
    each = _factors(useful, walls)
    ratio = _quotient(each)
    unknown = np.full(ratio.shape, np.nan)
    rows.append(_rows(job.step_number, each, (ratio, unknown, unknown)))
    table = EFFICIENCY.build(_with_basis(pl.concat(rows).fill_nan(None)))
    return table if walls.shape[1] > 3 else table.filter(pl.col("factor") != "orchestration")


def _with_basis(rows: pl.DataFrame) -> pl.DataFrame:
    """Say how each factor was got, and why it has no interval."""
    measured = pl.col("factor").is_in(MEASURED)
    got = pl.when(measured).then(pl.lit("measured")).otherwise(pl.lit("replayed"))
    lone = pl.when(pl.col("step") >= 0).then(pl.lit("; no interval: one step"))
    without = lone.otherwise(pl.lit(FEW_STEPS))
    none = pl.when(pl.col("value_low_ratio").is_null()).then(without).otherwise(pl.lit(""))
    return rows.with_columns(basis=got + none)


def useful_ns(job: CoupledJob) -> FloatArray:
    """Measure how long each rank computes in each step, moments of several streams counted once.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.

    Returns
    -------
    (n_step, n_rank) array of float64
        In ns, from the recorded times; on a device where the rank has one. Host work and waiting for
        data are not useful.
    """
    if job.runs is not None and (op := _plain_computations(job)) is not None:
        return _covered_ns(job, op)
    start, duration = (np.atleast_2d(time) for time in (job.start_ns, job.duration_ns))
    found = [
        _useful_ns(some, (start[part] + duration[part]).ravel(), places)
        for part, some, places in placed_windows(job)
    ]
    return np.concatenate(found)


def _plain_computations(job: CoupledJob) -> NDArray[np.intp] | None:
    """List what is useful in a run; None where other work takes moments from it, or it waits inside."""
    one = lay_out(keep_runs(job, slice(0, 1)))
    op = np.flatnonzero(find_places(one).part == COMPUTE)
    on_host = job.op["mechanism"].is_in(["host", "input"]).to_numpy()
    waits = np.isin(op, job.membership["op"].to_numpy())
    return None if on_host[op].any() or waits.any() else op


def _covered_ns(job: CoupledJob, op: NDArray[np.intp]) -> FloatArray:
    """(n_run, n_rank) time in which some of the ops `op` of a rank run."""
    by_rank = group_by_key(rank_index(job)[op], job.rank.height)
    covered = np.zeros((job.n_run, job.rank.height), np.int64)
    group_kernels.cover(*by_rank, op, job.start_ns, job.duration_ns, covered)
    return covered.astype(np.float64)


def _useful_ns(job: CoupledJob, end_ns: NDArray[np.int64], places: Places) -> FloatArray:
    graph = job.graph
    recorded = np.zeros(graph.n_node + 1, np.int64)
    recorded[graph.end_node + 1] = end_ns
    busy = computation(job, Timeline(recorded), job.work_ns, places=places)
    step = job.op["step"].to_numpy()[busy.op]
    index = np.searchsorted(graph.step, step)
    inside = np.append(graph.step, step.min(initial=0) - 1)[index] == step
    inside &= ~job.op["mechanism"].is_in(["host", "input"]).to_numpy()[busy.op]
    shape = (graph.step.size, job.rank.height)
    place = (index * shape[1] + places.rank[busy.op])[inside]
    length = (busy.end_ns - busy.start_ns)[inside]
    total = np.bincount(place, length.astype(np.float64), minlength=shape[0] * shape[1])
    return total.astype(np.float64).reshape(shape)


def _walls_ns(job: CoupledJob) -> FloatArray:
    """(n_step, 3 or 4) step times: measured, replayed, with an ideal network, and ideal hosts."""
    mechanism = job.op["mechanism"].cast(pl.String).to_numpy()
    apart = ~np.isin(mechanism, ("communication", "overhead"))
    counted = [np.ones(job.n_op, np.bool_), apart]
    on_host = np.isin(mechanism, ("host", "input"))
    if on_host.any():
        counted.append(apart & ~on_host)
    work, mixtures = np.atleast_2d(job.work_ns), [Mixture(ops) for ops in counted]
    replayed = replay_runs(job.graph, work, np.zeros(job.n_op), mixtures)
    return np.stack([measured_step_ns(job), *replayed.reshape(len(counted), -1)], axis=1)


def _factors(useful: FloatArray, walls: FloatArray) -> FloatArray:
    """(n, n_factor, 2) parts and wholes of `FACTORS`, in ns."""
    mean, most = useful.mean(axis=1), useful.max(axis=1)
    measured, replayed, network = walls[:, :3].T
    host = walls[:, -1]
    pairs = (
        (mean, measured),
        (mean, most),
        (most, measured),
        (most, network),
        (network, replayed),
        (host, network),
    )
    return np.stack([np.stack(pair, axis=1) for pair in pairs], axis=1)


def _quotient(parts: FloatArray) -> FloatArray:
    """Divide parts by wholes; NaN where there is no whole, as where nobody computes."""
    part, whole = parts[..., 0], parts[..., 1]
    return np.where(whole > 0, part / np.maximum(whole, 1.0), np.nan)


def _rows(
    step: NDArray[np.int64],
    parts_ns: FloatArray,
    estimate: tuple[FloatArray, FloatArray, FloatArray],
) -> pl.DataFrame:
    """Lay factors out; `estimate` holds values, lower and upper ends."""
    value, low, high = estimate
    return pl.DataFrame(
        {
            "step": np.repeat(step, len(FACTORS)),
            "factor": list(FACTORS) * step.size,
            "value_ratio": value.ravel(),
            "value_low_ratio": low.ravel(),
            "value_high_ratio": high.ravel(),
            "part_s": parts_ns[..., 0].ravel() / NS_PER_S,
            "whole_s": parts_ns[..., 1].ravel() / NS_PER_S,
        }
    )
