"""Compiled scan of the objects in a JSON array: borders, grammar, and where wanted values stand.

A program writes its objects alike. What stood between two values (commas, brackets, a key) is
remembered, with what it means after what came before it; where the same bytes stand again, they are
not parsed but compared, 64 at a time.
"""

from typing import Any

import numpy as np

from loadpath.compiled import kernel
from loadpath.decode.byte_kernels import (
    PADDING,
    after_blank,
    byte_at,
    differing,
    word_at,
)
from loadpath.decode.value_kernels import MORE, ODD, after_scalar, after_string

__all__ = ["FACTS", "MOST_AFTER", "ROOT", "scan_objects"]

DEEPEST = 1 << 60
"""Containers around a value as bits after a leading 1, objects 1 and arrays 0: beyond is odd."""
ROOT, OBJECT, ARGUMENTS = 1, 0b11, 0b111
MOST_AFTER = 4
"""Different texts between two values that are expected after one."""
FACTS = 6
STATE, INSIDE, KEY, OPENS, CLOSES, SIZE = range(FACTS)
"""What a text between values means: containers around the value that follows, whether one of them is
the nested object, which wanted key the value has, and where the nested object opens and closes."""


@kernel(borrows=True)
def _is_spelt(data: Any, low: int, high: int) -> bool:
    """Tell whether a key may be a wanted one whose letters are written by number."""
    i = low
    while i < high and not (byte_at(data, i) == 92 and byte_at(data, i + 1) == 117):
        i += 1
    return i < high


@kernel(borrows=True)
def _key_number(data: Any, low: int, high: int, level: int, keys: Any) -> int:
    """Find the wanted key that stands between `low` and `high`, -1 for any other."""
    word, text, first, head, follow = keys
    size = high - low
    k = head[level, size] if size < head.shape[1] else -1
    if k < 0:
        return -1
    begin: Any = word_at(data, low)
    if size < 8:
        begin &= (np.uint64(1) << np.uint64(8 * size)) - np.uint64(1)
    while k >= 0:
        if word[k] == begin:
            j = 8
            while j < size and text[first[k] + j] == byte_at(data, low + j):
                j += 1
            if j >= size:
                return k
        k = follow[k]
    return -1


@kernel(borrows=True)
def _between(data: Any, i: int, n: int, keys: Any, nested: int, fact: Any) -> Any:
    """Walk from the end of a value (or the root) to the next scalar, or to the object's end."""
    state, inside, key, begin = fact[STATE], fact[INSIDE], -1, i
    fact[OPENS] = fact[CLOSES] = -1
    ended = state != ROOT
    while True:
        c = byte_at(data, i)
        if ended:
            i = after_blank(data, i)
            c = byte_at(data, i)
            if c == 93 + 32 * (state & 1):
                i += 1
                state >>= 1
                if inside and state == OBJECT:
                    inside = 0
                    fact[CLOSES] = i - begin
                if state != ROOT:
                    continue
                break
            if c != 44:
                return MORE if i >= n else ODD
            i = after_blank(data, i + 1)
        elif c in (123, 91):
            if state >= DEEPEST or (key >= 0 and (c != 123 or key != nested or state != OBJECT)):
                return ODD
            if key >= 0:
                if fact[OPENS] >= 0:
                    return ODD
                fact[OPENS] = i - begin
                inside = 1
            state = state << 1 | (c == 123)
            i = after_blank(data, i + 1)
            ended = byte_at(data, i) == c + 2
            if ended:
                continue
        elif i >= n:
            return MORE
        else:
            break
        key, ended = -1, False
        if state & 1:
            if byte_at(data, i) != 34:
                return MORE if i >= n else ODD
            first = i + 1
            i = after_string(data, i, n)
            if i < 0:
                return i
            if _is_spelt(data, first, i):
                return ODD
            if state == OBJECT or (inside and state == ARGUMENTS):
                key = _key_number(data, first, i - 1, int(state == ARGUMENTS), keys)
            i = after_blank(data, i)
            if byte_at(data, i) != 58:
                return MORE if i >= n else ODD
            i = after_blank(data, i + 1)
    fact[STATE], fact[INSIDE], fact[KEY], fact[SIZE] = state, inside, key, i - begin
    return i


