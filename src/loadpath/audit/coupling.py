"""The coupling matrix of an audit as a sparse matrix, by rank, stage, replica, host or communicator."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.errors import UsageError

__all__ = ["BY", "CouplingMatrix", "coupling_matrix"]

BY = ("rank", "stage", "replica", "host", "communicator")
"""What the columns (and, but for communicators, the rows) may stand for."""


@dataclass(frozen=True, slots=True)
class CouplingMatrix:
    """Exposed seconds that each column waited because of each row, as coordinates of its entries.

    Attributes
    ----------
    cause, waiter : tuple of str
        What rows and columns stand for.
    row, column : (n_entry,) arrays of int64
        Places in `cause` and `waiter`, by row, then column; each pair once.
    seconds : (n_entry,) array of float64
        Waiting over all steps, above 0.
    """

    cause: tuple[str, ...]
    waiter: tuple[str, ...]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    seconds: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return len(self.cause), len(self.waiter)


def coupling_matrix(
    job: CoupledJob, tables: Mapping[str, pl.DataFrame], *, by: str, transitive: bool
) -> CouplingMatrix:
    """Sum the coupling tables.

    Parameters
    ----------
    job : CoupledJob
        The audited job.
    tables : mapping of str to polars.DataFrame
        Tables ``coupling`` and ``coupling_group``.
    by : {"rank", "stage", "replica", "host", "communicator"}
        What rows and columns are; by communicator, rows are ranks and columns are where was waited.
    transitive : bool
        Whether a cause is where the walk back ends, or the rank that arrived last.

    Returns
    -------
    CouplingMatrix
        Entries above 0.

    Raises
    ------
    UsageError
        If `by` is none of these, or no conclusion across ranks was drawn.
    """
    if by not in BY:
        raise UsageError(f"There is no coupling by {by!r}. Choose one of {', '.join(BY)}.")
    if tables["limitation"].is_empty():
        raise UsageError(
            "No conclusion across ranks is drawn from this recording; see the verdict."
        )
    if by == "host" and (job.rank["host"] == "").any():
        raise UsageError("Hosts of some ranks are unknown. Audit the sources again with --hosts.")
    place = _rank_places(job, "rank" if by == "communicator" else by)
    if by == "communicator":
        table, column = tables["coupling_group"], "communicator"
        names = dict(job.communicator.select("communicator", "name").iter_rows())
        of_waiter = {number: name or str(number) for number, name in names.items()} | {-1: "none"}
    else:
        table, column, of_waiter = tables["coupling"], "waiter", place
    seconds = pl.col("transitive_s" if transitive else "direct_s")
    entries = table.filter(seconds > 0).select(
        pl.col("cause").replace_strict(place, return_dtype=pl.String),
        pl.col(column).replace_strict(of_waiter, return_dtype=pl.String).alias("waiter"),
        seconds.alias("seconds"),
    )
    return _coordinates(entries, _labels(place), _labels(of_waiter))


def _rank_places(job: CoupledJob, by: str) -> dict[int, str]:
    """Name what each rank belongs to."""
    if by in {"rank", "host"}:
        return dict(job.rank.select("rank", pl.col(by).cast(pl.String).alias("place")).iter_rows())
    first = job.op.group_by("rank").agg(pl.col(by).first().cast(pl.String))
    return dict(first.sort("rank").iter_rows())


def _labels(places: Mapping[int, str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(places[key] for key in sorted(places)))


def _coordinates(
    entries: pl.DataFrame, cause: tuple[str, ...], waiter: tuple[str, ...]
) -> CouplingMatrix:
    """Give entries places, and sum what falls on one in the order of the rows."""
    row, column = (
        entries[name].replace_strict(names, range(len(names)), return_dtype=pl.Int64).to_numpy()
        for name, names in (("cause", cause), ("waiter", waiter))
    )
    place, number = np.unique(row * len(waiter) + column, return_inverse=True)
    seconds = np.bincount(number, entries["seconds"].to_numpy(), place.size).astype(np.float64)
    return CouplingMatrix(cause, waiter, place // len(waiter), place % len(waiter), seconds)
