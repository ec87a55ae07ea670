"""The briefing of a forecast: one self-contained page, of the same look as that of an audit."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from loadpath.brief.amounts import amount, cost_scale, whole, within
from loadpath.brief.briefing import environment
from loadpath.brief.cost_chart import cost_chart, step_band_chart
from loadpath.brief.forecast_answers import answers
from loadpath.brief.forecast_cards import forecast_cards
from loadpath.brief.forecast_extra_grids import (
    capacity_grid,
    layout_grid,
    refused_grid,
    risk_grid,
    serving_grid,
)
from loadpath.brief.forecast_extra_words import (
    iteration_words,
    missing_words,
    searched_words,
    served_words,
)
from loadpath.brief.forecast_grids import (
    baseline_grid,
    break_even_grid,
    memory_grid,
    option_grid,
    point_grid,
    prior_grid,
    region_grid,
    run_grid,
    substitution_grid,
)
from loadpath.brief.forecast_words import (
    LIMIT_WORDS,
    forecast_decision,
    forecast_headline,
    forecast_summary,
)
from loadpath.brief.grid import Cell
from loadpath.brief.picture import Figure
from loadpath.brief.share_chart import lever_chart, share_chart
from loadpath.errors import UsageError
from loadpath.units import format_number

__all__ = ["FORECAST_FIGURES", "forecast_figure", "render_forecast"]

_DRAWN: dict[str, Callable[[Mapping[str, Any], Mapping[str, pl.DataFrame]], Figure]] = {
    "cost": cost_chart,
    "shares": share_chart,
    "step": step_band_chart,
    "levers": lever_chart,
}
FORECAST_FIGURES = tuple(_DRAWN)
"""Names that `forecast_figure` knows."""


def forecast_figure(
    name: str, document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]
) -> Figure:
    """Draw one picture of a forecast.

    Parameters
    ----------
    name : str
        Which picture, of `FORECAST_FIGURES`.
    document : mapping
        Content of forecast.json.
    tables : mapping of str to polars.DataFrame
        Its tables.

    Returns
    -------
    Figure
        Drawing, words and table.

    Raises
    ------
    UsageError
        If there is no picture of that name.
    """
    if name not in _DRAWN:
        raise UsageError(
            f"There is no figure {name!r}. Choose one of {', '.join(FORECAST_FIGURES)}."
        )
    return _DRAWN[name](document, tables)


def render_forecast(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> str:
    """Write the briefing as one HTML page without scripts or network.

    Parameters
    ----------
    document : mapping
        Content of forecast.json, schema ``loadpath.forecast/1``.
    tables : mapping of str to polars.DataFrame
        Its tables.

    Returns
    -------
    str
        HTML, the same bytes for the same input.
    """
    page = {
        "document": document,
        "designed": document["design"]["kind"] not in {"recorded", "measured"},
        "nothing": "None.",
        "headline": forecast_headline(document),
        "decision": forecast_decision(document),
        "summary": forecast_summary(document),
        "answers": answers(document),
        "cards": forecast_cards(document),
        "limit": _limit(document),
        "searched": searched_words(document),
        "served": [*served_words(document), *iteration_words(document)],
        "missing": missing_words(document),
        "limits": LIMIT_WORDS,
        "figures": {name: forecast_figure(name, document, tables) for name in FORECAST_FIGURES},
        "grids": {
            "points": point_grid(document),
            "options": option_grid(document),
            "substitution": substitution_grid(document),
            "break_even": break_even_grid(document),
            "network": region_grid(document, "network_bandwidth"),
            "failures": region_grid(document, "failure_rate"),
            "baselines": baseline_grid(document),
            "priors": prior_grid(document),
            "memory": memory_grid(document),
            "runs": run_grid(document),
            "risks": risk_grid(document),
            "layouts": layout_grid(document),
            "refused": refused_grid(document),
            "capacity": capacity_grid(document),
            "serving": serving_grid(document),
        },
        "as_of": document.get("as_of"),
    }
    pages = environment()
    pages.filters["whole"] = whole
    pages.filters["within"] = within
    pages.filters["plain"] = format_number
    return pages.get_template("forecast.html").render(page) + "\n"


def _limit(document: Mapping[str, Any]) -> list[Cell]:
    scale, words = cost_scale(document)
    return [amount(document["limit"]["cost_per_unit"], scale), Cell(f" {words}")]
