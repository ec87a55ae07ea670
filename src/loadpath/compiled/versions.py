"""Versions of the libraries that machine code and results depend on."""

import platform
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import distribution, version

__all__ = ["version_of", "versions"]


@cache
def version_of(library: str) -> str:
    """Tell the version of a library; one that is loaded knows it, else its files are searched.

    Parameters
    ----------
    library : str
        Name by which it is imported and installed.

    Returns
    -------
    str
        Such as ``2.4.1``.
    """
    told = getattr(sys.modules.get(library), "__version__", None)
    return told if isinstance(told, str) else _installed(library)


def _installed(library: str) -> str:
    """Read the version in the files of an installed library, without a parser of letters."""
    text = distribution(library).read_text("METADATA") or ""
    head = text.partition("\n\n")[0].splitlines()
    told = [line.partition(":")[2].strip() for line in head if line.startswith("Version:")]
    return told[0] if told else version(library)


def versions(libraries: Sequence[str]) -> dict[str, str]:
    """Tell the version of Python and of libraries.

    Parameters
    ----------
    libraries : sequence of str
        Their names.

    Returns
    -------
    dict
        By name, ``python`` first.
    """
    return {"python": platform.python_version()} | {name: version_of(name) for name in libraries}
