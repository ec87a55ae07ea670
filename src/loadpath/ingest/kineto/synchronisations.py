"""What Kineto writes about waits between streams, and of the host for a device."""

import re
from dataclasses import dataclass
from typing import Any

from loadpath.ingest.kineto.communications import whole_number

__all__ = ["Synchronisation", "asks_for_event", "parse_synchronisation"]

CALL = re.compile(
    r"Event_?(Record|Synchronize)|StreamWaitEvent|recordEvent|waitOnEvent", re.IGNORECASE
)
KINDS = (
    ("stream_wait", re.compile(r"stream_?wait|event_wait|waitOnEvent", re.IGNORECASE)),
    ("event_record", re.compile(r"record", re.IGNORECASE)),
    ("event_wait", re.compile(r"event", re.IGNORECASE)),
    ("stream_synchronise", re.compile(r"stream", re.IGNORECASE)),
    ("device_synchronise", re.compile(r"", re.IGNORECASE)),
)


@dataclass(frozen=True, slots=True)
class Synchronisation:
    """Recorded facts about one synchronisation; -1 or empty where a trace does not say.

    Attributes
    ----------
    kind : str
        One of ``stream_wait``, ``event_record``, ``event_wait``, ``stream_synchronise``,
        ``device_synchronise``.
    device, stream : str
        Stream that waits or is waited for by the host, or on which the event was recorded.
    source : str
        Stream that a stream waits for.
    correlation : int
        Links it with the call that asked for it.
    record : int
        Correlation of the call that recorded the event.
    event : int
        Number of the event.
    """

    kind: str
    device: str = ""
    stream: str = ""
    source: str = ""
    correlation: int = -1
    record: int = -1
    event: int = -1


def asks_for_event(name: str) -> bool:
    """Tell by name whether a call of the runtime records an event or waits for one.

    Parameters
    ----------
    name : str
        Name of the call.

    Returns
    -------
    bool
        True for ``cudaEventRecord``, ``hipStreamWaitEvent`` and the like.
    """
    return bool(CALL.search(name[:80]))


def parse_synchronisation(name: str, args: Any, pid: str) -> Synchronisation:
    """Read the facts from a span's arguments.

    Parameters
    ----------
    name : str
        Name of the span.
    args : Args
        Its arguments.
    pid : str
        Its process, which is the device where the arguments name none.

    Returns
    -------
    Synchronisation
        What they say.

    Examples
    --------
    >>> from loadpath.ingest.kineto.events import Args
    >>> fact = parse_synchronisation("Stream Wait Event", Args(stream=7, waits_on_stream=20), "0")
    >>> fact.kind, fact.stream, fact.source
    ('stream_wait', '7', '20')
    """
    compact = name.replace(" ", "_")
    stream = args.stream if args.stream != -1 else args.stream_id
    events = (args.waits_on_event, args.event_id, args.event)
    return Synchronisation(
        kind=next(kind for kind, pattern in KINDS if pattern.search(compact)),
        device=pid if args.device == -1 else str(args.device),
        stream="" if stream == -1 else str(stream),
        source="" if args.waits_on_stream == -1 else str(args.waits_on_stream),
        correlation=whole_number(args.correlation),
        record=whole_number(args.waits_on_record),
        event=max(map(whole_number, events)),
    )
