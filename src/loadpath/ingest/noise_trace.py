"""Reader of measured noise: begins and lengths of interruptions, or lengths alone."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadpath.decode import read_blocks
from loadpath.errors import InputError

__all__ = ["read_noise"]

REMEDY = "Give lines of numbers in ns; docs/formats/simulate.md has the form."
LARGEST = 1e15


def read_noise(path: Path, n_column: int) -> NDArray[np.float64]:
    """Read lines of numbers; empty lines and those that begin with ``#`` are left out.

    Parameters
    ----------
    path : Path
        Text.
    n_column : int
        Numbers in a line: 2 for begin and length, 1 for a length.

    Returns
    -------
    (n, n_column) array of float64
        In ns.

    Raises
    ------
    InputError
        If a line holds anything else, naming it.
    """
    content = b"".join(read_blocks(path)).decode("utf-8", "replace")
    rows: list[list[float]] = []
    for number, line in enumerate(content.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        row = [value for word in words if (value := _number(word)) is not None]
        if len(row) != len(words) or len(row) != n_column:
            what = f"{n_column} numbers of 0 to 10^15 are wanted"
            raise InputError(f"{path.name}, line {number}", what, REMEDY)
        rows.append(row)
    if not rows:
        raise InputError(path.name, "holds no noise", REMEDY)
    return np.array(rows)


def _number(word: str) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value <= LARGEST else None
