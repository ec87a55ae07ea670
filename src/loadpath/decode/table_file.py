"""Parquet and CSV files within bounds: a small file that becomes a large table is refused."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import polars as pl

from loadpath.decode.blocks import BLOCK_BYTES, FREE_BYTES, MAX_EXPANSION
from loadpath.decode.parquet_headers import check_headers
from loadpath.decode.regular import check_table
from loadpath.errors import InputError, first_line

__all__ = ["read_cells", "read_table", "read_whole_numbers", "short_lines"]

LONGEST_LINE_BYTES = 1 << 20
ROW_BYTES = 64
"""What a row takes in memory, about."""
REMEDY = "Check that the file is what its name says."


def read_table(path: Path) -> pl.DataFrame:
    """Read all columns of a table.

    Parameters
    ----------
    path : Path
        ``.parquet``; anything else is read as CSV.

    Returns
    -------
    polars.DataFrame
        The table, with the types of the file.

    Raises
    ------
    InputError
        If a small Parquet file says that it holds very many rows, a header claims more than the
        file holds, or a line of a CSV has 1 MiB and more; other damage is raised as Polars says it.
    """
    if path.suffix.lower() == ".parquet":
        check_headers(path)
        _check_rows(path)
        return pl.read_parquet(path)
    _check_lines(path)
    return pl.read_csv(path)


def read_cells(path: Path, remedy: str) -> pl.DataFrame:
    """Read a CSV of a few columns, each cell as the text that stands there.

    Parameters
    ----------
    path : Path
        File.
    remedy : str
        What the user is told to give where it is no CSV.

    Returns
    -------
    polars.DataFrame
        Columns of strings, null where a cell is empty.

    Raises
    ------
    InputError
        If the file cannot be opened, is no CSV, or has a line of 1 MiB and more.
    """
    try:
        _check_lines(check_table(path))
        return pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(path.name, f"cannot be read ({first_line(error)})", remedy) from error


def read_whole_numbers(path: Path, columns: Sequence[str], remedy: str) -> pl.DataFrame:
    """Read a CSV of whole numbers.

    Parameters
    ----------
    path : Path
        File.
    columns : sequence of str
        Columns that it must have; others are left out.
    remedy : str
        As of `read_cells`.

    Returns
    -------
    polars.DataFrame
        ``line`` of the file, and the columns as int64, null where a cell holds something else.

    Raises
    ------
    InputError
        As `read_cells`, or if columns are missing.
    """
    cells = read_cells(path, remedy)
    missing = [f"missing column {name!r}" for name in columns if name not in cells]
    if missing:
        raise InputError(path.name, missing, remedy)
    whole = pl.col(columns).str.strip_chars().cast(pl.Int64, strict=False)
    return cells.select(whole).with_row_index("line", offset=2)


def _check_rows(path: Path) -> None:
    n_row = int(pl.scan_parquet(path).select(pl.len()).collect().item())
    if n_row * ROW_BYTES > max(FREE_BYTES, MAX_EXPANSION * path.stat().st_size):
        what = f"{n_row} rows expand more than {MAX_EXPANSION} times (a bomb?)"
        raise InputError(path.name, what, REMEDY)


def _check_lines(path: Path) -> None:
    with path.open("rb") as stream:
        for _ in short_lines(iter(partial(stream.read, BLOCK_BYTES), b""), path.name):
            pass


def short_lines(blocks: Iterable[bytes], name: str) -> Iterator[bytes]:
    r"""Pass on the blocks of a text until a line is too long to be one of a table.

    Parameters
    ----------
    blocks : iterable of bytes
        The text.
    name : str
        File, for errors.

    Yields
    ------
    bytes
        Blocks.

    Raises
    ------
    InputError
        If a line has 1 MiB and more.

    Examples
    --------
    >>> list(short_lines([b"a,b\n1", b",2\n"], "a.csv"))
    [b'a,b\n1', b',2\n']
    """
    n_byte = 0
    for block in blocks:
        end = block.rfind(b"\n")
        n_byte = n_byte + len(block) if end < 0 else len(block) - end - 1
        if n_byte >= LONGEST_LINE_BYTES:
            what = f"a line of {LONGEST_LINE_BYTES >> 20} MiB and more"
            raise InputError(name, what, REMEDY)
        yield block
