"""What happens to a designed job as it runs: noise, failures, prices and power from design and priors."""

from collections.abc import Mapping
from decimal import Decimal
from math import gamma, lgamma

import numpy as np
from numpy.typing import NDArray

from loadpath.forecast.convergence import converging
from loadpath.forecast.design import Design, Noise
from loadpath.forecast.devices import Device
from loadpath.forecast.distributions import harmonic_number
from loadpath.forecast.extremes import expected_max_normal, probability_of_any
from loadpath.forecast.layout import fast_domain
from loadpath.forecast.reliability import Failures
from loadpath.forecast.time_to_train import JobPlan
from loadpath.price.power import NodePower
from loadpath.price.tariff import Tariff

__all__ = [
    "OF_RECORDS",
    "RUN_PRIORS",
    "failures_of",
    "given_of",
    "noise_ratio",
    "plan_of",
    "power_of",
    "slow_ratio",
    "tariff_of",
]

Array = NDArray[np.float64]
RUN_PRIORS = (
    "step_variation",
    "node_failures",
    "job_failures",
    "restart",
    "checkpoint_stall",
    "startup",
    "convergence_error",
    "idle_power_ratio",
    "busy_power_ratio",
    "pue",
    "model_error",
    "scale_error",
)
"""Priors that no replay of a step depends on."""

OF_RECORDS = (
    "tensor_serial_ratio",
    "leaving_host_ratio",
    "kernel_serial_ratio",
    "tensor_alike_ratio",
)
"""Priors that stand for what records do not tell, and designs do."""

S_PER_DAY = 86_400
FORWARD_SHARE = 1 / 3
"""Of the operations of a training step: what an evaluation does with the same sequences."""


def given_of(design: Design, device: Device) -> dict[str, float]:
    """Collect what a design says in its tables about what a prior would stand for.

    Parameters
    ----------
    design : Design
        Any.
    device : Device
        Its accelerator.

    Returns
    -------
    dict of str to float
        By name of the prior, in its unit; for table ``[priors]``.
    """
    said = {
        "step_variation": design.noise.variation_ratio,
        "node_failures": design.failures.node_rate,
        "job_failures": None if design.failures.node_rate is None else 0.0,
        "restart": design.failures.restart,
        "checkpoint_stall": design.checkpoint.stall,
        "startup": design.startup.duration,
        "convergence_error": 1.0 if design.convergence is None else None,
        "idle_power_ratio": _rated(design.power.idle, device),
        "busy_power_ratio": _rated(design.power.busy, device),
        "pue": design.power.pue,
    }
    return {name: value for name, value in said.items() if value is not None}


def _rated(watts: float | None, device: Device) -> float | None:
    return None if watts is None else watts / device.tdp_w


def noise_ratio(noise: Noise, variation: float, n: int) -> float:
    """Give the time of a step in which all wait for the slowest of `n`, over that without noise.

    Parameters
    ----------
    noise : Noise
        Form of the tail.
    variation : float
        Deviation of one rank's step over its mean; of the other tails the mean of what is beyond
        its least.
    n : int
        Ranks, which vary independently.

    Returns
    -------
    float
        In expectation, from 1.

    References
    ----------
    .. [1] H. A. David, H. N. Nagaraja, "Order Statistics", 2003: the largest of n exponentials has mean
       H_n, that of n Lomax values with index a has mean n B(n, 1 - 1 / a) - 1 in units of their scale.

    Examples
    --------
    >>> [
    ...     round(noise_ratio(Noise(tail=t, tail_shape=3), 0.01, 1024), 3)
    ...     for t in ("normal", "pareto")
    ... ]
    [1.032, 1.243]
    """
    if variation == 0 or n == 1:
        return 1.0
    if noise.tail == "exponential":
        return 1 + variation * (float(harmonic_number(n)) - 1)
    if noise.tail == "pareto" and noise.tail_shape is not None:
        index = noise.tail_shape
        grown = np.exp(lgamma(n + 1) - lgamma(n + 1 - 1 / index)) * gamma(1 - 1 / index)
        return 1 + variation * (index - 1) * (float(grown) - 1) - variation
    return 1 + variation * expected_max_normal(n)


