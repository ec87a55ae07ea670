"""Columns as bytes that compress well: whole numbers by planes of equal significance.

Numbers that follow one another are told by their differences; a number's sign goes into its last bit, so
that small numbers of either sign have empty high bytes. Planes that are all zero are not written. Text is
a list of the words that occur, and the number of each row's word.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.tables import TableSchema

__all__ = ["Packed", "pack_table", "unpack_table"]

Packed = dict[str, list[Any]]
"""By column: its form, and what that form holds."""
WORD_BYTES = 8
MOST_ROWS = 1 << 26
FEW = 256
"""Different numbers whose places fit one byte."""
IntArray = NDArray[np.int64]


def pack_table(table: pl.DataFrame) -> Packed:
    """Turn a table into bytes by column.

    Parameters
    ----------
    table : polars.DataFrame
        Whole numbers, flags, text, and lists of whole numbers.

    Returns
    -------
    dict of str to list
        What `unpack_table` reads.

    Examples
    --------
    >>> from loadpath.tables import Column
    >>> table = pl.DataFrame({"rank": [0, 0, 1]}, schema={"rank": pl.Int32})
    >>> schema = TableSchema("rank", "", (Column("rank", pl.Int32, ""),))
    >>> unpack_table(schema, pack_table(table), 3)["rank"].to_list()
    [0, 0, 1]
    """
    return {name: _packed(table[name]) for name in table.columns}


def unpack_table(schema: TableSchema, packed: Mapping[str, Any], n_row: int) -> pl.DataFrame:
    """Turn bytes back into a table.

    Parameters
    ----------
    schema : TableSchema
        What the table is to be.
    packed : mapping
        As `pack_table` made it, perhaps damaged since.
    n_row : int
        Rows that it is to have.

    Returns
    -------
    polars.DataFrame
        Table of that schema.

    Raises
    ------
    ValueError, KeyError, TypeError, polars.exceptions.PolarsError
        If it is none.
    InputError
        If a column is missing or unknown.
    """
    columns = {name: _unpacked(part, n_row) for name, part in packed.items()}
    return schema.build(pl.DataFrame(columns))


def _packed(column: pl.Series) -> list[Any]:
    if column.dtype.is_integer() or column.dtype == pl.Boolean:
        value = column.cast(pl.Int64).to_numpy()
        found, code = np.unique(value, return_inverse=True)
        if found.size <= FEW and value.size > FEW:
            return ["coded", *_shortest(found), found.size, *_shortest(code.astype(np.int64))]
        return ["whole", *_shortest(value)]
    if isinstance(column.dtype, pl.List):
        length = column.list.len().cast(pl.Int64).to_numpy()
        items = column.explode(empty_as_null=False).cast(pl.Int64).to_numpy()
        return ["lists", _shortest(length), items.size, _shortest(items)]
    words = column.cast(pl.String).unique(maintain_order=True)
    place = column.cast(pl.String).replace_strict(words, pl.int_range(words.len(), eager=True))
    return ["words", words.to_list(), *_shortest(place.cast(pl.Int64).to_numpy())]


def _unpacked(part: Any, n_row: int) -> pl.Series:
    form, *rest = part
    if form == "whole":
        return pl.Series(_whole(rest, n_row))
    if form == "coded":
        return pl.Series(_whole(rest[:2], rest[2])[_whole(rest[3:], n_row)])
    if form == "words":
        words = pl.Series(rest[0], dtype=pl.String)
        return words.gather(pl.Series(_whole(rest[1:], n_row)))
    if form != "lists":
        raise ValueError(f"unknown form {str(form)[:20]!r}")
    length = _whole(rest[0], n_row)
    if (length < 0).any() or int(length.sum()) != rest[1]:
        raise ValueError("lists whose lengths do not add up")
    items = pl.DataFrame(
        {"row": np.repeat(np.arange(n_row), length), "item": _whole(rest[2], rest[1])}
    )
    held = items.group_by("row", maintain_order=True).agg("item")
    every = pl.DataFrame({"row": np.arange(n_row)}).join(held, on="row", how="left")
    return every["item"].fill_null([])


def _shortest(value: IntArray) -> list[Any]:
    """Write numbers or their differences, whichever has fewer bytes that are not zero."""
    plain, steps = _planes(value), _planes(np.diff(value, prepend=0))
    held = [sum(n - plane.count(0) for plane in (p for p in planes if p) for n in [len(plane)])
            for planes in (plain, steps)]  # fmt: skip
    return [0, plain] if held[0] <= held[1] else [1, steps]


def _planes(value: IntArray) -> list[bytes]:
    """Bytes of all numbers, the lowest first; empty where all are zero."""
    folded = ((value << 1) ^ (value >> 63)).astype("<i8")
    planes = folded.view(np.uint8).reshape(-1, WORD_BYTES).T
    return [plane.tobytes() if plane.any() else b"" for plane in planes]


def _whole(written: Any, n_row: int) -> IntArray:
    """Read `n_row` numbers as `_shortest` wrote them."""
    is_steps, planes = written
    if not 0 <= n_row <= MOST_ROWS or len(planes) != WORD_BYTES:
        raise ValueError("wrong number of rows or planes")
    folded = np.zeros((n_row, WORD_BYTES), np.uint8)
    for place, plane in enumerate(planes):
        if plane:
            folded[:, place] = np.frombuffer(plane, np.uint8)
    number = folded.view("<u8").ravel()
    value = (number >> np.uint64(1)).astype(np.int64) ^ -(number & np.uint64(1)).astype(np.int64)
    return np.cumsum(value) if is_steps else value
