"""A folder of results: a document and tables that appear complete or not at all."""

import errno
import io
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from loadpath.audit.publication import partial_beside, publish_folder
from loadpath.errors import UsageError, first_line

__all__ = ["check_target", "document_bytes", "is_result", "write_folder", "write_table"]

LONGEST_NAME = 255
"""Bytes of a file name on usual file systems."""


def is_result(folder: Path, kind: str = "audit") -> bool:
    """Tell whether a folder holds a result of this program.

    Parameters
    ----------
    folder : Path
        What a user points at.
    kind : str
        As of `check_target`.

    Returns
    -------
    bool
        By its document; False too where this user may not look: who reads it says why.
    """
    try:
        return (folder / f"{kind}.json").is_file()
    except OSError:
        return False


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """Write a document as JSON: keys sorted, two spaces, no NaN.

    Parameters
    ----------
    document : mapping
        Content of ``audit.json``.

    Returns
    -------
    bytes
        UTF-8, ending in a newline.
    """
    # json indents in Python, msgspec in C; it keeps what numbers look like
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return msgspec.json.format(text.encode(), indent=2) + b"\n"


def write_folder(
    folder: Path, write: Callable[[Path], None], *, force: bool, kind: str = "audit"
) -> None:
    """Write a folder of results; it appears complete or not at all.

    Parameters
    ----------
    folder : Path
        Where to; its parent must exist or be creatable.
    write : callable of Path
        Writes all files into the folder it is given.
    force : bool
        Replace one that is there.
    kind : str
        As of `check_target`.

    Raises
    ------
    UsageError
        If the folder exists and `force` is not set, holds anything else, or cannot be written.
    """
    target = check_target(folder, force=force, kind=kind)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with partial_beside(target) as partial:
            partial.mkdir()
            write(partial)
            publish_folder(partial, target, replaces=force)
    except OSError as error:
        raise UsageError(_not_writable(folder, error)) from error


def check_target(folder: Path, *, force: bool, kind: str = "audit") -> Path:
    """Check that a folder of results can be written, before the work is done.

    Parameters
    ----------
    folder : Path
        Where to; a link stands for what it points at.
    force : bool
        Replace one that is there.
    kind : str
        What is in it, as in the name of its document: ``audit`` for ``audit.json``.

    Returns
    -------
    Path
        The folder itself, without links.

    Raises
    ------
    UsageError
        If the folder exists and `force` is not set, holds anything else, or cannot be
        written.
    """
    try:
        target = Path(os.path.realpath(folder))
        _refuse_other(folder, target, force=force, kind=kind)
        _try_writing(target)
    except (OSError, ValueError) as error:
        raise UsageError(_not_writable(folder, error)) from error
    return target


def write_table(target: Path | io.BytesIO, table: pl.DataFrame) -> None:
    """Write a table: one row group and plain strings, so that the bytes depend on the rows alone.

    Parameters
    ----------
    target : Path or BytesIO
        Parquet file.
    table : polars.DataFrame
        Any.

    Raises
    ------
    OSError
        If the disk refuses, also where Polars calls that an error of its own.
    """
    plain = table.with_columns(pl.col(pl.Categorical).cast(pl.String)).rechunk()
    try:
        plain.write_parquet(
            target, compression="zstd", row_group_size=max(1, plain.height), statistics=False
        )
    except pl.exceptions.ComputeError as error:
        number, reason = _told_by_system(error)
        raise OSError(number, reason, str(target)) from error


def _told_by_system(error: pl.exceptions.ComputeError) -> tuple[int, str]:
    """Give number and words of what the system said, which Polars wraps in words of its own."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    number = int(told[1]) if told else errno.EIO
    return number, os.strerror(number) if told else first_line(error)


def _refuse_other(folder: Path, target: Path, *, force: bool, kind: str) -> None:
    if not os.path.lexists(target):
        return
    held = {path.name for path in target.iterdir()} if target.is_dir() else {"a file"}
    if held and f"{kind}.json" not in held:
        raise UsageError(f"{folder} is there and is no {kind} folder. Give another --out.")
    if held and not force:
        raise UsageError(f"{folder} is there. Give another --out, or --force to replace it.")


def _try_writing(target: Path) -> None:
    """Make and remove an empty folder where the first new one will be."""
    parent = target.parent
    while not os.path.lexists(parent):
        parent = parent.parent
    if str(target) != os.fsencode(target).decode(errors="replace"):
        raise OSError(errno.EILSEQ, "its name is no UTF-8")
    for part in target.relative_to(parent).parts:
        if len(os.fsencode(part)) > LONGEST_NAME:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    trial = parent / f".loadpath-{os.getpid()}-{threading.get_ident()}"
    trial.mkdir()
    trial.rmdir()


def _not_writable(folder: Path, error: OSError | ValueError) -> str:
    reason = getattr(error, "strerror", None) or first_line(error)
    return f"{folder} cannot be written ({reason}). Give another --out."
