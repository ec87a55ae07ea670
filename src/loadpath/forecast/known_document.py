"""The forecast of a job without a design as a document, schema ``loadpath.forecast/1``."""

from typing import Any

import numpy as np
import polars as pl

from loadpath.forecast.advice import Advice
from loadpath.forecast.baselines import Baseline
from loadpath.forecast.curve_document import (
    SCHEMA,
    TOLD,
    band_at,
    baseline_rows,
    half_width,
    inversion_keys,
    median_at,
    prior_rows,
    searched_keys,
)
from loadpath.forecast.inversion import Limits
from loadpath.forecast.known_job import KnownJob
from loadpath.forecast.options import LEVEL
from loadpath.forecast.worlds import band_of

__all__ = ["LIMITATIONS", "describe_known", "held_runs_of"]

LIMITATIONS = (
    "compute", "memory", "intra_node", "inter_node", "latency", "waiting", "bubble", "host", "failures",
    "startup",
)  # fmt: skip
BASIS = {"recorded": "replayed", "measured": "modelled"}


def describe_known(
    job: KnownJob, advice: Advice, limits: Limits, worlds: tuple[int, int]
) -> dict[str, Any]:
    """Write the forecast of a job without a design as plain values.

    Parameters
    ----------
    job : KnownJob
        Its curve and worlds.
    advice : Advice
        Flags and tables.
    limits : Limits
        What counts as too dear.
    worlds : (int, int)
        Seed of the draws, and how many.

    Returns
    -------
    dict
        Content of ``forecast.json`` but for its command, inputs and versions; what nothing tells is null or
        empty.
    """
    spans = [int(run["n"]) for run in job.runs]
    n = job.curve.n
    return {
        "schema": SCHEMA,
        "design": {
            "name": job.name, "kind": job.kind, "device": None, "accelerators": int(n[job.now]),
            "prices": _prices(job), "steps": None,
        },
        "goal": job.goal,
        "n_now": int(n[job.now]),
        "seed": worlds[0],
        "n_worlds": worlds[1],
        "level_ratio": LEVEL,
        "unit": job.unit,
        "currency": None if job.tariff is None else job.tariff.currency,
        "cost": advice.figure,
        "band_ratio": half_width(advice, job.now),
        "limit": {"cost_per_unit": advice.limit, "asked": limits.budget is not None},
        "points": [_point(job, advice, place) for place in range(len(n))],
        "skipped": [{"n": one.n, "why": one.why} for one in job.skipped],
        "inversion": inversion_keys(advice),
        "inversion_searched": searched_keys(n, limits),
        "baselines": baseline_rows(advice, measured=job.fitted_to == "measured"),
        "calibration": {
            "points": [dict(run) for run in job.runs],
            "n_point": len(job.runs),
            "error_ratio": max(abs(float(run["error_ratio"])) for run in job.runs),
            "priors": {},
        },
        "measured": [],
        "data_range": [min(spans), max(spans)],
        "priors": prior_rows(job.priors, advice),
        "fits_memory": None,
        "fit_convergence": None,
        "memory": None,
        **{name: advice.tables[name].to_dicts() for name in TOLD},
        "assumptions": list(job.assumptions),
        **dict.fromkeys(("collectives", "record", "search", "serving")),
    }  # fmt: skip


def _prices(job: KnownJob) -> dict[str, Any] | None:
    if job.tariff is None:
        return None
    rate = float(job.tariff.rate_per_gpu_hour)
    return {"accelerator_hour": rate, "energy_kwh": 0.0, "source": "--rate", "date": ""}


def _point(job: KnownJob, advice: Advice, place: int) -> dict[str, Any]:
    priced, curve, n = advice.priced, job.curve, int(job.curve.n[place])
    spans = [int(run["n"]) for run in job.runs]
    step = band_at(priced, "step_s", place) or {}
    paid = advice.tables["paid_share"].filter(pl.col("n") == n)
    shares = dict(paid.select("limitation", "share_ratio").iter_rows())
    return {
        "n": n,
        "step_s": step,
        "tokens_per_s": float(curve.work[place]) / step["median"],
        "mfu_ratio": None,
        "power_w": None if curve.power_w is None else float(np.median(curve.power_w[..., place])),
        "energy_j_per_unit": median_at(priced, "energy_j_per_unit", place),
        "cost_per_unit": band_at(priced, "cost_per_unit", place),
        "accelerator_s_per_unit": band_at(priced, "accelerator_s_per_unit", place),
        "job_s": None,
        "job_cost": None,
        "job_s_band": None,
        "job_cost_band": None,
        "ettr_ratio": median_at(priced, "ettr_ratio", place),
        "limitation": {name: shares.get(name) for name in LIMITATIONS},
        "noise_gain_ratio": job.noise_gain[place] if job.noise_gain else None,
        "fits_memory": None,
        "basis": BASIS[job.kind],
        "in_data_range": min(spans) <= n <= max(spans),
    }


def held_runs_of(
    job: KnownJob, runs: pl.DataFrame, baselines: tuple[Baseline, ...]
) -> list[dict[str, Any]]:
    """Put measured runs beside the curve, which they did not set.

    Parameters
    ----------
    job : KnownJob
        With the sizes of the runs among its own.
    runs : polars.DataFrame
        Table `RUN_POINT`.
    baselines : tuple of Baseline
        Curves without structure, the chosen one first.

    Returns
    -------
    list of dict
        As of a design; runs at sizes that cannot be are under ``skipped`` of the document.
    """
    places = {n: place for place, n in enumerate(job.curve.n.tolist())}
    others = baselines[0].step_s(job.sizes).tolist() if baselines else None
    rows = []
    for n, step_s in runs.select("n", "step_s").iter_rows():
        if n not in places:
            continue
        band = band_of(job.curve.step_s[:, places[n]], LEVEL)
        other = None if others is None else others[places[n]]
        rows.append(
            {
                "n": n, "step_s": step_s, "forecast_s": band.median,
                "error_ratio": band.median / step_s - 1,
                "baseline_error_ratio": None if other is None else other / step_s - 1,
                "on_curve": True, "in_band": band.low <= step_s <= band.high,
            }
        )  # fmt: skip
    return rows
