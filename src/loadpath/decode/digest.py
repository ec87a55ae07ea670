"""Digests of input files: every audit names what it read."""

import hashlib
from pathlib import Path

from loadpath.decode.regular import check_regular

__all__ = ["file_digest"]


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
        return path.name, digest.hexdigest(), stream.tell()
