"""Links of a design from measured collectives: the priors with which its own collectives meet them."""

from collections.abc import Callable
from math import exp, log
from typing import get_args

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from loadpath.errors import UsageError
from loadpath.forecast.collective_fit import BULK_BYTES, usable_points
from loadpath.forecast.design import Design
from loadpath.forecast.devices import measured_priors, shipped_devices
from loadpath.forecast.fabric import Collective, collective_parts_s
from loadpath.forecast.priors import Prior, assume
from loadpath.forecast.rates import fabric_of
from loadpath.forecast.shifts import NORMAL_95
from loadpath.units import NS_PER_S

__all__ = ["LinkRates", "calibrate_links"]

Array = NDArray[np.float64]
INSIDE = ("link_ratio", "link_latency", "collective_latency")
BETWEEN = ("network_ratio", "network_latency")
"""Priors that groups of one node tell, and those that need groups of several."""
SCATTER = 0.1
"""Deviation of the logarithm of a measured time from the form, beyond which it counts less."""
ROUNDS, STEP = 60, 1e-5
"""Steps of a fit, at most, and the change of a logarithm at which it ends."""
STARTS = (1.0, 0.5, 0.25)
"""Shares of a bandwidth's prior from which a fit begins."""
FREEDOM = 3.0
"""Bands of a prior by which a fit may depart from it before it is held back."""


class LinkRates(Struct, frozen=True, kw_only=True):
    """Priors that measured collectives tell.

    Attributes
    ----------
    priors : dict of str to Prior
        With the band that the misfit leaves.
    n_point : int
        Times that they were fitted to.
    error_ratio, bulk_error_ratio : float
        Median size of the error on them; and of those from 16 MiB, or of all where there are none.
    untold : tuple of str
        Priors of links that nothing measured tells.
    """

    priors: dict[str, Prior]
    n_point: int
    error_ratio: float
    bulk_error_ratio: float
    untold: tuple[str, ...]


def calibrate_links(design: Design, points: pl.DataFrame) -> LinkRates:
    """Set the priors of links so that the design's collectives take what was measured.

    Bandwidths and latencies of a node are told by groups of one node, those of the network by groups of
    several; least squares of logarithms, held to the prior where few times tell.

    Parameters
    ----------
    design : Design
        Whose links were measured.
    points : polars.DataFrame
        Table `COLLECTIVE_POINT`; times with wrong values, and in-place ones where there are both, are
        left out.

    Returns
    -------
    LinkRates
        Priors, and how well they meet the times.

    Raises
    ------
    UsageError
        If no measured collective is one that a design has.
    """
    sound = _sound(points)
    if sound.is_empty():
        known = ", ".join(get_args(Collective))
        raise UsageError(
            f"no measured collective is one that a design has ({known}), on nodes of equally many ranks."
        )
    device = shipped_devices()[design.cluster.device]
    priors = assume(design.priors, measured_priors(device))
    found = dict(priors)
    told: list[str] = []
    errors = []
    for names, is_between in ((INSIDE, False), (BETWEEN, True)):
        part = sound.filter((pl.col("n_node") > 1) == is_between)
        if part.is_empty():
            continue
        found |= _fitted(design, found, names, part)
        errors.append(_misfit(design, found, part))
        told += names
    off, size = np.concatenate([e for e, _ in errors]), np.concatenate([s for _, s in errors])
    bulk = off[size >= BULK_BYTES] if np.any(size >= BULK_BYTES) else off
    return LinkRates(
        priors={name: found[name] for name in told},
        n_point=sound.height,
        error_ratio=float(np.median(np.abs(np.expm1(off)))),
        bulk_error_ratio=float(np.median(np.abs(np.expm1(bulk)))),
        untold=tuple(name for name in (*INSIDE, *BETWEEN) if name not in told),
    )


def _sound(points: pl.DataFrame) -> pl.DataFrame:
    one = ("collective", "n_rank", "n_node", "bytes")
    return (
        usable_points(points)
        .filter(
            pl.col("collective").cast(pl.String).is_in(get_args(Collective)),
            (pl.col("n_rank") > 1) & (pl.col("bytes") > 0) & (pl.col("duration_ns") > 0),
        )
        .with_columns(weight=1 / pl.len().over(one).sqrt())
    )


