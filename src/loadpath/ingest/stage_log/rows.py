"""Rows of one stage log as text: from CSV or JSON lines, whole lines only."""

from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from loadpath.decode.blocks import first_block, read_blocks
from loadpath.decode.table_file import short_lines
from loadpath.errors import InputError, first_line

__all__ = ["HEAD_BYTES", "JSON_LINES", "read_head", "read_rows"]

Doubt = tuple[str, str, int]
JSON_LINES = {".jsonl", ".ndjson"}
HEAD_BYTES = 1 << 16
"""A line longer than this is none of a stage log."""
MOST_UNPACKED = 1 << 28
"""Bytes of a packed log: two million rows; a plain one may be of any size."""
NESTED = ("stages", "durations")
REMEDY = "See docs/formats/stage_log.md for the forms of a stage log."


def read_head(path: Path) -> dict[str, Any]:
    """Read the first line of a file that may be a stage log.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    dict
        Names of its columns, with the first values where they stand in the same line; empty where
        it is no table.
    """
    suffix = _suffix(path)
    if suffix not in {".csv", *JSON_LINES} or not path.is_file():
        return {}
    try:
        lines = first_block(path)[:HEAD_BYTES].decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return {}
    first = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    if suffix == ".csv":
        return dict.fromkeys(name.strip().strip('"').lower() for name in first.split(","))
    return _flat(_decoded(first.encode()) or {})


def _suffix(path: Path) -> str:
    """Take the ending of the name, whether packed or not."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def read_rows(path: Path) -> tuple[pl.DataFrame, list[Doubt]]:
    """Read all whole lines of a stage log.

    Parameters
    ----------
    path : Path
        CSV, or JSON lines.

    Returns
    -------
    rows : polars.DataFrame
        All columns as text, names in lower case.
    doubts : list of (str, str, int)
        What was left out.

    Raises
    ------
    InputError
        If the file cannot be read, or a line has 64 KiB and more.
    """
    try:
        raw, damage = _content(path)
        text = raw.removeprefix(b"\xef\xbb\xbf")
        whole, _, rest = text.rpartition(b"\n")
        lines = [s for s in whole.splitlines() if s.strip() and not s.startswith(b"#")]
        if any(len(line) >= HEAD_BYTES for line in lines):
            raise InputError(path.name, f"a line of {HEAD_BYTES >> 10} KiB and more", REMEDY)
        n_bad = 0
        if _suffix(path) in JSON_LINES:
            rows, n_bad = _json_rows(lines)
        else:
            rows = _csv_rows(lines)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(path.name, f"cannot be read ({first_line(error)})", REMEDY) from error
    cut = f"{path.name}: the last line has no end and is left out: it may have been cut"
    unread = f"{path.name}: lines that are no object of JSON are left out"
    return rows, [
        ("cut_line", cut, int(bool(rest.strip()))),
        ("cut_line", f"{path.name}: {damage}; what came before is kept", int(bool(damage))),
        ("unreadable_row", unread, n_bad),
    ]


def _content(path: Path) -> tuple[bytes, str]:
    """Content of a file, unpacked as far as it is sound, and what broke it off."""
    blocks: list[bytes] = []
    room = max(MOST_UNPACKED, path.stat().st_size)
    try:
        for block in short_lines(read_blocks(path), path.name):
            blocks.append(block)
            room -= len(block)
            if room < 0:
                return b"".join(blocks), f"more than {MOST_UNPACKED >> 20} MiB unpacked"
    except InputError as error:
        if not blocks:
            raise
        return b"".join(blocks), error.problems[0]
    return b"".join(blocks), ""


def _csv_rows(lines: list[bytes]) -> pl.DataFrame:
    """Columns as text; a header that stands again, where a job began anew, is no row."""
    if not lines:
        return pl.DataFrame()
    head, body = lines[0], [line for line in lines[1:] if line != lines[0]]
    table = pl.read_csv(
        b"\n".join([head, *body]) + b"\n",
        infer_schema=False,
        truncate_ragged_lines=True,
        encoding="utf8-lossy",
    )
    return table.rename({name: name.strip().lower() for name in table.columns})


def _json_rows(lines: list[bytes]) -> tuple[pl.DataFrame, int]:
    """Columns as text; a line that is no object is counted."""
    found = [_decoded(line) for line in lines]
    kept = [_flat(row) for row in found if row is not None]
    names = list(dict.fromkeys(name for row in kept for name in row))
    columns = {name: [_text(row.get(name)) for row in kept] for name in names}
    table = pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String))
    return table, len(found) - len(kept)


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Put the stages that an object of their own holds beside the other columns."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        name, _, unit = key.lower().partition("_")
        if isinstance(value, dict) and name in NESTED:
            ending = f"_{unit}" if unit else ""
            flat |= {f"{stage.lower()}{ending}": held for stage, held in value.items()}
        else:
            flat[key.lower()] = value
    return flat


def _text(value: Any) -> str | None:
    return None if value is None or isinstance(value, (dict, list)) else str(value)
