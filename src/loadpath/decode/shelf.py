"""A shelf of what was computed from files: kept between runs, made again when in doubt."""

import hashlib
import mmap
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from isal import isal_zlib

__all__ = ["MAX_SHELF_BYTES", "keep", "kept", "source_digest"]

MAX_SHELF_BYTES = 8 << 30
"""Beyond this size what was used longest ago is thrown away."""
SUFFIX, PART = ".kept", ".new-"
STALE_S = 3600
"""What was begun this long before is of a process that was killed."""
MARK = b"loadpath"
HEAD = len(MARK) + 4


def kept(folder: Path, key: str) -> memoryview | None:
    """Find what is kept under a key.

    Parameters
    ----------
    folder : Path
        The shelf.
    key : str
        Digest of everything that the content depends on.

    Returns
    -------
    memoryview or None
        The content, mapped into memory; None if it is not there or is damaged.
    """
    path = folder / (key + SUFFIX)
    try:
        with path.open("rb") as stream:
            content = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):
        return None
    with suppress(OSError):  # a shelf that is only read keeps the order of its making
        os.utime(path)
    stated = int.from_bytes(content[len(MARK) : HEAD], "little")
    if bytes(content[: len(MARK)]) != MARK or isal_zlib.crc32(content[HEAD:]) != stated:
        return None
    return content[HEAD:]


def keep(folder: Path, key: str, parts: Iterable[bytes | memoryview]) -> None:
    """Keep content under a key; a shelf that cannot be written is no error.

    Parameters
    ----------
    folder : Path
        The shelf, made if it is not there.
    key : str
        Digest of everything that the content depends on.
    parts : iterable of bytes or memoryview
        The content.
    """
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=PART)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(MARK + bytes(4))
                check = 0
                for part in parts:
                    stream.write(part)
                    check = isal_zlib.crc32(part, check)
                stream.seek(len(MARK))
                stream.write(check.to_bytes(4, "little"))
            Path(name).replace(folder / (key + SUFFIX))
        finally:
            Path(name).unlink(missing_ok=True)
        _throw_away(folder)


def source_digest(*folders: Path) -> str:
    """Digest of Python sources: what they compute may change whenever they do.

    Parameters
    ----------
    *folders : Path
        Folders whose modules are read.

    Returns
    -------
    str
        SHA-256 in hex, empty if there are none or they cannot be read.
    """
    digest = hashlib.sha256()
    paths = sorted(path for folder in folders for path in folder.glob("*.py"))
    try:
        for path in paths:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    except OSError:
        return ""
    return digest.hexdigest() if paths else ""


def _throw_away(folder: Path) -> None:
    """Remove what was used longest ago, while there is too much, and what killed processes left."""
    found = [(path, path.stat()) for path in folder.glob("*" + SUFFIX)]
    now = max(state.st_mtime for _, state in found)
    for part in folder.glob(PART + "*"):
        if now - part.stat().st_mtime > STALE_S:
            part.unlink(missing_ok=True)
    total = sum(state.st_size for _, state in found)
    for path, state in sorted(found, key=lambda item: item[1].st_mtime_ns):
        if total <= MAX_SHELF_BYTES:
            return
        path.unlink(missing_ok=True)
        total -= state.st_size
