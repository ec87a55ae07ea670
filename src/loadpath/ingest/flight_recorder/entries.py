"""Entries of one dump to rows; whatever they were decoded from."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import msgspec
import polars as pl

from loadpath.decode import collective_of
from loadpath.tables import FLIGHT, FLIGHT_GROUP

__all__ = ["BAD", "Dump", "Entry", "flight_rows", "group_rows"]

BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding a foreign value may raise."""
MAX_RANKS = 1 << 20
MAX_TIME_NS = 1 << 62
LONGEST_MS = 1e9
"""Twelve days: no communication takes longer."""
TYPE_BYTES = {
    "Float": 4, "Double": 8, "Half": 2, "BFloat16": 2, "Int": 4, "Long": 8, "Short": 2, "Char": 1,
    "Byte": 1, "Bool": 1, "Float8_e4m3fn": 1, "Float8_e5m2": 1, "ComplexFloat": 8, "ComplexDouble": 16,
}  # fmt: skip
"""Width of the types that PyTorch writes."""
PEER = re.compile(r"(\d+)\s*(->|<-)\s*(\d+)")
DEFAULT = ("", "0")
"""Names under which the group of all ranks is listed and used; gloo lists it without a name."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One communication as dumped, in PyTorch's own words.

    Before 2.0 a group had a name alone, and one number (``seq_id``) counted all its communications.
    """

    profiling_name: str
    process_group: tuple[str, str] | str
    time_created_ns: int
    collective_seq_id: int = 0
    seq_id: int = 0
    p2p_seq_id: int = 0
    pg_id: int = -1
    is_p2p: bool = False
    state: str = ""
    retired: bool = False
    input_sizes: list[list[int]] = msgspec.field(default_factory=list)
    output_sizes: list[list[int]] = msgspec.field(default_factory=list)
    input_dtypes: list[str] = msgspec.field(default_factory=list)
    time_discovered_started_ns: int | None = None
    time_discovered_completed_ns: int | None = None
    duration_ms: float | None = None

    @property
    def group(self) -> str:
        """Name of the group."""
        return self.process_group if isinstance(self.process_group, str) else self.process_group[0]

    @property
    def description(self) -> str:
        """What the group is for; empty where that is not told."""
        return "" if isinstance(self.process_group, str) else self.process_group[1]

    @property
    def number(self) -> int:
        """Number within the group, of sends and receives among themselves."""
        told = self.p2p_seq_id if self.is_p2p else self.collective_seq_id
        return told or self.seq_id

    @property
    def is_batch(self) -> bool:
        """The end of a batch; what was posted in it has the same number, and no state of its own."""
        return self.profiling_name.endswith(":coalesced")

    def is_sound(self) -> bool:
        """Tell an entry whose numbers can be meant."""
        numbers = (self.collective_seq_id, self.seq_id, self.p2p_seq_id, self.pg_id)
        return 0 < self.time_created_ns < MAX_TIME_NS and max(map(abs, numbers)) < MAX_TIME_NS


class Dump(msgspec.Struct, frozen=True):
    """What a dump says beside its entries: process groups, and how far each came.

    ``pg_status`` is keyed by the number that the rank itself gave to the group (``pg_id``).
    """

    pg_config: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    pg_status: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    version: str = ""


