"""What regions do themselves: the ops of each thread, one after another."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.job import BETWEEN_CALLS
from loadpath.couple.mpi import kernels
from loadpath.couple.mpi.regions import Regions
from loadpath.couple.mpi.shares import within_spans
from loadpath.tables import OP

__all__ = ["own_ops", "placed"]

Int64Array = NDArray[np.int64]


def own_ops(regions: Regions) -> pl.DataFrame:
    """Cut threads into what each region does itself.

    Parameters
    ----------
    regions : Regions
        Result of `nested_regions`.

    Returns
    -------
    polars.DataFrame
        Table `COUPLED_OP`, with ``tag``, ``row`` of the region and ``team``, by rank and thread, in order.
    """
    cut = _cut_at_events(regions)
    start = cut["start_ns"].to_numpy()
    end = start + cut["duration_ns"].to_numpy()
    talks = (cut["kind"].cast(pl.String) == "communicate").to_numpy()
    barriers = regions.said.filter(kind="barrier")["correlation"]
    meets = cut["row"].is_in(barriers.implode()).to_numpy()
    thread = cut["rank"].to_numpy().astype(np.int64) << 32 | cut["lane"].to_numpy()
    borders = np.flatnonzero(np.diff(thread, prepend=-1, append=-1))
    parts = [
        np.stack(kernels.own_times(start, end, talks, meets, np.arange(low, high)))
        for low, high in pairwise(borders)
    ]
    region, begin, stop = np.concatenate([np.empty((3, 0), np.int64), *parts], axis=1)
    chosen = np.repeat(thread[borders[:-1]], [part.shape[1] for part in parts])
    op = _described(cut, _Parts(region, begin, stop, chosen), meets)
    return placed(within_spans(op, regions.span)) if regions.span.height else placed(op)


def _cut_at_events(regions: Regions) -> pl.DataFrame:
    """Add a region of no length at each event of threads, so that ops end and begin there."""
    columns = regions.region.columns
    threads = regions.region.select("rank", "lane").unique()
    spans = ("barrier", "task_wait")
    events = regions.said.filter(~pl.col("kind").cast(pl.String).is_in(spans))
    events = events.join(threads, on=["rank", "lane"], how="semi")
    marks = OP.build(
        events.select(
            "rank", "lane", "start_ns", duration_ns=0, kind=pl.lit("marker"), name=pl.lit("")
        )
    ).with_columns(row=pl.lit(-1, pl.Int64))
    both = pl.concat([regions.region, marks.select(columns)])
    return both.sort("rank", "lane", "start_ns", pl.col("duration_ns").neg(), "row")


class _Parts(NamedTuple):
    """Parts of threads, in order: rows of their regions (-1 for none), begins and ends, and threads."""

    region: Int64Array
    begin: Int64Array
    end: Int64Array
    thread: Int64Array


def _described(threads: pl.DataFrame, parts: _Parts, meets: NDArray[np.bool_]) -> pl.DataFrame:
    """Give each part the columns of its region; time outside all regions is between calls."""
    inside = pl.Series(parts.region >= 0)
    chosen = np.maximum(parts.region, 0)
    part = threads[chosen].with_columns(
        pl.Series("rank", (parts.thread >> 32).astype(np.int32)),
        pl.Series("lane", (parts.thread & 0xFFFFFFFF).astype(np.int32)),
        pl.Series("start_ns", parts.begin),
        pl.Series("duration_ns", parts.end - parts.begin),
        pl.lit(-1, pl.Int32).alias("parent"),
        pl.lit(0, pl.Int32).alias("stage"),
        pl.lit(0, pl.Int32).alias("replica"),
        pl.lit(-1, pl.Int32).alias("team"),
        name=pl.when(inside).then(pl.col("name").cast(pl.String)).otherwise(pl.lit("outside")),
        row=pl.when(inside).then("row").otherwise(-1),
    )
    talks = inside & (pl.col("kind").cast(pl.String) == "communicate")
    calls = pl.col("name").str.starts_with("MPI_") | ~inside
    on_host = calls | pl.Series(meets[chosen])
    kind = pl.when(talks).then(pl.lit("communicate"))
    mechanism = pl.when(talks).then(pl.lit("communication"))
    sized = pl.col("name") + " " + pl.col("bytes").cast(pl.String) + " B"
    return part.with_columns(
        kind=kind.when(on_host).then(pl.lit("host")).otherwise(pl.lit("compute")),
        mechanism=mechanism.when(calls).then(pl.lit("host")).otherwise(pl.lit("unknown")),
        op_class=pl.when(talks)
        .then(sized)
        .when(inside)
        .then("name")
        .otherwise(pl.lit(BETWEEN_CALLS)),
        collective=pl.when(talks).then(pl.col("collective").cast(pl.String)).otherwise(pl.lit("")),
        **{
            name: pl.when(talks).then(name).otherwise(-1)
            for name in ("communicator", "peer", "tag", "bytes", "sequence")
        },
    )


def placed(op: pl.DataFrame) -> pl.DataFrame:
    """Count the ops of a class on each thread in each step.

    Parameters
    ----------
    op : polars.DataFrame
        Ops of threads, in order.

    Returns
    -------
    polars.DataFrame
        The same, with ``position``.
    """
    same = ("rank", "lane", "step", "op_class")
    return op.with_columns(position=pl.int_range(pl.len()).over(*same))
