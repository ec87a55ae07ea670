"""Lines of one Inspector log: a record of one communication each, whatever the format's age.

Formats before 4.3 repeat communicator and process in every line; from 4.3 on a line with
``dump_stats`` says them for the lines that follow. Times of kernels stand in ``kernel_events`` (4.0)
or among ``events`` (4.1), and only where the log is verbose.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

__all__ = ["Call", "Process", "read_lines"]

BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
MOST_US = 1 << 52
"""Times beyond this are not meant: the year 2112."""
LONGEST_US = 1e11
"""A day: no communication takes longer."""
MOST_RANKS = 1 << 20


class Process(NamedTuple):
    """Which process wrote a record; no two of a job share both."""

    host: str
    pid: int


class Call(NamedTuple):
    """One communication as one process logged it; times in us, 0 where unknown.

    Attributes
    ----------
    process : Process
        Who logged it.
    communicator : str
        Hash, the same on all members.
    description : str
        Name that the application gave, empty if none.
    rank, n_ranks : int
        Rank within the communicator, and its size.
    name : str
        As recorded, such as ``AllReduce``.
    number : int
        Number within the communicator.
    peer : int
        Other end of a send or receive within the communicator, -1 for none.
    bytes : int
        Message size.
    took_us, start_us, end_us : float, int, int
        Execution time, and when it ran on the device.
    written_us : int
        When the line was written.
    is_timed_by_host : bool
        The execution time was taken by the host, not the device.
    """

    process: Process
    communicator: str
    description: str
    rank: int
    n_ranks: int
    name: str
    number: int
    peer: int
    bytes: int
    took_us: float
    start_us: int
    end_us: int
    written_us: int
    is_timed_by_host: bool


class _Header(msgspec.Struct, frozen=True):
    id: str
    rank: int
    n_ranks: int
    comm_name: str = ""


class _Metadata(msgspec.Struct, frozen=True):
    hostname: str
    pid: int
    dump_timestamp_us: int = 0


class _Kernel(msgspec.Struct, frozen=True):
    kernel_start_ts: int = 0
    kernel_stop_ts: int = 0


class _Times(msgspec.Struct, frozen=True):
    kernel_events: list[_Kernel] = []


class _Event(msgspec.Struct, frozen=True):
    event_type: str = ""
    event_trace_ts: _Kernel = _Kernel()


class _Collective(msgspec.Struct, frozen=True):
    coll: str
    coll_sn: int
    coll_exec_time_us: float
    coll_msg_size_bytes: int = -1
    coll_timing_source: str = ""
    event_trace_ts: _Times = _Times()
    events: list[_Event] = []


class _Message(msgspec.Struct, frozen=True):
    p2p: str
    p2p_sn: int
    p2p_peer: int
    p2p_exec_time_us: float
    p2p_msg_size_bytes: int = -1
    p2p_timing_source: str = ""
    event_trace_ts: _Times = _Times()
    events: list[_Event] = []


class _Line(msgspec.Struct, frozen=True):
    header: _Header | None = None
    metadata: _Metadata | None = None
    coll_perf: _Collective | None = None
    p2p_perf: _Message | None = None


def read_lines(lines: Iterator[bytes]) -> Iterator[Call | None]:
    """Read the records of one log.

    Parameters
    ----------
    lines : iterator of bytes
        Its lines.

    Yields
    ------
    Call or None
        A communication; None for a line that holds none that can be meant. Lines that say
        something else (proxies, statistics) are passed over.
    """
    decoder = msgspec.json.Decoder(_Line)
    header: _Header | None = None
    metadata: _Metadata | None = None
    for line in lines:
        if not line.strip():
            continue
        try:
            found = decoder.decode(line)
        except BAD:
            yield None
            continue
        # from 4.3 on, a line says who speaks in those after it
        header, metadata = found.header or header, found.metadata or metadata
        if found.coll_perf is None and found.p2p_perf is None:
            continue
        yield _call(header, metadata, found) if header and metadata else None


def _call(header: _Header, metadata: _Metadata, line: _Line) -> Call | None:
    met, sent = line.coll_perf, line.p2p_perf
    if met is not None:
        what = (met.coll, met.coll_sn, -1, met.coll_msg_size_bytes)
        took, source = met.coll_exec_time_us, met.coll_timing_source
    elif sent is not None:
        what = (sent.p2p, sent.p2p_sn, sent.p2p_peer, sent.p2p_msg_size_bytes)
        took, source = sent.p2p_exec_time_us, sent.p2p_timing_source
    else:
        return None
    start, end = _kernel_times(line)
    name = header.comm_name
    call = Call(
        Process(metadata.hostname, metadata.pid), header.id, "" if name == "unknown" else name,
        header.rank, header.n_ranks, *what, took, start, end, metadata.dump_timestamp_us,
        source.endswith("cpu"),
    )  # fmt: skip
    return call if _is_sound(call) else None


def _kernel_times(line: _Line) -> tuple[int, int]:
    """When the first channel began and the last one ended, in us; 0 where not recorded."""
    told = line.coll_perf or line.p2p_perf
    if told is None:
        return 0, 0
    kernels = told.event_trace_ts.kernel_events or [
        event.event_trace_ts for event in told.events if event.event_type == "KernelCh"
    ]
    start = min((k.kernel_start_ts for k in kernels if k.kernel_start_ts > 0), default=0)
    end = max((k.kernel_stop_ts for k in kernels), default=0)
    return (start, end) if 0 < start <= end < MOST_US else (0, 0)


def _is_sound(call: Call) -> bool:
    """Tell a record whose numbers can be meant."""
    return (
        0 <= call.rank < call.n_ranks <= MOST_RANKS
        and -1 <= call.peer < call.n_ranks
        and 0 <= call.number < MOST_US
        and 0 <= call.took_us < LONGEST_US
        and 0 <= call.written_us < MOST_US
        and -1 <= call.bytes < 1 << 60
        and 0 <= call.process.pid < 1 << 31
    )
