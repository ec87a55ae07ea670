"""A matrix of ranks as a picture: rows, columns, a colour key, and the accused ranks marked."""

from dataclasses import dataclass, field

import numpy as np
import polars as pl

from loadpath.brief.drawing import label, line, rectangle, width_of
from loadpath.brief.pixels import cividis, image, max_pool
from loadpath.units import format_seconds

__all__ = ["MatrixMap", "draw_matrix"]

_TOP = 26.0
_MOST_BLOCKS = 8000
_MARK = 'font-weight="600"'


@dataclass(frozen=True, slots=True)
class MatrixMap:
    """What to draw.

    Attributes
    ----------
    cells : polars.DataFrame
        Columns ``row`` and ``column`` (any ordered values) and ``value`` (seconds).
    row_title, column_title, value_title : str
        Words on the axes and on the colour key.
    row_label, column_label : mapping of value to str
        Text beside a row, and below a column; the value itself where left out.
    borders : tuple of int
        Numbers of rows (and columns) before which a block begins.
    marked : tuple of int
        Row values pointed at.
    width, height : float
        Room for the cells, in user units.
    """

    cells: pl.DataFrame
    row_title: str
    column_title: str
    value_title: str
    row_label: dict[int, str]
    marked: tuple[int, ...]
    width: float
    height: float
    column_label: dict[int, str] = field(default_factory=dict)
    borders: tuple[int, ...] = ()


def draw_matrix(wanted: MatrixMap) -> tuple[tuple[float, float], str]:
    """Draw a matrix; more rows than pixels are pooled by their maximum.

    Parameters
    ----------
    wanted : MatrixMap
        What to draw.

    Returns
    -------
    ((float, float), str)
        Width and height of the drawing, and its SVG elements.
    """
    rows = wanted.cells["row"].unique().sort().to_list()
    columns = wanted.cells["column"].unique().sort().to_list()
    shown_rows = _shown(len(rows), wanted.height)
    texts = {i: wanted.row_label.get(rows[i], str(rows[i])) for i in _spread(len(rows), 16)}
    left = max(width_of(text) for text in [wanted.row_title, *texts.values()]) + 10
    pooled = shown_rows < len(rows)
    key = 190 + width_of(_key_words(wanted, pooled=pooled))
    size = (left + max(wanted.width + 62, key), _TOP + wanted.height + 74)
    body = [
        _cells(wanted, (rows, columns), left),
        *_borders(wanted, len(rows), left),
        label(left - 8, _TOP - 10, wanted.row_title, anchor="end", style='fill-opacity=".7"'),
        *_row_labels(texts, len(rows), left, wanted.height),
        *_marks(wanted, rows, left),
        *_column_axis(columns, wanted, left),
        _key(wanted, left, pooled=pooled),
    ]
    return size, "".join(body)


def _shown(n_wanted: int, room: float) -> int:
    # Two units a cell: still one pixel where the page shows the drawing at half its size.
    return max(1, min(n_wanted, int(room // 2)))


def _spread(n_all: int, n_most: int) -> list[int]:
    # Evenly spread, the last one included.
    if n_all <= n_most:
        return list(range(n_all))
    return sorted({round(k * (n_all - 1) / (n_most // 2)) for k in range(n_most // 2 + 1)})


def _cells(wanted: MatrixMap, axes: tuple[list[int], list[int]], left: float) -> str:
    rows, columns = axes
    shape = (len(rows), len(columns))
    indexed = wanted.cells.select(
        pl.col("row").replace_strict(rows, range(shape[0]), return_dtype=pl.Int64),
        pl.col("column").replace_strict(columns, range(shape[1]), return_dtype=pl.Int64),
        "value",
    )
    shown = (_shown(shape[0], wanted.height), _shown(shape[1], wanted.width))
    matrix = max_pool(indexed, shape, shown)
    room = zip((wanted.height, wanted.width), shown, strict=True)
    # Few cells are written as whole blocks, lest a viewer smooth them; many would weigh too much.
    down, across = (int(np.ceil(a / b)) if matrix.size <= _MOST_BLOCKS else 1 for a, b in room)
    uri = image(matrix, _largest(wanted), (down, across))
    return (
        f'<image x="{left:g}" y="{_TOP:g}" width="{wanted.width:g}" height="{wanted.height:g}" '
        f'preserveAspectRatio="none" style="image-rendering:pixelated" href="{uri}"/>'
    )


def _largest(wanted: MatrixMap) -> float:
    return max(0.0, float(np.asarray(wanted.cells["value"].max())))


def _borders(wanted: MatrixMap, n_row: int, left: float) -> list[str]:
    lines, look = [], 'stroke="#f3f4f6" stroke-opacity=".75" stroke-width="1"'
    for border in wanted.borders:
        x, y = left + wanted.width * border / n_row, _TOP + wanted.height * border / n_row
        lines.append(line((x, _TOP), (x, _TOP + wanted.height), look))
        lines.append(line((left, y), (left + wanted.width, y), look))
    return lines


def _row_labels(texts: dict[int, str], n_row: int, left: float, height: float) -> list[str]:
    return [
        label(left - 8, _TOP + height * (i + 0.5) / n_row + 4, text, anchor="end")
        for i, text in texts.items()
    ]


def _marks(wanted: MatrixMap, rows: list[int], left: float) -> list[str]:
    # Under a quarter of the ranks, else an arrow at each would say nothing.
    if 4 * len(wanted.marked) > max(len(rows), 4):
        return []
    at = [rows.index(rank) for rank in wanted.marked if rank in rows]
    return [
        label(
            left + wanted.width + 4,
            _TOP + wanted.height * (i + 0.5) / len(rows) + 4,
            "◀ cause" if i == at[0] else "◀",
            style=_MARK,
        )
        for i in at
    ]


def _column_axis(columns: list[int], wanted: MatrixMap, left: float) -> list[str]:
    base = _TOP + wanted.height
    names = [wanted.column_label.get(column, str(column)) for column in columns]
    longest = max(width_of(name) for name in names)
    parts = []
    for i in _spread(len(columns), max(2, int(wanted.width / (longest + 10)))):
        x = left + wanted.width * (i + 0.5) / len(columns)
        parts += [line((x, base), (x, base + 4), 'stroke="currentColor" stroke-opacity=".5"')]
        parts += [label(x, base + 16, names[i], anchor="middle")]
    middle = left + wanted.width / 2
    parts += [
        label(middle, base + 32, wanted.column_title, anchor="middle", style='fill-opacity=".7"')
    ]
    return parts


def _key_words(wanted: MatrixMap, *, pooled: bool) -> str:
    return wanted.value_title + ("; a pixel row is the largest of its ranks" if pooled else "")


def _key(wanted: MatrixMap, left: float, *, pooled: bool) -> str:
    y, n_shade, wide = _TOP + wanted.height + 46, 40, 160.0
    step = wide / n_shade
    shades = [
        rectangle((left + k * step, y), (step + 0.5, 9), f'fill="{cividis(k / (n_shade - 1))}"')
        for k in range(n_shade)
    ]
    texts = [
        label(left, y + 22, "0"),
        label(left + wide, y + 22, format_seconds(_largest(wanted)), anchor="end"),
        label(
            left + wide + 12, y + 9, _key_words(wanted, pooled=pooled), style='fill-opacity=".7"'
        ),
    ]
    return "".join([*shades, *texts])
