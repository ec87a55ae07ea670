"""Power of devices, as `loadpath.record` samples it beside traces."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from loadpath.decode.table_file import read_whole_numbers
from loadpath.errors import InputError

__all__ = ["POWER_FILES", "read_power"]

POWER_FILES = "power_rank*.csv"
COLUMNS = ("rank", "time_ns", "power_mw")
REMEDY = (
    f"Give a CSV with the columns {','.join(COLUMNS)}: whole numbers, times in ns of the epoch."
)
MOST_MW = 1_000_000_000


def read_power(paths: Sequence[Path]) -> pl.DataFrame:
    """Read samples of power.

    Parameters
    ----------
    paths : sequence of Path
        CSV files ``rank,time_ns,power_mw``.

    Returns
    -------
    polars.DataFrame
        ``rank`` (int32), ``time_ns`` (int64, ns of the epoch) and ``power_w`` (float64, W), in the order of the
        files.

    Raises
    ------
    InputError
        If a file cannot be read, lacks columns, or holds what cannot be.
    """
    return pl.concat([_read(path) for path in paths])


def _read(path: Path) -> pl.DataFrame:
    table = read_whole_numbers(path, COLUMNS, REMEDY)
    if problems := _problems(table):
        raise InputError(path.name, problems, REMEDY)
    return table.select(
        pl.col("rank").cast(pl.Int32), "time_ns", power_w=pl.col("power_mw").cast(pl.Float64) / 1e3
    )


def _problems(table: pl.DataFrame) -> list[str]:
    """Name the first lines that cannot be."""
    most = {"rank": (1 << 20) - 1, "time_ns": 1 << 61, "power_mw": MOST_MW}
    return [
        f"line {line}: {name} is no whole number from 0 to {limit}"
        for name, limit in most.items()
        for line in table.filter(~pl.col(name).is_between(0, limit).fill_null(value=False))[
            "line"
        ].head(3)
    ]
