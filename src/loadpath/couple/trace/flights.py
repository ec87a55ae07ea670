"""Numbers of communications from a flight recorder, for traces that record none."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import polars as pl

from loadpath.couple.trace.rows import Int64Array
from loadpath.tables import COMMUNICATOR, Recording, caveat_table

__all__ = ["join_flights", "misfiled_dumps"]

NEAR_NS = 10_000
"""A recorder notes a communication inside the call that asks for it; times are converted."""
LEAST_CALLS = 4
"""Calls that must follow each other as the entries do, where dump and trace read different clocks."""
FARTHEST_NS = 1e17
"""Three years: clocks that part further are damaged numbers."""
SHOWN = 8
MOST_RATIO = 0.95
"""Share of the calls of a trace that the dump of its process notes, if it covers their time."""


def join_flights(recording: Recording) -> Recording:
    """Give calls of communications the group and number that a flight recorder noted.

    Parameters
    ----------
    recording : Recording
        A trace recording, with table `FLIGHT` where dumps were recorded too.

    Returns
    -------
    Recording
        The same where there is no dump. Calls that have a number keep theirs. In a step in which a
        call is missing from its rank's dump no number is used, for the others could not be
        compared with it.
    """
    if not recording.flight.height:
        return recording
    calls = _calls(recording)
    if not calls.height:
        return recording
    noted = _noted(calls, recording.flight)
    whole = noted.group_by("step").agg(pl.col("group").is_not_null().all().alias("whole"))
    used = noted.join(whole, on="step").filter("whole")
    n_left = int(noted["group"].null_count())
    lacking = noted.filter(pl.col("group").is_null())["rank"].unique().sort().to_list()
    listed = ", ".join(map(str, lacking[:SHOWN])) + (", ..." if len(lacking) > SHOWN else "")
    text = (
        f"calls of communications that the flight recorders of ranks {listed} did not note: their "
        "steps are matched by order; give whole dumps of these ranks"
    )
    doubts = caveat_table([("flight_recorder_gaps", text, n_left)])
    groups = _groups(recording.communicator, used)
    used = used.join(groups.select("group", "key", "communicator"), on=["group", "key"])
    return dataclasses.replace(
        recording,
        op=_numbered(recording.op, used),
        communicator=pl.concat([recording.communicator, _table(groups.filter("is_new"))]),
        caveat=pl.concat([recording.caveat, doubts]),
    )


def _calls(recording: Recording) -> pl.DataFrame:
    """List calls of collectives, inside steps, that have no number yet."""
    return (
        recording.op.with_row_index("row")
        .filter(
            (pl.col("step") >= 0)
            & pl.col("name").cast(pl.String).str.starts_with("c10d::")
            & ~pl.col("collective").cast(pl.String).is_in(["", "send", "recv"])
            & (pl.col("sequence") < 0)
        )
        .select(
            "row",
            "rank",
            "step",
            pl.col("collective").cast(pl.String),
            "start_ns",
            end_ns=pl.col("start_ns") + pl.col("duration_ns"),
        )
    )


def _noted(calls: pl.DataFrame, flight: pl.DataFrame) -> pl.DataFrame:
    """Join each call to the entry made inside it, where need be after dumps are set by order."""
    entry = flight.filter(~pl.col("is_p2p"))
    noted = _joined(calls, entry)
    lacking = noted.filter(pl.col("group").is_null())["rank"].unique().sort().to_list()
    for rank in lacking:
        mine = calls.filter(pl.col("rank") == rank)
        found = [noted.filter(pl.col("rank") == rank)]
        moved = [_joined(mine, other) for other in _on_clock_of_trace(mine, entry, rank)]
        # a few calls meet entries by chance, wherever these are moved to
        found += [one for one in moved if 2 * one["group"].null_count() < mine.height]
        best = min(found, key=lambda one: one["group"].null_count())
        noted = pl.concat([noted.filter(pl.col("rank") != rank), best])
    return noted.sort("row")


def _on_clock_of_trace(
    calls: pl.DataFrame, entry: pl.DataFrame, rank: int
) -> Iterator[pl.DataFrame]:
    """Move the entries of one rank to its calls by a constant, and by a line, told by their order."""
    mine = entry.filter(pl.col("rank") == rank).sort("created_ns", maintain_order=True)
    start, created = calls["start_ns"].sort().to_numpy(), mine["created_ns"].to_numpy()
    shift = _least_jitter(start, created)
    if shift is None:
        return
    low, high = max(0, -shift), min(start.size, created.size - shift)
    met = slice(low + shift, high + shift)
    ahead, time = created[met] - start[low:high], created - created[met][0]
    for steep in (0.0, _steepness(time[met], ahead)):
        drift = np.rint(steep * time)
        if np.abs(drift).max(initial=0.0) > FARTHEST_NS:
            continue
        # no entry comes before its call begins
        line = drift.astype(np.int64)
        moved = created - line - np.min(ahead - line[met])
        yield mine.with_columns(created_ns=pl.Series(moved))


def _steepness(time: Int64Array, value: Int64Array) -> float:
    """Slope between the medians of two halves."""
    half = value.size // 2
    rise = float(np.median(value[half:]) - np.median(value[:half]))
    return rise / max(float(np.median(time[half:]) - np.median(time[:half])), 1.0)


def _least_jitter(start: Int64Array, created: Int64Array) -> int | None:
    """Place of the entry of the first call, if entries and calls are told in the same order."""
    found: list[tuple[float, float, int]] = []
    least = max(LEAST_CALLS, (start.size + 1) // 2)
    for shift in range(-start.size, created.size):
        low, high = max(0, -shift), min(start.size, created.size - shift)
        if high - low >= least:
            ahead = created[low + shift : high + shift] - start[low:high]
            jitter = float(np.median(np.abs(np.diff(ahead))))
            found.append((jitter, abs(float(np.median(ahead))), shift))
    return min(found)[2] if found else None


def _joined(calls: pl.DataFrame, entry: pl.DataFrame) -> pl.DataFrame:
    """Join each call to the entry made inside it; of one collective first, for names may differ."""
    entry = entry.with_row_index("entry")
    alike = _inside(calls, entry, ["rank", "collective"])
    free = calls.join(alike, on="row", how="anti"), entry.join(alike, on="entry", how="anti")
    found = pl.concat([alike, _inside(*free, ["rank"])]).join(entry, on="entry")
    key = pl.col("members").list.eval(pl.element().cast(pl.String)).list.join(",")
    said = found.select("row", "group", "sequence", key=key)
    return calls.join(said, on="row", how="left").sort("row")


def _inside(calls: pl.DataFrame, entry: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Pairs of a call and the last entry made inside it."""
    at = entry.select(*by, "entry", at=pl.col("created_ns") + NEAR_NS).sort("at", "entry")
    return (
        at.join_asof(
            calls.select(*by, "row", "start_ns", "end_ns").sort("start_ns", "row"),
            left_on="at",
            right_on="start_ns",
            by=by,
            check_sortedness=False,
        )
        .filter(pl.col("at") <= pl.col("end_ns") + 2 * NEAR_NS)
        .unique("row", keep="last", maintain_order=True)
        .select("row", "entry")
    )


