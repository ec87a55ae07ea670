"""Files of machine code: whole or not there, and believed only if their digest holds."""

import os
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

__all__ = ["cache_home", "folder", "keep", "kept"]

MARK = b"loadpath kernel 1\n"
ENDING = ".machine"


def cache_home() -> Path | None:
    """Name the folder in which loadpath keeps what it can make again.

    Returns
    -------
    Path or None
        ``$XDG_CACHE_HOME/loadpath``, else ``~/.cache/loadpath``; None where there is no home.
    """
    stated = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if stated.is_absolute():
        return stated / "loadpath"
    try:
        return Path.home() / ".cache" / "loadpath"
    except RuntimeError:
        return None


@cache
def folder() -> Path | None:
    """Find where machine code is kept.

    Returns
    -------
    Path or None
        ``$NUMBA_CACHE_DIR``, else beside the package, else `cache_home`; None where nothing can be
        written: each process then compiles anew.
    """
    told = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(told)] if told else [Path(__file__).parent / "__pycache__", cache_home()]
    for place in filter(None, places):
        with suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            if os.access(place, os.W_OK):
                return place
    return None


def kept(name: str) -> bytes | None:
    """Read what was kept under a name.

    Parameters
    ----------
    name : str
        As for `keep`.

    Returns
    -------
    bytes or None
        None if there is nothing, or it is not what was written.
    """
    where = folder()
    if where is None:
        return None
    try:
        held = (where / f"{name}{ENDING}").read_bytes()
    except OSError:
        return None
    digest, code = held[len(MARK) : len(MARK) + 32], held[len(MARK) + 32 :]
    return code if held.startswith(MARK) and sha256(code).digest() == digest else None


def keep(name: str, code: bytes) -> None:
    """Write machine code in one piece; a disk that refuses costs the next start its time.

    Parameters
    ----------
    name : str
        What it is for, a dash, and the digest of all that it was made of; what was kept for the
        same under another digest is removed.
    code : bytes
        Machine code.
    """
    where = folder()
    if where is None:
        return
    with suppress(OSError):
        with NamedTemporaryFile(dir=where, suffix=".part", delete=False) as part:
            part.write(MARK + sha256(code).digest() + code)
        old = list(where.glob(f"{name.rpartition('-')[0]}-*{ENDING}"))
        Path(part.name).replace(where / f"{name}{ENDING}")
        for path in old:
            if path.name != f"{name}{ENDING}":
                path.unlink(missing_ok=True)
