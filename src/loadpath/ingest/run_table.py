"""Measured runs of one job at several sizes: the table given by ``--points``."""

from pathlib import Path

import polars as pl

from loadpath.decode.number_table import Bounds, read_numbers
from loadpath.tables.measured import RUN_POINT

__all__ = ["read_runs"]

MOST = 1 << 40
BOUNDS = {
    "n": Bounds(1, MOST, needed=True),
    "step_s": Bounds(0, 1e7, above=True, needed=True),
    **dict.fromkeys(("microbatches", "tp", "pp", "cp", "global_batch"), Bounds(1, MOST)),
    "power_w": Bounds(0, 1e11, above=True),
}
REMEDY = (
    "Give a CSV with the columns n and step_s (seconds), and any of "
    f"{', '.join(name for name, bound in BOUNDS.items() if not bound.needed)}."
)


def read_runs(path: Path) -> pl.DataFrame:
    """Read measured runs of one job.

    Parameters
    ----------
    path : Path
        CSV; lines that begin with ``#`` are comments; an empty cell is unknown.

    Returns
    -------
    polars.DataFrame
        Table `RUN_POINT`, in the order of the file.

    Raises
    ------
    InputError
        If it cannot be read, lacks or repeats columns, has unknown ones, or holds what cannot be a size or
        a time; all problems are named with their lines.
    """
    return read_numbers(path, RUN_POINT, BOUNDS, REMEDY)
