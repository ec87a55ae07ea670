"""One Kineto trace: the columns of its spans, its rank, and what could not be used."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from loadpath.decode import Envelope, array_chunks, read_blocks
from loadpath.errors import InputError
from loadpath.ingest.kineto.chunks import KEYS, ChunkReader
from loadpath.ingest.kineto.columns import Columns, join_columns
from loadpath.ingest.kineto.events import BAD
from loadpath.ingest.kineto.groups import RecordedGroup, recorded_groups

__all__ = ["MAX_RANKS", "Trace", "read_trace"]

BLOCK_BYTES = 1 << 20
"""Larger blocks are scanned no faster, and take memory."""
JOINED_AT_ONCE = 64
"""Columns of so many blocks are put together, so that memory of small arrays is used again."""
MAX_RANKS = 1 << 20
"""Ranks and sizes beyond this are damage: no job has a million ranks."""
MAX_LANES = 1 << 16
"""No process has more threads and streams: identifiers are damaged, or no identifiers."""
MAX_EPOCH_NS = 1 << 61
"""Epochs after 2043 are damage, and would overflow the times that are added to them."""


NO_GROUPS = msgspec.Raw(b"[]")


class _DistributedInfo(msgspec.Struct, frozen=True):
    rank: int | str = -1
    world_size: int | str = -1
    groups: msgspec.Raw = msgspec.field(default=NO_GROUPS, name="pg_config")


class _Head(msgspec.Struct, frozen=True):
    """Keys of the document around the events."""

    base_ns: int = msgspec.field(default=0, name="baseTimeNanoseconds")
    info: _DistributedInfo | None = msgspec.field(default=None, name="distributedInfo")
    devices: list[dict[str, Any]] = msgspec.field(default_factory=list, name="deviceProperties")
    host: str = msgspec.field(default="", name="host_name")


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace as recorded.

    Attributes
    ----------
    rank, world_size : int
        Rank, and number of ranks of the job, as `distributedInfo` says; -1 unknown.
    base_ns : int
        Added to all times to give ns of the common epoch.
    host, device : str
        Host name and device model, empty if unknown.
    columns : Columns
        Spans that loadpath uses.
    names : tuple of str
        What the codes of `columns.name` stand for.
    lanes : tuple of (bool, str, str)
        What the codes of `columns.lane` stand for: on a device, process or device, thread or stream.
    threads : dict
        Name of a thread by ``(str(pid), str(tid))``.
    groups : tuple of RecordedGroup
        Process groups that the rank has made, used or not.
    doubts : tuple of (str, str, int)
        Code, text and count of everything dropped.
    """

    rank: int
    world_size: int
    base_ns: int
    host: str
    device: str
    columns: Columns
    names: tuple[str, ...]
    lanes: tuple[tuple[bool, str, str], ...]
    threads: dict[tuple[str, str], str]
    groups: tuple[RecordedGroup, ...]
    doubts: tuple[tuple[str, str, int], ...] = ()


def read_trace(path: Path) -> Trace | None:
    """Read one trace.

    Parameters
    ----------
    path : Path
        ``.json`` or gzipped ``.json``; gzip is recognised by content.

    Returns
    -------
    Trace or None
        None if the file holds no list of trace events: it is something else.

    Raises
    ------
    InputError
        If the file cannot be read, or holds events but no usable one.
    """
    reader = ChunkReader()
    parts, envelope = _read_parts(path, reader)
    if not envelope.found or reader.n_event + reader.n_malformed == 0:
        if envelope.damage:
            raise InputError(str(path), envelope.damage, "Copy or record the file again.")
        return None
    columns = join_columns(parts)
    if columns.start_ns.size == 0:
        raise InputError(
            str(path), "no usable event in it", "Record with ProfilerActivity.CPU or CUDA."
        )
    head, doubts = _sound_head(envelope)
    info = head.info or _DistributedInfo()
    return Trace(
        rank=_number(info.rank),
        world_size=_number(info.world_size),
        base_ns=head.base_ns,
        host=head.host,
        device=str(head.devices[0].get("name", "")) if head.devices else "",
        columns=columns,
        names=tuple(reader.vocabulary.names),
        lanes=tuple(reader.vocabulary.lanes),
        threads=reader.threads,
        groups=recorded_groups(info.groups, MAX_RANKS),
        doubts=(*doubts, *_doubts(reader, envelope)),
    )


def _read_parts(path: Path, reader: ChunkReader) -> tuple[list[Columns], Envelope]:
    """Read the events chunk by chunk, and what stands around them."""
    parts: list[Columns] = []
    joined: list[Columns] = []
    envelope = Envelope(found=False, text=b"")
    for chunk in array_chunks(read_blocks(path, BLOCK_BYTES), "traceEvents", KEYS):
        if isinstance(chunk, Envelope):
            envelope = chunk
        else:
            parts.append(reader.columns(chunk))
            _check_lanes(path, len(reader.vocabulary.lanes))
            if len(parts) == JOINED_AT_ONCE:
                joined.append(join_columns(parts))
                parts = []
    return [*joined, *parts], envelope


def _check_lanes(path: Path, n_lane: int) -> None:
    if n_lane > MAX_LANES:
        what = f"more than {MAX_LANES} threads and streams"
        raise InputError(str(path), what, "Check that it is the trace of one process.")


def _sound_head(envelope: Envelope) -> tuple[_Head, list[tuple[str, str, int]]]:
    """Keys around the events; what no job has is left out and said."""
    head, doubts = _head(envelope)
    if not 0 <= head.base_ns < MAX_EPOCH_NS:
        text = f"baseTimeNanoseconds {str(head.base_ns)[:20]} is no time of today, ignored"
        doubts.append(("bad_epoch", text, 1))
        head = msgspec.structs.replace(head, base_ns=0)
    world_size = _number(head.info.world_size) if head.info else -1
    if head.info and world_size > MAX_RANKS:
        text = f"world_size {world_size:.3g} is beyond {MAX_RANKS}, ignored"
        doubts.append(("bad_world_size", text, 1))
        head = msgspec.structs.replace(head, info=msgspec.structs.replace(head.info, world_size=-1))
    return head, doubts


def _head(envelope: Envelope) -> tuple[_Head, list[tuple[str, str, int]]]:
    try:
        return msgspec.json.decode(envelope.text, type=_Head), []
    except BAD as error:
        text = f"keys around the events cannot be read ({error})"
        return _Head(), [("damaged_head", text, 1)]


def _number(value: int | str) -> int:
    """Read a recorded number; digits beyond any rank are kept as a number that is refused."""
    text = str(value)
    return int(text.lstrip("0")[:20] or 0) if text.isdecimal() else -1


def _doubts(reader: ChunkReader, envelope: Envelope) -> list[tuple[str, str, int]]:
    rows = [
        ("malformed_events", f"events dropped: {reader.example}", reader.n_malformed),
        ("unused_events", "spans of categories that are not read", reader.n_unused),
    ]
    if envelope.damage:
        rows.append(("truncated", f"{envelope.damage}; the whole events before are used", 1))
    return rows
