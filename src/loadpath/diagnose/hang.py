"""Where a job hangs: communications that some members asked for and others never did."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import polars as pl

from loadpath.diagnose.flight_groups import group_members, numbers_reached
from loadpath.tables.results import HANG

__all__ = ["OpenCall", "find_hangs", "open_calls", "ranks_behind"]

EVEN = ("all_reduce", "broadcast", "reduce", "barrier", "all_gather", "reduce_scatter")
"""Collectives whose members all give the same shape."""


MEETING = ("all_reduce", "barrier", "all_gather", "reduce_scatter", "all_to_all")
"""Collectives that end for nobody before all members asked for them."""


@dataclass(frozen=True, slots=True)
class _Stop:
    """A communication that cannot end."""

    group: str
    description: str
    sequence: int
    reason: str
    missing: frozenset[int]
    waiting: frozenset[int]
    calls: tuple[Mapping[str, object], ...] = ()
    causes: frozenset[int] = field(default_factory=frozenset)

    @property
    def is_p2p(self) -> bool:
        """A send or receive."""
        return bool(self.calls and self.calls[0]["is_p2p"])

    @property
    def created_ns(self) -> int:
        """When the first member asked for it; unknown ones come last."""
        return min((int(str(c["created_ns"])) for c in self.calls), default=1 << 62)


def find_hangs(
    flight: pl.DataFrame, group: pl.DataFrame, unknown: Collection[int] = ()
) -> pl.DataFrame:
    """Find the communications that cannot end, causes before consequences.

    Parameters
    ----------
    flight : polars.DataFrame
        Table `FLIGHT` of all dumps.
    group : polars.DataFrame
        Table `FLIGHT_GROUP` of all dumps.
    unknown : collection of int
        Ranks of which it is not known how far they came: they are not called missing.

    Returns
    -------
    polars.DataFrame
        Table `HANG`; empty where every member asked for what its peers wait for.

    Notes
    -----
    Numbers compare only within a group. A member is missing when the last collective that it asked
    for comes before its peers' last: an older entry that is absent was evicted from the ring. The
    peers must have ended all that everybody asked for, else they are busy, not waiting; or more than the
    member says that it ended, for a device that fails takes with it what was asked of it. What some
    member completed all had asked for, where nobody leaves before all have come: a dump that does not show
    it was made before. One group
    causes another where a rank that the other misses waits in it; among those without a cause the
    one asked for first leads, by the order of ranks that wait in both, else by time.

    References
    ----------
    .. [1] PyTorch, "Flight Recorder for Debugging Stuck Jobs", tutorial.
    """
    members = _members(flight, group)
    calls, sends = flight.filter(~pl.col("is_p2p")), flight.filter("is_p2p")
    stops = [
        *_different(calls, members),
        *_absent(calls, sends, group, _without(members, unknown)),
        *_one_sided(sends, unknown),
    ]
    return _table(_in_causal_order(_first_of_each(stops)))


def _absent(
    calls: pl.DataFrame,
    sends: pl.DataFrame,
    group: pl.DataFrame,
    members: Mapping[str, tuple[str, tuple[int, ...]]],
    *,
    busy_too: bool = False,
) -> list[_Stop]:
    """Find groups in which some members never asked for what others wait for, or are yet to wait for."""
    reached = numbers_reached(calls, group, set(sends["group"]))
    met = _met(calls)
    pending = calls.filter(~pl.col("is_done"))
    stops = []
    for name, (text, ranks) in members.items():
        last = {rank: reached.get((name, rank), (-1, -1)) for rank in ranks}
        last = {rank: (max(asked, met.get(name, -1)) if asked >= 0 else asked, ended)
                for rank, (asked, ended) in last.items()}  # fmt: skip
        low = _common(last.values())
        waiting = frozenset(
            rank for rank, (asked, ended) in last.items() if asked > low and ended <= low
        )
        missing = frozenset(rank for rank, (asked, _) in last.items() if asked <= low)
        ended = [last[rank][1] for rank in waiting]
        busy = any(0 <= number < low for number in ended)
        failed = all(0 <= last[rank][1] < min(ended) for rank in missing) if ended else False
        held = pending.filter((pl.col("group") == name) & pl.col("rank").is_in(list(waiting)))
        after = held.filter(pl.col("sequence") > low)
        if missing and after.height and (failed or busy_too or not busy):
            at = after.filter(pl.col("sequence") == pl.col("sequence").min())
            calls_at = tuple(at.iter_rows(named=True))
            stops.append(_Stop(name, text, low + 1, "missing", missing, waiting, calls_at))
    return stops


def _met(calls: pl.DataFrame) -> dict[str, int]:
    """Last collective of each group that a member completed, and that none leaves before all have come."""
    completed = calls.filter(pl.col("collective").is_in(MEETING), state="completed")
    return dict(completed.group_by("group").agg(pl.col("sequence").max()).iter_rows())


def _without(
    members: Mapping[str, tuple[str, tuple[int, ...]]], unknown: Collection[int]
) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {
        name: (text, tuple(rank for rank in ranks if rank not in unknown))
        for name, (text, ranks) in members.items()
    }


def ranks_behind(flight: pl.DataFrame, group: pl.DataFrame) -> list[int]:
    """List the ranks that asked for less than their peers, whether those wait for it yet or not.

    Parameters
    ----------
    flight : polars.DataFrame
        Table `FLIGHT` of all dumps.
    group : polars.DataFrame
        Table `FLIGHT_GROUP` of all dumps.

    Returns
    -------
    list of int
        Those of the group in which the earliest such call was asked for.
    """
    calls, sends = flight.filter(~pl.col("is_p2p")), flight.filter("is_p2p")
    stops = _absent(calls, sends, group, _members(flight, group), busy_too=True)
    return sorted(_in_causal_order(stops)[0].missing) if stops else []


def _members(flight: pl.DataFrame, group: pl.DataFrame) -> dict[str, tuple[str, tuple[int, ...]]]:
    rows = group_members(flight, group).iter_rows()
    return {name: (text, tuple(ranks)) for name, text, ranks, _ in rows}


class OpenCall(NamedTuple):
    """A collective that all members asked for and that had not ended on all of them.

    Attributes
    ----------
    group, description, collective : str
        Where, and what.
    sequence : int
        Number within the group.
    begun, waiting : tuple of int
        Members on whose device it was seen to run, and members on which it was not, where one of
        them did; both empty where no dump says.
    """

    group: str
    description: str
    collective: str
    sequence: int
    begun: tuple[int, ...]
    waiting: tuple[int, ...]


def open_calls(flight: pl.DataFrame) -> list[OpenCall]:
    """List the first collective of each group that had not ended, whoever asked for it.

    Parameters
    ----------
    flight : polars.DataFrame
        Table `FLIGHT` of all dumps.

    Returns
    -------
    list of OpenCall
        The one asked for first comes first.
    """
    held = flight.filter(~pl.col("is_done") & ~pl.col("is_p2p"))
    first = held.filter(pl.col("sequence") == pl.col("sequence").min().over("group"))
    found = []
    for (name,), at in first.sort("created_ns", "rank").group_by("group", maintain_order=True):
        ran = at["state"] == "started"
        began, others = (tuple(at.filter(mask)["rank"].unique().sort()) for mask in (ran, ~ran))
        told = (began, others) if began else ((), ())
        row = at.row(0, named=True)
        found.append(
            OpenCall(str(name), row["description"], row["collective"], row["sequence"], *told)
        )
    return found


def _common(last: Collection[tuple[int, int]]) -> int:
    """Take the last collective that everybody asked for; that ended, where a member is silent."""
    said = [(asked, ended) for asked, ended in last if asked >= 0]
    if len(said) == len(last):
        return min((asked for asked, _ in said), default=-1)
    ended = [done for _, done in said if done >= 0]
    return max(ended) if ended else min((asked for asked, _ in said), default=0) - 1


def _different(
    calls: pl.DataFrame, members: Mapping[str, tuple[str, tuple[int, ...]]]
) -> list[_Stop]:
    """First collective of each group in which members asked for different things."""
    even = pl.col("collective").is_in(EVEN)
    # of a batch the ring may have lost the first calls on one rank, but never the last
    named = calls.filter(~pl.col("name").str.ends_with(":coalesced"))
    calls = named.unique(["group", "sequence", "rank"], keep="last", maintain_order=True)
    by_call = calls.group_by("group", "sequence", maintain_order=True).agg(
        pl.col("collective").n_unique().alias("kinds"),
        pl.col("size").filter(even & (pl.col("size") != "")).n_unique().alias("sizes"),
        pl.col("data_type").filter(pl.col("data_type") != "").n_unique().alias("types"),
        pl.col("is_done").all().alias("ended"),
    )
    # what ended for all was allowed: parts of uneven gathers go by broadcasts of different sizes
    uneven = ((pl.col("sizes") > 1) | (pl.col("types") > 1)) & ~pl.col("ended")
    odd = by_call.filter((pl.col("kinds") > 1) | uneven)
    first = odd.sort("group", "sequence").group_by("group", maintain_order=True).first()
    pending = set(calls.filter(~pl.col("is_done"))["group"])
    stops = []
    for name, sequence, kinds, sizes, *_ in first.iter_rows():
        if name not in pending:
            continue
        at = calls.filter((pl.col("group") == name) & (pl.col("sequence") == sequence))
        column = "collective" if kinds > 1 else "size" if sizes > 1 else "data_type"
        rows = tuple(at.iter_rows(named=True))
        culprits = _minority({int(row["rank"]): str(row[column]) for row in rows})
        text = members.get(name, ("", ()))[0]
        stops.append(_Stop(name, text, sequence, f"different_{column}", culprits,
                           frozenset(at["rank"]) - culprits, rows))  # fmt: skip
    return stops


def _minority(said: Mapping[int, str]) -> frozenset[int]:
    """Ranks that do not say what most say; all of them where no word has most."""
    counted = Counter(said.values()).most_common(2)
    if counted[0][1] == counted[1][1]:
        return frozenset(said)
    return frozenset(rank for rank, word in said.items() if word != counted[0][0])


def _one_sided(calls: pl.DataFrame, unknown: Collection[int]) -> list[_Stop]:
    """Pairs in which one side waits for more messages than the other has under way."""
    open_calls = calls.filter(~pl.col("is_done") & (pl.col("peer") >= 0)).sort("created_ns")
    ends: dict[tuple[str, int, int], dict[str, list[dict[str, object]]]] = defaultdict(
        lambda: {"send": [], "recv": []}
    )
    for row in open_calls.iter_rows(named=True):
        if row["collective"] not in {"send", "recv"}:
            continue
        sends = row["collective"] == "send"
        pair = (row["rank"], row["peer"]) if sends else (row["peer"], row["rank"])
        ends[row["group"], *pair][row["collective"]].append(row)
    stops = []
    for (name, source, target), held in ends.items():
        n_send, n_recv = len(held["send"]), len(held["recv"])
        more, absent = ("recv", source) if n_recv > n_send else ("send", target)
        if n_send == n_recv or absent in unknown:
            continue
        row = held[more][min(n_send, n_recv)]
        stops.append(_Stop(name, str(row["description"]), int(str(row["sequence"])), "missing",
                           frozenset({absent}), frozenset({source, target} - {absent}),
                           (row,)))  # fmt: skip
    return stops


def _first_of_each(stops: Sequence[_Stop]) -> list[_Stop]:
    """One stop a group of collectives: what differs comes before who is missing after it."""
    kept: dict[tuple[str, frozenset[int]], _Stop] = {}
    for stop in stops:
        key = (stop.group, stop.missing | stop.waiting if stop.is_p2p else frozenset())
        if key not in kept or (stop.sequence, stop.reason) < (kept[key].sequence, kept[key].reason):
            kept[key] = stop
    return list(kept.values())


def _in_causal_order(stops: Sequence[_Stop]) -> list[_Stop]:
    """Causes before consequences; among equals the one asked for first."""
    by_time = sorted(stops, key=_asked_first)
    caused = [
        replace(stop, causes=frozenset(
            k for k, other in enumerate(by_time)
            if other is not stop and stop.missing & other.waiting and not _mutual(stop, other)
        ))
        for stop in by_time
    ]  # fmt: skip
    order: list[int] = []
    left = list(range(len(caused)))
    while left:
        free = [k for k in left if not caused[k].causes & set(left)] or left[:1]
        first = [k for k in free if not any(_before(caused[j], caused[k]) for j in free)]
        order.append((first or free)[0])
        left.remove(order[-1])
    place = {k: position for position, k in enumerate(order)}
    return [replace(caused[k], causes=frozenset(place[c] for c in caused[k].causes)) for k in order]


def _asked_first(stop: _Stop) -> tuple[object, ...]:
    # A receive is posted before it is needed: its time does not tell when the sender was due.
    return stop.is_p2p, stop.created_ns, stop.group, stop.sequence, sorted(stop.missing)


def _before(stop: _Stop, other: _Stop) -> bool:
    """Whether ranks that wait in both asked for the one first: their own order needs no common clock."""
    if stop.is_p2p or other.is_p2p:
        return False
    asked, later = ({c["rank"]: int(str(c["created_ns"])) for c in s.calls} for s in (stop, other))
    both = asked.keys() & later.keys()
    return bool(both) and all(asked[rank] < later[rank] for rank in both)


def _mutual(stop: _Stop, other: _Stop) -> bool:
    return bool(stop.missing & other.waiting) and bool(other.missing & stop.waiting)


def _table(stops: Sequence[_Stop]) -> pl.DataFrame:
    rows = []
    for order, stop in enumerate(stops):
        first = min(stop.calls, key=lambda c: int(str(c["created_ns"])), default={})
        said = Counter(str(c["collective"]) for c in stop.calls).most_common(1)
        sizes = Counter(str(c["size"]) for c in stop.calls).most_common(1)
        rows.append({
            "order": order,
            "group": stop.group,
            "description": stop.description,
            "collective": said[0][0] if said else "",
            "name": str(first.get("name", "")),
            "sequence": stop.sequence,
            "size": sizes[0][0] if sizes else "",
            "data_type": str(first.get("data_type", "")),
            "reason": stop.reason,
            "missing_ranks": sorted(stop.missing),
            "waiting_ranks": sorted(stop.waiting),
            "causes": sorted(stop.causes),
            "created_ns": stop.created_ns if stop.calls else 0,
        })  # fmt: skip
    return HANG.build(pl.DataFrame(rows, HANG.schema, orient="row")) if rows else HANG.empty()
