"""Moments that two ranks saw: ends of communications, and passages between them."""

import numpy as np
import polars as pl

from loadpath.couple.trace.clock_lines import Sightings
from loadpath.couple.trace.collectives import Facts, Instances
from loadpath.couple.trace.rows import Rows

__all__ = ["join_sightings", "meeting_members", "sightings"]

WAIT_FOR_ALL = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "barrier")
"""Collectives that no member leaves before all have come: their ends are nearly one moment."""


def meeting_members(rows: Rows, facts: Facts, instances: Instances) -> pl.DataFrame:
    """List the members of communications, in order of instance and rank.

    Parameters
    ----------
    rows : Rows
        Recorded ops.
    facts : Facts
        What is known of communication ops.
    instances : Instances
        Matched communications.

    Returns
    -------
    polars.DataFrame
        ``instance, communicator, number, role, rank, start, end, threaded, waits, causal``, and
        ``one_moment``:
        all members end at nearly one moment, as they do in collectives that wait for all and in
        sends that meet their receive on devices.
    """
    place = instances.fact
    batched = np.bincount(instances.work)[instances.work] > 1
    names = pl.Series(rows.collectives, dtype=pl.String)
    of = instances.instance
    member = (
        pl.DataFrame(
            {
                "instance": of,
                "rank": facts.rank[place],
                "role": pl.Series(instances.role, dtype=pl.String),
                "communicator": instances.communicator[of],
                "number": facts.sequence[place],
                "waits_for_all": names.gather(instances.collective[of]).is_in(WAIT_FOR_ALL),
                "start": facts.start[place],
                "end": facts.end[place],
                "threaded": facts.is_threaded[place],
                "batched": batched & (instances.role != "all"),
                "waits": instances.waits,
                "causal": instances.causal[of],
            }
        )
        # a communication that a host thread posts has two ops: its post and its end
        .group_by("instance", "rank", "role", maintain_order=True)
        .agg(
            pl.col("communicator", "number", "waits_for_all", "threaded", "causal").first(),
            pl.col("batched").any(),
            pl.col("start").min(),
            pl.col("end").max(),
            pl.col("waits").any(),
        )
        .sort("instance", "rank", maintain_order=True)
    )
    paired = pl.col("role").is_in(["sender", "receiver"])
    # a kernel that runs a batch ends when all of it is done, a thread when it looked
    alone = ~pl.col("threaded") & ~pl.col("batched").any().over("instance")
    return member.with_columns(
        one_moment=pl.when(paired).then(alone).otherwise("waits_for_all")
    ).drop("batched")


def sightings(member: pl.DataFrame) -> Sightings:
    """Collect the moments that two ranks saw.

    Parameters
    ----------
    member : polars.DataFrame
        What `meeting_members` returned.

    Returns
    -------
    Sightings
        Ends of collectives that wait for all, of each member against the lowest rank's; ends of
        sends and receives that meet on devices; and how long those of communication threads took
        (a receive cannot end before its send began).
    """
    all_met = member.filter((pl.col("role") == "all") & pl.col("one_moment"))
    first = all_met.unique("instance", keep="first", maintain_order=True)
    met = all_met.join(
        first.select("instance", "rank", "end"), on="instance", suffix="_low"
    ).filter(pl.col("rank") != pl.col("rank_low"))
    moments = met.select(
        low="rank_low",
        high="rank",
        time="end_low",
        value=pl.col("end") - pl.col("end_low"),
        direction=pl.lit(0),
        is_delay=pl.lit(value=False),
    )
    return _sightings(pl.concat([moments, _passed(member)]))


def join_sightings(*parts: Sightings) -> Sightings:
    """Put sightings of several kinds together.

    Parameters
    ----------
    *parts : Sightings
        Of the same ranks.

    Returns
    -------
    Sightings
        All of them.
    """  # numpydoc ignore=PR01,PR02
    return Sightings(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Sightings.__slots__)
    )


def _sightings(table: pl.DataFrame) -> Sightings:
    return Sightings(**{name: table[name].to_numpy() for name in Sightings.__slots__})


def _passed(member: pl.DataFrame) -> pl.DataFrame:
    """Compare sends and receives: their ends on devices, else how long the passage took."""
    sent = member.filter(pl.col("role") == "sender")
    met = sent.join(member.filter(pl.col("role") == "receiver"), on="instance", suffix="_to")
    up = pl.col("rank") < pl.col("rank_to")
    begun = pl.when("one_moment").then("end").otherwise("start")
    took = pl.col("end_to") - begun
    return met.filter(pl.col("rank") != pl.col("rank_to")).select(
        low=pl.min_horizontal("rank", "rank_to"),
        high=pl.max_horizontal("rank", "rank_to"),
        time=pl.when(up).then(begun).otherwise("end_to"),
        value=pl.when(up).then(took).otherwise(-took),
        direction=pl.when(up).then(1).otherwise(-1),
        is_delay=~pl.col("one_moment"),
    )
