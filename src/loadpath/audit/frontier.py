"""What an audit of stage logs adds: where delay first shows, and what to trace next."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from loadpath.brief.names import counted
from loadpath.couple import CoupledJob

__all__ = ["frontier_section", "frontier_tables"]

SEEN = 3
"""Recorded windows should hold so many of the steps that are wanted; a policy."""
MOST_STEPS = 200
"""Longest window that is asked for; a policy."""


def frontier_tables(job: CoupledJob, seed: int) -> dict[str, pl.DataFrame]:
    """Compute the tables of frontier accounting.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    seed : int
        Seed of the shuffles.

    Returns
    -------
    dict
        Tables ``frontier`` and ``suspect``; none for other records than stage logs.
    """
    if job.source != "stage_log":
        return {}
    from loadpath.diagnose.frontier import (  # noqa: PLC0415 - few need it
        account_frontier,
        find_suspects,
    )

    rng = np.random.default_rng(seed)
    return {"frontier": account_frontier(job), "suspect": find_suspects(job, rng)}


def frontier_section(job: CoupledJob, tables: Mapping[str, pl.DataFrame]) -> dict[str, Any] | None:
    """Put frontier accounting into the document.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    tables : mapping of str to polars.DataFrame
        Result tables.

    Returns
    -------
    dict or None
        ``stages``, ``suspects`` and ``trace_next``; None for other records than stage logs.
    """
    if "frontier" not in tables:
        return None
    suspects = tables["suspect"].to_dicts()
    return {
        "step_s": float(tables["frontier"]["exposed_s"].sum()),
        "stages": tables["frontier"].to_dicts(),
        "suspects": suspects,
        "trace_next": _trace_next(job, suspects[0]) if suspects else None,
    }


def _trace_next(job: CoupledJob, suspect: dict[str, Any]) -> dict[str, Any]:
    """Say which ranks to trace for how many steps: the suspect beside one that is as the middle."""
    ranks, n_recorded = job.rank["rank"].to_list(), job.step_number.size
    alone = suspect["rank"] >= 0
    chosen = sorted({suspect["rank"], _typical(job, suspect)}) if alone else ranks
    n_steps = min(MOST_STEPS, -(-SEEN * n_recorded // max(1, suspect["n_steps"])))
    seen = f"steps {suspect['first_step']} to {suspect['last_step']}"
    who = f"ranks {' and '.join(map(str, chosen))}" if alone else "all ranks"
    why = (
        f"{suspect['stage']} of rank {suspect['rank']} leads its peers"
        if suspect["state"] == "leads"
        else f"{suspect['stage']} may hide who is slow, and its log cannot tell"
    )
    text = f"trace {who} for {counted(n_steps, 'step')}: {why}, most of all in {seen}"
    return {
        "stage": suspect["stage"],
        "ranks": chosen,
        "n_steps": n_steps,
        "first_step": suspect["first_step"],
        "last_step": suspect["last_step"],
        "text": text,
    }


def _typical(job: CoupledJob, suspect: dict[str, Any]) -> int:
    """Find the rank whose time in a stage is the middle one of the others."""
    others = job.op.filter(
        (pl.col("name").cast(pl.String) == suspect["stage"]) & (pl.col("rank") != suspect["rank"])
    )
    mean = others.group_by("rank").agg(pl.col("duration_ns").mean()).sort("duration_ns", "rank")
    return int(mean["rank"][(mean.height - 1) // 2]) if mean.height else int(suspect["rank"])