def flight_rows(rank: int, entries: Sequence[Entry], dump: Dump) -> pl.DataFrame:
    """Turn the entries of one dump into rows.

    Parameters
    ----------
    rank : int
        Whose dump.
    entries : sequence of Entry
        Sound entries.
    dump : Dump
        Groups, and how far each came.

    Returns
    -------
    polars.DataFrame
        Table `FLIGHT`.
    """
    members = _members(entries, dump)
    done = _done(entries, dump)
    names = [entry.profiling_name.split(":")[-1] for entry in entries]
    return FLIGHT.build({
        "rank": pl.Series([rank] * len(entries), dtype=pl.Int32),
        "group": pl.Series([e.group for e in entries], dtype=pl.String),
        "description": pl.Series([e.description for e in entries], dtype=pl.String),
        "members": pl.Series([members[e.group] for e in entries],
                             dtype=pl.List(pl.Int32)),
        "collective": pl.Series([_collective(name) for name in names], dtype=pl.String),
        "name": pl.Series([e.profiling_name for e in entries], dtype=pl.String),
        "sequence": pl.Series([e.number for e in entries], dtype=pl.Int64),
        "is_p2p": pl.Series([e.is_p2p for e in entries], dtype=pl.Boolean),
        "peer": pl.Series([_peer(rank, e.profiling_name, members[e.group])
                           for e in entries], dtype=pl.Int32),
        "created_ns": pl.Series([e.time_created_ns for e in entries], dtype=pl.Int64),
        "started_ns": pl.Series([_time(e.time_discovered_started_ns) for e in entries],
                                dtype=pl.Int64),
        "completed_ns": pl.Series([_time(e.time_discovered_completed_ns) for e in entries],
                                  dtype=pl.Int64),
        "state": pl.Series([e.state for e in entries], dtype=pl.String),
        "is_done": pl.Series(done, dtype=pl.Boolean),
        "size": pl.Series([_size(e) for e in entries], dtype=pl.String),
        "data_type": pl.Series([",".join(dict.fromkeys(e.input_dtypes)) for e in entries],
                               dtype=pl.String),
        "duration_ns": pl.Series([_length(e.duration_ms) for e in entries], dtype=pl.Int64),
        "bytes": pl.Series([_bytes(e) for e in entries], dtype=pl.Int64),
    })  # fmt: skip


def group_rows(rank: int, entries: Sequence[Entry], dump: Dump) -> pl.DataFrame:
    """List the groups of a rank, and how far it says it came in each.

    Parameters
    ----------
    rank : int
        Whose dump.
    entries : sequence of Entry
        Sound entries; they tell which number the rank gave to a group.
    dump : Dump
        Groups, and how far each came.

    Returns
    -------
    polars.DataFrame
        Table `FLIGHT_GROUP`: a row for each group the rank is in, and one for each number whose
        group its entries do not name.
    """
    number = {e.group: str(e.pg_id) for e in entries if e.pg_id >= 0}
    described = {e.group: e.description for e in entries}
    members = _members(entries, dump)
    # A status counts sends and collectives as one; each send notes the last collective before it.
    with_sends = {
        name: max(e.collective_seq_id for e in entries if e.group == name)
        for name in {e.group for e in entries if e.is_p2p}
    }
    rows = []
    for group, ranks in members.items():
        reached = _reached(dump.pg_status.get(number.get(group, ""), {}))
        if group in with_sends:
            reached = with_sends[group], -1
        listed = dump.pg_config.get(group, {})
        text = described.get(group) or str(listed.get("desc", ""))
        rows.append((rank, group, text, ranks, int(number.get(group, -1)), *reached))
    taken = set(number.values())
    rows += [
        (rank, "", "", [], int(key), *_reached(status))
        for key, status in dump.pg_status.items()
        if key not in taken and key.isdecimal() and len(key) < 10
    ]
    return FLIGHT_GROUP.build(pl.DataFrame(rows, FLIGHT_GROUP.schema, orient="row"))


def _collective(name: str) -> str:
    """Name what was asked for; NCCL runs a barrier as an all-reduce, and says so."""
    return "barrier" if name.endswith("barrier") else collective_of(name)


def _members(entries: Sequence[Entry], dump: Dump) -> dict[str, list[int]]:
    """Ranks of each group by name; empty where the dump does not list it."""
    members = {str(g.get("name", key)): _ranks(g) for key, g in dump.pg_config.items()}
    used = dict.fromkeys(entry.group for entry in entries)
    for group in used:
        if group not in members:
            members[group] = members.get("", []) if group in DEFAULT else []
    if "" in members and "" not in used and any(name in members for name in DEFAULT[1:]):
        del members[""]
    return members


