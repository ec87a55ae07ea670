"""What audit.json says of limits and coupling: the figures of their tables, and a sentence each."""

from collections.abc import Mapping
from math import prod
from typing import Any

import polars as pl

from loadpath.audit.settings import Settings
from loadpath.diagnose.failure_envelope import SIZES
from loadpath.diagnose.step_intervals import LEAST_STEPS, N_DRAW
from loadpath.tables.results import FACTORS
from loadpath.units import format_ratio

__all__ = ["RESOURCE_NAMES", "limits_document"]

RESOURCE_NAMES = {
    "device": "devices",
    "compute": "computation",
    "interconnect": "links",
    "overhead": "message handling",
    "host": "hosts",
    "input": "data loading",
    "launch": "launches",
    "lag": "starts (less lag)",
    "boundary": "arrivals from outside of the record",
}
"""What would have to be faster."""

OTHERS = ("device", "compute", "interconnect", "overhead", "host", "input")
"""Resources that are named beside the largest; the table has all."""

BOUND_NAMES = {"interconnect": "Interconnect", "device": "Device", "compute": "Compute"}
CLEAR_MODULARITY = 0.3
"""Modularity from which blocks are called a structure (Newman and Girvan 2004)."""


def limits_document(tables: Mapping[str, pl.DataFrame], settings: Settings) -> dict[str, Any]:
    """Write the sections on limits and coupling.

    Parameters
    ----------
    tables : mapping of str to polars.DataFrame
        Result tables; those of limits are empty where no conclusion is drawn.
    settings : Settings
        Bound of the failure envelope.

    Returns
    -------
    dict
        ``limitation``, ``efficiency``, ``coupling`` and ``failure_envelope``; each None where no
        conclusion is drawn.
    """
    if tables["limitation"].is_empty():
        return dict.fromkeys(("limitation", "efficiency", "coupling", "failure_envelope"))
    return {
        "limitation": _limitation(tables["limitation"]),
        "efficiency": _efficiency(tables["efficiency"]),
        "coupling": _coupling(tables),
        "failure_envelope": _envelope(tables["failure_envelope"], settings.bound),
    }


def _limitation(table: pl.DataFrame) -> dict[str, Any]:
    resources = table.filter((pl.col("limit") == "all") & (pl.col("resource") != "spread"))
    phases = [
        {"phase": phase, **_bound(resources.filter(pl.col("phase") == phase))}
        for phase in resources["phase"].unique(maintain_order=True)
        if phase != "all"
    ]
    whole = resources.filter(pl.col("phase") == "all")
    spread = table.filter(pl.col("resource") == "spread")
    return {
        **_bound(whole),
        "elasticity": {row["resource"]: _estimate(row, "elasticity") for row in whole.to_dicts()},
        "elasticity_sum_ratio": whole["elasticity_ratio"].sum(),
        "elasticity_sum_low": 10 * whole["gain_tenth_ratio"].sum(),
        "elasticity_sum_high": -10 * whole["gain_tenth_more_ratio"].sum(),
        "spread": _estimate(spread.row(0, named=True), "elasticity"),
        "phases": phases,
        "interval_method": _interval_method(whole),
        "summary": _limit_sentence(whole, spread.row(0, named=True)),
        "basis": "replayed",
    }


def _interval_method(whole: pl.DataFrame) -> str:
    if whole["elasticity_low_ratio"][0] is None:
        return f"no intervals: they need {LEAST_STEPS} steps to draw from"
    return f"95 % intervals from {N_DRAW:,} draws of steps"


def _bound(resources: pl.DataFrame) -> dict[str, Any]:
    """Name the resource with the largest elasticity, unless the next one may have it."""
    first = resources.row(0, named=True)
    told = first["margin_low_ratio"] is None or first["margin_low_ratio"] > 0
    told &= first["elasticity_ratio"] > 0
    return {
        "bound": first["resource"] if told else "balanced",
        "largest": first["resource"],
        "margin": _estimate(first, "margin"),
    }


def _limit_sentence(whole: pl.DataFrame, spread: Mapping[str, Any]) -> str:
    bound, largest = _bound(whole)["bound"], whole["resource"][0]
    others = whole.filter(pl.col("resource").is_in(OTHERS) & (pl.col("resource") != largest)).head(
        2
    )
    gains = [
        f", with {RESOURCE_NAMES[resource]} {format_ratio(gain)}"
        for resource, gain in others.select("resource", "gain_tenth_ratio").iter_rows()
    ]
    if bound == "balanced":
        head = "No one resource limits the step"
    else:
        head = f"{BOUND_NAMES.get(bound, bound.capitalize())}-bound"
    return (
        f"{head}: with 10 % faster {RESOURCE_NAMES[largest]} the step is "
        f"{format_ratio(whole['gain_tenth_ratio'][0])} shorter{''.join(gains)}; with all work at the "
        f"level of peers {format_ratio(spread['gain_whole_ratio'])}."
    )


