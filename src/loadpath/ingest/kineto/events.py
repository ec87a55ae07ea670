"""One Kineto event as a typed record: the reader of events that the compiled scan found odd."""

import functools
import operator
from decimal import Decimal
from typing import Any

import msgspec

__all__ = ["BAD", "Args", "EventDecoder", "Span", "ThreadName", "decode_args"]

Number = int | float | str
EMPTY = msgspec.Raw(b"")
BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Args(msgspec.Struct, frozen=True, gc=False):
    """Arguments of a span that loadpath reads."""

    correlation: Number = -1
    stream: Number = -1
    device: Number = -1
    bytes: Number = -1
    external: Number = msgspec.field(default=-1, name="External id")
    external_2021: Number = msgspec.field(default=-1, name="external id")
    collective: str = msgspec.field(default="", name="Collective name")
    group: Number = msgspec.field(default="", name="Process Group Name")
    group_number: Number = msgspec.field(default="", name="Process Group ID")
    group_ranks: msgspec.Raw = msgspec.field(default=EMPTY, name="Process Group Ranks")
    group_use: Number = msgspec.field(default="", name="Process Group Description")
    group_size: Number = msgspec.field(default=-1, name="Group size")
    rank: Number = msgspec.field(default=-1, name="Rank")
    n_in: Number = msgspec.field(default=-1, name="In msg nelems")
    n_out: Number = msgspec.field(default=-1, name="Out msg nelems")
    dtype: str = ""
    sequence: Number = msgspec.field(default=-1, name="Seq")
    comms_id: Number = msgspec.field(default="", name="Comms Id")
    source: Number = msgspec.field(default=-1, name="Src Rank")
    target: Number = msgspec.field(default=-1, name="Dst Rank")
    dims: msgspec.Raw = msgspec.field(default=EMPTY, name="Input Dims")
    types: msgspec.Raw = msgspec.field(default=EMPTY, name="Input type")
    inputs: msgspec.Raw = msgspec.field(default=EMPTY, name="Concrete Inputs")
    stream_id: Number = -1
    event: Number = -1
    event_id: Number = -1
    waits_on_stream: Number = msgspec.field(default=-1, name="wait_on_stream")
    waits_on_record: Number = msgspec.field(default=-1, name="wait_on_cuda_event_record_corr_id")
    waits_on_event: Number = msgspec.field(default=-1, name="wait_on_cuda_event_id")


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
    """Complete event; times in us, exact."""

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


class EventDecoder:
    """Decoder of single events."""

    def __init__(self) -> None:
        kinds: Any = functools.reduce(operator.or_, (Span, ThreadName, *OTHERS))
        self._decoder = msgspec.json.Decoder(kinds)

    def decode(self, text: bytes) -> tuple[Any, str]:
        """Decode one event.

        Parameters
        ----------
        text : bytes
            Its JSON.

        Returns
        -------
        event : Span, ThreadName, an event of another phase, or None
            None if it is malformed.
        error : str
            Why, empty if it is sound.
        """
        try:
            return self._decoder.decode(text), ""
        except BAD as error:
            return None, str(error)[:120]


def decode_args(text: bytes) -> Args | None:
    """Decode the arguments of a span.

    Parameters
    ----------
    text : bytes
        JSON of the value of ``args``; empty where a span has none.

    Returns
    -------
    Args or None
        None if they are malformed.
    """
    try:
        return msgspec.json.decode(text, type=Args) if text else NO_ARGS
    except BAD:
        return None