@kernel(borrows=True)
def _expected(data: Any, i: int, last: int, memory: Any) -> Any:
    """Text known to follow the last one, if it stands at `i`; -1 if none of them does."""
    text, mask, fact, after, _ = memory
    for k in range(MOST_AFTER):
        known = after[last, k]
        if known < 0:
            break
        if differing(data, i, text, known * PADDING) & mask[known] == 0:
            c = byte_at(data, i + fact[known, SIZE])
            # what continues in another way (blanks, brackets) is longer than this text
            if c == 34 or 45 <= c <= 57 or c in (116, 102, 110) or fact[known, STATE] == ROOT:
                return known
    return -1


@kernel(borrows=True)
def _remember(data: Any, i: int, last: int, memory: Any) -> Any:
    """Enter the text at `i`, whose meaning stands in the spare row; that row if it has no place."""
    text, mask, fact, after, n_known = memory
    spare = fact.shape[0] - 1
    size = fact[spare, SIZE]
    if last == spare or size >= PADDING:
        return spare
    bits = (np.uint64(1) << np.uint64(size)) - np.uint64(1)
    found = -1
    for known in range(1, n_known[0]):
        if mask[known] == bits and differing(data, i, text, known * PADDING) & bits == 0:
            same = True
            for k in range(FACTS):
                same &= fact[known, k] == fact[spare, k]
            if same:
                found = known
                break
    if found < 0:
        if n_known[0] == spare:
            return spare
        found = n_known[0]
        n_known[0] += 1
        mask[found] = bits
        for k in range(size):
            text[found * PADDING + k] = data[i + k]
        for k in range(FACTS):
            fact[found, k] = fact[spare, k]
    for k in range(MOST_AFTER - 1, 0, -1):
        after[last, k] = after[last, k - 1]
    after[last, 0] = found
    return found


@kernel(borrows=True)
def _object(data: Any, i: int, n: int, keys: Any, nested: int, memory: Any, found: Any) -> Any:
    """Walk through the object at `i`; note where values of wanted keys begin and end."""
    fact = memory[2]
    low, high = found
    spare, last = fact.shape[0] - 1, 0
    while True:
        text = _expected(data, i, last, memory)
        if text >= 0:
            begin = i + fact[text, SIZE]
        else:
            fact[spare, STATE], fact[spare, INSIDE] = fact[last, STATE], fact[last, INSIDE]
            begin = _between(data, i, n, keys, nested, fact[spare])
            if begin < 0:
                return begin
            text = _remember(data, i, last, memory)
        if fact[text, OPENS] >= 0:
            if low[nested] >= 0:
                return ODD
            low[nested] = i + fact[text, OPENS]
        if fact[text, CLOSES] >= 0:
            high[nested] = i + fact[text, CLOSES]
        if fact[text, STATE] == ROOT:
            return begin
        i = after_scalar(data, begin, n)
        if i < 0:
            return i
        key = fact[text, KEY]
        if key >= 0:
            if high[key] >= 0 or low[key] >= 0:
                return ODD
            low[key], high[key] = begin, i
        last = text


@kernel(borrows=True)
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


@kernel(borrows=True)
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


@kernel(borrows=True)
def scan_objects(
    data: Any, keys: Any, nested: int, memory: Any, low: Any, high: Any, border: Any
) -> Any:
    """Scan objects of an array from the beginning of `data`, which ends with `PADDING` zeros.

    Rows of `low` and `high` receive where the value of each wanted key begins and ends, -1 where
    an object has none; rows of `border` where the object begins, where it ends, and whether it is
    odd. `memory` are texts, masks and facts of texts between values, which follow which, and how
    many are known; the first is the root, the last row is spare. Returns the number of whole
    objects and the position of the closing bracket, -1 if it is not in `data`.
    """
    n = data.size - PADDING
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
            end = _object(data, i, n, keys, nested, memory, (low[row], high[row]))
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
