"""Chunks of a trace to columns: what the compiled scan finds, and what must be decoded singly."""

import operator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.decode import Chunk, Keys, read_thousandths, read_whole
from loadpath.decode.kinds import is_event, is_io_frame
from loadpath.ingest.kineto import kernels
from loadpath.ingest.kineto.columns import NO_TIME, Columns, Int32Array, Int64Array
from loadpath.ingest.kineto.communications import (
    is_communication,
    parse_communication,
    whole_number,
)
from loadpath.ingest.kineto.events import Args, EventDecoder, Span, ThreadName, decode_args
from loadpath.ingest.kineto.synchronisations import asks_for_event, parse_synchronisation
from loadpath.ingest.kineto.vocabulary import (
    DEVICE,
    DROPPED,
    KERNEL,
    ODD,
    OTHER,
    PYTHON,
    RUNTIME,
    SYNC,
    UNUSED,
    Vocabulary,
    category_code,
)

__all__ = ["KEYS", "ChunkReader"]

BoolArray = NDArray[np.bool_]

OUTER = ("ph", "cat", "name", "pid", "tid", "ts", "dur", "args")
INNER = (
    *("correlation", "stream", "device", "bytes", "External id", "external id"),
    *("Collective name", "stream_id", "event", "event_id"),
)
KEYS = Keys(OUTER, "args", INNER)
PHASE, CAT, NAME, PID, TID, TS, DUR, ARGS = range(8)
CORRELATION, STREAM, DEVICE_NUMBER, BYTES, EXTERNAL, EXTERNAL_2021 = range(8, 14)
COLLECTIVE, STREAM_ID, EVENT, EVENT_ID = range(14, 18)
WHOLE = (CORRELATION, STREAM, DEVICE_NUMBER, BYTES, EXTERNAL, EXTERNAL_2021)
LIMIT_NS = 1000 << 53
MOST_PLACE, MOST_DIGITS = 1 << 30, 18
CHECKS = (TS, ARGS, np.array([NAME, CAT]), np.array([PID, TID]), MOST_DIGITS)
"""Spans need a time; names are text, processes a number or text, arguments an object."""
SPAN = -6
READ_BY_KIND = np.array([ODD, SPAN, OTHER], np.int8)


@dataclass(slots=True)
class _Rows:
    """All events of one chunk, used or not, in order."""

    read: NDArray[np.int8]
    start_ns: Int64Array
    duration_ns: Int64Array
    name: Int32Array
    lane: Int32Array
    correlation: Int64Array
    bytes: Int64Array
    external: Int64Array
    told: dict[int, tuple[str, str, Args]]


@dataclass(slots=True)
class _Spans:
    """Where values of complete events stand, by column, and which must be decoded singly."""

    data: NDArray[np.uint8]
    low: Int32Array
    high: Int32Array
    odd: BoolArray


