"""Compiled reading of numbers that the scan has found."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = ["read_thousandths", "read_whole"]

MOST_WHOLE = 9_000_000_000_000_000
"""Its thousandths, rounded up, are a 64-bit number still."""


@kernel
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
        number: Any = 0
        while j < high[i] and 48 <= data[j] <= 57:
            number = number * 10 + np.int64(data[j]) - 48
            j += 1
        odd[i] |= j < high[i]
        value[i] = -number if minus else number


@kernel
def read_thousandths(data: Any, low: Any, high: Any, value: Any, odd: Any) -> None:
    """Read decimals, bare or as text, as whole thousandths, halves to even; up to 9e15, microseconds of an epoch."""
    for i in range(low.size):
        j = low[i]
        if j < 0:
            continue
        end = high[i]
        if data[j] == 34:
            j += 1
            end -= 1
        minus = data[j] == 45
        j += 1 if minus else 0
        first = j
        number: Any = 0
        while j < end and j - first < 17 and 48 <= data[j] <= 57:
            number = number * 10 + np.int64(data[j]) - 48
            j += 1
        if j == first or j - first > 16 or number > MOST_WHOLE:
            odd[i] = True
            continue
        n_digit, rest = 0, False
        above: Any = 0
        if j < end and data[j] == 46:
            j += 1
            while j < end and 48 <= data[j] <= 57:
                if n_digit < 3:
                    number = number * 10 + np.int64(data[j]) - 48
                elif n_digit == 3:
                    above = np.int64(data[j]) - 48
                else:
                    rest |= data[j] != 48
                n_digit += 1
                j += 1
        odd[i] |= j < end
        for _ in range(n_digit, 3):
            number *= 10
        if above > 5 or (above == 5 and (rest or number % 2 == 1)):
            number += 1
        value[i] = -number if minus else number
