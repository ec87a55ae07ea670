"""Where parsed traces are kept for the next audit."""

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path | None:
    """Name the folder in which parsed traces are kept.

    Returns
    -------
    Path or None
        ``$XDG_CACHE_HOME/loadpath``, else ``~/.cache/loadpath``; None where there is no home.
    """
    stated = os.environ.get("XDG_CACHE_HOME", "")
    if Path(stated).is_absolute():
        return Path(stated) / "loadpath"
    try:
        return Path.home() / ".cache" / "loadpath"
    except RuntimeError:
        return None
