"""A design over sizes: replayed points, sampled worlds, and every quantity in each of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from loadpath.errors import UsageError
from loadpath.forecast.chances import (
    PRICE,
    SLOW,
    Chances,
    chances_at,
    converging_chances,
)
from loadpath.forecast.conditions import (
    plan_of,
    power_of,
    slow_ratio,
    tariff_of,
)
from loadpath.forecast.convergence import converging, draw_steps
from loadpath.forecast.design import Design
from loadpath.forecast.devices import Device, shipped_devices
from loadpath.forecast.distributions import normal_cdf
from loadpath.forecast.measured_steps import LEAST_ERROR, Measured, condition
from loadpath.forecast.priors import Prior
from loadpath.forecast.scaling import (
    StepCurve,
    StepPoint,
    curve_of_points,
    price_curve,
    step_errors,
)
from loadpath.forecast.shifts import NORMAL_95, smooth_normals
from loadpath.forecast.step import StepForecast, step_seconds, work_of
from loadpath.forecast.step_point import prior_key, slowdown, step_point
from loadpath.forecast.time_to_train import JobPlan
from loadpath.forecast.transformer import batch_of
from loadpath.price.tariff import Tariff

__all__ = [
    "Outlook",
    "draw_normals",
    "drawn_values",
    "key_name",
    "look_ahead",
    "paid_shares",
    "priced_of",
    "world_keys",
]

Array = NDArray[np.float64]
OWN_WORK = ("compute", "memory", "intra_node", "host")
"""Shares of a step in which an accelerator or its node works."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """A design over sizes.

    Attributes
    ----------
    designs : tuple of Design, and points : tuple of StepPoint, and forecasts : tuple of StepForecast
        One for each size.
    priors : mapping of str to Prior
        What stands for what the design leaves open.
    curve : StepCurve
        Sampled steps; power by world.
    chances : Chances
        What else differs from world to world.
    tariff : Tariff or None
        Prices.
    plan : JobPlan or None
        What the whole job has to do.
    normals : mapping of str to ndarray of float, shape (n_world,)
        Where each world lies in what is not known.
    held : tuple of StepPoint, and held_errors : ndarray of float, shape (n_world, n_held)
        Designs that ran too, and by which logarithms what is measured of them may depart from that.
    """

    designs: tuple[Design, ...]
    points: tuple[StepPoint, ...]
    forecasts: tuple[StepForecast, ...]
    priors: Mapping[str, Prior]
    curve: StepCurve
    chances: Chances
    tariff: Tariff | None
    plan: JobPlan | None
    normals: Mapping[str, Array]
    held: tuple[StepPoint, ...]
    held_errors: Array


def world_keys(priors: Mapping[str, Prior]) -> list[str]:
    """List what is not known of a design.

    Parameters
    ----------
    priors : mapping of str to Prior
        Result of `design_priors`.

    Returns
    -------
    list of str
        Keys of the worlds.
    """
    return [*(prior_key(p) for p in priors.values() if p.low < p.high), SLOW, PRICE]


def key_name(key: str) -> str:
    """Name what is not known by one word or two.

    Parameters
    ----------
    key : str
        A key of `Outlook.normals`.

    Returns
    -------
    str
        The prior's name, ``price`` or ``slow accelerators``.
    """
    return key if key in {SLOW, PRICE} else key.split(" ", maxsplit=1)[0]


def draw_normals(keys: Iterable[str], seed: int, n_world: int) -> dict[str, Array]:
    """Draw where each world lies in what is not known.

    Parameters
    ----------
    keys : iterable of str
        What is not known.
    seed : int
        Seed of all; each key has a generator of its own, so that designs share what both do not know.
    n_world : int
        Worlds.

    Returns
    -------
    dict of str to ndarray of float, shape (n_world,)
        Standard normals.
    """
    return {
        key: np.random.default_rng([seed, crc32(key.encode())]).standard_normal(n_world)
        for key in keys
    }


def look_ahead(  # noqa: PLR0913 - who waits is told what is replayed, beside what is asked
    designs: Sequence[Design],
    priors: Mapping[str, Prior],
    own: Design,
    *,
    worlds: tuple[int, int] = (0, 512),
    measured: Sequence[Measured] = (),
    held: Sequence[Design] = (),
    progress: Callable[[str], None] = lambda _: None,
) -> Outlook:
    """Replay a design at each size and sample the worlds that it leaves open.

    Parameters
    ----------
    designs : sequence of Design
        The design at each size, growing.
    priors : mapping of str to Prior
        What stands for what it leaves open.
    own : Design
        The design at the size that its evaluations and steps are told for.
    worlds : (int, int)
        Seed of all draws, and how many worlds.
    measured : sequence of Measured
        Steps that were measured, which the worlds must agree with.
    held : sequence of Design
        Designs that ran too, which nothing is set by.
    progress : callable of str
        Told which size begins.

    Returns
    -------
    Outlook
        Curves and chances.

    Raises
    ------
    UsageError
        If there is no size, the seed is negative, or there are fewer than two worlds.
    """
    seed, n_world = worlds
    if not designs or seed < 0 or n_world < 2:
        raise UsageError("forecast: give one size or more, a seed from 0, and two worlds or more.")
    normals = draw_normals(world_keys(priors), seed, n_world)
    replayed = []
    for place, design in enumerate(designs, 1):
        size = design.cluster.accelerators
        progress(f"replaying {size:,} accelerators ({place} of {len(designs)})")
        replayed.append(step_point(design, priors))
    points, forecasts = zip(*replayed, strict=True)
    ran = tuple(step_point(design, priors)[0] for design in held)
    n = np.array([design.cluster.accelerators for design in (*designs, *held)], dtype=np.int64)
    all_errors = _errors((n, (*points, *ran)), (normals, seed, n_world), priors, measured)
    n, errors = n[: len(points)], all_errors[:, : len(points)]
    device = shipped_devices()[own.cluster.device]
    drawn = drawn_values(priors, normals)
    curve = _completed(curve_of_points(n, points, errors), own, device, (drawn, normals))
    return Outlook(
        tuple(designs), points, forecasts, priors, curve,
        _chances(n, (own, designs), (priors, drawn, normals), seed),
        tariff_of(own, priors["pue"].value),
        _plan(own, priors),
        normals,
        ran,
        _measurable(all_errors[:, len(points) :], seed),
    )  # fmt: skip


def _chances(
    n: NDArray[np.int64],
    job: tuple[Design, Sequence[Design]],
    worlds: tuple[Mapping[str, Prior], Mapping[str, Array], Mapping[str, Array]],
    seed: int,
) -> Chances:
    """Draw what happens to the job, and how many steps it takes to its target."""
    (own, designs), (priors, drawn, normals) = job, worlds
    chances = chances_at(n, own, drawn, normals, pue=priors["pue"].value)
    if own.convergence is None:
        return chances
    batches = [batch_of(design).sequences for design in (own, *designs)]
    off = draw_steps(own.convergence, batches, seed, len(chances.startup_s))
    return converging_chances(chances, drawn["convergence_error"], off)


def _measurable(errors: Array, seed: int) -> Array:
    """Add what a measurement of a step is off by itself."""
    rng = np.random.default_rng([seed, crc32(b"measurements")])
    return np.asarray(errors + LEAST_ERROR * rng.standard_normal(errors.shape))


def priced_of(outlook: Outlook) -> dict[str, Array]:
    """Work out every quantity of an outlook.

    Parameters
    ----------
    outlook : Outlook
        Curves and chances.

    Returns
    -------
    dict of str to ndarray of float, shape (n_world, n_size)
        As `price_curve` does, and ``accelerator_s_per_unit``.
    """
    curve = outlook.curve
    priced = price_curve(curve, outlook.tariff, plan=outlook.plan, chances=outlook.chances)
    return priced | {"accelerator_s_per_unit": curve.n / priced["throughput_per_s"]}


def paid_shares(outlook: Outlook, priced: Mapping[str, Array]) -> dict[str, Array]:
    """Split the time that is paid: steps by what limits them, failures, start-up.

    Parameters
    ----------
    outlook : Outlook
        Curves and chances.
    priced : mapping of str to ndarray of float, shape (n_world, n_size)
        Result of `priced_of`.

    Returns
    -------
    dict of str to ndarray of float, shape (n_size,)
        Shares that sum to 1 at each size, of medians; start-up holds evaluations, and is left out where
        the length of the job is not known.
    """
    ettr = np.median(priced["ettr_ratio"], axis=0)
    startup = np.zeros(len(outlook.curve.n))
    if outlook.plan is not None:
        steps = outlook.plan.n_step(outlook.curve.work)
        stepping = steps * np.median(outlook.curve.step_s, axis=0) / ettr
        startup = np.maximum(1 - stepping / np.median(priced["job_s"], axis=0), 0.0)
    names = outlook.curve.limitation
    paid = np.round(outlook.curve.share * ettr * (1 - startup), 12) + 0.0
    shares = dict(zip(names, paid, strict=True))
    shares["failures"] = (1 - ettr) * (1 - startup)
    return shares if outlook.plan is None else shares | {"startup": startup}


def _errors(
    at: tuple[NDArray[np.int64], tuple[StepPoint, ...]],
    draws: tuple[Mapping[str, Array], int, int],
    priors: Mapping[str, Prior],
    measured: Sequence[Measured],
) -> Array:
    """Draw errors at the sizes and at what was measured, and keep those that agree with it."""
    (n, points), (normals, seed, n_world) = at, draws
    seen = [step_point(one.design, priors)[0] for one in measured]
    everywhere = np.concatenate([n, [one.design.cluster.accelerators for one in measured]])
    rng = np.random.default_rng([seed, crc32(b"sizes")])
    smooth = smooth_normals(everywhere.astype(np.int64), rng, n_world)
    errors = step_errors([*points, *seen], smooth, normals)
    return condition(errors, len(n), [one.error for one in measured], rng)


def _plan(own: Design, priors: Mapping[str, Prior]) -> JobPlan | None:
    if converging(own) is None:
        return None
    variation = priors["step_variation"].value
    # Of evaluations alone, so that a closed form will do.
    step_s = step_seconds(own, {}) * slowdown(own, variation, 1.0)
    return plan_of(own, work_of(own)[0], step_s, priors["startup"].value)


def drawn_values(priors: Mapping[str, Prior], normals: Mapping[str, Array]) -> dict[str, Array]:
    """Give each prior its value in each world, none below 0.

    Parameters
    ----------
    priors : mapping of str to Prior
        What stands for what is not known.
    normals : mapping of str to ndarray of float, shape (n_world,)
        Where each world lies in it.

    Returns
    -------
    dict of str to ndarray of float, shape (n_world,) or (1,)
        By name; one value where there is no spread.
    """
    found = {}
    for name, prior in priors.items():
        share = normals.get(prior_key(prior), np.zeros(1)) / NORMAL_95
        side = np.where(share < 0, prior.value - prior.low, prior.high - prior.value)
        found[name] = np.maximum(prior.value + share * side, 0.0)
    return found


def _completed(
    curve: StepCurve,
    own: Design,
    device: Device,
    worlds: tuple[Mapping[str, Array], Mapping[str, Array]],
) -> StepCurve:
    """Add slow accelerators and power to sampled steps."""
    drawn, normals = worlds
    place = normal_cdf(normals[SLOW])[:, None]
    step_s = curve.step_s * slow_ratio(own.noise, curve.n, place)
    busy = sum(
        (
            curve.share[curve.limitation.index(name)]
            for name in OWN_WORK
            if name in curve.limitation
        ),
        np.zeros(len(curve.n)),
    )
    cap = own.cluster.power_cap
    idle, full = np.broadcast_arrays(drawn["idle_power_ratio"], drawn["busy_power_ratio"])
    rows = [
        power_of(device, {"idle_power_ratio": i, "busy_power_ratio": b}, cap).power_w(busy, curve.n)
        for i, b in zip(idle.tolist(), full.tolist(), strict=True)
    ]
    return replace(curve, step_s=step_s, power_w=np.stack(rows))