def _ranks(group: Mapping[str, Any]) -> list[int]:
    try:
        ranks = msgspec.json.decode(str(group.get("ranks", "[]")), type=list[int])
    except BAD:
        return []
    return ranks if ranks and 0 <= min(ranks) <= max(ranks) < MAX_RANKS else []


def _done(entries: Sequence[Entry], dump: Dump) -> list[bool]:
    """Tell which communications ended.

    What was posted in a batch never says so; the end of the batch does, which is not dumped where only
    open ones are: a batch before the last is then taken to have ended.
    """  # noqa: DOC201
    mixed = {str(e.pg_id) for e in entries if e.is_p2p}
    ended = {
        number: _count(status, "last_completed_collective")
        for number, status in dump.pg_status.items()
        if number not in mixed
    }
    batch = {_key(e): _is_done(e, ended) for e in entries if e.is_batch}
    posted = Counter(_key(e) for e in entries if e.is_p2p and not e.is_batch)
    last: dict[str, int] = {}
    for group, _, number in posted:
        last[group] = max(last.get(group, -1), number)
    return [
        batch.get(_key(e), _is_done(e, ended) or (posted[_key(e)] > 1 and e.number < last[e.group]))
        for e in entries
    ]


def _key(entry: Entry) -> tuple[str, bool, int]:
    return entry.group, entry.is_p2p, entry.number


def _is_done(entry: Entry, ended: Mapping[str, int]) -> bool:
    # gloo never says "completed", it retires; what NCCL retires without having completed timed out
    retires = entry.retired and not entry.profiling_name.startswith("nccl:")
    if entry.state == "completed" or retires:
        return True
    return not entry.is_p2p and entry.number <= ended.get(str(entry.pg_id), -1)


def _reached(status: Mapping[str, Any]) -> tuple[int, int]:
    return _count(status, "last_enqueued_collective"), _count(status, "last_completed_collective")


def _count(status: Mapping[str, Any], key: str) -> int:
    """Read a number of a group's status, which JSON dumps write as text; -1 if it is none."""
    text = str(status.get(key, -1))
    return int(text) if text.lstrip("-").isdecimal() and len(text) <= 18 else -1


def _peer(rank: int, name: str, members: Sequence[int]) -> int:
    """Other end of a send or receive; its name counts ranks within the group."""
    found = PEER.search(name)
    ends = (int(found[1][:9]), int(found[3][:9])) if found else (-1, -1)
    if members and max(ends) < len(members):
        ends = members[ends[0]], members[ends[1]]
    return ends[1] if ends[0] == rank else ends[0] if ends[1] == rank else -1


def _time(value: int | None) -> int:
    return value if value and 0 < value < MAX_TIME_NS else 0


def _length(duration_ms: float | None) -> int:
    """Read a duration in ns; 0 where none was recorded, or none can be meant."""
    return round(duration_ms * 1e6) if duration_ms and 0 < duration_ms < LONGEST_MS else 0


def _bytes(entry: Entry) -> int:
    """Payload of the input; -1 where shapes or types do not tell."""
    sizes, types = entry.input_sizes, entry.input_dtypes
    if not sizes or len(sizes) != len(types) or any(t not in TYPE_BYTES for t in types):
        return -1
    if any(side < 0 for shape in sizes for side in shape):
        return -1
    total = sum(prod(shape) * TYPE_BYTES[t] for shape, t in zip(sizes, types, strict=True))
    return total if total < MAX_TIME_NS else -1


def _size(entry: Entry) -> str:
    """Shapes as the published analyses write them: 2048x5120, input to output where they differ."""
    ends = [",".join("x".join(map(str, shape[:8])) for shape in sizes[:8])
            for sizes in (entry.input_sizes, entry.output_sizes)]  # fmt: skip
    return ends[0] if ends[0] == ends[1] or not ends[1] else f"{ends[0]}->{ends[1]}"
