"""How much the measured step time varies: never a judgement alone.

A job can lose half of its time at a variation of half a percent.
"""

from collections.abc import Iterator

import numpy as np

from loadpath.diagnose.levels import FloatArray
from loadpath.diagnose.resampling import Estimate, resample, spread
from loadpath.diagnose.stability_row import NOTHING, Row, row

__all__ = ["step_spread_rows"]


def step_spread_rows(measured_s: FloatArray, weights: FloatArray) -> Iterator[Row]:
    """Give number, coefficient of variation, and p99 over p50 of the measured steps.

    Parameters
    ----------
    measured_s : (n_step,) array of float64
        Measured steps in s.
    weights : (n_resample, n_step) array of float64
        Resampled steps.

    Yields
    ------
    Row
        Rows of table `STABILITY`.
    """
    n_steps = Estimate(float(measured_s.size), *NOTHING[1:])
    yield row("n_steps", n_steps, unit="count", basis="measured")
    if measured_s.size < 2 or not np.median(measured_s) > 0:
        for name in ("step_cv_ratio", "step_p99_over_p50_ratio"):
            yield row(
                name, NOTHING, basis="not assessed: one step, or steps without time, have no spread"
            )
        return
    every = np.ones((1, measured_s.size))
    for name, figure in (("step_cv_ratio", _variation), ("step_p99_over_p50_ratio", _tail)):
        value = float(figure(measured_s, every)[0])
        drawn = figure(measured_s, weights)
        estimate = Estimate(value, *spread(drawn[np.isfinite(drawn)]))
        yield row(name, estimate, basis="measured")


def _variation(step_s: FloatArray, weights: FloatArray) -> FloatArray:
    """Give standard deviation over mean, in each resample."""
    n = step_s.size
    off = step_s - step_s.mean()
    mean, square = resample(weights, off) / n, resample(weights, off**2) / n
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0) * n / (n - 1))
    return _quotient(deviation, mean + step_s.mean())


def _tail(step_s: FloatArray, weights: FloatArray) -> FloatArray:
    """99th percentile over median, in each resample; both are steps that were measured."""
    order = np.argsort(step_s, kind="stable")
    below = np.cumsum(weights[:, order], axis=1)
    high, middle = (
        step_s[order][(below < share * step_s.size).sum(axis=1)] for share in (0.99, 0.5)
    )
    return _quotient(high, middle)


def _quotient(above: FloatArray, below: FloatArray) -> FloatArray:
    """Divide where steps took time; NaN where those drawn took none."""
    out = np.full(above.shape, np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out
