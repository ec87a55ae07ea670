"""Command line: one module per command; stdout is the result, stderr is talk."""

import contextlib
import gc
import os
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from loadpath.cli.process import code_of, end_process, with_room
from loadpath.errors import LoadpathError, UsageError, first_line, lacks_room
from loadpath.interrupts import stop_in_order

__all__ = ["COMMANDS", "command_line", "main", "run"]

COMMANDS = (
    "audit",
    "capture",
    "compare",
    "compress",
    "demo",
    "forecast",
    "links",
    "simulate",
    "whatif",
)
"""Each is a function in a module of its name."""


def command_line(named: str = "") -> typer.Typer:
    """Lay out the command line.

    Parameters
    ----------
    named : str
        A command that is known to be called; laying out the others takes longer than some answers.

    Returns
    -------
    typer.Typer
        With all commands, or the one.
    """
    app = typer.Typer(
        name="loadpath",
        help="Structural audit of distributed AI and HPC jobs: where time and money go, and why.",
        no_args_is_help=True,
        invoke_without_command=True,
        add_completion=named not in COMMANDS,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_common)
    for command in (named,) if named in COMMANDS else COMMANDS:
        app.command()(getattr(import_module(f"loadpath.cli.{command}"), command))
    return app


def _common(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Find out where the time and money of a distributed AI or HPC job go, and why."""
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"loadpath {installed('loadpath')}")
        raise typer.Exit


def run() -> None:
    """Run the command line as a process of its own, which ends at once when the result is out."""
    end_process(code_of(with_room(main)))


def main() -> None:
    """Run the command line; errors that a user can act on become one line and an exit code."""
    # a command ends before cyclic garbage could matter; looking for it costs a tenth of a second
    gc.disable()
    _open_stderr()
    if not sys.warnoptions:
        # divisions by zero end as NaN in the tables; a warning helps no one who reads the result
        warnings.simplefilter("ignore")
    try:
        _check_stdout()
        app = command_line(*sys.argv[1:2])
        stop_in_order()
        app()
    except (LoadpathError, OSError, MemoryError, RuntimeError) as error:
        told = _told(error)
        if told is None:
            raise
        _fail(*told)
    finally:
        # nor does the search at exit find anything that the end of the process does not free
        gc.freeze()


def _told(error: Exception) -> tuple[str, int] | None:
    """Say in a line what a user can do about an error, and the exit code; None where it is ours."""
    if isinstance(error, MemoryError) or lacks_room(error):
        return "memory or threads ran out. Raise the limit of this process, or end others.", 1
    if isinstance(error, LoadpathError):
        return str(error), error.exit_code
    if isinstance(error, OSError):
        # such as a full disk behind stdout; readers name their files in errors of their own
        where = f"{error.filename}: " if error.filename else ""
        reason = error.strerror or first_line(error) or type(error).__name__
        return f"{where}{reason}. Check where the result goes, and the disk.", 1
    return None


def _open_stderr() -> None:
    """Let talk vanish where stderr is closed, so that no file of ours takes its place."""
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - stays open


def _check_stdout() -> None:
    if sys.stdout is None:
        raise UsageError("stdout is closed: there is no place for the result. Send it to a file.")


def _fail(text: str, code: int) -> NoReturn:
    """Say in one line what is wrong; what cannot be written is dropped, not tried again at exit."""
    line = "".join(c if c.isprintable() else " " for c in text)
    try:
        sys.stderr.write(f"loadpath: {line}\n")
        sys.stdout.flush()
    except (OSError, AttributeError):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
