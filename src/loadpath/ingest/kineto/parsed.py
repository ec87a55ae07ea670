"""Parsed traces on a shelf: a second audit of the same files begins without parsing them."""

import functools
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from loadpath.decode import file_digest, keep, kept, release_free_memory, source_digest
from loadpath.errors import InputError
from loadpath.ingest.kineto.communications import Communication
from loadpath.ingest.kineto.groups import RecordedGroup
from loadpath.ingest.kineto.rank_ops import RankOps, rank_ops
from loadpath.ingest.kineto.synchronisations import Synchronisation
from loadpath.ingest.kineto.trace import read_trace

__all__ = ["Parsed", "parse_file"]

PACKAGE = Path(__file__).parents[2]
ALIGNMENT = 64
LEAST_KEPT_BYTES = 1 << 20
"""Smaller files are parsed as fast as they are found."""


class _Facts(msgspec.Struct, frozen=True):
    """All but the arrays of `RankOps`."""

    rank: int
    world_size: int
    base_ns: int
    host: str
    device: str
    names: tuple[str, ...]
    collectives: tuple[str, ...]
    lanes: tuple[tuple[str, str], ...]
    said: dict[int, Communication]
    asked: tuple[tuple[Synchronisation, int, int, int, int], ...]
    groups: tuple[RecordedGroup, ...]
    is_marked: bool
    doubts: tuple[tuple[str, str, int], ...]


ARRAYS = tuple(name for name in RankOps.__slots__ if name not in _Facts.__struct_fields__)
"""Fields of `RankOps` that are arrays."""


class _Layout(msgspec.Struct, frozen=True):
    """Where each array stands behind the facts."""

    facts: _Facts
    arrays: dict[str, tuple[str, tuple[int, ...], int]]


class Parsed(msgspec.Struct, frozen=True):
    """One file of a job.

    Attributes
    ----------
    path : Path
        File.
    digest : tuple of (str, str, int)
        Name, SHA-256 and bytes.
    ops : RankOps or None
        None if the file holds no trace events.
    """

    path: Path
    digest: tuple[str, str, int]
    ops: RankOps | None


def parse_file(path: Path, shelf: Path | None = None) -> Parsed:
    """Read one file, from the shelf if it was read before.

    Parameters
    ----------
    path : Path
        ``.json`` or gzipped ``.json``.
    shelf : Path, optional
        Folder of what was parsed before; nothing is kept if left out.

    Returns
    -------
    Parsed
        Its ops; equal with and without a shelf.

    Raises
    ------
    InputError
        If the file cannot be read, or holds events but no usable one.
    """
    digest = file_digest(path)
    is_kept = shelf and version() and digest[2] >= LEAST_KEPT_BYTES
    key = f"{digest[1]}-{version()[:16]}" if is_kept else ""
    if shelf and key:
        content = kept(shelf, key)
        found = None if content is None else _unpacked(content)
        if found is not None:
            return Parsed(path, digest, found)
    trace = read_trace(path)
    release_free_memory()
    ops = None if trace is None else rank_ops(trace)
    release_free_memory()
    if ops is not None and not ops.start_ns.size:
        problems = [f"{n} {text}" for code, text, n in ops.doubts if code in NO_TIMES and n]
        raise InputError(str(path), problems or "no usable event in it", MICROSECONDS)
    if shelf and key and ops is not None:
        keep(shelf, key, _packed(ops))
    return Parsed(path, digest, ops)


NO_TIMES = ("bad_times", "negative_durations")
MICROSECONDS = (
    "Give ts and dur in us, as torch.profiler writes them, and baseTimeNanoseconds in ns."
)


@functools.cache
def version() -> str:
    """Digest of the reader's own sources.

    Returns
    -------
    str
        Changes whenever the code does that made what is on the shelf.
    """
    return source_digest(*(PACKAGE / name for name in ("decode", "ingest/kineto", "tables")))


def _packed(ops: RankOps) -> list[bytes | memoryview]:
    facts = _Facts(**{name: getattr(ops, name) for name in _Facts.__struct_fields__})
    arrays: dict[str, tuple[str, tuple[int, ...], int]] = {}
    parts: list[bytes | memoryview] = []
    place = 0
    for name in ARRAYS:
        array: Any = np.ascontiguousarray(getattr(ops, name))
        arrays[name] = (array.dtype.str, array.shape, place)
        padding = bytes(-array.nbytes % ALIGNMENT)
        parts += [memoryview(array.reshape(-1).view(np.uint8)), padding]
        place += array.nbytes + len(padding)
    head = msgspec.msgpack.encode(_Layout(facts, arrays))
    begin = len(head).to_bytes(8, "little")
    return [begin, head, bytes(-(len(head) + 8) % ALIGNMENT), *parts]


def _unpacked(content: memoryview) -> RankOps | None:
    """Ops as kept; None if they are not what this version keeps."""
    n_head = int.from_bytes(content[:8], "little")
    try:
        layout = msgspec.msgpack.decode(content[8 : 8 + n_head], type=_Layout)
    except msgspec.MsgspecError:
        return None
    first = 8 + n_head + -(n_head + 8) % ALIGNMENT
    arrays: dict[str, Any] = {}
    try:
        for name, (kind, shape, place) in layout.arrays.items():
            n = int(np.prod(shape, dtype=np.int64))
            arrays[name] = np.frombuffer(content, np.dtype(kind), n, first + place).reshape(shape)
    except (ValueError, TypeError):
        return None
    facts = {name: getattr(layout.facts, name) for name in _Facts.__struct_fields__}
    return RankOps(**facts, **arrays)
