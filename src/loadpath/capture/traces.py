"""Traces that processes write for an agent: waited for, looked into, and named by rank."""

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from mmap import ACCESS_READ, mmap
from pathlib import Path

from loadpath.capture.files import publish
from loadpath.errors import UsageError

__all__ = ["collect_traces", "holds_events"]

LOOK_S = 0.2
"""Time between two looks at a file that grows."""
EVENT = re.compile(rb'"ph"\s*:\s*"X"(?!\s*,\s*"cat"\s*:\s*"(?:Trace|Overhead)")')
"""A span of the job; those of the profiler itself tell nothing."""
UNWRITTEN = (
    'no whole trace of processes {who}: see what their stderr says of Kineto ("insufficient time for '
    'warmup": give a longer --delay), and wait longer (--patience)'
)
EMPTY = (
    "nothing happened on processes {who} in the window: they do not train yet, or stand still. Capture "
    "again once steps are made, for at least two of them (--duration); of a job that stands still give "
    "loadpath audit the dumps of its flight recorder"
)


def collect_traces(
    raw_folder: Path, folder: Path, ranks: Mapping[int, int], until_s: float
) -> None:
    """Wait for each trace to be complete, and give it the name of its rank.

    Parameters
    ----------
    raw_folder : Path
        Where processes write ``trace_PID.json``.
    folder : Path
        Gets ``rankN.json.gz`` of each that recorded anything; removed where none did.
    ranks : mapping of int to int
        Rank of each process.
    until_s : float
        When to stop waiting, in s of the epoch.

    Raises
    ------
    UsageError
        If processes wrote no whole trace, or one without events; the others' are kept.
    """
    missing, empty = dict(ranks), {}
    sizes: dict[int, int] = {}
    while missing and time.time() < until_s:
        for pid, rank in list(missing.items()):
            raw = raw_folder / f"trace_{pid}.json"
            size = raw.stat().st_size if raw.is_file() else 0
            if size and size == sizes.get(pid) and _is_whole(raw):
                if holds_events(raw):
                    publish(raw, folder / f"rank{rank}.json.gz")
                else:
                    empty[pid] = rank
                del missing[pid]
            sizes[pid] = size
        time.sleep(LOOK_S)
    _complain(folder, missing, empty, len(ranks))


def _complain(folder: Path, missing: Mapping[int, int], empty: Mapping[int, int], n: int) -> None:
    """Name the processes of which there is no trace, if any."""
    with suppress(OSError):
        folder.rmdir()  # which only an empty one allows
    problems = [
        text.format(who=", ".join(f"{pid} (rank {rank})" for pid, rank in of.items()))
        for text, of in ((UNWRITTEN, missing), (EMPTY, empty))
        if of
    ]
    if problems:
        n_kept = n - len(missing) - len(empty)
        rest = f" The traces of the other {n_kept} are there." if n_kept else ""
        raise UsageError(f"{folder}: {'; '.join(problems)}.{rest}")


def holds_events(raw: Path) -> bool:
    """Say whether a trace holds anything that its process did.

    Parameters
    ----------
    raw : Path
        Trace as Kineto writes it.

    Returns
    -------
    bool
        False for one of names and marks of the profiler alone.
    """
    with raw.open("rb") as stream, mmap(stream.fileno(), 0, access=ACCESS_READ) as mapped:
        return EVENT.search(mapped) is not None


def _is_whole(raw: Path) -> bool:
    """Whether a trace ends as JSON ends; a file under way may pause."""
    with raw.open("rb") as stream:
        stream.seek(max(0, raw.stat().st_size - 16))
        return stream.read().rstrip().endswith(b"}")
