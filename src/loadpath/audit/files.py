"""The files that the user points at, and those that lie beside them."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from loadpath.audit.hosts import hosts_beside
from loadpath.audit.ranks import rank_files
from loadpath.audit.set_aside import Aside, find_aside
from loadpath.audit.settings import Settings
from loadpath.audit.windows import in_window, windows_caveat
from loadpath.errors import InputError, first_line
from loadpath.ingest.handshake import HANDSHAKE_FILE
from loadpath.ingest.power import POWER_FILES

__all__ = ["files_behind", "folders_in", "held_files", "usable_files", "without_aside"]


def files_behind(
    sources: Sequence[str | Path], settings: Settings
) -> tuple[list[Path], tuple[Any, ...]]:
    """List all files on which a recording depends, and how they lie.

    Parameters
    ----------
    sources : sequence of str or Path
        As for `load_recording`.
    settings : Settings
        Layout, hosts and ranks files.

    Returns
    -------
    files : list of Path
        The records, what lies beside them, and what the settings name.
    placed : tuple
        What a reader asks of files beyond their names and content, whatever their folders are
        called: which of several windows is read, how many are of each source, and by number
        those that share a folder and those that are one by links.

    Raises
    ------
    InputError
        If a source does not exist or cannot be listed.
    """
    from loadpath.ingest.op_table.layout import LAYOUT_FILES  # noqa: PLC0415 - its reader loads with it

    given = [Path(source) for source in sources]
    of_sources = held_files(given)
    held = list(chain(*of_sources))
    folders = dict.fromkeys(path.parent for path in held)
    names = (HANDSHAKE_FILE, POWER_FILES, LAYOUT_FILES)
    beside = [path for folder in folders for name in names for path in sorted(folder.glob(name))]
    told = [path for path in (settings.layout, settings.hosts) if path]
    hosts = hosts_beside(given, settings)
    files = list(dict.fromkeys([*held, *beside, *hosts, *told, *rank_files(settings.ranks)]))
    sizes = [(source.is_dir(), len(of)) for source, of in zip(given, of_sources, strict=True)]
    alike = _numbered(path.parent for path in files), _numbered(path.resolve() for path in files)
    placed = (windows_caveat(given).rows(), sizes, [files.index(path) for path in hosts], alike)
    return files, placed


def _numbered(paths: Iterable[Path]) -> list[int]:
    """Give equal paths one number."""
    number: dict[Path, int] = {}
    return [number.setdefault(path, len(number)) for path in paths]


def held_files(sources: Sequence[Path]) -> list[list[Path]]:
    """List the files of each source.

    Parameters
    ----------
    sources : sequence of Path
        Files, and folders of which all files are taken.

    Returns
    -------
    list of list of Path
        What is no regular file is refused when it is to be read.

    Raises
    ------
    InputError
        If a source does not exist or cannot be listed.
    """
    try:
        missing = [str(source) for source in sources if not source.exists()]
        if missing or not sources:
            raise InputError(", ".join(missing) or "sources", "does not exist", "Check the path.")
        return [_held(source) if source.is_dir() else [source] for source in sources]
    except OSError as error:
        reason = f"cannot be read ({error.strerror or first_line(error)})"
        raise InputError(str(error.filename or "sources"), reason, "Check the path.") from error


def usable_files(sources: Sequence[str | Path]) -> list[list[Path]]:
    """List the files of each source that may be records.

    Parameters
    ----------
    sources : sequence of str or Path
        As for `load_recording`.

    Returns
    -------
    list of list of Path
        Without those that `find_aside` finds.
    """
    given = [Path(source) for source in sources]
    files = held_files(given)
    return without_aside(files, find_aside(chain(*files), given))


def without_aside(files: Sequence[Sequence[Path]], aside: Sequence[Aside]) -> list[list[Path]]:
    """Leave out what can be no record.

    Parameters
    ----------
    files : sequence of sequence of Path
        Files of each source.
    aside : sequence of Aside
        What is left out.

    Returns
    -------
    list of list of Path
        The others.
    """
    unusable = {one.path for one in aside}
    return [[path for path in of_source if path not in unusable] for of_source in files]


def folders_in(folder: Path) -> list[Path]:
    """List the folders in a folder.

    Parameters
    ----------
    folder : Path
        Folder of a user.

    Returns
    -------
    list of Path
        By name, without hidden ones.
    """
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _held(folder: Path) -> list[Path]:
    return sorted(path for path in in_window(folder).iterdir() if not path.is_dir())
