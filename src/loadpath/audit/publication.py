"""Publication: what is written has its name at once or not at all, also where the writer is killed."""

import ctypes
import errno
import glob
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["partial_beside", "publish_file", "publish_folder"]

STALE_S = 3600
"""What was begun this long before is of a process that was killed."""
AT_CWD, EXCHANGE = -100, 2
"""Of Linux's `renameat2`."""


@contextmanager
def partial_beside(target: Path) -> Iterator[Path]:
    """Give a hidden name beside a target under which it is written; nothing is left there.

    Parameters
    ----------
    target : Path
        File or folder to be published; what killed writers of it left is removed.

    Yields
    ------
    Path
        Name that nothing has.
    """
    # of a long name the beginning, since a name has 255 bytes at most
    stem = f".{target.name[:50]}.partial-"
    partial = target.with_name(f"{stem}{os.getpid()}-{threading.get_ident()}")
    _remove(partial)
    try:
        yield partial
    finally:
        _sweep(partial, stem)
        _remove(partial)


def publish_folder(partial: Path, folder: Path, *, replaces: bool) -> None:
    """Give a folder that was written its name; one that is there takes the partial's.

    Parameters
    ----------
    partial : Path
        Folder of files.
    folder : Path
        What it is to be called.
    replaces : bool
        Whether another of that name that is not empty may be replaced.

    Raises
    ------
    OSError
        If the disk or the file system refuses, or it may not replace what is there.
    """
    for path in [*partial.iterdir(), partial]:
        _flush(path)
    try:
        partial.rename(folder)
    except OSError as error:
        if not replaces or error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        _exchange(partial, folder)
    _flush(folder.parent)


def publish_file(target: Path, content: bytes) -> None:
    """Write a file; it appears complete or not at all.

    Parameters
    ----------
    target : Path
        Where to; replaced if it is there.
    content : bytes
        What is written.

    Raises
    ------
    OSError
        If the disk or the file system refuses.
    """
    with partial_beside(target) as partial:
        partial.write_bytes(content)
        _flush(partial)
        partial.replace(target)
        _flush(target.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _exchange(one: Path, other: Path) -> None:
    """Let two folders change names, at once where the system can."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    names = os.fsencode(one), os.fsencode(other)
    if rename is not None and rename(AT_CWD, names[0], AT_CWD, names[1], EXCHANGE) == 0:
        return
    aside = one.with_name(f"{one.name}-old")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _sweep(partial: Path, stem: str) -> None:
    """Remove what was begun long before this one, by the clock of the disk."""
    with suppress(OSError):
        now = (partial if partial.exists() else partial.parent).stat().st_mtime
        for path in partial.parent.glob(f"{glob.escape(stem)}*"):
            if now - path.stat().st_mtime > STALE_S:
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
