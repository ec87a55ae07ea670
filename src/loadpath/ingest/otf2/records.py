"""Records of OTF2 files: a type, a length, and numbers without their leading zeros."""

from collections.abc import Callable

from loadpath.errors import InputError

__all__ = ["REMEDY", "UNDEFINED", "Fields", "read_records"]

UNDEFINED = -1
CHUNK_HEADER, END_OF_CHUNK, END_OF_FILE = 3, 1, 2
ORDER = {ord("B"): "little", ord("#"): "big"}
HEADER_BYTES = 18
LONG = 255
REMEDY = "Copy the whole folder of the trace again."


class Fields:
    """Numbers of one record, read one after the other.

    Parameters
    ----------
    content : bytes
        Payload of the record.
    order : {"little", "big"}
        Order of the bytes of numbers.
    """

    def __init__(self, content: bytes, order: str) -> None:
        self._content = content
        self._order = order
        self._at = 0

    def number(self) -> int:
        """Read a compressed number.

        Returns
        -------
        int
            Its value, `UNDEFINED` where it is none.

        Raises
        ------
        ValueError
            If it is longer than any number; a reader of records names the place.
        """
        size = self.byte()
        if size == LONG:
            return UNDEFINED
        if size > 8:
            raise ValueError
        return int.from_bytes(self._take(size), self._order)  # type: ignore[arg-type]

    def byte(self) -> int:
        """Read one byte.

        Returns
        -------
        int
            Its value.
        """
        return self._take(1)[0]

    def whole(self) -> int:
        """Read a number of eight bytes.

        Returns
        -------
        int
            Its value.
        """
        return int.from_bytes(self._take(8), self._order)  # type: ignore[arg-type]

    def text(self) -> str:
        """Read text up to its final zero.

        Returns
        -------
        str
            The text.
        """
        end = self._content.index(b"\0", self._at)
        found = self._content[self._at : end].decode("utf-8", "replace")
        self._at = end + 1
        return found

    def _take(self, size: int) -> bytes:
        found = self._content[self._at : self._at + size]
        if len(found) < size:
            raise ValueError
        self._at += size
        return found


def read_records(
    name: str, content: bytes, chunk_bytes: int, take: Callable[[int, Fields], None]
) -> None:
    """Read the records of a file of definitions.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    content : bytes
        All of it.
    chunk_bytes : int
        Length of its chunks.
    take : callable of (int, Fields)
        Told type and content of each record.

    Raises
    ------
    InputError
        If the file is cut or no record stands where one should.
    """
    at, chunk, order = 0, 0, "little"
    try:
        while True:
            kind = content[at]
            if kind == CHUNK_HEADER:
                order = ORDER[content[at + 1]]
                at += HEADER_BYTES
            elif kind <= END_OF_CHUNK:
                chunk += chunk_bytes
                at = chunk
            elif kind == END_OF_FILE:
                return
            else:
                size, at = content[at + 1], at + 2
                if size == LONG:
                    size = int.from_bytes(content[at : at + 8], order)  # type: ignore[arg-type]
                    at += 8
                take(kind, Fields(_part(content, at, size), order))
                at += size
    except (IndexError, KeyError, ValueError) as error:
        raise InputError(name, f"is cut or damaged at byte {at}", REMEDY) from error


def _part(content: bytes, at: int, size: int) -> bytes:
    if at + size > len(content):
        raise IndexError
    return content[at : at + size]
