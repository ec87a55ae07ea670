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
    slurm_job: Annotated[
        int | None, typer.Option(help="Number of a Slurm job on this host.")
    ] = None,
    processes: Annotated[
        int | None, typer.Option(help="Processes of that job on this host.")
    ] = None,
    duration: Annotated[float, typer.Option(help="Seconds to record.")] = 2.0,
    steps: Annotated[int | None, typer.Option(help="Steps to record instead of seconds.")] = None,
    delay: Annotated[float, typer.Option(help="Seconds until it begins, once all asked.")] = 14.0,
    start_at: Annotated[
        int | None, typer.Option(help="Begin in ms of the epoch, on several hosts.")
    ] = None,
    patience: Annotated[float, typer.Option(help="Seconds to wait for the job.")] = 60.0,
) -> None:
    """Record a window of a running job, without touching its code.

    All its ranks on this host begin together. The job was started with KINETO_USE_DAEMON=1. Give --pids or --slurm-job.
    """  # noqa: DOC501  # numpydoc ignore=PR01
    from loadpath.capture.agent import Capture, capture_window

    named = [word.strip() for word in pids.split(",") if word.strip()]
    problems = _no_processes(named)
    if bool(named) == bool(slurm_job):
        problems.append("give either --pids or --slurm-job")
    if not 0 < duration <= 600 or delay < 0 or patience <= 0:
        problems.append(
            "duration is above 0 and at most 600 s, patience above 0, delay not negative"
        )
    numbers = [number or 0 for number in (slurm_job, processes, steps, start_at)]
    if min(numbers) < 0:
        problems.append("numbers of jobs, processes and steps, and times, are not negative")
    if problems:
        raise UsageError(f"{'; '.join(problems)}. See loadpath capture --help.")
    wanted = Capture(
        out,
        pids=tuple(map(int, named)),
        job=numbers[0],
        n_process=numbers[1],
        duration_s=duration,
        delay_s=delay,
        patience_s=patience,
        start_ms=numbers[3],
        steps=numbers[2],
    )
    with talk() as progress:
        folder, heard = capture_window(wanted, progress)
    length = f"{steps} steps" if steps else f"{duration:g} s"
    typer.echo(f"{len(heard.told)} ranks recorded {length} in {folder}")
    if heard.n_foreign or heard.n_malformed:
        ignored = f"{heard.n_foreign} datagrams of other users, {heard.n_malformed} malformed"
        typer.echo(f"ignored: {ignored}", err=True)
    typer.echo(f"loadpath audit {out}")


def _no_processes(named: list[str]) -> list[str]:
    """Say which words name no process of this host, or one twice."""
    problems = [f"{word!r} is no process" for word in named if not word.isdecimal()]
    numbers = [int(word[:12]) for word in named if word.isdecimal()]
    if len(set(numbers)) < len(numbers):
        problems.append("a process stands twice")
    here = Path("/proc/self").exists()  # on other systems the socket says it
    gone = [n for n in dict.fromkeys(numbers) if here and not Path(f"/proc/{n}").exists()]
    return problems + [f"no process {n} runs on this host" for n in gone]
