"""Ctrl-C: at once where nothing is to be undone, in order where there is."""

# what `signal` gives names to: its enumerations take longer to load than a user to change his mind
import _signal as signal  # type: ignore[import-not-found]
import os

__all__ = ["INTERRUPTED", "stop_at_once", "stop_in_order"]

INTERRUPTED = 130
"""Code with which a command ends that the user stopped."""


def stop_at_once() -> None:
    """Let Ctrl-C end the process without a word; a process that ignores the signal goes on doing so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def stop_in_order() -> None:
    """Let Ctrl-C be an exception again, where it ended the process at once."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: object) -> None:
    os._exit(INTERRUPTED)
