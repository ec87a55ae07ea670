"""Candidates side by side: what choosing wrongly costs, and what a pilot run is worth."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import UsageError
from loadpath.forecast.worlds import band_of
from loadpath.tables.schema import Column, TableSchema

__all__ = ["CANDIDATE", "Pilot", "compare_candidates", "value_of_pilot"]

Array = NDArray[np.float64]

CANDIDATE = TableSchema(
    "candidate",
    "one of the designs to choose from",
    (
        Column("candidate", pl.String, "its name"),
        Column("mean", pl.Float64, "expected cost"),
        Column("median", pl.Float64, "half of the worlds are below"),
        Column("low", pl.Float64, "lower edge of the band"),
        Column("high", pl.Float64, "upper edge of the band"),
        Column("best_ratio", pl.Float64, "share of the worlds in which it costs least"),
        Column(
            "expected_loss", pl.Float64, "what choosing it costs more than the best, on average"
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Pilot:
    """What is known after a pilot run, on average over what it may show.

    Attributes
    ----------
    value : float
        Expected saving by choosing after the pilot instead of now, in the unit of the cost; what it
        costs itself is not taken off.
    most : float
        Expected saving if everything were known: no pilot is worth more.
    width_ratio : float
        Width of the band of the cost of today's best candidate after over before.
    changes_ratio : float
        Share of what it may show that changes the choice.
    """

    value: float
    most: float
    width_ratio: float
    changes_ratio: float


def compare_candidates(costs: Mapping[str, ArrayLike], level: float = 0.9) -> pl.DataFrame:
    """Put candidates side by side over the same worlds.

    Parameters
    ----------
    costs : mapping of str to array_like, shape (n_sample,)
        Cost of each candidate; entry i of all belongs to the same world.
    level : float
        Share of the worlds inside the band.

    Returns
    -------
    polars.DataFrame
        Table `CANDIDATE`, the lowest expected cost first.

    Raises
    ------
    UsageError
        If there is no candidate, or they were not sampled in the same worlds.

    Examples
    --------
    >>> table = compare_candidates({"a": [4.0, 6.0], "b": [5.0, 5.5]})
    >>> table.select("candidate", "mean", "best_ratio", "expected_loss").rows()
    [('a', 5.0, 0.5, 0.25), ('b', 5.25, 0.5, 0.5)]
    """
    table = _matrix(costs)
    loss = table - table.min(axis=1, keepdims=True)
    best = np.bincount(table.argmin(axis=1), minlength=table.shape[1]) / len(table)
    rows = [
        (name, float(table[:, i].mean()), *band_of(table[:, i], level), float(best[i]),
         float(loss[:, i].mean()))
        for i, name in enumerate(costs)
    ]  # fmt: skip
    rows.sort(key=lambda row: (row[1], row[0]))
    return CANDIDATE.validate(pl.DataFrame(rows, schema=CANDIDATE.schema, orient="row"))


def value_of_pilot(
    costs: Mapping[str, ArrayLike],
    shown: ArrayLike,
    spread: float,
    rng: np.random.Generator,
    *,
    n_pilot: int = 500,
) -> Pilot:
    """Say what a pilot run would be worth before it is made.

    Parameters
    ----------
    costs : mapping of str to array_like, shape (n_sample,)
        As in `compare_candidates`.
    shown : array_like, shape (n_sample,)
        What the pilot would show in each world without its own noise: such as the logarithm of the step time
        at the pilot's size, a column of a sampled curve.
    spread : float
        Standard deviation of the pilot's noise, in the unit of `shown`: that of one step over the root of
        the steps, for a logarithm of step time.
    rng : numpy.random.Generator
        Source of randomness.
    n_pilot : int
        Pilots that are imagined.

    Returns
    -------
    Pilot
        Value, its bound, and how much the band narrows.

    Raises
    ------
    UsageError
        If worlds do not match, or the spread is not above 0.

    References
    ----------
    .. [1] H. Raiffa, R. Schlaifer, "Applied Statistical Decision Theory", 1961: expected value of sample
       information; here each imagined pilot weighs the sampled worlds by their likelihood.

    Examples
    --------
    A pilot that shows exactly which of two worlds is ours is worth all there is to know:

    >>> costs = {"a": [4.0, 6.0], "b": [5.0, 5.5]}
    >>> pilot = value_of_pilot(costs, [0.0, 1.0], 1e-3, np.random.default_rng(0))
    >>> pilot.most, round(pilot.value, 2), round(pilot.width_ratio, 2)
    (0.25, 0.25, 0.0)
    """
    table = _matrix(costs)
    signal = np.asarray(shown, dtype=np.float64)
    if len(signal) != len(table) or not spread > 0:
        raise UsageError("pilot: give what it shows in every world, and a spread above 0.")
    means = table.mean(axis=0)
    now = int(means.argmin())
    # Each imagined pilot is made in one of the worlds, drawn evenly, so that few suffice.
    made_in = rng.permutation(np.resize(np.arange(len(table)), n_pilot))
    readings = signal[made_in] + spread * rng.standard_normal(n_pilot)
    distance = (readings[:, None] - signal) / spread
    weight = np.exp(-0.5 * (distance**2 - np.square(distance).min(axis=1, keepdims=True)))
    weight /= weight.sum(axis=1, keepdims=True)
    expected = weight @ table
    saved = expected[:, now] - expected.min(axis=1)
    most = max(float(means[now] - table.min(axis=1).mean()), 0.0)
    before = band_of(table[:, now])
    after = _weighted_width(table[:, now], weight)
    width = before.high - before.low
    return Pilot(
        float(min(saved.mean(), most)),
        most,
        float(after.mean() / width) if width > 0 else 1.0,
        float(np.mean(expected.argmin(axis=1) != now)),
    )


def _weighted_width(values: Array, weight: Array, level: float = 0.9) -> Array:
    """Width of the band of each row of weights."""
    order = np.argsort(values)
    below = np.cumsum(weight[:, order], axis=1)
    edges = [(1 - level) / 2, (1 + level) / 2]
    low, high = (values[order][np.argmax(below >= edge - 1e-12, axis=1)] for edge in edges)
    return np.asarray(high - low, dtype=np.float64)


def _matrix(costs: Mapping[str, ArrayLike]) -> Array:
    """Costs by world and candidate."""
    columns = [np.asarray(values, dtype=np.float64) for values in costs.values()]
    if not columns or len({column.shape for column in columns}) > 1 or columns[0].ndim != 1:
        raise UsageError("candidates: give one or more, all sampled in the same worlds.")
    return np.stack(columns, axis=1)
