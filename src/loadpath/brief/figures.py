"""The pictures by name."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from loadpath.brief.coupling_map import coupling_map
from loadpath.brief.effect_chart import effect_chart
from loadpath.brief.envelope_map import envelope_map
from loadpath.brief.heat_map import heat_map
from loadpath.brief.limit_chart import limit_chart
from loadpath.brief.load_chart import load_chart
from loadpath.brief.loss_chart import loss_chart
from loadpath.brief.path_timeline import path_timeline
from loadpath.brief.picture import Figure
from loadpath.brief.step_chart import step_chart
from loadpath.brief.waterfall import waterfall
from loadpath.errors import UsageError

__all__ = ["FIGURE_NAMES", "NOT_SHOWN", "figure"]

NOT_SHOWN = "Not shown: no conclusion across ranks is drawn from this recording."
"""What stands in the place of findings where the recording is not assessable."""

_DRAWN: dict[str, Callable[[Mapping[str, Any], Mapping[str, pl.DataFrame]], Figure]] = {
    "waterfall": waterfall,
    "heatmap": heat_map,
    "path": path_timeline,
    "attribution": effect_chart,
    "steps": step_chart,
    "coupling": coupling_map,
    "limitation": limit_chart,
    "envelope": envelope_map,
    "loss": loss_chart,
    "load": load_chart,
}

FIGURE_NAMES = tuple(_DRAWN)
"""Names that `figure` knows."""


def figure(name: str, document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw one picture of an audit.

    Parameters
    ----------
    name : str
        Which picture, of `FIGURE_NAMES`.
    document : mapping
        Content of audit.json.
    tables : mapping of str to polars.DataFrame
        Result tables by name, and ``rank``.

    Returns
    -------
    Figure
        Drawing, words and table; the drawing is empty where there is nothing to show, and all
        but the step times are where the recording is not assessable.

    Raises
    ------
    UsageError
        If there is no picture of that name.
    """
    if name not in _DRAWN:
        raise UsageError(f"There is no figure {name!r}. Choose one of {', '.join(FIGURE_NAMES)}.")
    drawn = _DRAWN[name](document, tables)
    if name == "steps" or document["verdict"]["kind"] != "not_assessable":
        return drawn
    return replace(drawn, svg="", description=NOT_SHOWN, table=drawn.table.clear())
