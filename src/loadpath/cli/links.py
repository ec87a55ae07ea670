"""The command ``loadpath links``."""

import json as encoder
from pathlib import Path
from typing import Annotated, Any

import typer

from loadpath.cli.progress import talk

__all__ = ["links"]

SHOWN = 8


def links(
    sources: Annotated[
        list[Path],
        typer.Argument(
            help="Summaries of links measured by nccl-tests, pair by pair.", readable=False
        ),
    ],
    seed: Annotated[int, typer.Option(help="Seed of the shuffles.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON with sorted keys.")] = False,
) -> None:
    """Say which links and nodes are weak beyond chance.

    They are judged by nccl-tests between pairs of nodes.
    """  # numpydoc ignore=PR01
    from loadpath.audit.links import judge_links

    with talk() as progress:
        progress("shuffling the links of each test")
        told = judge_links(*sources, seed=seed)
    if json:
        typer.echo(encoder.dumps(told, sort_keys=True, indent=2))
        return
    typer.echo("\n".join(_lines(told)))


def _lines(told: dict[str, Any]) -> list[str]:
    """Verdict, then the units furthest below their peers."""
    from loadpath.brief.lines import wrap

    weak = [f"{row['place']} {row['name']}" for row in told["weak"]]
    n_link = sum(row["place"] == "link" for row in told["links"])
    head = f"{n_link:,} links in {told['tests']:,} tests; weak: {', '.join(weak) or 'none'}"
    shown = told["links"][:SHOWN]
    width = max((len(row["name"]) for row in shown), default=0)
    rows = [
        f"  {row['place']:4} {row['name']:{width}} {100 * row['deficit_ratio']:6.1f} % below peers, "
        f"p = {row['p_value']:.2g}{'  WEAK' if row['is_weak'] else ''}"
        for row in shown
    ]
    caveats = [f"{caveat['text']} ({caveat['n']:,})" for caveat in told["caveats"]]
    return [
        *wrap("Links", head),
        *rows,
        *(line for text in caveats for line in wrap("Caveat", text)),
    ]
