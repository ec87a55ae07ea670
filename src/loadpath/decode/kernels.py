"""Compiled reading of values that the scan has found: pieces of text by content, and numbers."""

from typing import Any

import numba as nb
import numpy as np

__all__ = ["intern_tokens", "read_thousandths", "read_whole", "rehash"]


@nb.njit(cache=True, nogil=True)
def _place(data: Any, low: int, high: int, weight: Any, table: Any, text: Any, first: Any) -> Any:
    """Place of a token in the table: its own, or the empty one where it belongs."""
    h = np.uint64(high - low)
    for j in range(high - low):
        h += np.uint64(data[low + j]) * weight[j & 255]
    place = np.int64((h * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & (table.size - 1)
    while table[place] >= 0:
        token = table[place]
        if first[token + 1] - first[token] == high - low:
            differs = np.uint8(0)
            begin = first[token]
            for j in range(high - low):
                differs |= text[begin + j] ^ data[low + j]
            if differs == 0:
                return place
        place = (place + 1) & (table.size - 1)
    return place


@nb.njit(cache=True, nogil=True)
def intern_tokens(data: Any, low: Any, high: Any, tokens: Any, n_token: int, code: Any) -> int:
    """Give pieces of `data` numbers by content, new ones in order; -1 where `low` is negative.

    `tokens` are weights, table, text and first positions, all with room for every piece. Returns
    the number of tokens known.
    """
    weight, table, text, first = tokens
    for i in range(low.size):
        if low[i] < 0:
            code[i] = -1
            continue
        place = _place(data, low[i], high[i], weight, table, text, first)
        if table[place] < 0:
            table[place] = n_token
            begin = first[n_token]
            for j in range(high[i] - low[i]):
                text[begin + j] = data[low[i] + j]
            n_token += 1
            first[n_token] = begin + high[i] - low[i]
        code[i] = table[place]
    return n_token


@nb.njit(cache=True, nogil=True)
def rehash(tokens: Any, n_token: int, table: Any) -> None:
    """Enter all tokens into a larger, empty table."""
    weight, _, text, first = tokens
    for token in range(n_token):
        place = _place(text, first[token], first[token + 1], weight, table, text, first)
        table[place] = token


@nb.njit(cache=True, nogil=True)
def read_whole(data: Any, low: Any, high: Any, value: Any, odd: Any) -> None:
    """Read whole numbers of at most 18 digits; where there is another value, the row is odd."""
    for i in range(low.size):
        j = low[i]
        if j < 0:
            continue
        minus = data[j] == 45
        j += 1 if minus else 0
        if high[i] - j > 18 or high[i] == j:
            odd[i] = True
            continue
        number = 0
        while j < high[i] and 48 <= data[j] <= 57:
            number = number * 10 + (data[j] - 48)
            j += 1
        odd[i] |= j < high[i]
        value[i] = -number if minus else number


@nb.njit(cache=True, nogil=True)
def read_thousandths(data: Any, low: Any, high: Any, value: Any, odd: Any) -> None:
    """Read decimals as whole thousandths, halves to even; at most 15 digits before the point."""
    for i in range(low.size):
        j = low[i]
        if j < 0:
            continue
        minus = data[j] == 45
        j += 1 if minus else 0
        first = j
        number = 0
        while j < high[i] and j - first < 16 and 48 <= data[j] <= 57:
            number = number * 10 + (data[j] - 48)
            j += 1
        if j == first or j - first > 15:
            odd[i] = True
            continue
        n_digit, above, rest = 0, 0, False
        if j < high[i] and data[j] == 46:
            j += 1
            while j < high[i] and 48 <= data[j] <= 57:
                if n_digit < 3:
                    number = number * 10 + (data[j] - 48)
                elif n_digit == 3:
                    above = data[j] - 48
                else:
                    rest |= data[j] != 48
                n_digit += 1
                j += 1
        odd[i] |= j < high[i]
        for _ in range(n_digit, 3):
            number *= 10
        if above > 5 or (above == 5 and (rest or number % 2 == 1)):
            number += 1
        value[i] = -number if minus else number
