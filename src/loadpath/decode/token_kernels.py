"""Compiled reading of pieces of text that the scan has found, by content."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel
from loadpath.decode.byte_kernels import word_at

__all__ = ["intern_tokens", "rehash"]

ONE = np.uint64(1)
SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""Odd, without structure: the golden ratio in 64 bits."""


@kernel(borrows=True)
def _up_to_eight(data: Any, i: int, high: int) -> Any:
    """Bytes from `i` on as one number, at most eight and none from `high` on."""
    if i + 8 <= data.size:
        word: Any = word_at(data, i)
        left = high - i
        return word if left >= 8 else word & ((ONE << np.uint64(8 * left)) - ONE)
    word = np.uint64(0)
    for k in range(min(high - i, 8)):
        word |= np.uint64(data[i + k]) << np.uint64(8 * k)
    return word


@kernel(borrows=True, wraps=True)
def _hash(data: Any, low: int, high: int) -> Any:
    h = np.uint64(high - low)
    for j in range(low, high, 8):
        h = (h ^ _up_to_eight(data, j, high)) * SPREAD
        h ^= h >> np.uint64(29)
    return h * SPREAD


@kernel(borrows=True)
def _place(data: Any, low: int, high: int, table: Any, text: Any, first: Any) -> Any:
    """Place of a token in the table: its own, or the empty one where it belongs."""
    place = np.int64(_hash(data, low, high) >> np.uint64(20)) & (table.size - 1)
    while table[place] >= 0:
        begin, end = first[table[place]], first[table[place] + 1]
        if end - begin == high - low:
            differs = np.uint64(0)
            for j in range(0, high - low, 8):
                differs |= _up_to_eight(text, begin + j, end) ^ _up_to_eight(data, low + j, high)
            if differs == 0:
                return place
        place = (place + 1) & (table.size - 1)
    return place


@kernel(borrows=True)
def intern_tokens(data: Any, low: Any, high: Any, tokens: Any, n_token: int, code: Any) -> int:
    """Give pieces of `data` numbers by content, new ones in order; -1 where `low` is negative.

    `tokens` are table, text and first positions, all with room for every piece. Returns the number
    of tokens known.
    """
    table, text, first = tokens
    for i in range(low.size):
        if low[i] < 0:
            code[i] = -1
            continue
        place = _place(data, low[i], high[i], table, text, first)
        if table[place] < 0:
            table[place] = n_token
            begin = first[n_token]
            for j in range(high[i] - low[i]):
                text[begin + j] = data[low[i] + j]
            n_token += 1
            first[n_token] = begin + high[i] - low[i]
        code[i] = table[place]
    return n_token


@kernel(borrows=True)
def rehash(tokens: Any, n_token: int, table: Any) -> None:
    """Enter all tokens into a larger, empty table."""
    _, text, first = tokens
    for token in range(n_token):
        place = _place(text, first[token], first[token + 1], table, text, first)
        table[place] = token
