"""Only regular files are opened: a pipe or a device may never end, or never begin."""

import os
import stat
from pathlib import Path

from loadpath.errors import InputError

__all__ = ["check_regular", "check_table"]

FORBIDDEN = "Let this user read it, or leave it out."


def check_regular(path: Path) -> Path:
    """Refuse a path that is no regular file.

    Parameters
    ----------
    path : Path
        File to be opened next; links are followed.

    Returns
    -------
    Path
        The same path.

    Raises
    ------
    InputError
        If it is a folder, a pipe or a device, is not there, cannot be looked at, or this user may not read
        it.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            path.open("rb").close()
    except PermissionError as error:
        raise InputError(str(path), f"cannot be read ({error.strerror})", FORBIDDEN) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(str(path), f"cannot be read ({reason})", "Check the path.") from error
    if not stat.S_ISREG(mode):
        if stat.S_ISDIR(mode):
            raise InputError(str(path), "is a folder, no regular file", "Name a file in it.")
        remedy = "Copy it into a file first."
        raise InputError(str(path), "is a pipe or a device, no regular file", remedy)
    return path


def check_table(path: Path) -> Path:
    """Refuse a path that is no regular file, or that Polars cannot be told.

    Parameters
    ----------
    path : Path
        Table to be read next.

    Returns
    -------
    Path
        The same path.

    Raises
    ------
    InputError
        As `check_regular`, and if the path is no UTF-8.
    """
    legible = os.fsencode(path).decode(errors="replace")
    if legible != str(path):
        raise InputError(legible, "has a path that is no UTF-8", "Rename it, or its folder.")
    return check_regular(path)
