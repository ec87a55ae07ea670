"""What differs from world to world besides steps: failures, start-up, rates, steps to the target."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from loadpath.forecast.conditions import failures_of
from loadpath.forecast.design import Design
from loadpath.forecast.reliability import Failures
from loadpath.forecast.shifts import NORMAL_95

__all__ = ["PRICE", "SLOW", "Chances", "chances_at", "converging_chances"]

Array = NDArray[np.float64]
SLOW, PRICE = "slow accelerators", "price"
"""What is not known besides priors."""


@dataclass(frozen=True, slots=True)
class Chances:
    """What happens to the job in each sampled world.

    Attributes
    ----------
    failures : Failures
        How it fails: arrays of shape (n_sample, 1).
    startup_s : ndarray of float, shape (n_sample, 1)
        Time before its first step.
    rent_ratio : ndarray of float, shape (n_sample, n_size)
        Rent, spares included, to that of the tariff for the accelerators that run.
    energy_ratio : ndarray of float, shape (n_sample, 1)
        Price of energy, to that of the tariff.
    steps_ratio : ndarray of float, shape (n_sample, n_size) or (n_sample, 1)
        Steps to the target, to those of the plan.
    worth_ratio : ndarray of float, shape (n_sample, n_size) or (n_sample, 1)
        What a unit of work is worth, to what the plan says.
    """

    failures: Failures
    startup_s: Array
    rent_ratio: Array
    energy_ratio: Array
    steps_ratio: Array
    worth_ratio: Array

    def at_place(self, place: int) -> "Chances":
        """Give the chances of one size alone.

        Parameters
        ----------
        place : int
            Which size.

        Returns
        -------
        Chances
            With arrays of shape (n_sample, 1).
        """
        names = ("rent_ratio", "steps_ratio", "worth_ratio")
        return replace(self, **{name: getattr(self, name)[:, [place]] for name in names})


def chances_at(
    n: NDArray[np.int64],
    own: Design,
    drawn: Mapping[str, Array],
    normals: Mapping[str, Array],
    *,
    pue: float,
) -> Chances:
    """Draw what happens to a designed job at each size.

    Parameters
    ----------
    n : ndarray of int64, shape (n_size,)
        Accelerators.
    own : Design
        The design at its own size.
    drawn : mapping of str to ndarray of float, shape (n_world,) or (1,)
        Priors by name, in each world.
    normals : mapping of str to ndarray of float, shape (n_world,)
        Where each world lies in what is not known.
    pue : float
        Power of the building over that of the machine, as the tariff has it.

    Returns
    -------
    Chances
        Of a job that takes the steps of its plan.
    """
    n_world = len(normals[SLOW])
    failures = failures_of(own, {name: value[:, None] for name, value in drawn.items()})
    everywhere = np.ones((n_world, len(n)))
    spared = 1 + own.failures.spares * failures.n_gpu_per_node / n
    return Chances(
        failures,
        np.broadcast_to(drawn["startup"], n_world)[:, None],
        _rent(own, normals)[:, None] * spared,
        np.broadcast_to(drawn["pue"] / pue, n_world)[:, None],
        everywhere,
        everywhere,
    )


def converging_chances(chances: Chances, law: Array, off: Array) -> Chances:
    """Add what runs to the target leave open.

    Parameters
    ----------
    chances : Chances
        Of a job that takes the steps of its plan.
    law : ndarray of float, shape (n_world,) or (1,)
        Steps to those of the law through the runs, at all batches alike: it moves steps, but not what a
        unit of work is worth.
    off : ndarray of float, shape (n_world, 1 + n_size)
        Logarithms by which the law's coefficients may miss, at the present batch and at each size.

    Returns
    -------
    Chances
        With steps and worth in each world.
    """
    return replace(
        chances,
        steps_ratio=law[:, None] * np.exp(off[:, 1:]),
        worth_ratio=np.exp(off[:, :1] - off[:, 1:]),
    )


def _rent(own: Design, normals: Mapping[str, Array]) -> Array:
    """Give the rate of each world over the stated one."""
    share, prices = normals[PRICE] / NORMAL_95, own.prices
    if prices is None or prices.accelerator_hour == 0:
        return np.ones_like(share)
    rate = prices.accelerator_hour
    low, high = prices.accelerator_hour_low, prices.accelerator_hour_high
    below = 0.0 if low is None else 1 - low / rate
    above = 0.0 if high is None else high / rate - 1
    return np.asarray(np.maximum(1 + share * np.where(share < 0, below, above), 0.0))
