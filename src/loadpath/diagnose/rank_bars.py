"""What the ranks around a critical path do in one step, merged to bars that can be drawn."""

import numpy as np
import polars as pl

from loadpath.couple import CoupledJob
from loadpath.diagnose.exposure import Exposure
from loadpath.diagnose.levels import WAITS_FOR_DATA
from loadpath.diagnose.places import COMPUTE, HOST, OVERHEAD, TRANSFER, WAIT, rank_index
from loadpath.replay import Timeline, step_bounds_ns
from loadpath.tables.results import TIMELINE
from loadpath.units import NS_PER_S

__all__ = ["MAX_BARS", "MAX_RANKS", "timeline_table"]

Shown = tuple[Timeline, Exposure]
"""A replay and what its ranks do."""

MAX_RANKS = 12
"""Ranks that are shown."""

MAX_BARS = 2_000
"""Rows of the table; beyond, each of fewer and fewer cells shows what fills most of it."""

SHORT = 1_000
"""Gaps below this fraction of the step are joined."""

PART_NAMES = {
    COMPUTE: "compute",
    OVERHEAD: "overhead",
    TRANSFER: "transfer",
    WAIT: "wait",
    HOST: "host",
}


def timeline_table(
    job: CoupledJob,
    actual: Shown,
    without: Shown | None,
    *,
    path: pl.DataFrame,
    step: int,
) -> pl.DataFrame:
    """Draw up what the ranks around the critical path do, as they are and without the cause.

    Parameters
    ----------
    job : CoupledJob
        Job that was replayed.
    actual : (Timeline, Exposure)
        Replay of measured work without lag, and what `exposed` says of it.
    without : (Timeline, Exposure), optional
        The same without the cause; left out where there is none.
    path : polars.DataFrame
        Table `PATH` of the same step.
    step : int
        Step number.

    Returns
    -------
    polars.DataFrame
        Table `TIMELINE`, by scenario, rank and time, bars of a rank do not overlap. Up to
        `MAX_RANKS` ranks: those longest on the path, then those that wait most. Bars of one kind
        with gaps below 1/1000 of the step are one.
    """
    scenarios = [("actual", actual)] + ([("without_cause", without)] if without else [])
    found = {name: _segments(job, scenario, step) for name, scenario in scenarios}
    ranks = _ranks_around(path, found["actual"])
    step_s = max(float(frame["end_s"].max() or 0.0) for frame in found.values())  # type: ignore[arg-type]
    shown = pl.concat(
        frame.filter(pl.col("rank").is_in(ranks)).select(pl.lit(name).alias("scenario"), pl.all())
        for name, frame in found.items()
    )
    return TIMELINE.build(
        _fewer(shown, step_s)
        .select("scenario", "rank", "kind", "start_s", "end_s")
        .sort("scenario", "rank", "start_s", maintain_order=True)
    )


def _segments(job: CoupledJob, shown: Shown, step: int) -> pl.DataFrame:
    """List what each rank does at each moment of the step, in seconds after its start."""
    timeline, exposure = shown
    index = int(np.searchsorted(job.graph.step, step))
    begin, end = (float(bound[index]) for bound in step_bounds_ns(job.graph, timeline))
    occupancy = exposure.occupancy
    op_step = job.op["step"].to_numpy()
    inside = (occupancy.end_ns > begin) & (occupancy.start_ns < end)
    mine = np.flatnonzero(inside & (op_step[occupancy.op] == step))
    op = occupancy.op[mine]
    kind = (
        pl.when(pl.col("input"))
        .then(pl.lit("input"))
        .otherwise(pl.col("part").replace_strict(PART_NAMES, return_dtype=pl.String))
    )
    return (
        pl.DataFrame(
            {
                "rank": job.rank["rank"].to_numpy()[rank_index(job)[op]],
                "part": occupancy.part[mine],
                "input": job.op["kind"].is_in(WAITS_FOR_DATA).to_numpy()[op],
                "start_s": (np.maximum(occupancy.start_ns[mine], begin) - begin) / NS_PER_S,
                "end_s": (np.minimum(occupancy.end_ns[mine], end) - begin) / NS_PER_S,
            }
        )
        .select("rank", kind.alias("kind"), "start_s", "end_s")
        .sort("rank", "start_s", maintain_order=True)
    )


def _ranks_around(path: pl.DataFrame, segments: pl.DataFrame) -> list[int]:
    length = (pl.col("end_s") - pl.col("start_s")).sum().alias("s")
    on_path = path.group_by("rank").agg(length).sort("s", "rank", descending=[True, False])
    waits = (
        segments.filter(pl.col("kind") == "wait")
        .group_by("rank")
        .agg(length)
        .sort("s", "rank", descending=[True, False])
    )
    everyone = segments["rank"].unique().sort()
    ranks = [*on_path["rank"], *waits["rank"], *everyone]
    return list(dict.fromkeys(ranks))[:MAX_RANKS]


def _fewer(bars: pl.DataFrame, step_s: float) -> pl.DataFrame:
    joined = _join(bars, step_s / SHORT)
    n_cell = SHORT
    while joined.height > MAX_BARS and n_cell >= 8:
        joined = _join(_dominant(bars, step_s / n_cell), step_s / n_cell / 2)
        n_cell //= 2
    return joined


def _join(bars: pl.DataFrame, gap_s: float) -> pl.DataFrame:
    """Join neighbours of one kind whose gap is short."""
    same = pl.struct("scenario", "rank", "kind")
    close = pl.col("start_s") - pl.col("end_s").shift(1) < gap_s
    new = ((same != same.shift(1)) | ~close).fill_null(value=True).cum_sum()
    return (
        bars.group_by(new.alias("run"), maintain_order=True)
        .agg(
            pl.col("scenario", "rank", "kind").first(),
            pl.col("start_s").first(),
            pl.col("end_s").last(),
        )
        .drop("run")
    )


def _dominant(bars: pl.DataFrame, cell_s: float) -> pl.DataFrame:
    """Keep what fills most of each cell; cells that are mostly idle stay empty."""
    cells = pl.int_ranges(
        (pl.col("start_s") / cell_s).floor().cast(pl.Int64),
        (pl.col("end_s") / cell_s).ceil().cast(pl.Int64),
    ).alias("cell")
    inside = (
        (
            pl.min_horizontal("end_s", (pl.col("cell") + 1) * cell_s)
            - pl.max_horizontal("start_s", pl.col("cell") * cell_s)
        )
        .sum()
        .alias("s")
    )
    return (
        bars.with_columns(cells)
        .explode("cell", empty_as_null=False)
        .group_by("scenario", "rank", "cell", "kind", maintain_order=True)
        .agg(inside)
        .filter(pl.col("s").sum().over("scenario", "rank", "cell") >= cell_s / 2)
        .sort(
            "scenario", "rank", "cell", "s", "kind", descending=[False, False, False, True, False]
        )
        .group_by("scenario", "rank", "cell", maintain_order=True)
        .first()
        .with_columns(
            (pl.col("cell") * cell_s).alias("start_s"),
            ((pl.col("cell") + 1) * cell_s).alias("end_s"),
        )
    )
