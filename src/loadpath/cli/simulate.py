"""The command ``loadpath simulate``."""

import json as encoder
from pathlib import Path
from typing import Annotated, Any

import typer

from loadpath.cli.progress import talk
from loadpath.units import format_seconds

__all__ = ["simulate"]

STALLED = 3
"""Exit code where ops never ran: the run is told, but it is none that a job could finish."""
MOST_RANKS = 16


def simulate(
    source: Annotated[Path, typer.Argument(help="GOAL schedule, text or binary.", readable=False)],
    latency: Annotated[int, typer.Option("--L", help="Latency, ns.")] = 2500,
    overhead: Annotated[int, typer.Option("--o", help="Processor time of a message, ns.")] = 1500,
    gap: Annotated[int, typer.Option("--g", help="Gap between messages, ns.")] = 1000,
    per_byte: Annotated[float, typer.Option("--G", help="Gap per byte, ns.")] = 6,
    cpu_per_byte: Annotated[float, typer.Option("--O", help="Processor time per byte, ns.")] = 0,
    eager: Annotated[int, typer.Option("--S", help="Largest eager message, bytes.")] = 65535,
    noise: Annotated[
        str,
        typer.Option(
            help="exponential:PERIOD,LENGTH | lengths:FILE,PERIOD | trace:FILE | together:FILE (ns)."
        ),
    ] = "",
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    replicas: Annotated[int, typer.Option(help="Runs with other draws of the noise.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print JSON with sorted keys.")] = False,
) -> None:
    """Say when a schedule would end, in the LogGOPS model.

    Exit code 3 where some ops never ran: the output names what waits for what.
    """  # noqa: DOC501  # numpydoc ignore=PR01
    from loadpath.audit.simulation import simulate as run
    from loadpath.couple.loggops import LogGOPS

    model = LogGOPS(latency, overhead, gap, per_byte, cpu_per_byte, eager)
    with talk() as progress:
        result = run(source, model, noise=noise, seed=seed, replicas=replicas, progress=progress)
    if json:
        typer.echo(encoder.dumps(result, sort_keys=True))
    else:
        for line in _lines(result):
            typer.echo(line)
    if result["ops_never_run"]:
        raise typer.Exit(STALLED)


def _lines(result: dict[str, Any]) -> list[str]:
    """Lines of the text output."""
    finish = result["finish_ns"]
    ran, never = result["ops_run"], result["ops_never_run"]
    makespan = result["makespan_ns"]
    lines = [
        f"makespan       {format_seconds(makespan / 1e9)}  ({makespan:,} ns, modelled)",
        f"ranks          {len(finish):,}; the first ends after {min(finish):,} ns",
        f"ops            {ran:,} ran, {never:,} never ran",
    ]
    if len(finish) <= MOST_RANKS:
        lines += [f"rank {rank:<9} {ns:,} ns" for rank, ns in enumerate(finish)]
    if quiet := result.get("quiet_makespan_ns"):
        lines.append(f"noise          adds {makespan / quiet - 1:.1%} to {quiet:,} ns without it")
    if "replicas" in result:
        shown = result["replicas"]["makespan_ns"]
        spread = ", ".join(f"{name} {value:,.0f}" for name, value in shown.items())
        lines.append(f"{result['replicas']['n']:,} replicas  {spread} ns")
    lost = result["messages_not_received"]
    if lost:
        lines.append(f"{lost:,} message{' meets' if lost == 1 else 's meet'} no receive")
    return [*lines, *(f"stalled: {text}" for text in result["stalled"])]
