"""Compress the records of a job: merge as little as the size allows, and say what it cost."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from loadpath.audit.pipeline import couple_recording
from loadpath.audit.publication import publish_file
from loadpath.audit.settings import Progress, Settings
from loadpath.audit.sources import load_recording
from loadpath.couple import CoupledJob
from loadpath.couple.condensed import LEVELS, Level, condense, couple_condensed, recording_of
from loadpath.couple.logged import is_timed
from loadpath.couple.steps import as_runs, lay_out
from loadpath.diagnose.gains import mean_step_s
from loadpath.diagnose.levels import ideal_work_ns
from loadpath.diagnose.verdict import POLICY_RATIO
from loadpath.errors import InputError, UsageError, first_line
from loadpath.ingest.compressed.writing import Compressed, compress_recording
from loadpath.tables import Recording, caveat_table
from loadpath.units import NS_PER_S

__all__ = ["BUDGET_BYTES", "CompressionReport", "compress", "compress_job"]

BUDGET_BYTES = 3072
"""Of a rank and step, unless told otherwise."""
GRID_PER_STEP = 1 << 16
"""Times are multiples of a power of two of ns, of which a median step has this many or more."""
SKETCHES = (64, 16, 4)
"""Classes of merged ops that are sketched for each rank and step; fewer, where space is short."""


class CompressionReport(NamedTuple):
    """What was written.

    Attributes
    ----------
    level : str
        How much was merged: "whole" (nothing), "class", "kind" or "launch".
    n_bytes, n_rank, n_step : int
        Size of the file, and what it covers.
    n_op, n_recorded : int
        Ops in it, and ops of the coupled job.
    step_error_ratio, ideal_error_ratio : float
        By how much longer the mean step replays, as measured and ideal, than that of the whole job; as
        shares of the measured one. The ideal is longer by the noise of single ops that sums hide.
    """

    level: str
    n_bytes: int
    n_rank: int
    n_step: int
    n_op: int
    n_recorded: int
    step_error_ratio: float
    ideal_error_ratio: float

    @property
    def bytes_per_rank_step(self) -> float:
        """Size of the file for each rank and step."""
        return self.n_bytes / (self.n_rank * self.n_step)


@dataclass(frozen=True, slots=True)
class _Whole:
    """The job to compress, and what its steps take."""

    job: CoupledJob
    step_s: float
    ideal_s: float
    grid_ns: int

    @property
    def n_share(self) -> int:
        """Ranks times steps."""
        return self.job.rank.height * int(self.job.graph.step.size)


def compress(
    *sources: str | Path,
    out: str | Path,
    force: bool = False,
    budget_bytes: int = BUDGET_BYTES,
    settings: Settings | None = None,
    progress: Progress = lambda _: None,
) -> CompressionReport:
    """Compress the records of one job into one file that `run_audit` reads.

    Parameters
    ----------
    *sources : str or Path
        As for `run_audit`.
    out : str or Path
        File to write.
    force : bool
        Replace a file that is there.
    budget_bytes : int
        Largest size for each rank and step.
    settings : Settings, optional
        Layout and hosts files, ranks of traces.
    progress : callable of str
        Told what is being done.

    Returns
    -------
    CompressionReport
        What was written.

    Raises
    ------
    InputError
        If the records cannot be read, hold no times, or are compressed already.
    UsageError
        If `out` is there and `force` is not set, or nothing is as small as wanted.
    """  # numpydoc ignore=PR01,PR02
    target, chosen = Path(out), settings or Settings()
    if target.is_dir() or (target.exists() and not force):
        raise UsageError(f"{out} is there. Give another --out, or --force to replace a file.")
    recording = load_recording(sources, chosen, progress)
    _refuse_untimed(recording, ", ".join(Path(source).name for source in sources[:3]))
    progress("coupling ranks")
    job = lay_out(as_runs(couple_recording(recording, chosen)))
    progress("compressing")
    packed, report = compress_job(job, budget_bytes)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        publish_file(target, packed.content)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UsageError(f"{target} cannot be written ({reason}). Give another --out.") from error
    return report


def compress_job(
    job: CoupledJob, budget_bytes: int = BUDGET_BYTES, levels: tuple[Level, ...] = LEVELS
) -> tuple[Compressed, CompressionReport]:
    """Compress a coupled job.

    Parameters
    ----------
    job : CoupledJob
        Coupled job, in one graph.
    budget_bytes : int
        Largest size for each rank and step.
    levels : tuple of str
        How much may be merged, least first.

    Returns
    -------
    packed : Compressed
        Content of the file.
    report : CompressionReport
        What is in it.

    Raises
    ------
    UsageError
        If it is larger than that however much is merged.
    """
    whole = _whole(job)
    least = float("inf")
    for level in levels:
        packed, report = _compressed(whole, level, budget_bytes)
        if report.bytes_per_rank_step <= budget_bytes:
            return packed, report
        least = min(least, report.bytes_per_rank_step)
    raise UsageError(
        f"the replay needs {least / 1024:.1f} KiB of each rank and step, more than the budget of "
        f"{budget_bytes / 1024:g}. Give --budget {math.ceil(least / 1024)}, or more ranks and steps: what they "
        "do alike is told once."
    )


def _whole(job: CoupledJob) -> _Whole:
    if not job.n_op or not job.graph.step.size:
        what = "no timed work was recorded, so there is nothing to compress"
        raise InputError(job.source, what, "Keep the records as they are.")
    step_s = mean_step_s(job, job.work_ns.astype(np.float64))
    most = max(1.0, step_s * NS_PER_S / GRID_PER_STEP)
    ideal_s = mean_step_s(job, ideal_work_ns(job, "median"))
    return _Whole(job, step_s, ideal_s, 1 << int(np.log2(most)))


def _compressed(
    whole: _Whole, level: Level, budget_bytes: int
) -> tuple[Compressed, CompressionReport]:
    """Compress at one level, with as many sketches as there is space for."""
    job = whole.job
    recording = recording_of(job, condense(job, level))
    again = couple_condensed(recording)
    apart = [
        (mean_step_s(again, work) - before) / whole.step_s
        for work, before in (
            (again.work_ns.astype(np.float64), whole.step_s),
            (ideal_work_ns(again, "median"), whole.ideal_s),
        )
    ]
    doubted = replace(recording, caveat=pl.concat([recording.caveat, _apart(apart)]))
    n_step = int(job.graph.step.size)
    head = {"level": level, "steps": n_step, "ops_recorded": job.n_op, "grid_ns": whole.grid_ns,
            "step_s": whole.step_s, "ideal_s": whole.ideal_s}  # fmt: skip
    most = budget_bytes * whole.n_share
    packed = compress_recording(doubted, head, 0)
    may_sketch = len(packed.content) < most and level != "whole"
    for n_sketch in SKETCHES if may_sketch else ():
        with_sketch = compress_recording(doubted, head, n_sketch)
        if len(with_sketch.content) <= most:
            packed = with_sketch
            break
    report = CompressionReport(
        level, len(packed.content), job.rank.height, n_step, packed.head.ops, job.n_op, *apart
    )
    return packed, report


def _apart(apart: list[float]) -> pl.DataFrame:
    """Doubt conclusions from ops merged so far that the replay, or what is noise, is another one."""
    remedy = "audit the recording, or compress it with a larger --budget"
    text = (
        f"with its ops merged the step replays {100 * apart[0]:+.1f} % beside the whole recording, more than "
        f"the gate: it is too coarse to tell a cause; {remedy}"
    )
    noise = (
        f"{100 * apart[1]:.1f} % of the step is noise of single ops inside of merged ones; nobody can be "
        f"cleared of it: {remedy}"
    )
    return caveat_table([
        ("merged_apart", text, int(abs(apart[0]) > Settings().gate)),
        ("noise_merged", noise, int(apart[1] > POLICY_RATIO)),
    ])  # fmt: skip


def _refuse_untimed(recording: Recording, names: str) -> None:
    if recording.coupled is not None:
        raise InputError(names, "is compressed already", "Compress the records it was made of.")
    if not recording.op.height and recording.flight.height and not is_timed(recording):
        what = "holds no durations; what tells where a job hangs is small as it is"
        raise InputError(names, what, "Keep the dumps as they are.")
    if recording.schedule is not None:
        raise InputError(names, "is a schedule, which has no times", "Keep it as it is.")
