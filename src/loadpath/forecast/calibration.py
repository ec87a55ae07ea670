"""Calibration: the few priors that measured steps can set, found by replaying the design."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from loadpath.errors import UsageError
from loadpath.forecast.design import Design
from loadpath.forecast.devices import measured_priors, shipped_devices
from loadpath.forecast.priors import Prior, assume
from loadpath.forecast.step import step_time

__all__ = ["CALIBRATED_PRIORS", "Calibration", "MeasuredStep", "calibrate"]

CALIBRATED_PRIORS = ("sustained_ratio", "step_overhead")
"""What measured steps set where nothing else is asked: a rate, then what does not scale."""

ROUNDS = 30
"""Gauss-Newton rounds, at most; a handful is usual."""


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

    Least squares of the logarithm of forecast over measured; no more priors than steps, for each
    must be decided by them. Values stay at or above zero.

    Parameters
    ----------
    measured : sequence of MeasuredStep
        Designs that have run.
    names : sequence of str, optional
        Priors to set; of `CALIBRATED_PRIORS` as many as there are steps for, if left out.

    Returns
    -------
    Calibration
        Values, and what error remains.

    Raises
    ------
    UsageError
        If there are fewer steps than priors, if a prior is unknown, or if none of the steps
        depends on one.
    """
    if names is None:
        names = CALIBRATED_PRIORS[: len(measured)]
    if not names or len(measured) < len(names):
        raise UsageError(
            f"{len(measured)} measured steps cannot set {len(names)} priors. Give at least as many "
            "steps as priors, and one prior or more."
        )
    start = _priors_of(measured[0].design)
    unknown = [name for name in names if name not in start]
    if unknown:
        raise UsageError(f"Prior {unknown[0]!r} is unknown. Known are {', '.join(start)}.")
    value = np.array([start[name].value for name in names])
    scale = np.array([max(start[name].high, 1e-9) for name in names])
    error = _errors(measured, names, value)
    for _ in range(ROUNDS):
        slope = _slopes(measured, names, value, scale)
        move = np.linalg.lstsq(slope, -error, rcond=None)[0] * scale
        value, error, moved = _moved(measured, names, value, (error, move))
        if not moved or np.abs(error).max() < 1e-9:
            break
    ratios = tuple(float(np.expm1(e)) for e in error)
    return Calibration(priors=dict(zip(names, value.tolist(), strict=True)), error_ratio=ratios)


def _priors_of(design: Design) -> dict[str, Prior]:
    device = shipped_devices()[design.cluster.device]
    return assume(design.priors, measured_priors(device))


def _errors(
    measured: Sequence[MeasuredStep], names: Sequence[str], value: np.ndarray
) -> np.ndarray:
    """Logarithm of forecast over measured."""
    given = dict(zip(names, value.tolist(), strict=True))
    forecasts = [
        step_time(replace(point.design, priors={**point.design.priors, **given})).step_s
        for point in measured
    ]
    return np.log(forecasts) - np.log([point.step_s for point in measured])


def _slopes(
    measured: Sequence[MeasuredStep], names: Sequence[str], value: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Change of each error with each prior, in units of `scale`, by central differences."""
    columns = []
    for place, name in enumerate(names):
        step = 1e-3 * max(float(value[place]), 1e-2 * float(scale[place]))
        low, high = value.copy(), value.copy()
        low[place] = max(low[place] - step, 0.0)
        high[place] += step
        rise = _errors(measured, names, high) - _errors(measured, names, low)
        if not rise.any():
            raise UsageError(f"None of the measured steps depends on prior {name!r}. Leave it out.")
        columns.append(rise / (high[place] - low[place]) * scale[place])
    return np.stack(columns, axis=1)


def _moved(
    measured: Sequence[MeasuredStep],
    names: Sequence[str],
    value: np.ndarray,
    step: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Go along a step as far as it lessens the error."""
    error, move = step
    for share in (1.0, 0.5, 0.25, 0.125):
        trial = np.maximum(value + share * move, 0.02 * value)
        now = _errors(measured, names, trial)
        if (now**2).sum() < (error**2).sum() * (1 - 1e-9):
            return trial, now, True
    return value, error, False
