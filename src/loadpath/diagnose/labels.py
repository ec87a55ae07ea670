"""Labels as small numbers: grouping by one whole number is many times faster than by text."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["joint_code", "numbered"]


def numbered(column: pl.Series) -> tuple[NDArray[np.int32], list[str]]:
    """Give each row the number of its value.

    Parameters
    ----------
    column : polars.Series
        Names (Categorical or Enum) or whole numbers, without empty values.

    Returns
    -------
    number : (n,) array of int32
        Place of each row's value in `values`.
    values : list of str
        Different values in their order, as text.

    Examples
    --------
    >>> number, values = numbered(pl.Series(["send", "recv", "send"], dtype=pl.Categorical))
    >>> number.tolist(), values
    ([1, 0, 1], ['recv', 'send'])
    """
    code = column.to_physical()
    example = code.arg_unique()
    values = column.gather(example).to_list()
    place = np.empty(len(values), np.int32)
    place[sorted(range(len(values)), key=values.__getitem__)] = np.arange(len(values))
    codes = code.gather(example).to_numpy()
    order = np.argsort(codes)
    number = place[order][np.searchsorted(codes[order], code.to_numpy())]
    return number, [str(value) for value in sorted(values)]


def joint_code(*columns: NDArray[np.integer] | NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give rows that agree in all columns the same number, ascending with the columns.

    Parameters
    ----------
    *columns : (n,) arrays of integers or bools
        Columns; the product of their ranges must stay below 2**63.

    Returns
    -------
    (n,) array of int64
        Codes.

    Examples
    --------
    >>> joint_code(np.array([4, 4, 5]), np.array([0, 2, 0])).tolist()
    [0, 2, 3]
    """  # numpydoc ignore=PR01,PR02
    code = np.zeros(columns[0].size, np.int64)
    for column in columns:
        low, high = (int(column.min()), int(column.max())) if column.size else (0, 0)
        code = code * (high - low + 1) + (column.astype(np.int64) - low)
    return code
