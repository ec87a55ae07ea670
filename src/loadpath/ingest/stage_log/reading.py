"""Read the stage logs of a job."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from loadpath.decode.digest import file_digest
from loadpath.errors import InputError
from loadpath.ingest.stage_log.recorded import recorded_tables
from loadpath.ingest.stage_log.rows import REMEDY, Doubt, read_head, read_rows
from loadpath.ingest.stage_log.vocabulary import (
    KEYS,
    LONG_DURATION,
    StageColumn,
    stage_column,
)
from loadpath.tables import COMMUNICATOR, LANE, RANK, Recording, caveat_table

__all__ = ["is_stage_log", "read_stage_logs"]

MOST_STAGES = 1000
"""Coarse stages of a step are a handful."""
MOST_RANK, MOST_STEP, MOST_NS = 1 << 19, 1 << 62, 1 << 52
"""Beyond them numbers are damaged: no job has half a million ranks, no stage takes two months."""
OF_OP_TABLE = {"optype", "seq_id", "start_ts"}
NO_UNIT = "column names hold no unit: durations are taken to be seconds"
UNREADABLE = "rows with empty, negative or unreadable values are left out"


def is_stage_log(path: Path) -> bool:
    """Tell by its first line whether a file is a stage log.

    Parameters
    ----------
    path : Path
        File.

    Returns
    -------
    bool
        True for CSV (``.csv``) and JSON lines (``.jsonl``, ``.ndjson``) with a step and the
        durations of two stages and more, or a stage and its duration.
    """
    names = list(read_head(path))
    if _named(names, "step") is None or OF_OP_TABLE & set(names):
        return False
    if _named(names, "stage") is not None:
        return any(_long_duration(name) for name in names)
    return len(_stages(names)) >= 2


def read_stage_logs(paths: Sequence[Path]) -> Recording:
    """Read stage logs of one job: one file for all ranks, or one for each.

    Parameters
    ----------
    paths : sequence of Path
        Files that `is_stage_log` accepts.

    Returns
    -------
    Recording
        Source ``stage_log``: each stage of each step is an op of the rank's one lane; starts count from
        the begin of the rank's step, since no clock is recorded.

    Raises
    ------
    InputError
        If a file cannot be read or holds no usable row.

    References
    ----------
    .. [1] B. Yoon, W. Chen, V. Kallioniemi, "StageFrontier: Synchronization-Aware Stage Accounting
       for Distributed ML Training", arXiv:2606.06751.
    """
    parts, doubts = [], list[Doubt]()
    for path in paths:
        rows, said = read_rows(path)
        table, more = _long_rows(rows, path)
        parts.append(table)
        doubts += [*said, *more]
    table, more = _one_of_each(pl.concat(parts))
    op, step, absent = recorded_tables(table)
    hosts = table.group_by("rank").agg(pl.col("host").max()).sort("rank")
    n_missing = int(hosts["rank"].max() or 0) + 1 - hosts.height  # type: ignore[arg-type]
    missing = f"{n_missing} ranks below the highest have no log: nothing is known of them"
    return Recording(
        source="stage_log",
        op=op,
        lane=LANE.build(
            hosts.select("rank", lane=pl.lit(0), kind=pl.lit("host"), name=pl.lit("stages"))
        ),
        communicator=COMMUNICATOR.empty(),
        rank=RANK.build(hosts.with_columns(clock_residual_ns=pl.lit(-1))),
        step=step,
        caveat=caveat_table(
            _summed([*doubts, *more, *absent, ("missing_rank", missing, n_missing)])
        ),
        inputs=tuple(map(file_digest, paths)),
    )


def _named(names: Sequence[str], key: str) -> str | None:
    return next((name for name in KEYS[key] if name in names), None)


def _long_duration(name: str) -> StageColumn | None:
    """Read the name of the one column of durations, where each row is a stage."""
    base = name.rpartition("_")[0] or name
    if name in LONG_DURATION:
        return StageColumn(name, 1e9, has_unit=name == "seconds")
    found = stage_column(f"stage_{name.rpartition('_')[2]}") if base in LONG_DURATION else None
    return found if found and found.has_unit else None


def _stages(names: Sequence[str]) -> dict[str, StageColumn]:
    """Columns that are durations of stages."""
    keys = {name for several in KEYS.values() for name in several}
    found = {name: stage_column(name) for name in names if name not in keys}
    return {name: column for name, column in found.items() if column}


def _long_rows(rows: pl.DataFrame, path: Path) -> tuple[pl.DataFrame, list[Doubt]]:
    """One row for each stage of each step of each rank, in the order of the file."""
    step, stage = _named(rows.columns, "step"), _named(rows.columns, "stage")
    long = next((n for n in rows.columns if _long_duration(n)), None) if stage else None
    stages = {} if stage else _stages(rows.columns)
    if step is None or not (long or stages) or not rows.height:
        raise InputError(path.name, "holds no row of a step and its stages", REMEDY)
    base = rows.with_row_index("row").with_columns(
        _rank(rows.columns, path), _text_of(rows.columns, "host"), pl.col(step).alias("step_text")
    )
    if long:
        parts = [_part(base, long, _column(long, _long_duration), pl.col(stage or ""))]
    else:
        parts = [_part(base, n, c, pl.lit(c.name)) for n, c in stages.items()]
    table = pl.concat(part.with_columns(place=pl.lit(k)) for k, part in enumerate(parts))
    sound = table.drop_nulls(["rank", "step", "stage", "duration_ns"])
    if not sound.height:
        raise InputError(path.name, "no usable row", REMEDY)
    if (n := sound["stage"].n_unique()) > MOST_STAGES:
        raise InputError(path.name, f"{n:,} different stages, more than {MOST_STAGES:,}", REMEDY)
    used = {"row", step, stage, long, *stages, *(n for names in KEYS.values() for n in names)}
    unread = [name for name in rows.columns if name not in used]
    has_unit = all(c.has_unit for c in stages.values()) if stages else _has_unit(long or "")
    text = f"{path.name}: columns that are no stage are not read: {', '.join(unread[:5])}"
    return sound.sort("row", "place", maintain_order=True).drop("row", "place"), [
        ("unreadable_row", UNREADABLE, table.height - sound.height),
        ("unread_columns", text, len(unread)),
        ("unit_assumed", NO_UNIT, int(not has_unit)),
    ]


def _has_unit(long: str) -> bool:
    return _column(long, _long_duration).has_unit


def _column(name: str, read: Callable[[str], StageColumn | None]) -> StageColumn:
    return read(name) or StageColumn(name, 1e9, has_unit=False)


def _part(base: pl.DataFrame, name: str, column: StageColumn, stage: pl.Expr) -> pl.DataFrame:
    """Rows of one column of durations."""
    number = pl.col(name).str.strip_chars().cast(pl.Float64, strict=False) * column.ns
    whole = pl.col("step_text").str.strip_chars().cast(pl.Int64, strict=False)
    return base.select(
        "row",
        "rank",
        "host",
        pl.when(whole.is_between(0, MOST_STEP)).then(whole).alias("step"),
        stage.str.strip_chars().str.to_lowercase().alias("stage"),
        pl.when(number.is_between(0, MOST_NS)).then(number.round().cast(pl.Int64, strict=False))
        .alias("duration_ns"),
    )  # fmt: skip


def _rank(names: Sequence[str], path: Path) -> pl.Expr:
    """Rank as recorded, else the last number in the name of the file."""
    told = _named(names, "rank")
    if told:
        number = pl.col(told).str.strip_chars().cast(pl.Int32, strict=False)
        return pl.when(number.is_between(0, MOST_RANK)).then(number).alias("rank")
    found = re.findall(r"\d+", path.stem)
    if not found or int(found[-1]) > MOST_RANK:
        raise InputError(path.name, "neither a column nor the name says the rank", REMEDY)
    return pl.lit(int(found[-1]), pl.Int32).alias("rank")


def _text_of(names: Sequence[str], key: str) -> pl.Expr:
    told = _named(names, key)
    column = pl.col(told).str.strip_chars().fill_null("") if told else pl.lit("")
    return column.alias(key)


def _one_of_each(table: pl.DataFrame) -> tuple[pl.DataFrame, list[Doubt]]:
    """Add up parts of a stage; of a step that was run again keep the last run.

    A run of a rank's rows of one step is a run of the step; where others lie between, it ran again.
    """  # noqa: DOC201
    told = table.with_row_index("row").sort("rank", maintain_order=True)
    anew = pl.struct("rank", "step") != pl.struct("rank", "step").shift(1)
    told = told.with_columns(attempt=anew.fill_null(value=True).cum_sum())
    attempts = told.select("rank", "step", "attempt").unique("attempt")
    last = attempts.sort("attempt").unique(["rank", "step"], keep="last")
    n_again = attempts.height - last.height
    kept = told.join(last.select("attempt"), on="attempt", how="semi").sort("row")
    text = "steps of a rank that stand more than once: of each the last one is kept"
    parts = kept.group_by("rank", "step", "stage", maintain_order=True)
    summed = parts.agg(pl.col("duration_ns").sum(), pl.col("host").max())
    return summed, [("repeated_step", text, n_again)]


def _summed(doubts: Sequence[Doubt]) -> list[Doubt]:
    """Add up the counts of doubts with the same text."""
    total: dict[tuple[str, str], int] = {}
    for code, text, n in doubts:
        total[code, text] = total.get((code, text), 0) + n
    return [(code, text, n) for (code, text), n in total.items()]
