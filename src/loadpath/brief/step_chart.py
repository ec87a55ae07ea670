"""Step time over steps: measured, replayed, without the cause, ideal."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from loadpath.brief.chart import (
    INK,
    line_styles,
    name_axis,
    seconds_axis,
    static,
    time_axis,
)
from loadpath.brief.names import counted
from loadpath.brief.picture import Figure
from loadpath.brief.wording import times_word
from loadpath.units import format_seconds

__all__ = ["step_chart"]

_SERIES = {
    "measured_s": ("measured", "#7f8793", [1, 0]),
    "replayed_s": ("replayed", "#4a7fb5", [6, 3]),
    "without_cause_s": ("without the cause", "#c9a227", [1, 0]),
    "ideal_s": ("all ideal", "#9a7fa8", [2, 3]),
}
_N_SHOWN = 160


def step_chart(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw step times; of more steps than pixels the largest of each block is shown.

    Parameters
    ----------
    document : mapping
        Content of audit.json.
    tables : mapping of str to polars.DataFrame
        Table ``step_time``.

    Returns
    -------
    Figure
        Figure ``steps``; its table holds the first steps.
    """
    steps = tables["step_time"].sort("step")
    got = times_word(document["record"])
    series = {
        name: (got if name == "measured_s" else words)
        for name, words in _assessed(document["verdict"]["kind"]).items()
    }
    table = steps.select("step", *series)
    title = f"Step time: {got}, replayed and under counterfactuals"
    if steps.is_empty():
        return Figure("steps", title, "No step was assessed.", "", table)
    first = steps.row(0, named=True)
    words = f"{counted(steps.height, 'step')}. Step {first['step']}: " + ", ".join(
        f"{called} {format_seconds(first[name])}" for name, called in series.items()
    )
    figure = Figure("steps", title, f"{words}.", "", table.head(48))
    points = _points(table, series)
    return static(figure, _chart(points, series) if steps.height > 1 else _single(points))


def _assessed(kind: str) -> dict[str, str]:
    """Columns that are shown, and what they are called."""
    if kind == "not_assessable":
        return {name: _SERIES[name][0] for name in ("measured_s", "replayed_s")}
    return {
        name: words
        for name, (words, _, _) in _SERIES.items()
        if name != "without_cause_s" or kind != "none"
    }


def _points(table: pl.DataFrame, series: Mapping[str, str]) -> list[dict[str, Any]]:
    size = -(-table.height // _N_SHOWN)
    blocks = (
        table.with_row_index("order")
        .group_by(pl.col("order") // size, maintain_order=True)
        .agg(pl.col("step").first(), pl.exclude("step", "order").max())
    )
    long = blocks.unpivot(index=["order", "step"], variable_name="series", value_name="seconds")
    return [
        {**row, "series": series[row["series"]], "name": row["series"], "step": str(row["step"])}
        for row in long.iter_rows(named=True)
    ]


def _single(points: list[dict[str, Any]]) -> alt.LayerChart:
    names = [point["series"] for point in points]
    longest = max(point["seconds"] for point in points)
    rows = [
        {**point, "text": format_seconds(point["seconds"]), "colour": _SERIES[point["name"]][1]}
        for point in points
    ]
    unit, times = time_axis(longest)
    base = alt.Chart(pl.DataFrame(rows)).encode(
        x=alt.X(
            "seconds:Q",
            title=f"{unit} of step {points[0]['step']}",
            scale=alt.Scale(domain=[0, 1.15 * longest], nice=False),
            axis=times,
        ),
        y=alt.Y("series:N", sort=names, title=None, axis=name_axis(names)),
    )
    bars = base.mark_bar(height={"band": 0.6}).encode(color=alt.Color("colour:N", scale=None))
    texts = base.mark_text(align="left", dx=5, color=INK, fontSize=11).encode(text="text:N")
    return alt.LayerChart(layer=[bars, texts], width=620, height=30 * len(rows))


def _chart(points: list[dict[str, Any]], series: Mapping[str, str]) -> alt.Chart:
    longest = max(point["seconds"] for point in points)
    steps = list(dict.fromkeys(point["step"] for point in points))
    every = -(-len(steps) // 12)
    unit, times = time_axis(longest, titlePadding=14)
    _, colours, dashes = zip(*(_SERIES[name] for name in series), strict=True)
    colour, dash = line_styles("series", list(series.values()), colours, dashes)
    dots = alt.OverlayMarkDef(size=40) if len(steps) < 8 else False
    lines = alt.Chart(pl.DataFrame(points)).mark_line(point=dots, strokeWidth=1.8)
    chart: alt.Chart = lines.encode(
        x=alt.X(
            "step:O",
            sort=None,
            title="step",
            axis=alt.Axis(values=steps[::every], labelAngle=0),
        ),
        y=seconds_axis("seconds", unit, 1.05 * longest, times),
        color=colour,
        strokeDash=dash,
    ).properties(width=820, height=190)
    return chart
