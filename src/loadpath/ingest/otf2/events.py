"""Events of one thread: regions become ops, and what they send and receive is said of them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.errors import InputError
from loadpath.ingest.otf2 import kernels
from loadpath.ingest.otf2.definitions import COMMUNICATORS, REGIONS, Definitions, Local
from loadpath.ingest.otf2.places import Communicators, Place
from loadpath.ingest.otf2.records import REMEDY
from loadpath.ingest.otf2.thread_events import ThreadEvents, thread_table
from loadpath.tables import OP

__all__ = ["LocationOps", "Told", "location_ops"]

Int64Array = NDArray[np.int64]

SENDS, RECEIVES, COLLECTIVE = (14, 15), (18, 19), 23
COLLECTIVES = (
    "barrier", "broadcast", "gather", "gather", "scatter", "scatter", "all_gather", "all_gather",
    "all_to_all", "all_to_all", "all_to_all", "all_reduce", "reduce", "reduce_scatter", "", "",
    "reduce_scatter",
)  # fmt: skip
"""Collectives by their number in the trace; scans are none of those that wait for all or for a root."""
NS = 1_000_000_000
LONGEST_S = 1 << 31


@dataclass(frozen=True, slots=True)
class LocationOps:
    """Ops of one thread.

    Attributes
    ----------
    op : polars.DataFrame
        Columns of table `OP`; `parent` counts from the first op of the thread.
    threads : polars.DataFrame
        Table `SYNCHRONISATION`; `correlation` counts like `parent`.
    is_cut : bool
        The file ends, or is damaged, before its end.
    n_unended, n_lone, n_unknown, n_back : int
        Regions that are never left, leaves without an enter, communications that are not matched,
        events before the one before them.
    is_unmapped : bool
        The thread has no definitions of its own.
    """

    op: pl.DataFrame
    threads: pl.DataFrame
    is_cut: bool
    n_unended: int
    n_lone: int
    n_unknown: int
    n_back: int
    is_unmapped: bool


class Told(NamedTuple):
    """What the numbers of a thread's events mean.

    Attributes
    ----------
    definitions : Definitions
        Those of the whole trace.
    groups : Communicators
        Ranks of communicators.
    local : Local or None
        Those of the thread; None where it has none.
    """

    definitions: Definitions
    groups: Communicators
    local: Local | None

    def own(self, kind: int) -> dict[int, int]:
        """Numbers of the thread, and what they are in the whole trace.

        Parameters
        ----------
        kind : int
            Kind of number.

        Returns
        -------
        dict of int to int
            Those that differ.
        """
        return self.local.maps.get(kind, {}) if self.local else {}


@dataclass(frozen=True, slots=True)
class _Events:
    time_ns: Int64Array
    kind: NDArray[np.uint8]
    field: Int64Array
    n_back: int


def location_ops(content: bytes, chunk_bytes: int, place: Place, told: Told) -> LocationOps:
    """Read the events of one thread.

    Parameters
    ----------
    content : bytes
        Its file of events.
    chunk_bytes : int
        Length of its chunks.
    place : Place
        Which thread it is.
    told : Told
        What its numbers mean.

    Returns
    -------
    LocationOps
        A row per region, and per communication where several end in one region.
    """
    events, is_cut = _scan(f"{place.location}.evt", content, chunk_bytes, told)
    region = _mapped(events.field[:, 0], told.own(REGIONS))
    leave, within, n_lone = kernels.nest(events.kind, region)
    enter = np.flatnonzero(events.kind == kernels.ENTER)
    row = np.full(events.kind.size + 1, -1, np.int64)
    row[enter] = np.arange(enter.size)
    left = np.where(leave[enter] >= 0, events.time_ns[leave[enter]], events.time_ns.max(initial=0))
    regions = pl.DataFrame(
        {
            "name": _names(region[enter], told.definitions),
            "start_ns": events.time_ns[enter],
            "duration_ns": np.maximum(left - events.time_ns[enter], 0),
            "parent": row[within[enter]],
        }
    )
    talk, n_unknown = _communications(events, within, told)
    op = _joined(regions, talk.with_columns(pl.Series("region", row[talk["region"].to_numpy()])))
    threads = thread_table(
        _thread_events(events, row[within], told), regions, region[enter], told.definitions
    )
    place_of = {"rank": pl.lit(place.rank, pl.Int32), "lane": pl.lit(place.lane, pl.Int32)}
    return LocationOps(
        op.with_columns(**place_of).select(*OP.schema),
        threads.with_columns(**place_of),
        is_cut,
        int((leave[enter] < 0).sum()),
        int(n_lone),
        n_unknown,
        events.n_back,
        told.local is None,
    )


def _thread_events(events: _Events, within: Int64Array, told: Told) -> ThreadEvents:
    team = _mapped(events.field[:, 0], told.own(COMMUNICATORS))
    return ThreadEvents(events.kind, events.time_ns, events.field, team, within)


def _scan(name: str, content: bytes, chunk_bytes: int, told: Told) -> tuple[_Events, bool]:
    most = len(content) // 2 + 1
    time, kind = np.empty(most, np.int64), np.empty(most, np.uint8)
    field = np.empty((most, kernels.N_FIELD), np.int64)
    raw = np.frombuffer(content + bytes(16), np.uint8)
    n, damaged = kernels.scan_events(raw, chunk_bytes, time, kind, field)
    first, per_s = told.definitions.first_tick, told.definitions.ticks_per_s
    tick = time[:n] - first
    tick = tick + _correction(tick, told.local or Local(), first)
    if tick.size and max(-tick.min(), tick.max()) // per_s > LONGEST_S:
        raise InputError(name, "has times beyond any job", REMEDY)
    second, rest = np.divmod(tick, per_s)
    time_ns = second * NS + rest * NS // per_s
    # a clock that steps back would nest ops wrongly
    steady = np.maximum.accumulate(time_ns)
    n_back = int((time_ns < steady).sum())
    return _Events(steady, kind[:n].copy(), field[:n].copy(), n_back), damaged >= 0


def _names(region: Int64Array, definitions: Definitions) -> pl.Series:
    found, place = np.unique(region, return_inverse=True)
    texts = [definitions.region.get(int(number), (-1, 0, 0))[0] for number in found]
    shown = [
        definitions.text.get(text) or f"region {number}"
        for text, number in zip(texts, found, strict=True)
    ]
    return pl.Series(shown, dtype=pl.String).gather(place.astype(np.uint32))


def _correction(tick: Int64Array, local: Local, first_tick: int) -> Int64Array:
    """Corrections of the clock in ticks: linear between those recorded, and beyond the outer ones."""
    pairs = [(time - first_tick, by) for time, by in sorted(dict(local.offset).items())]
    if len(pairs) < 2:
        return np.full(tick.size, pairs[0][1] if pairs else 0, np.int64)
    at, by = np.array(pairs, np.int64).T
    slope = np.diff(by) / np.diff(at)
    place = np.clip(np.searchsorted(at, tick, "right") - 1, 0, at.size - 2)
    return np.asarray(by[place] + np.rint(slope[place] * (tick - at[place])), np.int64)


def _mapped(number: Int64Array, table: dict[int, int]) -> Int64Array:
    """Turn numbers of the location into those of the whole trace."""
    if not table:
        return number
    found, place = np.unique(number, return_inverse=True)
    return np.array([table.get(int(n), int(n)) for n in found], np.int64)[place]


def _communications(events: _Events, within: Int64Array, told: Told) -> tuple[pl.DataFrame, int]:
    """List what is sent and received, with the event that encloses it; and how many are not matched."""
    kind, field, groups = events.kind, events.field, told.groups
    collective = kind == COLLECTIVE
    talks = np.flatnonzero(np.isin(kind, (*SENDS, *RECEIVES)) | collective)
    kinds, numbers = kind[talks], field[talks]
    communicator = _mapped(numbers[:, 1], told.own(COMMUNICATORS))
    code = np.where(kinds == COLLECTIVE, numbers[:, 0], -1)
    names = np.array([*COLLECTIVES, ""], object)[np.clip(code, -1, len(COLLECTIVES))]
    names[np.isin(kinds, SENDS)], names[np.isin(kinds, RECEIVES)] = "send", "recv"
    peer = np.where(kinds == COLLECTIVE, numbers[:, 2], numbers[:, 0])
    known = np.array([n in groups.members for n in communicator.tolist()], np.bool_)
    kept = known & (names != "") & (within[talks] >= 0)
    alone = ~known & (names != "")
    table = pl.DataFrame(
        {
            "region": within[talks],
            "end_ns": events.time_ns[talks],
            "collective": names.astype(str),
            "communicator": [groups.number.get(n, -1) for n in communicator.tolist()],
            "peer": _world(groups, communicator, peer),
            "tag": np.where(kinds == COLLECTIVE, -1, numbers[:, 2]),
            "bytes": np.maximum(numbers[:, 3], -1),
        },
        schema_overrides={"collective": pl.String, "communicator": pl.Int32, "peer": pl.Int32},
    )
    return table.filter(pl.Series(kept)), int((~kept & ~alone).sum())


def _world(groups: Communicators, communicator: Int64Array, peer: Int64Array) -> list[int]:
    """Turn ranks of communicators into ranks of the job, -1 for none."""
    return [
        ranks[p] if 0 <= p < len(ranks := groups.members.get(c, ())) else -1
        for c, p in zip(communicator.tolist(), peer.tolist(), strict=True)
    ]


def _joined(regions: pl.DataFrame, talk: pl.DataFrame) -> pl.DataFrame:
    """Say of a region what it communicates; several communications share its time, one after another."""
    talk = talk.with_columns(pl.len().over("region").alias("n"))
    one = talk.filter(pl.col("n") == 1).drop("n", "end_ns")
    several = talk.filter(pl.col("n") > 1)
    whole = regions.with_row_index("region").with_columns(pl.col("region").cast(pl.Int64))
    begin = whole.select("region", first=pl.col("start_ns"), name="name")
    parts = (
        several.join(begin, on="region", how="left", maintain_order="left")
        .with_columns(start_ns=pl.col("end_ns").shift(1).over("region").fill_null(pl.col("first")))
        .select(
            "name", "start_ns", "collective", "communicator", "peer", "tag", "bytes",
            duration_ns=pl.col("end_ns") - pl.col("start_ns"), parent="region",
        )
    )  # fmt: skip
    said = whole.join(one, on="region", how="left", maintain_order="left").drop("region")
    op = pl.concat([said, parts], how="diagonal_relaxed").with_columns(
        pl.col("collective").fill_null(""),
        *(
            pl.col(name).fill_null(-1)
            for name in ("communicator", "peer", "tag", "bytes", "parent")
        ),
    )
    talks = pl.col("collective") != ""
    return OP.build(
        op.with_columns(
            rank=pl.lit(0),
            lane=pl.lit(0),
            kind=pl.when(talks).then(pl.lit("communicate")).otherwise(pl.lit("host")),
        )
    )
