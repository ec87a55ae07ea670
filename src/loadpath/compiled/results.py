"""What machine code returns: numbers in buffers, and arrays in memory of their own."""

import ctypes
import math
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.compiled.kinds import REAL, TRUTH, dimensions

__all__ = ["MOST_REAL", "MOST_WHOLE", "returned", "size_of", "tokens"]

MOST_WHOLE, MOST_REAL = 64, 8
"""Numbers that a kernel can return: those of arrays are their block, their address and shape."""
_free = ctypes.CDLL(None).free
_free.argtypes, _free.restype = [ctypes.c_void_p], None


def tokens(results: str) -> list[str]:
    """List the kinds of what a kernel returns.

    Parameters
    ----------
    results : str
        Kinds behind each other, with a comma after each where they are a tuple.

    Returns
    -------
    list of str
        Empty where it returns nothing.
    """
    return [token for token in results.split(",") if token]


def size_of(token: str) -> int:
    """Count the whole numbers that tell a result.

    Parameters
    ----------
    token : str
        Kind of an array or number.

    Returns
    -------
    int
        Block, address and shape of an array, or one.
    """
    return 2 + dimensions(token) if dimensions(token) else 1


def returned(whole: NDArray[np.int64], real: NDArray[np.float64], results: str) -> Any:
    """Take out of the buffers what a kernel returned.

    Parameters
    ----------
    whole, real : arrays of int64 and float64
        Buffers that the kernel filled.
    results : str
        As for `tokens`.

    Returns
    -------
    object
        None, a number, an array, or a tuple of them.
    """
    values: list[Any] = []
    blocks: set[int] = set()
    at = n_real = 0
    for token in tokens(results):
        if token == REAL:
            values.append(float(real[n_real]))
            n_real += 1
            continue
        told = whole[at : at + size_of(token)].tolist()
        at += len(told)
        if dimensions(token):
            array = _array(token, *told, owned=told[0] not in blocks)
            values.append(array)
            blocks.add(told[0])
        else:
            values.append(bool(told[0]) if token == TRUTH else told[0])
    return tuple(values) if results.endswith(",") else values[0] if values else None


def _array(token: str, block: int, address: int, *shape: int, owned: bool) -> NDArray[Any]:
    """Array in the memory that the kernel made for it, freed with it; else a copy of it."""
    dtype = np.dtype(token.partition(":")[0].replace("b1", "?"))
    n_byte = math.prod(shape) * dtype.itemsize
    memory: Any = (ctypes.c_char * n_byte).from_address(address)
    array: NDArray[Any] = np.ndarray(shape, dtype, memory)
    if block == 0 or not owned:
        return array.copy()
    weakref.finalize(memory, _free, block).atexit = False
    return array
