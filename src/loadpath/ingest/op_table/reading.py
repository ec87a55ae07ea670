"""Read one op table and its layout."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from loadpath.couple.graph import Int64Array
from loadpath.decode.digest import file_digest
from loadpath.ingest.op_table import kernels
from loadpath.ingest.op_table.alike import first_rows
from loadpath.ingest.op_table.checks import (
    check_sizes,
    refuse_coarse,
    refuse_impossible,
    refuse_repeats,
    refuse_times,
)
from loadpath.ingest.op_table.columns import Doubt, read_columns, typed_rows
from loadpath.ingest.op_table.layout import find_layout, read_layout
from loadpath.ingest.op_table.recorded import (
    lane_table,
    missing_workers,
    op_table,
    rank_table,
    step_table,
)
from loadpath.tables import COMMUNICATOR, STEP, AlikeSteps, Recording, caveat_table, unroll
from loadpath.units import NS_PER_S

__all__ = ["is_op_table", "read_op_table", "read_steps"]

LAYOUT_ASSUMED = (
    "no layout file: sizes are taken from the table, tp_size and dsp_size are 1, and each recorded "
    "rank counts as one accelerator; give --layout"
)
NEGATIVE = "negative durations are taken as 0"
BY_START = ("step", "dp_rank", "stage", "start_ns", "seq_id", "optype")
"""Order of rows: workers, then starts."""


class _Read(NamedTuple):
    """Typed rows with times in ns, by worker and start; of alike steps the first alone."""

    raw: pl.DataFrame
    step: pl.DataFrame
    alike: AlikeSteps | None
    resolution_s: float
    doubts: list[Doubt]


def is_op_table(path: Path) -> bool:
    """Tell by name whether a file may be an op table.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    bool
        True for ``.parquet`` and ``.csv``.
    """
    return path.suffix.lower() in {".parquet", ".csv"}


def read_op_table(path: Path, layout: Path | None = None) -> Recording:
    """Read one op table and its layout, every op of every step.

    Parameters
    ----------
    path : Path
        Parquet or CSV with one row per op: ``dp_rank, stage, rank, step, optype, start_ts,
        duration, seq_id`` and, for interleaved schedules, ``mc, mb_id``. Times in seconds.
    layout : Path, optional
        Flat ``key: value`` file with ``dp_size, pp_size, tp_size, dsp_size, vpp_size,
        world_size``; found beside the table as ``meta-NAME.yaml`` when not given.

    Returns
    -------
    Recording
        Recorded tables; times in ns after the start of each step.

    Raises
    ------
    InputError
        If the file is damaged, columns are missing, or one op is recorded twice.

    References
    ----------
    .. [1] J. Lin et al., "Understanding Stragglers in Large Model Training Using What-if
       Analysis", OSDI 2025, arXiv:2505.05713.
    """
    return unroll(read_steps(path, layout))


def read_steps(path: Path, layout: Path | None = None) -> Recording:
    """Read one op table; where all steps hold the same ops, the ops of the first and all times.

    Parameters
    ----------
    path : Path
        As in `read_op_table`.
    layout : Path, optional
        As in `read_op_table`.

    Returns
    -------
    Recording
        As `read_op_table` gives it, or with ``alike`` and the ops of one step.

    Raises
    ------
    InputError
        As `read_op_table` raises it.
    """
    layout_path = layout or find_layout(path)
    frame = read_columns(path)
    with ThreadPoolExecutor(1) as pool:
        digests = pool.submit(_digests, path, layout_path)
        read = _alike(frame, path) or _mixed(frame, path)
    raw, doubts = read.raw, read.doubts
    declared = read_layout(layout_path) if layout_path else {}
    sizes = check_sizes(raw, declared, path)
    if not declared:
        doubts.append(("layout_assumed", LAYOUT_ASSUMED, 1))
    doubts += missing_workers(raw, sizes)
    return Recording(
        source="op_table",
        op=op_table(raw),
        lane=lane_table(raw),
        communicator=COMMUNICATOR.empty(),
        rank=rank_table(raw, sizes, round(read.resolution_s * NS_PER_S)),
        step=read.step,
        caveat=caveat_table(doubts),
        inputs=digests.result(),
        layout=sizes,
        alike=read.alike,
    )


def _digests(*paths: Path | None) -> tuple[tuple[str, str, int], ...]:
    return tuple(file_digest(path) for path in paths if path is not None)


def _mixed(frame: pl.DataFrame, path: Path) -> _Read:
    """Read every row of the table."""
    kept, doubts = typed_rows(frame, path)
    refuse_impossible(kept, path)
    refuse_repeats(kept, path)
    start = pl.col("start_ts") - pl.col("start_ts").min().over("step")
    duration = pl.col("duration").clip(lower_bound=0)
    after, longest, latest = kept.select(
        start.max().alias("after"),
        duration.max().alias("longest"),
        pl.col("start_ts").abs().max().alias("latest"),
    ).row(0)
    resolution = _resolution(kept, frame, (after, longest, latest), path)
    raw = (
        kept.with_columns(
            (start * NS_PER_S).round().cast(pl.Int64).alias("start_ns"),
            (duration * NS_PER_S).round().cast(pl.Int64).alias("duration_ns"),
        )
        .drop("start_ts", "duration")
        .sort(BY_START)
    )
    n_negative = int((kept["duration"] < 0).sum())
    doubts.append(("negative_duration", NEGATIVE, n_negative))
    return _Read(raw, step_table(raw), None, resolution, doubts)


def _alike(frame: pl.DataFrame, path: Path) -> _Read | None:
    """Read the rows of the first step, and the times of all; None unless all are usable and alike."""
    first = first_rows(frame)
    if first.size < 2:
        return None
    n_op = frame.height // first.size
    kept, doubts = typed_rows(frame.slice(int(first[0]), n_op), path)
    if kept.height < n_op:
        return None
    refuse_impossible(kept, path, first.size)
    refuse_repeats(kept, path)
    start = (pl.col("start_ts") - pl.col("start_ts").min()) * NS_PER_S
    slots = kept.with_row_index("slot").with_columns(start.round().alias("start_ns"))
    slots = slots.sort(BY_START)
    alike, step, (*times, n_negative) = _place_times(frame, first, slots)
    resolution = _resolution(kept, frame, times, path)
    raw = slots.with_columns(
        pl.Series("start_ns", alike.start_ns[0]), pl.Series("duration_ns", alike.duration_ns[0])
    )
    doubts.append(("negative_duration", NEGATIVE, int(n_negative)))
    return _Read(raw, step, alike, resolution, doubts)


def _place_times(
    frame: pl.DataFrame, first: Int64Array, slots: pl.DataFrame
) -> tuple[AlikeSteps, pl.DataFrame, Sequence[float]]:
    """Give the times of all steps in the order of `slots`, begin and end of each rank, extremes."""
    rank, of_slot = np.unique(slots["rank"].to_numpy(), return_inverse=True)
    start, duration = np.empty((2, first.size, slots.height), np.int64)
    begin, end = np.empty((2, first.size, rank.size), np.int64)
    extremes = kernels.place_times(
        *(frame[name].to_numpy() for name in ("start_ts", "duration")),
        *(first, slots["slot"].to_numpy().astype(np.int64), of_slot.astype(np.int64)),
        *(start, duration, begin, end),
    )
    step = frame["step"].to_numpy()[first].astype(np.int64)
    table = {
        "step": np.repeat(step, rank.size),
        "rank": np.tile(rank, first.size),
        "start_ns": begin.ravel(),
        "end_ns": end.ravel(),
    }
    return AlikeSteps(step, start, duration), STEP.build(table), extremes


def _resolution(
    kept: pl.DataFrame, frame: pl.DataFrame, times_s: Sequence[float], path: Path
) -> float:
    """Refuse impossible times; give the resolution of single-precision ones, 0 of others, in s."""
    after, longest, latest = times_s
    refuse_times(after, longest, path)
    single = frame["start_ts"].dtype == pl.Float32
    typical = kept["duration"].filter(kept["duration"] > 0).median()
    coarse = refuse_coarse(float(latest or 0.0), typical, path, single=single)  # type: ignore[arg-type]
    return coarse if single else 0.0
