"""Where a forecast or a comparison is from: command, inputs, versions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loadpath.compiled.versions import versions
from loadpath.decode.digest import file_digest

__all__ = ["digest_of", "provenance_of"]

LIBRARIES = ("loadpath", "numpy", "numba", "polars", "msgspec")


def digest_of(path: Path) -> dict[str, Any]:
    """Say which file was read.

    Parameters
    ----------
    path : Path
        A file.

    Returns
    -------
    dict
        Name, digest and size.
    """
    return dict(zip(("path_name", "sha256", "bytes"), file_digest(path), strict=True))


def provenance_of(
    command: str, words: Sequence[str], inputs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Say how a document was made.

    Parameters
    ----------
    command : str
        Of the command line.
    words : sequence of str
        Its arguments.
    inputs : sequence of mapping
        Files that were read.

    Returns
    -------
    dict
        Keys ``command``, ``inputs``, ``versions``.
    """
    return {
        "command": " ".join(["loadpath", command, *words]),
        "inputs": list(inputs),
        "versions": versions(LIBRARIES),
    }
