"""What is asked of a design beside its curves: the best layouts, and how it serves recorded requests."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import polars as pl

from loadpath.audit.forecast_settings import ForecastSettings
from loadpath.errors import UsageError
from loadpath.forecast.design import Design
from loadpath.forecast.layout import fast_domain
from loadpath.forecast.measured_iterations import (
    IterationFit,
    TimedWidth,
    calibrate_widths,
    fit_at,
    timed_width,
)
from loadpath.forecast.request_queue import Service
from loadpath.forecast.search import Budget, search
from loadpath.forecast.search_space import default_space
from loadpath.forecast.serving_curve import serving_capacity, serving_curve
from loadpath.forecast.sizes import parse_sizes
from loadpath.forecast.transformer import model_of
from loadpath.ingest.iteration_table import read_iterations
from loadpath.ingest.request_trace import read_requests

__all__ = ["Answer", "check_answers", "layouts_of", "parse_bounds", "serving_of"]

Answer = tuple[dict[str, Any], dict[str, pl.DataFrame]]
N_LAYOUTS = 20
LOADS = (0.5, 1.0, 1.5, 2.0)
S_PER_HOUR = 3600.0
BOUNDS = {
    "accelerators": "accelerators",
    "cost_per_h": "cost_per_h",
    "job_cost": "job_cost",
    "job_h": "job_s",
    "memory_ratio": "memory_ratio",
}
"""Bounds of a search as they are asked for, and as `Budget` calls them."""


def parse_bounds(text: str) -> Budget:
    """Read the bounds of a search.

    Parameters
    ----------
    text : str
        Such as ``cost_per_h=2500,job_h=720``.

    Returns
    -------
    Budget
        None bounded where the text is empty.

    Raises
    ------
    UsageError
        If a bound is not known, or no number above 0.

    Examples
    --------
    >>> parse_bounds("job_h=2, accelerators=64").job_s
    7200.0
    """
    found: dict[str, float] = {}
    for part in filter(None, (one.strip() for one in text.split(","))):
        name, _, value = (word.strip() for word in part.partition("="))
        try:
            amount = float(value)
        except ValueError:
            amount = 0.0
        if name not in BOUNDS or not 0 < amount < float("inf"):
            known = ", ".join(f"{bound}=NUMBER" for bound in BOUNDS)
            raise UsageError(f"bound {part[:80]!r}: give any of {known}, above 0.")
        found[BOUNDS[name]] = amount * (S_PER_HOUR if name == "job_h" else 1.0)
    whole = {name: int(v) if name == "accelerators" else v for name, v in found.items()}
    return Budget(**whole)  # type: ignore[arg-type]


def check_answers(design: Design, settings: ForecastSettings) -> None:
    """Refuse to search, or to serve requests by, what is no such design, before anything is replayed.

    Parameters
    ----------
    design : Design
        As it was read.
    settings : ForecastSettings
        Options.

    Raises
    ------
    UsageError
        If it trains no transformer and is to be searched, or serves nothing and is to answer requests.
    """
    if settings.search and (design.model is None or design.serving is not None):
        raise UsageError(
            f"design {design.name!r} cannot be searched: it trains no transformer. Leave --search out."
        )
    if settings.requests is not None and (design.serving is None or design.model is None):
        raise UsageError(f"design {design.name!r} serves nothing: --requests needs [serving].")


def layouts_of(design: Design, settings: ForecastSettings) -> Answer | None:
    """Search the layouts of a design, where that is asked for.

    Parameters
    ----------
    design : Design
        With its calibrated priors.
    settings : ForecastSettings
        Options; at the design's own size, or at all of ``sizes``.

    Returns
    -------
    (dict, dict) or None
        Key ``search`` of the document, and tables ``layout`` and ``refused``.

    Raises
    ------
    UsageError
        If the design cannot be searched, or a bound is wrong.
    """
    if not settings.search:
        return None
    sizes = parse_sizes(settings.sizes) if settings.sizes else ()
    space = default_space(design, sizes)
    found = search(
        design, space, objective=settings.objective, budget=parse_bounds(settings.within)
    )
    told = {
        "objective": found.objective,
        "within": settings.within,
        "n_timed": found.layouts.height,
        "n_within": int(found.layouts["within_budget"].sum()),
        "layouts": found.layouts.head(N_LAYOUTS).to_dicts(),
        "refused": found.refused.to_dicts(),
    }
    return told, {"layout": found.layouts, "refused": found.refused}


def serving_of(design: Design, settings: ForecastSettings) -> Answer | None:
    """Serve recorded requests by a design, where they are given.

    Parameters
    ----------
    design : Design
        With its calibrated priors.
    settings : ForecastSettings
        Options.

    Returns
    -------
    (dict, dict) or None
        Key ``serving`` of the document, and tables ``serving_point`` and ``serving_capacity``.

    Raises
    ------
    InputError
        If the requests or measured iterations cannot be read.
    UsageError
        If the design fits at no width.
    """
    if settings.requests is None:
        return None
    requests = read_requests(settings.requests)
    service = Service(ttft_s=settings.ttft, tpot_s=settings.tpot)
    widths = _widths(design)
    fits = _fits(design, settings.iterations, service)
    timed = _timed(design, fits, widths, service)
    curve = serving_curve(design, requests, widths, loads=LOADS, service=service, measured=timed)
    capacity = serving_capacity(design, requests, widths, service=service, measured=timed)
    told = {
        "requests": requests.height,
        "ttft_s": settings.ttft,
        "tpot_s": settings.tpot,
        "good_ratio": service.good_ratio,
        "band_factor": service.band_factor,
        "iterations": _iterations_told(fits, curve.points["tensor"].unique().sort().to_list()),
        "points": curve.points.to_dicts(),
        "capacity": capacity.points.to_dicts(),
        "refused": list(curve.refused),
    }
    return told, {"serving_point": curve.points, "serving_capacity": capacity.points}


def _fits(design: Design, path: Path | None, service: Service) -> dict[int, IterationFit]:
    if path is None:
        return {}
    return calibrate_widths(design, read_iterations(path), service.memory_ratio)


def _timed(
    design: Design, fits: Mapping[int, IterationFit], widths: Sequence[int], service: Service
) -> dict[int, TimedWidth]:
    """Time the widths that measured iterations tell of; those that cannot be are refused later."""
    found = {}
    how = {"memory_ratio": service.memory_ratio, "band_factor": service.band_factor}
    for width in widths if fits else ():
        with suppress(UsageError):
            found[width] = timed_width(design, fits, width, **how)
    return found


def _iterations_told(
    fits: Mapping[int, IterationFit], widths: Sequence[int]
) -> list[dict[str, Any]]:
    """Say which measured width stands for each, and what it says."""
    found = []
    for width in widths if fits else ():
        of, fit = fit_at(fits, width)
        band = fit.band_factor if isfinite(fit.band_factor) else None
        found.append({"tensor": width, "of_tensor": of} | asdict(fit) | {"band_factor": band})
    return found


def _widths(design: Design) -> tuple[int, ...]:
    """Powers of two inside the fast link that divide heads and accelerators; and the design's own."""
    n, heads = design.cluster.accelerators, model_of(design).heads
    each = design.parallelism.pipeline
    most = min(fast_domain(design), n // each)
    twos = [2**k for k in range(most.bit_length()) if 2**k <= most]
    found = {w for w in twos if heads % w == 0 and n % (w * each) == 0}
    return tuple(sorted(found | {design.parallelism.tensor}))
