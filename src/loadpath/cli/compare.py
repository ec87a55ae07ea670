"""The command ``loadpath compare``."""

from pathlib import Path
from typing import Annotated

import typer

from loadpath.cli.progress import talk

__all__ = ["compare"]


def compare(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Designs (TOML), audit folders or recordings, two or more.", readable=False
        ),
    ],
    pilot: Annotated[
        int | None, typer.Option(help="Accelerators of a pilot run of each design.")
    ] = None,
    rate: Annotated[
        list[float] | None,
        typer.Option(help="Price of an accelerator-hour of what was recorded; once, or for each."),
    ] = None,
    currency: Annotated[str, typer.Option(help="Currency of --rate.")] = "USD",
    layout: Annotated[Path | None, typer.Option(help="Layout of recorded op tables.")] = None,
    data_parallel: Annotated[
        bool,
        typer.Option("--data-parallel", help="Of traces: all ranks are replicas of one model."),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the sampled worlds.")] = 0,
    worlds: Annotated[int, typer.Option(help="Worlds that are sampled.")] = 512,
    out: Annotated[Path | None, typer.Option(help="Folder to write, with a page.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON with sorted keys.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a comparison folder.")] = False,
) -> None:
    """Say which design or audited job costs least, how surely.

    Beside it stands what choosing wrongly costs, and what a pilot run would save.
    """  # numpydoc ignore=PR01
    from loadpath.audit.comparing import run_comparison
    from loadpath.audit.folder import document_bytes

    with talk() as progress:
        found = run_comparison(
            *sources,
            progress=progress,
            seed=seed,
            worlds=worlds,
            pilot=pilot,
            rates=rate or (),
            currency=currency,
            layout=layout,
            data_parallel=data_parallel,
            out=out,
            force=force,
        )
    if json:
        typer.echo(document_bytes(found), nl=False)
        return
    from loadpath.brief import render_comparison

    written = None if out is None else f"{out}/briefing.html"
    typer.echo(render_comparison(found, briefing_path=written), nl=False)
