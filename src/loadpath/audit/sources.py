"""From what the user points at to one recording."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NoReturn

import polars as pl

from loadpath.audit.files import folders_in, held_files, usable_files, without_aside
from loadpath.audit.folder import is_result
from loadpath.audit.hosts import name_hosts
from loadpath.audit.links import links_caveat, measured_files
from loadpath.audit.reading import (
    Readable,
    beside_logs,
    beside_stages,
    read_records,
    with_flights,
    with_handshakes,
    with_power,
)
from loadpath.audit.recognition import Kind, is_other_json, is_record
from loadpath.audit.set_aside import Aside, aside_caveats, find_aside, named_alike, refuse_aside
from loadpath.audit.settings import Progress, Settings
from loadpath.audit.windows import windows_caveat
from loadpath.errors import InputError, UsageError
from loadpath.ingest.handshake import HANDSHAKE_FILE
from loadpath.ingest.power import POWER_FILES
from loadpath.tables import Recording, caveat_table

__all__ = [
    "caveats_beside",
    "load_recording",
    "lone_dumps",
    "lost_dumps",
    "strangers_beside",
    "times_beside",
    "with_unread",
]

TRACES = (".json", ".json.gz", ".et", ".et.gz")
ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".7z")
OP_TABLES = (".parquet", ".csv")
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
    UsageError
        If an option is given of which only a simulation knows, and nothing is simulated.
    """
    settings = settings or Settings()
    sources = [sources] if isinstance(sources, (str, Path)) else sources
    given = list(dict.fromkeys(Path(source) for source in sources))
    audits = [path for path in given if is_result(path)]
    if audits:
        raise InputError(
            audits[0].name,
            "is an audit folder, not a recording",
            "Ask it questions with loadpath whatif, or audit the records it was made of.",
        )
    found = held_files(given)
    aside = find_aside(chain(*found), given)
    files = without_aside(found, aside)
    every = list(dict.fromkeys(chain(*files)))
    op_tables, traces = _of_one_job([_records(of_source, settings) for of_source in files])
    read = partial(read_records, settings=settings, progress=progress)
    recording = _read(every, (op_tables, traces), read, settings)
    if recording is None:
        _refuse_nothing(given, every, aside)
    _refuse_idle(settings, recording)
    beside = [links_caveat(every), windows_caveat(given), aside_caveats(aside, every)]
    recording = replace(recording, caveat=pl.concat([recording.caveat, *beside]))
    return name_hosts(recording, given, settings)


def _of_one_job(held: Sequence[tuple[list[Path], list[Path]]]) -> tuple[list[Path], list[Path]]:
    """Join op tables and traces of all sources."""
    op_tables = list(dict.fromkeys(path for tables, _ in held for path in tables))
    traces = list(dict.fromkeys(path for _, found in held for path in found))
    if len(op_tables) > 1:
        names = ", ".join(path.name for path in op_tables[:6])
        raise InputError(
            "sources", f"{len(op_tables)} op tables ({names})", "Audit one job at a time."
        )
    if op_tables and any(found and not tables for tables, found in held):
        raise InputError("sources", "an op table and traces", ONE_JOB)
    return op_tables, traces


def _read(
    every: Sequence[Path],
    of_job: tuple[Sequence[Path], Sequence[Path]],
    read: Callable[[Readable, Sequence[Path]], Recording],
    settings: Settings,
) -> Recording | None:
    """Read what tells most of the job, and lay beside it what tells more of it."""
    op_tables, traces = of_job
    stages = [path for path in every if is_record(path, "stages")]
    is_beside = traces and not op_tables
    logs = [path for path in every if is_record(path, "log")] if is_beside else []
    alone = _alone([path for path in every if path not in logs], [*op_tables, *traces])
    if alone:
        return read(*alone)
    if op_tables:
        return with_unread(read("op_table", op_tables), [*traces, *stages], "op table")
    if traces and all(is_record(path, "dump") for path in traces):
        recording, beside = _read_beside_dumps(traces, logs, stages, read)
        return with_unread(
            with_flights(recording, beside, settings), strangers_beside(every), "dumps"
        )
    if traces:
        recording = with_power(with_handshakes(read("traces", traces), traces), traces)
        recording = beside_logs(recording, logs)
        return beside_stages(recording, stages)
    return read("stages", stages) if stages else None


