"""Rows of the table of stability."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import polars as pl

from loadpath.diagnose.resampling import Estimate
from loadpath.tables.results import STABILITY

__all__ = ["NONE_OF_IT", "NOTHING", "Row", "row", "stability_table", "under"]

NOTHING = Estimate(float("nan"), float("nan"), float("nan"))
"""A figure that is not assessed."""
NONE_OF_IT = "not assessed: the recording has none of it"


NO_WORK = "not assessed: the steps hold no work that it could be taken of"


class Row(NamedTuple):
    """A row of table `STABILITY`; fields as there."""

    load: str
    factor: float
    quantity: str
    by: str
    key: str
    value: float
    low: float
    high: float
    unit: str
    basis: str


def row(
    quantity: str,
    estimate: Estimate,
    *,
    by: str = "job",
    key: str = "",
    unit: str = "ratio",
    basis: str = "replayed",
) -> Row:
    """Make a row of the job as recorded.

    Parameters
    ----------
    quantity : str
        Name of the figure.
    estimate : Estimate
        The figure and its interval.
    by, key : str
        Part of the job.
    unit : str
        ``ratio`` or ``s``.
    basis : str
        How it was got, or why it is not assessed; where it says neither and there is no figure, the
        record holds nothing to take it of.

    Returns
    -------
    Row
        The row.
    """
    if not np.isfinite(estimate.value) and ":" not in basis:
        basis = NONE_OF_IT
    return Row("recorded", 1.0, quantity, by, key, *estimate, unit, basis)


def under(load: str, factor: float, rows: Iterable[Row]) -> list[Row]:
    """Say that rows are of a job under load.

    Parameters
    ----------
    load : str
        What was made heavier.
    factor : float
        How many times.
    rows : iterable of Row
        Rows.

    Returns
    -------
    list of Row
        The same rows of that load.
    """
    return [r._replace(load=load, factor=factor) for r in rows]


def stability_table(rows: Iterable[Row]) -> pl.DataFrame:
    """Make a table of rows; what is not a number is empty, and its basis says why.

    Parameters
    ----------
    rows : iterable of Row
        Rows.

    Returns
    -------
    polars.DataFrame
        Table `STABILITY`.
    """
    frame = pl.DataFrame(list(rows), schema=STABILITY.schema, orient="row")
    known = frame.with_columns(pl.col("value", "low", "high").fill_nan(None))
    steps = known.filter(quantity="n_steps")["value"]
    few = "one step" if not steps.is_empty() and steps[0] < 2 else "one figure of all steps"
    basis = pl.col("basis")
    said = (
        pl.when(pl.col("value").is_null() & basis.is_in(["measured", "replayed", "modelled"]))
        .then(pl.lit(NO_WORK))
        .when(pl.col("value").is_not_null() & pl.col("low").is_null())
        .then(basis + f"; no interval: {few}")
        .otherwise(basis)
    )
    return STABILITY.build(known.with_columns(basis=said))
