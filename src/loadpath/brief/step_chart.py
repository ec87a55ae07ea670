"""Step time over steps: measured, replayed, without the cause, ideal."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from loadpath.brief.chart import INK, name_axis, static, time_axis
from loadpath.brief.picture import Figure
from loadpath.brief.wording import counted
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
    series = _assessed(document["verdict"]["kind"])
    table = steps.select("step", *series)
    title = "Step time: measured, replayed and under counterfactuals"
    if steps.is_empty():
        return Figure("steps", title, "No step was assessed.", "", table)
    first = steps.row(0, named=True)
    words = f"{counted(steps.height, 'step')}. Step {first['step']}: " + ", ".join(
        f"{_SERIES[name][0]} {format_seconds(first[name])}" for name in series
    )
    figure = Figure("steps", title, f"{words}.", "", table.head(48))
    points = _points(table)
    return static(figure, _chart(points, series) if steps.height > 1 else _single(points))


def _assessed(kind: str) -> list[str]:
    if kind == "not_assessable":
        return ["measured_s", "replayed_s"]
    return [name for name in _SERIES if name != "without_cause_s" or kind != "none"]


def _points(table: pl.DataFrame) -> list[dict[str, Any]]:
    size = -(-table.height // _N_SHOWN)
    blocks = (
        table.with_row_index("order")
        .group_by(pl.col("order") // size, maintain_order=True)
        .agg(pl.col("step").first(), pl.exclude("step", "order").max())
    )
    long = blocks.unpivot(index=["order", "step"], variable_name="series", value_name="seconds")
    return [
        {**row, "series": _SERIES[row["series"]][0], "step": str(row["step"])}
        for row in long.iter_rows(named=True)
    ]


def _single(points: list[dict[str, Any]]) -> alt.LayerChart:
    names = [point["series"] for point in points]
    longest = max(point["seconds"] for point in points)
    colour = {words: look for words, look, _ in _SERIES.values()}
    rows = [
        {**point, "text": format_seconds(point["seconds"]), "colour": colour[point["series"]]}
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


def _chart(points: list[dict[str, Any]], series: list[str]) -> alt.Chart:
    names = [_SERIES[name][0] for name in series]
    longest = max(point["seconds"] for point in points)
    steps = list(dict.fromkeys(point["step"] for point in points))
    every = -(-len(steps) // 12)
    unit, times = time_axis(longest, titlePadding=14)
    dots = alt.OverlayMarkDef(size=40) if len(steps) < 8 else False
    lines = alt.Chart(pl.DataFrame(points)).mark_line(point=dots, strokeWidth=1.8)
    chart: alt.Chart = lines.encode(
        x=alt.X(
            "step:O",
            sort=None,
            title="step",
            axis=alt.Axis(values=steps[::every], labelAngle=0),
        ),
        y=alt.Y(
            "seconds:Q",
            title=unit,
            scale=alt.Scale(domain=[0, 1.05 * longest], nice=False),
            axis=times,
        ),
        color=alt.Color(
            "series:N",
            scale=alt.Scale(domain=names, range=[_SERIES[name][1] for name in series]),
            legend=alt.Legend(
                title=None,
                orient="top",
                labelColor=INK,
                symbolType="stroke",
                symbolSize=500,
                labelFontSize=11,
                columnPadding=24,
            ),
        ),
        strokeDash=alt.StrokeDash(
            "series:N",
            scale=alt.Scale(domain=names, range=[_SERIES[name][2] for name in series]),
            legend=None,
        ),
    ).properties(width=820, height=190)
    return chart
