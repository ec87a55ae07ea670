"""Process groups of all ranks: names may be process-local, so they are mapped by what they share."""

from dataclasses import dataclass

import polars as pl

from loadpath.ingest.kineto.communications import Communication
from loadpath.tables import COMMUNICATOR

__all__ = ["Groups", "map_groups"]


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

    Groups with recorded members are one if name and members agree. Others (old traces name a
    group by a pointer of the process) are one if size, first and last sequence number and the
    order of first use among such groups agree.

    Parameters
    ----------
    said : dict of int to list of Communication
        What each rank's ops say, in the order of their starts.

    Returns
    -------
    Groups
        Communicators, numbered by first use on the lowest rank.
    """
    keys: dict[tuple[int, str], tuple[object, ...]] = {}
    members: dict[tuple[object, ...], set[int]] = {}
    sizes: dict[tuple[object, ...], int] = {}
    named: dict[tuple[object, ...], str] = {}
    for rank in sorted(said):
        order: dict[tuple[object, ...], int] = {}
        for group, facts in _by_group(said[rank]).items():
            key = _shared(rank, group, facts)
            order[key] = order.get(key, -1) + 1
            key = (*key, order[key])
            keys[rank, group] = key
            members.setdefault(key, set()).update(facts[0].members or (rank,))
            sizes[key] = max(fact.size for fact in facts)
            named.setdefault(key, group)
    number = {key: i for i, key in enumerate(members)}
    rows = {
        "communicator": list(number.values()),
        "name": [named[key] for key in number],
        "n_members": [sizes[key] for key in number],
        "members": [sorted(members[key]) for key in number],
    }
    schema = {name: COMMUNICATOR.schema[name] for name in rows}
    return Groups(
        COMMUNICATOR.build(pl.DataFrame(rows, schema=schema)),
        {place: number[key] for place, key in keys.items()},
    )


def _by_group(facts: list[Communication]) -> dict[str, list[Communication]]:
    groups: dict[str, list[Communication]] = {}
    for fact in facts:
        if fact.group:
            groups.setdefault(fact.group, []).append(fact)
    return groups


def _shared(rank: int, group: str, facts: list[Communication]) -> tuple[object, ...]:
    if facts[0].members:
        return (group, facts[0].members)
    if facts[0].size == 1:
        return (rank, group)
    sequence = [fact.sequence for fact in facts]
    return (facts[0].size, min(sequence), max(sequence))
