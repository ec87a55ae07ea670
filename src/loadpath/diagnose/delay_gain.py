"""Figures of a one-off delay: its gain for the job, its ranks, classes and places, and its fate."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.diagnose.delay import DELAY_RATIO, Loaded, reaching, strike
from loadpath.diagnose.footing import Footing
from loadpath.diagnose.labels import numbered, sum_by
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.places import rank_index
from loadpath.diagnose.resampling import (
    Estimate,
    quantile_estimates,
    ratio_estimate,
    resample,
    spread,
)
from loadpath.diagnose.stability_row import Row, row
from loadpath.replay import op_start_ns, step_bounds_ns

__all__ = ["delay_rows", "gain_rows"]

DELAYS = (0.0, 0.001, 0.01, 0.1)
"""Sizes of delays, as shares of the step; 0 is the limit of small ones."""
N_PART = 10
"""Parts that a step is cut into."""
QUANTILES = {"p10": 0.1, "p50": 0.5, "p90": 0.9}

IntArray = NDArray[np.int64]


def delay_rows(footing: Footing, loaded: Loaded, rng: np.random.Generator) -> Iterator[Row]:
    """Give gain, waiting gain, absorption and slack under one load.

    Parameters
    ----------
    footing : Footing
        What the figures stand on.
    loaded : Loaded
        The job under the load.
    rng : numpy.random.Generator
        Source of the delays.

    Yields
    ------
    Row
        Rows of table `STABILITY`.
    """
    own, weights = np.flatnonzero(footing.own), footing.weights
    work, step = footing.effects.work_ns[own], footing.peers.step[own]
    slack = loaded.slack_ns[own]
    gain = reaching(slack, DELAY_RATIO * _step_ns(loaded))
    yield row("one_off_gain", _share(gain * work, work, step, weights))
    fate = strike(loaded, footing.own, footing.peers.step, rng)
    yield row("waiting_gain", ratio_estimate(fate.others_s, fate.struck_s, weights))
    swallowed = fate.struck_s - fate.own_s
    yield row("absorption_ratio", ratio_estimate(swallowed, fate.struck_s, weights))
    shares = tuple(QUANTILES.values())
    found = quantile_estimates(slack / 1e9, work, step, weights, shares=shares)
    for name, estimate in zip(QUANTILES, found, strict=True):
        yield row("slack", estimate, by="quantile", key=name, unit="s")


def gain_rows(footing: Footing, classes: tuple[IntArray, list[str]]) -> Iterator[Row]:
    """Give the gain of a one-off delay by its size, and by rank, op class, stage and place.

    Parameters
    ----------
    footing : Footing
        What the figures stand on.
    classes : tuple
        Class of each op, and their names.

    Yields
    ------
    Row
        Rows of table `STABILITY`.
    """
    loaded, job = footing.loaded, footing.job
    own = np.flatnonzero(footing.own)
    work, step = footing.effects.work_ns[own], footing.peers.step[own]
    slack, length = loaded.slack_ns[own], _step_ns(loaded)
    for size in DELAYS:
        share = _share(reaching(slack, size * length) * work, work, step, footing.weights)
        yield row("one_off_gain", share, by="delay_ratio", key=f"{size:g}")
    gain = reaching(slack, DELAY_RATIO * length)
    groups: dict[str, tuple[NDArray[np.integer], list[str]]] = {
        "rank": (rank_index(job), job.rank["rank"].cast(pl.String).to_list()),
        "op_class": classes,
        "stage": numbered(job.op["stage"]),
        "part": (_part_of_step(footing), [str(i + 1) for i in range(N_PART)]),
    }
    for by, (code, names) in groups.items():
        found = _by_group(gain, work, (code[own], step), footing.weights, n_group=len(names))
        for name, estimate in zip(names, found, strict=True):
            if estimate is not None:
                yield row("one_off_gain", estimate, by=by, key=name)


def _step_ns(loaded: Loaded) -> float:
    return float(loaded.step_s.mean()) * 1e9


def _share(over: FloatArray, under: FloatArray, step: IntArray, weights: FloatArray) -> Estimate:
    n_step = weights.shape[1]
    return ratio_estimate(sum_by(step, over, n_step), sum_by(step, under, n_step), weights)


def _by_group(
    gain: FloatArray,
    work: FloatArray,
    place: tuple[NDArray[np.integer], IntArray],
    weights: FloatArray,
    *,
    n_group: int,
) -> Sequence[Estimate | None]:
    """Mean gain of each group; None for one without work."""
    n_step = weights.shape[1]
    code = place[0].astype(np.int64) * n_step + place[1]
    over, under = (
        sum_by(code, value, n_group * n_step).reshape(n_group, n_step)
        for value in (gain * work, work)
    )
    drawn = resample(weights, under.T)
    quotient = np.divide(
        resample(weights, over.T), drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0
    )
    total = under.sum(axis=1)
    return [
        Estimate(float(over[g].sum() / total[g]), *spread(quotient[:, g])) if total[g] > 0 else None
        for g in range(n_group)
    ]


def _part_of_step(footing: Footing) -> IntArray:
    """Tenth of its step in which each op starts."""
    graph, timeline = footing.job.graph, footing.loaded.timeline
    begin, end = step_bounds_ns(graph, timeline)
    start = op_start_ns(graph, timeline, footing.effects.work_ns)
    step = np.minimum(footing.peers.step, graph.step.size - 1)
    length = np.maximum(end - begin, 1.0)
    part = (start - begin[step]) * N_PART // length[step]
    clipped: IntArray = np.clip(part, 0, N_PART - 1).astype(np.int64)
    return clipped
