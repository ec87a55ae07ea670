"""Process groups of all ranks: names may be process-local, so they are mapped by what they share."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import polars as pl

from loadpath.ingest.kineto.communications import Communication
from loadpath.tables import COMMUNICATOR

__all__ = ["Groups", "RecordedGroup", "describe_groups", "map_groups", "recorded_groups"]

BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Numbered(NamedTuple):
    """What ranks share of a group that each process names otherwise: size and range of numbers."""

    size: int
    first: int
    last: int


_Key = tuple[tuple[object, ...], int]
"""What ranks share of a group, and how many groups like it came before on each."""


class RecordedGroup(msgspec.Struct, frozen=True):
    """A process group as the configuration of a rank lists it.

    Attributes
    ----------
    name, description : str
        Its name on that rank, and what it is for.
    ranks : tuple of int
        Its members.
    """

    name: str | int = msgspec.field(default="", name="pg_name")
    description: str = msgspec.field(default="", name="pg_desc")
    ranks: tuple[int, ...] = ()


def recorded_groups(raw: msgspec.Raw, max_ranks: int) -> tuple[RecordedGroup, ...]:
    """Read the process groups that a trace lists beside its events.

    Parameters
    ----------
    raw : msgspec.Raw
        Value of ``distributedInfo.pg_config``.
    max_ranks : int
        Ranks from here on are damage.

    Returns
    -------
    tuple of RecordedGroup
        Groups with possible ranks; none if the value is no such list.

    Examples
    --------
    >>> raw = b'[{"pg_name": "3", "pg_desc": "mesh_tp", "pg_size": 2, "ranks": [0, 1]}]'
    >>> recorded_groups(msgspec.Raw(raw), 8)
    (RecordedGroup(name='3', description='mesh_tp', ranks=(0, 1)),)
    """
    try:
        groups = msgspec.json.decode(raw, type=list[RecordedGroup])
    except BAD:
        return ()
    return tuple(group for group in groups if all(0 <= rank < max_ranks for rank in group.ranks))


@dataclass(frozen=True, slots=True)
class Groups:
    """Communicators of the job.

    Attributes
    ----------
    communicator : polars.DataFrame
        Table `COMMUNICATOR`.
    number : dict of (int, str) to int
        Communicator by rank and group name on that rank.
    """

    communicator: pl.DataFrame
    number: dict[tuple[int, str], int]


def map_groups(said: dict[int, list[Communication]]) -> Groups:
    """Find which groups of different ranks are one communicator.

    Groups with recorded members are one if name and members agree, of long ones, whose lists Kineto
    shortens, the first members and the last; evenly spaced ones are completed. Others (old traces name a
    group by a pointer of the process) are one if size, first and last sequence number and the
    order of first use among such groups agree; or, where the windows of ranks began elsewhere, if
    their sequence numbers overlap and no other group of that size could be meant.

    Parameters
    ----------
    said : dict of int to list of Communication
        What each rank's ops say, in the order of their starts.

    Returns
    -------
    Groups
        Communicators, numbered by first use on the lowest rank.
    """
    found = [
        (rank, group, key, facts)
        for rank in sorted(said)
        for group, key, facts in _keyed(rank, said[rank])
    ]
    one = _joined_windows([(rank, key) for rank, _, key, _ in found])
    keys: dict[tuple[int, str], _Key] = {}
    members: dict[_Key, set[int]] = {}
    sizes: dict[_Key, int] = {}
    named: dict[_Key, str] = {}
    use: dict[_Key, str] = {}
    for rank, group, own, facts in found:
        key = keys[rank, group] = one.get(own, own)
        told = facts[0].members or _completed(facts[0])
        members.setdefault(key, set()).update(told or (rank,))
        sizes[key] = max(fact.size for fact in facts)
        named.setdefault(key, group)
        use[key] = use.get(key) or max(fact.description for fact in facts)
    number = {key: i for i, key in enumerate(members)}
    rows = {
        "communicator": list(number.values()),
        "name": [named[key] for key in number],
        "n_members": [sizes[key] for key in number],
        "members": [sorted(members[key]) for key in number],
        "description": [use[key] for key in number],
    }
    schema = {name: COMMUNICATOR.schema[name] for name in rows}
    return Groups(
        COMMUNICATOR.build(pl.DataFrame(rows, schema=schema)),
        {place: number[key] for place, key in keys.items()},
    )


def describe_groups(groups: Groups, made: dict[int, tuple[RecordedGroup, ...]]) -> pl.DataFrame:
    """Add what ranks list of their groups: descriptions, and groups that nobody used.

    Parameters
    ----------
    groups : Groups
        Communicators in use.
    made : dict of int to tuple of RecordedGroup
        Groups that each rank lists.

    Returns
    -------
    polars.DataFrame
        Table `COMMUNICATOR`; groups without use come last.
    """
    said = groups.communicator["description"].to_list()
    unused: dict[tuple[str, tuple[int, ...]], str] = {}
    for rank in sorted(made):
        for group in made[rank]:
            number = groups.number.get((rank, str(group.name)))
            if number is None:
                if len(group.ranks) > 1:
                    unused.setdefault((group.description, group.ranks), str(group.name))
            else:
                said[number] = said[number] or group.description
    known = groups.communicator.with_columns(description=pl.Series(said, dtype=pl.String))
    listed = {
        (text, tuple(members)) for text, members in known.select("description", "members").rows()
    }
    fresh = [(*key, name) for key, name in unused.items() if key not in listed]
    rows = {
        "communicator": [known.height + i for i in range(len(fresh))],
        "name": [name for *_, name in fresh],
        "n_members": [len(members) for _, members, _ in fresh],
        "members": [list(members) for _, members, _ in fresh],
        "description": [text for text, *_ in fresh],
    }
    schema = {name: COMMUNICATOR.schema[name] for name in rows}
    return pl.concat([known, COMMUNICATOR.build(pl.DataFrame(rows, schema=schema))])


def _keyed(
    rank: int, facts: list[Communication]
) -> Iterator[tuple[str, _Key, list[Communication]]]:
    """List the groups of a rank, what each shares with those of other ranks, and its use."""
    n_before: Counter[tuple[object, ...]] = Counter()
    for group, of_group in _by_group(facts).items():
        shared = _shared(rank, group, of_group)
        yield group, (shared, n_before[shared]), of_group
        n_before[shared] += 1


def _joined_windows(used: list[tuple[int, _Key]]) -> dict[_Key, _Key]:
    """Find groups that are one although too few ranks share their numbers: of shifted windows.

    They stay apart where a rank would use two of them.
    """  # noqa: DOC201
    users: dict[_Key, set[int]] = {}
    for rank, key in used:
        users.setdefault(key, set()).add(rank)
    lacking = [
        (shared, order)
        for (shared, order), ranks in users.items()
        if isinstance(shared, _Numbered) and shared.size > 1 and len(ranks) % shared.size
    ]
    joined: dict[_Key, _Key] = {}
    for window in _overlapping(sorted(lacking)):
        ranks = [rank for key in window for rank in users[key]]
        if len(set(ranks)) == len(ranks):
            joined |= dict.fromkeys(window, window[0])
    return joined


def _overlapping(keys: list[tuple[_Numbered, int]]) -> list[list[_Key]]:
    """Part groups, in the order of size and first number, into those that have numbers in common."""
    windows: list[list[_Key]] = []
    size, last = -1, -1
    for shared, order in keys:
        if shared.size != size or shared.first > last:
            windows.append([])
            size, last = shared.size, shared.last
        last = min(last, shared.last)
        windows[-1].append((shared, order))
    return windows


def _by_group(facts: list[Communication]) -> dict[str, list[Communication]]:
    groups: dict[str, list[Communication]] = {}
    for fact in facts:
        if fact.group:
            groups.setdefault(fact.group, []).append(fact)
    return groups


def _shared(rank: int, group: str, facts: list[Communication]) -> tuple[object, ...]:
    told = facts[0].members or facts[0].listed
    if told:
        return (group, told)
    if facts[0].size == 1:
        return (rank, group)
    sequence = [fact.sequence for fact in facts]
    return _Numbered(facts[0].size, min(sequence), max(sequence))


def _completed(fact: Communication) -> tuple[int, ...]:
    """Members of a group whose list was shortened, if they are evenly spaced; none else."""
    if len(fact.listed) < 3:
        return ()
    first, second, *_, last = fact.listed
    whole = range(first, last + 1, max(second - first, 1))
    shown = tuple(whole[: len(fact.listed) - 1])
    even = len(whole) == fact.size and (*shown, whole[-1]) == fact.listed
    return tuple(whole) if even else ()
