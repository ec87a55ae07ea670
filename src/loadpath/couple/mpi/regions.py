"""Regions of the threads of each rank that are coupled, and what the threads say of each other."""

from typing import NamedTuple

import polars as pl

from loadpath.couple.mpi.teams import find_spans
from loadpath.tables import Recording

__all__ = ["Regions", "nested_regions"]


class Regions(NamedTuple):
    """Regions of the threads that are coupled, and what the threads say of each other.

    Attributes
    ----------
    region : polars.DataFrame
        Table `OP`, with ``row``: by rank and thread, the outer before the inner.
    said : polars.DataFrame
        Table `SYNCHRONISATION`, on the same times.
    span : polars.DataFrame
        Result of `find_spans`, with the name of the ``region`` that forks.
    n_left : int
        Regions of further threads that nothing couples.
    """

    region: pl.DataFrame
    said: pl.DataFrame
    span: pl.DataFrame
    n_left: int


def nested_regions(recording: Recording) -> Regions:
    """List the regions that are coupled; times are from 0 on.

    Parameters
    ----------
    recording : Recording
        Regions as ops.

    Returns
    -------
    Regions
        Those of the first thread of each rank, and of others while a recorded fork or creation couples
        them.
    """
    op = recording.op.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    earliest = min(int(op["start_ns"].min() or 0), 0)  # type: ignore[arg-type]
    shifted = pl.col("start_ns") - earliest
    op, said = op.with_columns(shifted), recording.synchronisation.with_columns(shifted)
    span = find_spans(said).join(_names(op), on="correlation", how="left", maintain_order="left")
    span = span.with_columns(pl.col("region").fill_null("a team"))
    within = _spanned(op.filter(pl.col("lane") > 0), span.filter(~pl.col("forks")))
    coupled = pl.concat([op.filter(pl.col("lane") == 0), within.select(op.columns)])
    n_left = op.filter(pl.col("lane") > 0).height - within.height
    in_order = ("rank", "lane", "start_ns", pl.col("duration_ns").neg(), "row")
    return Regions(coupled.sort(*in_order), said, span, n_left)


def _names(op: pl.DataFrame) -> pl.DataFrame:
    return op.select(
        pl.col("row").alias("correlation"), pl.col("name").cast(pl.String).alias("region")
    )


def _spanned(op: pl.DataFrame, span: pl.DataFrame) -> pl.DataFrame:
    """Ops that begin within a span of their thread, with its ``span``."""
    of_span = span.with_row_index("span").select(
        "rank", "lane", "span", pl.col("begin_ns").alias("start_ns"), "end_ns"
    )
    found = op.sort("start_ns").join_asof(
        of_span.sort("start_ns"), on="start_ns", by=["rank", "lane"], check_sortedness=False
    )
    return found.filter(pl.col("start_ns") <= pl.col("end_ns")).drop("end_ns")
