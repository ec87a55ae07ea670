"""Command line: one module per command; stdout is the result, stderr is talk."""

import contextlib
import gc
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from loadpath.cli.audit import audit
from loadpath.cli.capture import capture
from loadpath.cli.compare import compare
from loadpath.cli.compress import compress
from loadpath.cli.demo import demo
from loadpath.cli.forecast import forecast
from loadpath.cli.links import links
from loadpath.cli.simulate import simulate
from loadpath.cli.whatif import whatif
from loadpath.errors import LoadpathError, UsageError

__all__ = ["app", "main"]

app = typer.Typer(
    name="loadpath",
    help="Structural audit of distributed AI and HPC jobs: where time and money go, and why.",
    no_args_is_help=True,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(audit)
app.command()(capture)
app.command()(compare)
app.command()(compress)
app.command()(demo)
app.command()(forecast)
app.command()(links)
app.command()(simulate)
app.command()(whatif)


@app.callback()
def common(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    """Find out where the time and money of a distributed AI or HPC job go, and why."""  # numpydoc ignore=PR01
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"loadpath {installed('loadpath')}")
        raise typer.Exit


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
        app()
    except LoadpathError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        # such as a full disk behind stdout; readers name their files in errors of their own
        where = f"{error.filename}: " if error.filename else ""
        reason = error.strerror or type(error).__name__
        _fail(f"{where}{reason}. Check where the result goes, and the disk.", 1)
    finally:
        # nor does the search at exit find anything that the end of the process does not free
        gc.freeze()


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
