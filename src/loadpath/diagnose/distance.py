"""Distance from cause to effect, and what a look at each communication alone would miss of it."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.sinks import Waits
from loadpath.diagnose.step_intervals import FEW_STEPS, drawn_sums, with_interval
from loadpath.tables.results import DISTANCE, MISSED
from loadpath.units import NS_PER_S

__all__ = ["cause_distances", "missed_waiting", "weighted_quantile"]

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}
FloatArray = NDArray[np.float64]


def cause_distances(waits: Waits) -> pl.DataFrame:
    """Summarise how far causes are from the waits they explain.

    Parameters
    ----------
    waits : Waits
        Result of `walk_back`.

    Returns
    -------
    polars.DataFrame
        Table `DISTANCE`, each wait by its main cause and weighted by the time that is explained;
        empty where nothing is.
    """
    weight = _explained(waits)
    known = weight > 0
    if not known.any():
        return DISTANCE.empty()
    columns = {
        "n_hops": waits.n_hop,
        "n_ranks": waits.n_rank,
        "n_steps": waits.n_step,
        "distance_s": waits.distance_ns / NS_PER_S,
    }
    summary = {
        name: [
            float(np.average(value[known], weights=weight[known])),
            *(weighted_quantile(value[known], weight[known], q) for q in QUANTILES.values()),
        ]
        for name, value in columns.items()
    }
    return DISTANCE.build({"statistic": ["mean", *QUANTILES], **summary})


def weighted_quantile(value: NDArray[np.generic], weight: FloatArray, level: float) -> float:
    """Find the least value up to which `level` of the weight lies.

    Parameters
    ----------
    value : (n,) array
        Values, at least one.
    weight : (n,) array of float64
        Positive weights.
    level : float
        Share of the weight, in (0, 1].

    Returns
    -------
    float
        One of the values.

    Examples
    --------
    >>> weighted_quantile(np.array([3, 1, 2]), np.array([1.0, 1.0, 8.0]), 0.5)
    2.0
    """
    order = np.argsort(value, kind="stable")
    reached = np.cumsum(weight[order])
    place = np.searchsorted(reached, level * reached[-1] * (1 - 1e-12))
    return float(value[order][min(int(place), order.size - 1)])


def missed_waiting(job: CoupledJob, waits: Waits, rng: np.random.Generator) -> pl.DataFrame:
    """Say how much of the waiting has a cause that its own communication does not show.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    waits : Waits
        Result of `walk_back`.
    rng : numpy.random.Generator
        Source of resampled steps.

    Returns
    -------
    polars.DataFrame
        Table `MISSED`; empty where no waiting is explained.
    """
    weight = _explained(waits)
    elsewhere, before = waits.sink_rank != waits.last_rank, waits.n_step > 0
    parts = {
        "explained": weight > 0,
        "other_rank": elsewhere,
        "other_step": before,
        "either": elsewhere | before,
    }
    step = np.searchsorted(job.graph.step, job.op["step"].to_numpy()[waits.op])
    n_step = job.graph.step.size + 1
    sums = [np.bincount(step, np.where(part, weight, 0), n_step) for part in parts.values()]
    by_step = np.stack(sums, axis=1).astype(np.float64)
    draws = drawn_sums(by_step[: max(n_step - 1, 1)], rng)
    if draws[0, 0] <= 0:
        return MISSED.empty()
    share, low, high = with_interval(draws / np.maximum(draws[:, :1], 1.0))
    return MISSED.build(
        pl.DataFrame(
            {
                "part": list(parts),
                "wait_s": draws[0] / NS_PER_S,
                "share_ratio": share,
                "share_low_ratio": low,
                "share_high_ratio": high,
                "basis": "replayed" if len(draws) > 1 else f"replayed{FEW_STEPS}",
            }
        ).fill_nan(None)
    )


def _explained(waits: Waits) -> FloatArray:
    """Time of each wait that has a cause, in ns."""
    known = waits.sink_rank >= 0
    return np.where(known, waits.excess_ns + waits.transfer_excess_ns + waits.lag_ns, 0.0)
