"""Measured iterations of a served model: the table given by ``--iterations``."""

from pathlib import Path

import polars as pl

from loadpath.decode.number_table import Bounds, read_numbers
from loadpath.tables.measured import ITERATION_POINT

__all__ = ["read_iterations"]

MOST = 1 << 40
BOUNDS = {
    "tokens": Bounds(1, MOST, needed=True),
    "cached_tokens": Bounds(0, MOST, needed=True),
    "prompt_pairs": Bounds(0, 1e15, needed=True),
    "step_s": Bounds(0, 1e5, above=True, needed=True),
    "tensor": Bounds(1, 1 << 20),
}
REMEDY = (
    "Give a CSV with the columns tokens, cached_tokens, prompt_pairs and step_s (seconds), and tensor where "
    "widths differ; see docs/formats/iteration_table.md."
)


def read_iterations(path: Path) -> pl.DataFrame:
    """Read measured iterations of a served model.

    Parameters
    ----------
    path : Path
        CSV; lines that begin with ``#`` are comments.

    Returns
    -------
    polars.DataFrame
        Table `ITERATION_POINT`, in the order of the file.

    Raises
    ------
    InputError
        If it cannot be read, lacks or repeats columns, has unknown ones, or holds what cannot be a number
        of tokens or a time; all problems are named with their lines.
    """
    return read_numbers(path, ITERATION_POINT, BOUNDS, REMEDY)
