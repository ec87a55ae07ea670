"""Nominal to effective: what a rank's step time is spent on."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from loadpath.brief.chart import INK, PART_COLOURS, name_axis, static, time_axis
from loadpath.brief.picture import Figure
from loadpath.brief.wording import bubble_word
from loadpath.units import format_seconds

__all__ = ["waterfall"]

_LOSSES = {
    "wait": "waiting for others",
    "bubble": "",
    "transfer": "exposed transfer",
    "overhead": "processors handling messages",
    "host": "device idle, host works",
    "launch_delay": "launch delay",
    "idle": "time without record",
}


def waterfall(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw the way from the time paid for to the time computed in.

    Parameters
    ----------
    document : mapping
        Content of audit.json; ``job.rank_time_s`` holds the mean over ranks of every part and
        their ``total``.
    tables : mapping of str to polars.DataFrame
        Table ``rank_time``, averaged here where the document has no means.

    Returns
    -------
    Figure
        Figure ``waterfall``.
    """
    parts = dict(document["job"].get("rank_time_s") or _means(tables["rank_time"]))
    title = "From rank-time paid to rank-time computing"
    shown = _falls(parts, bubble_word(document["job"])) if parts else []
    table = pl.DataFrame(
        [(row["words"], row["mean_s"]) for row in shown],
        schema={"part": pl.String, "mean_s": pl.Float64},
        orient="row",
    )
    if not shown:
        return Figure("waterfall", title, "Rank-time was not assessed.", "", table)
    words = "; ".join(f"{row['words']} {row['text']}" for row in shown)
    figure = Figure("waterfall", title, f"Mean over ranks, a step: {words}.", "", table)
    return static(figure, _chart(shown, parts["total"]))


def _means(rank_time: pl.DataFrame) -> dict[str, float]:
    n_rank = max(rank_time["rank"].n_unique(), 1)
    sums = rank_time.group_by("part", maintain_order=True).agg(pl.col("mean_s").sum() / n_rank)
    parts = {str(part): float(mean) for part, mean in sums.iter_rows()}
    return {**parts, "total": sum(parts.values())} if parts else {}


def _falls(parts: Mapping[str, float], bubble: str) -> list[dict[str, Any]]:
    level, rows = parts["total"], [_bar("total", "rank-time of a step", 0.0, parts["total"])]
    for part, words in _LOSSES.items():
        if parts.get(part, 0.0) > 0:
            rows.append(_bar(part, f"less {words or bubble}", level - parts[part], parts[part]))
            level -= parts[part]
    return [*rows, _bar("compute", "leaves computing", 0.0, parts.get("compute", 0.0))]


def _bar(part: str, words: str, start: float, length: float) -> dict[str, Any]:
    return {
        "words": words,
        "start": start,
        "end": start + length,
        "mean_s": length,
        "text": format_seconds(length),
        "colour": PART_COLOURS[part],
    }


def _chart(rows: list[dict[str, Any]], total: float) -> alt.LayerChart:
    # The axis leaves room behind the longest bar for its label.
    axis = name_axis([row["words"] for row in rows])
    unit, times = time_axis(total)
    base = alt.Chart(pl.DataFrame(rows)).encode(
        y=alt.Y("words:N", sort=None, title=None, axis=axis),
    )
    bars = base.mark_bar(height={"band": 0.62}).encode(
        x=alt.X(
            "start:Q",
            title=f"{unit} of a step, mean over ranks",
            scale=alt.Scale(domain=[0, 1.16 * total], nice=False),
            axis=times,
        ),
        x2="end:Q",
        color=alt.Color("colour:N", scale=None),
    )
    texts = base.mark_text(align="left", dx=5, color=INK, fontSize=11).encode(
        x="end:Q", text="text:N"
    )
    return alt.LayerChart(layer=[bars, texts], width=400, height=34 * len(rows))
