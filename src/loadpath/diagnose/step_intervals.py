"""Intervals of what is a quotient of sums over steps: the steps are drawn again and again."""

import numpy as np
from numpy.typing import NDArray

from loadpath.diagnose.resampling import resample

__all__ = ["FEW_STEPS", "LEAST_STEPS", "N_DRAW", "drawn_sums", "with_interval"]

LEAST_STEPS = 4
"""Fewer steps are too few to draw from: no interval is given."""
FEW_STEPS = f"; no interval: under {LEAST_STEPS} steps"
"""Added to the basis of a figure without interval."""
LEVEL = 0.95
N_DRAW = 1000
"""Draws behind an interval."""
MOST_BLOCKS = 512
"""More steps than these are drawn in runs of neighbours: the cost stays flat."""

FloatArray = NDArray[np.float64]


def drawn_sums(value: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Sum over the steps as recorded, and over steps drawn from them with replacement.

    Parameters
    ----------
    value : (n_step, n) array of float64
        Quantities that add up over steps.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    (1 + n_draw, n) array of float64
        Row 0 as recorded; no further rows under `LEAST_STEPS` steps.
    """
    n_step = value.shape[0]
    whole: FloatArray = value.sum(axis=0, keepdims=True)
    if n_step < LEAST_STEPS:
        return whole
    edges = np.linspace(0, n_step, min(n_step, MOST_BLOCKS) + 1).astype(np.intp)[:-1]
    block = np.add.reduceat(value, edges, axis=0)
    weight = rng.multinomial(len(block), np.full(len(block), 1 / len(block)), N_DRAW)
    return np.vstack([whole, resample(weight.astype(np.float64), block)])


def with_interval(draws: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Give the value and its 95 % interval.

    Parameters
    ----------
    draws : (1 + n_draw, ...) array of float64
        What was computed from each row of `drawn_sums`.

    Returns
    -------
    value, low, high : arrays of float64
        As recorded, and the quantiles of the draws; NaN for both where nothing was drawn.
    """
    if len(draws) == 1:
        unknown = np.full(draws.shape[1:], np.nan)
        return draws[0], unknown, unknown
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws[1:], [tail, 1 - tail], axis=0)
    return draws[0], low, high
