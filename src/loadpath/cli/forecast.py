"""The command ``loadpath forecast``."""

from pathlib import Path
from typing import Annotated

import typer

from loadpath.cli.progress import talk

__all__ = ["forecast"]


def forecast(
    source: Annotated[
        Path | None,
        typer.Argument(
            help="Design (TOML), audit folder or recording; else --points.", readable=False
        ),
    ] = None,
    sizes: Annotated[str, typer.Option(help="Accelerators: 512,1024,2048 or 64:16384.")] = "",
    calibrate: Annotated[
        Path | None, typer.Option(help="CSV of runs, or an audit of this design, that sets priors.")
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(help="CSV of measured runs to hold the forecast against, or to fit alone."),
    ] = None,
    goal: Annotated[
        str | None, typer.Option(help="strong: the same work a step at all sizes; or weak.")
    ] = None,
    value: Annotated[float | None, typer.Option(help="What a unit of work is worth.")] = None,
    budget: Annotated[float | None, typer.Option(help="What a unit of work may cost.")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Price of an accelerator-hour, where no design says it.")
    ] = None,
    currency: Annotated[str, typer.Option(help="Currency of --rate.")] = "USD",
    tensor: Annotated[int | None, typer.Option(help="Another tensor width.")] = None,
    pipeline: Annotated[int | None, typer.Option(help="Another number of stages.")] = None,
    data_parallel: Annotated[
        bool,
        typer.Option("--data-parallel", help="Of traces: all ranks are replicas of one model."),
    ] = False,
    samples: Annotated[
        int | None, typer.Option(help="Of traces: samples of a recorded step, of all replicas.")
    ] = None,
    layout: Annotated[Path | None, typer.Option(help="Layout of a recorded op table.")] = None,
    collectives: Annotated[
        list[Path] | None, typer.Option(help="nccl-tests log or table that sets links; repeatable.")
    ] = None,
    search: Annotated[bool, typer.Option("--search", help="Search the layouts too.")] = False,
    objective: Annotated[
        str, typer.Option(help="Of a search: cost_per_unit, job_s or units_per_s.")
    ] = "cost_per_unit",
    within: Annotated[str, typer.Option(help="Bounds of it: cost_per_h=2500,job_h=720.")] = "",
    requests: Annotated[
        Path | None, typer.Option(help="CSV of requests that a served design is to answer.")
    ] = None,
    iterations: Annotated[
        Path | None, typer.Option(help="CSV of measured iterations of the served design.")
    ] = None,
    ttft: Annotated[float, typer.Option(help="Promised time to the first token, s.")] = 1.0,
    tpot: Annotated[float, typer.Option(help="Promised time from token to token, s.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the sampled worlds.")] = 0,
    worlds: Annotated[int, typer.Option(help="Worlds that are sampled.")] = 512,
    out: Annotated[Path | None, typer.Option(help="Folder to write.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print forecast.json.")] = False,
    as_of: Annotated[str, typer.Option(help="Time of creation to write down, ISO 8601.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace a forecast folder.")] = False,
) -> None:
    """Say where scaling stops paying for a job, and how sure that is.

    The job need not exist yet: a design file says what it is to be.

    Without --out the folder is NAME-forecast in the current folder; with --json alone nothing is
    written.
    """  # numpydoc ignore=PR01
    from loadpath.audit.folder import document_bytes
    from loadpath.audit.forecasting import run_forecast

    stem = (source or points or Path("points")).stem
    target = out or (None if json else Path(f"{stem}-forecast"))
    with talk() as progress:
        progress("reading")
        done = run_forecast(
            source,
            out=target,
            force=force,
            progress=progress,
            sizes=sizes,
            calibrate=calibrate,
            points=points,
            goal=goal,
            value=value,
            budget=budget,
            seed=seed,
            worlds=worlds,
            as_of=as_of,
            rate=rate,
            currency=currency,
            tensor=tensor,
            pipeline=pipeline,
            data_parallel=data_parallel,
            samples=samples,
            layout=layout,
            collectives=collectives or (),
            search=search,
            objective=objective,  # type: ignore[arg-type]
            within=within,
            requests=requests,
            iterations=iterations,
            ttft=ttft,
            tpot=tpot,
        )
    if json:
        typer.echo(document_bytes(done.document), nl=False)
        return
    from loadpath.brief import render_forecast_summary

    typer.echo(
        render_forecast_summary(done.document, briefing_path=f"{target}/briefing.html"), nl=False
    )
