"""Step time against load."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from loadpath.brief.chart import line_styles, seconds_axis, static, time_axis
from loadpath.brief.picture import Figure
from loadpath.units import format_seconds

__all__ = ["load_chart"]

_SERIES = {"transfers": ("transfers", "#c9a227"), "launches": ("launch delays", "#6f9a8d")}
_HEAVIEST = 4.0


def load_chart(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw the mean step as transfers, or launch delays, grow up to four times.

    Parameters
    ----------
    document : mapping
        Content of audit.json; ``stability.knee`` is said in the words.
    tables : mapping of str to polars.DataFrame
        Table ``load_curve``.

    Returns
    -------
    Figure
        Figure ``load``.
    """
    curve = tables["load_curve"].filter(pl.col("factor") <= _HEAVIEST)
    title = "Step time as load grows"
    if curve.is_empty():
        return Figure("load", title, "Load was not assessed.", "", curve)
    knees = (document.get("stability") or {}).get("knee") or {}
    words = " ".join(_words(load, curve, knees.get(load) or {}) for load in _SERIES)
    table = curve.rename({"gain_ratio": "passed_on_ratio"})
    figure = Figure("load", title, words.strip(), "", table)
    return static(figure, _chart(curve))


def _words(load: str, curve: pl.DataFrame, knee: Mapping[str, Any]) -> str:
    mine = curve.filter(pl.col("load") == load)
    if mine.is_empty():
        return ""
    first, last = mine["step_s"][0], mine["step_s"][-1]
    text = f"With {_SERIES[load][0]} up to {_HEAVIEST:.0f} times as long a step goes from"
    text += f" {format_seconds(first)} to {format_seconds(last)}"
    if knee.get("value") is None:
        return f"{text}."
    return f"{text}; slack is exhausted at {knee['value']:.1f} times."


def _chart(curve: pl.DataFrame) -> alt.Chart:
    names, colours = zip(*(_SERIES[load] for load in _SERIES if load in curve["load"]), strict=True)
    rows = [
        {"load": _SERIES[row["load"]][0], "factor": row["factor"], "step": row["step_s"]}
        for row in curve.iter_rows(named=True)
    ]
    most = max(row["step"] for row in rows)
    unit, times = time_axis(most, titlePadding=14)
    colour, dash = line_styles("load", names, colours, [[1, 0], [6, 4]])
    lines = alt.Chart(pl.DataFrame(rows)).mark_line(
        point=alt.OverlayMarkDef(size=36), strokeWidth=1.8
    )
    chart: alt.Chart = lines.encode(
        x=alt.X(
            "factor:Q",
            title="times what was recorded",
            scale=alt.Scale(domain=[1, _HEAVIEST], nice=False),
            axis=alt.Axis(tickCount=4),
        ),
        y=seconds_axis("step", f"{unit} of a step", 1.08 * most, times),
        color=colour,
        strokeDash=dash,
    ).properties(width=380, height=190)
    return chart
