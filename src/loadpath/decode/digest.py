"""Digests of input files: every audit names what it read."""

import hashlib
import os
from pathlib import Path

from loadpath.decode.regular import check_regular

__all__ = ["file_digest", "file_name"]


def file_name(path: Path) -> str:
    """Name a file without its folders.

    Parameters
    ----------
    path : Path
        File or folder.

    Returns
    -------
    str
        What can be written as UTF-8: of a name that is none, bytes that are no text are replaced.

    Examples
    --------
    >>> file_name(Path("traces/rank0.json"))
    'rank0.json'
    """
    return os.fsencode(path.name).decode(errors="replace")


def file_digest(path: Path) -> tuple[str, str, int]:
    """Hash a file.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    tuple of (str, str, int)
        Name without folders, SHA-256 in hex, and size in bytes.

    Raises
    ------
    InputError
        If it is no regular file.
    """
    with check_regular(path).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256")
        return file_name(path), digest.hexdigest(), stream.tell()
