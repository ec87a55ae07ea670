"""Definitions of an OTF2 trace: clock, locations, regions, communicators."""

from collections.abc import Callable
from dataclasses import dataclass, field

from loadpath.ingest.otf2.records import UNDEFINED, Fields, read_records

__all__ = ["MPI", "Definitions", "Local", "read_definitions", "read_local"]

CLOCK, STRING, NODE, PROCESS, LOCATION, REGION, GROUP, COMMUNICATOR = 5, 10, 12, 13, 14, 15, 18, 22
MAPPING, OFFSET = 5, 6
REGIONS, COMMUNICATORS = 3, 6
"""What a table of a location maps to numbers of the whole trace."""
RANKS_OF_MPI, MEMBERS, ALONE = 4, 5, 6
"""Types of groups: locations that are ranks of a paradigm; ranks; one rank each."""
MPI = 4
"""Number of the paradigm."""


@dataclass(slots=True)
class Definitions:
    """What the global definitions of a trace say.

    Attributes
    ----------
    ticks_per_s, first_tick : int
        Clock of the trace.
    text : dict of int to str
        Strings.
    node, process : dict of int to tuple
        Nodes of the system (name, class, parent) and processes (name, type, node), by number.
    location : dict of int to tuple
        Locations: name, type, number of events, process.
    region : dict of int to tuple
        Regions: name, role, paradigm.
    group : dict of int to tuple
        Groups: type, paradigm, members.
    communicator : dict of int to tuple
        Communicators: name, group.
    """

    ticks_per_s: int = 0
    first_tick: int = 0
    text: dict[int, str] = field(default_factory=dict)
    node: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    process: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    location: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    region: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    group: dict[int, tuple[int, int, tuple[int, ...]]] = field(default_factory=dict)
    communicator: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Local:
    """What the definitions of one location say.

    Attributes
    ----------
    maps : dict of int to dict
        For each kind of number, those of the location and what they are in the whole trace; a
        number that is not there is the same in both.
    offset : list of tuple of (int, int)
        Time and correction of the clock, in ticks.
    """

    maps: dict[int, dict[int, int]] = field(default_factory=dict)
    offset: list[tuple[int, int]] = field(default_factory=list)


def read_definitions(name: str, content: bytes, chunk_bytes: int) -> Definitions:
    """Read the global definitions.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    content : bytes
        All of it.
    chunk_bytes : int
        Length of its chunks.

    Returns
    -------
    Definitions
        Those that are needed.
    """
    found = Definitions()

    def take(kind: int, fields: Fields) -> None:
        if kind in READERS:
            READERS[kind](found, fields)

    read_records(name, content, chunk_bytes, take)
    return found


def _clock(found: Definitions, fields: Fields) -> None:
    found.ticks_per_s, found.first_tick = fields.number(), fields.number()


def _text(found: Definitions, fields: Fields) -> None:
    number = fields.number()
    found.text[number] = fields.text()


def _node(found: Definitions, fields: Fields) -> None:
    number = fields.number()
    found.node[number] = (fields.number(), fields.number(), fields.number())


def _process(found: Definitions, fields: Fields) -> None:
    number = fields.number()
    found.process[number] = (fields.number(), fields.byte(), fields.number())


def _location(found: Definitions, fields: Fields) -> None:
    number, name, kind = fields.number(), fields.number(), fields.byte()
    found.location[number] = (name, kind, fields.number(), fields.number())


def _region(found: Definitions, fields: Fields) -> None:
    number, name, _, _ = fields.number(), fields.number(), fields.number(), fields.byte()
    for _ in range(4):
        fields.number()
    found.region[number] = (name, fields.byte(), fields.byte())


def _group(found: Definitions, fields: Fields) -> None:
    number, _, _ = fields.number(), fields.number(), fields.byte()
    members = tuple(fields.number() for _ in range(fields.number()))
    found.group[number] = (fields.byte(), fields.byte(), members)


def _communicator(found: Definitions, fields: Fields) -> None:
    number = fields.number()
    found.communicator[number] = (fields.number(), fields.number())


READERS: dict[int, Callable[[Definitions, Fields], None]] = {
    CLOCK: _clock,
    STRING: _text,
    NODE: _node,
    PROCESS: _process,
    LOCATION: _location,
    REGION: _region,
    GROUP: _group,
    COMMUNICATOR: _communicator,
}


def read_local(name: str, content: bytes, chunk_bytes: int) -> Local:
    """Read the definitions of one location.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    content : bytes
        All of it.
    chunk_bytes : int
        Length of its chunks.

    Returns
    -------
    Local
        Numbers of the location, and corrections of its clock.
    """
    found = Local()

    def take(kind: int, fields: Fields) -> None:
        if kind == MAPPING:
            _read_map(found, fields)
        elif kind == OFFSET:
            time, offset = fields.whole(), fields.number()
            if time >> 63:
                raise ValueError
            found.offset.append((time, offset - (1 << 64) if offset >> 63 else offset))

    read_records(name, content, chunk_bytes, take)
    return found


def _read_map(found: Local, fields: Fields) -> None:
    what, n, is_sparse = fields.byte(), fields.number(), fields.byte()
    if n == UNDEFINED:
        raise ValueError
    pairs = ((fields.number() if is_sparse else i, fields.number()) for i in range(n))
    found.maps[what] = dict(pairs)
