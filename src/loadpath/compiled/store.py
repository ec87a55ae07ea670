"""Files of machine code: whole or not there, and believed only if their digest holds."""

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

__all__ = ["cache_home", "keep", "kept", "places"]

MARK = b"loadpath kernel 1\n"
PREFIX, PART, ENDING = "loadpath-", ".part", ".machine"
STALE_S = 3600
"""A piece older than this is not being written any more: that takes milliseconds."""


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


def places() -> tuple[Path, ...]:
    """List where machine code may be kept.

    Returns
    -------
    tuple of Path
        ``$NUMBA_CACHE_DIR`` alone, else beside the package and in `cache_home`. Code is believed
        from each of them, also where nothing can be written; it is written to the first that allows
        it, and each process compiles anew where none does.
    """
    told = os.environ.get("NUMBA_CACHE_DIR")
    beside = Path(__file__).parent / "__pycache__"
    return (Path(told),) if told else tuple(filter(None, (beside, cache_home())))


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
    for place in places():
        with suppress(OSError):
            held = (place / f"{name}{ENDING}").read_bytes()
            digest, code = held[len(MARK) : len(MARK) + 32], held[len(MARK) + 32 :]
            if held.startswith(MARK) and sha256(code).digest() == digest:
                return code
    return None


def keep(name: str, code: bytes) -> None:
    """Write machine code in one piece; a disk that refuses costs the next start its time.

    Parameters
    ----------
    name : str
        What it is for, a dash, and the digest of all that it was made of; what was kept for the
        same under another digest is removed, and so are pieces that a killed process left.
    code : bytes
        Machine code.
    """
    with suppress(OSError):
        for where in filter(_is_writable, places()):
            _sweep(where, name, _write(where, name, MARK + sha256(code).digest() + code))
            return


def _is_writable(place: Path) -> bool:
    with suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
        return os.access(place, os.W_OK)
    return False


def _write(where: Path, name: str, content: bytes) -> float:
    """Write a file in one piece; return when."""
    with NamedTemporaryFile(dir=where, prefix=PREFIX, suffix=PART, delete=False) as part:
        path = Path(part.name)
        try:
            part.write(content)
            part.flush()
            path.chmod(0o644)  # one installation serves many users
            path.replace(where / f"{name}{ENDING}")
        finally:
            path.unlink(missing_ok=True)
    return (where / f"{name}{ENDING}").stat().st_mtime


def _sweep(where: Path, name: str, now: float) -> None:
    """Remove what the file of this name takes the place of, and what nobody will finish."""
    for old in where.glob(f"{name.rpartition('-')[0]}-*{ENDING}"):
        if old.name != f"{name}{ENDING}":
            old.unlink(missing_ok=True)
    for part in where.glob(f"{PREFIX}*{PART}"):
        if now - part.stat().st_mtime > STALE_S:
            part.unlink(missing_ok=True)
