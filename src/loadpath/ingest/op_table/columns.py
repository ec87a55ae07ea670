"""Columns of an op table as typed numbers: times in seconds, rows that cannot be used left out."""

from pathlib import Path

import polars as pl

from loadpath.decode.regular import check_table
from loadpath.decode.table_file import read_table
from loadpath.errors import InputError, first_line
from loadpath.ingest.op_table.vocabulary import OP_NAME

__all__ = ["Doubt", "read_columns", "typed_rows"]

Doubt = tuple[str, str, int]
"""Code, text and count of a doubt about the recording."""

REQUIRED = {
    "dp_rank": "data-parallel replica",
    "stage": "pipeline stage",
    "rank": "rank",
    "step": "training step",
    "optype": "type of the op",
    "start_ts": "start in seconds",
    "duration": "length in seconds",
    "seq_id": "number within its type, worker and step",
}
WHOLE = {
    "dp_rank": pl.Int32,
    "stage": pl.Int32,
    "rank": pl.Int32,
    "step": pl.Int64,
    "seq_id": pl.Int64,
}
OPTIONAL = {"mc": -1, "mb_id": -1}
USED_AGAIN = ("step", "start_ts", "duration")
"""Columns that are put in one piece, since they are looked at several times."""


def read_columns(path: Path) -> pl.DataFrame:
    """Read an op table as it stands.

    Parameters
    ----------
    path : Path
        Parquet or CSV.

    Returns
    -------
    polars.DataFrame
        All columns as recorded; at least one row.

    Raises
    ------
    InputError
        If the file is damaged or columns are missing; all are named.
    """
    check_table(path)
    suffix = path.suffix.lower()
    try:
        frame = read_table(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise InputError(
            path.name,
            f"damaged or no {suffix[1:]} file ({first_line(error)})",
            "Copy or export the table again.",
        ) from error
    missing = [f"column {name!r} ({doc})" for name, doc in REQUIRED.items() if name not in frame]
    if missing:
        raise InputError(
            path.name,
            [f"missing {text}" for text in missing],
            "See docs/formats/op_table.md for the columns of an op table.",
        )
    if not frame.height:
        raise InputError(path.name, "the table has no rows", "Record at least one step.")
    return frame.with_columns(frame[name].rechunk() for name in USED_AGAIN)


def typed_rows(frame: pl.DataFrame, path: Path) -> tuple[pl.DataFrame, list[Doubt]]:
    """Give columns their types; leave out rows that cannot be used, and count each kind.

    Parameters
    ----------
    frame : polars.DataFrame
        Result of `read_columns`.
    path : Path
        Where it comes from, for errors.

    Returns
    -------
    kept : polars.DataFrame
        Usable rows in their order; times in seconds.
    doubts : list of (str, str, int)
        Code, text and count of what was left out or changed.

    Raises
    ------
    InputError
        If a column has values of a wrong type, or no row can be used.
    """
    typed = _typed(_times_in_s(frame, path), path)
    finite = pl.col("start_ts").is_finite() & pl.col("duration").is_finite()
    complete = pl.all_horizontal(pl.col(*WHOLE, "recorded").is_not_null())
    unknown, readable = typed.select(
        (pl.col("optype").is_null() & pl.col("recorded").is_not_null()).alias("unknown"),
        (finite & complete).fill_null(value=False).alias("readable"),
    )
    sound = readable & ~unknown
    kept = (typed if sound.all() else typed.filter(sound)).drop("recorded")
    if not kept.height:
        raise InputError(path.name, "no usable row", "Check op types and times of the table.")
    names = sorted(typed["recorded"].filter(unknown).unique())
    left_out = f"ops of unknown type are left out: {', '.join(names[:8])}"
    empty = "rows with NaN, infinite or empty values are left out"
    return kept, [
        ("unknown_op_type", left_out, int(unknown.sum())),
        ("unreadable_row", empty, int((~readable & ~unknown).sum())),
    ]


def _typed(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Give columns their types; ``recorded`` holds the op type as it stands there."""
    numbers = [*WHOLE, *(name for name in OPTIONAL if name in frame)]
    try:
        return _whole_numbers(frame, numbers, path).select(
            *(pl.col(name).cast(dtype) for name, dtype in WHOLE.items()),
            pl.col("optype").cast(pl.String).alias("recorded"),
            pl.col("optype").cast(pl.String).cast(OP_NAME, strict=False),
            pl.col("start_ts").cast(pl.Float64),
            pl.col("duration").cast(pl.Float64),
            *(
                (pl.col(name) if name in frame.columns else pl.lit(missing))
                .cast(pl.Int32)
                .fill_null(missing)
                .alias(name)
                for name, missing in OPTIONAL.items()
            ),
        )
    except pl.exceptions.PolarsError as error:
        raise InputError(
            path.name,
            f"a column has values of the wrong type ({first_line(error)})",
            "Give whole numbers for ranks, stages, steps and sequence ids, seconds for times.",
        ) from error


def _times_in_s(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Seconds from columns of dates or durations; refuse columns that hold no single values."""
    nested = [
        f"column {name!r} is {frame.schema[name]}"
        for name in (*REQUIRED, *OPTIONAL)
        if name in frame and (frame.schema[name].is_nested() or frame.schema[name] == pl.Binary)
    ]
    no_time = [
        f"column {name!r} is {frame.schema[name]}"
        for name, span in (("start_ts", (pl.Datetime, pl.Duration)), ("duration", (pl.Duration,)))
        if frame.schema[name].is_temporal() and not isinstance(frame.schema[name], span)
    ]
    if nested or no_time:
        raise InputError(path.name, nested + no_time, "Give whole numbers, and times in seconds.")
    times = [name for name in ("start_ts", "duration") if frame.schema[name].is_temporal()]
    return frame.with_columns(_seconds(name, frame.schema[name]) for name in times)


def _seconds(name: str, dtype: pl.DataType) -> pl.Expr:
    """Dates count from the first of them, so that float64 keeps their nanoseconds."""
    per_s = {"ms": 10**3, "us": 10**6, "ns": 10**9}[dtype.time_unit]  # type: ignore[attr-defined]
    ticks = pl.col(name).to_physical().cast(pl.Int128)
    if isinstance(dtype, pl.Datetime):
        ticks -= ticks.min()
    return ticks.cast(pl.Float64) / per_s


def _whole_numbers(frame: pl.DataFrame, names: list[str], path: Path) -> pl.DataFrame:
    """Refuse fractions; some writers leave whole numbers as floats, with NaN for empty values."""
    floats = [name for name in names if frame.schema[name].is_float()]
    filled = frame.with_columns(pl.col(floats).fill_nan(None))
    broken = [f"column {name!r} has fractions" for name in floats if (filled[name] % 1 != 0).any()]
    if broken:
        raise InputError(path.name, broken, "Give whole numbers for ranks, stages, steps and ids.")
    return filled
