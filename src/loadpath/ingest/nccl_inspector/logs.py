"""Logs of a job: one file per process, joined to ranks by what the widest communicator says."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import polars as pl

from loadpath.decode import (
    Chunk,
    array_chunks,
    collective_of,
    file_digest,
    first_block,
    read_blocks,
)
from loadpath.errors import InputError
from loadpath.ingest.nccl_inspector.lines import Call, Process, read_lines
from loadpath.tables import (
    COMMUNICATOR,
    FLIGHT,
    LANE,
    OP,
    RANK,
    STEP,
    Recording,
    caveat_table,
)

__all__ = ["is_inspector", "read_inspector"]

MARKS = (b'"inspector_output_format_version"', b'"coll_perf"', b'"p2p_perf"')
BEGINS = re.compile(rb"\s*(\[\s*)?\{")
LONGEST_LINE = 1 << 24
NS_PER_US = 1000
Doubt = tuple[str, str, int]


def is_inspector(path: Path) -> bool:
    """Tell a log of the NCCL Inspector by its first records.

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
    return BEGINS.match(head) is not None and any(mark in head for mark in MARKS)


def read_inspector(paths: Sequence[Path]) -> Recording:
    """Read the logs of a job.

    Parameters
    ----------
    paths : sequence of Path
        Files for which `is_inspector` holds; several of one process are one log.

    Returns
    -------
    Recording
        Source ``nccl_inspector``: no ops, but table `FLIGHT` with every communication logged.

    Raises
    ------
    InputError
        If no file holds a communication.
    """
    calls, doubts = [], []
    for path in sorted(paths):
        found, n_bad, damage = _read(path)
        calls += found
        text = f"{path.name}: lines that are no record of the Inspector, left out"
        doubts.append(("inspector_damaged", text, n_bad))
        doubts.append(("inspector_damaged", f"{path.name}: {damage}", int(bool(damage))))
    if not calls:
        names = ", ".join(path.name for path in paths[:3])
        lost = [text for _, text, n in doubts if n][:3]
        problems = ["no communication is logged", *lost]
        raise InputError(names, problems, "Log with NCCL_INSPECTOR_ENABLE=1.")
    calls, several = _one_rank_each(calls)
    rank, numbered = _ranks(calls)
    members = _members(calls, rank)
    doubts += [
        ("ranks_shared", "communications of processes with several ranks in one: only those of the widest communicator (the one most used) are read", several),
        ("ranks_numbered", "no communicator holds all processes: ranks are numbered by host and process", numbered),
        ("host_timed", "communications timed by the host, not the device", sum(c.is_timed_by_host for c in calls)),
    ]  # fmt: skip
    return Recording(
        source="nccl_inspector",
        op=OP.empty(),
        lane=LANE.empty(),
        communicator=_communicators(calls, members),
        rank=_rank_table(calls, rank, members),
        step=STEP.empty(),
        caveat=caveat_table(doubts),
        inputs=tuple(file_digest(path) for path in sorted(paths)),
        flight=_flights(calls, rank, members),
    )


def _read(path: Path) -> tuple[list[Call], int, str]:
    """Communications of one file, how many lines are damaged, and how the file itself is."""
    found: list[Call] = []
    n_bad, damage = 0, ""
    try:
        is_array = first_block(path).lstrip()[:1] == b"["
        for call in read_lines(_elements(path) if is_array else _records(_lines(path))):
            n_bad += call is None
            if call is not None:
                found.append(call)
    except InputError as error:
        damage = error.problems[0]
    return found, n_bad, damage


def _elements(path: Path) -> Iterator[bytes]:
    """Yield the records of a log that was made one array of JSON."""
    for part in array_chunks(read_blocks(path), "records"):
        if isinstance(part, Chunk):
            yield from part.pieces()
        elif part.damage:
            raise InputError(path.name, part.damage, "Give the log as written.")


def _lines(path: Path) -> Iterator[bytes]:
    rest = b""
    for block in read_blocks(path):
        *whole, rest = (rest + block).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise InputError(path.name, "a line of more than 16 MiB", "Give the log as written.")
        yield from whole
    yield rest


