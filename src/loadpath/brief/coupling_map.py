"""Who waits because of whom: the coupling matrix."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from loadpath.brief.matrix_map import MatrixMap, draw_matrix
from loadpath.brief.picture import Figure, frame
from loadpath.units import format_seconds

__all__ = ["coupling_map"]


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
    ranks = pl.concat([pairs["cause"], pairs["waiter"]]).unique().sort()
    # The diagonal gives both axes every rank; pairs without waiting stay blank.
    diagonal = pl.DataFrame({"row": ranks, "column": ranks}).with_columns(value=pl.lit(0.0))
    cells = pairs.select(row="cause", column="waiter", value="transitive_s")
    wanted = MatrixMap(
        pl.concat([cells, diagonal]),
        "cause",
        "rank that waits",
        "exposed waiting",
        {rank: f"rank {rank}" for rank in ranks.to_list()},
        tuple(document["verdict"].get("culprit_ranks") or ()),
        260,
        260,
    )
    return frame(Figure("coupling", title, words, "", strongest), *draw_matrix(wanted))
