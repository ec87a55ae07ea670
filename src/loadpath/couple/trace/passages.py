"""Ends of posted sends and receives: a mark that comes late is no long passage."""

import polars as pl

from loadpath.couple.trace.collectives import LEAST_TOLERANCE_NS, Facts, Instances
from loadpath.couple.trace.rows import Int64Array

__all__ = ["completed_ends"]

LEAST_PASSAGES = 4
"""Passages of a link and payload that the receiver waited for, before they tell what is usual."""
LIKE = ["rank", "rank_to", "bytes"]


def completed_ends(facts: Facts, instances: Instances, open_ns: int = 0) -> Int64Array:
    """Say when posted sends and receives were complete, whenever their threads marked it.

    Parameters
    ----------
    facts : Facts
        What is known of communication ops, on one clock.
    instances : Instances
        Matched communications.
    open_ns : int
        What the clocks still disagree by.

    Returns
    -------
    (n,) array of int64
        End of each of `facts`, in ns. A send is complete when it was received, and what was sent is
        received after what such passages of its link usually take; an end marked over 100 us (and
        what the clocks leave open) later is the mark of a thread that had lost its processor.

    Notes
    -----
    A passage begins when both sides have posted. Usual is the median of those that the receiver
    waited for; with less than four of them nothing but the end of the send tells. So a link that is
    slow as a rule keeps its passages.
    """
    end = facts.end.copy()
    pair = _pairs(facts, instances)
    if not pair.height:
        return end
    usual = (
        pair.filter(pl.col("looked_to") <= pl.max_horizontal("begin", "done"))
        .group_by(LIKE)
        .agg(pl.len().alias("n"), usual=(pl.col("done_to") - pl.col("begin")).median())
        .filter(pl.col("n") >= LEAST_PASSAGES)
    )
    limit = LEAST_TOLERANCE_NS + open_ns
    due = pl.max_horizontal(
        "done", pl.col("begin") + pl.col("usual").fill_null(0).cast(pl.Int64), "looked_to"
    )
    ended = pair.join(usual, on=LIKE, how="left", maintain_order="left").with_columns(
        received=pl.when(pl.col("done_to") > due + limit).then(due).otherwise("done_to")
    )
    gone = pl.max_horizontal("received", "looked")
    ended = ended.with_columns(
        sent=pl.when(pl.col("done") > gone + limit).then(gone).otherwise("done")
    )
    end[ended["place"].to_numpy()] = ended["sent"].to_numpy()
    end[ended["place_to"].to_numpy()] = ended["received"].to_numpy()
    return end


def _pairs(facts: Facts, instances: Instances) -> pl.DataFrame:
    """List posted sends with their receives: who, when both had posted, looked, and were done."""
    place = instances.fact
    part = pl.DataFrame(
        {
            "instance": instances.instance,
            "role": pl.Series(instances.role, dtype=pl.String),
            "place": place,
            "rank": facts.rank[place],
            "bytes": facts.bytes[place],
            "start": facts.start[place],
            "end": facts.end[place],
            "is_post": facts.is_post[place],
            "is_end": facts.is_end[place],
        }
    )
    post = part.filter("is_post").select("instance", "role", posted="start")
    side = part.filter("is_end").join(post, on=["instance", "role"])
    side = side.rename({"start": "looked", "end": "done"})
    sent, got = (side.filter(pl.col("role") == role) for role in ("sender", "receiver"))
    return sent.join(got, on="instance", suffix="_to").with_columns(
        begin=pl.max_horizontal("posted", "posted_to")
    )