class ChunkReader:
    """Reads chunks one after another, and counts what it could not use.

    Attributes
    ----------
    vocabulary : Vocabulary
        What codes stand for.
    threads : dict
        Name of a thread by ``(str(pid), str(tid))``.
    n_event, n_unused, n_malformed : int
        Events that are sound, spans of categories that are not read, malformed events.
    example : str
        What is wrong with the first malformed event.
    """

    def __init__(self) -> None:
        self.vocabulary = Vocabulary()
        self.threads: dict[tuple[str, str], str] = {}
        self.n_event = self.n_unused = self.n_malformed = 0
        self.example = ""
        self._decoder = EventDecoder()

    def columns(self, chunk: Chunk) -> Columns:
        """Turn the events of a chunk into columns.

        Parameters
        ----------
        chunk : Chunk
            Events, with the values of `KEYS` found.

        Returns
        -------
        Columns
            One row per span of a category that is read.
        """
        rows = _empty(chunk.odd.size)
        if chunk.low.shape[1]:
            self._scan(chunk, rows)
        for row in np.flatnonzero(rows.read == ODD).tolist():
            self._decode(chunk.piece(row), rows, row)
        self.n_unused += int((rows.read == UNUSED).sum())
        self.n_event += int((rows.read != DROPPED).sum())
        return self._kept(rows)

    def _scan(self, chunk: Chunk, rows: _Rows) -> None:
        """Take what the compiled scan found; what it cannot judge stays odd."""
        spans = _spans(chunk, rows)
        whole = {column: _numbers(read_whole, spans, column, -1) for column in WHOLE}
        for column in (STREAM, DEVICE_NUMBER):
            beyond = (whole[column] < -1) | (whole[column] >= MOST_PLACE)
            whole[column][beyond] = -1
            spans.odd |= beyond
        rows.start_ns = _times(_numbers(read_thousandths, spans, TS, 0))
        rows.duration_ns = _times(_numbers(read_thousandths, spans, DUR, 0))
        rows.correlation, rows.bytes = whole[CORRELATION], whole[BYTES]
        today = spans.low[EXTERNAL] >= 0
        rows.external = np.where(today, whole[EXTERNAL], whole[EXTERNAL_2021])
        rows.read[spans.odd] = ODD
        self._name(chunk, spans, whole, rows)

    def _name(self, chunk: Chunk, spans: _Spans, whole: dict[int, Int64Array], rows: _Rows) -> None:
        """Find categories, names and lanes, and look into the arguments that tell more."""
        words, low = self.vocabulary, np.where(spans.odd, np.int32(-1), spans.low)
        cat, name, pid, tid = (
            words.tokens.codes(chunk.body, low[c], spans.high[c]) for c in (CAT, NAME, PID, TID)
        )
        complete = np.flatnonzero(rows.read == SPAN)
        rows.read[complete] = words.categories(cat[complete], name[complete])
        used = np.flatnonzero(rows.read >= 0)
        read, name = rows.read[used], name[used]
        host, device = (pid[used], tid[used]), (whole[DEVICE_NUMBER][used], whole[STREAM][used])
        rows.lane[used] = words.lane_code(read, host, device)
        rows.name[used] = words.name_code(name)
        asked = (low[column, used] >= 0 for column in (STREAM, STREAM_ID, EVENT, EVENT_ID))
        tells = words.tells(read, name, np.logical_or.reduce([*asked]))
        told = np.flatnonzero(tells | (low[COLLECTIVE, used] >= 0))
        self._look(chunk, rows, np.stack([used[told], name[told], pid[used[told]]], axis=1))

    def _look(self, chunk: Chunk, rows: _Rows, told: Int64Array) -> None:
        """Decode the arguments of spans that speak of communications or synchronisation."""
        text = self.vocabulary.tokens.text
        for row, name, pid in told.tolist():
            low, high = int(chunk.low[row, ARGS]), int(chunk.high[row, ARGS])
            args = decode_args(chunk.body[low:high] if low >= 0 else b"")
            if args is None:
                rows.read[row] = ODD
            else:
                rows.told[row] = (
                    text(name) if name >= 0 else "",
                    text(pid) if pid >= 0 else "-1",
                    args,
                )

    def _decode(self, text: bytes, rows: _Rows, row: int) -> None:
        event, error = self._decoder.decode(text)
        rows.read[row] = OTHER
        if isinstance(event, Span):
            self._enter(event, rows, row)
        elif isinstance(event, ThreadName) and event.name == "thread_name":
            self.threads[str(event.pid), str(event.tid)] = event.label()
        elif event is None:
            self.n_malformed += 1
            self.example = self.example or error
            rows.read[row] = DROPPED

    def _enter(self, span: Span, rows: _Rows, row: int) -> None:
        args, words = span.args, self.vocabulary
        read = rows.read[row] = _read_as(span)
        if read < 0:
            return
        rows.start_ns[row], rows.duration_ns[row] = _exact_ns(span.ts), _exact_ns(span.dur)
        rows.name[row] = words.names[span.name]
        on_device = bool(read in DEVICE)
        place = (
            span.pid if not on_device or args.device == -1 else args.device,
            span.tid if not on_device or args.stream == -1 else args.stream,
        )
        rows.lane[row] = words.lanes[on_device, str(place[0]), str(place[1])]
        rows.correlation[row] = whole_number(args.correlation)
        rows.bytes[row] = whole_number(args.bytes)
        external = args.external if args.external != -1 else args.external_2021
        rows.external[row] = whole_number(external)
        asks = read == SYNC or (read == RUNTIME and asks_for_event(span.name))
        if args.collective or is_communication(span.name) or asks:
            rows.told[row] = (span.name, str(span.pid), args)

    def _kept(self, rows: _Rows) -> Columns:
        keep = np.flatnonzero(rows.read >= 0)
        told = np.array(sorted(rows.told), np.int64)
        place = dict(zip(told.tolist(), np.searchsorted(keep, told).tolist(), strict=True))
        said, asked = {}, {}
        for row, (name, pid, args) in sorted(rows.told.items(), key=operator.itemgetter(0)):
            if rows.read[row] in {SYNC, RUNTIME}:
                fact = parse_synchronisation(name, args, pid)
                if rows.read[row] == SYNC or fact.stream or fact.event >= 0:
                    asked[place[row]] = fact
            elif rows.read[row] >= 0:
                said[place[row]] = parse_communication(name, args)
        return Columns(
            start_ns=rows.start_ns[keep],
            duration_ns=rows.duration_ns[keep],
            name=rows.name[keep],
            category=rows.read[keep],
            lane=rows.lane[keep],
            correlation=rows.correlation[keep],
            bytes=rows.bytes[keep],
            external=rows.external[keep],
            said=said,
            asked=asked,
        )


def _empty(n: int) -> _Rows:
    return _Rows(
        read=np.full(n, ODD, np.int8),
        start_ns=np.zeros(n, np.int64),
        duration_ns=np.zeros(n, np.int64),
        name=np.full(n, -1, np.int32),
        lane=np.full(n, -1, np.int32),
        correlation=np.full(n, -1, np.int64),
        bytes=np.full(n, -1, np.int64),
        external=np.full(n, -1, np.int64),
        told={},
    )


def _spans(chunk: Chunk, rows: _Rows) -> _Spans:
    data, kind = np.frombuffer(chunk.body, np.uint8), np.zeros(chunk.odd.size, np.int8)
    odd = chunk.odd.copy()
    low, high = kernels.complete_events(data, (chunk.low, chunk.high), CHECKS, odd, kind)
    rows.read[:] = READ_BY_KIND[kind]
    return _Spans(data, low, high, odd)


def _numbers(read: Any, spans: _Spans, column: int, default: int) -> Int64Array:
    """Numbers of one column, a default where a span has none; others make their span odd."""
    values = np.full(spans.odd.size, default, np.int64)
    read(spans.data, spans.low[column], spans.high[column], values, spans.odd)
    return values


def _times(ns: Int64Array) -> Int64Array:
    return np.where(np.abs(ns) < LIMIT_NS, ns, NO_TIME)


def _read_as(span: Span) -> int:
    read = category_code(span.cat)
    if read == PYTHON and not is_io_frame(span.name):
        return UNUSED
    return SYNC if read == KERNEL and is_event(span.name) else read


def _exact_ns(value: Decimal) -> int:
    """Whole ns, halves to even."""
    if not value.is_finite() or abs(value) >= LIMIT_NS // 1000:
        return NO_TIME
    return int((value * 1000).to_integral_value())
