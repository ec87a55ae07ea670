"""The command ``loadpath audit``."""

import os
from pathlib import Path
from typing import Annotated

import typer

from loadpath.cli.process import keep_memory
from loadpath.cli.progress import talk

__all__ = ["audit"]


def audit(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Op table, traces, a schedule, or a folder of them.", readable=False),
    ],
    layout: Annotated[Path | None, typer.Option(help="Layout of an op table.")] = None,
    hosts: Annotated[Path | None, typer.Option(help="CSV rank,host[,rack,switch].")] = None,
    ranks: Annotated[
        list[str] | None, typer.Option(help="FILE=RANK, or CSV file,rank, for traces without rank.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Audit folder to write.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print audit.json.")] = False,
    rate: Annotated[float | None, typer.Option(help="Price of a GPU-hour.")] = None,
    currency: Annotated[str, typer.Option(help="Currency of --rate.")] = "USD",
    work_per_step: Annotated[
        float | None, typer.Option(help="Tokens or samples in a step.")
    ] = None,
    baseline: Annotated[str, typer.Option(help="median, mean or best.")] = "median",
    gate: Annotated[float, typer.Option(help="Largest median replay error.")] = 0.03,
    bound: Annotated[float, typer.Option(help="Share by which a step may be longer.")] = 0.05,
    steps: Annotated[
        int | None, typer.Option(help="Screen an op table: look at so many steps only.")
    ] = None,
    as_of: Annotated[str, typer.Option(help="Time of creation to write down, ISO 8601.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of permutations and resamples.")] = 0,
    cache: Annotated[
        bool,
        typer.Option(
            "--cache/--no-cache", help="Keep what was read and audited for the next time."
        ),
    ] = True,
    loggops: Annotated[str, typer.Option(help="Costs of a schedule's messages: L=...,G=...")] = "",
    noise: Annotated[str, typer.Option(help="Noise of a schedule, as of loadpath simulate.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace an audit folder.")] = False,
) -> None:
    """Say which rank, host, stage or link costs time, with proof.

    Without --out the audit folder is NAME-audit in the current folder; with --json alone nothing
    is written.
    """  # numpydoc ignore=PR01
    keep_memory(sources)
    from loadpath.audit import run_audit
    from loadpath.audit.folder import document_bytes

    target = out or (None if json else Path(f"{_stem(sources[0])}-audit"))
    with talk() as progress:
        done = run_audit(
            *sources,
            out=target,
            force=force,
            brief=target is not None,
            progress=progress,
            layout=layout,
            hosts=hosts,
            ranks=ranks or (),
            cache=cache,
            rate=rate,
            currency=currency,
            work_per_step=work_per_step,
            baseline=baseline,  # type: ignore[arg-type]
            gate=gate,
            bound=bound,
            steps=steps,
            as_of=as_of,
            seed=seed,
            loggops=loggops,
            noise=noise,
        )
    if json:
        typer.echo(document_bytes(done.document), nl=False)
        return
    from loadpath.brief import render_summary

    typer.echo(render_summary(done.document, briefing_path=f"{target}/briefing.html"))


def _stem(source: Path) -> str:
    name = Path(os.path.realpath(source)).name
    return name if os.path.isdir(source) else name.split(".")[0]  # noqa: PTH112 - never raises