def misfiled_dumps(recording: Recording) -> list[str]:
    """Find traces whose calls another rank's dump notes, though their own rank's covers the time.

    Parameters
    ----------
    recording : Recording
        A trace recording after `join_flights`: calls that still have no number were not noted.

    Returns
    -------
    list of str
        One entry per trace; ranks whose clocks are apart are not told.
    """
    found: list[str] = []
    if not recording.flight.height:
        return found
    calls, entry = _calls(recording), recording.flight.filter(~pl.col("is_p2p"))
    for (rank,), mine in calls.sort("rank", "row").group_by("rank", maintain_order=True):
        span = pl.col("created_ns").is_between(mine["start_ns"].min(), mine["end_ns"].max())
        noted = {
            other: _inside(mine, theirs.with_row_index("entry").with_columns(rank=rank), ["rank"])
            for (other,), theirs in entry.sort("rank").group_by("rank", maintain_order=True)
        }
        covers = 2 * entry.filter((pl.col("rank") == rank) & span).height >= mine.height
        own = noted.pop(rank, mine.head(0)).height
        if mine.height >= LEAST_CALLS and covers and 2 * own < mine.height:
            found += [
                f"the trace of rank {rank} holds what the flight recorder of rank {other} noted"
                for other, theirs in noted.items()
                if theirs.height >= MOST_RATIO * mine.height
            ]
    return found


def _groups(known: pl.DataFrame, used: pl.DataFrame) -> pl.DataFrame:
    """Give each group a communicator: the one of its name that the trace knows, or a new one."""
    groups = (
        used.group_by("group", "key")
        .agg(users=pl.col("rank").unique().sort())
        .sort("group", "key")
        .with_columns(
            members=pl.when(pl.col("key") == "")
            .then(pl.col("users"))
            .otherwise(pl.col("key").str.split(",").cast(pl.List(pl.Int32), strict=False))
        )
    )
    named = groups.select("group", "members").rows()
    found = np.array([_known(known, name, members) for name, members in named], np.int64)
    last = known["communicator"].max()
    first = 1 + last if isinstance(last, int) else 0
    fresh = first + np.cumsum(found < 0) - 1
    return groups.with_columns(
        communicator=pl.Series(np.where(found >= 0, found, fresh)), is_new=pl.Series(found < 0)
    )


def _known(known: pl.DataFrame, name: str, members: list[int]) -> int:
    """Communicator of the trace with this name that holds these ranks, -1 if not one does."""
    same = known.filter(pl.col("name") == name).select("communicator", "members").rows()
    holding = [number for number, ranks in same if set(members) <= set(ranks)]
    return int(holding[0]) if len(holding) == 1 else -1


def _table(groups: pl.DataFrame) -> pl.DataFrame:
    return COMMUNICATOR.build(
        groups.select(
            "communicator",
            pl.col("group").alias("name"),
            n_members=pl.when(pl.col("key") == "")
            .then(-1)
            .otherwise(pl.col("members").list.len().cast(pl.Int32)),
            members="members",
        )
    )


def _numbered(op: pl.DataFrame, used: pl.DataFrame) -> pl.DataFrame:
    row = used["row"].to_numpy()
    sequence, communicator = op["sequence"].to_numpy().copy(), op["communicator"].to_numpy().copy()
    sequence[row] = used["sequence"].to_numpy()
    communicator[row] = np.where(
        communicator[row] >= 0, communicator[row], used["communicator"].to_numpy()
    )
    return op.with_columns(
        sequence=pl.Series(sequence, dtype=pl.Int64),
        communicator=pl.Series(communicator, dtype=pl.Int32),
    )
