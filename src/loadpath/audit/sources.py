"""From what the user points at to one recording."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NoReturn

import polars as pl

from loadpath.audit.dumps import recording_of_dumps
from loadpath.audit.hosts import with_hosts
from loadpath.audit.links import links_caveat, measured_files
from loadpath.audit.ranks import rank_files, told_ranks
from loadpath.audit.reconcile import reconciled
from loadpath.audit.settings import Settings
from loadpath.audit.windows import in_window, windows_caveat
from loadpath.compiled.store import cache_home
from loadpath.decode.digest import file_digest
from loadpath.errors import InputError, first_line
from loadpath.ingest.compressed import is_compressed
from loadpath.ingest.execution_trace import is_execution_trace, read_execution_traces
from loadpath.ingest.flight_recorder import is_flight_recorder, read_flight_recorders
from loadpath.ingest.goal import is_goal, read_goal
from loadpath.ingest.handshake import HANDSHAKE_FILE, read_handshakes
from loadpath.ingest.nccl_inspector import is_inspector, read_inspector
from loadpath.ingest.nsys import is_nsys, read_nsys
from loadpath.ingest.op_table import is_op_table, read_steps
from loadpath.ingest.otf2 import is_otf2, read_otf2
from loadpath.ingest.stage_log import is_stage_log, read_stage_logs
from loadpath.tables import COMMUNICATOR, LANE, OP, RANK, STEP, Recording, caveat_table

__all__ = ["Progress", "holds_logs", "load_recording", "lone_dumps"]

Progress = Callable[[str], None]
NO_LOG = {".csv", ".parquet", ".yaml", ".html", ".npz", ".goal", ".bin", ".otf2", ".def", ".evt"}
ONE_JOB = "Give the records of one job: an op table, one trace per rank, or a schedule."


def load_recording(
    sources: str | Path | Sequence[str | Path],
    settings: Settings | None = None,
    progress: Progress = lambda _: None,
) -> Recording:
    """Read the records of one job.

    Parameters
    ----------
    sources : str, Path, or sequence of them
        An op table, Kineto traces, a GOAL schedule, an OTF2 trace, or a folder that holds one of them.
    settings : Settings, optional
        Layout and hosts files, ranks of traces, and whether parsed traces are kept.
    progress : callable of str
        Told what is being read.

    Returns
    -------
    Recording
        Recorded tables, with hosts where they are known.

    Raises
    ------
    InputError
        If nothing can be read, or the sources are of different jobs.
    """
    settings = settings or Settings()
    sources = [sources] if isinstance(sources, (str, Path)) else sources
    given = list(dict.fromkeys(Path(source) for source in sources))
    audits = [path for path in given if (path / "audit.json").is_file()]
    if audits:
        raise InputError(
            audits[0].name,
            "is an audit folder, not a recording",
            "Ask it questions with loadpath whatif, or audit the records it was made of.",
        )
    files = _files(given)
    held = [_records(of_source, settings) for of_source in files]
    op_tables = list(dict.fromkeys(path for tables, _ in held for path in tables))
    traces = list(dict.fromkeys(path for _, found in held for path in found))
    if len(op_tables) > 1:
        names = ", ".join(path.name for path in op_tables[:6])
        raise InputError(
            "sources", f"{len(op_tables)} op tables ({names})", "Audit one job at a time."
        )
    if op_tables and any(found and not tables for tables, found in held):
        raise InputError("sources", "an op table and traces", ONE_JOB)
    every = list(dict.fromkeys(chain(*files)))
    stages = [path for path in every if is_stage_log(path)]
    dumps = traces if all(map(is_flight_recorder, traces)) else []
    logs = [path for path in every if _is_log(path)] if traces and not op_tables else []
    alone = _alone([path for path in every if path not in logs], [*op_tables, *traces])
    if alone:
        recording = alone(settings, progress)
    elif op_tables:
        recording = _read_op_table(op_tables, settings, progress)
        recording = _with_unread(recording, [*traces, *stages], "op table")
    elif dumps and logs:
        recording = _with_flights(_read_logs(logs, settings, progress), dumps)
    elif dumps:
        recording = recording_of_dumps(read_flight_recorders(dumps))
    elif traces:
        recording = _with_handshakes(_read_traces(traces, settings, progress), traces)
        recording = _with_unread(_beside_logs(recording, logs), stages, "traces")
    elif stages:
        recording = _read_stages(stages, settings, progress)
    else:
        _refuse_nothing(given, every)
    recording = replace(
        recording,
        caveat=pl.concat([recording.caveat, links_caveat(every), windows_caveat(given)]),
    )
    return with_hosts(recording, settings.hosts) if settings.hosts else recording


def _refuse_nothing(given: Sequence[Path], every: Sequence[Path]) -> NoReturn:
    """Say that no record of a job was found, and what was."""
    names = ", ".join(sorted(map(str, given)))
    if measured_files(every):
        what = "collectives measured apart from a job (nccl-tests), and no records of a job"
        raise InputError(names, what, "Judge measured links with loadpath links.")
    raise InputError(
        names,
        "no op table (.parquet, .csv), no schedule (.goal), no trace (.json, .json.gz, .otf2, "
        ".sqlite), no stage log (.csv, .jsonl), no flight-recorder dump, no Inspector log "
        "and no compressed recording",
        ONE_JOB,
    )


def lone_dumps(sources: Sequence[str | Path], settings: Settings | None = None) -> list[Path]:
    """Find the dumps of flight recorders, where a job left nothing else.

    Parameters
    ----------
    sources : sequence of str or Path
        As for `load_recording`.
    settings : Settings, optional
        Hosts and ranks files, which are no records.

    Returns
    -------
    list of Path
        Empty where there is an op table or a trace too, or no dump.
    """
    held = [_records(files, settings or Settings()) for files in _files([Path(s) for s in sources])]
    traces = [path for _, found in held for path in found]
    if any(tables for tables, _ in held) or not all(map(is_flight_recorder, traces)):
        return []
    return list(dict.fromkeys(traces))


def holds_logs(sources: Sequence[str | Path]) -> bool:
    """Tell whether Inspector logs are among the records.

    Parameters
    ----------
    sources : sequence of str or Path
        As for `load_recording`.

    Returns
    -------
    bool
        True where one of the files is such a log.
    """
    return any(map(_is_log, chain(*_files([Path(source) for source in sources]))))


def _alone(files: Sequence[Path], beside: Sequence[Path]) -> Callable[..., Recording] | None:
    """Find the records that tell of a job by themselves, and say how they are read."""
    for what, is_one, most, read in ALONE:
        found = [path for path in files if is_one(path)]
        if not found:
            continue
        if len(found) > most or beside:
            names = ", ".join(path.name for path in [*found, *beside][:6])
            raise InputError("sources", f"{what} and other records ({names})", ONE_JOB)
        return partial(read, found)
    return None


def _read_op_table(tables: Sequence[Path], settings: Settings, progress: Progress) -> Recording:
    progress(f"reading {tables[0].name}")
    return read_steps(tables[0], settings.layout)


def _read_stages(logs: Sequence[Path], _: Settings, progress: Progress) -> Recording:
    progress(f"reading {len(logs)} stage logs")
    return read_stage_logs(logs)


def _read_compressed(files: Sequence[Path], _: Settings, progress: Progress) -> Recording:
    from loadpath.ingest.compressed.reading import read_compressed  # noqa: PLC0415 - few need it

    progress(f"reading {files[0].name}")
    return read_compressed(files[0])


def _read_schedule(schedules: Sequence[Path], _: Settings, progress: Progress) -> Recording:
    """Take the ranks of a schedule; nothing of it has run."""
    progress(f"reading {schedules[0].name}")
    schedule = read_goal(schedules[0])
    return Recording(
        source="goal",
        op=OP.empty(),
        lane=LANE.empty(),
        communicator=COMMUNICATOR.empty(),
        rank=RANK.build({"rank": list(range(schedule.n_rank))}),
        step=STEP.empty(),
        caveat=caveat_table([]),
        inputs=schedule.inputs,
        schedule=schedule,
    )


def _read_archive(archives: Sequence[Path], _: Settings, progress: Progress) -> Recording:
    progress(f"reading {archives[0].name}")
    return read_otf2(archives[0])


def _read_logs(logs: Sequence[Path], _: Settings, progress: Progress) -> Recording:
    progress(f"reading {len(logs)} Inspector logs")
    recording = read_inspector(logs)
    from loadpath.couple.logged import is_timed  # noqa: PLC0415 - few need it

    if not is_timed(recording):
        raise InputError(
            logs[0].name,
            "no communication was logged by all its members with its execution time",
            "Give the logs of all processes (one file each, NCCL_INSPECTOR_DUMP_DIR).",
        )
    return recording


def _read_exports(exports: Sequence[Path], settings: Settings, progress: Progress) -> Recording:
    progress(f"reading {len(exports)} Nsight exports")
    recording = read_nsys(exports, told_ranks(settings.ranks))
    told = map(file_digest, rank_files(settings.ranks))
    return replace(recording, inputs=(*recording.inputs, *told))


def _is_log(path: Path) -> bool:
    """Tell an Inspector log; it is written as NAME.log, and kept under many names."""
    return path.suffix.lower() not in NO_LOG and is_inspector(path)


MANY = 1 << 30
ALONE = (
    ("a compressed recording", is_compressed, 1, _read_compressed),
    ("a schedule", is_goal, 1, _read_schedule),
    ("an OTF2 trace", is_otf2, 1, _read_archive),
    ("Nsight exports", is_nsys, MANY, _read_exports),
    ("Inspector logs", _is_log, MANY, _read_logs),
)
"""Records that stand alone: what they are called, how they are told, how many, how they are read."""


def _read_traces(traces: list[Path], settings: Settings, progress: Progress) -> Recording:
    from loadpath.ingest.kineto import read_kineto  # noqa: PLC0415 - an op table starts faster

    dumps = [path for path in traces if is_flight_recorder(path)]
    executions = [path for path in traces if is_execution_trace(path)]
    timed = [path for path in traces if path not in {*dumps, *executions}] or traces
    progress(f"reading {len(timed)} traces")
    recording = read_kineto(
        timed,
        lambda i, n: progress(f"reading trace {i} of {n}"),
        ranks=told_ranks(settings.ranks),
        shelf=cache_home() if settings.cache else None,
    )
    told = map(file_digest, rank_files(settings.ranks))
    recording = replace(recording, inputs=(*recording.inputs, *told))
    if timed is traces:
        return recording
    return _with_executions(_with_flights(recording, dumps), executions)


def _with_executions(recording: Recording, paths: Sequence[Path]) -> Recording:
    """Add what execution traces say of the operators of the traces."""
    if not paths:
        return recording
    found = read_execution_traces(paths)
    return replace(
        recording,
        execution=found.node,
        caveat=pl.concat([recording.caveat, found.caveat]),
        inputs=(*recording.inputs, *found.inputs),
    )


def _with_flights(recording: Recording, dumps: Sequence[Path]) -> Recording:
    """Add what flight recorders noted beside the traces."""
    if not dumps:
        return recording
    try:
        found = read_flight_recorders(dumps)
    except InputError as error:
        unread = caveat_table([("flight_recorder_damaged", error.problems[0], len(dumps))])
        return replace(recording, caveat=pl.concat([recording.caveat, unread]))
    if (found.flight["duration_ns"] > 0).any():
        recording = reconciled(recording, found.flight, "flight recorders")
    return replace(
        recording,
        flight=recording.flight if recording.flight.height else found.flight,
        caveat=pl.concat([recording.caveat, found.caveat]),
        inputs=(*recording.inputs, *found.inputs),
    )


def _beside_logs(recording: Recording, logs: Sequence[Path]) -> Recording:
    """Compare Inspector logs that lie beside traces with them; they are not audited."""
    if not logs:
        return recording
    told = read_inspector(logs)
    compared = reconciled(recording, told.flight, "Inspector logs")
    return replace(
        compared,
        caveat=pl.concat([compared.caveat, told.caveat]),
        inputs=(*compared.inputs, *told.inputs),
    )


def _records(files: Sequence[Path], settings: Settings) -> tuple[list[Path], list[Path]]:
    """Op tables and traces among the files of one source, by name."""
    apart = measured_files(files)
    files = [path for path in files if path not in apart and not is_compressed(path)]
    traces = [
        path
        for path in files
        if (path.name.lower().endswith((".json", ".json.gz", ".et", ".et.gz")) or _is_pickled(path))
        and not _is_log(path)
    ]
    of_traces = HANDSHAKE_FILE if traces else ""
    tables = [
        path
        for path in files
        if is_op_table(path)
        and path.name != of_traces
        and not _names_places(path, settings)
        and not is_stage_log(path)
    ]
    return tables, traces


def _is_pickled(path: Path) -> bool:
    """Tell a pickled dump of a flight recorder; PyTorch gives it no suffix."""
    if path.suffix.lower() in {".csv", ".parquet", ".yaml", ".html", ".npz", ".txt", ".log"}:
        return False
    return is_flight_recorder(path)


def _with_unread(recording: Recording, beside: Sequence[Path], what: str) -> Recording:
    """Say which files beside the records that are audited are not read."""
    names = ", ".join(path.name for path in beside[:3]) + (", ..." if len(beside) > 3 else "")
    text = f"files beside the {what} are not read: {names}"
    unread = caveat_table([("unread_files", text, len(beside))])
    return replace(recording, caveat=pl.concat([recording.caveat, unread]))


def _with_handshakes(recording: Recording, traces: Sequence[Path]) -> Recording:
    """Add the handshakes of clocks that lie beside the traces."""
    folders = dict.fromkeys(path.parent for path in traces)
    found = [folder / HANDSHAKE_FILE for folder in folders if (folder / HANDSHAKE_FILE).exists()]
    if not found:
        return recording
    return replace(
        recording,
        handshake=pl.concat([read_handshakes(path) for path in found]),
        inputs=(*recording.inputs, *map(file_digest, found)),
    )


def _names_places(path: Path, settings: Settings) -> bool:
    """Tell a file of hosts or ranks that lies beside the records."""
    given = [*((settings.hosts,) if settings.hosts else ()), *map(Path, settings.ranks)]
    named = path.suffix.lower() == ".csv" and path.name.startswith(("hosts", "ranks"))
    return named or path.resolve() in {other.resolve() for other in given}


def _files(sources: Sequence[Path]) -> list[list[Path]]:
    """Files of each source; what is no regular file is refused when it is to be read."""
    try:
        missing = [str(source) for source in sources if not source.exists()]
        if missing or not sources:
            raise InputError(", ".join(missing) or "sources", "does not exist", "Check the path.")
        return [_held(source) if source.is_dir() else [source] for source in sources]
    except OSError as error:
        reason = f"cannot be read ({error.strerror or first_line(error)})"
        raise InputError(str(error.filename or "sources"), reason, "Check the path.") from error


def _held(folder: Path) -> list[Path]:
    return sorted(path for path in in_window(folder).iterdir() if not path.is_dir())
