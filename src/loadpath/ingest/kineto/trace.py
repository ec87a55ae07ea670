"""One Kineto trace: the columns of its spans, its rank, and what could not be used."""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from loadpath.decode import Chunk, Envelope, array_chunks, file_digest, read_blocks
from loadpath.errors import InputError
from loadpath.ingest.kineto.columns import CATEGORIES, Codes, Columns, join_columns, to_columns
from loadpath.ingest.kineto.events import EventDecoder

__all__ = ["Trace", "read_trace"]

RANK_IN_NAME = re.compile(r"rank[-_]?(\d+)", re.IGNORECASE)
KEPT = frozenset(CATEGORIES) | {category.capitalize() for category in CATEGORIES}
NOT_COUNTED = frozenset({"Trace", "gpu_user_annotation"})
"""Spans that repeat what others say: the profiler's own, and annotations mirrored to a stream."""
MAX_RANKS = 1 << 20
"""Ranks and sizes beyond this are damage: no job has a million ranks."""
MAX_EPOCH_NS = 1 << 61
"""Epochs after 2043 are damage, and would overflow the times that are added to them."""
REMEDY_RANK = "Name the file ..._rank_N.json, or record with a process group (distributedInfo)."


class _DistributedInfo(msgspec.Struct, frozen=True):
    rank: int | str = -1
    world_size: int | str = -1
    backend: str = ""


class _Head(msgspec.Struct, frozen=True):
    """Keys of the document around the events."""

    base_ns: int = msgspec.field(default=0, name="baseTimeNanoseconds")
    info: _DistributedInfo | None = msgspec.field(default=None, name="distributedInfo")
    devices: list[dict[str, Any]] = msgspec.field(default_factory=list, name="deviceProperties")
    host: str = msgspec.field(default="", name="host_name")


@dataclass(frozen=True, slots=True)
class Trace:
    """One rank's trace.

    Attributes
    ----------
    path : Path
        File.
    rank, world_size : int
        Rank, and number of ranks of the job (-1 unknown).
    base_ns : int
        Added to all times to give ns of the common epoch.
    host, device : str
        Host name and device model, empty if unknown.
    columns : Columns
        Spans that loadpath uses.
    names, categories, lanes : tuple
        What the codes of the columns stand for.
    threads : dict
        Name of a thread by ``(str(pid), str(tid))``.
    digest : tuple of (str, str, int)
        Name, SHA-256 and bytes of the file.
    doubts : tuple of (str, str, int)
        Code, text and count of everything dropped.
    """

    path: Path
    rank: int
    world_size: int
    base_ns: int
    host: str
    device: str
    columns: Columns
    names: tuple[str, ...]
    categories: tuple[str, ...]
    lanes: tuple[tuple[bool, Any, Any], ...]
    threads: dict[tuple[str, str], str]
    digest: tuple[str, str, int]
    doubts: tuple[tuple[str, str, int], ...] = ()


