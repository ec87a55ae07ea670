"""The forecast as a document, schema ``loadpath.forecast/1``: figures, flags, and what they rest on."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.forecast.advice import Advice, Limits
from loadpath.forecast.calibration import Calibration, MeasuredStep
from loadpath.forecast.conditions import noise_ratio
from loadpath.forecast.design import Design
from loadpath.forecast.options import LEVEL
from loadpath.forecast.outlook import Outlook
from loadpath.forecast.sizes import Goal, Skipped, same_work
from loadpath.forecast.step import StepForecast
from loadpath.forecast.step_point import waiting_ranks
from loadpath.forecast.worlds import Flag, band_of

__all__ = ["SCHEMA", "Asked", "describe"]

SCHEMA = "loadpath.forecast/1"
TOLD = (
    "crossing", "loss_crossing", "elasticity", "break_even", "region", "substitution", "option", "pilot",
)  # fmt: skip
"""Tables that the document repeats."""

ONE_PERCENT = 0.01
Array = NDArray[np.float64]


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
        "band_ratio": _half_width(advice, asked.now),
        "limit": {"cost_per_unit": advice.limit, "asked": asked.limits.budget is not None},
        "points": points,
        "skipped": [asdict(one) for one in asked.skipped],
        "inversion": _inversion(advice),
        "inversion_searched": _searched(outlook, asked.limits),
        "baselines": _baselines(advice, measured=asked.baselines_measured),
        "calibration": _calibration(asked, runs, calibration),
        "measured": list(asked.held),
        "data_range": [min(spans), max(spans)] if spans else None,
        "priors": _priors(outlook, advice),
        "fits_memory": now.fits_memory,
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
        "steps": design.startup.steps,
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
        "energy_j_per_unit": _median(priced, "energy_j_per_unit", place),
        "cost_per_unit": _band(priced, "cost_per_unit", place),
        "accelerator_s_per_unit": _band(priced, "accelerator_s_per_unit", place),
        "job_s": _median(priced, "job_s", place),
        "job_cost": _median(priced, "job_cost", place),
        "job_s_band": _band(priced, "job_s", place),
        "job_cost_band": _band(priced, "job_cost", place),
        "ettr_ratio": _median(priced, "ettr_ratio", place),
        "limitation": {"startup": None} | shares,
        "noise_gain_ratio": (noise_ratio(design.noise, ONE_PERCENT, waiting_ranks(design)) - 1)
        / ONE_PERCENT,
        "fits_memory": forecast.fits_memory,
        "basis": "modelled",
        "in_data_range": bool(spans) and min(spans) <= n <= max(spans),
    }


def _half_width(advice: Advice, place: int) -> float:
    """Half of the width of the band of the cost at the present size, over its median."""
    band = band_of(advice.priced[advice.figure][:, place], LEVEL)
    return (band.high - band.low) / (2 * band.median)


def _median(priced: Mapping[str, Array], name: str, place: int) -> float | None:
    return float(np.median(priced[name][:, place])) if name in priced else None


def _band(priced: Mapping[str, Array], name: str, place: int) -> dict[str, float] | None:
    return band_of(priced[name][:, place], LEVEL)._asdict() if name in priced else None


def _inversion(advice: Advice) -> dict[str, Any]:
    flags = advice.inversions
    names = ("average", "marginal", "throughput")
    return {name: _flag(None if flags is None else getattr(flags, name)) for name in names}


def _flag(flag: Flag | None) -> dict[str, Any] | None:
    return None if flag is None else flag._asdict()


def _searched(outlook: Outlook, limits: Limits) -> dict[str, Any]:
    n = outlook.curve.n
    missing = ["marginal: --value, what a unit of work is worth"] if limits.value is None else []
    if len(n) < 2:
        missing = ["all: two sizes or more"]
    return {
        "n_least": int(n[0]),
        "n_most": int(n[-1]),
        "worst_ratio": limits.worst_ratio,
        "value_per_unit": limits.value,
        "not_assessed": missing,
    }


def _baselines(advice: Advice, *, measured: bool) -> list[dict[str, Any]]:
    steps = advice.tables["baseline_point"]
    return [
        {
            "name": one.name,
            "points": steps.filter(pl.col("baseline") == one.name).drop("baseline").to_dicts(),
            "coefficients": one.fit.coefficients.tolist(),
            "error_ratio": one.error_ratio if np.isfinite(one.error_ratio) else None,
            "fitted_to": "measured" if measured else "forecast",
            "chosen": place == 0,
        }
        for place, one in enumerate(advice.baselines)
    ]


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
        "error_ratio": float(np.max(np.abs(calibration.error_ratio))),
        "priors": calibration.priors,
    }


def _priors(outlook: Outlook, advice: Advice) -> list[dict[str, Any]]:
    shares = dict(advice.tables["driver"].iter_rows())
    fields = ("name", "value", "low", "high", "unit", "about", "source")
    rows = [
        {field: getattr(prior, field) for field in fields}
        | {"share_ratio": shares.get(prior.name, 0.0)}
        for prior in outlook.priors.values()
        if prior.low < prior.high
    ]
    return sorted(rows, key=lambda row: (-row["share_ratio"], row["name"]))


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
        "one pipeline stands for all replicas; all wait for the slowest accelerator",
        "failures arrive without memory; checkpoints are as far apart as loses least"
        if not design.checkpoint.interval
        else "failures arrive without memory",
    ]
    tiers, largest = design.cluster.tiers, int(outlook.curve.n[-1])
    if tiers and tiers[-1].size < largest:
        said.append(
            f"tier {tiers[-1].name} grows from {tiers[-1].size:,} to {largest:,} accelerators"
        )
    if design.startup.steps is not None:
        said.append("the whole job needs the same work, whatever the batch")
    if calibration is None:
        said.append("no run was measured: all figures follow from data sheets and priors")
    return said
