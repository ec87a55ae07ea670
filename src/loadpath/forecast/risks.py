"""What may go wrong with a decision on a size: how likely, how dear, seen by what, watched by whom."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.forecast.chances import PRICE
from loadpath.forecast.drivers import DRIVER
from loadpath.forecast.inversion import Limits
from loadpath.forecast.outlook import drawn_values, key_name
from loadpath.forecast.priors import Prior
from loadpath.tables.schema import Column, TableSchema
from loadpath.units import format_number

__all__ = ["RISK", "Stake", "risk_register"]

Array = NDArray[np.float64]
WORST = 0.1
"""Share of the worlds that stands for a prior that turns out badly."""
N_DRIVER = 5

RISK = TableSchema(
    "risk",
    "something that may go wrong with the present size",
    (
        Column("risk", pl.String, "what"),
        Column("likelihood_ratio", pl.Float64, "share of the worlds in which it happens"),
        Column("impact_ratio", pl.Float64, "what it adds to the cost of a unit of work there, as a share"),
        Column("impact", pl.Float64, "the same for the whole job in money; empty without prices and steps",
               nullable=True),
        Column("trigger", pl.String, "by what it would be seen"),
        Column("owner", pl.String, "who would see it"),
    ),
)  # fmt: skip

ENGINEER, NETWORK = "performance engineer", "network architect"
OPERATIONS, FINANCE, FACILITIES = "operations", "finance", "facilities"
OWNERS = (
    (("link_", "network_", "collective_"), NETWORK),
    (("node_failures", "job_failures", "restart", "checkpoint", "startup", "slow", "step_variation"), OPERATIONS),
    (("idle_power", "busy_power", "pue"), FACILITIES),
    ((PRICE,), FINANCE),
)  # fmt: skip
"""Who watches what is not known, by how its name begins; all else is the engineer's."""


@dataclass(frozen=True, slots=True)
class Stake:
    """A decision on a size, in all worlds.

    Attributes
    ----------
    priced : mapping of str to ndarray of float, shape (n_world, n_size)
        Every quantity.
    figure : str
        The quantity that counts as cost.
    limit : float
        What a unit may cost.
    now : int
        Place of the present size.
    priors : mapping of str to Prior
        What stands for what is not known.
    normals : mapping of str to ndarray of float, shape (n_world,)
        Where each world lies in it.
    drivers : polars.DataFrame
        Table `DRIVER`.
    """

    priced: Mapping[str, Array]
    figure: str
    limit: float
    now: int
    priors: Mapping[str, Prior]
    normals: Mapping[str, Array]
    drivers: pl.DataFrame


def risk_register(stake: Stake, limits: Limits) -> pl.DataFrame:
    """List what may go wrong with the present size.

    Parameters
    ----------
    stake : Stake
        The decision.
    limits : Limits
        What counts as too dear.

    Returns
    -------
    polars.DataFrame
        Table `RISK`, the largest product of likelihood and impact first; what happens in no world is left
        out.
    """
    rows = [*_of_cost(stake, limits), *_of_priors(stake)]
    rows.sort(key=lambda row: (-row[1] * row[2], row[0]))
    return RISK.validate(pl.DataFrame(rows, schema=RISK.schema, orient="row"))


Row = tuple[str, float, float, float | None, str, str]


def _row(
    stake: Stake, what: str, worlds: NDArray[np.bool_], excess: Array
) -> tuple[str, float, float, float | None]:
    """Give likelihood and impact: the mean excess where it happens, in costs of the median world."""
    ratio = float(np.mean(excess[worlds]) / np.median(stake.priced[stake.figure][:, stake.now]))
    return what, float(worlds.mean()), ratio, _money(stake, ratio)


def _money(stake: Stake, ratio: float) -> float | None:
    if "job_cost" not in stake.priced:
        return None
    return ratio * float(np.median(stake.priced["job_cost"][:, stake.now]))


def _of_cost(stake: Stake, limits: Limits) -> Iterator[Row]:
    """Compare the present size with the limit and with smaller ones, in each world."""
    cost, speed = stake.priced[stake.figure], stake.priced["throughput_per_s"]
    here = cost[:, stake.now]
    over = here > stake.limit
    if over.any():
        told = "cost of a unit above the limit in the first weeks"
        yield (
            *_row(stake, "a unit costs more than the limit", over, here - stake.limit),
            told,
            FINANCE,
        )
    if not stake.now:
        return
    best = cost[:, : stake.now].min(axis=1)
    beyond = here > limits.worst_ratio * best
    if beyond.any():
        told = f"a unit costs over {limits.worst_ratio:g} times that of a smaller run"
        yield *_row(stake, "cost has inverted below this size", beyond, here - best), told, ENGINEER
    slower = speed[:, stake.now] < speed[:, : stake.now].max(axis=1)
    if slower.any():
        told = "less work a second than a smaller run"
        yield *_row(stake, "a smaller size is faster", slower, here - best), told, ENGINEER


def _of_priors(stake: Stake) -> Iterator[Row]:
    """Let what drives the band most turn out badly."""
    cost = stake.priced[stake.figure][:, stake.now]
    by_name = {key_name(key): drawn for key, drawn in stake.normals.items()}
    values = drawn_values(stake.priors, stake.normals)
    for name in DRIVER.validate(stake.drivers)["prior"].head(N_DRIVER).to_list():
        drawn = by_name[name]
        up = float(np.corrcoef(drawn, cost)[0, 1]) >= 0
        place = drawn if up else -drawn
        worst = place >= np.quantile(place, 1 - WORST, method="lower")
        excess = cost - np.median(cost)
        if np.mean(excess[worst]) <= 0:
            continue
        told = _trigger(stake, name, values.get(name), worst, up=up)
        yield *_row(stake, f"{name} turns out badly", worst, excess), told, _owner(name)


def _trigger(
    stake: Stake, name: str, values: Array | None, worst: NDArray[np.bool_], *, up: bool
) -> str:
    """Say from which value on a prior is as bad as that."""
    if values is None or values.size != worst.size:
        return "a higher rate in the contract" if name == PRICE else "a slow accelerator in the job"
    edge = values[worst].min() if up else values[worst].max()
    return f"{name} {'above' if up else 'below'} {format_number(edge)} {stake.priors[name].unit}"


def _owner(name: str) -> str:
    return next((who for starts, who in OWNERS if name.startswith(starts)), ENGINEER)
