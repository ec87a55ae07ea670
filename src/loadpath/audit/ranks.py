"""Ranks of files, as a user tells them."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from loadpath.decode.table_file import read_cells
from loadpath.errors import InputError, UsageError

__all__ = ["rank_files", "told_ranks"]

REMEDY = "Say FILE=RANK with a whole number, or give a CSV with the columns file,rank."


def told_ranks(given: Iterable[str]) -> dict[str, int]:
    """Read the ranks of files.

    Parameters
    ----------
    given : iterable of str
        ``FILE=RANK``, or the path of a CSV with the columns ``file,rank``; files by name, folders
        before it do not count.

    Returns
    -------
    dict of str to int
        Rank by name of the file.

    Raises
    ------
    UsageError
        If a rank is no whole number, or a file stands twice with different ranks.
    InputError
        If a CSV cannot be read.

    Examples
    --------
    >>> told_ranks(["worker-a.json.gz=0", "traces/worker-b.json.gz=1"])
    {'worker-a.json.gz': 0, 'worker-b.json.gz': 1}
    """
    pairs = [pair for text in given for pair in _pairs(text)]
    problems = [f"rank {rank!r} of {name}" for name, rank in pairs if not rank.isdecimal()]
    ranks: dict[str, int] = {}
    for name, text in pairs:
        rank = int(text[:12]) if text.isdecimal() else -1
        if ranks.setdefault(Path(name).name, rank) != rank:
            problems.append(f"{Path(name).name} has two ranks")
    if problems:
        raise UsageError(f"--ranks: {'; '.join(problems[:6])}. {REMEDY}")
    return ranks


def rank_files(given: Iterable[str]) -> list[Path]:
    """List the files in which a user tells ranks.

    Parameters
    ----------
    given : iterable of str
        As `told_ranks` takes it.

    Returns
    -------
    list of Path
        CSV files; what stands as ``FILE=RANK`` is none.
    """
    return [Path(text) for text in given if "=" not in text]


def _pairs(text: str) -> list[tuple[str, str]]:
    if "=" in text:
        name, _, rank = text.rpartition("=")
        return [(name, rank.strip())]
    path = Path(text)
    table = read_cells(path, REMEDY)
    table = table.rename({name: name.strip().lower() for name in table.columns})
    if not {"file", "rank"} <= set(table.columns):
        raise InputError(path.name, "missing column 'file' or 'rank'", REMEDY)
    filled = table.select(pl.col("file", "rank").fill_null("").str.strip_chars())
    return [(str(name), str(rank)) for name, rank in filled.rows()]
