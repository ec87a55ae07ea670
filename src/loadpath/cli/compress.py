"""The command ``loadpath compress``."""

import json as encoder
from pathlib import Path
from typing import Annotated, Any

import typer

from loadpath.cli.progress import talk
from loadpath.units import format_ratio

__all__ = ["compress"]


def compress(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Op table, traces, logs, or a folder of them.", readable=False),
    ],
    out: Annotated[Path, typer.Option(help="File to write, such as job.lpz.")],
    budget: Annotated[float, typer.Option(help="Most KiB for each rank and step.")] = 3.0,
    layout: Annotated[Path | None, typer.Option(help="Layout of an op table.")] = None,
    hosts: Annotated[Path | None, typer.Option(help="CSV rank,host[,rack,switch].")] = None,
    ranks: Annotated[
        list[str] | None, typer.Option(help="FILE=RANK, or CSV file,rank, for traces without rank.")
    ] = None,
    cache: Annotated[
        bool, typer.Option("--cache/--no-cache", help="Keep parsed traces for the next audit.")
    ] = True,
    json: Annotated[bool, typer.Option("--json", help="Print JSON with sorted keys.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file.")] = False,
) -> None:
    """Keep of a recording what the replay needs, in one small file.

    The file holds at most --budget for each rank and step. It is audited as the recording would be: loadpath audit FILE.
    """  # noqa: DOC501  # numpydoc ignore=PR01
    from loadpath.audit.compression import compress as run
    from loadpath.audit.settings import Settings
    from loadpath.errors import UsageError

    if not 0 < budget < float("inf"):
        raise UsageError(f"budget {budget} is not a positive number of KiB.")
    settings = Settings(layout=layout, hosts=hosts, ranks=tuple(ranks or ()), cache=cache)
    with talk() as progress:
        report = run(
            *sources,
            out=out,
            force=force,
            budget_bytes=int(budget * 1024),
            settings=settings,
            progress=progress,
        )
    told = report._asdict() | {"bytes_per_rank_step": report.bytes_per_rank_step}
    if json:
        typer.echo(encoder.dumps(told, sort_keys=True))
        return
    typer.echo("\n".join(_lines(out, report)))


def _lines(out: Path, report: Any) -> list[str]:
    from loadpath.brief.lines import entry

    share = f"{report.bytes_per_rank_step:,.0f} for each of {report.n_rank:,} ranks and {report.n_step:,} steps"
    kept = f"{report.n_op:,} stand for the {report.n_recorded:,} of the recording, merged by {report.level}"
    if report.level == "whole":
        kept = f"all {report.n_op:,} of the recording, nothing merged"
    errors = [format_ratio(ratio) for ratio in (report.step_error_ratio, report.ideal_error_ratio)]
    return [
        *entry("File", str(out), 3),
        *entry("Size", f"{report.n_bytes:,} bytes, {share}", 2),
        *entry("Ops", kept, 2),
        *entry(
            "Replay", f"step {errors[0]}, ideal step {errors[1]} longer than of the recording", 2
        ),
    ]
