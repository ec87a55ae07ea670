"""Where OTF2 events happen: threads of ranks on hosts; and which ranks a communicator joins."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

from loadpath.errors import InputError
from loadpath.ingest.otf2.definitions import (
    ALONE,
    MEMBERS,
    MPI,
    RANKS_OF_MPI,
    Definitions,
)

__all__ = ["Communicators", "Place", "communicators", "n_accelerators", "places"]

THREAD, ACCELERATOR = 1, 2
"""Types of locations: threads of a processor, streams of an accelerator."""


class Place(NamedTuple):
    """One thread.

    Attributes
    ----------
    location : int
        Its number in the trace, which names its files.
    rank, lane : int
        Rank, and number of the thread in it.
    name, host : str
        Of the thread, and of the node it runs on.
    """

    location: int
    rank: int
    lane: int
    name: str
    host: str


@dataclass(frozen=True, slots=True)
class Communicators:
    """Communicators of MPI.

    Attributes
    ----------
    members : dict of int to tuple of int
        Ranks of each communicator, in its order; those of one rank each are left out.
    number : dict of int to int
        Row of `table` of each.
    table : dict of str to list
        Columns of table `COMMUNICATOR`.
    """

    members: dict[int, tuple[int, ...]]
    number: dict[int, int]
    table: dict[str, list[Any]]


def places(name: str, found: Definitions) -> list[Place]:
    """List the threads of all ranks.

    Parameters
    ----------
    name : str
        Name of the file of definitions, for messages.
    found : Definitions
        Global definitions.

    Returns
    -------
    list of Place
        By rank; first the thread that is the rank of MPI, then by location.

    Raises
    ------
    InputError
        If no rank of MPI is defined, and several processes or none are.
    """
    rank_of_location = {location: rank for rank, location in enumerate(_rank_locations(found))}
    rank_of = {
        found.location[location][3]: rank
        for location, rank in rank_of_location.items()
        if location in found.location
    }
    listed: list[Place] = []
    threads: Counter[int] = Counter()
    in_order = sorted(
        found.location.items(), key=lambda one: (one[0] not in rank_of_location, one[0])
    )
    for location, (text, kind, _, process) in in_order:
        if kind == THREAD and process in rank_of:
            rank = rank_of[process]
            host = _host(found, process)
            listed.append(Place(location, rank, threads[rank], found.text.get(text, ""), host))
            threads[rank] += 1
    if not listed:
        what = "defines no rank of MPI, and not one process alone"
        raise InputError(name, what, "Trace a job of MPI, or one process of threads.")
    return sorted(listed, key=lambda place: (place.rank, place.lane))


def n_accelerators(found: Definitions) -> int:
    """Count the streams of accelerators that recorded something.

    Parameters
    ----------
    found : Definitions
        Global definitions.

    Returns
    -------
    int
        Locations of that type.
    """
    return sum(kind == ACCELERATOR and n > 0 for _, kind, n, _ in found.location.values())


def communicators(found: Definitions) -> Communicators:
    """List the communicators that join several ranks.

    Parameters
    ----------
    found : Definitions
        Global definitions.

    Returns
    -------
    Communicators
        Their ranks.
    """
    world = {location: rank for rank, location in enumerate(_rank_locations(found))}
    members: dict[int, tuple[int, ...]] = {}
    for number, (_, group) in sorted(found.communicator.items()):
        kind, paradigm, listed = found.group.get(group, (ALONE, 0, ()))
        if paradigm != MPI or kind not in {MEMBERS, RANKS_OF_MPI}:
            continue
        ranks = tuple(world.get(m, -1) for m in listed) if kind == RANKS_OF_MPI else listed
        if len(ranks) > 1 and all(0 <= rank < len(world) for rank in ranks):
            members[number] = ranks
    number_of = {number: row for row, number in enumerate(members)}
    names = [found.text.get(found.communicator[n][0], "") or f"communicator {n}" for n in members]
    table: dict[str, list[Any]] = {
        "communicator": list(range(len(members))),
        "name": names,
        "n_members": [len(ranks) for ranks in members.values()],
        "members": [list(ranks) for ranks in members.values()],
        "backend": ["mpi"] * len(members),
    }
    return Communicators(members, number_of, table)


def _rank_locations(found: Definitions) -> tuple[int, ...]:
    """Location of each rank of MPI; without MPI a process alone is the one rank, at its first thread."""
    for kind, paradigm, listed in found.group.values():
        if kind == RANKS_OF_MPI and paradigm == MPI:
            return listed
    threads = {n: process for n, (_, kind, _, process) in found.location.items() if kind == THREAD}
    return (min(threads),) if len(set(threads.values())) == 1 else ()


def _host(found: Definitions, process: int) -> str:
    node = found.node.get(found.process.get(process, (0, 0, -1))[2])
    return found.text.get(node[0], "") if node else ""
