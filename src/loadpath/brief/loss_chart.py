"""What the loss consists of: what all share, slow parts, unequal stages, uneven data, noise."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from loadpath.brief.chart import INK, name_axis, static, time_axis
from loadpath.brief.loss_words import design_words
from loadpath.brief.picture import Figure
from loadpath.units import format_seconds

__all__ = ["loss_chart"]

_PARTS = {
    "common": ("all ranks together", "#5f6b73"),
    "component": ("slow ranks and links", "#c8503f"),
    "stages": ("", "#9a7fa8"),
    "workload": ("", "#7d5a2b"),
    "emergent": ("noise: emergent", "#4a7fb5"),
}
"""Words and colours; those of what is by design depend on the job."""


def loss_chart(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw what each cause of loss costs a step, with its interval.

    Parameters
    ----------
    document : mapping
        Content of audit.json; its ``job`` names what is by design.
    tables : mapping of str to polars.DataFrame
        Table ``stability``.

    Returns
    -------
    Figure
        Figure ``loss``.
    """
    design = design_words(document["job"])
    mine = (pl.col("quantity") == "loss") & (pl.col("load") == "recorded")
    found = {row["key"]: row for row in tables["stability"].filter(mine).iter_rows(named=True)}
    title = "What the loss consists of"
    table = (
        tables["stability"]
        .filter(mine)
        .select("key", pl.col("value", "low", "high").name.suffix("_s"))
    )
    rows = [
        {
            "words": words or design[part],
            "value": found[part]["value"],
            "low": found[part]["low"],
            "high": found[part]["high"],
            "text": format_seconds(found[part]["value"]),
            "colour": colour,
        }
        for part, (words, colour) in _PARTS.items()
        if part in found and found[part]["value"] is not None
    ]
    if not rows:
        few = "Not assessed: persistent deviations cannot be told from noise in so few steps."
        return Figure("loss", title, few, "", table)
    said = "; ".join(f"{row['words']} {row['text']}" for row in rows)
    return static(Figure("loss", title, f"Seconds a step: {said}.", "", table), _chart(rows))


def _chart(rows: list[dict[str, Any]]) -> alt.LayerChart:
    low = min(0.0, *(row["low"] for row in rows))
    high = max(1e-9, *(row["high"] for row in rows))
    unit, times = time_axis(max(high, -low))
    base = alt.Chart(pl.DataFrame(rows)).encode(
        y=alt.Y("words:N", sort=None, title=None, axis=name_axis([row["words"] for row in rows]))
    )
    bars = base.mark_bar(height={"band": 0.6}).encode(
        x=alt.X(
            "value:Q",
            title=f"{unit} a step",
            scale=alt.Scale(domain=[1.2 * low, 1.25 * high], nice=False),
            axis=times,
        ),
        color=alt.Color("colour:N", scale=None),
    )
    spans = base.mark_rule(color=INK, opacity=0.6).encode(x="low:Q", x2="high:Q")
    texts = base.mark_text(align="left", dx=5, color=INK, fontSize=11).encode(
        x=alt.X("high:Q"), text="text:N"
    )
    return alt.LayerChart(layer=[bars, spans, texts], width=300, height=34 * len(rows))
