"""Steps that a design needs to its target, and how sure they are."""

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from loadpath.forecast.design import Convergence, Design
from loadpath.forecast.time_to_train import fit_convergence
from loadpath.forecast.transformer import batch_of

__all__ = ["convergence_told", "converging", "draw_steps", "steps_of"]

Array = NDArray[np.float64]
NO_LEAST = 1e-9
"""Least number of steps of a job that needs the same work at any batch."""


def converging(design: Design) -> tuple[float, float] | None:
    """Say how many steps the target needs with any batch.

    Parameters
    ----------
    design : Design
        Its runs to the target, or its steps.

    Returns
    -------
    (float, float) or None
        Least number of steps, and critical batch in sequences (1 is a whole step where there are none); a
        design that names steps alone needs the same work whatever the batch.
    """
    if design.convergence is not None:
        least, critical, _ = fit_convergence(design.convergence.batches, design.convergence.steps)
        return least, critical
    if design.startup.steps is None:
        return None
    sequences = 1 if design.batch is None else design.batch.sequences
    return NO_LEAST, design.startup.steps * sequences / NO_LEAST


def steps_of(design: Design) -> int | None:
    """Say how many steps a design needs with its own batch.

    Parameters
    ----------
    design : Design
        Any.

    Returns
    -------
    int or None
        None where nothing says so.
    """
    if design.convergence is None:
        return design.startup.steps
    least, critical, _ = fit_convergence(design.convergence.batches, design.convergence.steps)
    return round(least * (1 + critical / batch_of(design).sequences))


def draw_steps(told: Convergence, batches: Sequence[int], seed: int, n_world: int) -> Array:
    """Draw by how much the fit to the runs may miss the steps to the target, together at all batches.

    Parameters
    ----------
    told : Convergence
        Batches and steps of runs to the target.
    batches : sequence of int
        Where steps are wanted, in sequences.
    seed : int
        Of the draws; designs with the same runs share them.
    n_world : int
        Worlds.

    Returns
    -------
    ndarray of float, shape (n_world, n_batch)
        Logarithms of median 0, by the runs left out one at a time; zeros where too few are left to tell,
        for which the prior ``convergence_error`` stands alone.

    Examples
    --------
    >>> told = Convergence(batches=(1024, 2048, 4096), steps=(600, 350, 230))
    >>> near, far = draw_steps(told, [2048, 65536], 0, 512).std(axis=0)
    >>> bool(0 < near < far)
    True
    """
    *_, fit = fit_convergence(told.batches, told.steps)
    sizes = np.asarray(batches, dtype=np.float64)
    parts = np.stack([np.ones_like(sizes), 1 / sizes], axis=1)
    if not np.isfinite(fit.band_factor(parts)).all():
        return np.zeros((n_world, len(sizes)))
    rng = np.random.default_rng([seed, crc32(repr((told.batches, told.steps)).encode())])
    drawn = fit.draw(parts, rng, n_world)
    return np.asarray(drawn - np.median(drawn, axis=0))


def convergence_told(design: Design) -> dict[str, Any] | None:
    """Tell what a batch does to the steps that are needed, and how well that meets the runs.

    Parameters
    ----------
    design : Design
        Any.

    Returns
    -------
    dict or None
        Key ``fit_convergence`` of a forecast; None without table ``[convergence]``.
    """
    told = design.convergence
    if told is None:
        return None
    least, critical, fit = fit_convergence(told.batches, told.steps)
    known = fit.errors[np.isfinite(fit.errors)]
    return {
        "n_step_least": least,
        "critical_batch": critical,
        "error_ratio": float(np.max(np.abs(np.expm1(known)))) if known.size else None,
        "points": [
            {"batch": batch, "steps": steps}
            for batch, steps in zip(told.batches, told.steps, strict=True)
        ],
    }
