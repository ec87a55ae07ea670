"""A replayed design as a point of a curve: its step, what limits it, and what each prior does to it."""

from collections.abc import Mapping
from math import log

from loadpath.forecast.conditions import OF_RECORDS, RUN_PRIORS, given_of, noise_ratio
from loadpath.forecast.design import Design
from loadpath.forecast.devices import measured_priors, shipped_devices
from loadpath.forecast.layout import model_ranks
from loadpath.forecast.noisy_step import noise_share
from loadpath.forecast.priors import Prior, assume
from loadpath.forecast.scaling import StepPoint
from loadpath.forecast.step import StepForecast, step_seconds, step_time, work_of

__all__ = [
    "NEGLIGIBLE",
    "design_priors",
    "prior_key",
    "slowdown",
    "step_point",
    "waiting_ranks",
]

LEAST_VARIATION = 0.01
"""At which it is seen how much of noise reaches the end of a step, where none is told."""
NEGLIGIBLE = 1e-5
"""A prior whose whole band moves a step by less than this share is not listed as driving it."""


def design_priors(design: Design) -> dict[str, Prior]:
    """Choose every prior of a design, those of its run included.

    Parameters
    ----------
    design : Design
        A sound design.

    Returns
    -------
    dict of str to Prior
        By name; what the design says has no spread.
    """
    device = shipped_devices()[design.cluster.device]
    found = assume({**design.priors, **given_of(design, device)}, measured_priors(device))
    return {name: prior for name, prior in found.items() if name not in OF_RECORDS}


def prior_key(prior: Prior) -> str:
    """Name what is not known, so that two designs that do not know the same share their worlds.

    Parameters
    ----------
    prior : Prior
        Of any design.

    Returns
    -------
    str
        Its name and its band; priors of two devices differ.
    """
    return f"{prior.name} {prior.low:g} {prior.high:g} {prior.source}"


def step_point(design: Design, priors: Mapping[str, Prior]) -> tuple[StepPoint, StepForecast]:
    """Replay a design, and once more with each prior at the edges of its band.

    Parameters
    ----------
    design : Design
        A sound design.
    priors : mapping of str to Prior
        What stands for what it leaves open, and how uncertain that is; values of the design itself are
        replayed, those here only move it.

    Returns
    -------
    StepPoint
        Noise included: all ranks wait for the slowest; those of a pipeline are replayed one by one.
    StepForecast
        Without noise.

    Examples
    --------
    >>> from loadpath.forecast.design import Batch, Cluster, Transformer
    >>> design = Design(
    ...     name="small",
    ...     cluster=Cluster(device="H100-SXM5-80GB", accelerators=8),
    ...     batch=Batch(sequences=64),
    ...     model=Transformer(layers=4, hidden=512, heads=8, sequence=1024, vocabulary=50304),
    ... )
    >>> point, _ = step_point(design, design_priors(design))
    >>> low, high = next(
    ...     both for key, both in point.shifts.items() if key.startswith("memory_ratio")
    ... )
    >>> low > 0 > high
    True
    """
    forecast, variation = step_time(design), priors["step_variation"]
    passed = noise_share(design, variation.value or variation.high or LEAST_VARIATION)
    share = 1.0 if passed is None else passed
    slower, *edges = (
        slowdown(design, value, share) for value in (variation.value, variation.low, variation.high)
    )
    edges = [log(edge / slower) for edge in edges]
    shifts = {prior_key(variation): (edges[0], edges[1])}
    shifts |= _replayed_shifts(design, priors)
    waited = {name: share / slower for name, share in forecast.limitation.items()}
    waited["waiting"] += 1 - 1 / slower
    moving = {key: both for key, both in shifts.items() if both[1] != both[0]}
    work, _ = work_of(design)
    point = StepPoint(
        step_s=forecast.step_s * slower,
        work=work,
        band_factor=priors["scale_error"].high,
        limitation=waited,
        shifts=moving,
        noise_share=share,
    )
    return point, forecast


def slowdown(design: Design, variation: float, share: float) -> float:
    """Give the time of a noisy step over that of a calm one.

    Parameters
    ----------
    design : Design
        Its tail and ranks.
    variation : float
        Of each rank.
    share : float
        Of what noise costs where all wait for the slowest: what reaches the end of the step.

    Returns
    -------
    float
        From 1.
    """
    return 1 + share * (noise_ratio(design.noise, variation, waiting_ranks(design)) - 1)


def waiting_ranks(design: Design) -> int:
    """Count the ranks that wait for each other in every step.

    Parameters
    ----------
    design : Design
        Any.

    Returns
    -------
    int
        All; of a served model those of one replica.
    """
    return model_ranks(design) if design.serving is not None else design.cluster.accelerators


def _replayed_shifts(design: Design, priors: Mapping[str, Prior]) -> dict[str, tuple[float, float]]:
    """Replay the edges of each prior; the model's own error needs no replay."""
    before = step_seconds(design, {})
    found = {}
    for name, prior in priors.items():
        if prior.low == prior.high or (name in RUN_PRIORS and name != "model_error"):
            continue
        if name == "model_error":
            low, high = (log(value / prior.value) for value in (prior.low, prior.high))
        else:
            low, high = (
                log(step_seconds(design, {name: value}) / before)
                for value in (prior.low, prior.high)
            )
        if max(abs(low), abs(high)) > NEGLIGIBLE:
            found[prior_key(prior)] = (low, high)
    return found
