"""Standard charts: an Altair chart becomes static SVG that follows the page's colours."""

import json
import re
from collections.abc import Sequence
from typing import Any

import altair as alt
import vl_convert

from loadpath.brief.drawing import width_of
from loadpath.brief.picture import Figure, frame
from loadpath.errors import LoadpathError

__all__ = [
    "INK",
    "PART_COLOURS",
    "line_styles",
    "name_axis",
    "seconds_axis",
    "static",
    "time_axis",
]

INK = "currentColor"
"""Text and lines take the page's colour, so one drawing serves light, dark and print."""

PART_COLOURS = {
    "total": "#7f8793",
    "compute": "#4a7fb5",
    "host": "#a59c74",
    "input": "#7d5a2b",
    "overhead": "#b98a5a",
    "transfer": "#c9a227",
    "wait": "#c8503f",
    "bubble": "#9a7fa8",
    "launch_delay": "#6f9a8d",
    "idle": "#9aa0a8",
    "lag": "#6f9a8d",
}
"""Colours of what time goes into: mid tones that carry on white and on black."""

_UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")

_NEEDLESS = re.compile(
    r' (?:class|role|opacity|aria-[a-z-]+|pointer-[a-z-]+|font-family)="[^"]*"'
    r'| stroke-width="1"| font-weight="normal"| transform="translate\(0,0\)"'
    r'| font-size="11px"| text-anchor="start"'
)
"""What says nothing, or what the outer element says already."""
_EMPTY = re.compile(r'<path d=""[^>]*/>|<path d="M0,0h0v0h0Z"/>')
_ROUNDED = re.compile(r"(\d\.\d)\d+(?=[^<>]*>)")
_OUTER = re.compile(r'^<svg[^>]*viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>(.*)</svg>\s*$', re.DOTALL)


def name_axis(names: list[str], *, numbered: bool = False) -> alt.Axis:
    """Axis of names with room for the widest font, since the page's font is not known here.

    Parameters
    ----------
    names : list of str
        Labels as shown.
    numbered : bool
        Whether the axis holds places in `names`, so that labels cut alike stay apart.

    Returns
    -------
    altair.Axis
        Axis without ticks.
    """
    room = max(width_of(name) for name in names)
    axis = alt.Axis(ticks=False, domain=False, labelLimit=room, minExtent=room, maxExtent=room)
    if numbered:
        axis.labelExpr = f"{json.dumps(names)}[datum.value]"
    return axis


def time_axis(longest_s: float, **further: Any) -> tuple[str, alt.Axis]:
    """Axis of times in the unit that suits them, so that short times are not rows of zeros.

    Parameters
    ----------
    longest_s : float
        Longest time shown, in s.
    **further
        Fields of the axis.

    Returns
    -------
    unit : str
        Name of the unit.
    axis : altair.Axis
        Axis for values in s, with ticks in that unit.

    Examples
    --------
    >>> time_axis(0.0042)[0], time_axis(42.0)[0]
    ('milliseconds', 'seconds')
    """  # numpydoc ignore=PR01,PR02
    places = next((n for n in range(3) if longest_s * 1000**n >= 1), 3)
    label = f"format(datum.value * 1e{3 * places}, '.12~r')"
    return _UNITS[places], alt.Axis(tickCount=5, labelExpr=label, **further)


def seconds_axis(field: str, title: str, longest_s: float, axis: alt.Axis) -> alt.Y:
    """Lay times out from 0 upwards.

    Parameters
    ----------
    field : str
        Column of times in s.
    title : str
        What stands beside them.
    longest_s : float
        Upper end, in s.
    axis : altair.Axis
        Ticks, as of `time_axis`.

    Returns
    -------
    altair.Y
        Axis whose upper end is no rounder than asked for.
    """
    return alt.Y(
        f"{field}:Q", title=title, scale=alt.Scale(domain=[0, longest_s], nice=False), axis=axis
    )


def line_styles(
    field: str, names: Sequence[str], colours: Sequence[str], dashes: Sequence[list[int]]
) -> tuple[alt.Color, alt.StrokeDash]:
    """Tell lines apart by colour and dash, so that lines which coincide are both seen.

    Parameters
    ----------
    field : str
        Column of names.
    names, colours : sequence of str
        What the lines are called, and their colours.
    dashes : sequence of list of int
        Lengths of strokes and gaps.

    Returns
    -------
    altair.Color
        With the legend, above the chart.
    altair.StrokeDash
        Without one.
    """
    legend = alt.Legend(
        title=None,
        orient="top",
        labelColor=INK,
        symbolType="stroke",
        symbolSize=500,
        labelFontSize=11,
        columnPadding=24,
    )
    colour = alt.Color(f"{field}:N", scale=alt.Scale(domain=names, range=colours), legend=legend)
    return colour, alt.StrokeDash(
        f"{field}:N", scale=alt.Scale(domain=names, range=dashes), legend=None
    )


def static(figure: Figure, chart: alt.Chart | alt.LayerChart) -> Figure:
    """Render a chart without scripts.

    Parameters
    ----------
    figure : Figure
        Figure whose title, description and table are kept.
    chart : altair.Chart or altair.LayerChart
        Chart to draw.

    Returns
    -------
    Figure
        The same figure with its `svg`.

    Raises
    ------
    LoadpathError
        If vl-convert returns SVG of an unknown form.
    """
    spec = chart.configure(
        font="system-ui, sans-serif",
        background="transparent",
        padding={"left": 6, "top": 6, "right": 26, "bottom": 6},
        aria=False,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            labelColor=INK,
            titleColor=INK,
            gridColor=INK,
            domainColor=INK,
            tickColor=INK,
            gridOpacity=0.12,
            domainOpacity=0.4,
            tickOpacity=0.4,
            labelFontSize=11,
            titleFontSize=11,
            titleFontWeight="normal",
            labelLimit=230,
        ),
    ).to_dict()
    drawn = vl_convert.vegalite_to_svg(spec)
    match = _OUTER.match(drawn)
    if match is None:
        raise LoadpathError("vl-convert returned SVG of unknown form. Install a tested version.")
    width, height, body = float(match[1]), float(match[2]), match[3]
    # Clip paths of several charts on one page would share their names.
    named = re.sub(r'(id="|url\(#)(?=clip|gradient)', rf"\1{figure.name}-", body)
    spare = _EMPTY.sub("", _NEEDLESS.sub("", named))
    return frame(figure, (width, height), _ROUNDED.sub(r"\1", spare))
