"""Communications that a host thread posts itself, and waits for later, on the same thread."""

import dataclasses

import numpy as np
import polars as pl

from loadpath.couple.trace.rows import Int64Array
from loadpath.tables import LANE, OP, Recording

__all__ = ["split_posted"]

FIRST_PAIR = -2
"""Correlations from here on down pair a posted communication with the wait for it."""


def split_posted(recording: Recording) -> Recording:
    """Give communications that were posted by a host thread a lane and a wait of their own.

    Backends such as gloo mark a send or receive on the thread that posts it, from the post to the
    moment when that thread has waited for it. The thread runs on between the two; what it waits is
    the time from its last call before that moment.

    Parameters
    ----------
    recording : Recording
        A trace recording.

    Returns
    -------
    Recording
        The same where nothing was posted. Posted communications lie on a communication lane of
        their rank; the waits for them are further rows of the host thread, tied to them by equal
        correlations below -1.
    """
    posted = _posted(recording)
    if not posted.size:
        return recording
    op = recording.op
    lanes, of_lane = _lanes(recording, posted)
    lane, correlation = op["lane"].to_numpy().copy(), op["correlation"].to_numpy().copy()
    start = op["start_ns"].to_numpy().copy()
    start[posted] = _asked(op, posted)
    end = (op["start_ns"] + op["duration_ns"]).to_numpy()
    kind = op["kind"].cast(pl.String).to_numpy().copy()
    pair = FIRST_PAIR - np.arange(posted.size)
    lane[posted], correlation[posted], kind[posted] = of_lane, pair, "communicate"
    moved = op.with_columns(
        lane=pl.Series(lane, dtype=pl.Int32),
        correlation=pl.Series(correlation, dtype=pl.Int64),
        start_ns=pl.Series(start),
        duration_ns=pl.Series(np.where(start < end, end - start, 0)),
        kind=pl.Series(kind, dtype=OP.schema["kind"]),
    )
    return dataclasses.replace(
        recording,
        op=pl.concat([moved, _waits(op, posted, pair)]),
        lane=pl.concat([recording.lane, lanes]),
    )


def _posted(recording: Recording) -> Int64Array:
    """Rows of backends' marks on host threads, by rank, thread and end."""
    on_host = recording.lane.filter(pl.col("kind").cast(pl.String) == "host").select("rank", "lane")
    marks = (
        recording.op.with_row_index("row")
        .filter(
            (pl.col("correlation") == -1)
            & (pl.col("kind").cast(pl.String) == "marker")
            & pl.col("collective").cast(pl.String).is_in(["send", "recv"])
            & ~pl.col("name").cast(pl.String).str.starts_with("nccl:")
        )
        .join(on_host, on=["rank", "lane"], how="semi")
        .sort("rank", "lane", pl.col("start_ns") + pl.col("duration_ns"), "row")
    )
    return marks["row"].to_numpy().astype(np.int64)


def _lanes(recording: Recording, posted: Int64Array) -> tuple[pl.DataFrame, Int64Array]:
    """New lanes, one for each host thread that posts; and the new lane of each communication."""
    place = recording.op[posted].select("rank", "lane")
    next_lane = recording.lane.group_by("rank").agg(first=pl.col("lane").max() + 1)
    threads = (
        place.unique()
        .sort("rank", "lane")
        .join(next_lane, on="rank", maintain_order="left")
        .with_columns(new=pl.col("first") + pl.int_range(pl.len()).over("rank"))
        .join(recording.lane.select("rank", "lane", "name"), on=["rank", "lane"], how="left")
        .sort("rank", "new")
    )
    table = LANE.build(
        threads.select(
            "rank",
            pl.col("new").cast(pl.Int32).alias("lane"),
            kind=pl.lit("communication"),
            name=pl.format("posted by {}", "name"),
        )
    )
    of_lane = place.join(threads, on=["rank", "lane"], how="left", maintain_order="left")["new"]
    return table, of_lane.to_numpy()


def _asked(op: pl.DataFrame, posted: Int64Array) -> Int64Array:
    """When the call that posted each communication began: its data may travel from then on."""
    key = ["rank", "lane", "collective"]
    call = op.filter(pl.col("name").cast(pl.String).str.starts_with("c10d::")).select(
        *key, asked="start_ns", done=pl.col("start_ns") + pl.col("duration_ns")
    )
    mark = op[posted].select(*key, "start_ns").with_row_index("mark").sort("start_ns")
    found = mark.join_asof(
        call.sort("asked"), left_on="start_ns", right_on="asked", by=key, check_sortedness=False
    ).sort("mark")
    inside = (found["start_ns"] <= found["done"]).fill_null(value=False).to_numpy()
    asked = found["asked"].fill_null(0).to_numpy()
    return np.where(inside, asked, found["start_ns"].to_numpy())


def _waits(op: pl.DataFrame, posted: Int64Array, pair: Int64Array) -> pl.DataFrame:
    """Rows for the time that the thread waited: from its last call before the mark's end."""
    row = op[posted]
    end = (row["start_ns"] + row["duration_ns"]).to_numpy()
    start = np.maximum(_last_border(op, posted, end), row["start_ns"].to_numpy())
    return OP.build(
        row.select(
            "rank",
            "lane",
            "step",
            kind=pl.lit("host"),
            name=pl.format("wait for {}", pl.col("name").cast(pl.String)),
            start_ns=pl.Series(start),
            duration_ns=pl.Series(end - start),
            correlation=pl.Series(pair),
        )
    )


def _last_border(op: pl.DataFrame, posted: Int64Array, end: Int64Array) -> Int64Array:
    """Latest begin or end of anything else on the same thread before each time."""
    slot = op["rank"].to_numpy().astype(np.int64) << 20 | op["lane"].to_numpy()
    begins = op["start_ns"].to_numpy()
    finishes = begins + op["duration_ns"].to_numpy()
    latest = np.full(posted.size, np.iinfo(np.int64).min)
    for value in np.unique(slot[posted]):
        here = slot == value
        border = np.unique(np.concatenate([begins[here], finishes[here]]))
        mine = np.flatnonzero(slot[posted] == value)
        place = np.searchsorted(border, end[mine]) - 1
        latest[mine] = np.where(place >= 0, border[place], latest[mine])
    return latest
