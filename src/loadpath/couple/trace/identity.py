"""Traces that are not of the rank that they name: copies, and ranks that were exchanged."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from loadpath.couple.trace.collectives import Facts
from loadpath.couple.trace.rows import Int64Array, Rows
from loadpath.tables import Recording

__all__ = ["copied_ranks", "misplaced_ranks"]

LEAST_OPS = 64
"""Shorter recordings of two ranks may be equal by chance or by hand."""
SHOWN = 4


def copied_ranks(recording: Recording, rows: Rows) -> list[str]:
    """Find ranks whose recordings are copies of one.

    Parameters
    ----------
    recording : Recording
        Names of lanes: threads of different processes are numbered differently.
    rows : Rows
        Recorded ops.

    Returns
    -------
    list of str
        One entry per copy: equal lanes, and equal ops at equal times after the first, to the ns.
    """
    lanes = recording.lane.sort("rank", "lane").group_by("rank").agg(pl.col("name"))
    named = {rank: tuple(names) for rank, names in lanes.rows()}
    seen: dict[tuple[tuple[str, ...], bytes], int] = {}
    problems = []
    for rank in _of_equal_length(rows):
        here = np.flatnonzero(rows.rank == rank)
        here = here[np.lexsort((rows.name[here], rows.end[here], rows.start[here]))]
        first = seen.setdefault((named.get(rank, ()), _content(rows, here)), rank)
        if first != rank:
            problems.append(f"rank {rank} holds the recording of rank {first}")
    return problems


def _of_equal_length(rows: Rows) -> list[int]:
    """Ranks of as many ops over as long a time as another one: nothing else can be a copy."""
    n = int(rows.rank.max(initial=-1)) + 1
    begin, end = np.full(n, np.iinfo(np.int64).max), np.full(n, np.iinfo(np.int64).min)
    np.minimum.at(begin, rows.rank, rows.start)
    np.maximum.at(end, rows.rank, rows.end)
    size = np.bincount(rows.rank, minlength=n)
    ranks = np.flatnonzero(size >= LEAST_OPS)
    length = np.stack([size[ranks], end[ranks] - begin[ranks]])
    _, place, count = np.unique(length, axis=1, return_inverse=True, return_counts=True)
    return [int(rank) for rank in ranks[count[place.ravel()] > 1]]


def _content(rows: Rows, here: Int64Array) -> bytes:
    begin = rows.start[here[0]]
    parts = (rows.start[here] - begin, rows.end[here] - begin, rows.name[here].astype(np.int64))
    return np.stack(parts).tobytes()


def misplaced_ranks(recording: Recording, rows: Rows, facts: Facts) -> list[str]:
    """Find ranks that communicate as only another rank can.

    Parameters
    ----------
    recording : Recording
        Communicators with their recorded members.
    rows : Rows
        Recorded ops.
    facts : Facts
        What is known of communication ops.

    Returns
    -------
    list of str
        One entry per rank that uses a group of which it is no member, or sends to itself.
    """
    return [*_strangers(recording, facts), *_own_peers(rows, facts)]


def _strangers(recording: Recording, facts: Facts) -> Iterator[str]:
    groups = recording.communicator.select("communicator", "name", "members", "n_members").rows()
    for number, name, members, size in groups:
        if not members or size != len(members):
            continue
        used_by = np.unique(facts.rank[facts.communicator == number]).tolist()
        strangers = [rank for rank in used_by if rank not in set(members)]
        if strangers:
            listed = ", ".join(map(str, strangers[:SHOWN]))
            yield f"rank {listed} in group {name!r} of ranks {members[:8]}"


def _own_peers(rows: Rows, facts: Facts) -> Iterator[str]:
    paired = [code for code, name in enumerate(rows.collectives) if name in {"send", "recv"}]
    alone = np.isin(facts.collective, paired) & (facts.peer == facts.rank)
    yield from (f"rank {rank} sends to itself" for rank in np.unique(facts.rank[alone]).tolist())