def _read_beside_dumps(
    dumps: Sequence[Path],
    logs: Sequence[Path],
    stages: Sequence[Path],
    read: Callable[[Readable, Sequence[Path]], Recording],
) -> tuple[Recording, Sequence[Path]]:
    """Take the times of Inspector logs, else of the dumps, else of stage logs; and dumps to lay beside."""
    from loadpath.couple.logged import is_timed  # noqa: PLC0415 - few need it

    if logs:
        return with_unread(read("log", logs), stages, "Inspector logs"), dumps
    recording = read("dump", dumps)
    if stages and not is_timed(recording):
        return read("stages", stages), dumps
    return with_unread(recording, stages, "dumps"), ()


def _refuse_idle(settings: Settings, recording: Recording) -> None:
    """Refuse options that would do nothing: who gives them expects other figures."""
    idle = [f"--{name}" for name in ("loggops", "noise") if getattr(settings, name)]
    if idle and recording.schedule is None:
        what = f"{' and '.join(idle)}: only a schedule (.goal) is simulated, what was timed is not"
        raise UsageError(f"{what}. Leave {'it' if len(idle) == 1 else 'them'} out.")


def _refuse_nothing(
    given: Sequence[Path], every: Sequence[Path], aside: Sequence[Aside]
) -> NoReturn:
    """Say that no record of a job was found, and what was."""
    if aside:
        refuse_aside(aside)
    names = ", ".join(sorted(map(str, given)))
    if measured_files(every):
        what = "collectives measured apart from a job (nccl-tests), and no records of a job"
        raise InputError(names, what, "Judge measured links with loadpath links.")
    packed = [path.name for path in every if path.name.lower().endswith(ARCHIVES)]
    if packed:
        what = f"no records but archives ({', '.join(packed[:3])})"
        raise InputError(names, what, "Unpack them, and audit the folder.")
    inside = [folder.name for source in given if source.is_dir() for folder in folders_in(source)]
    if inside and not every:
        more = ", ..." * (len(inside) > 3)
        what = f"no records in it, but folders ({', '.join(inside[:3])}{more})"
        raise InputError(names, what, "Give these folders; those of one job together.")
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
        Empty where there is an op table, a trace or a record that stands alone too, or no dump.
    """
    files = usable_files(sources)
    held = [_records(of_source, settings or Settings()) for of_source in files]
    traces = [path for _, found in held for path in found]
    if any(tables for tables, _ in held) or not all(is_record(path, "dump") for path in traces):
        return []
    others = [kind for kind, *_ in ALONE if kind != "log"]
    if traces and any(is_record(path, kind) for path in chain(*files) for kind in others):
        return []
    return list(dict.fromkeys(traces))


def lost_dumps(sources: Sequence[str | Path], dumps: Sequence[Path]) -> list[Path]:
    """Find files that are named as dumps and cannot be read.

    Parameters
    ----------
    sources : sequence of str or Path
        As for `load_recording`.
    dumps : sequence of Path
        Those that can.

    Returns
    -------
    list of Path
        Their ranks left something, but how far they came is not known.
    """
    given = [Path(source) for source in sources]
    aside = find_aside(chain(*held_files(given)), given)
    return [one.path for one in named_alike(aside, dumps)]


def times_beside(sources: Sequence[str | Path]) -> list[Path]:
    """Find the stage logs and Inspector logs among the records.

    Parameters
    ----------
    sources : sequence of str or Path
        As for `load_recording`.

    Returns
    -------
    list of Path
        Stage logs first.
    """
    every = list(dict.fromkeys(chain(*usable_files(sources))))
    kinds: tuple[Kind, ...] = ("stages", "log")
    return [path for kind in kinds for path in every if is_record(path, kind)]


def strangers_beside(sources: Sequence[str | Path]) -> list[Path]:
    """Find small files of JSON beside dumps that are no records.

    Parameters
    ----------
    sources : sequence of str or Path
        As for `load_recording`.

    Returns
    -------
    list of Path
        Settings, metrics and the like.
    """
    return [path for path in dict.fromkeys(chain(*usable_files(sources))) if is_other_json(path)]


def caveats_beside(sources: Sequence[str | Path]) -> pl.DataFrame:
    """Say which files beside the records can be none.

    Parameters
    ----------
    sources : sequence of str or Path
        As for `load_recording`.

    Returns
    -------
    polars.DataFrame
        Table `CAVEAT`.
    """
    given = [Path(source) for source in sources]
    every = list(chain(*held_files(given)))
    aside = find_aside(every, given)
    return aside_caveats(aside, chain(*without_aside([every], aside)))


def _alone(files: Sequence[Path], beside: Sequence[Path]) -> tuple[Kind, list[Path]] | None:
    """Find the records that tell of a job by themselves."""
    for kind, what, most in ALONE:
        found = [path for path in files if is_record(path, kind)]
        if not found:
            continue
        if len(found) > most or beside:
            names = ", ".join(path.name for path in [*found, *beside][:6])
            raise InputError("sources", f"{what} and other records ({names})", ONE_JOB)
        return kind, found
    return None


MANY = 1 << 30
ALONE: tuple[tuple[Kind, str, int], ...] = (
    ("compressed", "a compressed recording", 1),
    ("schedule", "a schedule", 1),
    ("otf2", "an OTF2 trace", 1),
    ("nsys", "Nsight exports", MANY),
    ("log", "Inspector logs", MANY),
)
"""Records that stand alone: what they are called, and how many may be given."""


def _records(files: Sequence[Path], settings: Settings) -> tuple[list[Path], list[Path]]:
    """Op tables and traces among the files of one source, by name."""
    apart = measured_files(files)
    files = [path for path in files if path not in apart and not is_record(path, "compressed")]
    traces = [
        path
        for path in files
        if (path.name.lower().endswith(TRACES) or is_record(path, "dump"))
        and not is_record(path, "log")
    ]
    if any(is_record(path, "dump") for path in traces):
        traces = [path for path in traces if not is_other_json(path)]
    tables = [
        path
        for path in files
        if path.suffix.lower() in OP_TABLES
        and not (traces and _is_of_traces(path))
        and not _names_places(path, settings)
        and not is_record(path, "stages")
    ]
    return tables, traces


def with_unread(recording: Recording, beside: Sequence[Path], what: str) -> Recording:
    """Say which files beside the records that are audited are not read.

    Parameters
    ----------
    recording : Recording
        What is audited.
    beside : sequence of Path
        Files that are not; none changes nothing.
    what : str
        How the records that are audited are called.

    Returns
    -------
    Recording
        With a caveat.
    """
    names = ", ".join(path.name for path in beside[:3]) + (", ..." if len(beside) > 3 else "")
    text = f"files beside the {what} are not read: {names}"
    unread = caveat_table([("unread_files", text, len(beside))])
    return replace(recording, caveat=pl.concat([recording.caveat, unread]))


def _is_of_traces(path: Path) -> bool:
    """Tell handshakes and samples of power, which are read with the traces beside them."""
    return path.name == HANDSHAKE_FILE or path.match(POWER_FILES)


def _names_places(path: Path, settings: Settings) -> bool:
    """Tell a file of hosts or ranks that lies beside the records."""
    given = [*((settings.hosts,) if settings.hosts else ()), *map(Path, settings.ranks)]
    named = path.suffix.lower() == ".csv" and path.name.startswith(("hosts", "ranks"))
    return named or path.resolve() in {other.resolve() for other in given}
