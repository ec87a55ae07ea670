"""Curves over sizes from measured runs alone, where there is no design to replay."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.errors import InputError
from loadpath.forecast.baselines import BASELINES, Baseline
from loadpath.forecast.scaling import StepCurve
from loadpath.forecast.shifts import NORMAL_95, smooth_normals
from loadpath.tables.measured import RUN_POINT

__all__ = ["curve_of_runs", "planned"]


def curve_of_runs(
    baseline: Baseline,
    sizes: Iterable[int],
    plan: Callable[[int], Mapping[str, float]],
    rng: np.random.Generator,
    *,
    n_sample: int = 256,
    prior_factor: float | None = None,
) -> StepCurve:
    """Draw the worlds that measured runs leave open.

    Parameters
    ----------
    baseline : Baseline
        Fitted curve.
    sizes : iterable of int
        Accelerators.
    plan : callable of int to mapping
        Columns of `RUN_POINT` at a size but ``n`` and ``step_s``: the batch, the microbatches where the
        curve needs them, the power where it is known.
    rng : numpy.random.Generator
        Source of randomness.
    n_sample : int
        Worlds.
    prior_factor : float, optional
        Half of a 90 % band where the runs are too few to tell one; without it that is refused.

    Returns
    -------
    StepCurve
        The work of a step is its batch, 1 where none is planned. Coefficients vary together as the runs
        left out one at a time let them, and what the fit leaves varies smoothly over the sizes.

    Raises
    ------
    InputError
        If there is no size, a plan lacks what the curve needs, or no band is known and no prior given.

    Examples
    --------
    >>> from loadpath.forecast.baselines import fit_baselines
    >>> n = np.array([8, 16, 32, 64])
    >>> blank = [pl.lit(None, dtype=t).alias(c) for c, t in RUN_POINT.schema.items()][2:]
    >>> runs = pl.DataFrame({"n": n, "step_s": 64 / n + 0.5}).with_columns(blank)
    >>> best, rng = fit_baselines(runs)[0], np.random.default_rng(0)
    >>> curve_of_runs(best, [128, 256], lambda n: {}, rng, n_sample=1).step_s.round(6).tolist()
    [[1.0, 0.75]]
    """
    n = np.unique(np.fromiter(sizes, dtype=np.int64))
    points = planned(n, plan)
    if not len(n) or n[0] < 1:
        raise InputError("curve", "no sizes, or one below 1", "Give sizes from 1 accelerator.")
    if baseline.name == "affine" and points["microbatches"].null_count():
        what = "sizes without microbatches"
        raise InputError("curve", what, "Give microbatches for every size.")
    smooth = smooth_normals(n, rng, n_sample)
    if np.all(np.isfinite(baseline.band_factor(points))):
        fit, parts = baseline.fit, BASELINES[baseline.name](points)
        errors = fit.draw(parts, rng, n_sample) + fit.spread * smooth
    elif prior_factor is not None:
        errors = np.log(prior_factor) / NORMAL_95 * smooth
    else:
        what = f"{len(baseline.fit.errors)} runs are too few for a band"
        raise InputError("measured runs", what, "Measure more sizes, or give a prior.")
    power = points["power_w"]
    return StepCurve(
        n,
        baseline.step_s(points) * np.exp(errors),
        points["global_batch"].fill_null(1).cast(pl.Float64).to_numpy(),
        None if power.null_count() else power.to_numpy(),
        (),
        np.zeros((0, len(n))),
    )


def planned(n: NDArray[np.int64], plan: Callable[[int], Mapping[str, float]]) -> pl.DataFrame:
    """Lay the job out at sizes that were not measured.

    Parameters
    ----------
    n : ndarray of int64, shape (n_size,)
        Accelerators.
    plan : callable of int to mapping
        As of `curve_of_runs`.

    Returns
    -------
    polars.DataFrame
        Table `RUN_POINT`; its step times mean nothing.
    """
    rows = [{"n": int(size), "step_s": 1.0, **plan(int(size))} for size in n]
    return pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in RUN_POINT.schema},
        schema=RUN_POINT.schema,
    )
