"""Files of a recording: complete under their names, or not there."""

import gzip
import os
from contextlib import suppress
from itertools import pairwise
from operator import sub
from pathlib import Path

from loadpath.errors import UsageError

__all__ = ["LineLog", "RowLog", "finish", "make_folder", "publish"]

FLUSH_NS = 500_000_000
"""How long lines may stay in memory."""
COMPRESSION = 1
"""Level of gzip: the job's processors are not ours."""


def make_folder(folder: Path) -> Path:
    """Make a folder for recordings, for this user alone.

    Parameters
    ----------
    folder : Path
        May be there.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    UsageError
        If it cannot be made or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be made ({error.strerror}). Give another folder."
        ) from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{folder} cannot be written. Give another folder.")
    return folder


def publish(raw: Path, target: Path) -> None:
    """Compress a file and give it its name at once; a process killed meanwhile leaves none.

    Parameters
    ----------
    raw : Path
        What was written; removed.
    target : Path
        Where it goes, ending in ``.gz``.
    """
    partial = target.with_name(f".{target.name}.partial")
    try:
        with raw.open("rb") as source, gzip.open(partial, "wb", COMPRESSION) as sink:
            while block := source.read(1 << 20):
                sink.write(block)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
        raw.unlink(missing_ok=True)


class LineLog:
    """A CSV that grows line by line; a killed process leaves all but the last half second.

    Parameters
    ----------
    path : Path
        File; lines are appended to what is there.
    header : str
        First line of a new file.
    """

    def __init__(self, path: Path, header: str) -> None:
        is_new = not path.exists() or path.stat().st_size == 0
        self._file = path.open("ab", buffering=1 << 16)
        self._flushed_ns = 0
        if is_new:
            self._file.write(f"{header}\n".encode())

    def write(self, line: str, now_ns: int) -> None:
        """Add a line, or several.

        Parameters
        ----------
        line : str
            Without its end.
        now_ns : int
            Any clock, in ns.
        """
        self._file.write(f"{line}\n".encode())
        if now_ns - self._flushed_ns > FLUSH_NS:
            self._file.flush()
            self._flushed_ns = now_ns

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


class RowLog:
    """A CSV of what each step adds to sums, made into text at most every half second.

    A killed process leaves all but the steps of the last half second; of steps that take longer all.

    Parameters
    ----------
    path : Path
        File; lines are appended to what is there.
    header : str
        First line of a new file.
    first : str
        First cell of each row.
    n_sum : int
        Sums; they begin at 0.
    """

    __slots__ = ("_before", "_due_ns", "_first", "_log", "_n_sum", "_process", "_rows")

    def __init__(self, path: Path, header: str, first: str, n_sum: int) -> None:
        self._log, self._first, self._n_sum = LineLog(path, header), first, n_sum
        self._rows: list[tuple[int, ...]] = [(0,) * (n_sum + 1)]
        self._due_ns = 0
        self._process = os.getpid()

    def add(self, number: int, sums: list[int], now_ns: int) -> None:
        """Keep a row, and write all that are kept where it is time.

        Parameters
        ----------
        number : int
            Second cell of the row.
        sums : list of int
            Sums so far; what follows the `n_sum` first is not kept.
        now_ns : int
            Any clock, in ns.
        """
        self._rows.append((number, *sums))
        if now_ns > self._due_ns:
            self._due_ns = now_ns + FLUSH_NS
            self._write(now_ns)

    def _write(self, now_ns: int) -> None:
        """Write the rows that are kept; a forked process leaves them to its parent."""
        rows, self._rows = self._rows, self._rows[-1:]
        if len(rows) == 1 or os.getpid() != self._process:
            return
        head, kept = self._first, slice(1, self._n_sum + 1)
        lines = (
            f"{head},{after[0]}," + ",".join(map(str, map(sub, after[kept], before[kept])))
            for before, after in pairwise(rows)
        )
        self._log.write("\n".join(lines), now_ns)

    def close(self) -> None:
        """Write what is left."""
        try:
            self._write(self._due_ns)
        finally:
            self._log.close()


def finish(log: RowLog) -> None:
    """Write what a log still holds where nobody closed it.

    Parameters
    ----------
    log : RowLog
        May be closed.
    """
    with suppress(OSError, ValueError):
        log.close()
