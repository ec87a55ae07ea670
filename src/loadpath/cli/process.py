"""The process that a command has to itself: its stack, its memory, and its end."""

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from loadpath.interrupts import INTERRUPTED, stop_at_once

__all__ = ["code_of", "end_process", "keep_memory", "with_room"]

ROOM = 9_000
"""Values on the interpreter's stack: some hundred calls within each other."""
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8
"""Of ``mallopt`` of the GNU C library."""
TABLES = (".parquet", ".csv")


def with_room(function: Callable[[], None]) -> Callable[[], None]:
    """Let a function and all that it calls stand on one piece of the interpreter's stack.

    CPython takes the stack in pieces of 16 kB, mapped when a call does not fit and unmapped when it
    returns. A loop whose calls begin at the end of a piece so maps memory each time round, which took
    a tenth of an audit, or nothing, as deep as the loop happened to stand.

    Parameters
    ----------
    function : callable
        Takes nothing.

    Returns
    -------
    callable
        Does the same; elsewhere than on CPython just as well.
    """

    def roomy() -> None:
        function()

    roomy.__code__ = roomy.__code__.replace(co_stacksize=ROOM)
    return roomy


def keep_memory(sources: Sequence[Path]) -> None:
    """Let memory that is given back stay with the process, for what comes next.

    The C library hands arrays of over 32 MB back to the system, which fills the next ones with zeros
    page by page, and keeps memory apart for each thread; NumPy asks for large pages, which a virtual
    machine is slow to fill, and Polars takes small ones: both look when they are loaded. Where there
    are no such settings nothing changes; one that the user made stays. Traces need most memory while
    they are read, and give theirs back.

    Parameters
    ----------
    sources : sequence of Path
        What is read.
    """
    if not all(source.suffix in TABLES for source in sources):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt:
        for setting, value in ((TRIM_THRESHOLD, 2**31 - 1), (MMAP_MAX, 0), (ARENA_MAX, 1)):
            mallopt(setting, value)
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    os.environ.setdefault("_RJEM_MALLOC_CONF", "thp:always")


def code_of(function: Callable[[], None]) -> object:
    """Run a function that may end the process, and tell the code it would end with.

    Parameters
    ----------
    function : callable
        Takes nothing; may raise SystemExit.

    Returns
    -------
    object
        As of `sys.exit`; 0 where it returns, 130 where the user stopped it.
    """
    try:
        function()
    except SystemExit as end:
        return end.code
    except KeyboardInterrupt:
        # where typer does not hold it; there it ends with the same code
        return INTERRUPTED
    return 0


def end_process(code: object) -> NoReturn:
    """End the process when what was said is out and no thread is left that must not be cut.

    Taking the interpreter apart frees nothing that the end of the process does not.

    Parameters
    ----------
    code : object
        As of `sys.exit`.
    """
    stop_at_once()
    others = [one for one in threading.enumerate() if one is not threading.current_thread()]
    if isinstance(code, int) and all(one.daemon for one in others) and _flushed():
        os._exit(code)
    sys.exit(code)  # type: ignore[arg-type]


def _flushed() -> bool:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return False
    return True
