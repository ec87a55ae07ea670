"""Curves that need no structure: the bar for any forecast, fitted on the same measured points."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.errors import InputError
from loadpath.forecast.least_squares import Fit, fit_parts

__all__ = ["BASELINES", "Baseline", "choose_baseline", "fit_baselines"]

Array = NDArray[np.float64]
REMEDY = "Give measured runs at two sizes or more (docs/forecast/baselines.md)."


def _per_rank(points: pl.DataFrame) -> tuple[Array, Array]:
    """Accelerators, and samples in a step (1 where the batch is not told: strong scaling)."""
    batch = points["global_batch"].cast(pl.Float64).fill_null(1.0).to_numpy()
    return points["n"].cast(pl.Float64).to_numpy(), batch


def _amdahl(points: pl.DataFrame) -> Array:
    n, batch = _per_rank(points)
    return np.stack([batch / n, batch], axis=1)


def _usl(points: pl.DataFrame) -> Array:
    n, batch = _per_rank(points)
    return np.stack([batch / n, batch * (n - 1) / n, batch * (n - 1)], axis=1)


def _affine(points: pl.DataFrame) -> Array:
    microbatches = points["microbatches"].cast(pl.Float64).to_numpy()
    return np.stack([microbatches, np.ones_like(microbatches)], axis=1)


BASELINES: dict[str, Callable[[pl.DataFrame], Array]] = {
    "affine": _affine,
    "amdahl": _amdahl,
    "usl": _usl,
}
"""Parts of a step time: a x microbatches + b; Amdahl's law; the universal scalability law."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """One curve on measured points.

    Attributes
    ----------
    name : str
        A key of `BASELINES`.
    fit : Fit
        Its coefficients.
    error_ratio : float
        Mean relative size of its errors on points left out one at a time; infinite where there were
        too few.
    """

    name: str
    fit: Fit
    error_ratio: float

    def step_s(self, points: pl.DataFrame) -> Array:
        """Predict step times.

        Parameters
        ----------
        points : polars.DataFrame
            Table `RUN_POINT`; its step times are not looked at.

        Returns
        -------
        ndarray of float, shape (n_point,)
            Seconds.
        """
        return np.asarray(BASELINES[self.name](points) @ self.fit.coefficients, dtype=np.float64)

    def band_factor(self, points: pl.DataFrame, level: float = 0.9) -> Array:
        """Say by which factor the predictions may be off.

        Parameters
        ----------
        points : polars.DataFrame
            Table `RUN_POINT`.
        level : float
            Share of step times within prediction / factor to prediction x factor.

        Returns
        -------
        ndarray of float, shape (n_point,)
            Factors; infinite where the points cannot tell.
        """
        return self.fit.band_factor(BASELINES[self.name](points), level)


def fit_baselines(points: pl.DataFrame) -> list[Baseline]:
    """Fit every baseline that the points can carry.

    Parameters
    ----------
    points : polars.DataFrame
        Table `RUN_POINT`, two sizes or more.

    Returns
    -------
    list of Baseline
        Ordered by their error on points left out, then by name; ``affine`` only where every point tells
        its microbatches, and no baseline with more parts than sizes.

    Raises
    ------
    InputError
        If there are fewer than two sizes, or some points tell their batch and others do not.

    References
    ----------
    .. [1] N. J. Gunther, "Guerrilla Capacity Planning", Springer 2007: universal scalability law.
    .. [2] G. M. Amdahl, AFIPS 1967.

    Examples
    --------
    >>> from loadpath.tables.measured import RUN_POINT
    >>> runs = pl.DataFrame({"n": [8, 16, 32, 64], "step_s": [8.2, 4.2, 2.2, 1.2]})
    >>> blank = [pl.lit(None, dtype=t).alias(c) for c, t in RUN_POINT.schema.items()][2:]
    >>> best = choose_baseline(fit_baselines(runs.with_columns(blank)))
    >>> best.name, best.fit.coefficients.round(3).tolist()
    ('amdahl', [64.0, 0.2])
    """
    problems = []
    if points["n"].n_unique() < 2:
        problems.append(f"{points['n'].n_unique()} size of job")
    n_untold = points["global_batch"].null_count()
    if 0 < n_untold < points.height:
        problems.append(f"{n_untold} of {points.height} points without global_batch")
    if problems:
        raise InputError("measured runs", problems, REMEDY)
    fitted = [_fit(points, name) for name in BASELINES if _carries(points, name)]
    return sorted(fitted, key=lambda baseline: (round(baseline.error_ratio, 9), baseline.name))


def choose_baseline(fitted: list[Baseline]) -> Baseline:
    """Take the baseline that predicted best what was left out.

    Parameters
    ----------
    fitted : list of Baseline
        As `fit_baselines` returns them.

    Returns
    -------
    Baseline
        The first; where no error is known, the one with the fewest parts.

    Raises
    ------
    InputError
        If there is none.
    """
    if not fitted:
        raise InputError("measured runs", "no baseline that they can carry", REMEDY)
    known = [baseline for baseline in fitted if np.isfinite(baseline.error_ratio)]
    return known[0] if known else min(fitted, key=lambda one: len(one.fit.coefficients))


def _carries(points: pl.DataFrame, name: str) -> bool:
    if name == "affine" and (
        points["microbatches"].null_count() or points["microbatches"].n_unique() < 2
    ):
        return False
    return bool(BASELINES[name](points).shape[1] <= points.height)


def _fit(points: pl.DataFrame, name: str) -> Baseline:
    parts = BASELINES[name](points)
    fit = fit_parts(parts, points["step_s"].to_numpy(), list(range(points.height)))
    is_enough = points.height > parts.shape[1]
    error = float(np.mean(np.abs(np.expm1(fit.errors)))) if is_enough else float("inf")
    return Baseline(name, fit, error)
