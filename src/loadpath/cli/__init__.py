"""Command line: one module per command; stdout is the result, stderr is talk."""

import gc
import sys

import typer

from loadpath.cli.audit import audit
from loadpath.cli.whatif import whatif
from loadpath.errors import LoadpathError

__all__ = ["app", "main"]

app = typer.Typer(
    name="loadpath",
    help="Structural audit of distributed AI and HPC jobs: where time and money go, and why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(audit)
app.command()(whatif)


def main() -> None:
    """Run the command line; errors that a user can act on become one line and an exit code."""
    # a command ends before cyclic garbage could matter; looking for it costs a tenth of a second
    gc.disable()
    try:
        app()
    except LoadpathError as error:
        sys.stderr.write(f"loadpath: {error}\n")
        sys.exit(error.exit_code)
    finally:
        # nor does the search at exit find anything that the end of the process does not free
        gc.freeze()
