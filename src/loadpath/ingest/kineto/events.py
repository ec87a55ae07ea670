"""Kineto's events as typed records: decoded chunk by chunk, one damaged event costs that event."""

import functools
import operator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import numpy as np

from loadpath.decode import Chunk

__all__ = ["Args", "Decoded", "EventDecoder", "Span", "ThreadName"]

Number = int | float | str
EMPTY = msgspec.Raw(b"")
BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Args(msgspec.Struct, frozen=True, gc=False):
    """Arguments of a span that loadpath reads."""

    correlation: Number = -1
    stream: Number = -1
    device: Number = -1
    bytes: Number = -1
    collective: str = msgspec.field(default="", name="Collective name")
    group: Number = msgspec.field(default="", name="Process Group Name")
    group_ranks: msgspec.Raw = msgspec.field(default=EMPTY, name="Process Group Ranks")
    group_size: Number = msgspec.field(default=-1, name="Group size")
    n_in: Number = msgspec.field(default=-1, name="In msg nelems")
    n_out: Number = msgspec.field(default=-1, name="Out msg nelems")
    dtype: str = ""
    sequence: Number = msgspec.field(default=-1, name="Seq")
    source: Number = msgspec.field(default=-1, name="Src Rank")
    target: Number = msgspec.field(default=-1, name="Dst Rank")
    dims: msgspec.Raw = msgspec.field(default=EMPTY, name="Input Dims")
    types: msgspec.Raw = msgspec.field(default=EMPTY, name="Input type")
    inputs: msgspec.Raw = msgspec.field(default=EMPTY, name="Concrete Inputs")


NO_ARGS = Args()


class _Name(msgspec.Struct, gc=False):
    name: str = ""


class ThreadName(msgspec.Struct, tag_field="ph", tag="M", gc=False):
    """Metadata event: the name of a process or thread."""

    name: str = ""
    pid: Number = -1
    tid: Number = -1
    args: msgspec.Raw = EMPTY

    def label(self) -> str:
        """Name that the event gives.

        Returns
        -------
        str
            Empty if it gives none.
        """
        try:
            return msgspec.json.decode(self.args, type=_Name).name
        except BAD:
            return ""


class Span(msgspec.Struct, tag_field="ph", tag="X", gc=False):
    """Complete event; times in us as float64."""

    ts: float
    dur: float = 0.0
    pid: Number = -1
    tid: Number = -1
    name: str = ""
    cat: str = ""
    args: Args = NO_ARGS


class ExactSpan(msgspec.Struct, tag_field="ph", tag="X", gc=False):
    """Complete event whose times in us need more digits than float64 has, or are strings."""

    ts: Decimal
    dur: Decimal = Decimal(0)
    pid: Number = -1
    tid: Number = -1
    name: str = ""
    cat: str = ""
    args: Args = NO_ARGS


def _other(tag: str) -> Any:
    return msgspec.defstruct(f"Event_{tag}", [], tag_field="ph", tag=tag, gc=False)


OTHERS = tuple(_other(tag) for tag in "stfiICBEbenNODPSTpFRcv")


@dataclass(frozen=True, slots=True)
class Decoded:
    """Events of one chunk.

    Attributes
    ----------
    spans : list of Span or ExactSpan
        Complete events.
    threads : list of ThreadName
        Metadata events.
    n_other : int
        Events of other phases (flows, instants, counters).
    n_malformed : int
        Events that are not what Kineto writes.
    example : str
        First decoding error, empty if none.
    """

    spans: list[Any]
    threads: list[ThreadName]
    n_other: int
    n_malformed: int = 0
    example: str = ""


class EventDecoder:
    """Decoders for float and for exact times; the choice is made chunk by chunk."""

    def __init__(self) -> None:
        kinds: Any = (ThreadName, *OTHERS)
        self._float = msgspec.json.Decoder(_list_of((Span, *kinds)))
        self._exact = msgspec.json.Decoder(_list_of((ExactSpan, *kinds)))

    def decode(self, chunk: Chunk) -> Decoded:
        """Decode a chunk; where it is not sound, event by event.

        Parameters
        ----------
        chunk : Chunk
            Whole events.

        Returns
        -------
        Decoded
            Its events; times as float us where those are exact to the ns, as Decimal otherwise.
        """
        text = b"[" + chunk.body.lstrip(b", \t\r\n") + b"]"
        for decoder in () if chunk.broken else (self._float, self._exact):
            try:
                decoded = _sorted_out(decoder.decode(text))
            except BAD:
                continue
            if decoder is self._exact or _all_exact(decoded.spans):
                return decoded
        return self._one_by_one(chunk)

    def _one_by_one(self, chunk: Chunk) -> Decoded:
        events: list[Any] = []
        n_malformed, example = 0, ""
        for piece in chunk.pieces():
            try:
                events += self._exact.decode(b"[" + piece + b"]")
            except BAD as error:
                n_malformed += 1
                example = example or str(error)[:120]
        whole = _sorted_out(events)
        return Decoded(whole.spans, whole.threads, whole.n_other, n_malformed, example)


def _list_of(kinds: Any) -> Any:
    member: Any = functools.reduce(operator.or_, kinds)
    return list[member]


def _sorted_out(events: list[Any]) -> Decoded:
    spans = [event for event in events if type(event) in {Span, ExactSpan}]
    threads = [event for event in events if type(event) is ThreadName]
    return Decoded(spans, threads, len(events) - len(spans) - len(threads))


def _all_exact(spans: list[Any]) -> bool:
    """Below 2**43 us float64 holds three decimals; above it only whole numbers are safe."""
    ts = np.fromiter((span.ts for span in spans), np.float64, len(spans))
    return bool(ts.max(initial=0) < 2.0**43 or (ts == np.floor(ts)).all())
