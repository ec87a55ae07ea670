"""In which stage ranks wait for each other, found without any clock.

Whoever comes late to a stage in which all wait spends less time in it, by as much as it is late::

    rank 0   = input = ==== forward ==== =b= |
    rank 1   = input = = forward = = = b = = |   leave it together

So over ranks the durations of that stage fall as those of the stages before it rise. The slope is -1
where everybody waits, and 0 where nobody does.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.graph import Int64Array
from loadpath.tables import Recording

__all__ = ["Cycles", "Stages", "cycles_of", "meeting_stage", "stages_of"]

LIKELY = ("communicate", "backward", "compute", "optimise", "copy", "input")
"""Where ranks meet, likeliest first: what stages add up to cannot tell who of two waits."""
HALF = 0.5
"""A slope nearer to -1 than to 0."""


@dataclass(frozen=True, slots=True)
class Stages:
    """Durations of all stages of the steps that every rank recorded.

    Attributes
    ----------
    rank : (n_rank,) array of int64
        Ranks, ascending.
    step : (n_step,) array of int64
        Steps, ascending.
    name, kind : tuple of str
        Of each stage, in order.
    duration_ns : (n_step, n_rank, n_stage) array of int64
        In ns.
    n_incomplete : int
        Steps that some rank lacks.
    """

    rank: Int64Array
    step: Int64Array
    name: tuple[str, ...]
    kind: tuple[str, ...]
    duration_ns: Int64Array
    n_incomplete: int


@dataclass(frozen=True, slots=True)
class Cycles:
    """Stages from one meeting to the next.

    Attributes
    ----------
    step : (n_cycle,) array of int64
        Step in which each ends.
    order : (n_stage,) array of int64
        Stages, the one after the meeting first.
    duration_ns : (n_cycle, n_rank, n_stage) array of int64
        In that order, in ns; the last is that of the meeting.
    """

    step: Int64Array
    order: Int64Array
    duration_ns: Int64Array


def stages_of(recording: Recording) -> Stages:
    """Lay a stage log out as one array.

    Parameters
    ----------
    recording : Recording
        Recording of source ``stage_log``.

    Returns
    -------
    Stages
        Its complete steps.
    """
    op = recording.op
    rank = np.unique(op["rank"].to_numpy()).astype(np.int64)
    one = op.filter((pl.col("rank") == op["rank"][0]) & (pl.col("step") == op["step"][0]))
    name = tuple(one["name"].cast(pl.String))
    kind = tuple(one["kind"].cast(pl.String))
    every = op.group_by("step").len().sort("step")
    whole = every.filter(pl.col("len") == rank.size * len(name))["step"]
    kept = op.filter(pl.col("step").is_in(whole.implode())).sort("step", "rank", "sequence")
    duration = kept["duration_ns"].to_numpy().reshape(-1, rank.size, len(name))
    return Stages(rank, whole.to_numpy(), name, kind, duration, every.height - whole.len())


def cycles_of(stages: Stages, meeting: int) -> Cycles:
    """Cut the log where ranks leave the meeting.

    Parameters
    ----------
    stages : Stages
        Complete steps.
    meeting : int
        Stage in which ranks meet.

    Returns
    -------
    Cycles
        What each rank did from one meeting to the next. Where most steps lack the one before them, what a
        step did after its own meeting stands for what the one before did.
    """
    order = np.roll(np.arange(len(stages.name)), -(meeting + 1))
    n_after = len(stages.name) - (meeting + 1)
    follows = np.flatnonzero(np.diff(stages.step) == 1)
    if 2 * follows.size < stages.step.size - 1 or not follows.size or not n_after:
        return Cycles(stages.step, order, stages.duration_ns[:, :, order])
    before, after = np.split(stages.duration_ns[:, :, order], [n_after], axis=2)
    parts = (before[follows], after[follows + 1])
    return Cycles(stages.step[follows + 1], order, np.concatenate(parts, axis=2))


def meeting_stage(stages: Stages) -> int:
    """Find the stage in which ranks wait for each other.

    Parameters
    ----------
    stages : Stages
        Complete steps.

    Returns
    -------
    int
        Stage, or -1 where none makes up for what ranks are late by.
    """
    kinds = [
        "backward" if name in {"backward", "bwd"} else kind
        for name, kind in zip(stages.name, stages.kind, strict=True)
    ]
    likely = sorted(range(len(kinds)), key=lambda k: (LIKELY.index(kinds[k]), -k))
    makes_up = [k for k in likely if _made_up_ratio(stages, k) > HALF]
    return makes_up[0] if makes_up else -1


def _made_up_ratio(stages: Stages, stage: int) -> float:
    """Share of being late to a stage that is made up for in it; 1 where nobody is ever late."""
    cycles = cycles_of(stages, stage)
    place = int(np.flatnonzero(cycles.order == stage)[0])
    late = _beside_peers(cycles.duration_ns[:, :, :place].sum(axis=2))
    inside = _beside_peers(cycles.duration_ns[:, :, place])
    square = float((late * late).sum())
    return -float((late * inside).sum()) / square if square > 0 else 1.0


def _beside_peers(value: Int64Array) -> NDArray[np.float64]:
    return np.asarray(value - value.mean(axis=1, keepdims=True))
