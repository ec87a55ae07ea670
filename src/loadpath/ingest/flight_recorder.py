"""Flight-recorder dumps: every communication of a rank, with its group and number in it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from loadpath.decode import Chunk, Envelope, array_chunks, collective_of, file_digest, read_blocks
from loadpath.errors import InputError
from loadpath.tables import FLIGHT, caveat_table

__all__ = ["Flights", "flight_rows", "is_flight_recorder", "read_flight_recorders"]

RANK_IN_NAME = re.compile(r"(?:rank[-_]?|_)(\d{1,6})(?=\D*$)", re.IGNORECASE)
BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
MAX_TIME_NS = 1 << 62
MAX_RANKS = 1 << 20


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """One communication as dumped."""

    profiling_name: str
    process_group: tuple[str, str]
    collective_seq_id: int
    time_created_ns: int
    p2p_seq_id: int = 0
    is_p2p: bool = False
    state: str = ""


class _Head(msgspec.Struct, frozen=True):
    """Keys around the entries."""

    pg_config: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Flights:
    """What the dumps of a job hold.

    Attributes
    ----------
    flight, caveat : polars.DataFrame
        Tables `FLIGHT` and `CAVEAT`.
    inputs : tuple of (str, str, int)
        Name, SHA-256 and bytes of every file read.
    """

    flight: pl.DataFrame
    caveat: pl.DataFrame
    inputs: tuple[tuple[str, str, int], ...]


def is_flight_recorder(path: Path) -> bool:
    """Tell a JSON dump of a flight recorder by its first keys.

    Parameters
    ----------
    path : Path
        File, gzipped or not.

    Returns
    -------
    bool
        False too for a file that cannot be read: another reader says why.
    """
    try:
        head = next(read_blocks(path), b"")
    except InputError:
        return False
    known = b'"collective_seq_id"' in head or b'"pg_status"' in head
    return b'"entries"' in head and known and b'"traceEvents"' not in head


def read_flight_recorders(paths: Sequence[Path]) -> Flights:
    """Read the JSON dumps of a job, one file per rank.

    Parameters
    ----------
    paths : sequence of Path
        Files for which `is_flight_recorder` holds; the rank is in the name.

    Returns
    -------
    Flights
        All entries that could be read; what could not is a caveat, for dumps only add to traces.
    """
    frames, doubts, inputs = [FLIGHT.empty()], [], []
    seen: set[int] = set()
    for path in sorted(paths):
        rank = _rank(path)
        if rank < 0 or rank in seen:
            why = "its name holds no rank" if rank < 0 else f"rank {rank} has another one"
            doubts.append(("flight_recorder_unused", f"{path.name}: left out, {why}", 1))
            continue
        seen.add(rank)
        entries, head, problems = _read(path)
        frames.append(flight_rows(rank, entries, head))
        inputs.append(file_digest(path))
        doubts += problems
    return Flights(pl.concat(frames), caveat_table(doubts), tuple(inputs))


def flight_rows(
    rank: int, entries: Sequence[Any], groups: dict[str, dict[str, Any]]
) -> pl.DataFrame:
    """Turn the entries of one dump into rows; whatever it was decoded from.

    Parameters
    ----------
    rank : int
        Whose dump.
    entries : sequence
        Entries with the fields that PyTorch writes, as attributes.
    groups : dict of str to dict
        ``pg_config``: process groups by number, with ``name`` and ``ranks``.

    Returns
    -------
    polars.DataFrame
        Table `FLIGHT`.
    """
    members = {str(group.get("name", key)): _ranks(group) for key, group in groups.items()}
    return FLIGHT.build(
        {
            "rank": pl.Series([rank] * len(entries), dtype=pl.Int32),
            "group": pl.Series([entry.process_group[0] for entry in entries], dtype=pl.String),
            "members": pl.Series(
                [members.get(entry.process_group[0], []) for entry in entries],
                dtype=pl.List(pl.Int32),
            ),
            "collective": pl.Series(
                [collective_of(e.profiling_name.split(":")[-1]) for e in entries], dtype=pl.String
            ),
            "sequence": pl.Series(
                [e.p2p_seq_id if e.is_p2p else e.collective_seq_id for e in entries], dtype=pl.Int64
            ),
            "is_p2p": pl.Series([entry.is_p2p for entry in entries], dtype=pl.Boolean),
            "created_ns": pl.Series([entry.time_created_ns for entry in entries], dtype=pl.Int64),
            "state": pl.Series([entry.state for entry in entries], dtype=pl.String),
        }
    )


def _read(path: Path) -> tuple[list[_Entry], dict[str, dict[str, Any]], list[tuple[str, str, int]]]:
    decoder = msgspec.json.Decoder(list[_Entry])
    entries: list[_Entry] = []
    envelope = Envelope(found=False, text=b"")
    n_bad = 0
    for part in array_chunks(read_blocks(path), "entries"):
        if isinstance(part, Envelope):
            envelope = part
            continue
        for found in _decoded(decoder, part):
            entries += found
            n_bad += not found
    sound = [
        e
        for e in entries
        if 0 < e.time_created_ns < MAX_TIME_NS and abs(e.collective_seq_id) < MAX_TIME_NS
    ]
    text = f"{path.name}: entries that are not what PyTorch writes, left out"
    doubts = [("flight_recorder_damaged", text, n_bad + len(entries) - len(sound))]
    if envelope.damage:
        doubts.append(("flight_recorder_damaged", f"{path.name}: {envelope.damage}", 1))
    try:
        head = msgspec.json.decode(envelope.text, type=_Head).pg_config
    except BAD:
        head = {}
    return sound, head, doubts


def _decoded(decoder: Any, chunk: Chunk) -> Iterator[list[_Entry]]:
    """Entries of a chunk, one by one: an empty list for a bad one."""
    for row in range(chunk.border.shape[0]):
        try:
            yield decoder.decode(b"[" + chunk.piece(row) + b"]")
        except BAD:
            yield []


def _rank(path: Path) -> int:
    found = RANK_IN_NAME.search(path.name.removesuffix(".gz").removesuffix(".json"))
    return int(found[1]) if found else -1


def _ranks(group: dict[str, Any]) -> list[int]:
    try:
        ranks = msgspec.json.decode(str(group.get("ranks", "[]")), type=list[int])
    except BAD:
        return []
    return ranks if ranks and 0 <= min(ranks) <= max(ranks) < MAX_RANKS else []