def slow_ratio(noise: Noise, n: NDArray[np.int64], place: Array) -> Array:
    """Give how much longer steps take where an accelerator of the job is persistently slow.

    Parameters
    ----------
    noise : Noise
        Share of slow accelerators, and by how much they are.
    n : ndarray of int64, shape (n_size,)
        Accelerators.
    place : ndarray of float, shape (n_sample, 1)
        Where each world lies between the luckiest (0) and the unluckiest (1).

    Returns
    -------
    ndarray of float, shape (n_sample, n_size)
        1, or 1 + excess in the worlds whose job holds a slow one.
    """
    share, excess = noise.slow_ratio or 0.0, noise.slow_excess_ratio or 0.0
    none = 1 - (np.ones(len(n)) if share == 1 else probability_of_any(share, n))
    return np.where(place >= none, 1 + excess, 1.0)


def failures_of(design: Design, values: Mapping[str, float | Array]) -> Failures:
    """Say how a design fails.

    Parameters
    ----------
    design : Design
        Its checkpoints and nodes.
    values : mapping of str to float or ndarray of float, shape (n_world, 1)
        Priors by name, as they are in one world or in many.

    Returns
    -------
    Failures
        Per day and in s.
    """
    return Failures(
        per_node_day=values["node_failures"] * S_PER_DAY,
        per_job_day=values["job_failures"] * S_PER_DAY,
        checkpoint_s=values["checkpoint_stall"],
        recovery_s=values["restart"],
        interval_s=design.checkpoint.interval or None,
        n_gpu_per_node=design.cluster.node_size or min(fast_domain(design), 8),
    )


def plan_of(design: Design, work: float, step_s: float, startup_s: float) -> JobPlan | None:
    """Say what the whole job has to do.

    Parameters
    ----------
    design : Design
        Its steps and evaluations.
    work : float
        Units of work in one of its steps.
    step_s : float
        Time of that step on its own accelerators.
    startup_s : float
        Time before the first step.

    Returns
    -------
    JobPlan or None
        In units of work, which stay the same where a larger batch takes fewer steps; None where the
        design names no steps.
    """
    needed, evaluation = converging(design), design.evaluation
    if needed is None:
        return None
    # Steps and batches become work, so that all sizes of a batch are comparable.
    of_sequence = work / (design.batch.sequences if design.batch is not None else 1)
    work_of_all = {
        "n_step_least": needed[0],
        "critical_batch": needed[1] * of_sequence,
        "batch_now": work,
    }
    if evaluation is None or design.batch is None:
        return JobPlan(**work_of_all, startup_s=startup_s)
    share = FORWARD_SHARE * evaluation.sequences / design.batch.sequences
    return JobPlan(
        **work_of_all,
        evaluate_every=evaluation.every_steps * work,
        evaluation_s=share * step_s * design.cluster.accelerators,
        startup_s=startup_s,
    )


def tariff_of(design: Design, pue: float) -> Tariff | None:
    """Give the prices of a design.

    Parameters
    ----------
    design : Design
        Its table of prices.
    pue : float
        Power of the building over that of the machine.

    Returns
    -------
    Tariff or None
        None where it has none.
    """
    prices = design.prices
    if prices is None:
        return None
    rate, power = (Decimal(str(p)) for p in (prices.accelerator_hour, prices.energy_kwh))
    return Tariff(prices.currency, rate, power, Decimal(str(round(pue, 6))))


def power_of(device: Device, values: Mapping[str, float], cap_w: float | None) -> NodePower:
    """Give the power of one accelerator, its share of the node included.

    Parameters
    ----------
    device : Device
        Its rated power.
    values : mapping of str to float
        Priors by name.
    cap_w : float or None
        Power to which an accelerator is held.

    Returns
    -------
    NodePower
        Of a node of one accelerator; the cap takes off busy power what it takes off the rated one.
    """
    idle, busy = (values[f"{name}_power_ratio"] * device.tdp_w for name in ("idle", "busy"))
    if cap_w is not None:
        busy -= max(device.tdp_w - cap_w, 0.0)
    return NodePower(idle, max(busy, idle))
