"""SVG by hand: text, bars, lines and round ticks, as strings."""

from html import escape
from math import floor, log10

from loadpath.brief.visible import visible

__all__ = ["bars", "label", "labels", "line", "number", "rectangle", "strips", "ticks", "width_of"]


def number(value: float) -> str:
    """Write a coordinate with at most one decimal.

    Parameters
    ----------
    value : float
        Coordinate in user units.

    Returns
    -------
    str
        Such as ``12.5`` or ``12``.

    Examples
    --------
    >>> number(12.04), number(12.25)
    ('12', '12.2')
    """
    return f"{value:.1f}".removesuffix(".0")


def width_of(text: str, *, size: float = 11) -> float:
    """Estimate the width of a text in a common sans-serif font, on the wide side.

    Parameters
    ----------
    text : str
        Text as shown.
    size : float
        Font size in user units.

    Returns
    -------
    float
        Width in user units.
    """
    return 0.6 * size * len(text)


def label(x: float, y: float, text: str, *, anchor: str = "start", style: str = "") -> str:
    """Draw a text.

    Parameters
    ----------
    x, y : float
        Anchor point on the base line.
    text : str
        Any text; it is escaped.
    anchor : {"start", "middle", "end"}
        Which end of the text lies at `x`.
    style : str
        Further attributes, as written.

    Returns
    -------
    str
        SVG element.

    Examples
    --------
    >>> label(1, 2, "<b>")
    '<text x="1" y="2">&lt;b&gt;</text>'
    """
    side = "" if anchor == "start" else f' text-anchor="{anchor}"'
    extra = f" {style}" if style else ""
    words = escape(visible(text))
    return f'<text x="{number(x)}" y="{number(y)}"{side}{extra}>{words}</text>'


def labels(items: list[tuple[float, float, str]], style: str) -> str:
    """Draw many texts of one look in one group, which keeps pages small.

    Parameters
    ----------
    items : list of (x, y, str)
        Anchor points on the base line, and texts; they are escaped.
    style : str
        Attributes of all, as written.

    Returns
    -------
    str
        SVG element, empty without texts.

    Examples
    --------
    >>> labels([(1, 2, "a")], 'fill="red"')
    '<g fill="red"><text x="1" y="2">a</text></g>'
    """
    if not items:
        return ""
    drawn = "".join(
        f'<text x="{number(x)}" y="{number(y)}">{escape(visible(text))}</text>'
        for x, y, text in items
    )
    return f"<g {style}>{drawn}</g>"


def line(start: tuple[float, float], end: tuple[float, float], style: str = "") -> str:
    """Draw a straight line; faint unless `style` says otherwise.

    Parameters
    ----------
    start, end : (float, float)
        Points.
    style : str
        Attributes, as written.

    Returns
    -------
    str
        SVG element.
    """
    look = style or 'stroke="currentColor" stroke-opacity=".18"'
    return (
        f'<line x1="{number(start[0])}" y1="{number(start[1])}" '
        f'x2="{number(end[0])}" y2="{number(end[1])}" {look}/>'
    )


def rectangle(corner: tuple[float, float], size: tuple[float, float], style: str) -> str:
    """Draw a rectangle.

    Parameters
    ----------
    corner, size : (float, float)
        Upper left corner; width and height.
    style : str
        Attributes, as written.

    Returns
    -------
    str
        SVG element.
    """
    return (
        f'<rect x="{number(corner[0])}" y="{number(corner[1])}" '
        f'width="{number(size[0])}" height="{number(size[1])}" {style}/>'
    )


def bars(boxes: list[tuple[float, float, float, float]], style: str) -> str:
    """Draw many boxes of one look as one element, which keeps pages small.

    Parameters
    ----------
    boxes : list of (x, y, width, height)
        Boxes in user units.
    style : str
        Attributes, as written.

    Returns
    -------
    str
        SVG element, empty without boxes.
    """
    if not boxes:
        return ""
    drawn = "".join(
        f"M{number(x)} {number(y)}h{number(w)}v{number(h)}h-{number(w)}z" for x, y, w, h in boxes
    )
    return f'<path d="{drawn}" {style}/>'


def strips(spans: list[tuple[float, float, float]], height: float, colour: str) -> str:
    """Draw many bars of one height and look as one stroke, in as few letters as possible.

    Parameters
    ----------
    spans : list of (x, y, width)
        Left end on the middle line, and width, in user units.
    height : float
        Height of all bars.
    colour : str
        Stroke attributes, as written.

    Returns
    -------
    str
        SVG element, empty without bars.

    Examples
    --------
    >>> strips([(1, 5, 2), (4, 5, 2)], 12, 'stroke="red"')
    '<path d="M1 5h2m1 0h2" stroke-width="12" fill="none" stroke="red"/>'
    """
    if not spans:
        return ""
    parts, at = [], (0, -1.0)
    for x, y, wide in sorted(spans, key=lambda span: (span[1], span[0])):
        # Whole tenths: rounding each move by itself would let a long row drift.
        left, right = round(10 * x), round(10 * (x + wide))
        move = f"m{number((left - at[0]) / 10)} 0" if y == at[1] else f"M{number(x)} {number(y)}"
        parts.append(f"{move}h{number((right - left) / 10)}")
        at = (right, y)
    return f'<path d="{"".join(parts)}" stroke-width="{number(height)}" fill="none" {colour}/>'


def ticks(limit: float, n_most: int = 6) -> list[float]:
    """Choose round values from 0 to at most `limit`.

    Parameters
    ----------
    limit : float
        Largest value shown, not negative.
    n_most : int
        Most steps between ticks.

    Returns
    -------
    list of float
        Ticks, 0 first.

    Examples
    --------
    >>> ticks(4.7), ticks(0.0)
    ([0.0, 1.0, 2.0, 3.0, 4.0], [0.0])
    """
    if limit <= 0:
        return [0.0]
    power = 10.0 ** floor(log10(limit / n_most))
    step = next(m * power for m in (1, 2, 5, 10) if limit / (m * power) <= n_most)
    return [round(k * step, 12) for k in range(int(limit / step + 1e-9) + 1)]
