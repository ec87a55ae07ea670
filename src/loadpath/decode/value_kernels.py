"""Compiled walk over one JSON string, number or literal: where it ends, by the grammar."""

from typing import Any

from loadpath.compiled import kernel
from loadpath.decode.byte_kernels import after_digits, after_plain, byte_at

__all__ = ["MORE", "ODD", "after_scalar", "after_string"]

MORE = -1
"""The data end before the value does."""
ODD = -2
"""Not plain JSON: the caller decides with a full decoder."""
SMALL = (48, 49, 50, 51, 52, 53, 54, 55)
"""Digits below 8, as characters."""


@kernel(borrows=True)
def _character(data: Any, i: int, n: int) -> int:
    """Position after the UTF-8 character beyond ASCII that begins at `i`; odd where it is none."""
    c = byte_at(data, i)
    if not 0xC2 <= c <= 0xF4:
        return ODD
    low, high = 0x80, 0xBF
    if c in (0xE0, 0xF0):
        low = 0xA0 if c == 0xE0 else 0x90
    elif c in (0xED, 0xF4):
        high = 0x9F if c == 0xED else 0x8F
    for k in range(1, 2 + (c >= 0xE0) + (c >= 0xF0)):
        if not low <= byte_at(data, i + k) <= high:
            return MORE if i + k >= n else ODD
        low, high = 0x80, 0xBF
    return i + 2 + (c >= 0xE0) + (c >= 0xF0)


@kernel(borrows=True)
def _escape(data: Any, i: int, n: int) -> int:
    """Position after the escape that begins at `i`; halves of characters are odd."""
    if i + 1 >= n:
        return MORE
    c = byte_at(data, i + 1)
    if c != 117:
        return i + 2 if c in (34, 92, 47, 98, 102, 110, 114, 116) else ODD
    for k in range(2, 6):
        c = byte_at(data, i + k)
        if not (48 <= c <= 57 or 65 <= c & 0xDF <= 70):
            return MORE if i + k >= n else ODD
    is_half = byte_at(data, i + 2) & 0xDF == 68 and byte_at(data, i + 3) not in SMALL
    return ODD if is_half else i + 6


@kernel(borrows=True)
def after_string(data: Any, i: int, n: int) -> int:
    """Position after the string that begins at `i`; odd where it has control characters."""
    i += 1
    while i >= 0:
        i = after_plain(data, i)
        c = byte_at(data, i)
        if c == 34:
            return i + 1
        if i >= n:
            return MORE
        if c == 92:
            i = _escape(data, i, n)
        elif c >= 128:
            i = _character(data, i, n)
        else:
            return ODD
    return i


@kernel(borrows=True)
def _number(data: Any, i: int, n: int) -> int:
    """Position after the number that begins at `i`."""
    if byte_at(data, i) == 45:
        i += 1
    first = i
    i = after_digits(data, i)
    if i == first or (byte_at(data, first) == 48 and i > first + 1):
        return MORE if i >= n else ODD
    c = byte_at(data, i)
    if c == 46:
        first = i + 1
        i = after_digits(data, first)
        if i == first:
            return MORE if i >= n else ODD
        c = byte_at(data, i)
    if c in (101, 69):
        return ODD
    return MORE if i >= n else i


@kernel(borrows=True)
def _literal(data: Any, i: int, n: int) -> int:
    """Position after true, false or null."""
    word = b"true" if byte_at(data, i) == 116 else b"null"
    if byte_at(data, i) == 102:
        word = b"false"
    for k in range(len(word)):
        if byte_at(data, i + k) != word[k]:
            return MORE if i + k >= n else ODD
    return i + len(word)


@kernel(borrows=True)
def after_scalar(data: Any, i: int, n: int) -> Any:
    """Position after the string, number or literal that begins at `i`."""
    c = byte_at(data, i)
    if c == 34:
        return after_string(data, i, n)
    if c == 45 or 48 <= c <= 57:
        return _number(data, i, n)
    if c in (116, 102, 110):
        return _literal(data, i, n)
    return MORE if i >= n else ODD
