"""How a compressed recording is told from other files; every audit asks, few read one."""

from pathlib import Path

from loadpath.decode.regular import check_regular
from loadpath.errors import InputError

__all__ = ["FORMAT", "is_compressed"]

FORMAT = "loadpath.compressed/1"


def is_compressed(path: Path) -> bool:
    """Tell a compressed recording by its first line.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    bool
        Of any version. False too for a file that cannot be read: another reader says why.
    """
    try:
        with check_regular(path).open("rb") as stream:
            return stream.read(64).startswith(b'{"format":"loadpath.compressed/')
    except (InputError, OSError):
        return False
