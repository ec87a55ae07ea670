"""One long array inside a JSON document, in chunks that end at the borders of its objects."""

import itertools
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loadpath.decode import kernels
from loadpath.errors import InputError

__all__ = ["MAX_OBJECT_BYTES", "Chunk", "Envelope", "array_chunks", "salvage_objects"]

MAX_HEAD_BYTES = 16 << 20
MAX_TAIL_BYTES = 16 << 20
MAX_OBJECT_BYTES = 8 << 20
"""An object longer than this is taken for one whose end was lost."""
SEPARATORS = (b"\n  },\n  {", b"},\n{", b"}, {", b"},{")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole objects of the array.

    Attributes
    ----------
    body : bytes
        Objects with the commas between them; ``b"[" + body + b"]"`` is JSON if all are sound.
    ends : (n_object,) array of int64
        Position after each object.
    broken : bool
        Borders are not known; `salvage_objects` finds what is sound.
    """

    body: bytes
    ends: NDArray[np.int64]
    broken: bool = False

    def pieces(self) -> list[bytes]:
        """Cut the chunk into its objects.

        Returns
        -------
        list of bytes
            JSON text of each object.
        """
        if self.broken:
            return salvage_objects(self.body)
        borders = [0, *self.ends.tolist()]
        return [
            self.body[low:high].lstrip(b", \t\r\n") for low, high in itertools.pairwise(borders)
        ]


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


def array_chunks(blocks: Iterable[bytes], key: str) -> Iterator[Chunk | Envelope]:
    """Cut the array under `key` into chunks of whole objects.

    Parameters
    ----------
    blocks : iterable of bytes
        The document, in blocks of any size; an `InputError` from it ends the document early.
    key : str
        Key of the array; a document that is itself an array of objects is taken as that array.

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
    tail = yield from _objects(sound, rest)
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


def _objects(blocks: Iterator[bytes], text: bytes) -> Generator[Chunk, None, bytes | None]:
    """Yield chunks; return the text from the closing bracket on, None if there is none."""
    state = np.zeros(3, np.int64)
    scanned = 0
    while True:
        ends = np.empty(len(text) // 2 + 1, np.int64)
        n_end, closed = kernels.object_ends(np.frombuffer(text, np.uint8), scanned, state, ends)
        cut = int(ends[n_end - 1]) if n_end else 0
        if n_end:
            yield Chunk(text[:cut], ends[:n_end].copy())
        if closed >= 0:
            return text[closed:]
        text = text[cut:].lstrip(b", \t\r\n") if n_end else text
        if len(text) > MAX_OBJECT_BYTES:
            cut = _last_border(text)
            yield Chunk(text[:cut], np.empty(0, np.int64), broken=True)
            text, scanned, state[:] = text[cut:].lstrip(b", \t\r\n"), 0, 0
            continue
        scanned = len(text)
        block = next(blocks, None)
        if block is None:
            if text:
                yield Chunk(text, np.empty(0, np.int64), broken=True)
            return None
        text += block
