"""Declared tables: each column has a name, a type, a unit and a sentence; data is held to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from loadpath.errors import InputError

__all__ = ["Column", "TableSchema"]


@dataclass(frozen=True, slots=True)
class Column:
    """One declared column.

    Attributes
    ----------
    name : str
        Name; its suffix is its unit (``_ns``, ``_bytes``, ``_ratio``).
    dtype : polars data type
        Type of the values.
    doc : str
        What a value means.
    default : object
        Value of a row that does not say; None where each row must say.
    nullable : bool
        Whether a value may be missing: it then means *not assessable*.
    """

    name: str
    dtype: pl.DataType | type[pl.DataType]
    doc: str
    default: Any = None
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A declared table.

    Attributes
    ----------
    name : str
        Singular noun: what one row is.
    doc : str
        What a row is, in a sentence.
    columns : tuple of Column
        Columns in order.
    """

    name: str
    doc: str
    columns: tuple[Column, ...]

    @property
    def schema(self) -> dict[str, pl.DataType | type[pl.DataType]]:
        """Column names and types, in order."""
        return {column.name: column.dtype for column in self.columns}

    def empty(self) -> pl.DataFrame:
        """Return a table of this schema without rows.

        Returns
        -------
        polars.DataFrame
            No rows, all columns.
        """
        return pl.DataFrame(schema=self.schema)

    def build(self, data: Mapping[str, Any] | pl.DataFrame) -> pl.DataFrame:
        """Make a table of this schema: fill defaults, cast, order the columns.

        Parameters
        ----------
        data : mapping of column name to values, or DataFrame
            Columns without a default must be there; further columns are an error.

        Returns
        -------
        polars.DataFrame
            A table that matches the schema.

        Raises
        ------
        InputError
            If columns are missing, unknown, of another type, or hold nulls; all are named.
        """
        frame = data if isinstance(data, pl.DataFrame) else pl.DataFrame(dict(data))
        known, there = {column.name for column in self.columns}, set(frame.columns)
        problems = [f"unknown column {name!r}" for name in frame.columns if name not in known]
        problems += [
            f"missing column {column.name!r} ({column.doc})"
            for column in self.columns
            if column.name not in there and column.default is None
        ]
        if problems:
            raise InputError(f"table {self.name}", problems, "Give every declared column.")
        if frame.schema != self.schema:
            frame = frame.select(
                _cast(column, there=column.name in there) for column in self.columns
            )
        return self.validate(frame)

    def validate(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Check that a table matches this schema.

        Parameters
        ----------
        frame : polars.DataFrame
            Table to check.

        Returns
        -------
        polars.DataFrame
            The same table.

        Raises
        ------
        InputError
            If a column is missing, has another type, or holds nulls; all are named.
        """
        problems, schema = [], frame.schema  # Polars makes a schema anew each time
        for column in self.columns:
            if column.name not in schema:
                problems.append(f"missing column {column.name!r}")
            elif schema[column.name] != column.dtype:
                problems.append(
                    f"column {column.name!r} is {schema[column.name]}, not {column.dtype}"
                )
            elif not column.nullable and frame[column.name].null_count():
                problems.append(f"column {column.name!r} has empty values")
        if problems:
            raise InputError(f"table {self.name}", problems, "See docs/formats/audit.md.")
        return frame


def _cast(column: Column, *, there: bool) -> pl.Expr:
    """Take a column of a table, or its default, as what the schema says."""
    found = pl.col(column.name) if there else pl.lit(column.default).alias(column.name)
    return found.cast(column.dtype)
