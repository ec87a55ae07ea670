"""Who is late, since when: own excess work of each rank in each step."""

from collections.abc import Mapping
from typing import Any

import polars as pl

from loadpath.brief.matrix_map import MatrixMap, draw_matrix
from loadpath.brief.names import counted, rank_names
from loadpath.brief.picture import Figure, frame
from loadpath.units import format_seconds

__all__ = ["heat_map"]


def heat_map(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw rank x step, coloured by the rank's own work beyond what its peers need.

    Parameters
    ----------
    document : mapping
        Content of audit.json.
    tables : mapping of str to polars.DataFrame
        Tables ``rank_step`` and ``rank``.

    Returns
    -------
    Figure
        Figure ``heatmap``; its table holds the worst cells.
    """
    cells = tables["rank_step"]
    worst = cells.sort("excess_s", "rank", "step", descending=[True, False, False]).head(12)
    title = "Excess work by rank and step"
    if cells.is_empty():
        return Figure("heatmap", title, "No rank and step was assessed.", "", worst)
    most = worst.row(0, named=True)
    words = (
        f"{counted(cells['rank'].n_unique(), 'rank')} by {counted(cells['step'].n_unique(), 'step')}. The largest excess "
        f"is {format_seconds(most['excess_s'])} on rank {most['rank']} in step {most['step']}."
    )
    wanted = MatrixMap(
        cells.select(row="rank", column="step", value="excess_s"),
        "rank",
        "step",
        "own work beyond peers",
        rank_names(tables, limit=18),
        tuple(document["verdict"].get("culprit_ranks") or ()),
        min(500, max(160, 40 * cells["step"].n_unique())),
        256,
    )
    return frame(Figure("heatmap", title, words, "", worst), *draw_matrix(wanted))
