"""What each candidate costs, with its band."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from loadpath.brief.amounts import rounded
from loadpath.brief.chart import INK, name_axis, static
from loadpath.brief.compare_words import compare_scale
from loadpath.brief.picture import Figure
from loadpath.brief.visible import visible

__all__ = ["candidate_chart"]

N_SHOWN = 12
_BLUE, _GREY = "#4a7fb5", "#7f8793"


def candidate_chart(document: Mapping[str, Any]) -> Figure:
    """Draw the cost of the foremost candidates over the worlds.

    Parameters
    ----------
    document : mapping
        Schema ``loadpath.compare/1``.

    Returns
    -------
    Figure
        Figure ``candidates``: mean and 90 % band of each, the chosen one in blue.
    """
    scale, words = compare_scale(document)
    shown = document["candidates"][:N_SHOWN]
    table = pl.DataFrame(
        [{name: row[name] for name in ("candidate", "mean", "low", "high")} for row in shown]
    )
    rows = [
        {
            "order": place,
            "name": visible(row["candidate"], limit=28),
            **{name: row[name] * scale for name in ("mean", "low", "high")},
            "text": rounded(row["mean"] * scale),
            "colour": _GREY if place else _BLUE,
        }
        for place, row in enumerate(shown)
    ]
    told = "; ".join(
        f"{row['name']} {row['text']} ({rounded(row['low'])} to {rounded(row['high'])})"
        for row in rows
    )
    figure = Figure(
        "candidates",
        f"Cost of each: {words}",
        f"Expected cost (the mean) and 90 % band: {told}.",
        "",
        table,
    )
    return static(figure, _chart(rows, words))


def _chart(rows: list[dict[str, Any]], words: str) -> alt.LayerChart:
    names = [row["name"] for row in rows]
    most = max(row["high"] for row in rows)
    base = alt.Chart(pl.DataFrame(rows)).encode(
        y=alt.Y("order:O", title=None, axis=name_axis(names, numbered=True)),
        color=alt.Color("colour:N", scale=None),
    )
    axis = alt.X(
        "low:Q", title=words, scale=alt.Scale(domain=[0, 1.05 * most], nice=False),
        axis=alt.Axis(tickCount=6),
    )  # fmt: skip
    bands = base.mark_bar(height=9, opacity=0.45).encode(x=axis, x2="high:Q")
    middles = base.mark_tick(thickness=3, height=18).encode(x="mean:Q")
    texts = base.mark_text(dy=-15, fontSize=11).encode(
        x="mean:Q", text="text:N", color=alt.value(INK)
    )
    return alt.LayerChart(layer=[bands, middles, texts], width=640, height=44 * len(rows))
