"""Forecasts of traces: a recorded job of no microbatches at other sizes."""

from collections.abc import Iterable
from dataclasses import replace

import polars as pl

from loadpath.audit.forecast_settings import ForecastSettings
from loadpath.audit.result import Audit
from loadpath.audit.settings import Progress
from loadpath.errors import UsageError
from loadpath.forecast.audited_curve import audited_sizes, job_of_audit
from loadpath.forecast.audited_job import JobSize
from loadpath.forecast.audited_point import audited_pipeline
from loadpath.forecast.known_job import KnownJob, tariff_at
from loadpath.forecast.sizes import parse_sizes
from loadpath.forecast.traced_curve import Scaling, job_of_traces, traced_sizes
from loadpath.forecast.traced_job import measure_traces, replicas_of
from loadpath.forecast.traced_pipeline import (
    OF_TRACES,
    check_synthesis,
    measure_traced_pipeline,
)

__all__ = ["TRACES", "known_of_traces"]

TRACES = ("kineto",)
"""Records that name no microbatches."""
OWN_PARTS = {
    "device": "compute", "compute": "compute", "host": "host", "input": "host", "launch": "host",
    "lag": "host", "boundary": "host",
}  # fmt: skip
"""What a replica spends its time on by itself, as parts of the paid time."""


def known_of_traces(
    name: str,
    audit: Audit,
    settings: ForecastSettings,
    *,
    own_size: bool = False,
    also: Iterable[int] = (),
    progress: Progress = lambda _: None,
) -> KnownJob:
    """Extrapolate traces in replicas, samples and tensor width.

    Parameters
    ----------
    name : str
        What was audited.
    audit : Audit
        Of traces.
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
        If the traces do not tell what is asked, or the job can be at none of the sizes.
    """
    if settings.pipeline is not None:
        return _known_of_pipeline(name, audit, settings, (own_size, tuple(also)), progress=progress)
    scaling = Scaling(
        goal=settings.goal or "weak", tensor=settings.tensor or 0, samples=settings.samples or 0
    )
    try:
        traced = measure_traces(
            audit.job,
            audit.tables["step_time"],
            data_parallel=settings.data_parallel,
            wider=bool(scaling.tensor),
        )
    except UsageError as wrong:
        raise UsageError(f"{name}: {wrong}") from wrong
    traced = replace(traced, shares=_shares(audit.tables["limitation"]))
    asked = parse_sizes(settings.sizes) if settings.sizes else traced_sizes(traced, scaling)
    known = job_of_traces(
        name, traced, (traced.accelerators,) if own_size else (*asked, *also),
        scaling=scaling, worlds=(settings.seed, settings.worlds), progress=progress,
    )  # fmt: skip
    return replace(known, tariff=tariff_at(settings.rate, settings.currency))


def _known_of_pipeline(
    name: str,
    audit: Audit,
    settings: ForecastSettings,
    asked: tuple[bool, Iterable[int]],
    *,
    progress: Progress,
) -> KnownJob:
    """Synthesise a traced pipeline with other stages, microbatches and widths."""
    job, (own_size, also) = audit.job, asked
    if settings.samples is not None:
        raise UsageError(
            "--samples: with --pipeline the microbatches that were recorded are shared. Leave it out."
        )
    steps = audit.tables["step_time"]["measured_s"].to_numpy()
    try:
        replica = replicas_of(job, data_parallel=settings.data_parallel, lone=True)
        pipeline = audited_pipeline(measure_traced_pipeline(job, replica), steps)
        check_synthesis(pipeline)
    except UsageError as wrong:
        raise UsageError(f"{name}: {wrong}") from wrong
    shape = JobSize(tensor=settings.tensor or 0, stages=settings.pipeline or 0)
    sizes = parse_sizes(settings.sizes) if settings.sizes else audited_sizes(pipeline, shape)
    known = job_of_audit(
        name, pipeline, (job.rank.height,) if own_size else (*sizes, *also),
        scaling=(shape, settings.goal or "weak"), worlds=(settings.seed, settings.worlds),
        progress=progress,
    )  # fmt: skip
    return replace(
        known, tariff=tariff_at(settings.rate, settings.currency),
        assumptions=(*known.assumptions, *OF_TRACES),
    )  # fmt: skip


def _shares(limitation: pl.DataFrame) -> dict[str, float]:
    """Say what the step depends on besides transfers, by its elasticities."""
    whole = limitation.filter((pl.col("phase") == "all") & (pl.col("limit") == "all"))
    found = {"compute": 0.0, "host": 0.0}
    for resource, value in whole.select("resource", "elasticity_ratio").iter_rows():
        if resource in OWN_PARTS:
            found[OWN_PARTS[resource]] += max(value or 0.0, 0.0)
    total = sum(found.values())
    return {part: value / total for part, value in found.items()} if total else {"compute": 1.0}
