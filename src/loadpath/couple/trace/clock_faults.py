"""What no line can set right: clocks that jump, run backwards, or run at another speed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.trace.clock_lines import RESOLUTION_NS
from loadpath.couple.trace.clocks import Clocks
from loadpath.tables import Recording

__all__ = ["LEAST_SIDE", "clock_faults", "clock_residuals", "end_deviations", "largest_jump"]

FloatArray = NDArray[np.float64]

MOST_DRIFT_PPB = 1_000_000
"""A clock that gains 1,000 ppm is none: crystals keep 100 ppm, and NTP steers by at most 500."""
LEAST_SIDE = 4
"""Ends on each side of a jump; twice as many where threads mark them, whose delays come in bursts."""
MISPLACED_RATIO = 0.1
"""Share of the ends on either side of a jump that may be nearer to the level of the other side."""
LEAST_JUMP_NS = 100_000
"""Smaller jumps are lost in what ends of one collective differ by between ranks with one clock."""
JUMP_SPREADS = 6.0
"""A jump is this many times what ends spread by on both of its sides."""
FALSE_BURSTS = 0.01
"""Probability with which communications that are wrong by themselves lie so close together."""
SPREAD_OF_MEDIAN = 1.4826


def end_deviations(member: pl.DataFrame, clock: Mapping[int, int]) -> pl.DataFrame:
    """Compare the ends of communications that have one moment.

    Parameters
    ----------
    member : polars.DataFrame
        Members of communications: ``instance``, ``rank``, ``end``, ``one_moment``, ``waits``,
        ``threaded``; a buffered send, which waits for nobody, ends at a moment of its own.
    clock : mapping of int to int
        Clock that each rank reads.

    Returns
    -------
    polars.DataFrame
        ``rank``, ``clock``, ``end`` and ``away``, the end after the middle one of the instance, in ns;
        ``among``: its members read several clocks; ``threaded``. Left out are instances that threads of one clock
        marked: they differ by when each thread was scheduled, and by nothing else.
    """
    of_rank = pl.col("rank").replace_strict(clock, return_dtype=pl.Int64)
    met = member.filter(pl.col("one_moment") & pl.col("waits").all().over("instance"))
    met = met.with_columns(clock=of_rank).with_columns(
        among=pl.col("clock").n_unique().over("instance") > 1
    )
    middle = pl.col("end").median().over("instance")
    # integers of 2^60 ns are no float64: the middle is taken of what they differ by
    first = pl.col("end").min().over("instance")
    return (
        met.filter(pl.col("among") | ~pl.col("threaded"))
        .with_columns(first.alias("first"))
        .with_columns(pl.col("end") - pl.col("first"))
        .with_columns((pl.col("end") - middle).alias("away"))
        .select("rank", "clock", pl.col("end") + pl.col("first"), "away", "among", "threaded")
    )


def clock_residuals(away: pl.DataFrame, clocks: Clocks) -> dict[int, int]:
    """Say what the clock of each rank still disagrees by.

    Parameters
    ----------
    away : polars.DataFrame
        What `end_deviations` returned.
    clocks : Clocks
        How clocks were set, and what that left open.

    Returns
    -------
    dict of int to int
        By rank: 95 % of its ends lie within it from the middle end of the others, in ns. Where no such
        ends are known, half of what delays leave open, and the resolution of time stamps at least.
    """
    told = clocks.open_ns >= 0
    found = {
        int(rank): round(max(ns, RESOLUTION_NS))
        for rank, ns in zip(clocks.rank[told], clocks.open_ns[told], strict=True)
    }
    wide = away.group_by("rank").agg(pl.col("away").abs().quantile(0.95, "nearest")).sort("rank")
    return found | {int(rank): round(ns) for rank, ns in wide.iter_rows()}


def clock_faults(
    recording: Recording, member: pl.DataFrame, away: pl.DataFrame, clocks: Clocks
) -> list[str]:
    """Find clocks that cannot be set right.

    Parameters
    ----------
    recording : Recording
        Steps and ranks.
    member : polars.DataFrame
        Members of communications, with their start and number.
    away : polars.DataFrame
        What `end_deviations` returned, after the clocks were set.
    clocks : Clocks
        How they were set.

    Returns
    -------
    list of str
        One entry for each fault: rank and what is wrong.
    """
    fast = np.abs(clocks.drift_ppb) > MOST_DRIFT_PPB
    return [
        *(
            f"that of rank {rank} gains {ppb / 1000:.0f} ppm"
            for rank, ppb in zip(clocks.rank[fast], clocks.drift_ppb[fast], strict=True)
        ),
        *(f"that of rank {rank} runs backwards" for rank in _backward(recording, member)),
        *_jumps(away),
        *_bursts(member),
    ]


def _backward(recording: Recording, member: pl.DataFrame) -> list[int]:
    """Ranks on which a later step, or a later communication of a group, began earlier."""
    steps = recording.step.sort("rank", "step").select("rank", at="start_ns", within="rank")
    numbered = member.filter((pl.col("number") >= 0) & (pl.col("role") == "all"))
    numbered = numbered.sort("rank", "communicator", "number", maintain_order=True)
    calls = numbered.select(
        "rank", at="start", within=pl.struct("rank", "communicator").rank("dense")
    )
    found: set[int] = set()
    for table in (steps, calls):
        back = (pl.col("at").diff() < 0) & (pl.col("within").diff() == 0)
        found.update(table.filter(back)["rank"].to_list())
    return sorted(found)


def _bursts(member: pl.DataFrame) -> list[str]:
    """List ranks whose impossible communications come close together: before a jump, or after.

    Ends tell no jump where few are before it; records that are wrong by themselves lie scattered.
    """  # noqa: DOC201
    broken = member.filter(~pl.col("causal"))["instance"].n_unique()
    if broken < LEAST_SIDE:
        return []
    turn = member.sort("rank", "start", "instance").unique(
        ["rank", "instance"], keep="first", maintain_order=True
    )
    turn = turn.with_columns(place=pl.int_range(pl.len()).over("rank"), of=pl.len().over("rank"))
    met = turn.filter(~pl.col("causal")).group_by("rank")
    width = (pl.col("place").max() - pl.col("place").min() + 1) / pl.col("of").first()
    runs = met.agg(pl.len().alias("n"), width=width).filter(pl.col("n") == broken)
    by_chance = broken * pl.col("width") ** (broken - 1)  # all of them in some part of that width
    ranks = runs.filter(by_chance < FALSE_BURSTS)["rank"].sort().to_list()
    who = " or ".join(f"rank {rank}" for rank in ranks[:2])
    return [f"that of {who} jumps: {broken} impossible communications together"] if ranks else []


def _jumps(away: pl.DataFrame) -> list[str]:
    found: list[tuple[float, int, float]] = []
    origin = away["end"].min() if away.height else 0
    # ranks of one clock jump together
    among = away.filter("among").sort("clock", "end", maintain_order=True)
    for (rank,), mine in among.group_by("clock", maintain_order=True):
        least = LEAST_SIDE * (1 + bool(mine["threaded"].any()))
        place, jump = largest_jump(mine["away"].to_numpy(), least)
        if place:
            second = (mine["end"][place] - origin) / 1e9
            found.append((abs(jump), int(rank), second))
    # who meets a rank whose clock jumps seems to jump as well, by less
    found.sort(reverse=True)
    return [
        f"that of rank {rank} jumps by {jump / 1e6:.3g} ms after {second:.3g} s"
        for jump, rank, second in found[:1]
    ]


def largest_jump(value: NDArray[Any], least: int = LEAST_SIDE) -> tuple[int, float]:
    """Find a jump in a series.

    Parameters
    ----------
    value : (n,) array
        Values in order of time.
    least : int
        Values on each side.

    Returns
    -------
    (int, float)
        First value after it, and its size; 0 where there is none that the spread of both sides allows
        to tell.
    """
    if value.size < 2 * least:
        return 0, 0.0
    apart = value - np.median(value)
    bound = max(LEAST_JUMP_NS, JUMP_SPREADS * SPREAD_OF_MEDIAN * float(np.median(np.abs(apart))))
    near = np.clip(apart, -bound, bound)  # a few ends far off are no jump
    walk = np.abs(np.cumsum(near - near.mean()))
    inside = slice(least - 1, value.size - least)
    place = least + int(np.argmax(walk[inside]))
    sides = value[:place], value[place:]
    middle = [float(np.median(side)) for side in sides]
    rest = np.concatenate([side - m for side, m in zip(sides, middle, strict=True)])
    spread = SPREAD_OF_MEDIAN * float(np.median(np.abs(rest)))
    jump = middle[1] - middle[0]
    between = sum(middle) / 2
    beyond = max(
        float((np.sign(side - between) != np.sign(m - between)).mean())
        for side, m in zip(sides, middle, strict=True)
    )
    is_jump = abs(jump) > max(LEAST_JUMP_NS, JUMP_SPREADS * spread) and beyond <= MISPLACED_RATIO
    return (place, jump) if is_jump else (0, 0.0)