def _efficiency(table: pl.DataFrame) -> dict[str, Any]:
    whole = {row["factor"]: row for row in table.filter(pl.col("step") == -1).to_dicts()}
    value = {name: row["value_ratio"] for name, row in whole.items()}
    empty = [name.replace("_", " ") for name in FACTORS if name in value and value[name] is None]
    computes = bool(value["parallel_efficiency"])
    factors = (value[name] for name in ("load_balance", "serialisation", "transfer"))
    basis = "parallel, load balance and communication efficiency measured; others replayed"
    if not computes:
        basis += f"; {', '.join([*empty, 'product error'])} not assessed: nobody computes"
    return {
        **{name: _estimate(whole[name], "value") for name in FACTORS if name in whole},
        "product_error_ratio": prod(factors) / value["parallel_efficiency"] - 1
        if computes and not empty
        else None,
        "basis": basis,
    }


def _coupling(tables: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    blocks = tables["coupling_block"].group_by("by", maintain_order=True)
    divisions = blocks.agg(
        pl.col("block").n_unique().alias("n_blocks"),
        pl.col("modularity_ratio", "within_ratio").first(),
    ).to_dicts()
    clear = [d["by"] for d in divisions if d["modularity_ratio"] >= CLEAR_MODULARITY]
    known = [by for by in clear if by != "found"]
    missed = {row["part"]: _estimate(row, "share") for row in tables["missed"].to_dicts()}
    return {
        "structure": (known or clear or [None])[0],
        "divisions": divisions,
        "missed": missed.get("either"),
        "missed_other_rank": missed.get("other_rank"),
        "missed_other_step": missed.get("other_step"),
        "distance": {
            row.pop("statistic"): row for row in tables["distance"].sort("statistic").to_dicts()
        },
        "basis": "replayed",
    }


def _envelope(table: pl.DataFrame, bound_ratio: float) -> dict[str, Any]:
    limits = table.filter(pl.col("what") == "limit")
    job = table.filter(pl.col("what") == "job").row(0, named=True)
    places = ("n_ranks", "share_ratio", "duration_ratio")
    return {
        "bound_ratio": bound_ratio,
        "largest_size_ratio": SIZES[-1],
        "limits": [
            {
                **{name: row[name] for name in places},
                "size_ratio": row["size_ratio"],
                "most_ratio": row["most_ratio"],
            }
            for row in limits.to_dicts()
        ],
        "job": {
            **{name: job[name] for name in ("n_ranks", "size_ratio", "growth_ratio", "state")},
        },
        "summary": _envelope_sentence(limits, job, bound_ratio),
        "basis": "replayed",
    }


def _envelope_sentence(limits: pl.DataFrame, job: Mapping[str, Any], bound_ratio: float) -> str:
    whole = limits.filter(pl.col("duration_ratio") == 1).sort("n_ranks")
    one, every = (_size(whole["size_ratio"][k]) for k in (0, -1))
    brief = limits.filter(pl.col("n_ranks") == 1).sort("duration_ratio").row(0, named=True)
    sampled = (limits["n_tried"] < limits["n_possible"]).any()
    among = ", among the choices of ranks and times that were tried" if sampled else ""
    within = (
        "If all ranks worked like their peers, a step would stay within "
        f"+{format_ratio(bound_ratio)}"
    )
    if whole["size_ratio"][-1] >= SIZES[-1]:
        most = (
            f"even if all of them worked {format_ratio(SIZES[-1])} longer, the most that was tried"
        )
        return f"{within} {most}. {_standing_sentence(job)}"
    return (
        f"{within} while any one rank works {one} longer, or all {every}; for an eighth of a step one "
        f"rank {_size(brief['size_ratio'])}{among}. {_standing_sentence(job)}"
    )


def _standing_sentence(job: Mapping[str, Any]) -> str:
    verb = "keeps" if job["state"] == "meets" else "breaks"
    longer = format_ratio(job["growth_ratio"])
    if job["n_ranks"] == 0:
        slow = "no rank works longer than its peers"
    else:
        slow = f"its slowest rank works {format_ratio(job['size_ratio'])} longer than its peers"
    also = f" ({job['n_ranks']} ranks at least half as much)" if job["n_ranks"] > 1 else ""
    return f"This job {verb} that bound: {slow}{also}, and its step is {longer} longer."


def _size(ratio: float) -> str:
    size = format_ratio(ratio)
    return f"{size} or more" if ratio >= SIZES[-1] else f"up to {size}"


def _estimate(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    ends = {end: row[f"{name}_{end}_ratio"] for end in ("low", "high")}
    return {"value": row[f"{name}_ratio"], **ends}
