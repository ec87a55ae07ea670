"""Where a job pays: cuts through what may change, break-evens, elasticities."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.errors import UsageError
from loadpath.forecast.worlds import Flag, band_of, first_above, flag_of
from loadpath.tables.schema import Column, TableSchema

__all__ = ["CUT", "ELASTICITY", "break_even", "cut", "elasticities", "two_way_cut"]

Array = NDArray[np.float64]
Outcome = Callable[[Mapping[str, float]], Array]
"""Sampled figure (cost, time) for given parameters: the same worlds at every call."""

CUT = TableSchema(
    "cut",
    "the outcome with one or two parameters changed and the others left",
    (
        Column("parameter", pl.String, "what is changed, joined by x where it is two"),
        Column("value", pl.Float64, "its value"),
        Column("other_value", pl.Float64, "value of the second parameter", nullable=True),
        Column("median", pl.Float64, "outcome: half of the worlds are below"),
        Column("low", pl.Float64, "lower edge of the band"),
        Column("high", pl.Float64, "upper edge of the band"),
        Column("viable_ratio", pl.Float64, "share of the worlds within the limit"),
    ),
)

ELASTICITY = TableSchema(
    "elasticity",
    "percent by which the outcome changes for one percent of a parameter",
    (
        Column("parameter", pl.String, "what is changed"),
        Column("median", pl.Float64, "half of the worlds are below"),
        Column("low", pl.Float64, "lower edge of the band"),
        Column("high", pl.Float64, "upper edge of the band"),
    ),
)


def cut(
    outcome: Outcome, at: Mapping[str, float], name: str, values: Sequence[float], *, limit: float
) -> pl.DataFrame:
    """Change one parameter and leave the others.

    Parameters
    ----------
    outcome : callable
        Figure in every sampled world for given parameters.
    at : mapping of str to float
        Parameters from which is departed.
    name : str
        Which one is changed.
    values : sequence of float
        To what.
    limit : float
        Budget: worlds at or below it are viable.

    Returns
    -------
    polars.DataFrame
        Table `CUT`, a row per value.

    Raises
    ------
    UsageError
        If there is no such parameter.

    Examples
    --------
    >>> cost = lambda p: p["price"] * np.array([90.0, 100.0, 110.0])
    >>> cut(cost, {"price": 1.0}, "price", [0.5, 1.0], limit=95.0)["viable_ratio"].round(
    ...     2
    ... ).to_list()
    [1.0, 0.33]
    """
    _check(at, [name])
    rows = [
        (name, float(value), None, *_summary(outcome({**at, name: value}), limit))
        for value in values
    ]
    return CUT.validate(pl.DataFrame(rows, schema=CUT.schema, orient="row"))


def two_way_cut(
    outcome: Outcome,
    at: Mapping[str, float],
    grid: Mapping[str, Sequence[float]],
    *,
    limit: float,
) -> pl.DataFrame:
    """Change two parameters together and leave the others.

    Parameters
    ----------
    outcome : callable
        As in `cut`.
    at : mapping of str to float
        As in `cut`.
    grid : mapping of str to sequence of float
        The two parameters and their values.
    limit : float
        As in `cut`.

    Returns
    -------
    polars.DataFrame
        Table `CUT`, a row per pair of values.

    Raises
    ------
    UsageError
        If there are not two parameters, or one does not exist.
    """
    _check(at, list(grid))
    if len(grid) != 2:
        raise UsageError(f"two-way cut: {len(grid)} parameters. Give two.")
    (first, firsts), (second, seconds) = grid.items()
    rows = [
        (f"{first} x {second}", float(a), float(b),
         *_summary(outcome({**at, first: a, second: b}), limit))
        for a in firsts for b in seconds
    ]  # fmt: skip
    return CUT.validate(pl.DataFrame(rows, schema=CUT.schema, orient="row"))


def break_even(
    outcome: Outcome, at: Mapping[str, float], name: str, values: Sequence[float], *, limit: float
) -> Flag | None:
    """Find the value of a parameter at which the limit is first passed.

    Parameters
    ----------
    outcome : callable
        As in `cut`.
    at : mapping of str to float
        As in `cut`.
    name : str
        Which parameter is changed.
    values : sequence of float
        Values above 0 in the order in which they are walked, away from the viable side; between them is
        interpolated over logarithms.
    limit : float
        As in `cut`.

    Returns
    -------
    Flag or None
        None where half of the worlds or more stay within the limit over all values.

    Raises
    ------
    UsageError
        If there is no such parameter, or a value is not above 0.

    Examples
    --------
    >>> cost = lambda p: p["price"] * np.array([100.0])
    >>> tried = np.geomspace(1, 4, 21).tolist()
    >>> round(break_even(cost, {"price": 1.0}, "price", tried, limit=250.0).n, 2)
    2.5
    """
    _check(at, [name])
    walked = np.asarray(values, dtype=np.float64)
    steps = np.diff(walked)
    if not (np.all(walked > 0) and len(walked) > 1 and (np.all(steps > 0) or np.all(steps < 0))):
        raise UsageError("break-even: give two values or more above 0, in order.")
    excess = np.stack([outcome({**at, name: value}) for value in walked], axis=1) - limit
    places = first_above(np.arange(len(walked), dtype=np.float64), excess)
    logs = np.interp(places, np.arange(len(walked)), np.log(walked))
    return flag_of(np.where(np.isfinite(places), logs, np.inf))


def elasticities(
    outcome: Outcome, at: Mapping[str, float], names: Sequence[str], *, step: float = 0.05
) -> pl.DataFrame:
    """Say what the outcome owes to each parameter: links, devices, prices, stability.

    Parameters
    ----------
    outcome : callable
        As in `cut`.
    at : mapping of str to float
        As in `cut`.
    names : sequence of str
        Parameters above 0, such as a scale of the noise for stability.
    step : float
        Half of the relative change that is tried.

    Returns
    -------
    polars.DataFrame
        Table `ELASTICITY`, the largest first.

    Raises
    ------
    UsageError
        If there is no such parameter, or it is not above 0.

    Examples
    --------
    >>> cost = lambda p: np.array([p["price"] * p["bandwidth"] ** -0.5])
    >>> elasticities(cost, {"price": 2.0, "bandwidth": 9.0}, ["bandwidth", "price"]).rows()
    [('price', 1.0, 1.0, 1.0), ('bandwidth', -0.5, -0.5, -0.5)]
    """
    _check(at, names)
    if wrong := [name for name in names if not at[name] > 0]:
        raise UsageError(f"elasticity: {', '.join(wrong)} not above 0. Give a scale instead.")
    width = 2 * np.log1p(step)
    rows = []
    for name in names:
        up, down = (
            outcome({**at, name: at[name] * factor}) for factor in (1 + step, 1 / (1 + step))
        )
        slopes = np.round(np.log(up / down) / width, 9)
        rows.append((name, *band_of(slopes)))
    rows.sort(key=lambda row: (-abs(row[1]), row[0]))
    return ELASTICITY.validate(pl.DataFrame(rows, schema=ELASTICITY.schema, orient="row"))


def _check(at: Mapping[str, float], names: Sequence[str]) -> None:
    if unknown := [name for name in names if name not in at]:
        known = ", ".join(at)
        raise UsageError(f"parameters: {', '.join(unknown)} unknown. There are {known}.")


def _summary(values: Array, limit: float) -> tuple[float, float, float, float]:
    return (*band_of(values), float(np.mean(values <= limit)))
