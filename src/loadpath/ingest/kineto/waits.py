"""Waits for device ops, as profilers that record synchronisation write them (``cuda_sync``)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import polars as pl

from loadpath.tables import WAIT

__all__ = ["Wait", "is_wait", "parse_wait", "wait_table"]

KINDS = {
    "Stream Wait Event": "stream",
    "Event Sync": "event",
    "Stream Sync": "drain",
    "Context Sync": "device",
}
"""What Kineto calls a wait, and its kind in table `WAIT`."""


class Wait(NamedTuple):
    """One recorded wait; -1 where the trace does not say.

    Attributes
    ----------
    kind : str
        As in table `WAIT`.
    correlation, record : int
        Correlation of the call that asked, and of the one that recorded the awaited event.
    lane, source : str
        Names of the waiting (or drained) and of the awaited stream, empty if unknown.
    """

    kind: str
    correlation: int
    record: int
    lane: str
    source: str


def is_wait(span: Any) -> bool:
    """Say whether a span is a recorded wait.

    Parameters
    ----------
    span : Span or ExactSpan
        Complete event.

    Returns
    -------
    bool
        True for the kinds of synchronisation that loadpath knows.
    """
    return span.cat == "cuda_sync" and span.name in KINDS


def parse_wait(span: Any) -> Wait:
    """Read a wait.

    Parameters
    ----------
    span : Span or ExactSpan
        A recorded wait.

    Returns
    -------
    Wait
        What it says.
    """
    args = span.args
    device = span.pid if args.device == -1 else args.device
    return Wait(
        KINDS[span.name],
        _whole(args.correlation),
        _whole(args.record),
        _stream(device, args.stream),
        _stream(device, args.source_stream),
    )


def wait_table(rank: int, waits: Sequence[Wait], lane: pl.DataFrame) -> pl.DataFrame:
    """Make the table of waits.

    Parameters
    ----------
    rank : int
        Whose.
    waits : sequence of Wait
        As recorded.
    lane : polars.DataFrame
        Table `LANE` of the rank.

    Returns
    -------
    polars.DataFrame
        Table `WAIT`; a stream that runs nothing has no lane.
    """
    number = dict(lane.select("name", "lane").rows())
    return WAIT.build(
        pl.DataFrame(
            [
                (rank, w.kind, w.correlation, number.get(w.lane, -1), number.get(w.source, -1), w.record)
                for w in waits
            ],
            schema=list(WAIT.schema.items()),
            orient="row",
        )
    )  # fmt: skip


def _stream(device: Any, stream: Any) -> str:
    return "" if str(stream) == "-1" else f"device {device} stream {stream}"


def _whole(value: Any) -> int:
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return -1
    return number if 0 <= number < 2**62 else -1
