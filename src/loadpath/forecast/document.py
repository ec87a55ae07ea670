"""The forecast as a document, schema ``loadpath.forecast/1``: figures, flags, and what they rest on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from loadpath.forecast.advice import Advice
from loadpath.forecast.calibration import Calibration, MeasuredStep
from loadpath.forecast.convergence import convergence_told, steps_of
from loadpath.forecast.curve_document import (
    ONE_PERCENT,
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
from loadpath.forecast.design import Design
from loadpath.forecast.inversion import Limits
from loadpath.forecast.options import LEVEL
from loadpath.forecast.outlook import Outlook
from loadpath.forecast.sizes import Goal, Skipped, same_work
from loadpath.forecast.step import StepForecast
from loadpath.forecast.step_point import slowdown
from loadpath.forecast.worlds import band_of

__all__ = ["SCHEMA", "Asked", "describe"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a forecast was asked.

    Attributes
    ----------
    design : Design
        At its own size.
    goal : {"strong", "weak"}
        How its work grows.
    skipped : tuple of Skipped
        Sizes that cannot be.
    now : int
        Place of the present size among the sizes.
    seed, n_world : int
        Of the sampled worlds.
    limits : Limits
        What counts as too dear.
    held : tuple of mapping
        Measured runs beside their forecast, which they did not set.
    baselines_measured : bool
        Whether baselines are fitted to measured runs.
    """

    design: Design
    goal: Goal
    skipped: tuple[Skipped, ...]
    now: int
    seed: int
    n_world: int
    limits: Limits
    held: tuple[Mapping[str, Any], ...] = ()
    baselines_measured: bool = False


def describe(
    asked: Asked,
    outlook: Outlook,
    advice: Advice,
    measured: tuple[Sequence[MeasuredStep], Calibration | None],
) -> dict[str, Any]:
    """Write a forecast as plain values.

    Parameters
    ----------
    asked : Asked
        What was asked.
    outlook : Outlook
        Curves and chances.
    advice : Advice
        Flags and tables.
    measured : (sequence of MeasuredStep, Calibration or None)
        Runs that were measured, and what they set.

    Returns
    -------
    dict
        Content of ``forecast.json`` but for its command, inputs and versions.
    """
    design, (runs, calibration) = asked.design, measured
    tariff, now = outlook.tariff, outlook.forecasts[asked.now]
    spans = [run.design.cluster.accelerators for run in runs]
    spans += [int(run["n"]) for run in asked.held]
    points = [_point(outlook, advice, place, spans) for place in range(len(outlook.points))]
    return {
        "schema": SCHEMA,
        "design": _design(design),
        "goal": asked.goal,
        "n_now": int(outlook.curve.n[asked.now]),
        "seed": asked.seed,
        "n_worlds": asked.n_world,
        "level_ratio": LEVEL,
        "unit": "cell" if design.stencil is not None else "token",
        "currency": None if tariff is None else tariff.currency,
        "cost": advice.figure,
        "band_ratio": half_width(advice, asked.now),
        "limit": {"cost_per_unit": advice.limit, "asked": asked.limits.budget is not None},
        "points": points,
        "skipped": [asdict(one) for one in asked.skipped],
        "inversion": inversion_keys(advice),
        "inversion_searched": searched_keys(outlook.curve.n, asked.limits),
        "baselines": baseline_rows(advice, measured=asked.baselines_measured),
        "calibration": _calibration(asked, runs, calibration),
        "measured": list(asked.held),
        "data_range": [min(spans), max(spans)] if spans else None,
        "priors": prior_rows(outlook.priors, advice),
        "fits_memory": now.fits_memory,
        "fit_convergence": convergence_told(design),
        "memory": _memory(now),
        **{name: advice.tables[name].to_dicts() for name in TOLD},
        "assumptions": _assumptions(design, outlook, calibration),
    }


