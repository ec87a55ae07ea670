"""How the records of each format are read into one recording; its reader is loaded then."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import polars as pl

from loadpath.audit.ranks import rank_files, told_ranks
from loadpath.audit.recognition import Kind, is_record
from loadpath.audit.reconcile import reconciled, steps_reconciled, unrecorded_caveat
from loadpath.audit.settings import Progress, Settings
from loadpath.compiled.store import cache_home
from loadpath.decode.digest import file_digest
from loadpath.errors import InputError, UsageError
from loadpath.ingest.handshake import HANDSHAKE_FILE, read_handshakes
from loadpath.ingest.power import POWER_FILES, read_power
from loadpath.tables import COMMUNICATOR, LANE, OP, RANK, STEP, Recording, caveat_table

__all__ = [
    "Readable",
    "beside_logs",
    "beside_stages",
    "read_records",
    "with_flights",
    "with_handshakes",
    "with_power",
]

Readable = Kind | Literal["op_table", "traces"]
UNUSED_POWER = (
    "samples of power are not used: of ranks without a trace, or outside the recorded steps (traces without "
    "a base time are on another clock)"
)


def read_records(
    kind: Readable, paths: Sequence[Path], settings: Settings, progress: Progress
) -> Recording:
    """Read the records of a job that are of one kind.

    Parameters
    ----------
    kind : str
        As `is_record` tells it, an op table, or traces.
    paths : sequence of Path
        Its files.
    settings : Settings
        Options of the audit.
    progress : callable of str
        Told what is being read.

    Returns
    -------
    Recording
        Recorded tables.

    Raises
    ------
    InputError
        If they cannot be read.
    UsageError
        If the settings give a layout or ranks to records that have none, or name their own.
    """
    for option, kinds, why in (
        ("layout", ("op_table",), "is no op table, which alone has a layout"),
        ("ranks", ("traces", "nsys", "dump"), "names its ranks itself"),
    ):
        if getattr(settings, option) and kind not in kinds:
            raise UsageError(f"--{option}: {paths[0].name} {why}. Leave the option out.")
    return READERS[kind](paths, settings, progress)


def _read_op_table(tables: Sequence[Path], settings: Settings, progress: Progress) -> Recording:
    from loadpath.ingest.op_table import read_steps

    progress(f"reading {tables[0].name}")
    return read_steps(tables[0], settings.layout)


def _read_stages(logs: Sequence[Path], _: Settings, progress: Progress) -> Recording:
    from loadpath.ingest.stage_log import read_stage_logs

    progress(f"reading {len(logs)} stage logs")
    return read_stage_logs(logs)


def _read_compressed(files: Sequence[Path], _: Settings, progress: Progress) -> Recording:
    from loadpath.ingest.compressed.reading import read_compressed

    progress(f"reading {files[0].name}")
    return read_compressed(files[0])


def _read_schedule(schedules: Sequence[Path], _: Settings, progress: Progress) -> Recording:
    """Take the ranks of a schedule; nothing of it has run."""
    from loadpath.ingest.goal import read_goal

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
    from loadpath.ingest.otf2 import read_otf2

    progress(f"reading {archives[0].name}")
    return read_otf2(archives[0])


def _read_logs(logs: Sequence[Path], _: Settings, progress: Progress) -> Recording:
    from loadpath.ingest.nccl_inspector import read_inspector

    progress(f"reading {len(logs)} Inspector logs")
    recording = read_inspector(logs)
    from loadpath.couple.logged import is_timed

    if not is_timed(recording):
        raise InputError(
            logs[0].name,
            "no communication was logged by all its members with its execution time",
            "Give the logs of all processes (one file each, NCCL_INSPECTOR_DUMP_DIR).",
        )
    return recording


def _read_exports(exports: Sequence[Path], settings: Settings, progress: Progress) -> Recording:
    from loadpath.ingest.nsys import read_nsys

    progress(f"reading {len(exports)} Nsight exports")
    recording = read_nsys(exports, told_ranks(settings.ranks))
    told = map(file_digest, rank_files(settings.ranks))
    return replace(recording, inputs=(*recording.inputs, *told))


def _read_traces(traces: Sequence[Path], settings: Settings, progress: Progress) -> Recording:
    from loadpath.ingest.kineto import read_kineto

    dumps = [path for path in traces if is_record(path, "dump")]
    executions = [path for path in traces if is_record(path, "execution")]
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
    return _with_executions(with_flights(recording, dumps, settings), executions)


def _with_executions(recording: Recording, paths: Sequence[Path]) -> Recording:
    """Add what execution traces say of the operators of the traces."""
    if not paths:
        return recording
    from loadpath.ingest.execution_trace import read_execution_traces

    found = read_execution_traces(paths)
    return replace(
        recording,
        execution=found.node,
        caveat=pl.concat([recording.caveat, found.caveat]),
        inputs=(*recording.inputs, *found.inputs),
    )


def with_flights(recording: Recording, dumps: Sequence[Path], settings: Settings) -> Recording:
    """Add what flight recorders noted beside the other records.

    Parameters
    ----------
    recording : Recording
        What the other records hold.
    dumps : sequence of Path
        Dumps of the same job; none changes nothing.
    settings : Settings
        Options of the audit.

    Returns
    -------
    Recording
        With their communications where it had none, and what disagrees as caveats.
    """
    if not dumps:
        return recording
    from loadpath.audit.later_hang import hang_caveat
    from loadpath.ingest.flight_recorder import read_flight_recorders

    try:
        found = read_flight_recorders(dumps, told_ranks(settings.ranks))
    except InputError as error:
        unread = caveat_table([("flight_recorder_damaged", error.problems[0], len(dumps))])
        return replace(recording, caveat=pl.concat([recording.caveat, unread]))
    if (found.flight["duration_ns"] > 0).any():
        recording = reconciled(recording, found.flight, "flight recorders")
    more = unrecorded_caveat(recording, found.ranks, "flight recorders")
    return replace(
        recording,
        flight=recording.flight if recording.flight.height else found.flight,
        caveat=pl.concat([recording.caveat, found.caveat, hang_caveat(recording, found), more]),
        inputs=(*recording.inputs, *found.inputs),
    )


def beside_logs(recording: Recording, logs: Sequence[Path]) -> Recording:
    """Compare Inspector logs that lie beside traces with them; they are not audited.

    Parameters
    ----------
    recording : Recording
        What the traces hold.
    logs : sequence of Path
        Logs of the same job; none changes nothing.

    Returns
    -------
    Recording
        With what disagrees as caveats.
    """
    if not logs:
        return recording
    from loadpath.ingest.nccl_inspector import read_inspector

    told = read_inspector(logs)
    compared = reconciled(recording, told.flight, "Inspector logs")
    more = unrecorded_caveat(recording, told.rank["rank"], "Inspector logs")
    return replace(
        compared,
        caveat=pl.concat([compared.caveat, told.caveat, more]),
        inputs=(*compared.inputs, *told.inputs),
    )


def beside_stages(recording: Recording, logs: Sequence[Path]) -> Recording:
    """Compare steps of stage logs that lie beside traces with them; they are not audited.

    Parameters
    ----------
    recording : Recording
        What the traces hold.
    logs : sequence of Path
        Stage logs of the same job; none changes nothing.

    Returns
    -------
    Recording
        With what disagrees, and what cannot be read, as caveats.
    """
    if not logs:
        return recording
    from loadpath.ingest.stage_log import read_stage_logs

    try:
        told = read_stage_logs(logs)
    except InputError as error:
        unread = caveat_table(
            [("unread_files", f"stage logs beside the traces: {error.problems[0]}", len(logs))]
        )
        return replace(recording, caveat=pl.concat([recording.caveat, unread]))
    compared = steps_reconciled(recording, told.step, "stage logs")
    more = unrecorded_caveat(recording, told.rank["rank"], "stage logs")
    return replace(
        compared,
        caveat=pl.concat([compared.caveat, more]),
        inputs=(*compared.inputs, *told.inputs),
    )


def with_handshakes(recording: Recording, traces: Sequence[Path]) -> Recording:
    """Add the handshakes of clocks that lie beside the traces.

    Parameters
    ----------
    recording : Recording
        What the traces hold.
    traces : sequence of Path
        Their files.

    Returns
    -------
    Recording
        With table `HANDSHAKE` where a file of handshakes lies there.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    folders = dict.fromkeys(path.parent for path in traces)
    found = [folder / HANDSHAKE_FILE for folder in folders if (folder / HANDSHAKE_FILE).exists()]
    if not found:
        return recording
    return replace(
        recording,
        handshake=pl.concat([read_handshakes(path) for path in found]),
        inputs=(*recording.inputs, *map(file_digest, found)),
    )


