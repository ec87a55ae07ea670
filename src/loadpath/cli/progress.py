"""Talk on stderr while long work runs; silent when nobody watches."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["talk"]


@contextmanager
def talk() -> Iterator[Callable[[str], None]]:
    """Show what is being done as a status line on a terminal.

    Yields
    ------
    callable of str
        Call it with what begins now.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update
