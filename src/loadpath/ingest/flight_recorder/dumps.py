"""Dumps of a job, one file per rank: JSON or a pickle of plain values, gzipped or not."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from loadpath.decode import Chunk, Envelope, array_chunks, file_digest, first_block, read_blocks
from loadpath.decode.plain_pickle import MOST_BYTES, is_pickle, load_plain
from loadpath.errors import InputError
from loadpath.ingest.flight_recorder.entries import BAD, Dump, Entry, flight_rows, group_rows
from loadpath.tables import FLIGHT, FLIGHT_GROUP, caveat_table

__all__ = ["Flights", "is_flight_recorder", "rank_of_dump", "read_flight_recorders"]

RANKS_IN_NAME = (
    re.compile(r"rank[-_.]?(\d{1,6})(?!\d)", re.IGNORECASE),
    re.compile(r"_(\d{1,6})(?=\D*$)"),
    re.compile(r"(?<!\d)(\d{1,6})$"),
)
"""A rank is named as one, comes after the last underscore, or ends the name: the first that is there."""
SUFFIXES = (".gz", ".json", ".pkl", ".pickle")
KNOWN_VERSION = "2."
MOST_ENTRIES = 1 << 18
"""A ring holds thousands (TORCH_FR_BUFFER_SIZE)."""
KEYS = (b"pg_config", b"pg_status", b"collective_seq_id", b"nccl_version", b"comm_lib_version",
        b"time_discovered_completed_ns")  # fmt: skip
"""Two of them, or one and entries, are in every dump."""
NAMELESS = "its name holds no rank (--ranks FILE=RANK says it)"
DAMAGED = "flight_recorder_damaged"
Doubt = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Flights:
    """What the dumps of a job hold.

    Attributes
    ----------
    flight, group, caveat : polars.DataFrame
        Tables `FLIGHT`, `FLIGHT_GROUP` and `CAVEAT`.
    ranks : tuple of int
        Ranks whose dump was read, with entries or without.
    inputs : tuple of (str, str, int)
        Name, SHA-256 and bytes of every file read.
    unreadable : tuple of int
        Ranks that left a dump of which too little can be read: how far they came is not known.
    written_ns : mapping of int to int
        When the file of each rank was last written, ns of the epoch: not before its dump was made, and
        later where it was copied.
    """

    flight: pl.DataFrame
    group: pl.DataFrame
    caveat: pl.DataFrame
    ranks: tuple[int, ...]
    inputs: tuple[tuple[str, str, int], ...]
    unreadable: tuple[int, ...] = ()
    written_ns: Mapping[int, int] = field(default_factory=dict)


def is_flight_recorder(path: Path) -> bool:
    """Tell a dump of a flight recorder by its first keys.

    Parameters
    ----------
    path : Path
        File, gzipped or not.

    Returns
    -------
    bool
        False too for a file that cannot be read: another reader says why.
    """
    head = first_block(path)
    if is_pickle(head):
        return any(key in head for key in KEYS)
    quoted = sum(b'"' + key + b'"' in head for key in (b"entries", *KEYS))
    return quoted > 1 and b'"traceEvents"' not in head


def rank_of_dump(path: Path) -> int:
    """Read the rank off the name of a dump.

    Parameters
    ----------
    path : Path
        Such as ``_dump_12`` or ``fr_rank12.json.gz``.

    Returns
    -------
    int
        -1 where the name holds none.

    Examples
    --------
    >>> (
    ...     rank_of_dump(Path("_dump_12")),
    ...     rank_of_dump(Path("fr_rank3.json.gz")),
    ...     rank_of_dump(Path("a")),
    ... )
    (12, 3, -1)
    """
    name = path.name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    found = [match for pattern in RANKS_IN_NAME for match in pattern.findall(name)[-1:]]
    return int(found[0]) if found else -1


def read_flight_recorders(
    paths: Sequence[Path], ranks: Mapping[str, int] | None = None, *, lost: Iterable[Path] = ()
) -> Flights:
    """Read the dumps of a job, one file per rank.

    Parameters
    ----------
    paths : sequence of Path
        Files for which `is_flight_recorder` holds.
    ranks : mapping of str to int, optional
        Rank by name of a file; those of other files are in their names.
    lost : iterable of Path
        Files that are named as dumps and cannot be read.

    Returns
    -------
    Flights
        All entries that could be read; what could not is a caveat.

    Raises
    ------
    InputError
        If no dump could be read at all.
    """
    frames, groups, doubts, inputs = [FLIGHT.empty()], [FLIGHT_GROUP.empty()], [], []
    unreadable = {(ranks or {}).get(path.name, rank_of_dump(path)) for path in lost}
    written: dict[int, int] = {}
    for path in sorted(paths):
        rank = (ranks or {}).get(path.name, rank_of_dump(path))
        if rank < 0 or rank in written:
            why = NAMELESS if rank < 0 else f"rank {rank} has another one"
            doubts.append(("flight_recorder_unused", f"{path.name}: left out, {why}", 1))
            continue
        try:
            entries, dump, problems = _read(path)
        except InputError as error:
            doubts.append((DAMAGED, f"{path.name}: {error.problems[0]}", 1))
            unreadable.add(rank)
            continue
        written[rank] = path.stat().st_mtime_ns
        # a status says how far a rank came, whatever entries are lost
        if not dump.pg_status and any(n for code, _, n in problems if code == DAMAGED):
            unreadable.add(rank)
        frames.append(flight_rows(rank, entries, dump))
        groups.append(group_rows(rank, entries, dump))
        inputs.append(file_digest(path))
        doubts += problems
    if not written:
        texts = [doubt[1] for doubt in doubts]
        raise InputError(
            "dumps", texts[:6] or "none was given", "Give what PyTorch's flight recorder wrote."
        )
    flight, group = _told_apart(pl.concat(frames), pl.concat(groups))
    return Flights(
        flight,
        group,
        caveat_table(doubts),
        tuple(sorted(written)),
        tuple(inputs),
        tuple(sorted(unreadable - {-1})),
        written,
    )


def _told_apart(flight: pl.DataFrame, group: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Name groups of one name by their first rank too, where ranks list different members.

    Groups that are split off another have the number of splits as their name, on all ranks alike.
    """  # noqa: DOC201
    listed = group.filter(pl.col("members").list.len() > 0)
    own = listed.select("group", pl.col("members").list.sort()).unique()
    several = own.filter(pl.len().over("group") > 1).explode("members")
    met = several.filter(pl.struct("group", "members").is_duplicated())["group"]
    shared = several.filter(~pl.col("group").is_in(met.unique().implode()))["group"].unique()
    if not shared.len():
        return flight, group
    first = pl.col("members").list.min()
    split = pl.col("group").is_in(shared.implode()) & first.is_not_null()
    name = pl.when(split).then(pl.format("{}@{}", "group", first)).otherwise("group")
    return flight.with_columns(group=name), group.with_columns(group=name)


