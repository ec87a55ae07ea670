"""What limits the step: a tornado of each resource a tenth faster and slower."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from loadpath.brief.chart import INK, name_axis, static
from loadpath.brief.picture import Figure
from loadpath.units import format_ratio

__all__ = ["limit_chart"]

_WORDS = {
    "device": "devices",
    "compute": "computation",
    "interconnect": "links",
    "overhead": "message handling",
    "host": "hosts",
    "input": "data loading",
    "launch": "launch latency",
    "lag": "lag",
    "boundary": "outside the record",
    "spread": "spread beyond peers",
}
_SIDES = (
    ("gain_tenth_ratio", "10 % less time", "#4a7fb5"),
    ("gain_tenth_more_ratio", "10 % more time", "#c8503f"),
)


def limit_chart(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw by how much the step follows each resource.

    Parameters
    ----------
    document : mapping
        Content of audit.json.
    tables : mapping of str to polars.DataFrame
        Table ``limitation``.

    Returns
    -------
    Figure
        Figure ``limitation``; its table holds the resources of the whole step.
    """
    table = tables["limitation"].filter((pl.col("phase") == "all") & (pl.col("limit") == "all"))
    title = "Step time if one resource took a tenth less or more"
    if table.is_empty():
        return Figure("limitation", title, "What limits the step was not assessed.", "", table)
    rows = [
        {
            "order": order,
            "change": -row[column],
            "side": side,
            "text": format_ratio(-row[column]),
        }
        for order, row in enumerate(table.to_dicts())
        for column, side, _ in _SIDES
    ]
    names = [_WORDS[resource] for resource in table["resource"]]
    changes = "; ".join(
        f"{name} {format_ratio(less)} shorter or {format_ratio(-more)} longer"
        for name, less, more in zip(
            names, table["gain_tenth_ratio"], table["gain_tenth_more_ratio"], strict=True
        )
    )
    words = f"{document['limitation']['summary']} Change of the step: {changes}."
    figure = Figure("limitation", title, words, "", table)
    return static(figure, _chart(rows, names))


def _chart(rows: list[dict[str, Any]], names: list[str]) -> alt.LayerChart:
    # Room behind the longest bars for their labels.
    most = max([1e-9, *(abs(row["change"]) for row in rows)])
    base = alt.Chart(pl.DataFrame(rows)).encode(
        y=alt.Y("order:O", title=None, axis=name_axis(names, numbered=True)),
    )
    bars = base.mark_bar(height={"band": 0.62}).encode(
        x=alt.X(
            "change:Q",
            title="change of the step",
            stack=None,
            scale=alt.Scale(domain=[-1.45 * most, 1.45 * most], nice=False),
            axis=alt.Axis(tickCount=5, format="+.0%" if most > 0.01 else "+.2%"),
        ),
        color=alt.Color(
            "side:N",
            scale=alt.Scale(domain=[s for _, s, _ in _SIDES], range=[c for *_, c in _SIDES]),
            legend=alt.Legend(title=None, orient="top", labelColor=INK, labelFontSize=11),
        ),
    )
    amount = alt.Text("text:N")
    text = base.encode(x=alt.X("change:Q"), text=amount)
    less, more = (text.transform_filter(alt.datum.side == side) for _, side, _ in _SIDES)
    texts = [
        less.mark_text(align="right", dx=-5, color=INK, fontSize=11),
        more.mark_text(align="left", dx=5, color=INK, fontSize=11),
    ]
    return alt.LayerChart(layer=[bars, *texts], width=360, height=26 * len(names))
