"""Iterations that were measured: by how much a served design departs from them, at each width."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import polars as pl
from msgspec.structs import replace as changed

from loadpath.errors import InputError
from loadpath.forecast.design import Design
from loadpath.forecast.iteration import IterationTimes, Work, iteration_s, iteration_times
from loadpath.forecast.least_squares import fit_parts
from loadpath.tables.measured import ITERATION_POINT

__all__ = [
    "IterationFit",
    "TimedWidth",
    "calibrate_iterations",
    "calibrate_widths",
    "fit_at",
    "scaled",
    "timed_width",
]

FOLDS = 10
LEVEL = 0.9


@dataclass(frozen=True, slots=True)
class IterationFit:
    """What measured iterations of one width say of a design.

    Attributes
    ----------
    body, cache, pair : float
        Factors on the layers, on reading the cache, on attention among the tokens of prompts.
    band_factor : float
        Factor within which nine in ten iterations lie that the fit was not shown; infinite where none could
        be left out.
    error_ratio : float
        Median of the relative errors that the fit leaves, without sign.
    n_point : int
        Iterations.
    """

    body: float
    cache: float
    pair: float
    band_factor: float
    error_ratio: float
    n_point: int


class TimedWidth(NamedTuple):
    """How long iterations of one width take.

    Attributes
    ----------
    times : IterationTimes
        Of a replica.
    band_factor : float
        Factor by which they may be off, nine times in ten.
    """

    times: IterationTimes
    band_factor: float


def calibrate_iterations(times: IterationTimes, points: pl.DataFrame) -> IterationFit:
    """Fit what a design forecasts to measured iterations of its width.

    Layers, cache and prompts' attention each get a factor, by least squares of relative errors without
    negative factors; a part that no point has keeps its forecast. Each tenth of the iterations is foretold
    by the others, for the band.

    Parameters
    ----------
    times : IterationTimes
        Forecast; it gives the shape over tokens.
    points : polars.DataFrame
        Table `ITERATION_POINT`; sequences that get a token are not told apart from tokens.

    Returns
    -------
    IterationFit
        Factors and their band.

    Raises
    ------
    InputError
        If there are fewer points than parts.
    """
    table = ITERATION_POINT.validate(points)
    tokens = table["tokens"].to_numpy().astype(np.float64)
    parts = np.stack(
        [
            iteration_s(times, Work(tokens, tokens)),
            times.cached_token_s * table["cached_tokens"].to_numpy(),
            times.pair_s * table["prompt_pairs"].to_numpy(),
        ],
        axis=1,
    )
    measured, told = table["step_s"].to_numpy(), parts.any(axis=0)
    if len(measured) < told.sum():
        what = f"{len(measured)} iterations for {told.sum()} parts"
        raise InputError("iterations", what, "Give at least as many measured iterations as parts.")
    fit = fit_parts(parts[:, told], measured, [place % FOLDS for place in range(len(measured))])
    factor = np.ones(parts.shape[1])
    factor[told] = fit.coefficients
    left = np.abs(parts @ factor / measured - 1)
    unseen = float(np.quantile(np.abs(fit.errors), LEVEL, method="higher"))
    body, cache, pair = factor.tolist()
    return IterationFit(
        body, cache, pair, float(np.exp(unseen)), float(np.median(left)), len(measured)
    )


def calibrate_widths(
    design: Design, points: pl.DataFrame, memory_ratio: float
) -> dict[int, IterationFit]:
    """Fit a served design to measured iterations, width by width.

    Parameters
    ----------
    design : Design
        A served transformer.
    points : polars.DataFrame
        Table `ITERATION_POINT`; those that tell no width are of the design's own.
    memory_ratio : float
        Share of the memory that weights and caches may take.

    Returns
    -------
    dict of int to IterationFit
        By tensor-parallel width.

    Raises
    ------
    InputError
        If a width has fewer points than parts.
    UsageError
        If the design cannot have a measured width.
    """
    own = design.parallelism
    widths = points["tensor"].fill_null(own.tensor)
    found = {}
    for width in widths.unique().sort().to_list():
        of = changed(design, parallelism=changed(own, tensor=width))
        times = iteration_times(of, memory_ratio)
        found[width] = calibrate_iterations(times, points.filter(widths == width))
    return found


def fit_at(fits: Mapping[int, IterationFit], width: int) -> tuple[int, IterationFit]:
    """Choose the measured width that stands for another: the nearest in ratio, the smaller of two.

    Parameters
    ----------
    fits : mapping of int to IterationFit
        Result of `calibrate_widths`, not empty.
    width : int
        Tensor-parallel width.

    Returns
    -------
    int
        The measured width.
    IterationFit
        Its fit.

    Examples
    --------
    >>> fit = IterationFit(1.0, 1.0, 1.0, 1.1, 0.0, 9)
    >>> fit_at({2: fit, 8: fit}, 16)[0], fit_at({2: fit, 8: fit}, 4)[0]
    (8, 2)
    """
    nearest = min(fits, key=lambda known: (abs(np.log(known / width)), known))
    return nearest, fits[nearest]


def scaled(times: IterationTimes, fit: IterationFit) -> IterationTimes:
    """Scale the iterations of a design by what measured ones say.

    Parameters
    ----------
    times : IterationTimes
        Forecast.
    fit : IterationFit
        Factors.

    Returns
    -------
    IterationTimes
        Calibrated.
    """
    return replace(
        times,
        body_s=times.body_s * fit.body,
        head_s=times.head_s * fit.body,
        cached_token_s=times.cached_token_s * fit.cache,
        pair_s=times.pair_s * fit.pair,
    )


def timed_width(
    design: Design,
    fits: Mapping[int, IterationFit],
    width: int,
    *,
    memory_ratio: float,
    band_factor: float,
) -> TimedWidth:
    """Time a width of a served design by measured iterations.

    Parameters
    ----------
    design : Design
        A served transformer.
    fits : mapping of int to IterationFit
        Result of `calibrate_widths`; the nearest stands for widths without.
    width : int
        Tensor-parallel width.
    memory_ratio : float
        Share of the memory that weights and caches may take.
    band_factor : float
        Of widths that were not measured, or in too few iterations to leave any out.

    Returns
    -------
    TimedWidth
        Times and their band.

    Raises
    ------
    UsageError
        If the design cannot have the width.
    """
    of = changed(design, parallelism=changed(design.parallelism, tensor=width))
    nearest, fit = fit_at(fits, width)
    told = nearest == width and np.isfinite(fit.band_factor)
    times = scaled(iteration_times(of, memory_ratio), fit)
    return TimedWidth(times, fit.band_factor if told else band_factor)