def with_power(recording: Recording, traces: Sequence[Path]) -> Recording:
    """Add the mean power of each rank's device, where samples of it lie beside the traces.

    Parameters
    ----------
    recording : Recording
        What the traces hold.
    traces : sequence of Path
        Their files.

    Returns
    -------
    Recording
        With ``power_w`` of ranks with samples in their steps; samples elsewhere are counted in a caveat.

    Raises
    ------
    InputError
        If a file of samples cannot be read.
    """
    folders = dict.fromkeys(path.parent for path in traces)
    found = [path for folder in folders for path in sorted(folder.glob(POWER_FILES))]
    if not found:
        return recording
    spans = recording.step.group_by("rank").agg(pl.col("start_ns").min(), pl.col("end_ns").max())
    sampled = read_power(found).join(spans, on="rank", how="left", maintain_order="left")
    inside = sampled.filter(pl.col("time_ns").is_between("start_ns", "end_ns"))
    mean = inside.group_by("rank", maintain_order=True).agg(pl.col("power_w").mean())
    rank = recording.rank.drop("power_w").join(mean, on="rank", how="left", maintain_order="left")
    unused = caveat_table([("power_unused", UNUSED_POWER, sampled.height - inside.height)])
    return replace(
        recording,
        rank=rank.with_columns(pl.col("power_w").fill_null(float("nan"))),
        caveat=pl.concat([recording.caveat, unused]),
        inputs=(*recording.inputs, *map(file_digest, found)),
    )


def _read_dumps(dumps: Sequence[Path], settings: Settings, progress: Progress) -> Recording:
    from loadpath.audit.dumps import recording_of_dumps
    from loadpath.ingest.flight_recorder import read_flight_recorders

    progress(f"reading {len(dumps)} flight-recorder dumps")
    return recording_of_dumps(read_flight_recorders(dumps, told_ranks(settings.ranks)))


READERS: dict[Readable, Callable[[Sequence[Path], Settings, Progress], Recording]] = {
    "op_table": _read_op_table,
    "traces": _read_traces,
    "stages": _read_stages,
    "compressed": _read_compressed,
    "schedule": _read_schedule,
    "otf2": _read_archive,
    "nsys": _read_exports,
    "log": _read_logs,
    "dump": _read_dumps,
}