def _fitted(
    design: Design, priors: dict[str, Prior], names: tuple[str, ...], points: pl.DataFrame
) -> dict[str, Prior]:
    """Fit some priors; nine in ten errors of the fit (of ratios: on bulk) lie within their band."""
    start = np.log([priors[name].value for name in names])
    spread = np.array([np.log(priors[n].high / priors[n].low) / 2 / NORMAL_95 for n in names])
    spread = np.maximum(spread, 1e-3)
    weight = points["weight"].to_numpy()

    def residuals(moved: Array) -> Array:
        tried = priors | _moved(priors, names, start + moved)
        off, _ = _misfit(design, tried, points)
        return np.concatenate([weight * off / SCATTER, moved / (FREEDOM * spread)])

    # A bandwidth that is not the slowest has no slope: it is tried from below too.
    first = np.eye(len(names))[0]
    tried = [_descended(residuals, log(factor) * first) for factor in STARTS]
    values = start + min(tried, key=lambda moved: _loss(residuals(moved)))
    off, size = _misfit(design, priors | _moved(priors, names, values), points)
    return _moved(priors, names, values, (off, size))


def _loss(residuals: Array) -> float:
    """Half of the squares of small residuals, the size of large ones (soft L1)."""
    return float(np.sum(np.sqrt(1 + np.square(residuals)) - 1))


def _descended(residuals: Callable[[Array], Array], begin: Array) -> Array:
    """Lessen the loss by reweighted least squares, each step as far as it helps."""
    moved, damping = begin, 1e-3
    for _ in range(ROUNDS):
        now = residuals(moved)
        slope = np.stack(
            [(residuals(moved + STEP * axis) - now) / STEP for axis in np.eye(len(moved))], axis=1
        )
        weight = (1 + np.square(now)) ** -0.5
        normal = slope.T @ (weight[:, None] * slope)
        ahead = np.linalg.solve(
            normal + damping * np.diag(np.diag(normal)), -slope.T @ (weight * now)
        )
        better = _loss(residuals(moved + ahead)) < _loss(now)
        damping *= 0.3 if better else 10.0
        moved = moved + ahead if better else moved
        if np.abs(ahead).max() < STEP:
            break
    return moved


def _moved(
    priors: dict[str, Prior],
    names: tuple[str, ...],
    values: Array,
    missed: tuple[Array, Array] | None = None,
) -> dict[str, Prior]:
    """Give priors other values, and the band that the errors of a fit leave."""
    found = {}
    for name, log_value in zip(names, values.tolist(), strict=True):
        value, half = exp(log_value), 0.0
        if missed is not None:
            off, size = missed
            of_kind = (size >= BULK_BYTES) == name.endswith("_ratio")
            errors = off[of_kind] if of_kind.any() else off
            half = float(np.quantile(np.abs(errors), 0.9))
        old = priors[name]
        found[name] = Prior(
            name=name, value=value, low=value * exp(-half), high=value * exp(half), unit=old.unit,
            about=old.about, source="fitted to measured collectives",
        )  # fmt: skip
    return found


def _misfit(design: Design, priors: dict[str, Prior], points: pl.DataFrame) -> tuple[Array, Array]:
    """Give the logarithm of forecast over measured, and the bytes, of each time."""
    device = shipped_devices()[design.cluster.device]
    off, size = [], []
    shapes = ("collective", "n_rank", "n_node")
    for group in points.partition_by(shapes, maintain_order=True):
        kind, n_rank, n_node = group.select(shapes).row(0)
        fabric = fabric_of(design, device, priors, n_rank, near=n_rank // n_node)
        nbytes = group["bytes"].cast(pl.Float64).to_numpy()
        transfer, latency, _ = collective_parts_s(kind, nbytes, n_rank, n_rank // n_node, fabric)
        measured = group["duration_ns"].to_numpy() / NS_PER_S
        off.append(np.log((transfer + latency) / measured))
        size.append(nbytes)
    return np.concatenate(off), np.concatenate(size)
