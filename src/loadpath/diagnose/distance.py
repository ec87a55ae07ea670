"""Distance from cause to effect, and what a look at each communication alone would miss of it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.diagnose.labels import compact
from loadpath.diagnose.sinks import Waits
from loadpath.diagnose.step_intervals import FEW_STEPS, drawn_sums, with_interval
from loadpath.tables.results import DISTANCE, MISSED
from loadpath.units import NS_PER_S

__all__ = [
    "Told",
    "cause_distances",
    "missed_by_step",
    "missed_waiting",
    "tell_causes",
    "weighted_quantiles",
]

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "most": 1.0}
PARTS = ("explained", "other_rank", "other_step", "either")
FloatArray = NDArray[np.float64]
Int32Array = NDArray[np.int32]


class Told(NamedTuple):
    """Waits whose cause is known.

    Attributes
    ----------
    weight_ns : (n,) array of float64
        Waiting that is explained, in ns.
    n_hop, n_rank, n_step : (n,) arrays of int32
        Distance to the main cause: changes of rank, ranks on the way and steps.
    distance_ns : (n,) array of float64
        Time from its end to the end of the wait, in ns.
    """

    weight_ns: FloatArray
    n_hop: Int32Array
    n_rank: Int32Array
    n_step: Int32Array
    distance_ns: FloatArray


def tell_causes(waits: Waits) -> Told:
    """Keep of waits how far away their main cause is.

    Parameters
    ----------
    waits : Waits
        Result of `walk_back`.

    Returns
    -------
    Told
        Those of which something is explained.
    """
    weight = _explained(waits)
    known = np.flatnonzero(weight > 0)
    n_hop, n_rank, n_step = (
        n[known].astype(np.int32) for n in (waits.n_hop, waits.n_rank, waits.n_step)
    )
    return Told(weight[known], n_hop, n_rank, n_step, waits.distance_ns[known])


def cause_distances(told: Sequence[Told]) -> pl.DataFrame:
    """Summarise how far causes are from the waits they explain.

    Parameters
    ----------
    told : sequence of Told
        Of all steps, at least one.

    Returns
    -------
    polars.DataFrame
        Table `DISTANCE`, each wait by its main cause and weighted by the time that is explained;
        empty where nothing is.
    """
    weight, n_hop, n_rank, n_step, distance = (np.concatenate(p) for p in zip(*told, strict=True))
    if not weight.size:
        return DISTANCE.empty()
    columns = {
        "n_hops": n_hop,
        "n_ranks": n_rank,
        "n_steps": n_step,
        "distance_s": distance / NS_PER_S,
    }
    summary = {
        name: [
            float(np.average(value, weights=weight)),
            *weighted_quantiles(value, weight, tuple(QUANTILES.values())),
        ]
        for name, value in columns.items()
    }
    return DISTANCE.build({"statistic": ["mean", *QUANTILES], **summary})


def weighted_quantiles(
    value: NDArray[np.generic], weight: FloatArray, levels: Sequence[float]
) -> list[float]:
    """Find the least values up to which shares of the weight lie.

    Parameters
    ----------
    value : (n,) array
        Values, at least one.
    weight : (n,) array of float64
        Positive weights.
    levels : sequence of float
        Shares of the weight, in (0, 1].

    Returns
    -------
    list of float
        One of the values for each level.

    Examples
    --------
    >>> weighted_quantiles(np.array([3, 1, 2]), np.array([1.0, 1.0, 8.0]), [0.05, 0.5])
    [1.0, 2.0]
    """
    if value.dtype.kind == "i":  # whole numbers are few: each is weighed once
        value, number = compact(value.astype(np.int64))
        weight = np.bincount(number, weight).astype(np.float64)
    order = np.argsort(value, kind="stable")
    reached = np.cumsum(weight[order])
    place = np.searchsorted(reached, np.multiply(levels, reached[-1] * (1 - 1e-12)))
    found: list[float] = value[order[np.minimum(place, order.size - 1)]].astype(np.float64).tolist()
    return found


def missed_by_step(step: NDArray[np.int64], n_step: int, waits: Waits) -> FloatArray:
    """Sum in each step the waiting whose cause its own communication does not show.

    Parameters
    ----------
    step : (n_op,) array of int64
        Place of each op's step, as in `Places`.
    n_step : int
        Number of steps.
    waits : Waits
        Result of `walk_back`.

    Returns
    -------
    (n_step, n_part) array of float64
        Waiting that is explained, whose cause is another rank or another step, or either, in ns.
    """
    weight = _explained(waits)
    elsewhere, before = waits.sink_rank != waits.last_rank, waits.n_step > 0
    parts = (weight > 0, elsewhere, before, elsewhere | before)
    of_wait = step[waits.op]
    sums = [np.bincount(of_wait, np.where(part, weight, 0), n_step + 1) for part in parts]
    by_step: FloatArray = np.stack(sums, axis=1).astype(np.float64)
    return by_step[: max(n_step, 1)]


def missed_waiting(by_step: FloatArray, rng: np.random.Generator) -> pl.DataFrame:
    """Say how much of the waiting has a cause that its own communication does not show.

    Parameters
    ----------
    by_step : (n_step, n_part) array of float64
        Result of `missed_by_step`, of all steps.
    rng : numpy.random.Generator
        Source of resampled steps.

    Returns
    -------
    polars.DataFrame
        Table `MISSED`; empty where no waiting is explained.
    """
    draws = drawn_sums(by_step, rng)
    if draws[0, 0] <= 0:
        return MISSED.empty()
    share, low, high = with_interval(draws / np.maximum(draws[:, :1], 1.0))
    return MISSED.build(
        pl.DataFrame(
            {
                "part": list(PARTS),
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
