"""Calibration: the few priors that measured steps can set, found by replaying the design."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from loadpath.errors import UsageError
from loadpath.forecast.design import Design
from loadpath.forecast.design_checks import OF_PEAK
from loadpath.forecast.devices import measured_priors, shipped_devices
from loadpath.forecast.priors import Prior, assume
from loadpath.forecast.step import step_time

__all__ = ["CALIBRATED_RATE", "SECOND_PRIORS", "Calibration", "MeasuredStep", "calibrate"]

Array = NDArray[np.float64]

CALIBRATED_RATE = "sustained_ratio"
"""What measured steps set where nothing else is asked."""

SECOND_PRIORS = ("step_overhead", "network_ratio", "device_spread")
"""What two steps or more set beside it: what does not scale, what grows with what travels, what grows
with the ranks that wait for each other."""

MET = 0.005
"""Error of a measured step that nobody wonders at: medians of runs differ by as much."""

EXACT = 0.001
"""Error of one that weighs as much as a prior at the edge of its band: steps decide, and bands only where
steps do not tell priors apart."""

NARROWEST = 0.05
"""Half of the logarithm of a band, at least."""

ROUNDS, DAMPINGS = 30, 12
"""Rounds of the search, at most, and damped steps tried in one of them; a handful is usual."""

REDUCED_ON_THE_WAY = 2.0
"""Of its bandwidth, what a link seems to give where switches add up: each byte crosses it once, not twice."""

LEAST_SHARE = 0.01
"""Of its value before, below which no prior falls."""


class MeasuredStep(Struct, frozen=True):
    """A design that has run.

    Attributes
    ----------
    design : Design
        What ran.
    step_s : float
        Its measured time of a step.
    """

    design: Design
    step_s: float


class Calibration(Struct, frozen=True, kw_only=True):
    """Priors set by measured steps.

    Attributes
    ----------
    priors : dict of str to float
        Values for table ``[priors]`` of a design.
    error_ratio : tuple of float
        Forecast over measured less 1, for each measured step.
    """

    priors: dict[str, float]
    error_ratio: tuple[float, ...]


def calibrate(measured: Sequence[MeasuredStep], names: Sequence[str] | None = None) -> Calibration:
    """Set priors so that forecasts meet measured steps.

    Least squares of the logarithm of forecast over measured and, which decides where steps do not tell
    priors apart, of how far these are from what they were. No more priors than steps; none falls below a
    hundredth of what it was or passes the peak of the device or of its links.

    Parameters
    ----------
    measured : sequence of MeasuredStep
        Designs that have run.
    names : sequence of str, optional
        Priors to set. If left out, the rate; of two steps or more that and the one of
        `SECOND_PRIORS` that surprises least: errors left to `MET`, its own way to its band.

    Returns
    -------
    Calibration
        Values, and what error remains.

    Raises
    ------
    UsageError
        If there are fewer steps than priors, if a prior is unknown, or if none of the steps
        depends on one.

    References
    ----------
    .. [1] D. W. Marquardt, "An algorithm for least-squares estimation of nonlinear parameters",
       SIAM J. Appl. Math. 11(2), 1963.
    """
    if names is not None:
        return _set(measured, names)
    known = _priors_of(measured[0].design)
    found = [
        _set(measured, (CALIBRATED_RATE, second))
        for second in (SECOND_PRIORS if len(measured) > 1 else ())
        if known[second].low < known[second].high and _moves(measured, second)
    ]
    if not found:
        return _set(measured, (CALIBRATED_RATE,))
    return min(found, key=lambda one: _surprise(one, known))


def _surprise(found: Calibration, known: dict[str, Prior]) -> float:
    """Add what is left of the errors, and how far the second prior went from what it was taken to be."""
    name = list(found.priors)[1]
    far = _far(found.priors[name], known[name])
    return sum((error / MET) ** 2 for error in found.error_ratio) + far**2


def _far(value: float, prior: Prior) -> float:
    """Say how far a value is from that of a prior, in logarithms; 1 is the edge of its band."""
    edge = prior.high if value > prior.value else max(prior.low, LEAST_SHARE * prior.value)
    return math.log(value / prior.value) / max(abs(math.log(edge / prior.value)), NARROWEST)


def _set(measured: Sequence[MeasuredStep], names: Sequence[str]) -> Calibration:
    """Set the named priors."""
    if not names or len(measured) < len(names):
        raise UsageError(
            f"{len(measured)} measured steps cannot set {len(names)} priors. Give at least as many "
            "steps as priors, and one prior or more."
        )
    known = _priors_of(measured[0].design)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"Prior {unknown[0]!r} is unknown. Known are {', '.join(known)}.")
    still = [name for name in names if not _moves(measured, name)]
    if still:
        raise UsageError(f"None of the measured steps depends on prior {still[0]!r}. Leave it out.")
    start = np.array([known[name].value for name in names])
    edges = (LEAST_SHARE * start, np.array([_most(name, known) for name in names]))
    scale = np.array([max(known[name].high, 1e-9) for name in names])

    def error_of(value: Array) -> Array:
        given = dict(zip(names, value.tolist(), strict=True))
        far = [_far(value, known[name]) for name, value in given.items()]
        return np.concatenate([_errors(measured, given) / EXACT, far])

    value, error = _descend(error_of, start, edges, scale)
    ratios = tuple(float(np.expm1(EXACT * e)) for e in error[: len(measured)])
    return Calibration(priors=dict(zip(names, value.tolist(), strict=True)), error_ratio=ratios)


def _most(name: str, known: dict[str, Prior]) -> float:
    """Give the largest value of a prior: nothing passes the peak of the device or of its links."""
    if name == CALIBRATED_RATE:
        return 1 / max(known["gemm_ratio"].value, known["gemm8_ratio"].value)
    if name in OF_PEAK:
        return 1.0
    return REDUCED_ON_THE_WAY if name in {"link_ratio", "network_ratio"} else np.inf


def _priors_of(design: Design) -> dict[str, Prior]:
    device = shipped_devices()[design.cluster.device]
    return assume(design.priors, measured_priors(device))


def _errors(measured: Sequence[MeasuredStep], given: dict[str, float]) -> Array:
    """Logarithm of forecast over measured."""
    forecasts = [
        step_time(
            replace(point.design, priors={**point.design.priors, **given}), condensed=True
        ).step_s
        for point in measured
    ]
    return np.log(forecasts) - np.log([point.step_s for point in measured])


def _moves(measured: Sequence[MeasuredStep], name: str) -> bool:
    """Say whether any forecast depends on a prior."""
    prior = _priors_of(measured[0].design)[name]
    other = 0.9 * prior.value or prior.high
    return bool((_errors(measured, {name: other}) != _errors(measured, {name: prior.value})).any())


def _descend(
    error_of: Callable[[Array], Array], value: Array, edges: tuple[Array, Array], scale: Array
) -> tuple[Array, Array]:
    """Go down to the least squares between the edges."""
    error, damping = error_of(value), 1e-3
    for _ in range(ROUNDS):
        slope = _slopes(error_of, value, edges, scale)
        gradient, normal = slope.T @ error, slope.T @ slope
        free = ((value > edges[0]) | (gradient < 0)) & ((value < edges[1]) | (gradient > 0))
        for _ in range(DAMPINGS):
            trial = np.clip(value + _move(normal, gradient, free, damping) * scale, *edges)
            now = error_of(trial)
            if (now**2).sum() < (error**2).sum() * (1 - 1e-6):
                break
            damping *= 10
        else:
            break
        value, error, damping = trial, now, damping / 10
    return value, error


def _move(normal: Array, gradient: Array, free: NDArray[np.bool_], damping: float) -> Array:
    """Step against the gradient, the shorter the more it is damped; priors at an edge stay."""
    move = np.zeros(len(gradient))
    if free.any():
        damped = normal + damping * np.diag(np.diag(normal))
        # Least squares: where a prior does nothing its row is empty.
        move[free] = np.linalg.lstsq(damped[np.ix_(free, free)], -gradient[free], rcond=None)[0]
    return move


def _slopes(
    error_of: Callable[[Array], Array], value: Array, edges: tuple[Array, Array], scale: Array
) -> Array:
    """Change of each error with each prior, in units of `scale`, by central differences."""
    columns = []
    for place in range(len(value)):
        step = 1e-3 * max(value[place], 1e-2 * scale[place])
        low, high = value.copy(), value.copy()
        low[place] = max(low[place] - step, edges[0][place])
        high[place] = min(high[place] + step, edges[1][place])
        rise = error_of(high) - error_of(low)
        columns.append(rise / (high[place] - low[place]) * scale[place])
    return np.stack(columns, axis=1)
