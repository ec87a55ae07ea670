"""One long array inside a JSON document, in chunks that end at the borders of its objects."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadpath.decode.byte_kernels import PADDING
from loadpath.decode.scan_kernels import FACTS, MOST_AFTER, ROOT, scan_objects
from loadpath.errors import InputError

__all__ = [
    "MAX_OBJECT_BYTES",
    "NO_KEYS",
    "Chunk",
    "Envelope",
    "Keys",
    "array_chunks",
    "salvage_objects",
]

MAX_HEAD_BYTES = 16 << 20
MAX_TAIL_BYTES = 16 << 20
MAX_OBJECT_BYTES = 8 << 20
"""An object longer than this is taken for one whose end was lost."""
SEPARATORS = (b"\n  },\n  {", b"},\n{", b"}, {", b"},{")
LEAST_OBJECT_BYTES = 16
"""Rows are laid out for objects of this size; of smaller ones a text is scanned in several turns."""


MOST_REMEMBERED = 1 << 8
"""Different texts between values that are remembered; others are parsed each time."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys whose values are to be found in each object.

    Attributes
    ----------
    outer : tuple of str
        Keys of the object itself; their columns come first.
    nested : str
        One of them, whose value is an object with keys of interest; empty for none.
    inner : tuple of str
        Keys of that object.
    """

    outer: tuple[str, ...] = ()
    nested: str = ""
    inner: tuple[str, ...] = ()

    def column(self, name: str) -> int:
        """Tell where a key stands in `Chunk.low` and `Chunk.high`.

        Parameters
        ----------
        name : str
            One of `outer` or `inner`.

        Returns
        -------
        int
            Number of its column; inner keys come after outer ones.

        Examples
        --------
        >>> Keys(("ts", "args"), "args", ("stream",)).column("stream")
        2
        """
        return (*self.outer, *self.inner).index(name)


NO_KEYS = Keys()


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole objects of the array.

    Attributes
    ----------
    body : bytes
        Text that holds the objects, and zero bytes.
    border : (n_object, 2) array of int64
        Begin and end of each object in `body`.
    odd : (n_object,) array of bool
        Objects that may be no JSON or hold more than plain ASCII: nothing is known of them.
    low, high : (n_object, n_key) arrays of int32
        Begin and end of the value of each key, quotes and brackets included; -1 where the object
        has none.
    """

    body: bytes
    border: NDArray[np.int64]
    odd: NDArray[np.bool_]
    low: NDArray[np.int32]
    high: NDArray[np.int32]

    def piece(self, row: int) -> bytes:
        """Return the JSON text of one object.

        Parameters
        ----------
        row : int
            Number of the object.

        Returns
        -------
        bytes
            Its text; no JSON if the recording is damaged there.
        """
        begin, end = self.border[row]
        return self.body[begin:end].strip(b", \t\r\n")

    def pieces(self) -> list[bytes]:
        """Cut the chunk into its objects.

        Returns
        -------
        list of bytes
            JSON text of each object.
        """
        return [self.piece(row) for row in range(self.odd.size)]

    def odd_pieces(self) -> list[bytes]:
        """Cut odd objects out of the chunk.

        Returns
        -------
        list of bytes
            Text of each.
        """
        return [self.piece(row) for row in np.flatnonzero(self.odd).tolist()]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What lies around the array; the last item of `array_chunks`.

    Attributes
    ----------
    found : bool
        Whether the array was found at all.
    text : bytes
        The document with the array left empty.
    damage : str
        Why the document ends early, empty if it is whole.
    """

    found: bool
    text: bytes
    damage: str = ""


def array_chunks(
    blocks: Iterable[bytes], key: str, keys: Keys = NO_KEYS
) -> Iterator[Chunk | Envelope]:
    """Cut the array under `key` into chunks of whole objects.

    Parameters
    ----------
    blocks : iterable of bytes
        The document, in blocks of any size; an `InputError` from it ends the document early.
    key : str
        Key of the array; a document that is itself an array of objects is taken as that array.
    keys : Keys
        Keys whose values are to be found in each object.

    Yields
    ------
    Chunk or Envelope
        Chunks in order, then one `Envelope`.

    Examples
    --------
    >>> text = b'{"rank": 3, "traceEvents": [{"ts": 1}, {"ts": 2}], "unit": "ns"}'
    >>> chunk, envelope = array_chunks([text], "traceEvents")
    >>> chunk.pieces(), envelope.text
    ([b'{"ts": 1}', b'{"ts": 2}'], b'{"rank": 3, "traceEvents": [], "unit": "ns"}')
    """
    damage: list[str] = []
    sound = _until_damaged(blocks, damage)
    head, rest = _find_array(sound, f'"{key}"'.encode())
    if rest is None:
        yield Envelope(found=False, text=head, damage=" ".join(damage))
        return
    tail = yield from _objects(sound, rest, _Scanner(keys))
    if tail is None:
        yield Envelope(
            found=True, text=head + b"]" + b"}" * (head[:1] == b"{"), damage=_why(damage)
        )
        return
    for block in sound:
        if len(tail) < MAX_TAIL_BYTES:
            tail += block
    yield Envelope(found=True, text=head + tail, damage=" ".join(damage))


def salvage_objects(text: bytes) -> list[bytes]:
    """Cut text whose braces do not balance at the usual borders between events.

    Parameters
    ----------
    text : bytes
        Objects and commas, damaged somewhere.

    Returns
    -------
    list of bytes
        Candidates for objects; not all of them are JSON.
    """
    counts = [text.count(separator) for separator in SEPARATORS]
    separator = SEPARATORS[int(np.argmax(counts))]
    before, after = separator.split(b",")
    parts = text.strip(b", \t\r\n").split(separator)
    last = len(parts) - 1
    return [
        (after if i else b"") + part + (before if i < last else b"") for i, part in enumerate(parts)
    ]


def _holds_several(piece: bytes) -> bool:
    """Say whether a damaged object has swallowed those after it."""
    if not any(separator in piece for separator in SEPARATORS):
        return False
    try:
        msgspec.json.decode(piece)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return True
    return False


def _last_border(text: bytes) -> int:
    """Where the last event begins, as far as the usual borders tell; the end if they do not."""
    found = max(text.rfind(separator) for separator in SEPARATORS)
    return text.index(b",", found) if found > 0 else len(text)


def _why(damage: list[str]) -> str:
    return damage[0] if damage else "the list of events has no end"


def _until_damaged(blocks: Iterable[bytes], damage: list[str]) -> Iterator[bytes]:
    try:
        yield from blocks
    except InputError as error:
        damage.extend(error.problems)


def _find_array(blocks: Iterator[bytes], key: bytes) -> tuple[bytes, bytes | None]:
    """Head up to and with the opening bracket, and what was read beyond it."""
    text = b""
    for block in blocks:
        text += block
        if text.lstrip()[:1] == b"[":
            cut = text.index(b"[") + 1
            return b"[", text[cut:]
        found = text.find(key)
        bracket = text.find(b"[", found)
        if found >= 0 and bracket >= 0:
            return text[: bracket + 1].lstrip(), text[bracket + 1 :]
        if len(text) > MAX_HEAD_BYTES:
            break
    return text, None


class _Scanner:
    """Keys laid out for the kernel."""

    def __init__(self, keys: Keys) -> None:
        names = [name.encode() for name in (*keys.outer, *keys.inner)]
        self._first = np.cumsum([0, *map(len, names)])
        self._text = np.frombuffer(b"".join(names) or b" ", np.uint8)
        heads = [int.from_bytes(name[:8], "little") for name in names]
        self._word = np.array([*heads, 0], np.uint64)
        self._head = np.full((2, max(map(len, names), default=0) + 1), -1, np.int64)
        self._follow = np.full(len(names) + 1, -1, np.int64)
        for k, name in enumerate(names):
            level = int(k >= len(keys.outer))
            self._follow[k] = self._head[level, len(name)]
            self._head[level, len(name)] = k
        self._nested = keys.outer.index(keys.nested) if keys.nested else -2
        self._n_key = len(names)
        self._memory = _memory()

    def scan(self, text: bytes) -> tuple[Chunk, int]:
        """Scan whole objects from the beginning of `text`; -1 if the array does not end there."""
        body = text + bytes(PADDING)
        n_row = len(text) // LEAST_OBJECT_BYTES + 1
        border = np.empty((n_row, 3), np.int64)
        low, high = (np.empty((n_row, self._n_key), np.int32) for _ in range(2))
        keys = (self._word, self._text, self._first, self._head, self._follow)
        data = np.frombuffer(body, np.uint8)
        n, closed = scan_objects(data, keys, self._nested, self._memory, low, high, border)
        odd = border[:n, 2] != 0
        return Chunk(body, border[:n, :2], odd, low[:n], high[:n]), closed


def _memory() -> tuple[NDArray[Any], ...]:
    """Texts between values, as the kernel remembers them: the root alone."""
    fact = np.zeros((MOST_REMEMBERED + 2, FACTS), np.int64)
    fact[0, 0] = ROOT
    after = np.full((fact.shape[0], MOST_AFTER), -1, np.int64)
    text = np.zeros(fact.shape[0] * PADDING, np.uint8)
    return text, np.zeros(fact.shape[0], np.uint64), fact, after, np.ones(1, np.int64)


def _broken(text: bytes) -> Chunk:
    """Chunk of what may be objects, of text whose borders are lost."""
    pieces = salvage_objects(text)
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    border = np.stack([np.concatenate([[0], ends[:-1]]), ends], axis=1)
    nothing = np.empty((len(pieces), 0), np.int32)
    return Chunk(b"".join(pieces), border, np.ones(len(pieces), np.bool_), nothing, nothing)


def _objects(
    blocks: Iterator[bytes], text: bytes, scanner: _Scanner
) -> Generator[Chunk, None, bytes | None]:
    """Yield chunks; return the text from the closing bracket on, None if there is none."""
    while True:
        chunk, closed = scanner.scan(text)
        if any(map(_holds_several, chunk.odd_pieces())):
            cut = _last_border(text)
            yield _broken(text[:cut])
            text = text[cut:].lstrip(b", \t\r\n")
            continue
        if chunk.odd.size:
            yield chunk
        if closed >= 0:
            return text[closed:]
        is_full = chunk.odd.size > len(text) // LEAST_OBJECT_BYTES
        cut = int(chunk.border[-1, 1]) if chunk.odd.size else 0
        text = text[cut:].lstrip(b", \t\r\n")
        if is_full:
            continue
        if len(text) > MAX_OBJECT_BYTES:
            cut = _last_border(text)
            yield _broken(text[:cut])
            text = text[cut:].lstrip(b", \t\r\n")
        more = _at_least(blocks, max(len(text), 1))
        if not more:
            cut = _last_border(text)
            if text:
                yield _broken(text[:cut])
            if cut == len(text):
                return None
            text = text[cut:].lstrip(b", \t\r\n")
        text += more


def _at_least(blocks: Iterator[bytes], n_byte: int) -> bytes:
    """Next blocks, so many that an object that spans them is not scanned too often."""
    parts = []
    while n_byte > 0 and (block := next(blocks, None)) is not None:
        parts.append(block)
        n_byte -= len(block)
    return b"".join(parts)
