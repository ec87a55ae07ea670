"""Recordings that hold several windows, each in a folder of its own: the last whole one is audited."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from loadpath.tables import caveat_table

__all__ = ["in_window", "windows_caveat"]

WINDOW = "window-*"
TRACE = "*rank*.json*"


def in_window(folder: Path) -> Path:
    """Find the window to read of a recording.

    Parameters
    ----------
    folder : Path
        Folder that a user points at.

    Returns
    -------
    Path
        The last of its windows in which as many ranks as in any left a trace; the folder itself where it
        holds none.
    """
    return _chosen(_windows(folder)) or folder


def windows_caveat(sources: Sequence[Path]) -> pl.DataFrame:
    """Say which window of a recording was read, where there are others.

    Parameters
    ----------
    sources : sequence of Path
        What the user points at.

    Returns
    -------
    polars.DataFrame
        Table `CAVEAT`.
    """
    doubts = []
    for source in sources:
        found = _windows(source)
        chosen = _chosen(found)
        if chosen is not None:
            text = f"{source.name} holds other windows; {chosen.name} is read: audit each alone"
            doubts.append(("other_windows", text, len(found) - 1))
    return caveat_table(doubts)


def _windows(folder: Path) -> dict[Path, int]:
    """Windows of a folder, and how many ranks left a trace in each."""
    if not folder.is_dir():
        return {}
    found = sorted(path for path in folder.glob(WINDOW) if path.is_dir())
    return {
        path: sum(not p.name.startswith((".", "fr_")) for p in path.glob(TRACE)) for path in found
    }


def _chosen(windows: dict[Path, int]) -> Path | None:
    most = max(windows.values(), default=0)
    whole = [path for path, n in windows.items() if n == most > 0]
    return whole[-1] if whole else None
