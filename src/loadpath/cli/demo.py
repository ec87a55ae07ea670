"""The command ``loadpath demo``."""

import json as encoder
from pathlib import Path
from typing import Annotated, Any

import typer

from loadpath.cli.progress import talk
from loadpath.units import format_ratio, format_seconds

__all__ = ["demo"]


def demo(
    fault: Annotated[str | None, typer.Option(help="none, rank, host or link: run a job.")] = None,
    ranks: Annotated[int, typer.Option(help="Processes of the job.")] = 4,
    place: Annotated[int, typer.Option(help="Faulty rank, or lower end of the link.")] = 1,
    python: Annotated[str, typer.Option(help="Interpreter that has PyTorch.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder to write.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print verdict and truth as JSON.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an audit folder.")] = False,
) -> None:
    """Audit a recording that comes with loadpath, or a job run here.

    With --fault a real job runs on this machine, which needs PyTorch. Every second recorded step carries the fault, so that what it costs is known: the verdict is printed
    beside it.
    """  # numpydoc ignore=PR01
    from loadpath.audit.demo import agrees, run_demo
    from loadpath.brief import render_summary

    target = out or Path("demo-audit" if fault is None else f"demo-{fault}")
    with talk() as progress:
        shown = run_demo(
            target,
            fault,
            ranks=ranks,
            place=place,
            python=python,
            force=force,
            progress=progress,
        )
    agreed = agrees(shown) if shown.truth else None
    if json:
        told = {"verdict": shown.audit.verdict, "truth": shown.truth, "agrees": agreed}
        typer.echo(encoder.dumps(told, sort_keys=True, indent=2))
        return
    folder = target if fault is None else target / "audit"
    summary = render_summary(shown.audit.document, briefing_path=f"{folder}/briefing.html")
    typer.echo(summary, nl=False)
    for line in _compared(shown.audit.verdict, shown.truth, agreed=agreed):
        typer.echo(line)


def _compared(verdict: Any, truth: Any, *, agreed: bool | None) -> list[str]:
    """Lines that put the verdict beside the truth."""
    from loadpath.brief.lines import entry

    if agreed is None:
        return []
    what = {"none": "nothing", "link": "slow link of ranks {} and {}"}
    planted = what.get(truth["fault"], "slow {fault} {}").format(*truth["ranks"], **truth)
    steps = [format_seconds(truth[name]) for name in ("healthy_step_s", "faulty_step_s")]
    lines = entry(
        "Planted",
        f"{planted} in every second step, which takes {' without, '.join(steps)} with it",
        2,
    )
    if truth["fault"] != "none" and verdict["gain_s"] is not None:
        off = verdict["gain_s"] / truth["lost_s"] - 1
        told = [format_seconds(seconds) for seconds in (verdict["gain_s"], truth["lost_s"])]
        lines += entry(
            "Predicted",
            f"{' of '.join(told)} that it costs, mean of all steps ({format_ratio(off)})",
            2,
        )
    return [*lines, *entry("Agrees", "yes" if agreed else "no", 1)]
