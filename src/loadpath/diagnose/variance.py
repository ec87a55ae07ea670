r"""Variance over steps, split into persistent, periodic, rare, trend and noise parts.

Of a series of steps x with the reference :math:`\mu_0` (what peers take) the mean square deviation is
:math:`(\bar x - \mu_0)^2` (persistent) plus the variance about :math:`\bar x`; that is split by the
covariance of each part with the whole, so that the parts sum to it exactly.
"""

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from loadpath.diagnose.components import FEWEST_STEPS
from loadpath.diagnose.course import find_courses
from loadpath.diagnose.emergence import Losses
from loadpath.diagnose.footing import Footing
from loadpath.diagnose.labels import sum_by
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.places import rank_index
from loadpath.tables.results import VARIANCE

__all__ = ["Split", "split_series", "variance_table"]

PARTS = ("persistent", "periodic", "rare", "trend", "noise")
BASIS = {
    "persistent": "squared mean deviation from peers, shrunken",
    "periodic": "means of the phases of a period that no shuffled series shows, at 0.5 %",
    "rare": "beyond what the largest of as many steps would be by chance, at 0.5 %",
    "trend": "a drift, or a shift from one step on, at 0.5 %",
    "noise": "the rest",
    "total": "mean square deviation",
}


class Split(NamedTuple):
    """Parts of a series' mean square deviation, in the square of its unit.

    Attributes
    ----------
    persistent, periodic, rare, trend, noise : float
        Parts; they sum to the mean square deviation from the reference.
    period : float
        Steps of the period; NaN for none.
    n_events : int
        Steps that are rare events.
    """

    persistent: float
    periodic: float
    rare: float
    trend: float
    noise: float
    period: float
    n_events: int


def split_series(value: FloatArray, persistent: float, *, even: bool) -> Split:
    """Split a series of steps.

    Parameters
    ----------
    value : (n_step,) array of float64
        The series.
    persistent : float
        Mean deviation from the reference.
    even : bool
        Whether the steps follow each other at equal distances, without which there is no period.

    Returns
    -------
    Split
        Parts.

    Examples
    --------
    Every fourth step takes 2 longer than 10 or so, and step 5 takes 50 longer once:

    >>> steps = np.arange(64)
    >>> series = 10 + np.sin(steps**2) + 2 * (steps % 4 == 0) + 50 * (steps == 5)
    >>> split = split_series(series, 0.0, even=True)
    >>> split.n_events, split.period, bool(abs(sum(split[:5]) - series.var()) < 1e-9)
    (1, 4.0, True)
    """
    off = value - value.mean()
    # where steps are not evenly spaced, squares have no two distances alike: no period
    courses = find_courses(value, np.arange(value.size) ** (1 if even else 2))
    part = {course.name: course.part for course in courses}
    none = np.zeros(off.size)
    rare, periodic = part.get("rare", none), part.get("periodic", none)
    trend = part.get("drift", part.get("shift", none))
    noise = off - rare - periodic - trend
    periodic_s2, rare_s2, trend_s2, noise_s2 = (
        float((share * off).mean()) for share in (periodic, rare, trend, noise)
    )
    period = max((float(course.period) for course in courses), default=0.0) or float("nan")
    n_events = int(np.count_nonzero(rare))
    return Split(persistent**2, periodic_s2, rare_s2, trend_s2, noise_s2, period, n_events)


def variance_table(footing: Footing, losses: Losses, measured_s: FloatArray) -> pl.DataFrame:
    """Split the variance of step time, and of the own work of each rank.

    Parameters
    ----------
    footing : Footing
        What the figures stand on.
    losses : Losses
        Step times as causes are taken out.
    measured_s : (n_step,) array of float64
        Measured steps.

    Returns
    -------
    polars.DataFrame
        Table `VARIANCE`; persistent deviations of the step are what slow ranks and links cost it,
        those of a rank's work what it takes beyond its peers.
    """
    steps = footing.job.graph.step
    if steps.size < FEWEST_STEPS:
        few = f"not assessed: {FEWEST_STEPS} steps or more are needed"
        return _table([_entry("step", "job", part, basis=few) for part in (*PARTS, "total")])
    even = bool(np.unique(np.diff(steps)).size == 1)
    work, persistent = _rank_work(footing)
    job_split = split_series(measured_s, float(losses.component_s.mean()), even=even)
    splits = [split_series(w, p, even=even) for w, p in zip(work, persistent, strict=True)]
    pooled = _pooled(splits)
    entries = _entries("step", "job", job_split)
    entries += _entries("work", "all ranks", pooled)
    for rank, split in zip(footing.job.rank["rank"].to_list(), splits, strict=True):
        entries += _entries("work", f"rank {rank}", split)
    return _table(entries)


def _pooled(splits: list[Split]) -> Split:
    """Mean of the parts over ranks, and all their events."""
    means = np.mean([split[:5] for split in splits], axis=0)
    persistent, periodic, rare, trend, noise = (float(mean) for mean in means)
    n_events = sum(split.n_events for split in splits)
    return Split(persistent, periodic, rare, trend, noise, float("nan"), n_events)


def _rank_work(footing: Footing) -> tuple[FloatArray, FloatArray]:
    """Own work of each rank in each step, and its persistent deviation from its peers, in s."""
    job, n_step = footing.job, footing.job.graph.step.size
    own = np.flatnonzero(footing.own)
    code = rank_index(job)[own].astype(np.int64) * n_step + footing.peers.step[own]
    size = job.rank.height * n_step
    work, persistent = (
        sum_by(code, value[own] / 1e9, size).reshape(-1, n_step)
        for value in (footing.effects.work_ns, footing.parts.persistent_ns)
    )
    return work, persistent.mean(axis=1)


def _entries(of: str, place: str, split: Split) -> list[dict[str, Any]]:
    total = sum(split[:5])
    entries = []
    for part, value in zip((*PARTS, "total"), (*split[:5], total), strict=True):
        entry = _entry(of, place, part, value=value, total=total)
        if part == "periodic" and np.isfinite(split.period):
            entry["period_n_steps"] = split.period
        if part == "rare":
            entry["n_events"] = split.n_events
        entries.append(entry)
    return entries


def _entry(
    of: str,
    place: str,
    part: str,
    *,
    value: float | None = None,
    total: float = 0.0,
    basis: str = "",
) -> dict[str, Any]:
    return {
        "of": of,
        "place": place,
        "part": part,
        "variance_s2": value,
        "share_ratio": value / total if value is not None and total > 0 else None,
        "period_n_steps": None,
        "n_events": None,
        "basis": basis or BASIS[part],
    }


def _table(entries: list[dict[str, Any]]) -> pl.DataFrame:
    return VARIANCE.build(pl.DataFrame(entries, schema=VARIANCE.schema))
