"""A job without a design over sizes: known by its record, or by measured runs alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.forecast.chances import Chances
from loadpath.forecast.outlook import draw_normals, drawn_values
from loadpath.forecast.priors import Prior, shipped_priors
from loadpath.forecast.reliability import Failures
from loadpath.forecast.scaling import StepCurve
from loadpath.forecast.sizes import Goal, Skipped
from loadpath.forecast.step_point import prior_key
from loadpath.price.tariff import Tariff

__all__ = ["NODE_SIZE", "KnownJob", "chances_of", "draw_worlds", "tariff_at"]

Array = NDArray[np.float64]
FAILURE_PRIORS = ("node_failures", "job_failures", "restart", "checkpoint_stall")
NODE_SIZE = 8
"""Accelerators that fail together, where nothing says how many a node holds."""
S_PER_DAY = 86_400


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job without a design over sizes.

    Attributes
    ----------
    name, kind : str
        What it was read from; ``recorded`` or, of runs, ``measured``.
    unit : str
        What its work is counted in.
    goal : {"strong", "weak"}
        How its work grows.
    now : int
        Place of the present size among those of the curve.
    curve : StepCurve
        Sampled steps.
    sizes : polars.DataFrame
        Table `RUN_POINT` of the curve: what a baseline needs at each size, and the median step.
    priors : mapping of str to Prior
        What stands for what is not known.
    normals : mapping of str to ndarray of float, shape (n_world,)
        Where each world lies in it.
    runs : tuple of mapping
        Measured steps: ``n``, ``step_s``, ``error_ratio`` of the curve there, ``on_curve``.
    fitted_to : str
        What baselines are fitted to: ``measured``, or the ``forecast``.
    tariff : Tariff or None
        Prices.
    noise_gain : tuple of float
        Percent by which a step grows for one percent of variation of each rank, by size; empty where
        nothing tells.
    improved : mapping of str to float
        Step with an improvement at the present size, over that without it.
    elastic : mapping of str to float
        Percent by which the step follows one percent of a lever, at the present size.
    skipped : tuple of Skipped
        Sizes that cannot be.
    assumptions : tuple of str
        What is taken for granted besides priors.
    """

    name: str
    kind: str
    unit: str
    goal: Goal
    now: int
    curve: StepCurve
    sizes: pl.DataFrame
    priors: Mapping[str, Prior]
    normals: Mapping[str, Array]
    runs: tuple[Mapping[str, float | bool], ...]
    fitted_to: str
    tariff: Tariff | None = None
    noise_gain: tuple[float, ...] = ()
    improved: Mapping[str, float] = field(default_factory=dict)
    elastic: Mapping[str, float] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    assumptions: tuple[str, ...] = ()


def tariff_at(rate: float | None, currency: str) -> Tariff | None:
    """Give the price of an accelerator-hour, power included.

    Parameters
    ----------
    rate : float or None
        In the currency.
    currency : str
        ISO 4217 code.

    Returns
    -------
    Tariff or None
        None without a rate.
    """
    return None if rate is None else Tariff(currency, Decimal(str(rate)))


def draw_worlds(
    worlds: tuple[int, int], more: Iterable[Prior] = ()
) -> tuple[dict[str, Prior], dict[str, Array]]:
    """Choose the priors of a job without a design, and draw its worlds.

    Parameters
    ----------
    worlds : (int, int)
        Seed of the draws, and how many.
    more : iterable of Prior
        Besides those of failures.

    Returns
    -------
    priors : dict of str to Prior
        By name.
    normals : dict of str to ndarray of float, shape (n_world,)
        By key.
    """
    known = shipped_priors()
    priors = {name: known[name] for name in FAILURE_PRIORS} | {prior.name: prior for prior in more}
    keys = [prior_key(prior) for prior in priors.values() if prior.low < prior.high]
    return priors, draw_normals(keys, *worlds)


def chances_of(
    priors: Mapping[str, Prior], normals: Mapping[str, Array], n: NDArray[np.int64]
) -> Chances:
    """Draw how a job fails of which nothing is known but its size.

    Parameters
    ----------
    priors : mapping of str to Prior
        With those of failures.
    normals : mapping of str to ndarray of float, shape (n_world,)
        Where each world lies in them.
    n : ndarray of int64, shape (n_size,)
        Accelerators.

    Returns
    -------
    Chances
        Nodes of `NODE_SIZE`, no spares, no start-up.
    """
    drawn = {name: value[:, None] for name, value in drawn_values(priors, normals).items()}
    one = np.ones((len(next(iter(normals.values()))), 1))
    failures = Failures(
        per_node_day=drawn["node_failures"] * S_PER_DAY,
        per_job_day=drawn["job_failures"] * S_PER_DAY,
        checkpoint_s=drawn["checkpoint_stall"],
        recovery_s=drawn["restart"],
        n_gpu_per_node=NODE_SIZE,
    )
    everywhere = one * np.ones(len(n))
    return Chances(failures, 0 * one, everywhere, one, everywhere, everywhere)
