"""The order of an audit: read, couple, diagnose, write."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, TypedDict, Unpack

import polars as pl

from loadpath.audit.document import build_document
from loadpath.audit.findings import diagnose
from loadpath.audit.folder import check_target, write_folder
from loadpath.audit.frontier import frontier_tables
from loadpath.audit.hosts import name_hosts
from loadpath.audit.kept import ask, find_answer, keep_answer
from loadpath.audit.ranks import told_ranks
from loadpath.audit.result import Audit
from loadpath.audit.settings import Progress, Settings
from loadpath.audit.sources import (
    load_recording,
    lone_dumps,
    strangers_beside,
    times_beside,
    with_unread,
)
from loadpath.audit.store import write_audit
from loadpath.couple import CoupledJob
from loadpath.couple.pipeline import couple_steps
from loadpath.couple.steps import CoupledSteps, as_steps
from loadpath.decode.digest import file_name
from loadpath.diagnose.levels import Baseline
from loadpath.diagnose.step_sample import take_steps
from loadpath.errors import InputError, UsageError
from loadpath.tables import Recording

__all__ = ["couple_recording", "couple_sources", "run_audit"]


class _Options(TypedDict, total=False):
    layout: Path | str | None
    hosts: Path | str | None
    ranks: str | Path | Sequence[str | Path] | Mapping[str, int]
    cache: bool
    rate: float | None
    currency: str
    work_per_step: float | None
    baseline: Baseline
    gate: float
    bound: float
    steps: int | None
    as_of: str
    seed: int
    loggops: str
    noise: str


def run_audit(
    *sources: str | Path,
    out: str | Path | None = None,
    force: bool = False,
    brief: bool = True,
    progress: Progress = lambda _: None,
    **options: Unpack[_Options],
) -> Audit:
    """Audit the records of one job.

    Parameters
    ----------
    *sources : str or Path
        An op table, traces, or a folder of them.
    out : str or Path, optional
        Audit folder to write; nothing is written if left out.
    force : bool
        Replace an audit folder that is there.
    brief : bool
        Write the briefing too. Where neither it nor a folder is wanted, the tables that only
        pictures need (path, timeline, rank_step) are left out.
    progress : callable of str
        Told what is being done.
    **options
        Fields of `Settings`: ``layout, hosts, ranks, cache, rate, currency, work_per_step,
        baseline, gate, bound, steps, as_of, seed, loggops, noise``. Ranks also as a mapping of file names
        to ranks, or as the path of one CSV.

    Returns
    -------
    Audit
        Document, tables and coupled job.

    Raises
    ------
    InputError
        If the records cannot be read.
    UsageError
        If an option is wrong, or `out` is there and `force` is not set.
    """  # numpydoc ignore=PR01,PR02
    settings = _settings(options)
    if out is not None:
        check_target(Path(out), force=force)
    wanted = {"folder": out is not None, "briefing": brief}
    question = ask(sources, settings, wanted)
    answer = find_answer(question)
    if answer is not None:
        progress("the same was audited before")
        if out is not None:
            write_folder(Path(out), answer.write, force=force)
        places = [Path(source).absolute() for source in sources]
        again = partial(
            _couple_again, lambda: ask(places, settings, wanted) == question, places, settings
        )
        return Audit(answer.document, answer.tables, cache(again))
    audit = _audit_anew(sources, settings, progress, drawn=brief or out is not None)
    keep = partial(keep_answer, question, audit.document, audit.tables)
    if out is None:
        keep()
    else:
        _write(audit, Path(out), progress, keep, brief=brief, force=force)
    return audit


def _audit_anew(
    sources: Sequence[str | Path], settings: Settings, progress: Progress, *, drawn: bool
) -> Audit:
    """Read, couple and diagnose."""
    names = [file_name(Path(source).resolve()) for source in sources]
    hang = _hang_of_dumps(sources, settings, names, progress)
    if hang is not None:
        document, tables, job = hang
        return Audit(document, tables, lambda: job)
    job = take_steps(couple_sources(sources, settings, progress), settings.steps)
    findings = diagnose(job, settings, progress, drawn=drawn)
    if job.source == "goal":
        findings["tables"]["caveat"] = _simulated_anew(sources, settings, job, findings)
    findings["tables"] |= frontier_tables(job, settings.seed)
    document = build_document(job, settings, names, findings)
    tables = findings["tables"] | {"rank": job.rank, "communicator": job.communicator}
    return Audit(document, tables, lambda: job)


def _write(
    audit: Audit,
    out: Path,
    progress: Progress,
    keep: Callable[[Path], None],
    *,
    brief: bool,
    force: bool,
) -> None:
    page = ""
    if brief:
        progress("writing the briefing")
        from loadpath.brief import render_briefing  # noqa: PLC0415 - not needed without it

        page = render_briefing(audit.document, audit.tables)
    write_audit(out, (audit.document, audit.tables, audit.job, page), force=force, keep=keep)


def _couple_again(
    asked: Callable[[], bool], sources: Sequence[Path], settings: Settings
) -> CoupledJob:
    """Couple what was audited, and nothing that has since taken its place."""
    if not asked():
        names = ", ".join(path.name for path in sources)
        raise InputError(names, "changed since it was audited", "Audit it again.")
    return take_steps(couple_sources(sources, settings, lambda _: None), settings.steps)


def _hang_of_dumps(
    sources: Sequence[str | Path], settings: Settings, names: Sequence[str], progress: Progress
) -> tuple[dict[str, Any], dict[str, pl.DataFrame], CoupledJob] | None:
    """Say where the job hangs; None without dumps, or where nothing hangs and times are recorded."""
    dumps = lone_dumps(sources, settings)
    if not dumps:
        return None
    from loadpath.audit.dumps import recording_of_dumps  # noqa: PLC0415 - few need it
    from loadpath.audit.hang import diagnose_dumps  # noqa: PLC0415 - few need it
    from loadpath.ingest.flight_recorder import read_flight_recorders  # noqa: PLC0415 - few need it

    progress(f"reading {len(dumps)} flight-recorder dumps")
    flights = read_flight_recorders(dumps, told_ranks(settings.ranks))
    beside = times_beside(sources)
    unread = [*beside, *strangers_beside(sources)]
    recording = with_unread(recording_of_dumps(flights), unread, "dumps")
    recording = name_hosts(recording, [Path(source) for source in sources], settings)
    told = diagnose_dumps(flights, recording, settings, names)
    from loadpath.couple.logged import is_timed  # noqa: PLC0415 - few need it

    is_hang = told[0]["verdict"]["kind"] == "hang"
    return None if not is_hang and (beside or is_timed(recording)) else told


def _simulated_anew(
    sources: Sequence[str | Path],
    settings: Settings,
    job: CoupledJob,
    findings: Mapping[str, Any],
) -> pl.DataFrame:
    """Add to the doubts what a schedule would take without the cause, simulated."""
    from loadpath.audit.simulation import simulated_without  # noqa: PLC0415 - few need it

    recording = load_recording(sources, settings)
    anew = simulated_without(recording, settings, job, findings["judgement"])
    caveat: pl.DataFrame = findings["tables"]["caveat"]
    return pl.concat([caveat, anew])


def couple_sources(
    sources: Sequence[str | Path], settings: Settings, progress: Progress
) -> CoupledSteps:
    """Read and couple the records of one job.

    Parameters
    ----------
    sources : sequence of str or Path
        An op table, traces, or a folder of them.
    settings : Settings
        Options of the audit.
    progress : callable of str
        Told what is being done.

    Returns
    -------
    CoupledSteps
        The coupled job; where all steps are coupled alike, the graph of one.
    """
    recording = load_recording(sources, settings, progress)
    progress("coupling ranks")
    return couple_recording(recording, settings)


def couple_recording(recording: Recording, settings: Settings | None = None) -> CoupledSteps:
    """Couple a recording of any source.

    Parameters
    ----------
    recording : Recording
        What a reader returned.
    settings : Settings, optional
        Costs and noise of messages, where the recording is a schedule.

    Returns
    -------
    CoupledSteps
        The coupled job; where all steps are coupled alike, the graph of one.
    """
    if recording.coupled is None and recording.source == "op_table":
        return couple_steps(recording)
    return as_steps(_couple(recording, settings or Settings()))


def _couple(recording: Recording, settings: Settings) -> CoupledJob:
    """Couple a recording whose steps are laid out in one graph."""
    if recording.coupled is not None:
        from loadpath.couple.condensed import couple_condensed  # noqa: PLC0415 - few need it

        return couple_condensed(recording)
    if recording.schedule is not None:
        from loadpath.audit.simulation import couple_schedule  # noqa: PLC0415 - few need it

        return couple_schedule(recording, settings)
    if recording.flight.height and not recording.op.height:
        from loadpath.couple.logged import couple_logged  # noqa: PLC0415 - few need it

        return couple_logged(recording)
    if recording.source == "stage_log":
        from loadpath.couple.stages import couple_stages  # noqa: PLC0415 - few need it

        return couple_stages(recording)
    if recording.source == "otf2":
        from loadpath.couple.mpi import couple_mpi  # noqa: PLC0415 - few need it

        return couple_mpi(recording)
    from loadpath.couple.trace import couple_trace  # noqa: PLC0415 - an op table starts faster

    return couple_trace(recording)


def _settings(options: _Options) -> Settings:
    values: dict[str, Any] = dict(options)
    for name in ("layout", "hosts"):
        if values.get(name) is not None:
            values[name] = Path(values[name])
    if "ranks" in values:
        values["ranks"] = _as_told(values["ranks"])
    try:
        return Settings(**values)
    except TypeError as error:
        known = ", ".join(_Options.__annotations__)
        raise UsageError(f"unknown option ({error}). Options are {known}.") from error


def _as_told(ranks: str | Path | Sequence[str | Path] | Mapping[str, int]) -> tuple[str, ...]:
    if isinstance(ranks, Mapping):
        return tuple(f"{name}={rank}" for name, rank in ranks.items())
    return (str(ranks),) if isinstance(ranks, (str, Path)) else tuple(map(str, ranks))
