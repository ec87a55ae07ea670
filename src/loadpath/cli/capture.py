"""The command ``loadpath capture``."""

from pathlib import Path
from typing import Annotated

import typer

from loadpath.cli.progress import talk
from loadpath.errors import UsageError

__all__ = ["capture"]


def capture(
    out: Annotated[Path, typer.Argument(help="Folder that gets the window.")],
    pids: Annotated[str, typer.Option(help="Processes, such as 41,42: ranks in this order.")] = "",
    slurm_job: Annotated[int, typer.Option(help="Number of a Slurm job on this host.")] = 0,
    processes: Annotated[int, typer.Option(help="Processes of that job on this host.")] = 0,
    duration: Annotated[float, typer.Option(help="Seconds to record.")] = 2.0,
    steps: Annotated[int, typer.Option(help="Steps to record instead of seconds.")] = 0,
    delay: Annotated[float, typer.Option(help="Seconds until it begins, once all asked.")] = 14.0,
    start_at: Annotated[int, typer.Option(help="Begin in ms of the epoch, on several hosts.")] = 0,
    patience: Annotated[float, typer.Option(help="Seconds to wait for the job.")] = 60.0,
) -> None:
    """Record a window of a running job, without touching its code.

    All its ranks on this host begin together. The job was started with KINETO_USE_DAEMON=1. Give --pids or --slurm-job.
    """  # noqa: DOC501  # numpydoc ignore=PR01
    from loadpath.capture.agent import Capture, capture_window

    named = [word.strip() for word in pids.split(",") if word.strip()]
    problems = [f"{word!r} is no process" for word in named if not word.isdecimal()]
    if bool(named) == bool(slurm_job):
        problems.append("give either --pids or --slurm-job")
    if not 0 < duration <= 600 or delay < 0 or patience <= 0:
        problems.append(
            "duration is above 0 and at most 600 s, patience above 0, delay not negative"
        )
    if problems:
        raise UsageError(f"{'; '.join(problems)}. See loadpath capture --help.")
    wanted = Capture(
        out,
        pids=tuple(map(int, named)),
        job=slurm_job,
        n_process=processes,
        duration_s=duration,
        delay_s=delay,
        patience_s=patience,
        start_ms=start_at,
        steps=steps,
    )
    with talk() as progress:
        folder, heard = capture_window(wanted, progress)
    length = f"{steps} steps" if steps else f"{duration:g} s"
    typer.echo(f"{len(heard.told)} ranks recorded {length} in {folder}")
    if heard.n_foreign or heard.n_malformed:
        ignored = f"{heard.n_foreign} datagrams of other users, {heard.n_malformed} malformed"
        typer.echo(f"ignored: {ignored}", err=True)
    typer.echo(f"loadpath audit {out}")
