"""Ranks of one host read one clock, unless what they recorded together says otherwise."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.trace.clock_faults import LEAST_SIDE, largest_jump
from loadpath.couple.trace.clock_lines import Sightings, fit_lines
from loadpath.couple.trace.collectives import LEAST_TOLERANCE_NS
from loadpath.couple.trace.roles import TOLERATED_RATIO
from loadpath.couple.trace.rows import Int64Array

__all__ = ["SharedClocks", "clocks_of_hosts", "middle_shifts", "shared_clocks"]

FloatArray = NDArray[np.float64]
NAMELESS = ("", "localhost", "localhost.localdomain")
"""Names that stand for no one machine."""


NEAR_NS = 25_000
"""Ends that devices of one host mark for one collective are mostly this near to each other."""


@dataclass(frozen=True, slots=True)
class SharedClocks:
    """Which ranks read one clock.

    Attributes
    ----------
    clock : (n,) array of int64
        Index of the lowest rank whose clock each rank shares; its own where it shares none.
    parted : tuple of str
        Hosts whose ranks were found to read different clocks.
    """

    clock: Int64Array
    parted: tuple[str, ...]


def shared_clocks(rank: pl.DataFrame, member: pl.DataFrame, seen: Sightings) -> SharedClocks:
    """Find the ranks that read one clock: those of one host, unless the times of two deny it.

    Parameters
    ----------
    rank : polars.DataFrame
        Table `RANK`; a rank without host has a clock of its own.
    member : polars.DataFrame
        What `meeting_members` returned, with times as recorded.
    seen : Sightings
        Delays between ranks, of messages and handshakes, as recorded.

    Returns
    -------
    SharedClocks
        Clocks of the ranks.

    Notes
    -----
    Ranks of a host are found to read different clocks if in more than 0.5 % of what they share one of
    them was done before another came (or a message arrived before it was sent) by over 100 us; or if
    more than half of the common ends of one and the lowest (or the one before it) lie near one line that leaves zero by more
    than twice that, and more than lie near zero: marks of a busy host scatter, those of another clock
    are shifted together. Near is 25 us where devices mark ends, 100 us where threads do.
    """
    host = rank.filter(~pl.col("host").is_in(NAMELESS)).select("rank", "host")
    met = (
        member.filter("one_moment", "waits")
        .join(host, on="rank", maintain_order="left")
        .filter(pl.len().over("instance", "host") > 1)
    )
    parted = {*_impossible(met), *_crossed(seen, dict(host.rows())), *_shifted(met)}
    return SharedClocks(clocks_of_hosts(rank, parted), tuple(sorted(parted)))


def clocks_of_hosts(rank: pl.DataFrame, parted: Collection[str] = ()) -> Int64Array:
    """Give all ranks of a host one clock.

    Parameters
    ----------
    rank : polars.DataFrame
        Table `RANK`.
    parted : collection of str
        Hosts whose ranks have a clock each.

    Returns
    -------
    (n,) array of int64
        Index of the lowest rank on the same host; the own one without host.

    Examples
    --------
    >>> clocks_of_hosts(pl.DataFrame({"host": ["a", "b", "a", "", "b"]}), ["b"]).tolist()
    [0, 1, 0, 3, 4]
    """
    first: dict[str, int] = {}
    alone = {*NAMELESS, *parted}
    names = rank["host"].to_list()
    clock = [i if name in alone else first.setdefault(name, i) for i, name in enumerate(names)]
    return np.array(clock, np.int64)


def middle_shifts(member: pl.DataFrame, clock: Mapping[int, int]) -> dict[int, int]:
    """Say which ranks end apart from those that are taken to read the same clock, and by how much.

    Parameters
    ----------
    member : polars.DataFrame
        What `meeting_members` returned.
    clock : mapping of int to int
        Clock that each rank reads.

    Returns
    -------
    dict of int to int
        By rank: middle difference of its ends from the middle of the others', in ns, where that is over
        200 us. Marks of threads scatter too widely to part such a clock by that, but it is no chance that
        is passed over in silence: one name may stand for several machines.
    """
    key = ["instance", "clock"]
    of_rank = pl.col("rank").replace_strict(clock, return_dtype=pl.Int64)
    met = member.filter("one_moment", "waits", "threaded").with_columns(clock=of_rank)
    met = met.select(*key, "rank", "end")
    apart = (
        met.join(met, on=key, suffix="_of")
        .filter(pl.col("rank") != pl.col("rank_of"))
        .group_by("instance", "rank")
        .agg(away=(pl.col("end") - pl.col("end_of")).median())
        .group_by("rank")
        .agg(pl.len().alias("n"), pl.col("away").median())
        .filter((pl.col("n") >= LEAST_SIDE) & (pl.col("away").abs() > 2 * LEAST_TOLERANCE_NS))
        .sort("rank")
    )
    return {rank: round(abs(away)) for rank, away in apart.select("rank", "away").rows()}


def _impossible(met: pl.DataFrame) -> list[str]:
    """Find hosts of which one rank was done before another came."""
    early = met.group_by("host", "instance").agg(
        wrong=pl.col("end").min() < pl.col("start").max() - LEAST_TOLERANCE_NS
    )
    share = early.group_by("host").agg(pl.col("wrong").mean())
    return share.filter(pl.col("wrong") > TOLERATED_RATIO)["host"].to_list()


def _crossed(seen: Sightings, host: dict[int, str]) -> list[str]:
    """Find hosts with messages that arrived before they were sent."""
    delays = pl.DataFrame(
        {"low": seen.low, "high": seen.high, "took": seen.direction * seen.value}
    ).filter(pl.Series(seen.is_delay))
    on = (
        pl.col(rank).replace_strict(host, default=None, return_dtype=pl.String)
        for rank in ("low", "high")
    )
    inside = delays.with_columns(*on).filter(pl.col("low") == pl.col("high"))
    share = inside.group_by("low").agg(wrong=(pl.col("took") < -LEAST_TOLERANCE_NS).mean())
    return share.filter(pl.col("wrong") > TOLERATED_RATIO)["low"].to_list()


def _shifted(met: pl.DataFrame) -> Iterator[str]:
    """Find hosts on which ends of two ranks lie apart along a line, or a step, that leaves zero."""
    ends = _common_ends(met)
    if not ends.height:
        return
    still = np.zeros(ends.height, np.int32)
    low, high, time, value = (ends[name].to_numpy() for name in ("low", "high", "time", "value"))
    lines = fit_lines(Sightings(low, high, time, value, still, still > 0))
    for k, mine in enumerate(ends.partition_by("low", "high", maintain_order=True)):
        away, time_s = mine["value"].to_numpy(), mine["time"].to_numpy() / 1e9
        line = lines.offset_ns[k] + lines.drift[k] * (time_s - lines.middle_s[k])
        near_ns = LEAST_TOLERANCE_NS if mine["threaded"].any() else NEAR_NS
        if _is_along(away, line, near_ns, LEAST_SIDE) or _is_stepped(away, near_ns):
            yield mine["host"][0]


def _common_ends(met: pl.DataFrame) -> pl.DataFrame:
    """Compare the ends of each rank with those of the lowest, and of the one before it, on its host."""
    key = ["instance", "host"]
    place = pl.int_range(pl.len()).over(key)
    met = met.sort(*key, "rank").with_columns(place=place)
    pair = met.join(met, on=key, suffix="_low").filter(
        (pl.col("place") > 0)
        & ((pl.col("place_low") == 0) | (pl.col("place_low") == pl.col("place") - 1))
        & (pl.col("place_low") < pl.col("place"))
    )
    return (
        pair.select("host", "threaded", low="rank_low", high="rank", time="end_low", value="end")
        .with_columns(pl.col("value") - pl.col("time"))
        .sort("low", "high", "time", "value")
    )


def _is_stepped(value: Int64Array, near_ns: int) -> bool:
    place, _ = largest_jump(value)
    sides = (value[:place], value[place:]) if place else ()
    return any(_is_along(side, np.median(side), near_ns, 2 * LEAST_SIDE) for side in sides)


def _is_along(value: Int64Array, line: FloatArray | np.floating, near_ns: int, least: int) -> bool:
    """More than half of the values are near a line that leaves zero, and more than are near zero."""
    near, near_zero = (int((np.abs(value - of) <= near_ns).sum()) for of in (line, 0))
    leaves = bool(np.max(np.abs(line)) > 2 * near_ns)
    return value.size >= least and leaves and near > max(value.size / 2, near_zero)
