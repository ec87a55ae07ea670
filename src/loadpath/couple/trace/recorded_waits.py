"""Waits for device ops that the profiler recorded: between streams, and of host threads."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.kernels import group_by_key
from loadpath.couple.trace import kernels
from loadpath.couple.trace.launches import DeviceWork
from loadpath.couple.trace.rows import BoolArray, Int32Array, Int64Array, Rows

__all__ = ["RecordedWaits", "recorded_waits"]

MOST_OPEN = 64
"""Waits of a stream that are remembered; a stream given nothing to run hardly collects more."""


@dataclass(frozen=True, slots=True)
class RecordedWaits:
    """Recorded waits as pairs; every index is into `DeviceWork` unless said otherwise.

    Attributes
    ----------
    source, target : (n_edge,) arrays of int32
        The target's stream was told to wait until the source has ended.
    is_known : (n_work,) array of bool
        Ops of ranks whose waits between streams were recorded: nothing need be inferred there.
    host_source : (n_wait,) array of int32
        What a host thread waited for.
    host_call : (n_wait,) array of int32
        Recorded row of the call in which it waited.
    """

    source: Int32Array
    target: Int32Array
    is_known: BoolArray
    host_source: Int32Array
    host_call: Int32Array


def recorded_waits(said: pl.DataFrame, rows: Rows, work: DeviceWork) -> RecordedWaits:
    """Join recorded waits to the ops that they order.

    Parameters
    ----------
    said : polars.DataFrame
        Table `SYNCHRONISATION`.
    rows : Rows
        Recorded ops.
    work : DeviceWork
        What hosts launched.

    Returns
    -------
    RecordedWaits
        Waits whose calls are recorded and whose streams ran something. A stream that waits for an
        event waits for the last op launched on the event's stream before the event was recorded,
        and for what that stream was still waiting for; the next op launched on it waits with it.
    """
    wait = _with_records(said)
    kind = wait["kind"].cast(pl.String).to_numpy()
    told, called = _told(wait, kind, rows)
    streams = _Streams.of(rows, work)
    source = streams.around(told.rank, told.awaited, told.until)[0]
    source[called < 0] = -1
    target = streams.around(told.rank, told.lane, told.asked)[1]
    entry, held = _with_pending(told, source, work.launched, rows.lane[work.row])
    between = target[entry] >= 0
    on_host = (np.isin(kind, ("event_wait", "stream_synchronise")) & (called >= 0))[entry]
    return RecordedWaits(
        source=held[between],
        target=target[entry[between]],
        is_known=np.isin(
            rows.rank[work.row], told.rank[(kind == "stream_wait") & (told.awaited >= 0)]
        ),
        host_source=held[on_host],
        host_call=called[entry[on_host]],
    )


class _Told(NamedTuple):
    """Waits: which stream waits (-1 a host thread), for which, since when, for what until when."""

    rank: Int32Array
    lane: Int32Array
    awaited: Int32Array
    asked: Int64Array
    until: Int64Array


def _told(wait: pl.DataFrame, kind: NDArray[np.object_], rows: Rows) -> tuple[_Told, Int32Array]:
    """Say who waits for what until when, and in which recorded call (-1 unknown)."""
    rank, lane = wait["rank"].to_numpy(), wait["lane"].to_numpy()
    host = np.flatnonzero(rows.on_host & (rows.correlation >= 0))
    calls = rows.rank[host], rows.correlation[host]
    called, noted = (
        np.append(host, -1)[kernels.first_equal(*calls, rank, wait[name].to_numpy())]
        for name in ("correlation", "record")
    )
    asked = np.where(called >= 0, rows.start[called], 0)
    event = np.where(noted >= 0, rows.start[noted], np.iinfo(np.int64).min)
    by_event = np.isin(kind, ("stream_wait", "event_wait"))
    told = _Told(
        rank=rank,
        lane=np.where((kind == "stream_wait") & (called >= 0), lane, -1),
        awaited=np.where(by_event, wait["source_lane"].to_numpy(), lane),
        asked=asked,
        until=np.where(by_event, event, asked),
    )
    return told, called.astype(np.int32)


def _with_pending(
    told: _Told, source: Int32Array, launched: Int64Array, lane_of: Int32Array
) -> tuple[Int32Array, Int32Array]:
    """List what each wait holds out for: the last op of the awaited stream, and its open waits.

    A stream that was told to wait, and given nothing to run since, passes its wait on to whoever
    waits for it. Of several ops of one stream the last launched stands for all. Returns pairs of
    wait and op.
    """  # noqa: DOC201
    lane = np.append(told.lane, told.awaited)
    stream = np.tile(told.rank.astype(np.int64), 2) << 32 | np.maximum(lane, 0)
    found, number = np.unique(stream, return_inverse=True)
    mine, awaited = np.split(np.where(lane >= 0, number, -1), 2)
    order = np.argsort(told.asked, kind="stable")
    entry, held = kernels.open_waits(
        *(order, mine, awaited, told.asked, told.until, source, launched, lane_of),
        *(found.size, MOST_OPEN),
    )
    return entry, held


def _with_records(said: pl.DataFrame) -> pl.DataFrame:
    """Fill in who recorded an event that a wait names by its number alone."""
    key = ["rank", "event"]
    waits = pl.col("kind").cast(pl.String) != "event_record"
    numbered = said.filter(~waits & (pl.col("event") >= 0))
    noted = numbered.select(*key, "start_ns", noted="correlation", noted_lane="lane").sort(
        "start_ns"
    )
    found = (
        said.filter(waits)
        .sort("start_ns", maintain_order=True)
        .join_asof(noted, on="start_ns", by=key, check_sortedness=False)
    )
    unsaid = pl.col("record") < 0
    return found.with_columns(
        record=pl.when(unsaid).then(pl.col("noted").fill_null(-1)).otherwise("record"),
        source_lane=pl.when(pl.col("source_lane") < 0)
        .then(pl.col("noted_lane").fill_null(-1))
        .otherwise("source_lane"),
    )


@dataclass(frozen=True, slots=True)
class _Streams:
    """Launched ops in order of stream and launch."""

    index: Int64Array
    first: Int64Array
    launched: Int64Array
    width: int

    @classmethod
    def of(cls, rows: Rows, work: DeviceWork) -> "_Streams":
        width = int(rows.lane.max(initial=0)) + 1
        slot = rows.rank[work.row].astype(np.int64) * width + rows.lane[work.row]
        first, index = group_by_key(slot, int(slot.max(initial=-1)) + 1)
        return cls(index, first, work.launched[index], width)

    def around(
        self, rank: Int32Array, lane: Int32Array, time: Int64Array
    ) -> tuple[Int32Array, Int32Array]:
        """Last op launched before a time on a lane, and first one not before; -1 for none."""
        slot = rank.astype(np.int64) * self.width + lane
        slot[(lane < 0) | (lane >= self.width) | (slot >= self.first.size - 1)] = -1
        low, high = (np.where(slot >= 0, self.first[slot + end], 0) for end in (0, 1))
        place = kernels.place_between(self.launched, low, high, time)
        index = np.append(self.index, -1)
        last, then = np.where(place > low, place - 1, -1), np.where(place < high, place, -1)
        return index[last].astype(np.int32), index[then].astype(np.int32)
