"""What a reader returns: the recorded tables of one job."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from loadpath.tables.recorded import CAVEAT, SYNCHRONISATION

__all__ = ["Recording", "caveat_table"]


@dataclass(frozen=True, slots=True)
class Recording:
    """One job as recorded, in declared tables.

    Attributes
    ----------
    source : {"op_table", "kineto"}
        Kind of record; it decides which builder couples the ops.
    op, lane, communicator, rank, step, caveat : polars.DataFrame
        Tables of `loadpath.tables`.
    inputs : tuple of (str, str, int)
        Name, SHA-256 and size in bytes of every file read.
    layout : mapping of str to int
        Declared parallel sizes (``dp_size``, ``pp_size``, ...), empty if unknown.
    synchronisation : polars.DataFrame
        Recorded waits between streams and of hosts; empty where none are recorded.
    """

    source: str
    op: pl.DataFrame
    lane: pl.DataFrame
    communicator: pl.DataFrame
    rank: pl.DataFrame
    step: pl.DataFrame
    caveat: pl.DataFrame
    inputs: tuple[tuple[str, str, int], ...] = ()
    layout: Mapping[str, int] = field(default_factory=dict)
    synchronisation: pl.DataFrame = field(default_factory=SYNCHRONISATION.empty)


def caveat_table(rows: Iterable[tuple[str, str, int]]) -> pl.DataFrame:
    """Make a caveat table.

    Parameters
    ----------
    rows : iterable of (str, str, int)
        Code, text and count of each doubt.

    Returns
    -------
    polars.DataFrame
        Table of schema `CAVEAT`; doubts that never occurred are left out.
    """
    kept = [row for row in rows if row[2] > 0]
    return CAVEAT.validate(pl.DataFrame(kept, schema=CAVEAT.schema, orient="row"))
