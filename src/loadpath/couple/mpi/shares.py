"""Work that the threads of a rank share: the ops of each, while a fork or its creation couples it."""

import polars as pl

from loadpath.couple.job import BETWEEN_CALLS, ON_THREAD
from loadpath.tables import OP

__all__ = ["within_spans"]

STARTS = "start of a thread"


def within_spans(op: pl.DataFrame, span: pl.DataFrame) -> pl.DataFrame:
    """Leave out what further threads do outside their spans, and name shared work by its thread.

    Parameters
    ----------
    op : polars.DataFrame
        Ops of all threads, by thread and time.
    span : polars.DataFrame
        Result of `find_spans`, with the ``region`` that forks.

    Returns
    -------
    polars.DataFrame
        Ops that are coupled, with their ``team``, and an op from each fork, or creation, to the begin of
        the thread that follows it.
    """
    op = op.with_row_index("part").with_columns(pl.col("part").cast(pl.Int64))
    levels = span.partition_by("depth", maintain_order=True)
    found = pl.concat(_inside(op, level) for level in levels)
    inner = found.sort("depth").unique("part", keep="last").select("part", "team", "region")
    op = op.drop("team").join(inner, on="part", how="left", maintain_order="left")
    main = pl.col("lane") == 0
    kept = op.filter(main | pl.col("part").is_in(inner["part"].implode()))
    named = _of_thread(kept).drop("part").with_columns(pl.col("team").fill_null(-1))
    starts = _starts(span.filter(~pl.col("forks"), pl.col("begin_ns") > pl.col("start_ns")))
    both = pl.concat([named.drop("region"), starts], how="diagonal_relaxed")
    return both.sort("rank", "lane", "start_ns", maintain_order=True)


def _inside(op: pl.DataFrame, span: pl.DataFrame) -> pl.DataFrame:
    """Ops that lie within a span of their thread, and which."""
    found = op.select("part", "rank", "lane", "start_ns", "duration_ns").sort("start_ns").join_asof(
        span.select("rank", "lane", "begin_ns", "end_ns", "team", "region", "depth").sort("begin_ns"),
        left_on="start_ns",
        right_on="begin_ns",
        by=["rank", "lane"],
        check_sortedness=False,
    )  # fmt: skip
    return found.filter(pl.col("start_ns") + pl.col("duration_ns") <= pl.col("end_ns"))


def _of_thread(op: pl.DataFrame) -> pl.DataFrame:
    """Add region and thread to the class of what threads share; what they communicate keeps its own."""
    lane = pl.col("lane").cast(pl.String)
    where = (
        pl.when(pl.col("name") == pl.col("region"))
        .then(pl.lit(""))
        .otherwise(" in " + pl.col("region"))
    )
    between = pl.col("op_class").cast(pl.String).str.starts_with(BETWEEN_CALLS)
    shared = (
        pl.when(between)
        .then(pl.lit(BETWEEN_CALLS) + "in " + pl.col("region"))
        .otherwise(pl.col("op_class") + where)
    )
    inside = pl.col("region").is_not_null() & (pl.col("collective") == "")
    return op.with_columns(
        op_class=pl.when(inside).then(shared + ON_THREAD + lane).otherwise("op_class")
    )


def _starts(span: pl.DataFrame) -> pl.DataFrame:
    """Give each thread an op from the fork, or its creation, to its begin."""
    thread = ON_THREAD + pl.col("lane").cast(pl.String)
    text = (pl.lit(STARTS) + " in " + pl.col("region") + thread).alias("op_class")
    like = OP.build(
        span.select(
            "rank", "lane", "start_ns", duration_ns=pl.col("begin_ns") - pl.col("start_ns"),
            step=pl.lit(0), kind=pl.lit("host"), name=pl.lit(STARTS),
        )
    )  # fmt: skip
    words = pl.col("kind", "name", "collective").cast(pl.String)
    return like.with_columns(
        words, span["team"], span.select(text)["op_class"], mechanism=pl.lit("host"),
        row=pl.lit(-1, pl.Int64), stage=pl.lit(0, pl.Int32), replica=pl.lit(0, pl.Int32),
    )  # fmt: skip
