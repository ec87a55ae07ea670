"""The recorded op table as arrays, with what decides each row's part in the graph."""

import re
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.trace import kernels
from loadpath.tables import OP_KINDS, Recording

__all__ = ["KIND", "BoolArray", "Int32Array", "Int64Array", "Rows", "common_steps", "rows_of"]

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

KIND = {name: code for code, name in enumerate(OP_KINDS)}
"""Code of each kind of op in `Rows.kind`."""
STEP_MARK = r"^ProfilerStep#\d+$"
OF_DEVICE = "^device .* stream "
"""How lanes of streams are called; threads are not."""
SYNCHRONISES = re.compile(r"(Synchronize|_synchronize)(_ptsz)?$")
ALLOCATES = re.compile(r"(Malloc|Free|HostAlloc|HostRegister|MemCreate|MemMap)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rows:
    """Recorded ops as arrays; the row number is that of the recorded op table.

    Attributes
    ----------
    rank, lane, parent, communicator, peer : (n,) arrays of int32
        As in table `op`.
    step, start, end, bytes, correlation, sequence, tag, comms_id : (n,) arrays of int64
        As in table `op`; times in ns after the first selected start.
    name, collective : (n,) arrays of int32
        Codes into `names` and `collectives`.
    stream : (n,) array of int32
        Code of the stream's recorded number (of the thread's name on the host): peers share it.
    kind : (n,) array of uint8
        Kind of the op, a code of `KIND`.
    on_host, on_worker, on_device : (n,) arrays of bool
        Whether it runs on a host thread, on a communication thread, or on a device stream.
    call : (n,) array of int32
        Row of the runtime call that launched a device op, -1 if none is recorded.
    synchronises, keeps_time : (n,) arrays of bool
        Whether a host row waits for the device, and whether it is a segment of its own (polling
        calls are not: their time belongs to the call around them).
    names, collectives : tuple of str
        What the codes stand for; a step mark's number is cut off.
    """

    rank: Int32Array
    lane: Int32Array
    step: Int64Array
    start: Int64Array
    end: Int64Array
    name: Int32Array
    collective: Int32Array
    stream: Int32Array
    kind: NDArray[np.uint8]
    bytes: Int64Array
    correlation: Int64Array
    sequence: Int64Array
    tag: Int64Array
    comms_id: Int64Array
    communicator: Int32Array
    peer: Int32Array
    parent: Int32Array
    on_host: BoolArray
    on_worker: BoolArray
    on_device: BoolArray
    call: Int32Array
    synchronises: BoolArray
    keeps_time: BoolArray
    names: tuple[str, ...]
    collectives: tuple[str, ...]


def common_steps(recording: Recording) -> list[int]:
    """Find the steps that every rank recorded.

    Parameters
    ----------
    recording : Recording
        A trace recording.

    Returns
    -------
    list of int
        Step numbers, ascending.
    """
    n_rank = recording.rank.height
    counts = recording.step.group_by("step").agg(pl.col("rank").n_unique().alias("n"))
    return sorted(counts.filter(pl.col("n") == n_rank)["step"].to_list())


def rows_of(recording: Recording) -> Rows:
    """Turn the recorded op table into arrays.

    Parameters
    ----------
    recording : Recording
        A trace recording.

    Returns
    -------
    Rows
        One entry per row of its op table.
    """
    op = recording.op
    # marks carry the number of their step; the place that they stand for is the same in each
    name, names = _coded(op["name"], STEP_MARK, "ProfilerStep")
    collective, collectives = _coded(op["collective"])
    rank, lane = op["rank"].to_numpy(), op["lane"].to_numpy()
    correlation = op["correlation"].to_numpy()
    on_host, on_worker, stream = _lane_facts(recording, rank, lane)
    on_worker &= correlation < 0
    on_device = ~on_host & ~on_worker
    call = _calls(rank, correlation, on_host, on_device)
    synchronises = _named(names, SYNCHRONISES)[name] & on_host
    return Rows(
        rank=rank,
        lane=lane,
        step=op["step"].to_numpy(),
        start=op["start_ns"].to_numpy(),
        end=(op["start_ns"] + op["duration_ns"]).to_numpy(),
        name=name,
        collective=collective,
        stream=stream,
        kind=op["kind"].to_physical().to_numpy(),
        bytes=op["bytes"].to_numpy(),
        correlation=correlation,
        sequence=op["sequence"].to_numpy(),
        tag=op["tag"].to_numpy(),
        comms_id=op["comms_id"].to_numpy(),
        communicator=op["communicator"].to_numpy(),
        peer=op["peer"].to_numpy(),
        parent=op["parent"].to_numpy(),
        on_host=on_host,
        on_worker=on_worker,
        on_device=on_device,
        call=call,
        synchronises=synchronises,
        keeps_time=on_host
        & (
            (correlation < 0)
            | (np.bincount(call[call >= 0], minlength=rank.size) > 0)
            | synchronises
            | _named(names, ALLOCATES)[name]
        ),
        names=names,
        collectives=collectives,
    )


def _coded(
    column: pl.Series, pattern: str = "^$", instead: str = ""
) -> tuple[Int32Array, tuple[str, ...]]:
    """Codes in the order of the sorted names, the same for any order of reading; one name instead of some."""
    code = column.to_physical().to_numpy()
    first = np.full(int(code.max()) + 1 if code.size else 0, -1, np.int64)
    first[code] = np.arange(code.size)
    found = np.flatnonzero(first >= 0)
    text = column.gather(first[found]).cast(pl.String).str.replace(pattern, instead)
    values, place = np.unique(text.to_numpy().astype(object), return_inverse=True)
    number = np.zeros(first.size, np.int32)
    number[found] = place
    return number[code], tuple(values.tolist())


def _named(names: tuple[str, ...], pattern: re.Pattern[str]) -> BoolArray:
    return np.array([bool(pattern.search(name[:200])) for name in names], np.bool_)


def _lane_facts(
    recording: Recording, rank: Int32Array, lane: Int32Array
) -> tuple[BoolArray, BoolArray, Int32Array]:
    """Whether each row's lane is a host's, whether it is a communication thread, and code of its stream."""
    kind = pl.col("kind").cast(pl.String)
    lanes = recording.lane.with_columns(
        host=kind == "host",
        worker=(kind == "communication") & ~pl.col("name").str.contains(OF_DEVICE),
        stream=pl.col("name").str.replace(OF_DEVICE, "").rank("dense").cast(pl.Int32),
    )
    known = [lanes[name].to_numpy() for name in ("rank", "lane")]
    size = tuple(
        int(max(a.max(initial=-1), b.max(initial=-1))) + 1
        for a, b in zip((rank, lane), known, strict=True)
    )
    host, worker, stream = (
        np.ones(size, np.bool_),
        np.zeros(size, np.bool_),
        np.zeros(size, np.int32),
    )
    for fact, name in ((host, "host"), (worker, "worker"), (stream, "stream")):
        fact[*known] = lanes[name].to_numpy()
    return host[rank, lane], worker[rank, lane], stream[rank, lane]


def _calls(
    rank: Int32Array, correlation: Int64Array, on_host: BoolArray, on_device: BoolArray
) -> Int32Array:
    """Join device ops to runtime calls of the same rank and correlation."""
    calls, device = (np.flatnonzero(some & (correlation >= 0)) for some in (on_host, on_device))
    first = kernels.first_equal(
        *(rank[calls], correlation[calls], rank[device], correlation[device])
    )
    call = np.full(rank.size, -1, np.int32)
    call[device] = np.append(calls, -1)[first]
    return call
