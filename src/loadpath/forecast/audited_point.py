"""An audited job at one size: its step, what limits it, what an improvement or a change would do."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log

import numpy as np
from msgspec.structs import replace as with_value
from numpy.typing import NDArray

from loadpath.forecast.audited_job import (
    ASSUMED,
    N_WORLD,
    TRAVELS,
    JobSize,
    overhead_s,
    resized,
    resized_steps_s,
)
from loadpath.forecast.durations import limitation, replayed_s
from loadpath.forecast.measured_pipeline import MeasuredPipeline
from loadpath.forecast.measured_steps import LEAST_ERROR
from loadpath.forecast.noisy_step import COMPUTED, noise_gain
from loadpath.forecast.priors import Prior, shipped_priors
from loadpath.forecast.scaling import StepPoint
from loadpath.forecast.shifts import NORMAL_95

__all__ = [
    "SLOW_RANKS",
    "AuditedPipeline",
    "audited_pipeline",
    "audited_point",
    "elasticities_at",
    "improvements_at",
    "mean_step_s",
]

FloatArray = NDArray[np.float64]
SLOW_RANKS = "slow_ranks"
"""What is not known of a job with other ranks than the recorded ones."""
N_DRAW, SEED = 8 * N_WORLD, 0
"""Steps drawn at a size, and their seed: the same luck for all that is compared."""
PERCENT = 1.01


@dataclass(frozen=True, slots=True)
class AuditedPipeline:
    """A recorded job, and how long its steps were.

    Attributes
    ----------
    measured : MeasuredPipeline
        Its classes, ranks and residuals.
    overhead : float
        Time of a step beyond its ops, in s.
    step_s : float
        Recorded step, mean.
    """

    measured: MeasuredPipeline
    overhead: float
    step_s: float


def audited_pipeline(measured: MeasuredPipeline, step_s: FloatArray) -> AuditedPipeline:
    """Join what an audit tells of a job of microbatches.

    Parameters
    ----------
    measured : MeasuredPipeline
        Result of `measure_pipeline`.
    step_s : ndarray of float, shape (n_step,)
        Recorded times of its steps.

    Returns
    -------
    AuditedPipeline
        What is asked at other sizes.
    """
    return AuditedPipeline(measured, overhead_s(measured, step_s), float(np.mean(step_s)))


def mean_step_s(audited: AuditedPipeline, size: JobSize) -> float:
    """Replay a size under its recorded noise.

    Parameters
    ----------
    audited : AuditedPipeline
        A recorded job.
    size : JobSize
        How large it is to be.

    Returns
    -------
    float
        Mean step in s.
    """
    return float(_drawn_s(audited, size).mean())


def _drawn_s(audited: AuditedPipeline, size: JobSize) -> FloatArray:
    return resized_steps_s(
        audited.measured,
        size,
        np.random.default_rng(SEED),
        n_scenario=N_DRAW,
        overhead=audited.overhead,
    )


def audited_point(audited: AuditedPipeline, size: JobSize) -> tuple[StepPoint, float]:
    """Replay a size, and once more with each prior at the edges of its band.

    Parameters
    ----------
    audited : AuditedPipeline
        A recorded job.
    size : JobSize
        How large it is to be, its replicas and microbatches named.

    Returns
    -------
    StepPoint
        Its work counted in microbatches; shifts by name of the prior, and by `SLOW_RANKS` where other
        ranks than the recorded ones are drawn.
    float
        Percent by which the step grows for one percent of variation of each rank.
    """
    drawn = _drawn_s(audited, size)
    durations = resized(audited.measured, size, overhead=audited.overhead)
    calm, step = replayed_s(durations), float(np.median(_of_worlds(drawn).mean(axis=1)))
    own = min(1.0, calm / step)
    shares = {name: share * own for name, share in limitation(durations, calm).items()}
    shares["waiting"] += 1 - own
    shifts = {name: _shift(audited, size, shipped_priors()[name]) for name in ASSUMED}
    band = np.exp(NORMAL_95 * LEAST_ERROR)
    if not _is_recorded(audited.measured, size):
        band *= shipped_priors()["scale_error"].high
        shifts[SLOW_RANKS] = _slow_shift(drawn)
    work = float(size.replicas * size.microbatches)
    apart = resized(audited.measured, size, overhead=audited.overhead, replicas_apart=True)
    return StepPoint(step, work, float(band), None, shares, shifts), noise_gain(apart)


def _is_recorded(measured: MeasuredPipeline, size: JobSize) -> bool:
    names = JobSize.__struct_fields__
    return all(getattr(size, name) in {0, getattr(measured, name)} for name in names)


def _shift(audited: AuditedPipeline, size: JobSize, prior: Prior) -> tuple[float, float]:
    """Give the logarithms by which a step changes at the edges of a prior."""

    def step(value: float) -> float:
        priors = {**shipped_priors(), prior.name: with_value(prior, value=value)}
        return replayed_s(resized(audited.measured, size, overhead=audited.overhead, priors=priors))

    before = step(prior.value)
    return log(step(prior.low) / before), log(step(prior.high) / before)


def _of_worlds(drawn: FloatArray) -> FloatArray:
    """Group steps by which ranks are slow for good."""
    return drawn.reshape(N_WORLD, -1)


def _slow_shift(drawn: FloatArray) -> tuple[float, float]:
    """Say by how much steps differ with which ranks are slow, the scatter of steps taken off."""
    worlds = np.log(_of_worlds(drawn))
    means = worlds.mean(axis=1)
    between = means.var(ddof=1)
    scatter = worlds.var(axis=1, ddof=1).mean() / worlds.shape[1]
    kept = np.sqrt(max(1 - scatter / between, 0.0)) if between > 0 else 0.0
    low, high = kept * (np.quantile(means, [0.05, 0.95]) - np.median(means))
    return float(low), float(high)


def _equal(measured: MeasuredPipeline) -> MeasuredPipeline:
    return replace(measured, factor=np.ones_like(measured.factor))


def _calm(measured: MeasuredPipeline) -> MeasuredPipeline:
    excess, ends = (np.zeros_like(x) for x in (measured.excess, measured.end_excess))
    return replace(_equal(measured), excess=excess, end_excess=ends)


def _noisier(measured: MeasuredPipeline) -> MeasuredPipeline:
    return replace(
        measured,
        factor=1 + PERCENT * (measured.factor - 1),
        excess=PERCENT * measured.excess,
        end_excess=PERCENT * measured.end_excess,
    )


def _faster(kinds: tuple[int, ...], times: float) -> Callable[[MeasuredPipeline], MeasuredPipeline]:
    """Shorten kinds of ops."""

    def change(measured: MeasuredPipeline) -> MeasuredPipeline:
        seconds = measured.seconds.copy()
        seconds[list(kinds)] /= times
        return replace(measured, seconds=seconds)

    return change


IMPROVEMENTS = {
    "no rank slow for good": _equal,
    "no noise, equal ranks": _calm,
    "network twice as fast": _faster(TRAVELS, 2.0),
    "devices a tenth faster": _faster(COMPUTED, 1.1),
}
"""Improvements that are compared with added accelerators."""

LEVERS = {
    "device_speed": _faster(COMPUTED, PERCENT),
    "network_bandwidth": _faster(TRAVELS, PERCENT),
    "noise": _noisier,
}
"""One percent more of each."""


def improvements_at(audited: AuditedPipeline, size: JobSize) -> dict[str, float]:
    """Replay the improvements at one size.

    Parameters
    ----------
    audited : AuditedPipeline
        A recorded job.
    size : JobSize
        How large it is to be.

    Returns
    -------
    dict of str to float
        Mean step over that without the improvement, under the same noise.
    """
    before = mean_step_s(audited, size)
    return {
        words: mean_step_s(replace(audited, measured=change(audited.measured)), size) / before
        for words, change in IMPROVEMENTS.items()
    }


def elasticities_at(audited: AuditedPipeline, size: JobSize) -> dict[str, float]:
    """Replay one percent more of each lever.

    Parameters
    ----------
    audited : AuditedPipeline
        A recorded job.
    size : JobSize
        How large it is to be.

    Returns
    -------
    dict of str to float
        Percent by which the mean step follows.
    """
    before = mean_step_s(audited, size)
    return {
        name: log(mean_step_s(replace(audited, measured=change(audited.measured)), size) / before)
        / log(PERCENT)
        for name, change in LEVERS.items()
    }
