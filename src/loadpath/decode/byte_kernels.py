"""Many bytes at once: runs of one class, and comparisons.

Called from Python these look at one byte after the other; kernels that call them are given the
vector comparisons of `vector_kernels`.
"""

from typing import Any

from loadpath.compiled import native

__all__ = [
    "PADDING",
    "RUN",
    "after_blank",
    "after_digits",
    "after_plain",
    "byte_at",
    "differing",
    "word_at",
]

PADDING = 64
"""Data must end with so many zero bytes, which belong to no class."""
RUN = 32
"""Bytes of a run that are looked at together: most runs are shorter."""
BLANK = b" \n\r\t"
in_vectors = native("loadpath.decode.vector_kernels")


@in_vectors
def byte_at(data: Any, i: int) -> int:
    """Byte at a place that is not negative, which Numba would check for."""
    return int(data[i])


@in_vectors
def word_at(data: Any, i: int) -> int:
    """Eight bytes as one number, the first the lowest."""
    return int.from_bytes(bytes(data[i : i + 8]), "little")


@in_vectors
def differing(data: Any, i: int, other: Any, j: int) -> int:
    """Bits of the bytes that differ between `PADDING` from `i` of one array and `j` of another."""
    return sum(int(data[i + k] != other[j + k]) << k for k in range(PADDING))


@in_vectors
def after_blank(data: Any, i: int) -> int:
    """Position of the first byte from `i` on that is no JSON white space."""
    while data[i] in BLANK:
        i += 1
    return i


@in_vectors
def after_plain(data: Any, i: int) -> int:
    """Position of the first quote, backslash, control character or byte beyond ASCII."""
    while 32 <= data[i] < 128 and data[i] not in {34, 92}:
        i += 1
    return i


@in_vectors
def after_digits(data: Any, i: int) -> int:
    """Position of the first byte from `i` on that is no decimal digit."""
    while 48 <= data[i] <= 57:
        i += 1
    return i
