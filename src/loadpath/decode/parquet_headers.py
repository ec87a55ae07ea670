"""Headers in a Parquet file, walked before Polars reads them.

Polars asks for the memory that a header claims, and where none can be had the process ends: what
claims more than its file holds is refused before.
"""

import mmap
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from loadpath.errors import InputError

__all__ = ["check_headers"]

MAGIC = b"PAR1"
TAIL_BYTES = 8
DEEPEST = 32
TRUE, FALSE, BYTE, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = 1, 2, 3, 6, 7, 8, 9, 10, 11, 12
LONG_LIST = 15
ROW_GROUPS, COLUMNS, CHUNK = 4, 1, 3
CHUNK_VALUES, CHUNK_BYTES, DATA_PLACE, WORDS_PLACE = 5, 7, 9, 11
UNPACKED_BYTES, PAGE_BYTES, DATA_PAGE, WORDS_PAGE, DATA_PAGE_2, PAGE_VALUES = 2, 3, 5, 7, 8, 1
"""Numbers of fields in the format's Thrift definition."""


class _DamagedError(Exception):
    """A header that claims more than there is."""


def check_headers(path: Path) -> None:
    """Refuse a Parquet file whose headers claim more than the file holds.

    Parameters
    ----------
    path : Path
        Parquet file; another file passes, for its reader says better what is wrong.

    Raises
    ------
    InputError
        If the footer or the header of a page is damaged.

    References
    ----------
    .. [1] Apache Parquet, "File Format", and Apache Thrift, "Thrift Compact Protocol": places of
       footer, column chunks and page headers, and how these are encoded.
    """
    with path.open("rb") as stream:
        if stream.seek(0, 2) <= TAIL_BYTES + len(MAGIC):
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                _walk(data)
            except (_DamagedError, IndexError, struct.error) as error:
                what = "damaged: a header claims more than the file holds"
                raise InputError(path.name, what, "Copy or export the table again.") from error


def _walk(data: mmap.mmap) -> None:
    n_byte, magic = struct.unpack("<I4s", data[-TAIL_BYTES:])
    begin = len(data) - TAIL_BYTES - n_byte
    if magic != MAGIC or begin < len(MAGIC):
        return
    footer, _ = _struct(data, begin, 0)
    for place, end, n_value in _chunks(footer):
        while 0 < place < min(end, begin):
            page, place = _struct(data, place, 0)  # noqa: PLW2901 - the next page follows
            _check_page(page, n_value)
            size = _whole_of(page, PAGE_BYTES)
            if size < 0:
                break
            place += size  # noqa: PLW2901


def _check_page(page: Mapping[int, Any], n_value: int) -> None:
    """Refuse more values than the column chunk has, or more words than bytes hold."""
    most = {DATA_PAGE: n_value, DATA_PAGE_2: n_value, WORDS_PAGE: _whole_of(page, UNPACKED_BYTES)}
    for kind, n_most in most.items():
        for held in _structs([page.get(kind)]):
            if not 0 <= _whole_of(held, PAGE_VALUES) <= n_most:
                raise _DamagedError


def _chunks(footer: Mapping[int, Any]) -> Iterator[tuple[int, int, int]]:
    """Where pages of each column chunk begin and end, and how many values they hold together."""
    for group in _structs(footer.get(ROW_GROUPS)):
        for column in _structs(group.get(COLUMNS)):
            for chunk in _structs([column.get(CHUNK)]):
                places = [_whole_of(chunk, field) for field in (DATA_PLACE, WORDS_PLACE)]
                begin = min((place for place in places if place > 0), default=0)
                end = begin + _whole_of(chunk, CHUNK_BYTES)
                yield begin, end, _whole_of(chunk, CHUNK_VALUES)


def _whole_of(fields: Mapping[int, Any], number: int) -> int:
    value = fields.get(number)
    return value if isinstance(value, int) else -1


def _structs(value: object) -> list[dict[int, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _struct(data: mmap.mmap, place: int, depth: int) -> tuple[dict[int, Any], int]:
    """Read a struct: its fields by number, and where it ends."""
    if depth > DEEPEST:
        raise _DamagedError
    fields: dict[int, Any] = {}
    number = 0
    while data[place]:
        step, kind = divmod(data[place], 16)
        place += 1
        if step:
            number += step
        else:
            number, place = _number(data, place)
        if kind in (TRUE, FALSE):
            fields[number] = kind == TRUE
        else:
            fields[number], place = _value(data, place, kind, depth)
    return fields, place + 1


def _value(data: mmap.mmap, place: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in NESTED:
        return NESTED[kind](data, place, depth + 1)
    if BYTE < kind <= I64:
        return _number(data, place)
    size = 8 if kind == DOUBLE else 1
    if kind == BINARY:
        size, place = _whole(data, place)
    elif kind > DOUBLE:
        raise _DamagedError
    _claim(data, place, size)
    return None, place + size


def _list(data: mmap.mmap, place: int, depth: int) -> tuple[list[Any], int]:
    size, kind = divmod(data[place], 16)
    place += 1
    if size == LONG_LIST:
        size, place = _whole(data, place)
    _claim(data, place, size)
    values = []
    for _ in range(size):
        value, place = _value(data, place, kind, depth)
        values.append(value)
    return values, place


def _map(data: mmap.mmap, place: int, depth: int) -> tuple[None, int]:
    size, place = _whole(data, place)
    _claim(data, place, size)
    kinds = divmod(data[place], 16) if size else (0, 0)
    place += bool(size)
    for _ in range(size):
        for kind in kinds:
            _, place = _value(data, place, kind, depth)
    return None, place


def _claim(data: mmap.mmap, place: int, size: int) -> None:
    """Refuse a list or text that is longer than what is left of the file."""
    if size > len(data) - place:
        raise _DamagedError


def _whole(data: mmap.mmap, place: int) -> tuple[int, int]:
    """Read an unsigned number, seven bits a byte."""
    value = shift = 0
    while shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise _DamagedError


def _number(data: mmap.mmap, place: int) -> tuple[int, int]:
    """Read a signed number: its sign is in the last bit."""
    value, place = _whole(data, place)
    return (value >> 1) ^ -(value & 1), place


NESTED = {LIST: _list, SET: _list, MAP: _map, STRUCT: _struct}