@dataclass(slots=True)
class _Reading:
    """What accumulates while the chunks of a file go by."""

    parts: list[Columns] = field(default_factory=list)
    names: Codes = field(default_factory=Codes)
    categories: Codes = field(default_factory=Codes)
    lanes: Codes = field(default_factory=Codes)
    threads: dict[tuple[str, str], str] = field(default_factory=dict)
    n_span: int = 0
    n_unused: int = 0
    n_malformed: int = 0
    example: str = ""


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
        If the file cannot be read, holds events but no (possible) rank, or no usable event.
    """
    reading = _Reading()
    with _without_collector():
        envelope = _read_chunks(path, reading)
    if not envelope.found or reading.n_span + reading.n_malformed == 0:
        if envelope.damage:
            raise InputError(str(path), envelope.damage, "Copy or record the file again.")
        return None
    head, head_doubts = _head(path, envelope)
    columns = join_columns(reading.parts)
    if columns.start_ns.size == 0:
        raise InputError(
            str(path), "no usable event in it", "Record with ProfilerActivity.CPU or CUDA."
        )
    info = head.info or _DistributedInfo()
    if not 0 <= head.base_ns < MAX_EPOCH_NS:
        text = f"{path.name}: baseTimeNanoseconds {str(head.base_ns)[:20]} is no time of today, ignored"
        head_doubts.append(("bad_epoch", text, 1))
    world_size = _number(info.world_size)
    if world_size > MAX_RANKS:
        text = f"{path.name}: world_size {world_size:.3g} is beyond {MAX_RANKS}, ignored"
        head_doubts.append(("bad_world_size", text, 1))
    return Trace(
        path=path,
        rank=_rank(path, info),
        world_size=world_size if world_size <= MAX_RANKS else -1,
        base_ns=head.base_ns if 0 <= head.base_ns < MAX_EPOCH_NS else 0,
        host=head.host,
        device=str(head.devices[0].get("name", "")) if head.devices else "",
        columns=columns,
        names=tuple(reading.names),
        categories=tuple(CATEGORIES[category.lower()] for category in reading.categories),
        lanes=tuple(reading.lanes),
        threads=reading.threads,
        digest=file_digest(path),
        doubts=(*head_doubts, *_doubts(path, reading, envelope)),
    )


def _read_chunks(path: Path, reading: _Reading) -> Envelope:
    decoder = EventDecoder()
    envelope = Envelope(found=False, text=b"")
    for chunk in array_chunks(read_blocks(path), "traceEvents"):
        if isinstance(chunk, Envelope):
            envelope = chunk
        else:
            _take(reading, decoder, chunk)
    return envelope


def _take(reading: _Reading, decoder: EventDecoder, chunk: Chunk) -> None:
    decoded = decoder.decode(chunk)
    spans = [span for span in decoded.spans if span.cat in KEPT]
    reading.n_span += len(decoded.spans) + len(decoded.threads) + decoded.n_other
    reading.n_unused += sum(span.cat not in NOT_COUNTED for span in decoded.spans) - len(spans)
    reading.n_malformed += decoded.n_malformed
    reading.example = reading.example or decoded.example
    for event in decoded.threads:
        if event.name == "thread_name":
            reading.threads[str(event.pid), str(event.tid)] = event.label()
    if spans:
        reading.parts.append(to_columns(spans, reading.names, reading.categories, reading.lanes))


def _head(path: Path, envelope: Envelope) -> tuple[_Head, list[tuple[str, str, int]]]:
    try:
        return msgspec.json.decode(envelope.text, type=_Head), []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        code, text = "damaged_head", f"{path.name}: keys around the events cannot be read ({error})"
        return _Head(), [(code, text, 1)]


def _rank(path: Path, info: _DistributedInfo) -> int:
    rank = _number(info.rank)
    if rank < 0:
        named = RANK_IN_NAME.findall(path.name)
        if not named:
            raise InputError(str(path), "no rank in distributedInfo nor in the name", REMEDY_RANK)
        rank = int(named[-1])
    if rank >= MAX_RANKS:
        raise InputError(str(path), f"rank {rank:.10g} is beyond {MAX_RANKS}", REMEDY_RANK)
    return rank


def _number(value: int | str) -> int:
    """Read a recorded number; digits beyond any rank are kept as a number that is refused."""
    text = str(value)
    return int(text.lstrip("0")[:20] or 0) if text.isdecimal() else -1


def _doubts(path: Path, reading: _Reading, envelope: Envelope) -> list[tuple[str, str, int]]:
    name = path.name
    rows = [
        ("malformed_events", f"{name}: events dropped: {reading.example}", reading.n_malformed),
        ("unused_events", f"{name}: spans of categories that are not read", reading.n_unused),
    ]
    if envelope.damage:
        rows.append(
            ("truncated", f"{name}: {envelope.damage}; the whole events before are used", 1)
        )
    return rows


@contextmanager
def _without_collector() -> Iterator[None]:
    """Millions of small objects without cycles: the collector would only walk over them."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
