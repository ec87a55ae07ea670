"""Plausible tables of what limits a job, for briefings of jobs that were never run."""

import numpy as np
import polars as pl

from loadpath.tables.results import (
    COUPLING_BLOCK,
    COUPLING_GROUP,
    DISTANCE,
    EFFICIENCY,
    FACTORS,
    FAILURE_ENVELOPE,
    LIMITATION,
    MISSED,
)

SHARES = {"compute": 0.82, "interconnect": 0.15, "lag": 0.03, "spread": 0.41}


def limits(ranks, step_s, *, assessed=True):
    """Return the tables of limits of a job of `ranks`."""
    tables = {
        "limitation": limitation(),
        "efficiency": efficiency(step_s),
        "failure_envelope": envelope(ranks),
        "coupling_group": COUPLING_GROUP.build(
            {"cause": [0], "communicator": [0], "direct_s": [3.0], "transitive_s": [5.0]}
        ),
        "coupling_block": COUPLING_BLOCK.build(
            {
                "by": ["stage"] * ranks,
                "rank": np.arange(ranks),
                "block": np.arange(ranks) % 4,
                "modularity_ratio": [0.41] * ranks,
                "within_ratio": [0.8] * ranks,
            }
        ),
        "distance": DISTANCE.build(
            {
                "statistic": ["mean", "p50", "p90", "p99", "most"],
                "n_hops": [2.4, 2, 4, 6, 8],
                "n_ranks": [2.1, 2, 3, 4, 4],
                "n_steps": [0.1, 0, 0, 1, 2],
                "distance_s": [1.2, 1.0, 2.5, 4.0, 4.4],
            }
        ),
        "missed": MISSED.build(
            {
                "part": ["explained", "other_rank", "other_step", "either"],
                "wait_s": [118.0, 60.0, 3.0, 61.0],
                "share_ratio": [1.0, 0.51, 0.03, 0.52],
                "share_low_ratio": [1.0, 0.49, 0.01, 0.5],
                "share_high_ratio": [1.0, 0.53, 0.04, 0.54],
                "basis": ["replayed"] * 4,
            }
        ),
    }
    return tables if assessed else {name: table.clear() for name, table in tables.items()}


def limitation():
    share = np.array(list(SHARES.values()))
    return LIMITATION.build(
        pl.DataFrame(
            {
                "phase": "all",
                "resource": list(SHARES),
                "limit": "all",
                "elasticity_ratio": share,
                "elasticity_low_ratio": 0.97 * share,
                "elasticity_high_ratio": 1.03 * share,
                "margin_ratio": [0.67, -0.67, -0.79, None],
                "margin_low_ratio": [0.6, -0.7, -0.8, None],
                "margin_high_ratio": [0.7, -0.6, -0.7, None],
                "gain_tenth_ratio": 0.1 * share,
                "gain_half_ratio": 0.5 * share,
                "gain_whole_ratio": 0.9 * share,
                "gain_tenth_more_ratio": -0.1 * share,
                "basis": "replayed",
            }
        )
    )


def efficiency(step_s):
    part = step_s * np.array([0.42, 0.42, 0.6, 0.6, 0.97, 0.6])
    whole = step_s * np.array([1.0, 0.6, 1.0, 0.97, 1.0, 0.97])
    return EFFICIENCY.build(
        {
            "step": [-1] * len(FACTORS),
            "factor": FACTORS,
            "value_ratio": part / whole,
            "value_low_ratio": 0.99 * part / whole,
            "value_high_ratio": 1.01 * part / whole,
            "part_s": part,
            "whole_s": whole,
            "basis": ["replayed"] * len(FACTORS),
        }
    )


def envelope(ranks):
    counts = sorted({1, *(max(1, ranks // k) for k in (8, 4, 2, 1))})
    rows: list[tuple[object, ...]] = [
        ("grid", n, n / ranks, duration, size, None, 0.8 * size * duration)
        for n in counts
        for duration in (0.125, 0.25, 0.5, 1.0)
        for size in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
    ]
    rows += [
        ("limit", n, n / ranks, duration, min(0.05 / duration, 2.0), 0.06 / duration, 0.05)
        for n in counts
        for duration in (0.125, 0.25, 0.5, 1.0)
    ]
    rows.append(("job", 1, 1 / ranks, 1.0, 0.9, None, 0.72))
    names = list(FAILURE_ENVELOPE.schema)[:7]
    table = pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)
    state = (
        pl.when(pl.col("growth_ratio") <= 0.05).then(pl.lit("meets")).otherwise(pl.lit("breaks"))
    )
    return FAILURE_ENVELOPE.build(
        table.with_columns(
            (pl.col("growth_ratio") - 0.01).alias("growth_low_ratio"),
            (pl.col("growth_ratio") + 0.01).alias("growth_high_ratio"),
            state.alias("state"),
            n_tried=pl.lit(64),
            n_possible=pl.lit(1e12),
            basis=pl.lit("replayed: 64 of 1e+12 choices of ranks and time, drawn by the seed"),
        )
    )
