"""The command ``loadpath compare``."""

from pathlib import Path
from typing import Annotated

import typer

from loadpath.cli.progress import talk

__all__ = ["compare"]


def compare(
    designs: Annotated[list[Path], typer.Argument(help="Design files (TOML), two or more.")],
    pilot: Annotated[int | None, typer.Option(help="Accelerators of a pilot run.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sampled worlds.")] = 0,
    worlds: Annotated[int, typer.Option(help="Worlds that are sampled.")] = 512,
    json: Annotated[bool, typer.Option("--json", help="Print JSON with sorted keys.")] = False,
) -> None:
    """Put designs side by side: which costs least, how sure that is.

    Beside it stands what a pilot run would save.
    """  # numpydoc ignore=PR01
    from loadpath.audit.folder import document_bytes
    from loadpath.audit.forecasting import run_comparison

    with talk() as progress:
        progress("replaying the designs")
        found = run_comparison(*designs, seed=seed, worlds=worlds, pilot=pilot)
    if json:
        typer.echo(document_bytes(found), nl=False)
        return
    from loadpath.brief import render_comparison

    typer.echo(render_comparison(found), nl=False)
