"""What making a group ideal returns: the attribution, largest first."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from loadpath.brief.chart import INK, name_axis, static, time_axis
from loadpath.brief.picture import Figure
from loadpath.brief.visible import visible
from loadpath.units import format_seconds

__all__ = ["effect_chart"]

_N_SHOWN = 12


def effect_chart(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw the gain of the foremost groups of the attribution.

    Parameters
    ----------
    document : mapping
        Content of audit.json.
    tables : mapping of str to polars.DataFrame
        Table ``attribution``.

    Returns
    -------
    Figure
        Figure ``attribution``; its table holds the groups shown.
    """
    effects = tables["attribution"]
    first = (
        effects.filter(pl.col("by") != "step")
        .sort("gain_s", "by", "key", descending=[True, False, False])
        .head(_N_SHOWN)
    )
    title = "What making one group ideal returns"
    if first.is_empty() or document["verdict"]["kind"] == "not_assessable":
        return Figure("attribution", title, "No counterfactual was assessed.", "", first)
    if first["gain_s"].max() == first["gain_s"].min() == 0:
        return Figure("attribution", title, "No group returns time.", "", first)
    rows = [
        {
            "group": visible(f"{row['by'].replace('_', ' ')} {row['key']}", limit=36),
            "order": order,
            "gain": row["gain_s"],
            "text": format_seconds(row["gain_s"]),
            "colour": "#c8503f" if row["gain_s"] > 0 else "#4a7fb5",
        }
        for order, row in enumerate(first.iter_rows(named=True))
    ]
    words = "Seconds a step: " + "; ".join(f"{row['group']} {row['text']}" for row in rows) + "."
    return static(Figure("attribution", title, words, "", first), _chart(rows))


def _chart(rows: list[dict[str, Any]]) -> alt.LayerChart:
    low, high = min(0.0, rows[-1]["gain"]), max(rows[0]["gain"], 1e-9)
    unit, times = time_axis(max(high, -low))
    groups = [row["group"] for row in rows]
    base = alt.Chart(pl.DataFrame(rows)).encode(
        y=alt.Y(
            "order:O",
            title=None,
            axis=name_axis(groups, numbered=True),
        ),
    )
    bars = base.mark_bar(height={"band": 0.6}).encode(
        x=alt.X(
            "gain:Q",
            title=f"{unit} a step returned",
            scale=alt.Scale(domain=[1.2 * low, 1.2 * high], nice=False),
            axis=times,
        ),
        color=alt.Color("colour:N", scale=None),
    )
    texts = (
        base.mark_text(align="left", dx=5, color=INK, fontSize=11)
        .encode(x=alt.X("end:Q"), text="text:N")
        .transform_calculate(end="max(datum.gain, 0)")
    )
    return alt.LayerChart(layer=[bars, texts], width=330, height=24 * len(rows))
