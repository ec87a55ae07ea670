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
    order = np.lexsort((rows.name, rows.end, rows.start, rows.rank))
    border = np.flatnonzero(np.diff(rows.rank[order])) + 1
    seen: dict[tuple[tuple[str, ...], bytes], int] = {}
    problems = []
    for here in np.split(order, border):
        if here.size < LEAST_OPS:
            continue
        rank = int(rows.rank[here[0]])
        first = seen.setdefault((named.get(rank, ()), _content(rows, here)), rank)
        if first != rank:
            problems.append(f"rank {rank} holds the recording of rank {first}")
    return problems


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
