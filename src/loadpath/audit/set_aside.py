"""Files that are named as records and can be none: set aside, and said."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import polars as pl

from loadpath.audit.recognition import is_other_record, is_record
from loadpath.decode.foreign import Foreign, foreign_content
from loadpath.errors import InputError
from loadpath.tables import caveat_table

__all__ = ["Aside", "aside_caveats", "find_aside", "named_alike", "refuse_aside"]

PACKED = (".gz", ".zst", ".xz", ".bz2", ".lz4", ".zip")
RECORDS = {
    ".json", ".et", ".parquet", ".csv", ".jsonl", ".ndjson", ".sqlite", ".sqlite3", ".db", ".goal",
    ".otf2", ".lpz", ".nsys-rep", ".qdrep",
}  # fmt: skip
"""Names of records; what else lies in a folder is nobody's concern."""
ARCHIVES = {".zip", ".tar", ".tgz", ".7z"}
DUMP = re.compile(r"_dump_\d{1,6}|(nccl|comm_lib|fr)_(trace_)?rank_?\d{1,6}", re.IGNORECASE)
"""How PyTorch's watchdog and its users name dumps."""
NO_DUMP = Foreign(
    "is named as a dump of a flight recorder, but does not begin as one (a pickle, or JSON)",
    "Copy it again from its host; the dumps of other ranks can be audited without it.",
)
BARE = {"", ".pkl", ".pickle"}
"""Names of dumps have no suffix, or that of a pickle; JSON may be anything."""
PLACES = ("hosts", "ranks")


class Aside(NamedTuple):
    """A file that cannot be read, and why."""

    path: Path
    foreign: Foreign


def find_aside(files: Iterable[Path], given: Sequence[Path]) -> list[Aside]:
    """Find files that can be no records although they are named so, or given by name.

    Parameters
    ----------
    files : iterable of Path
        All files of the sources.
    given : sequence of Path
        What the user named.

    Returns
    -------
    list of Aside
        In the order of the files.
    """
    files = list(files)
    found = {}
    for path in files:
        if (path in given or _is_meant(path)) and (told := foreign_content(path)):
            found[path] = Aside(path, told)
    damaged = _no_dumps([path for path in files if path not in found])
    found |= {path: Aside(path, NO_DUMP) for path in damaged}
    return [found[path] for path in files if path in found]


def _is_meant(path: Path) -> bool:
    name, suffix = _unpacked(path.name).lower(), path.suffix.lower()
    if name.startswith(PLACES) and name.endswith(".csv"):
        return False
    meant = Path(name).suffix in RECORDS or suffix in ARCHIVES or Path(name).suffix in ARCHIVES
    return meant or bool(DUMP.fullmatch(name))


def _unpacked(name: str) -> str:
    for suffix in PACKED:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _no_dumps(files: Sequence[Path]) -> list[Path]:
    """Files that are named as dumps, by custom or as the dumps beside them, and are no record."""
    bare = [path for path in files if path.suffix.lower() in BARE or DUMP.fullmatch(path.stem)]
    dumps = [path for path in bare if is_record(path, "dump")]
    patterns = {_pattern(path) for path in dumps}
    named = [
        path
        for path in bare
        if path not in dumps and (_pattern(path) in patterns or DUMP.fullmatch(path.stem))
    ]
    return [path for path in named if not is_other_record(path)]


def _pattern(path: Path) -> tuple[Path, str]:
    """Name without its numbers: records of a job are alike but for those."""
    return path.parent, re.sub(r"\d+", "#", _unpacked(path.name))


def refuse_aside(found: Sequence[Aside]) -> NoReturn:
    """Say that nothing but such files is there.

    Parameters
    ----------
    found : sequence of Aside
        One or more.

    Raises
    ------
    InputError
        Always: each kind of fault with its files.
    """
    first = found[0]
    if len(found) == 1:
        raise InputError(str(first.path), *first.foreign)
    more = [f"{len(found) - 4} more files are no records either"] if len(found) > 4 else []
    problems = [f"{one.path.name} {one.foreign.what}" for one in found[:4]] + more
    remedies = dict.fromkeys(one.foreign.remedy for one in found[:4])
    raise InputError(str(first.path.parent), problems, " ".join(remedies))


def named_alike(found: Sequence[Aside], records: Iterable[Path]) -> list[Aside]:
    """Find the files that are named as records are but for their numbers.

    Parameters
    ----------
    found : sequence of Aside
        Files that cannot be read.
    records : iterable of Path
        Records beside them.

    Returns
    -------
    list of Aside
        Each should be the record of a rank.
    """
    patterns = {_pattern(path) for path in records}
    return [one for one in found if _pattern(one.path) in patterns]


def aside_caveats(found: Sequence[Aside], records: Iterable[Path]) -> pl.DataFrame:
    """Say which files beside the records were left out, and which of them a rank's record should be.

    Parameters
    ----------
    found : sequence of Aside
        Files that cannot be read.
    records : iterable of Path
        The others.

    Returns
    -------
    polars.DataFrame
        Table `CAVEAT`: ``lost_records`` of files named as others are but for their numbers,
        ``unusable_files`` of the rest.
    """
    lost = named_alike(found, records)
    rest = [one for one in found if one not in lost]
    return caveat_table([
        ("lost_records", f"files named as the records beside them are of no use: {_listed(lost)}", len(lost)),
        ("unusable_files", f"files beside the records are of no use: {_listed(rest)}", len(rest)),
    ])  # fmt: skip


def _listed(found: Sequence[Aside]) -> str:
    told = [
        f"{one.path.name} {one.foreign.what} ({one.foreign.remedy.rstrip('.')})"
        for one in found[:3]
    ]
    return "; ".join(told) + ("; ..." if len(found) > 3 else "")
