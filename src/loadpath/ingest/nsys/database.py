"""Tables of an export, whatever its age: what is not there is empty.

An export has the tables whose events occurred, and columns by the version of its schema; names are
numbers into table ``StringIds``.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from loadpath.decode import check_regular, read_blocks
from loadpath.errors import InputError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Database", "opened"]

REMEDY = "Export it again: nsys export --type sqlite REPORT.nsys-rep."
MAGIC = b"SQLite format 3\0"
MOST_TEXT = 1 << 16
"""Longest value that is read, in bytes."""
FREE_STEPS, STEPS_PER_BYTE, LOOK_STEPS = 1_000_000, 16, 10_000
"""Steps of SQLite's machine that a query may take: a row of n columns has n bytes and takes 6 n + 3 or so."""
STORED = {pl.String: "text", pl.Int64: "integer"}
"""How SQLite calls the values of a column; it lets any column hold anything."""


class _Budget:
    """What a query may still take: pages that stand in each other's place hold more rows than their file.

    Parameters
    ----------
    n_byte : int
        Size of the file.
    """

    def __init__(self, n_byte: int) -> None:
        self._n_byte = n_byte
        self.refill()

    def refill(self) -> None:
        """Begin a query."""
        self._n_step = FREE_STEPS + STEPS_PER_BYTE * self._n_byte
        self._n_text = self._n_byte

    def is_out_of_steps(self) -> bool:
        """Note that the machine went on, and say whether it is to stop."""
        self._n_step -= LOOK_STEPS
        return self._n_step < 0

    def text(self, raw: bytes) -> str:
        """Read a text, cut where it is long."""
        self._n_text -= len(raw)
        if self._n_text < 0:
            raise sqlite3.DataError("holds more text than bytes")
        return raw[:MOST_TEXT].decode("utf-8", "replace")


class Database:
    """Read access to one export.

    Parameters
    ----------
    connection : sqlite3.Connection
        Opened file.
    name : str
        Its name, for errors.
    n_byte : int
        Its size.
    """

    def __init__(self, connection: sqlite3.Connection, name: str, n_byte: int) -> None:
        self._connection, self._name, self._budget = connection, name, _Budget(n_byte)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_TEXT * 16)
        connection.set_progress_handler(self._budget.is_out_of_steps, LOOK_STEPS)
        connection.text_factory = self._budget.text
        # a virtual table has no page: modules that the file names are not run
        told = self._rows("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0")
        self.tables = {str(row[0]) for row in told}

    def table(self, name: str, columns: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
        """Read some columns of a table.

        Parameters
        ----------
        name : str
            Table; an empty one is returned if it is not there.
        columns : mapping of str to data type
            Columns to read.

        Returns
        -------
        polars.DataFrame
            With null where a column is not there, or a value is not of its type.

        Raises
        ------
        InputError
            If the file is damaged.
        """
        if name not in self.tables:
            return pl.DataFrame(schema=dict(columns))
        there = {str(row[1]) for row in self._rows(f'PRAGMA table_info("{name}")')}
        known = [column for column in columns if column in there]
        if not known:
            return pl.DataFrame(schema=dict(columns))
        listed = ", ".join(
            f'CASE typeof("{column}") WHEN \'{STORED[columns[column]]}\' THEN "{column}" END'
            for column in known
        )
        rows = self._rows(f'SELECT {listed} FROM "{name}"')  # noqa: S608 - names of our own
        data = {
            column: pl.Series([row[i] for row in rows], dtype=columns[column])
            for i, column in enumerate(known)
        }
        frame = pl.DataFrame(data)
        missing = [pl.lit(None, columns[c]).alias(c) for c in columns if c not in there]
        return frame.with_columns(missing).select(*columns)

    def _rows(self, query: str) -> list[tuple[object, ...]]:
        self._budget.refill()
        try:
            return self._connection.execute(query).fetchall()
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
            is_spent = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT
            what = "holds more rows than bytes" if is_spent else first_line(error)
            raise InputError(self._name, f"damaged ({what})", REMEDY) from error


@contextmanager
def opened(path: Path) -> "Iterator[Database]":
    """Open an export, gzipped or not.

    Parameters
    ----------
    path : Path
        File.

    Yields
    ------
    Database
        Its tables; nothing in the file is run.

    Raises
    ------
    InputError
        If it is no database, or damaged.
    """
    check_regular(path)
    head = next(read_blocks(path), b"")
    with path.open("rb") as stream:
        is_plain = stream.read(len(MAGIC)) == MAGIC
    if not is_plain and not head.startswith(MAGIC):
        raise InputError(path.name, "no SQLite database", REMEDY)
    try:
        if is_plain:
            n_byte = path.stat().st_size
            connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        else:
            whole = b"".join(read_blocks(path))
            n_byte = len(whole)
            connection = sqlite3.connect(":memory:")
            connection.deserialize(whole)
    except (sqlite3.Error, MemoryError) as error:
        raise InputError(path.name, f"cannot be opened ({first_line(error)})", REMEDY) from error
    try:
        yield Database(connection, path.name, n_byte)
    except sqlite3.Error as error:
        raise InputError(path.name, f"damaged ({first_line(error)})", REMEDY) from error
    finally:
        connection.close()
