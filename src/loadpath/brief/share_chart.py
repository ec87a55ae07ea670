"""Where the paid time goes, stacked over sizes; and what cost owes to each thing that may change."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from loadpath.brief.chart import INK, name_axis, static
from loadpath.brief.forecast_words import LEVER_WORDS, LIMIT_WORDS
from loadpath.brief.picture import Figure
from loadpath.units import format_ratio

__all__ = ["lever_chart", "share_chart"]

_COLOURS = {
    "compute": "#4a7fb5",
    "memory": "#7fa6cc",
    "intra_node": "#c9a227",
    "inter_node": "#a8801a",
    "latency": "#6f9a8d",
    "host": "#a59c74",
    "bubble": "#9a7fa8",
    "waiting": "#c8503f",
    "failures": "#7d2b2b",
    "startup": "#9aa0a8",
    "steps": "#4a7fb5",
}
_LEAST = 0.0005
"""Shares below this at every size are named in the table alone."""


def _ends(table: pl.DataFrame, name: str) -> tuple[float, float]:
    """Give a share at the first and at the last size."""
    shares = table.filter(pl.col("limitation") == name).sort("n")["share_ratio"]
    return float(shares[0]), float(shares[-1])


def share_chart(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw what the paid time goes into over sizes.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.
    tables : mapping of str to polars.DataFrame
        Table ``paid_share``.

    Returns
    -------
    Figure
        Figure ``shares``.
    """
    table = tables["paid_share"]
    most = dict(table.group_by("limitation").agg(pl.col("share_ratio").max()).iter_rows())
    names = [name for name in _COLOURS if most.get(name, 0.0) >= _LEAST]
    ends = [document["points"][0], document["points"][-1]]
    told = "; ".join(
        f"{LIMIT_WORDS[name]} {' to '.join(format_ratio(share) for share in _ends(table, name))}"
        for name in names
    )
    title = "What the paid time goes into"
    words = f"From {ends[0]['n']:,} to {ends[1]['n']:,} accelerators: {told}."
    rows = [
        {"n": f"{n:,}", "at": at, "order": names.index(name), "part": LIMIT_WORDS[name], "share": share}
        for at, n in enumerate(table["n"].unique(maintain_order=True))
        for name, share in table.filter(pl.col("n") == n).select("limitation", "share_ratio").iter_rows()
        if name in names
    ]  # fmt: skip
    sizes = [f"{point['n']:,}" for point in document["points"]]
    chart = (
        alt.Chart(pl.DataFrame(rows))
        .mark_bar(size=min(30, 330 // len(sizes)))
        .encode(
            x=alt.X("n:O", title="accelerators", sort=sizes, axis=alt.Axis(labelAngle=0, labelOverlap="greedy", labelSeparation=6)),
            y=alt.Y("share:Q", title="share of the paid time", stack="zero",
                    scale=alt.Scale(domain=[0, 1], nice=False), axis=alt.Axis(format="%", tickCount=5)),
            order=alt.Order("order:Q"),
            color=alt.Color("part:N", scale=alt.Scale(domain=[LIMIT_WORDS[n] for n in names],
                            range=[_COLOURS[n] for n in names]),
                            legend=alt.Legend(title=None, orient="right", labelColor=INK, labelFontSize=11)),
        )
        .properties(width=320, height=215)
    )  # fmt: skip
    return static(Figure("shares", title, words, "", table), chart)


def lever_chart(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw by how many percent the cost follows one percent of each lever.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.
    tables : mapping of str to polars.DataFrame
        Table ``elasticity``.

    Returns
    -------
    Figure
        Figure ``levers``.
    """
    table = tables["elasticity"]
    rows = [
        {"order": place, "by": row["median"], "text": f"{row['median']:+z.3f} %"}
        for place, row in enumerate(table.iter_rows(named=True))
    ]
    names = [LEVER_WORDS[name] for name in table["parameter"]]
    title = f"Change of the cost at {document['n_now']:,} accelerators by one percent more of"
    if table.is_empty():
        return Figure("levers", title, "Not assessed: measured runs tell no levers.", "", table)
    words = "; ".join(f"{name} {row['text']}" for name, row in zip(names, rows, strict=True)) + "."
    most = max([0.1, *(abs(row["by"]) for row in rows)])
    base = alt.Chart(pl.DataFrame(rows)).encode(
        y=alt.Y("order:O", title=None, axis=name_axis(names, numbered=True))
    )
    x = alt.X(
        "by:Q",
        title="percent of the cost",
        scale=alt.Scale(domain=[-1.9 * most, 1.9 * most], nice=False),
        axis=alt.Axis(tickCount=5),
    )
    bars = base.mark_bar(height={"band": 0.6}).encode(
        x=x, color=alt.condition("datum.by > 0", alt.value("#c8503f"), alt.value("#4a7fb5"))
    )
    text = base.encode(x=x, text="text:N")
    less, more = (text.transform_filter(f"datum.by {sign} 0") for sign in ("<", ">="))
    texts = [
        less.mark_text(align="right", dx=-5, color=INK, fontSize=11),
        more.mark_text(align="left", dx=5, color=INK, fontSize=11),
    ]
    chart = alt.LayerChart(layer=[bars, *texts], width=330, height=25 * len(rows))
    return static(Figure("levers", title, words, "", table), chart)