def _read(path: Path) -> tuple[list[Entry], Dump, list[Doubt]]:
    """Sound entries of one dump, what stands beside them, and what was left out."""
    head = next(read_blocks(path), b"")
    entries, n_bad, dump, damage = _unpickled(path) if is_pickle(head) else _parsed(path)
    sound = [entry for entry in entries if entry.is_sound()]
    text = f"{path.name}: entries that are not what PyTorch writes, left out"
    doubts = [(DAMAGED, text, n_bad + len(entries) - len(sound))]
    if damage:
        doubts.append((DAMAGED, f"{path.name}: {damage}", 1))
    if dump.version and not dump.version.startswith(KNOWN_VERSION):
        text = f"{path.name}: format version {dump.version}; read as 2.x"
        doubts.append(("flight_recorder_version", text, 1))
    return sound, dump, doubts


def _parsed(path: Path) -> tuple[list[Entry], int, Dump, str]:
    decoder = msgspec.json.Decoder(list[Entry], strict=False)
    entries: list[Entry] = []
    envelope = Envelope(found=False, text=b"")
    n_bad = 0
    for part in array_chunks(read_blocks(path), "entries"):
        if isinstance(part, Envelope):
            envelope = part
            continue
        for found in _decoded(decoder, part):
            entries += found
            n_bad += not found
        _check_number(path, len(entries) + n_bad)
    try:
        dump = msgspec.json.decode(envelope.text, type=Dump)
    except BAD:
        dump = Dump()
    return entries, n_bad, dump, envelope.damage


def _unpickled(path: Path) -> tuple[list[Entry], int, Dump, str]:
    data, size = [], 0
    for block in read_blocks(path):
        data.append(block)
        size += len(block)
        if size > MOST_BYTES:
            break
    value = load_plain(b"".join(data), path.name)
    if not isinstance(value, dict):
        raise InputError(path.name, "a pickle without entries", "Give the dump of a rank.")
    damage = ""
    try:
        dump = msgspec.convert(_texts({k: value[k] for k in _BESIDE if k in value}), Dump)
    except BAD:
        dump, damage = Dump(), "what it says of its groups is not what PyTorch writes"
    raw = value.get("entries", [])
    raw = raw if isinstance(raw, (list, tuple)) else [raw]
    _check_number(path, len(raw))
    entries = [found for item in raw for found in _converted(item)]
    return entries, len(raw) - len(entries), dump, damage


def _check_number(path: Path, n: int) -> None:
    if n > MOST_ENTRIES:
        what = f"over {MOST_ENTRIES:,} entries, more than a flight recorder keeps"
        raise InputError(path.name, what, "Give the dump of one rank as PyTorch wrote it.")


_BESIDE = ("pg_config", "pg_status", "version")


def _texts(value: Any) -> Any:
    """Keys as text, for numbers are keys in some versions."""
    if isinstance(value, dict):
        return {str(key): _texts(part) for key, part in value.items()}
    return value


def _converted(item: Any) -> list[Entry]:
    try:
        return [msgspec.convert(item, Entry, strict=False)]
    except BAD:
        return []


def _decoded(decoder: Any, chunk: Chunk) -> Iterator[list[Entry]]:
    """Entries of a chunk, one by one: an empty list for a bad one."""
    for row in range(chunk.border.shape[0]):
        try:
            yield decoder.decode(b"[" + chunk.piece(row) + b"]")
        except BAD:
            yield []
