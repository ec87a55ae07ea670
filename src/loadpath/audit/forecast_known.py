"""Forecasts without a design: of an audit or a recording, and of measured runs alone."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from loadpath.audit.folder import is_result
from loadpath.audit.forecast_options import SourceKind, refuse_others
from loadpath.audit.forecast_settings import ForecastSettings
from loadpath.audit.forecast_traces import TRACES, known_of_traces
from loadpath.audit.pipeline import run_audit
from loadpath.audit.provenance import digest_of
from loadpath.audit.result import Audit, open_audit
from loadpath.audit.settings import Progress
from loadpath.errors import InputError, UsageError
from loadpath.forecast.advice import Advice
from loadpath.forecast.audited_curve import audited_sizes, job_of_audit
from loadpath.forecast.audited_job import JobSize
from loadpath.forecast.audited_point import audited_pipeline
from loadpath.forecast.baselines import fit_baselines
from loadpath.forecast.inversion import Limits
from loadpath.forecast.known_advice import advise_known
from loadpath.forecast.known_document import describe_known, held_runs_of
from loadpath.forecast.known_job import KnownJob, tariff_at
from loadpath.forecast.measured_job import goal_of_runs, job_of_runs, sizes_of_runs
from loadpath.forecast.measured_pipeline import measure_pipeline
from loadpath.forecast.sizes import parse_sizes
from loadpath.ingest.run_table import read_runs
from loadpath.units import format_ratio

__all__ = [
    "audit_of",
    "forecast_audit",
    "forecast_runs",
    "inputs_of",
    "is_design",
    "kind_of",
    "known_of_audit",
]

Told = tuple[dict[str, Any], dict[str, pl.DataFrame]]


def is_design(path: Path) -> bool:
    """Say whether a source is a design file.

    Parameters
    ----------
    path : Path
        What the user points at.

    Returns
    -------
    bool
        By its ending, ``.toml``; all else is an audit folder or a recording.
    """
    return path.suffix.lower() == ".toml" and not path.is_dir()


def audit_of(path: Path, layout: Path | None) -> Audit:
    """Open an audit, or audit a recording.

    Parameters
    ----------
    path : Path
        An audit folder, or what ``loadpath audit`` reads.
    layout : Path or None
        Layout of an op table.

    Returns
    -------
    Audit
        Whose replay is within its gate.

    Raises
    ------
    InputError
        If it cannot be read, or its replay is not near enough to what was measured.
    """
    if is_result(path, "forecast"):
        what = "is a forecast folder, not an audit or a recording"
        raise InputError(path.name, what, "Give the design or the audit that it was made of.")
    audit = open_audit(path) if is_result(path) else run_audit(path, brief=False, layout=layout)
    replay = audit.document["replay"]
    error, gate = replay["error_ratio_median"], replay["gate"]
    if error is None or error > gate:
        told = (
            "has no replay error, for nothing was timed"
            if error is None
            else f"has a replay error of {format_ratio(error)}, above the gate of {format_ratio(gate)}"
        )
        raise InputError(
            path.name,
            f"its audit {told}",
            "Nothing is extrapolated from a replay that does not meet the record; see loadpath audit.",
        )
    return audit


def inputs_of(path: Path, audit: Audit) -> list[dict[str, Any]]:
    """Say which files an audit that a forecast rests on was read from.

    Parameters
    ----------
    path : Path
        An audit folder or a recording.
    audit : Audit
        What it is.

    Returns
    -------
    list of dict
        Name, digest and size: of the audit's document, or of the records.
    """
    if is_result(path):
        return [digest_of(path / "audit.json")]
    found: list[dict[str, Any]] = list(audit.document["inputs"])
    return found


def kind_of(path: Path, audit: Audit) -> SourceKind:
    """Say what kind of source an audit is to a forecast.

    Parameters
    ----------
    path : Path
        An audit folder or a recording.
    audit : Audit
        What it is.

    Returns
    -------
    {"op table", "audit of an op table", "traces"}
        All that is no trace is forecast as an op table is, or refused.
    """
    if audit.job.source in TRACES:
        return "traces"
    return "audit of an op table" if is_result(path) else "op table"


def forecast_audit(
    path: Path, settings: ForecastSettings, progress: Progress = lambda _: None
) -> Told:
    """Forecast an audited job at other sizes.

    Parameters
    ----------
    path : Path
        An audit folder or a recording.
    settings : ForecastSettings
        Options.
    progress : callable of str
        Told what begins.

    Returns
    -------
    document : dict
        Content of ``forecast.json`` but for its command, inputs and versions.
    tables : dict of str to polars.DataFrame
        Result tables.

    Raises
    ------
    InputError
        If it cannot be read, or its replay is not near enough to what was measured.
    UsageError
        If its record has no passes of microbatches, or the job can be at none of the sizes.
    """
    refuse_others(settings, "record")
    audit = audit_of(path, settings.layout)
    refuse_others(settings, kind_of(path, audit))
    runs = None if settings.points is None else read_runs(settings.points)
    also = () if runs is None else runs["n"]
    known = known_of_audit(path.stem, audit, settings, also=also, progress=progress)
    limits = _limits(settings)
    baselines = tuple(fit_baselines(known.sizes)) if known.sizes.height > 1 else ()
    document, tables = _told(known, advise_known(known, limits, baselines), settings)
    held = [] if runs is None else held_runs_of(known, runs, baselines)
    return document | {"inputs": inputs_of(path, audit), "measured": held}, tables


def known_of_audit(
    name: str,
    audit: Audit,
    settings: ForecastSettings,
    *,
    own_size: bool = False,
    also: Iterable[int] = (),
    progress: Progress = lambda _: None,
) -> KnownJob:
    """Replay an audited job at other sizes.

    Parameters
    ----------
    name : str
        What was audited.
    audit : Audit
        Result of `audit_of`.
    settings : ForecastSettings
        Options; around the recorded size where they name no sizes.
    own_size : bool
        Whether nothing but the recorded size is asked.
    also : iterable of int
        Further sizes.
    progress : callable of str
        Told what begins.

    Returns
    -------
    KnownJob
        Its curve and worlds.

    Raises
    ------
    UsageError
        If its record has no passes of microbatches, or the job can be at none of the sizes.
    """
    job = audit.job
    if job.source in TRACES:
        return known_of_traces(
            name, audit, settings, own_size=own_size, also=also, progress=progress
        )
    measured = measure_pipeline(job.op, job.work_ns, job.layout)
    steps = audit.tables["step_time"]["measured_s"].to_numpy()
    pipeline = audited_pipeline(measured, steps)
    shape = JobSize(tensor=settings.tensor or 0, stages=settings.pipeline or 0)
    asked = audited_sizes(pipeline, shape)
    if own_size:
        asked = (measured.accelerators,)
    elif settings.sizes:
        asked = parse_sizes(settings.sizes)
    known = job_of_audit(
        name, pipeline, (*asked, *also), scaling=(shape, settings.goal or "strong"),
        worlds=(settings.seed, settings.worlds), progress=progress,
    )  # fmt: skip
    return replace(known, tariff=tariff_at(settings.rate, settings.currency))


def forecast_runs(path: Path, settings: ForecastSettings) -> Told:
    """Forecast a job of which runs alone are known.

    Parameters
    ----------
    path : Path
        CSV of runs.
    settings : ForecastSettings
        Options.

    Returns
    -------
    document : dict
        Content of ``forecast.json`` but for its command, inputs and versions.
    tables : dict of str to polars.DataFrame
        Result tables.

    Raises
    ------
    InputError
        If the runs cannot be read or no curve can be fitted to them.
    UsageError
        If an option needs a design, or the job can be at none of the sizes.
    """
    refuse_others(settings, "runs")
    runs = read_runs(path)
    if settings.goal == "weak" and runs["global_batch"].null_count():
        raise UsageError(
            f"--goal weak: the runs of {path.name} tell no batch that could grow. Add the column global_batch."
        )
    sizes = parse_sizes(settings.sizes) if settings.sizes else sizes_of_runs(runs)
    known, baselines = job_of_runs(
        path.stem, runs, sizes,
        goal=settings.goal or goal_of_runs(runs), worlds=(settings.seed, settings.worlds),
        tariff=tariff_at(settings.rate, settings.currency),
    )  # fmt: skip
    return _told(known, advise_known(known, _limits(settings), baselines), settings)


def _limits(settings: ForecastSettings) -> Limits:
    return Limits(value=settings.value, budget=settings.budget)


def _told(known: KnownJob, advice: Advice, settings: ForecastSettings) -> Told:
    worlds = (settings.seed, settings.worlds)
    return describe_known(known, advice, _limits(settings), worlds), dict(advice.tables)
