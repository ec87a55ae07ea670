"""Who waits because of whom: the coupling matrix."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from loadpath.brief.matrix_map import MatrixMap, draw_matrix
from loadpath.brief.picture import Figure, frame
from loadpath.units import format_seconds

__all__ = ["coupling_map"]

_BLOCKS = {"found": "the blocks that their waits show"}
_MOST_BORDERS = 40


def coupling_map(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw exposed waiting by cause (rows) and waiter (columns).

    Parameters
    ----------
    document : mapping
        Content of audit.json.
    tables : mapping of str to polars.DataFrame
        Table ``coupling``.

    Returns
    -------
    Figure
        Figure ``coupling``; its table holds the strongest couplings.
    """
    pairs = tables["coupling"]
    strongest = pairs.sort("transitive_s", "cause", "waiter", descending=[True, False, False]).head(
        12
    )
    title = "Who waits because of whom"
    if pairs.is_empty():
        return Figure("coupling", title, "No rank waited for another.", "", strongest)
    most = strongest.row(0, named=True)
    words = (
        f"Exposed seconds over all steps. The largest: rank {most['waiter']} waited "
        f"{format_seconds(most['transitive_s'])} because of rank {most['cause']}."
    )
    division = (document.get("coupling") or {}).get("structure")
    ranks, borders = _in_order(tables, division)
    if borders:
        words += f" Ranks are in order of {_BLOCKS.get(str(division), division)}; lines part them."
    culprits = document["verdict"].get("culprit_ranks") or ()
    drawn = draw_matrix(_matrix(pairs, ranks, borders, culprits))
    return frame(Figure("coupling", title, words, "", strongest), *drawn)


def _matrix(
    pairs: pl.DataFrame, ranks: list[int], borders: tuple[int, ...], culprits: Sequence[int]
) -> MatrixMap:
    """Lay the waits of rank for rank out, causes by row."""
    place = dict(zip(ranks, range(len(ranks)), strict=True))
    # The diagonal gives both axes every rank; pairs without waiting stay blank.
    diagonal = pl.DataFrame({"row": place.values(), "column": place.values()}).with_columns(
        value=pl.lit(0.0)
    )
    cells = pairs.select(
        pl.col("cause").replace_strict(place, return_dtype=pl.Int64).alias("row"),
        pl.col("waiter").replace_strict(place, return_dtype=pl.Int64).alias("column"),
        pl.col("transitive_s").alias("value"),
    )
    return MatrixMap(
        pl.concat([cells, diagonal]),
        "cause",
        "rank that waits",
        "exposed waiting",
        {k: f"rank {rank}" for rank, k in place.items()},
        tuple(place[rank] for rank in culprits if rank in place),
        260,
        260,
        {k: str(rank) for rank, k in place.items()},
        borders,
    )


def _in_order(
    tables: Mapping[str, pl.DataFrame], division: str | None
) -> tuple[list[int], tuple[int, ...]]:
    """Ranks block by block, and where blocks begin, if not too many to be drawn."""
    pairs = tables["coupling"]
    ranks = pl.concat([pairs["cause"], pairs["waiter"]]).unique().sort().to_list()
    if division is None:
        return ranks, ()
    blocks = tables["coupling_block"].filter(pl.col("by") == division)
    known = blocks.filter(pl.col("rank").is_in(ranks)).sort("block", "rank")
    begins = [k for k, other in enumerate(known["block"].diff().fill_null(0)) if other > 0]
    return known["rank"].to_list(), tuple(begins) if len(begins) < _MOST_BORDERS else ()