def _design(design: Design) -> dict[str, Any]:
    kind = "stencil" if design.stencil is not None else "training"
    prices = design.prices
    return {
        "name": design.name,
        "kind": "serving" if design.serving is not None else kind,
        "device": design.cluster.device,
        "accelerators": design.cluster.accelerators,
        "prices": None
        if prices is None
        else {"accelerator_hour": prices.accelerator_hour, "energy_kwh": prices.energy_kwh,
              "source": prices.source, "date": prices.date},
        "steps": steps_of(design),
    }  # fmt: skip


def _point(outlook: Outlook, advice: Advice, place: int, spans: Sequence[int]) -> dict[str, Any]:
    priced, curve, design = advice.priced, outlook.curve, outlook.designs[place]
    step, n = band_of(curve.step_s[:, place]), int(curve.n[place])
    forecast = outlook.forecasts[place]
    paid = advice.tables["paid_share"].filter(pl.col("n") == n)
    shares = dict(paid.select("limitation", "share_ratio").iter_rows())
    return {
        "n": n,
        "step_s": step._asdict(),
        "tokens_per_s": float(curve.work[place]) / step.median,
        "mfu_ratio": forecast.mfu_ratio * forecast.step_s / step.median,
        "power_w": None if curve.power_w is None else float(np.median(curve.power_w[:, place])),
        "energy_j_per_unit": median_at(priced, "energy_j_per_unit", place),
        "cost_per_unit": band_at(priced, "cost_per_unit", place),
        "accelerator_s_per_unit": band_at(priced, "accelerator_s_per_unit", place),
        "job_s": median_at(priced, "job_s", place),
        "job_cost": median_at(priced, "job_cost", place),
        "job_s_band": band_at(priced, "job_s", place),
        "job_cost_band": band_at(priced, "job_cost", place),
        "ettr_ratio": median_at(priced, "ettr_ratio", place),
        "limitation": {"startup": None} | shares,
        "noise_gain_ratio": (slowdown(design, ONE_PERCENT, outlook.points[place].noise_share) - 1)
        / ONE_PERCENT,
        "fits_memory": forecast.fits_memory,
        "basis": "modelled",
        "in_data_range": bool(spans) and min(spans) <= n <= max(spans),
    }


def _calibration(
    asked: Asked, runs: Sequence[MeasuredStep], calibration: Calibration | None
) -> dict[str, Any] | None:
    if calibration is None:
        return None
    return {
        "points": [
            {
                "n": run.design.cluster.accelerators,
                "step_s": run.step_s,
                "error_ratio": error,
                "on_curve": same_work(asked.design, run.design, asked.goal),
            }
            for run, error in zip(runs, calibration.error_ratio, strict=True)
        ],
        "n_point": len(runs),
        "error_ratio": float(np.max(np.abs(calibration.error_ratio))),
        "priors": calibration.priors,
    }


def _memory(forecast: StepForecast) -> dict[str, float] | None:
    held = forecast.memory
    if held is None:
        return None
    parts = ("weights", "gradients", "optimiser", "activations")
    each = {f"{name}_bytes": float(getattr(held, name)) for name in parts}
    return {**each, "total_bytes": float(held.total), "room_bytes": float(forecast.room_bytes)}


def _assumptions(design: Design, outlook: Outlook, calibration: Calibration | None) -> list[str]:
    """Say what is taken for granted besides priors."""
    said = [
        "one pipeline stands for all replicas, whose ranks are replayed one by one for noise; all wait for the slowest",
        "failures arrive without memory; checkpoints are as far apart as loses least"
        if not design.checkpoint.interval
        else "failures arrive without memory",
    ]
    tiers, largest = design.cluster.tiers, int(outlook.curve.n[-1])
    if tiers and tiers[-1].size < largest:
        said.append(
            f"tier {tiers[-1].name} grows from {tiers[-1].size:,} to {largest:,} accelerators"
        )
    if design.convergence is not None:
        said.append("steps to the target follow the batch as the runs of table convergence do")
    elif design.startup.steps is not None:
        said.append("the whole job needs the same work, whatever the batch")
    if calibration is None:
        said.append("no run was measured: all figures follow from data sheets and priors")
    return said
