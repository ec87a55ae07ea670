"""Kinds of arguments: what a kernel is compiled for."""

from typing import Any

import numpy as np

__all__ = ["ARRAY_DTYPES", "REAL", "TRUTH", "WHOLE", "dimensions", "kind_of", "leaves"]

WHOLE, REAL, TRUTH = "i", "f", "b"
SCALARS: dict[type, str] = {
    int: WHOLE,
    float: REAL,
    bool: TRUTH,
    np.int64: WHOLE,
    np.int32: WHOLE,
    np.float64: REAL,
    np.bool_: TRUTH,
}
ARRAY_DTYPES = frozenset(f"{kind}{size}" for kind in "iuf" for size in (1, 2, 4, 8)) | {"b1"}
ARRAY_KINDS = {
    (number, n): f"{dtype.kind}{dtype.itemsize}:{n}"
    for number, dtype in ((np.dtype(char).num, np.dtype(char)) for char in "?bBhHiIlLqQefd")
    for n in range(9)
}
"""Kinds of arrays by number of their type and dimensions: looked up, since calls are many."""
CONTIGUOUS_ALIGNED = 0x0101
"""Bits of ``ndarray.flags.num``: C_CONTIGUOUS and ALIGNED."""


def kind_of(argument: Any) -> str:
    """Tell the kind of one argument.

    Parameters
    ----------
    argument : object
        What a kernel is called with.

    Returns
    -------
    str
        Dtype and dimensions of an array (``i8:2``), ``i`` (int64), ``f`` (float64) or ``b`` (bool)
        for a number, those of its parts for a tuple (``(i8:1,f)``); empty where only Numba can
        take it, such as arrays that are not contiguous.

    Examples
    --------
    >>> [kind_of(a) for a in (np.zeros((2, 3)), np.zeros(3, np.int32), 1, 2.0, True, "text")]
    ['f8:2', 'i4:1', 'i', 'f', 'b', '']
    >>> kind_of(np.zeros((4, 4))[:, 1]), kind_of((np.zeros(3), 1))
    ('', '(f8:1,i)')
    """
    if type(argument) is np.ndarray:
        dtype = argument.dtype
        sound = argument.flags.num & CONTIGUOUS_ALIGNED == CONTIGUOUS_ALIGNED and dtype.isnative
        return ARRAY_KINDS.get((dtype.num, argument.ndim), "") if sound else ""
    if type(argument) is tuple:
        parts = [kind_of(part) for part in argument]
        return f"({','.join(parts)})" if parts and all(p and p[0] != "(" for p in parts) else ""
    return SCALARS.get(type(argument), "")


def leaves(kind: str) -> list[str]:
    """List the kinds of arrays and numbers that an argument is made of.

    Parameters
    ----------
    kind : str
        As `kind_of` tells it.

    Returns
    -------
    list of str
        Those of its parts for a tuple, else its own.

    Examples
    --------
    >>> leaves("(i8:1,f)"), leaves("b1:2")
    (['i8:1', 'f'], ['b1:2'])
    """
    return kind.strip("()").split(",")


def dimensions(leaf: str) -> int:
    """Count the dimensions of an array.

    Parameters
    ----------
    leaf : str
        Kind of an array or number.

    Returns
    -------
    int
        0 for a number.
    """
    return int(leaf.partition(":")[2] or 0)
