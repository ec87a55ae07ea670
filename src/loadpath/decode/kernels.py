"""Compiled scan of the objects in a JSON array: borders, grammar, and where wanted values stand."""

from typing import Any

import numba as nb
import numpy as np

__all__ = ["intern_tokens", "read_thousandths", "read_whole", "rehash", "scan_objects"]

MORE = -1
"""The data end before the value does."""
ODD = -2
"""Not plain JSON: the caller decides with a full decoder."""
MAX_DEPTH = 64


@nb.njit(cache=True, nogil=True, inline="always")
def _blank(data: Any, i: int) -> int:
    while data[i] == 32 or data[i] == 10 or data[i] == 13 or data[i] == 9:
        i += 1
    return i


@nb.njit(cache=True, nogil=True)
def _string(data: Any, plain: Any, i: int, n: int) -> int:
    """Position after the string that begins at `i`; odd where it has control or other alphabets."""
    i += 1
    while True:
        while plain[data[i]]:
            i += 1
        c = data[i]
        if c == 34:
            return i + 1
        if i >= n:
            return MORE
        if c != 92:
            return ODD
        if i + 1 >= n:
            return MORE
        c = data[i + 1]
        if c not in (34, 92, 47, 98, 102, 110, 114, 116):
            return ODD
        i += 2


@nb.njit(cache=True, nogil=True)
def _number(data: Any, i: int, n: int) -> int:
    """Position after the number that begins at `i`."""
    if data[i] == 45:
        i += 1
    first = i
    while 48 <= data[i] <= 57:
        i += 1
    if i == first or (data[first] == 48 and i > first + 1):
        return MORE if i >= n else ODD
    if data[i] == 46:
        i += 1
        first = i
        while 48 <= data[i] <= 57:
            i += 1
        if i == first:
            return MORE if i >= n else ODD
    if data[i] == 101 or data[i] == 69:
        return ODD
    return MORE if i >= n else i


@nb.njit(cache=True, nogil=True)
def _literal(data: Any, i: int, n: int) -> int:
    """Position after true, false or null."""
    word = b"true" if data[i] == 116 else b"null"
    if data[i] == 102:
        word = b"false"
    for k in range(len(word)):
        if data[i + k] != word[k]:
            return MORE if i + k >= n else ODD
    return i + len(word)


@nb.njit(cache=True, nogil=True)
def _key_number(data: Any, low: int, high: int, level: int, keys: Any) -> int:
    """Find the wanted key that stands between `low` and `high`, -1 for any other."""
    text, first, head, follow = keys
    size = high - low
    k = head[level, size] if size < head.shape[1] else -1
    while k >= 0:
        same = True
        for j in range(size):
            if text[first[k] + j] != data[low + j]:
                same = False
                break
        if same:
            return k
        k = follow[k]
    return -1


