"""Communications that a host thread posts itself, and waits for later, on the same thread."""

import dataclasses

import numpy as np
import polars as pl

from loadpath.couple.trace.rows import BoolArray, Int64Array
from loadpath.tables import LANE, OP, Recording

__all__ = ["are_ends", "are_posts", "split_posted"]

FIRST_PAIR = -2
"""Correlations below -1 tie the parts of a posted communication: even its end, odd its post."""


def are_posts(correlation: Int64Array) -> BoolArray:
    """Tell posts of communications by their correlation.

    Parameters
    ----------
    correlation : (n,) array of int64
        As `split_posted` left it.

    Returns
    -------
    (n,) array of bool
        Rows that begin a communication on the lane of posted ones.
    """
    return np.asarray((correlation < -1) & (correlation % 2 == 1))


def are_ends(correlation: Int64Array) -> BoolArray:
    """Tell ends of posted communications, and the waits for them, by their correlation.

    Parameters
    ----------
    correlation : (n,) array of int64
        As `split_posted` left it.

    Returns
    -------
    (n,) array of bool
        Pairs of rows with equal correlations: one on a communication lane, one on a host thread.
    """
    return np.asarray((correlation < -1) & (correlation % 2 == 0))


def split_posted(recording: Recording) -> Recording:
    """Split communications that a host thread posted into their post and their end.

    Backends such as gloo mark a send or receive on the thread that posts it, from the post to the
    moment when that thread has waited for it. The thread runs on between the two, and the data may
    be there long before it looks; so nothing but the time from its last call before that moment
    is known to be waiting or transfer.

    Parameters
    ----------
    recording : Recording
        A trace recording.

    Returns
    -------
    Recording
        The same where nothing was posted. Posts (from their call, without length) and ends (from
        when the thread looked) lie on a communication lane of their rank; the waits for the ends
        are further rows of the host thread.
    """
    row = _posted(recording)
    if not row.size:
        return recording
    op = recording.op
    mark, call = op[row], _calls(op, row)
    begin = mark["start_ns"].to_numpy()
    end = begin + mark["duration_ns"].to_numpy()
    looked = np.maximum(_last_border(op, row, end), begin)
    asked = np.where(call >= 0, op["start_ns"].to_numpy()[call], begin)
    lanes, lane = _lanes(recording, row)
    pair = FIRST_PAIR - 2 * np.arange(row.size)
    post = mark.with_columns(
        start_ns=pl.Series(asked),
        duration_ns=pl.lit(0),
        lane=pl.Series(lane),
        correlation=pl.Series(pair - 1),
        parent=pl.Series(call),
        kind=pl.lit("communicate"),
    )
    wait = mark.select("rank", "lane", "step").with_columns(
        start_ns=pl.Series(looked),
        duration_ns=pl.Series(end - looked),
        correlation=pl.Series(pair),
        parent=pl.Series(call),
        kind=pl.lit("host"),
        name=pl.format("wait for {}", mark["name"].cast(pl.String)),
    )
    ends = {"start_ns": looked, "duration_ns": end - looked, "lane": lane, "correlation": pair}
    return dataclasses.replace(
        recording,
        op=pl.concat([_changed(op, row, ends), OP.build(post), OP.build(wait)]),
        lane=pl.concat([recording.lane, lanes]),
    )


def _changed(op: pl.DataFrame, row: Int64Array, values: dict[str, Int64Array]) -> pl.DataFrame:
    """Put values into some rows, which are communications from now on."""
    columns = []
    for name, value in values.items():
        column = op[name].to_numpy().copy()
        column[row] = value
        columns.append(pl.Series(name, column, dtype=OP.schema[name]))
    kind = op["kind"].cast(pl.String).to_numpy().copy()
    kind[row] = "communicate"
    return op.with_columns(*columns, pl.Series("kind", kind, dtype=OP.schema["kind"]))


def _posted(recording: Recording) -> Int64Array:
    """Rows of backends' marks on host threads, by rank, thread and end."""
    on_host = recording.lane.filter(pl.col("kind").cast(pl.String) == "host").select("rank", "lane")
    marks = (
        recording.op.with_row_index("row")
        .filter((pl.col("correlation") == -1) & (pl.col("kind") == "marker"))
        # text of few rows is cheap, of all of them it is not
        .filter(
            pl.col("collective").cast(pl.String).is_in(["send", "recv"])
            & ~pl.col("name").cast(pl.String).str.starts_with("nccl:")
        )
        .join(on_host, on=["rank", "lane"], how="semi")
        .sort("rank", "lane", pl.col("start_ns") + pl.col("duration_ns"), "row")
    )
    return marks["row"].to_numpy().astype(np.int64)


def _lanes(recording: Recording, posted: Int64Array) -> tuple[pl.DataFrame, Int64Array]:
    """Make a lane for each host thread that posts; tell the new lane of each communication."""
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
    return table, of_lane.to_numpy().astype(np.int64)


def _calls(op: pl.DataFrame, posted: Int64Array) -> Int64Array:
    """Row of the call that posted each communication, -1 where none is recorded."""
    key = ["rank", "lane", "collective"]
    is_call = pl.col("name").cast(pl.String).str.starts_with("c10d::")
    call = op.with_row_index("call").filter(is_call)
    call = call.select(
        *key, "call", asked="start_ns", done=pl.col("start_ns") + pl.col("duration_ns")
    )
    mark = op[posted].select(*key, "start_ns").with_row_index("mark").sort("start_ns")
    found = mark.join_asof(
        call.sort("asked"), left_on="start_ns", right_on="asked", by=key, check_sortedness=False
    ).sort("mark")
    inside = (found["start_ns"] <= found["done"]).fill_null(value=False).to_numpy()
    return np.where(inside, found["call"].fill_null(0).to_numpy(), -1).astype(np.int64)


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