def _records(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join the lines of records that were laid out with indents; the others are lines already."""
    held: list[bytes] = []
    for line in lines:
        if held or line.rstrip() == b"{":
            held.append(line)
        else:
            yield line
        if held and line.rstrip() == b"}":
            yield b"".join(held)
            held = []
    if held:
        yield b"".join(held)


def _one_rank_each(calls: list[Call]) -> tuple[list[Call], int]:
    """Where a process drives several ranks, keep the widest communicator: it alone tells them apart."""
    ranks = {(c.process, c.communicator, c.rank) for c in calls}
    held = Counter((process, communicator) for process, communicator, _ in ranks)
    if max(held.values()) == 1:
        return calls, 0
    used = Counter((c.n_ranks, c.communicator) for c in calls)
    widest = max(used, key=lambda which: (which[0], used[which], which[1]))[1]
    kept = [
        c._replace(process=Process(c.process.host, c.rank))
        for c in calls
        if c.communicator == widest
    ]
    return kept, len(calls) - len(kept)


def _ranks(calls: Sequence[Call]) -> tuple[dict[Process, int], int]:
    """Rank of each process in the communicator that holds all; else its place, and how many."""
    processes = sorted({c.process for c in calls})
    for _, told in groupby(sorted(calls, key=_by_width), key=lambda c: c.communicator):
        rank = {c.process: c.rank for c in told}
        if len(rank) == len(processes) and len(set(rank.values())) == len(rank):
            return rank, 0
    return {process: i for i, process in enumerate(processes)}, len(processes)


def _by_width(call: Call) -> tuple[int, str]:
    return -call.n_ranks, call.communicator


def _members(calls: Sequence[Call], rank: Mapping[Process, int]) -> dict[str, dict[int, int]]:
    """Ranks of the job by their rank in each communicator."""
    members: dict[str, dict[int, int]] = {}
    for call in calls:
        members.setdefault(call.communicator, {})[call.rank] = rank[call.process]
    return members


def _communicators(calls: Sequence[Call], members: Mapping[str, Mapping[int, int]]) -> pl.DataFrame:
    size = {c.communicator: c.n_ranks for c in calls}
    named = {c.communicator: c.description for c in calls}
    names = sorted(members, key=lambda name: (-size[name], sorted(members[name].values()), name))
    return COMMUNICATOR.build({
        "communicator": pl.Series(range(len(names)), dtype=pl.Int32),
        "name": names,
        "n_members": pl.Series([size[n] for n in names], dtype=pl.Int32),
        "members": pl.Series([_listed(members[n], size[n]) for n in names], dtype=pl.List(pl.Int32)),
        "backend": ["nccl"] * len(names),
        "description": [named[n] for n in names],
    })  # fmt: skip


def _listed(of: Mapping[int, int], size: int) -> list[int]:
    """Ranks of a communicator in its own order; empty if some of them logged nothing."""
    return [of[i] for i in range(size)] if len(of) == size else []


def _rank_table(
    calls: Sequence[Call],
    rank: Mapping[Process, int],
    members: Mapping[str, Mapping[int, int]],
) -> pl.DataFrame:
    host = {number: process.host for process, number in rank.items()}
    widest = max(calls, key=lambda c: c.n_ranks)
    # a rank that logged nothing is missing, if the numbers are those of the widest communicator
    same = all(local == number for local, number in members[widest.communicator].items())
    known = sorted(set(host) | set(range(widest.n_ranks))) if same else sorted(host)
    return RANK.build({
        "rank": pl.Series(known, dtype=pl.Int32),
        "host": [host.get(number, "") for number in known],
    })  # fmt: skip


def _flights(
    calls: Sequence[Call],
    rank: Mapping[Process, int],
    members: Mapping[str, Mapping[int, int]],
) -> pl.DataFrame:
    peers = [members[c.communicator].get(c.peer, -1) for c in calls]
    listed = {name: [of[i] for i in sorted(of)] for name, of in members.items()}
    times: dict[str, list[float]] = {
        "created_ns": [c.start_us or c.written_us for c in calls],
        "started_ns": [c.start_us for c in calls],
        "completed_ns": [c.end_us or c.written_us for c in calls],
        "duration_ns": [c.took_us for c in calls],
    }
    return FLIGHT.build({
        "rank": pl.Series([rank[c.process] for c in calls], dtype=pl.Int32),
        "group": [c.communicator for c in calls],
        "members": pl.Series([listed[c.communicator] for c in calls], dtype=pl.List(pl.Int32)),
        "collective": [collective_of(c.name) for c in calls],
        "sequence": pl.Series([c.number for c in calls], dtype=pl.Int64),
        "is_p2p": [c.name.lower() in {"send", "recv"} for c in calls],
        "state": ["completed"] * len(calls),
        "description": [c.description for c in calls],
        "name": [f"nccl:{c.name}" for c in calls],
        "peer": pl.Series(peers, dtype=pl.Int32),
        "is_done": [True] * len(calls),
        "size": [f"{c.bytes} B" if c.bytes >= 0 else "" for c in calls],
        "data_type": [""] * len(calls),
        "bytes": pl.Series([c.bytes for c in calls], dtype=pl.Int64),
        **{
            name: pl.Series([round(time * NS_PER_US) for time in told], dtype=pl.Int64)
            for name, told in times.items()
        },
    })  # fmt: skip
