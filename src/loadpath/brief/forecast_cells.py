"""Cells and headings of the tables of a forecast's page."""

from collections.abc import Sequence

from loadpath.brief.amounts import rounded
from loadpath.brief.grid import Cell, Grid
from loadpath.units import format_ratio, format_seconds

__all__ = ["NONE", "count", "known", "laid", "number", "ratio", "seconds"]

NONE = Cell("—")
"""Stands where nothing is known."""


def laid(headings: Sequence[str], rows: Sequence[Sequence[Cell]], n_text: int = 1) -> Grid:
    """Lay out rows whose first columns are text.

    Parameters
    ----------
    headings : sequence of str
        Of the columns.
    rows : sequence of sequence of Cell
        Cells.
    n_text : int
        Columns of text; the others are numbers.

    Returns
    -------
    Grid
        All rows shown.
    """
    looks = tuple("text" if place < n_text else "number" for place in range(len(headings)))
    return Grid(tuple(headings), looks, tuple(tuple(row) for row in rows), 0)


def known(grid: Grid) -> Grid:
    """Leave out columns of which no row knows anything.

    Parameters
    ----------
    grid : Grid
        A table.

    Returns
    -------
    Grid
        The same without them; all of them where it has no rows.
    """
    keep = [
        place
        for place in range(len(grid.headings))
        if not grid.rows or any(row[place] != NONE for row in grid.rows)
    ]
    rows = tuple(tuple(row[place] for place in keep) for row in grid.rows)
    headings = tuple(grid.headings[place] for place in keep)
    return Grid(headings, tuple(grid.looks[place] for place in keep), rows, grid.n_hidden)


def number(value: float | None) -> Cell:
    """Show a number with three significant digits.

    Parameters
    ----------
    value : float or None
        Any.

    Returns
    -------
    Cell
        `NONE` where there is none.
    """
    return NONE if value is None else Cell(rounded(value), value)


def count(value: int) -> Cell:
    """Show a whole number.

    Parameters
    ----------
    value : int
        Any.

    Returns
    -------
    Cell
        With separators of thousands.
    """
    return Cell(f"{value:,}", value)


def ratio(value: float | None) -> Cell:
    """Show a share in percent.

    Parameters
    ----------
    value : float or None
        Any.

    Returns
    -------
    Cell
        `NONE` where there is none.
    """
    return NONE if value is None else Cell(format_ratio(value), value)


def seconds(value: float | None) -> Cell:
    """Show a time.

    Parameters
    ----------
    value : float or None
        In s.

    Returns
    -------
    Cell
        `NONE` where there is none.
    """
    return NONE if value is None else Cell(format_seconds(value), value)