@nb.njit(cache=True, nogil=True)
def _object(data: Any, i: int, n: int, keys: Any, tools: Any, low: Any, high: Any) -> int:
    """Walk through the object at `i`; note where values of wanted keys begin and end."""
    plain, stack, key_at, begin_at, nested = tools
    depth = 0
    while True:
        c = data[i]
        begin = i
        opened = False
        if c == 34:
            i = _string(data, plain, i, n)
        elif c in (123, 91):
            if depth == MAX_DEPTH:
                return ODD
            if depth == 1 and c == 123 and key_at[1] >= 0 and key_at[1] == nested:
                if low[nested] >= 0:
                    return ODD
                low[nested] = i
            stack[depth] = c
            begin_at[depth] = begin
            depth += 1
            i = _blank(data, i + 1)
            if data[i] == c + 2:
                depth -= 1
                i += 1
            else:
                opened = True
        elif c == 45 or 48 <= c <= 57:
            i = _number(data, i, n)
        elif c in (116, 102, 110):
            i = _literal(data, i, n)
        else:
            return MORE if i >= n else ODD
        if i < 0:
            return i
        while not opened:
            if depth == 0:
                return i
            if depth <= 2 and stack[depth - 1] == 123 and key_at[depth] >= 0:
                if high[key_at[depth]] >= 0:
                    return ODD
                low[key_at[depth]] = begin
                high[key_at[depth]] = i
            i = _blank(data, i)
            c = data[i]
            if c == 44:
                i = _blank(data, i + 1)
                break
            if c != stack[depth - 1] + 2:
                return MORE if i >= n else ODD
            depth -= 1
            begin = begin_at[depth]
            i += 1
        if stack[depth - 1] == 123:
            if data[i] != 34:
                return MORE if i >= n else ODD
            begin = i + 1
            i = _string(data, plain, i, n)
            if i < 0:
                return i
            if depth == 1:
                key_at[1] = _key_number(data, begin, i - 1, 0, keys)
            elif depth == 2:
                inside = stack[0] == 123 and key_at[1] >= 0 and key_at[1] == nested
                key_at[2] = _key_number(data, begin, i - 1, 1, keys) if inside else -1
            i = _blank(data, i)
            if data[i] != 58:
                return MORE if i >= n else ODD
            i = _blank(data, i + 1)


@nb.njit(cache=True, nogil=True)
def _lenient(data: Any, i: int, n: int) -> int:
    """End of what seems an object: braces balance outside strings; a raw line feed ends a string.

    JSON forbids line feeds there, so that one lost quote does not swallow the file.
    """
    depth, inside = 0, False
    while i < n:
        c = data[i]
        if inside:
            if c == 92:
                i += 1
            elif c in (34, 10):
                inside = False
        elif c == 34:
            inside = True
        elif c in (123, 91):
            depth += 1
        elif c in (125, 93):
            if depth == 0 and c == 93:
                return i
            depth -= 1 if depth else 0
            if depth == 0:
                return i + 1
        i += 1
    return MORE


@nb.njit(cache=True, nogil=True)
def _junk(data: Any, i: int, n: int) -> int:
    """End of what is no object: the next one begins there, or the array ends."""
    depth = 0
    while i < n:
        c = data[i]
        if c == 123 or (c == 93 and depth == 0):
            return i
        depth += 1 if c == 91 else -1 if c == 93 else 0
        i += 1
    return MORE


@nb.njit(cache=True, nogil=True)
def scan_objects(data: Any, keys: Any, nested: int, low: Any, high: Any, border: Any) -> Any:
    """Scan objects of an array from the beginning of `data`, which ends with a zero byte.

    Rows of `low` and `high` receive where the value of each wanted key begins and ends, -1 where
    an object has none; rows of `border` where the object begins, where it ends, and whether it is
    odd. Returns the number of whole objects and the position of the closing bracket, -1 if it is
    not in `data`.
    """
    n = data.size - 1
    plain = np.zeros(256, np.bool_)
    plain[32:128] = True
    plain[34] = plain[92] = False
    stack = np.zeros(MAX_DEPTH, np.uint8)
    begin_at = np.zeros(MAX_DEPTH, np.int64)
    key_at = np.full(3, -1, np.int64)
    tools = (plain, stack, key_at, begin_at, nested)
    i, row = 0, 0
    while row < border.shape[0]:
        while data[i] == 44 or data[i] == 32 or data[i] == 10 or data[i] == 13 or data[i] == 9:
            i += 1
        if i >= n:
            break
        if data[i] == 93:
            return row, i
        end = ODD
        low[row], high[row] = -1, -1
        if data[i] != 123:
            end = _junk(data, i, n)
            border[row, 2] = 1
        else:
            key_at[:] = -1
            end = _object(data, i, n, keys, tools, low[row], high[row])
            border[row, 2] = 0
        if end == ODD:
            end = _lenient(data, i, n)
            border[row, 2] = 1
        if end < 0:
            break
        border[row, 0], border[row, 1] = i, end
        row += 1
        i = end
    return row, -1


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
