"""Rare, long pauses of host threads: whether one rank has more of them than chance gives it."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.effects import Effects
from loadpath.diagnose.fidelity import measured_step_ns
from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.tails import binomial_tail, tail_limit
from loadpath.diagnose.verdict import POLICY_RATIO

__all__ = ["PAUSES_P", "TAIL_SHAPES", "in_spreads", "long_pauses", "pause_p_values"]

PAUSES_P = 0.02
"""Family-wise error among jobs that have long pauses at all, which healthy ones seldom have; a stated
policy. It takes three pauses on one of eight ranks, where 0.005 would take four. (A single pause that
makes its step an event beyond the noise of all steps is told by that: `lone_events`.)"""
NOISE_P = 0.005
"""Probability that the noise of a job makes a pause that counts."""
TAIL_SHAPES = (0.25, 2.0)
"""Shapes of tails between which noise is taken to lie: 2 is that of a normal law."""
FLOOR_NS = 1_000.0
"""Spreads below the resolution of the clocks are not told apart."""


def in_spreads(
    job: CoupledJob, effects: Effects, mine: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray]:
    """Measure residuals of host ops by the spread of their class.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Nested effects.
    mine : (n_op,) array of bool
        Ops to measure.

    Returns
    -------
    by_spread, by_floor : (n_mine,) arrays of float64
        Residual in spreads; below the resolution a spread may be twice or half what it seems: the
        first is by the smaller, the second by the larger.
    """
    residual = effects.residual_ns[mine]
    usual = np.where(effects.paused[mine], np.nan, np.abs(residual))
    op_class = job.op["op_class"].to_physical().to_numpy()[mine]
    frame = pl.DataFrame({"c": op_class, "r": usual}, nan_to_null=True)
    spread = frame.select(pl.col("r").quantile(0.75).over("c").fill_null(0.0))["r"].to_numpy()
    return residual / np.maximum(spread, FLOOR_NS / 2), residual / np.maximum(spread, FLOOR_NS)


def long_pauses(job: CoupledJob, effects: Effects, mine: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say which host ops are pauses that the noise of the job does not make, and that cost.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Nested effects.
    mine : (n_op,) array of bool
        Work of hosts.

    Returns
    -------
    (n_mine,) array of bool
        True for long pauses.

    Notes
    -----
    A pause is long if the tail of the job's own host ops, a stretched exponential through their 80th
    and 90th percentiles, has none so long, and if it takes 0.5 % of a step: shorter ones are no verdict
    and must not outvote those that cost.
    """
    by_spread, _ = in_spreads(job, effects, mine)
    limit = tail_limit(by_spread, NOISE_P, TAIL_SHAPES)
    least = POLICY_RATIO * float(measured_step_ns(job).mean())
    return np.asarray((by_spread > limit) & (effects.residual_ns[mine] >= least))


def pause_p_values(
    job: CoupledJob, effects: Effects, mine: NDArray[np.bool_], unit: NDArray[np.int64]
) -> FloatArray:
    """Probability that so many of the job's long pauses fall on some rank by chance.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    effects : Effects
        Nested effects.
    mine : (n_op,) array of bool
        Work of hosts.
    unit : (n_unit,) array of int64
        Ranks, ascending.

    Returns
    -------
    (n_unit,) array of float64
        Family-wise p-values; 1 where a rank has no long pause.

    Notes
    -----
    Each `long_pauses` falls on any rank alike if none is special.
    """
    rank = job.op["rank"].to_numpy()[mine][long_pauses(job, effects, mine)]
    n = np.bincount(np.searchsorted(unit, rank), minlength=unit.size)
    total = int(n.sum())
    tails = [binomial_tail(int(k), total, 1 / unit.size) if k else 1.0 for k in n]
    return np.asarray(np.minimum(1.0, unit.size * np.array(tails)))
