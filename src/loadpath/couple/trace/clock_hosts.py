"""Ranks of one host read one clock, unless what they recorded together says otherwise."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.trace.clock_faults import LEAST_SIDE, largest_jump
from loadpath.couple.trace.clock_lines import Sightings, fit_lines
from loadpath.couple.trace.collectives import LEAST_TOLERANCE_NS
from loadpath.couple.trace.roles import TOLERATED_RATIO
from loadpath.couple.trace.rows import Int64Array

__all__ = ["SharedClocks", "clocks_of_hosts", "shared_clocks"]

FloatArray = NDArray[np.float64]
Pair = tuple[int, int]


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
    Two ranks of a host are found to read different clocks if in more than 0.5 % of what they share one
    of them was done before the other came (or a message arrived before it was sent) by over 100 us; or
    if more than half of their common ends lie near one line that leaves zero by more than twice that,
    and more than lie near zero: marks of a busy host scatter, those of another clock are shifted
    together. Near is 25 us where devices mark ends, 100 us where threads do.
    """
    host = dict(rank.filter(pl.col("host") != "").select("rank", "host").rows())
    ends = _common_ends(rank, member)
    apart = [*_impossible(ends), *_crossed(seen, host), *_shifted(ends)]
    parted = {host[low] for low, _ in apart}
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
    alone = {"", *parted}
    names = rank["host"].to_list()
    clock = [i if name in alone else first.setdefault(name, i) for i, name in enumerate(names)]
    return np.array(clock, np.int64)


def _common_ends(rank: pl.DataFrame, member: pl.DataFrame) -> pl.DataFrame:
    """Pairs of ranks of one host in what ends at one moment, in order of time."""
    host = rank.filter(pl.col("host") != "").select("rank", "host")
    met = member.filter("one_moment", "waits").join(host, on="rank", maintain_order="left")
    met = met.select("instance", "host", "rank", "start", "end", "threaded")
    pair = met.join(met, on=["instance", "host"], suffix="_high").filter(
        pl.col("rank") < pl.col("rank_high")
    )
    early = pl.min_horizontal(
        pl.col("end") - pl.col("start_high"), pl.col("end_high") - pl.col("start")
    )
    return pair.select(
        low="rank",
        high="rank_high",
        time="end",
        value=pl.col("end_high") - pl.col("end"),
        early=early < -LEAST_TOLERANCE_NS,
        threaded="threaded",
    ).sort("low", "high", "time", "value")


def _impossible(ends: pl.DataFrame) -> Iterator[Pair]:
    """Pairs of which one was done before the other came."""
    wrong = ends.group_by("low", "high").agg(pl.col("early").mean())
    yield from wrong.filter(pl.col("early") > TOLERATED_RATIO).select("low", "high").rows()


def _crossed(seen: Sightings, host: dict[int, str]) -> Iterator[Pair]:
    """Pairs on one host with messages that arrived before they were sent."""
    wrong = seen.is_delay & (seen.direction * seen.value < -LEAST_TOLERANCE_NS)
    delays = pl.DataFrame({"low": seen.low, "high": seen.high, "wrong": wrong})
    share = delays.filter(pl.Series(seen.is_delay)).group_by("low", "high").agg(pl.mean("wrong"))
    for low, high in share.filter(pl.col("wrong") > TOLERATED_RATIO).select("low", "high").rows():
        if low in host and host[low] == host.get(high):
            yield low, high


def _shifted(ends: pl.DataFrame) -> Iterator[Pair]:
    """Pairs whose ends lie along a line, or a step, that is not zero."""
    if not ends.height:
        return
    still = np.zeros(ends.height, np.int32)
    low, high, time, value = (ends[name].to_numpy() for name in ("low", "high", "time", "value"))
    lines = fit_lines(Sightings(low, high, time, value, still, still > 0))
    parts = ends.partition_by("low", "high", maintain_order=True)
    for k, mine in enumerate(parts):
        value, time_s = mine["value"].to_numpy(), mine["time"].to_numpy() / 1e9
        line = lines.offset_ns[k] + lines.drift[k] * (time_s - lines.middle_s[k])
        near_ns = LEAST_TOLERANCE_NS if mine["threaded"].any() else NEAR_NS
        if _is_along(value, line, near_ns, LEAST_SIDE) or _is_stepped(value, near_ns):
            yield int(mine["low"][0]), int(mine["high"][0])


def _is_stepped(value: Int64Array, near_ns: int) -> bool:
    place, _ = largest_jump(value)
    sides = (value[:place], value[place:]) if place else ()
    return any(_is_along(side, np.median(side), near_ns, 2 * LEAST_SIDE) for side in sides)


def _is_along(value: Int64Array, line: FloatArray | np.floating, near_ns: int, least: int) -> bool:
    """More than half of the values are near a line that leaves zero, and more than are near zero."""
    near, near_zero = (int((np.abs(value - of) <= near_ns).sum()) for of in (line, 0))
    leaves = bool(np.max(np.abs(line)) > 2 * near_ns)
    return value.size >= least and leaves and near > max(value.size / 2, near_zero)
