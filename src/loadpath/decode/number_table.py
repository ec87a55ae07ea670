"""Small CSV tables of numbers that people write by hand: all problems at once, each with its line."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import polars as pl

from loadpath.decode.blocks import read_blocks
from loadpath.decode.regular import check_regular
from loadpath.decode.table_file import short_lines
from loadpath.errors import InputError, first_line
from loadpath.tables.schema import TableSchema

__all__ = ["Bounds", "read_numbers"]

SHOWN = 3
LONGEST = 40


class Bounds(NamedTuple):
    """What a cell of a column may hold.

    Attributes
    ----------
    least, most : float
        Both may be reached, but for a `least` of 0 with `above`.
    above : bool
        Whether a number must be above `least`.
    needed : bool
        Whether no cell may be empty.
    """

    least: float
    most: float
    above: bool = False
    needed: bool = False


def read_numbers(
    path: Path, schema: TableSchema, bounds: Mapping[str, Bounds], remedy: str
) -> pl.DataFrame:
    """Read a CSV of numbers.

    Parameters
    ----------
    path : Path
        CSV; lines that begin with ``#`` are comments; an empty cell is unknown.
    schema : TableSchema
        Columns and their types; whole numbers are those of integer columns.
    bounds : mapping of str to Bounds
        Of every column.
    remedy : str
        What to do about problems.

    Returns
    -------
    polars.DataFrame
        Of `schema`, in the order of the file.

    Raises
    ------
    InputError
        If it cannot be read, lacks or repeats columns, has unknown ones, or a number is out of bounds; all
        problems are named with their lines.
    """
    lines, table = _cells(path, remedy)
    needed = [name for name, bound in bounds.items() if bound.needed]
    problems = [f"missing column {name!r}" for name in needed if name not in table.columns]
    unknown = [name for name in table.columns if name not in schema.schema]
    problems += [f"unknown column {_shown(name)}" for name in unknown[:SHOWN]]
    if not problems and table.is_empty():
        problems = ["no rows"]
    if problems:
        raise InputError(path.name, problems, remedy)
    typed = table.select(
        pl.col(name).str.strip_chars().replace("", None).cast(dtype, strict=False).alias(name)
        if name in table.columns
        else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in schema.schema.items()
    )
    problems = [
        problem
        for name in table.columns
        for problem in _problems(table[name], typed[name], bounds[name], lines)
    ]
    if problems:
        raise InputError(path.name, problems, remedy)
    return schema.validate(typed)


def _cells(path: Path, remedy: str) -> tuple[list[int], pl.DataFrame]:
    """Return the cells as text, and the line of the file that each row came from."""
    try:
        raw = b"".join(short_lines(read_blocks(check_regular(path)), path.name))
        text = raw.decode("utf-8-sig")
        numbered = [
            (number, line)
            for number, line in enumerate(text.splitlines(), start=1)
            if line.strip() and not line.startswith("#")
        ]
        kept = "\n".join(line for _, line in numbered)
        table = pl.read_csv(kept.encode(), infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise InputError(path.name, f"cannot be read ({first_line(error)})", remedy) from error
    return [number for number, _ in numbered[1:]], table.rename(str.strip)


def _problems(cells: pl.Series, value: pl.Series, bound: Bounds, lines: list[int]) -> list[str]:
    told = cells.str.strip_chars().replace("", None)
    sound = value.is_between(bound.least, bound.most) & value.is_not_null()
    if bound.above:
        sound &= value > bound.least
    wrong = ~sound.fill_null(value=False) & (told.is_not_null() | bound.needed)
    span = f"above {bound.least:g}, at most" if bound.above else f"from {bound.least:g} to"
    if value.dtype.is_integer():
        kind = f"a whole number {span} {bound.most}"
    else:
        kind = f"{span} {bound.most:g}"
    return [
        f"line {lines[row]}: {cells.name} is {_shown(told[row])}, not {kind}"
        for row in wrong.arg_true().head(SHOWN)
    ]


def _shown(text: str | None) -> str:
    """Quote what was read, the beginning where it is long."""
    return repr(text if text is None or len(text) <= LONGEST else text[:LONGEST] + "...")
