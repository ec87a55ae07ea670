"""The content of audit.json, schema `loadpath.audit/1` (docs/formats/audit.md)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from loadpath.audit.frontier import frontier_section
from loadpath.audit.limits_document import limits_document
from loadpath.audit.settings import Settings
from loadpath.audit.stability import stability_section
from loadpath.audit.store import SCHEMA
from loadpath.audit.verdict_document import verdict_document
from loadpath.compiled.versions import versions
from loadpath.couple import CoupledJob
from loadpath.diagnose.fidelity import Fidelity
from loadpath.diagnose.judgement import Judgement

__all__ = ["build_document"]

LIBRARIES = ("loadpath", "numpy", "numba", "polars", "msgspec", "isal")
MOST_ATTRIBUTED = 64
"""Entries of each grouping in audit.json; the table has all."""


def build_document(
    job: CoupledJob,
    settings: Settings,
    sources: Sequence[str],
    findings: Mapping[str, Any],
) -> dict[str, Any]:
    """Put the findings of an audit into its document.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    settings : Settings
        Options of the audit.
    sources : sequence of str
        Names of what was audited, without folders.
    findings : mapping
        ``fidelity``, ``judgement`` (None where not assessable), ``refusal`` (why not assessable),
        ``tables``, ``slowdown``, ``unexplained_ratio``, ``victims``, ``distance``.

    Returns
    -------
    dict
        Plain values only; NaN becomes None.
    """
    fidelity: Fidelity = findings["fidelity"]
    judgement: Judgement | None = findings["judgement"]
    tables: Mapping[str, pl.DataFrame] = findings["tables"]
    document = {
        "schema": SCHEMA,
        "as_of": settings.as_of or None,
        "command": " ".join(["loadpath", "audit", *sources, *settings.as_arguments()]),
        "record": {
            "source": job.source,
            "layout": dict(job.layout),
            "basis": "modelled" if job.source == "goal" else "measured",
        },
        "inputs": [{"path_name": n, "sha256": h, "bytes": b} for n, h, b in job.inputs],
        "versions": versions(LIBRARIES),
        "job": _job(job, fidelity)
        | {
            "rank_time_s": _rank_time(tables["rank_time"]),
            "bound_steps": _bound_steps(tables["step_bound"]),
        },
        "replay": {
            "error_ratio_median": fidelity.error_ratio_median,
            "error_ratio_max": fidelity.error_ratio_max,
            "unexplained_ratio": findings["unexplained_ratio"],
            "negative_lag_s": fidelity.negative_lag_s,
            "gate": settings.gate,
        },
        "slowdown": findings["slowdown"],
        "verdict": verdict_document(job, judgement, findings),
        "stability": stability_section(tables, settings),
        "waits": _waits(tables) if judgement else {"exposed_s": None, "by_sink": {}},
        "attribution": _attribution(tables["attribution"]) if judgement else [],
        "blindness": tables["blindness"].to_dicts(),
        "caveats": [
            {"code": code, "text": text, "count": n}
            for code, text, n in sorted(tables["caveat"].iter_rows(), key=_weight)
        ],
        "stake": _stake(job, settings, judgement),
        "frontier": frontier_section(job, tables),
        **limits_document(tables, settings),
    }
    plain = dict(_plain(document))
    return dict(_modelled(plain)) if job.source == "goal" else plain


def _job(job: CoupledJob, fidelity: Fidelity) -> dict[str, Any]:
    member = np.zeros(job.n_op, np.bool_)
    member[job.membership["op"].to_numpy()] = True
    computes = (job.op["kind"].cast(pl.String).is_in(["compute", "optimise", "copy"])).to_numpy()
    n_rank = max(1, job.rank.height)
    matched = job.instance["matched"] if job.instance.height else pl.Series([], dtype=pl.Boolean)
    residual_ns = int(job.rank["clock_residual_ns"].max() or 0)  # type: ignore[arg-type]
    return {
        "ranks": job.rank.height,
        "ranks_represented": int(job.rank["n_represented"].sum()),
        "stages": job.op["stage"].n_unique(),
        "steps": int(job.step_number.size),
        "ops": job.n_run * job.n_op,
        "instances": job.n_run * job.instance.height,
        "instances_matched": job.n_run * int(matched.sum()),
        "clock_residual_s": residual_ns / 1e9 if residual_ns >= 0 else None,
        "power_w": float(job.rank["power_w"].sum()),
        "duration_s": float(fidelity.measured_s.sum()),
        "compute_s": float(job.work_ns[..., computes & ~member].sum()) / 1e9 / n_rank,
        "transfer_s": float(job.work_ns[..., member].sum()) / 1e9 / n_rank,
        "wait_s": float(job.wait_ns[..., member].sum()) / 1e9 / n_rank,
    }


def _bound_steps(table: pl.DataFrame) -> dict[str, int]:
    """Count the steps that each kind of work bounds."""
    counted = table.group_by(pl.col("bound").cast(pl.String)).len().sort("bound")
    return dict(counted.iter_rows())


def _rank_time(table: pl.DataFrame) -> dict[str, float]:
    """Mean over ranks of each part of the step, and their total."""
    parts = table.group_by("part").agg(pl.col("mean_s").mean()).sort("part")
    means = dict(parts.with_columns(pl.col("part").cast(pl.String)).iter_rows())
    return means | {"total": float(sum(means.values()))}


def _waits(tables: Mapping[str, pl.DataFrame]) -> dict[str, Any]:
    sinks = tables["sink"].group_by("sink").agg(pl.col("wait_s").sum()).sort("sink")
    return {
        "exposed_s": float(sinks["wait_s"].sum()),
        "by_sink": dict(sinks.iter_rows()),
    }


def _attribution(table: pl.DataFrame) -> list[dict[str, Any]]:
    shown = table.group_by("by", maintain_order=True).head(MOST_ATTRIBUTED)
    return shown.to_dicts()


def _weight(caveat: tuple[str, str, int]) -> int:
    """Order caveats by what they take from the conclusions; others keep their order."""
    heavy = (
        "other_run", "wrong_ranks", "cut_off", "truncated", "not_causal", "missing_rank", "missing_ranks",
    )  # fmt: skip
    light = ("not_kineto", "axes_unknown", "sampled_steps")
    if caveat[0] in heavy:
        return heavy.index(caveat[0]) - len(heavy)
    return light.index(caveat[0]) + 1 if caveat[0] in light else 0


def _accelerators(job: CoupledJob) -> str:
    if _hours_of(job) == "rank":
        return "none in the record, hours are those of ranks"
    if job.source != "op_table":
        return "assumed: one a recorded rank"
    assumed = (job.caveat["code"] == "layout_assumed").any()
    given = "one a recorded rank, no layout was given" if assumed else "as the layout declares"
    return f"assumed: {given}"


def _hours_of(job: CoupledJob) -> str:
    """Whose hours are counted: a job without an accelerator occupies ranks, not GPUs."""
    devices = job.source == "op_table" or (job.lane["kind"] == "device").any()
    return "GPU" if devices else "rank"


def _stake(
    job: CoupledJob, settings: Settings, judgement: Judgement | None
) -> dict[str, Any] | None:
    """Say what the cause costs: as a share, in GPU-hours, and in money where a rate is given."""
    if judgement is None or judgement.step_s <= 0:
        return None
    gain_ratio = (judgement.step_s - judgement.step_without_s) / judgement.step_s
    n_gpu = int(job.rank["n_represented"].sum())
    hours = judgement.step_s * n_gpu / 3600
    stake: dict[str, Any] = {
        "gain_ratio": gain_ratio,
        "gpu_hours_per_1000": 1000 * gain_ratio,
        "gpu_hours_per_step": hours,
        "n_accelerators": n_gpu,
        "hours_of": _hours_of(job),
        "basis": "replayed; accelerators " + _accelerators(job),
    }
    if settings.rate is not None:
        stake |= {
            "rate": settings.rate,
            "currency": settings.currency,
            "money_per_step": hours * settings.rate,
            "money_per_1000": 1000 * gain_ratio * settings.rate,
        }
    if settings.work_per_step is not None:
        stake["work_per_step"] = settings.work_per_step
        stake["gpu_hours_per_unit"] = hours / settings.work_per_step
        if settings.rate is not None:
            unit = hours * settings.rate / settings.work_per_step
            stake["money_per_unit"] = unit
            stake["money_per_unit_without_cause"] = unit * (1 - gain_ratio)
    return stake


def _modelled(value: Any) -> Any:
    """Say of all that was measured or replayed that it was modelled: its times were simulated first."""
    if isinstance(value, list):
        return [_modelled(item) for item in value]
    if not isinstance(value, dict):
        return value
    said = {key: _modelled(item) for key, item in value.items()}
    if isinstance(basis := said.get("basis"), str):
        said["basis"] = basis.replace("replayed", "modelled").replace("measured", "modelled")
    return said


def _plain(value: Any) -> Any:
    """NumPy scalars to Python's, NaN and infinities to None."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
