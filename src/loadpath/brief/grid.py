"""A table as shown: headings in words, cells that carry their exact value."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from loadpath.brief.names import listing
from loadpath.units import format_ratio, format_seconds

__all__ = ["Cell", "Grid", "grid", "ratio_cell", "seconds_cell", "shown"]

_HEADINGS = {
    "key": "which",
    "slowdown_ratio": "slowdown alone",
    "removal_ratio": "waste removed",
    "addition_ratio": "waste added",
    "gain_s": "returns a step",
    "gain_low_s": "at least",
    "gain_high_s": "at most",
    "excess_s": "beyond peers",
    "wait_s": "waiting",
    "mean_s": "mean over ranks",
    "start_s": "start",
    "end_s": "end",
    "measured_s": "measured",
    "replayed_s": "replayed",
    "without_cause_s": "without the cause",
    "ideal_s": "all ideal",
    "op_class": "op class",
    "n_waits": "waits",
    "hops_mean": "mean distance",
    "direct_s": "arrived last",
    "transitive_s": "root of the wait",
    "order": "place",
    "intermittent": "some steps only",
    "gain_ratio": "of the step",
    "passed_on_ratio": "of each further second reaches the step",
    "saving_ratio": "machine time saved",
    "cost": "takes",
    "removal_s": "removed alone",
    "addition_s": "alone in the ideal",
    "shapley_s": "fair share",
    "error_s": "standard error",
    "right": "agrees with the proof",
    "name": "longest op",
    "limit": "class",
    "elasticity_ratio": "elasticity",
    "elasticity_low_ratio": "at least",
    "elasticity_high_ratio": "at most",
    "gain_tenth_ratio": "10 % faster",
    "gain_half_ratio": "half the time",
    "gain_whole_ratio": "no time",
    "value_ratio": "value",
    "value_low_ratio": "at least",
    "value_high_ratio": "at most",
    "part_s": "of a step",
    "whole_s": "over",
    "n_hops": "changes of rank",
    "n_ranks": "ranks",
    "n_steps": "steps",
    "distance_s": "time",
    "size_ratio": "work longer by",
    "most_ratio": "at most",
    "share_ratio": "share of ranks",
    "duration_ratio": "share of a step",
    "growth_ratio": "step longer by",
    "growth_low_ratio": "at least",
    "growth_high_ratio": "at most",
}


_WORDS = frozenset({"by", "sink", "state", "mechanism", "kind", "limit", "factor"})
_NAMES = frozenset({"key", "op_class", "name"})
_LONGEST = 80


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes
    ----------
    text : str
        What is shown.
    value : float, int or None
        The exact number behind it, None for text.
    title : str
        The whole text where only its beginning is shown.
    """

    text: str
    value: float | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table ready for the page.

    Attributes
    ----------
    headings : tuple of str
        One per column.
    looks : tuple of {"number", "flag", "word", "name", "text"}
        How each column is set.
    rows : tuple of tuple of Cell
        Cells.
    n_hidden : int
        Rows that are in the audit but not here.
    """

    headings: tuple[str, ...]
    looks: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    n_hidden: int


def grid(table: pl.DataFrame, columns: Iterable[str] = (), *, n_most: int = 48) -> Grid:
    """Lay out a table.

    Parameters
    ----------
    table : polars.DataFrame
        Result table.
    columns : iterable of str
        Columns shown, all if empty.
    n_most : int
        Most rows shown.

    Returns
    -------
    Grid
        First rows; the others are counted.

    Examples
    --------
    >>> page = grid(pl.DataFrame({"rank": [0], "gain_s": [0.5]}))
    >>> page.headings, page.rows[0][1]
    (('rank', 'returns a step'), Cell(text='500 ms', value=0.5, title=''))
    """
    chosen = table.select(list(columns) or table.columns)
    return Grid(
        tuple(_HEADINGS.get(name, name.replace("_", " ")) for name in chosen.columns),
        tuple(_look(name, dtype) for name, dtype in chosen.schema.items()),
        tuple(
            tuple(_cell(name, value) for name, value in row.items())
            for row in chosen.head(n_most).iter_rows(named=True)
        ),
        max(0, table.height - n_most),
    )


def shown(name: str, value: float | None) -> str:
    """Write a number in the unit that its name declares.

    Parameters
    ----------
    name : str
        Name of the column or field; its suffix is its unit.
    value : float or None
        Number, None where it was not assessed.

    Returns
    -------
    str
        Such as ``77.1 ms`` for ``gain_s`` or ``49.3 %`` for ``removal_ratio``.

    Examples
    --------
    >>> shown("gain_s", 0.0771), shown("waste_ratio", 0.4932), shown("gain_s", None)
    ('77.1 ms', '49.3 %', 'not assessed')
    """
    if value is None or value != value:  # noqa: PLR0124  (NaN is the value that differs from itself)
        return "not assessed"
    if name.endswith("slowdown_ratio"):
        return f"{value:z.3f}"
    if name.endswith("_ratio"):
        return format_ratio(value)
    if name.endswith("_s"):
        return format_seconds(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:z.2f}"


def ratio_cell(value: float) -> Cell:
    """Write a share.

    Parameters
    ----------
    value : float
        Share, 1 is all.

    Returns
    -------
    Cell
        Percent, with the exact value.
    """
    return Cell(shown("_ratio", value), value)


def seconds_cell(value: float) -> Cell:
    """Write a time.

    Parameters
    ----------
    value : float
        Seconds.

    Returns
    -------
    Cell
        Time in a fitting unit, with the exact value.
    """
    return Cell(shown("_s", value), value)


def _look(name: str, dtype: pl.DataType) -> str:
    if dtype.is_numeric():
        return "number"
    if dtype == pl.Boolean:
        return "flag"
    return "name" if name in _NAMES else "word" if name in _WORDS else "text"


def _named(value: str) -> Cell:
    if len(value) <= _LONGEST:
        return Cell(value)
    return Cell(f"{value[: _LONGEST - 1]}…", title=value)


def _worded(name: str, value: str) -> Cell:
    if (name, value) == ("mechanism", "unknown"):
        return Cell("device or host")
    return Cell(value.replace("_", " ") if name in _WORDS else value)


def _cell(name: str, value: Any) -> Cell:
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if isinstance(value, list):
        return Cell(listing(value))
    if isinstance(value, str):
        return _named(value) if name in _NAMES else _worded(name, value)
    absent = value is None or (name == "rank" and value == -1)
    # Ranks and steps are names, not amounts: no thousands separator.
    text = "—" if absent else str(value) if name in {"rank", "step"} else shown(name, value)
    return Cell(text, value)
