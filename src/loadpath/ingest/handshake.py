"""Handshakes of clocks: who sent when, and when it came back, on the clocks of both ranks."""

from pathlib import Path

import polars as pl

from loadpath.decode.table_file import read_whole_numbers
from loadpath.errors import InputError
from loadpath.tables import HANDSHAKE

__all__ = ["HANDSHAKE_FILE", "read_handshakes"]

HANDSHAKE_FILE = "clock_handshake.csv"
COLUMNS = tuple(HANDSHAKE.schema)
REMEDY = (
    f"Give a CSV with the columns {','.join(COLUMNS)}: whole numbers, times in ns of the epoch."
)


def read_handshakes(path: Path) -> pl.DataFrame:
    """Read the handshakes that lie beside the traces of a job.

    Parameters
    ----------
    path : Path
        CSV with one row per handshake: the rank sends at ``sent_ns``; its peer takes that at
        ``arrived_ns`` and answers at ``returned_ns`` of its own clock; the answer is there at
        ``received_ns`` of the rank's.

    Returns
    -------
    polars.DataFrame
        Table `HANDSHAKE`.

    Raises
    ------
    InputError
        If the file cannot be read, lacks columns, or holds what is no whole number, no rank, or
        ends before it begins.
    """
    table = read_whole_numbers(path, COLUMNS, REMEDY)
    if problems := _problems(table):
        raise InputError(path.name, problems, REMEDY)
    table = table.drop("line").with_columns(pl.col("rank", "peer").cast(pl.Int32))
    return HANDSHAKE.build(table)


def _problems(table: pl.DataFrame) -> list[str]:
    """Name the first lines that cannot be."""
    ranks, times = pl.col("rank", "peer"), pl.col(COLUMNS[2:])
    ends_early = (pl.col("received_ns") < pl.col("sent_ns")) | (
        pl.col("returned_ns") < pl.col("arrived_ns")
    )
    wrong = {
        "holds what is no whole number": pl.any_horizontal(pl.col(COLUMNS).is_null()),
        "names what is no rank": pl.any_horizontal(~ranks.is_between(0, (1 << 20) - 1)),
        "holds what is no time of today": pl.any_horizontal(~times.is_between(0, 1 << 61)),
        "ends before it begins": ends_early,
    }
    return [
        f"line {line} {text}"
        for text, is_wrong in wrong.items()
        for line in table.filter(is_wrong)["line"].head(3)
    ]
