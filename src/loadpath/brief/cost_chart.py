"""Cost of a unit of work against the number of accelerators, with its band, flags and data range."""

from collections.abc import Mapping
from typing import Any, Literal

import altair as alt
import polars as pl

from loadpath.brief.amounts import cost_scale, rounded, whole
from loadpath.brief.chart import INK, static
from loadpath.brief.picture import Figure

__all__ = ["cost_chart", "size_axis", "step_band_chart"]

STEEP = 10.0
"""Times the cheapest from which on costs are drawn over their logarithm."""
_BLUE, _RED, _GREY = "#4a7fb5", "#c8503f", "#7f8793"


def cost_chart(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw the cost of a unit of work over sizes.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.
    tables : mapping of str to polars.DataFrame
        Table ``curve_point``.

    Returns
    -------
    Figure
        Figure ``cost``; sizes among which runs were measured are shaded.
    """
    scale, words = cost_scale(document)
    curve = tables["curve_point"].filter(pl.col("quantity") == document["cost"])
    title = f"Cost against size: {words}"
    told = "; ".join(
        f"{row['n']:,}: {rounded(row['median'] * scale)} ({rounded(row['low'] * scale)} to "
        f"{rounded(row['high'] * scale)})"
        for row in curve.iter_rows(named=True)
    )
    flag = document["inversion"]["average"]
    words = f"Median and 90 % band: {told}."
    if flag is not None:
        words += f" Average cost inverts beyond {whole(flag['n'])}, the vertical line."
    words += f" {_range_words(document)}"
    return static(
        Figure("cost", title, words, "", curve.drop("quantity")),
        alt.LayerChart(
            layer=[
                *_range_layers(document),
                *_band_layers(curve, scale, "cost", log=_is_steep(curve)),
                *_flag_layers(document, scale),
            ],
            width=400,
            height=215,
        ),
    )


def _is_steep(curve: pl.DataFrame) -> bool:
    """Say whether costs differ so much that small ones would not be seen."""
    costs = curve["median"].to_numpy()
    return bool(costs.max() > STEEP * costs.min())


def step_band_chart(document: Mapping[str, Any], tables: Mapping[str, pl.DataFrame]) -> Figure:
    """Draw the time of a step over sizes, baselines and measured runs beside it.

    Parameters
    ----------
    document : mapping
        Content of forecast.json.
    tables : mapping of str to polars.DataFrame
        Tables ``curve_point`` and ``baseline_point``.

    Returns
    -------
    Figure
        Figure ``step``.
    """
    curve = tables["curve_point"].filter(pl.col("quantity") == "step_s")
    lines = tables["baseline_point"]
    best = document["baselines"][0]["name"] if document["baselines"] else None
    words = f"Band, and curves without structure fitted to the {_fitted(document)} steps. "
    layers = [*_range_layers(document), *_band_layers(curve, 1.0, "seconds of a step", log=True)]
    if best is not None:
        drawn = lines.filter(pl.col("baseline") == best)
        layers.append(
            alt.Chart(drawn.select("n", "step_s"))
            .mark_line(strokeDash=[5, 3], color=_GREY, strokeWidth=1.6)
            .encode(x="n:Q", y="step_s:Q")
        )
        words += f"Dashed: {best}. "
    runs = _runs(document)
    if runs.height:
        layers.append(
            alt.Chart(runs)
            .mark_point(shape="diamond", size=52, color=_RED, filled=True)
            .encode(x="n:Q", y="step_s:Q")
        )
        words += "Diamonds: measured, with this work a step. "
    figure = Figure("step", "Time of a step, beside a baseline", words + _range_words(document), "", curve.drop("quantity"))  # fmt: skip
    return static(figure, alt.LayerChart(layer=layers, width=400, height=215))


def size_axis(n: list[int]) -> alt.X:
    """Lay sizes out over their logarithms.

    Parameters
    ----------
    n : list of int
        Accelerators.

    Returns
    -------
    altair.X
        Axis with a tick at each size, as far as they have room.
    """
    return alt.X(
        "n:Q",
        title="accelerators",
        scale=alt.Scale(type="log", base=2, domain=[min(n), max(n)] if len(n) > 1 else [n[0] / 2, 2 * n[0]], nice=False),
        axis=alt.Axis(values=n, labelOverlap="greedy", format=",d"),
    )  # fmt: skip


def _fitted(document: Mapping[str, Any]) -> str:
    return str(document["baselines"][0]["fitted_to"]) if document["baselines"] else "forecast"


def _runs(document: Mapping[str, Any]) -> pl.DataFrame:
    found = (document["calibration"] or {}).get("points", []) + document["measured"]
    rows = [{"n": run["n"], "step_s": run["step_s"]} for run in found if run["on_curve"]]
    sizes = [point["n"] for point in document["points"]]
    kept = [row for row in rows if min(sizes) <= row["n"] <= max(sizes)]
    return pl.DataFrame(kept, schema={"n": pl.Int64, "step_s": pl.Float64})


def _range_words(document: Mapping[str, Any]) -> str:
    span = document["data_range"]
    if span is None:
        return "No run was measured: all of it is extrapolation."
    if span[0] == span[1]:
        return f"Measured at {span[0]:,} alone: all else is extrapolation."
    return f"Shaded: sizes among which runs were measured ({span[0]:,} to {span[1]:,}); beyond is extrapolation."


def _range_layers(document: Mapping[str, Any]) -> list[alt.Chart]:
    span, sizes = document["data_range"], [point["n"] for point in document["points"]]
    if span is None or span[1] < min(sizes) or span[0] > max(sizes):
        return []
    left, right = max(span[0], min(sizes)), min(span[1], max(sizes))
    shade = pl.DataFrame({"n": [float(left)], "end": [float(right)]})
    base = alt.Chart(shade).encode(x=size_axis(sizes))
    label: dict[str, Any] = {
        "align": "left",
        "dx": 4,
        "dy": -5,
        "color": INK,
        "fontSize": 10,
        "fillOpacity": 0.75,
    }
    return [
        base.mark_rect(color=_GREY, fillOpacity=0.13).encode(x2="end:Q"),
        base.mark_text(text="measured", baseline="bottom", **label).encode(y=alt.value("height")),
    ]


def _band_layers(
    curve: pl.DataFrame, scale: float, title: str, *, log: bool = False
) -> list[alt.Chart]:
    sizes = curve["n"].to_list()
    rows = curve.select("n", *(pl.col(name) * scale for name in ("median", "low", "high")))
    y = alt.Y(
        "median:Q",
        title=title,
        scale=alt.Scale(type="log", nice=True) if log else alt.Scale(zero=True, nice=True),
        axis=alt.Axis(tickCount=5, titlePadding=10),
    )
    base = alt.Chart(rows).encode(x=size_axis(sizes))
    ends = {"y": alt.Y("low:Q", title=title), "y2": alt.Y2("high:Q")}
    return [
        base.mark_area(color=_BLUE, fillOpacity=0.22).encode(**ends),
        base.mark_rule(color=_BLUE, strokeOpacity=0.35).encode(**ends),
        base.mark_line(color=_BLUE, strokeWidth=2).encode(y=y),
        base.mark_point(color=_BLUE, filled=True, size=34).encode(y=y),
    ]


def _flag_layers(document: Mapping[str, Any], scale: float) -> list[alt.Chart]:
    rows = []
    for name, words in (
        ("average", "average cost"),
        ("marginal", "marginal"),
        ("throughput", "throughput"),
    ):
        flag = document["inversion"][name]
        if flag is not None:
            rows.append({"n": flag["n"], "word": f"{words} inverts"})
    limit = pl.DataFrame({"y": [document["limit"]["cost_per_unit"] * scale]})
    layers = [alt.Chart(limit).mark_rule(strokeDash=[3, 3], color=_GREY).encode(y="y:Q")]
    sizes = [point["n"] for point in document["points"]]
    for place, row in enumerate(rows):
        # A text left of a line near the left edge would be cut off.
        on_left = row["n"] * row["n"] > sizes[0] * sizes[-1]
        align: Literal["left", "right"] = "right" if on_left else "left"
        mark = alt.Chart(pl.DataFrame([row]))
        # Texts stand below each other, for flags may stand side by side.
        high = alt.value(8 + 14 * place)
        layers += [
            mark.mark_rule(color=_RED, strokeWidth=1.6).encode(x="n:Q"),
            mark.mark_text(align=align, dx=-5 if on_left else 5, color=INK, fontSize=11).encode(
                x="n:Q", y=high, text="word:N"
            ),
        ]
    return layers
