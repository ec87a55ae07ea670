"""What could be decided: nothing, another size, an improvement, or its equal in size."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.forecast.levers import IMPROVEMENTS, between, pull_levers
from loadpath.forecast.outlook import Outlook
from loadpath.forecast.worlds import band_of
from loadpath.tables.schema import Column, TableSchema

__all__ = ["LEVEL", "OPTION", "Position", "lay_out_options"]

Array = NDArray[np.float64]
LEVEL = 0.9
"""Share of the worlds inside a band."""

OPTION = TableSchema(
    "option",
    "something that could be decided",
    (
        Column("option", pl.String, "what"),
        Column("n", pl.Float64, "accelerators"),
        Column("cost", pl.Float64, "cost of a unit of work: half of the worlds are below"),
        Column("cost_low", pl.Float64, "lower edge of the band"),
        Column("cost_high", pl.Float64, "upper edge of the band"),
        Column("job_s", pl.Float64, "median time of the whole job, s", nullable=True),
        Column("over_limit_ratio", pl.Float64, "share of the worlds in which a unit costs more than the limit"),
        Column("worth", pl.Float64, "most it may cost for the job so that adding accelerators is no cheaper",
               nullable=True),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Position:
    """Where a decision is made.

    Attributes
    ----------
    outlook : Outlook
        Curves and chances.
    now : int
        Place of the present size among the sizes.
    priced : mapping of str to ndarray of float, shape (n_world, n_size)
        Every quantity in every world.
    figure : str
        The quantity that counts as cost.
    limit : float
        What a unit may cost.
    """

    outlook: Outlook
    now: int
    priced: Mapping[str, Array]
    figure: str
    limit: float


class _Option(NamedTuple):
    name: str
    n: float
    cost: Array
    job_s: Array | None
    worth: float | None = None


def lay_out_options(position: Position, improvements: pl.DataFrame) -> pl.DataFrame:
    """Put what could be decided side by side.

    Parameters
    ----------
    position : Position
        Where the decision is made.
    improvements : polars.DataFrame
        Table `SUBSTITUTION` there.

    Returns
    -------
    polars.DataFrame
        Table `OPTION`: as designed, the cheapest size, the largest within the limit, the improvement
        with the largest gain, and as many accelerators as do the same.
    """
    cost = position.priced[position.figure]
    paying = np.flatnonzero(np.mean(cost <= position.limit, axis=0) >= 0.5)
    options = [
        _at_size(position, "do nothing: as designed", position.now),
        _at_size(position, "the cheapest size", int(np.median(cost, axis=0).argmin())),
    ]
    if len(paying):
        options.append(_at_size(position, "the largest size looked at that pays", int(paying[-1])))
    best = improvements.row(0, named=True)
    if best["gain_ratio"] > 0:
        options += _fix_and_buy(position, best)
    rows = [
        (one.name, one.n, *band_of(one.cost, LEVEL),
         None if one.job_s is None else float(np.median(one.job_s)),
         float(np.mean(one.cost > position.limit)), one.worth)
        for one in options
    ]  # fmt: skip
    return OPTION.validate(pl.DataFrame(rows, schema=OPTION.schema, orient="row"))


def _at_size(position: Position, name: str, place: int) -> _Option:
    job = position.priced.get("job_s")
    n = float(position.outlook.curve.n[place])
    cost = position.priced[position.figure][:, place]
    return _Option(name, n, cost, None if job is None else job[:, place])


def _fix_and_buy(position: Position, best: Mapping[str, Any]) -> list[_Option]:
    outlook, priced = position.outlook, position.priced
    n = outlook.curve.n.astype(np.float64)
    present, scales = float(n[position.now]), IMPROVEMENTS[best["improvement"]]

    def improved(name: str) -> Array:
        outcome, at = pull_levers(outlook, position.now, name)
        return outcome({**at, **scales})

    times = improved("job_s") if "job_s" in priced else None
    words = f"fix: {best['improvement']}"
    options = [_Option(words, present, improved(position.figure), times, best["worth"])]
    if best["n_added"]:
        size = np.array([present + best["n_added"]])
        cost = between(n, priced[position.figure], size)[:, 0]
        times = between(n, priced["job_s"], size)[:, 0] if "job_s" in priced else None
        options.append(_Option("buy: as many as do the same", float(size[0]), cost, times))
    return options
