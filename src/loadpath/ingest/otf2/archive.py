"""An OTF2 trace: its anchor file, and from there everything else."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from loadpath.decode import file_digest, read_blocks
from loadpath.errors import InputError
from loadpath.ingest.otf2.definitions import Definitions, Local, read_definitions, read_local
from loadpath.ingest.otf2.events import LocationOps, Told, location_ops
from loadpath.ingest.otf2.places import Communicators, Place, communicators, n_accelerators, places
from loadpath.ingest.otf2.records import ORDER, REMEDY
from loadpath.tables import COMMUNICATOR, LANE, OP, RANK, STEP, Recording, caveat_table

__all__ = ["read_otf2"]

MAGIC = b"OTF2"
POSIX = 1
"""Files of a folder, as against one container for all."""
LEAST_BYTES = 46
LEAST_EVENTS_BYTES = 256
"""Files of fewer bytes hold no more than a dozen events, which may be alike."""
MOST_TICKS_PER_S = 9_000_000_000
"""A faster clock would not fit into 64 bits of ns."""


class _Anchor(NamedTuple):
    event_chunk: int
    definition_chunk: int
    n_location: int


def read_otf2(path: Path) -> Recording:
    """Read a trace of an MPI job.

    Parameters
    ----------
    path : Path
        Anchor file; ``NAME.def`` and the folder ``NAME`` lie beside it.

    Returns
    -------
    Recording
        Regions of all threads as host ops, and what they communicate.

    Raises
    ------
    InputError
        If a file is missing, cut or damaged, or no rank of MPI is defined.
    """
    anchor = _read_anchor(path)
    name = path.with_suffix(".def")
    found = read_definitions(name.name, _content(name), anchor.definition_chunk)
    if not 0 < found.ticks_per_s <= MOST_TICKS_PER_S or found.first_tick >> 62:
        what = f"its clock has {found.ticks_per_s} ticks a second, from {found.first_tick} on"
        raise InputError(name.name, what, REMEDY)
    threads = places(name.name, found)
    groups = communicators(found)
    read = [(place, _read_location(path, place, (found, groups), anchor)) for place in threads]
    lost = [place.rank for place, ops in read if ops is None]
    kept = [(place, ops) for place, ops in read if ops is not None]
    if not kept:
        raise InputError(path.name, "no event file of any rank is there", REMEDY)
    return _recording(path, (found, groups), (kept, lost))


def _read_anchor(path: Path) -> _Anchor:
    content = _content(path)
    if len(content) < LEAST_BYTES or content[2:6] != MAGIC or content[1] not in ORDER:
        raise InputError(path.name, "is no anchor file of an OTF2 trace", REMEDY)
    order = ORDER[content[1]]
    chunks = [int.from_bytes(content[at : at + 8], order) for at in (12, 20, 30)]  # type: ignore[arg-type]
    if content[28] != POSIX:
        what = "its files lie in a container (SION), which is not read"
        raise InputError(path.name, what, "Write the trace with the POSIX substrate.")
    return _Anchor(*(min(value, 1 << 40) for value in chunks))


def _content(path: Path) -> bytes:
    return b"".join(read_blocks(path))


def _read_location(
    path: Path, place: Place, told: tuple[Definitions, Communicators], anchor: _Anchor
) -> LocationOps | None:
    """Read the events of one thread; None where they are not there."""
    events = path.with_suffix("") / f"{place.location}.evt"
    if not events.exists():
        return None
    definitions = events.with_suffix(".def")
    local: Local | None = None
    if definitions.exists():
        named = f"{path.stem}/{definitions.name}"
        local = read_local(named, _content(definitions), anchor.definition_chunk)
    return location_ops(_content(events), anchor.event_chunk, place, Told(*told, local))


def _recording(
    path: Path,
    told: tuple[Definitions, Communicators],
    read: tuple[list[tuple[Place, LocationOps]], list[int]],
) -> Recording:
    kept, lost = read
    definitions, groups = told
    text = (
        "streams of accelerators are not coupled: what a thread waits for a device is work of the call that "
        "waits, so whether a device or its host is slow, and what runs on the device, is not told"
    )
    unread = caveat_table([("accelerators", text, n_accelerators(definitions))])
    height = np.cumsum([0, *(ops.op.height for _, ops in kept)])
    op = OP.build(
        pl.concat(
            ops.op.with_columns(_counted("parent", first))
            for first, (_, ops) in zip(height[:-1], kept, strict=True)
        ).with_columns(_order(), pl.lit(0, pl.Int64).alias("step"))
    )
    said = [
        ops.threads.with_columns(_counted("correlation", first))
        for first, (_, ops) in zip(height[:-1], kept, strict=True)
    ]
    first = {place.rank: place for place, _ in reversed(kept)}
    files = [path, path.with_suffix(".def")]
    events = [path.with_suffix("") / f"{place.location}.evt" for place, _ in kept]
    inputs = tuple(map(file_digest, files + events))
    return Recording(
        source="otf2",
        op=op,
        lane=LANE.build(
            {
                "rank": [p.rank for p, _ in kept],
                "lane": [p.lane for p, _ in kept],
                "kind": ["host"] * len(kept),
                "name": [p.name for p, _ in kept],
            }
        ),
        communicator=COMMUNICATOR.build(groups.table),
        rank=RANK.build(
            {"rank": sorted(first), "host": [first[rank].host for rank in sorted(first)]}
        ),
        step=_one_step(op),
        synchronisation=pl.concat(said),
        caveat=pl.concat([_doubts([ops for _, ops in kept], lost), _copies(inputs[2:]), unread]),
        inputs=inputs,
    )


def _order() -> pl.Expr:
    """Count the collectives of a rank in each communicator, whichever thread calls them."""
    meets = ~pl.col("collective").cast(pl.String).is_in(["", "send", "recv"])
    order = pl.col("start_ns").cum_count().over("rank", "communicator", meets, order_by="start_ns")
    return pl.when(meets).then(order.cast(pl.Int64) - 1).otherwise(-1).alias("sequence")


def _counted(column: str, first: np.int64) -> pl.Expr:
    """Count rows of one thread from the first of all."""
    return pl.when(pl.col(column) >= 0).then(pl.col(column) + int(first)).otherwise(-1)


def _one_step(op: pl.DataFrame) -> pl.DataFrame:
    """Take the whole trace as one step: MPI has no marks of steps."""
    end = pl.col("start_ns") + pl.col("duration_ns")
    spans = (
        op.group_by("rank").agg(pl.col("start_ns").min(), end.max().alias("end_ns")).sort("rank")
    )
    return STEP.build(spans.with_columns(pl.lit(0).alias("step")))


def _copies(events: tuple[tuple[str, str, int], ...]) -> pl.DataFrame:
    """Doubt files of different threads that hold the same, unless they hold next to nothing."""
    named: dict[str, list[str]] = {}
    for name, digest, size in events:
        if size > LEAST_EVENTS_BYTES:
            named.setdefault(digest, []).append(name)
    same = [names for names in named.values() if len(names) > 1]
    shown = "; ".join(", ".join(names[:8]) for names in same[:8])
    text = f"files of events of different threads hold the same: {shown}. {REMEDY[:-1]}"
    return caveat_table([("wrong_ranks", text, sum(map(len, same)))])


def _doubts(read: list[LocationOps], lost: list[int]) -> pl.DataFrame:
    shown = ", ".join(map(str, lost[:8]))
    unknown = (
        "communications of a kind that is not matched, or outside all regions: their waiting counts "
        "as host time"
    )
    unnamed = (
        "threads without definitions of their own, which others have: their regions and "
        "communicators may be mistaken, and their clocks are not corrected"
    )
    unmapped = sum(ops.is_unmapped for ops in read)
    return caveat_table(
        [
            ("missing_rank", f"threads without a file of events, of ranks {shown}", len(lost)),
            (
                "cut_off",
                "files of events that are cut or damaged: what came before is kept",
                sum(ops.is_cut for ops in read),
            ),
            (
                "unended_region",
                "regions that are never left: they end with the last event of their thread",
                sum(ops.n_unended for ops in read),
            ),
            (
                "lone_leave",
                "leaves of regions that were not entered: left out",
                sum(ops.n_lone for ops in read),
            ),
            (
                "backward_clock",
                "events whose time is before that of the event before: they are put at that time",
                sum(ops.n_back for ops in read),
            ),
            (
                "unmapped_thread",
                unnamed,
                unmapped if unmapped < len(read) else 0,
            ),
            ("unknown_collective", unknown, sum(ops.n_unknown for ops in read)),
        ]
    )
