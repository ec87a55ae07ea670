"""Protocol-buffer messages by field number, and files of messages that each follow their length.

The five fields that are read need no generated classes, whose version would have to match that of a
library which nothing else here uses.
"""

from collections.abc import Iterable, Iterator

__all__ = ["MOST_MESSAGE", "Value", "fields", "messages"]

MOST_MESSAGE = 8 << 20
"""Longest message, in bytes; more is taken for a length that was damaged."""
Value = int | bytes
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10
WIDTH = {FIXED64: 8, FIXED32: 4}


def messages(blocks: Iterable[bytes]) -> Iterator[bytes]:
    r"""Cut a file into its messages.

    Parameters
    ----------
    blocks : iterable of bytes
        The file, block by block.

    Yields
    ------
    bytes
        Messages, those before damage among them.

    Raises
    ------
    ValueError
        Where the file ends within a message, or a length cannot be meant.

    Examples
    --------
    >>> list(messages([b"\x02ab\x01", b"c"]))
    [b'ab', b'c']
    """
    held, at = b"", 0
    for block in blocks:
        held, at = held[at:] + block, 0
        while (found := _message(held, at)) is not None:
            yield held[found[0] : found[1]]
            at = found[1]
    if at < len(held):
        raise ValueError("ends within a node")


def _message(held: bytes, at: int) -> tuple[int, int] | None:
    """Where the next message begins and ends; None where it is not all there."""
    try:
        length, begin = _varint(held, at)
    except IndexError:
        return None
    if length > MOST_MESSAGE:
        raise ValueError(f"a node of {length:,} bytes")
    return (begin, begin + length) if begin + length <= len(held) else None


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    r"""List the fields of a message.

    Parameters
    ----------
    message : bytes
        One message.

    Yields
    ------
    number : int
        Number of the field.
    value : int or bytes
        Numbers of fixed width as bytes.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> list(fields(b"\x08\x96\x01\x12\x02hi"))
    [(1, 150), (2, b'hi')]
    """
    at = 0
    try:
        while at < len(message):
            tag, at = _varint(message, at)
            number, form = tag >> 3, tag & 7
            if form == VARINT:
                value, at = _varint(message, at)
                yield number, value
                continue
            length, at = _varint(message, at) if form == BYTES else (WIDTH[form], at)
            if at + length > len(message):
                raise ValueError("a field ends after its message")
            yield number, message[at : at + length]
            at += length
    except (IndexError, KeyError) as error:
        raise ValueError("no message of fields") from error


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Read a number, seven bits a byte, the lowest first; and where it ends."""
    value = 0
    for k in range(LONGEST_VARINT):
        byte = data[at + k]
        value |= (byte & 0x7F) << (7 * k)
        if byte < 0x80:
            return value, at + k + 1
    raise ValueError("a number of more than ten bytes")
