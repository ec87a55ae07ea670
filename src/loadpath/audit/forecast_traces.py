"""Forecasts of traces: a recorded job of no microbatches at other sizes."""

from collections.abc import Iterable
from dataclasses import replace

import polars as pl

from loadpath.audit.forecast_settings import ForecastSettings
from loadpath.audit.result import Audit
from loadpath.audit.settings import Progress
from loadpath.errors import UsageError
from loadpath.forecast.known_job import KnownJob, tariff_at
from loadpath.forecast.sizes import parse_sizes
from loadpath.forecast.traced_curve import Scaling, job_of_traces, traced_sizes
from loadpath.forecast.traced_job import measure_traces

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


def _shares(limitation: pl.DataFrame) -> dict[str, float]:
    """Say what the step depends on besides transfers, by its elasticities."""
    whole = limitation.filter((pl.col("phase") == "all") & (pl.col("limit") == "all"))
    found = {"compute": 0.0, "host": 0.0}
    for resource, value in whole.select("resource", "elasticity_ratio").iter_rows():
        if resource in OWN_PARTS:
            found[OWN_PARTS[resource]] += max(value or 0.0, 0.0)
    total = sum(found.values())
    return {part: value / total for part, value in found.items()} if total else {"compute": 1.0}
