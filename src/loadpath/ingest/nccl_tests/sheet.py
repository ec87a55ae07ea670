"""Tables made from collective measurements: times by size and ranks, and summaries of links."""

from collections import Counter
from collections.abc import Sequence

import polars as pl

from loadpath.errors import InputError, first_line
from loadpath.ingest.nccl_tests.log import COLLECTIVE_BY_TEST, Row
from loadpath.tables.measured import COLLECTIVE_KINDS, LINK_POINT

__all__ = ["SUMMARY_COLUMNS", "TIMES_COLUMNS", "parse_summary", "parse_times"]

SUMMARY_COLUMNS = (
    *("test", "N", "G", "nodes"),
    *("minBytes", "maxBytes", "avg_bus_bw_GBs", "peak_busbw_GBs"),
)
TIMES_COLUMNS = ("num_workers", "size", "collective", "devices_per_node")
BYTES_PER_GB = 1e9
NS_PER_MS = 1e6
LARGEST = 1 << 62
MOST_RANKS = 1 << 24
REMEDY = "Write the table again (docs/formats/nccl_tests.md)."


def parse_times(text: str, name: str) -> tuple[list[Row], Counter[str]]:
    """Read a table of times by size, workers and devices per node.

    Parameters
    ----------
    text : str
        CSV with `TIMES_COLUMNS` and ``time_stats.COLLECTIVE.median`` in ms.
    name : str
        File, for messages.

    Returns
    -------
    list of Row
        One out-of-place time per row: the median of its repetitions.
    Counter
        Rows that were dropped, by caveat code.

    Raises
    ------
    InputError
        If it is no CSV or has no column of medians.
    """
    table = _csv(text, name, TIMES_COLUMNS)
    medians = [c for c in table.columns if c.startswith("time_stats.") and c.endswith(".median")]
    if not medians:
        raise InputError(name, "no column time_stats.*.median", REMEDY)
    times = pl.coalesce(pl.col(medians).cast(pl.Float64, strict=False)) * NS_PER_MS
    per_node = _whole("devices_per_node")
    typed = table.select(
        "collective",
        _whole("size").alias("bytes"),
        _whole("num_workers").alias("n_rank"),
        pl.when(_whole("num_workers") % per_node == 0)
        .then(_whole("num_workers") // per_node)
        .alias("n_node"),
        pl.when(times.is_between(1, LARGEST)).then(times.round()).alias("duration_ns"),
    )
    sound = typed.filter(
        pl.col("collective").is_in(COLLECTIVE_KINDS),
        pl.col("bytes").is_between(1, LARGEST),
        pl.col("n_rank").is_between(2, MOST_RANKS),
    ).drop_nulls()
    rows = [
        Row(kind, size, n_rank, n_node, int(ns), in_place=False, n_wrong=None)
        for kind, size, n_rank, n_node, ns in sound.rows()
    ]
    return rows, Counter(damaged_row=table.height - len(rows))


def parse_summary(text: str, name: str) -> tuple[pl.DataFrame, Counter[str]]:
    """Read a summary of the bandwidth of links: one row per set of nodes.

    Parameters
    ----------
    text : str
        CSV with `SUMMARY_COLUMNS`.
    name : str
        File, for messages.

    Returns
    -------
    polars.DataFrame
        Table `LINK_POINT`.
    Counter
        Rows that were dropped, by caveat code.

    Raises
    ------
    InputError
        If it is no CSV.
    """
    table = _csv(text, name, SUMMARY_COLUMNS)
    test = pl.col("test").str.strip_suffix("_perf")
    rate = {"mean_bytes_per_s": "avg_bus_bw_GBs", "peak_bytes_per_s": "peak_busbw_GBs"}
    typed = table.select(
        test.replace_strict(COLLECTIVE_BY_TEST, default=None).alias("collective"),
        "nodes",
        _whole("N").alias("n_node"),
        _whole("G").alias("n_rank_per_node"),
        _whole("minBytes").alias("min_bytes"),
        _whole("maxBytes").alias("max_bytes"),
        *(
            (pl.col(column).cast(pl.Float64, strict=False) * BYTES_PER_GB).alias(name)
            for name, column in rate.items()
        ),
    )
    sound = typed.drop_nulls().filter(
        pl.col("n_node", "n_rank_per_node").is_between(1, MOST_RANKS),
        pl.col("min_bytes", "max_bytes").is_between(1, LARGEST),
        pl.col(list(rate)).is_between(0, 1e16),
    )
    return LINK_POINT.build(sound), Counter(damaged_row=table.height - sound.height)


def _whole(name: str) -> pl.Expr:
    return pl.col(name).str.strip_chars().cast(pl.Int64, strict=False)


def _csv(text: str, name: str, columns: Sequence[str]) -> pl.DataFrame:
    try:
        table = pl.read_csv(text.encode(), infer_schema=False, truncate_ragged_lines=True)
    except pl.exceptions.PolarsError as error:
        what = f"cannot be read ({first_line(error)})"
        raise InputError(name, what, REMEDY) from error
    # a quote in the first line joins names that recognition told apart
    missing = [f"missing column {column!r}" for column in columns if column not in table.columns]
    if missing:
        raise InputError(name, missing, REMEDY)
    return table
