"""Pickles of plain containers and scalars, and nothing else: no name in them is ever looked up."""

import io
import pickle
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

from loadpath.errors import InputError, first_line

__all__ = ["is_pickle", "load_plain"]

MOST_BYTES = 1 << 28
MOST_VALUES = 1 << 25
"""Values after all references are followed; a list of lists of one list grows without end."""
DEEPEST = 1000
"""Containers within each other; dumps have five."""
MOST_KEY = 1 << 61
"""Whole numbers from here on may share a hash: a dictionary of many of them takes hours to build."""
REMEDY = "Give the dump as the framework wrote it; nothing but plain values is read from a pickle."
DAMAGE = (ValueError, EOFError, IndexError, KeyError, TypeError, pickle.UnpicklingError,
          UnicodeDecodeError, OverflowError, AttributeError)  # fmt: skip


class _Values(NamedTuple):
    """What a pickle has made so far: its stack, where marks stand in it, and what may be referred to."""

    stack: list[Any]
    marks: list[int]
    memo: dict[int, Any]


def is_pickle(head: bytes) -> bool:
    """Tell a pickle of protocol 2 to 5 by its first bytes.

    Parameters
    ----------
    head : bytes
        Begin of a file.

    Returns
    -------
    bool
        True where a pickle can begin so.

    Examples
    --------
    >>> is_pickle(pickle.dumps({"entries": []})), is_pickle(b'{"entries": []}')
    (True, False)
    """
    return len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= 5


def load_plain(data: bytes, name: str) -> Any:
    """Read a pickle of plain values.

    Parameters
    ----------
    data : bytes
        The pickle; of Python's machine only the opcodes that make such values are there.
    name : str
        File, for errors.

    Returns
    -------
    object
        Dictionaries, lists, tuples, texts, numbers and None.

    Raises
    ------
    InputError
        If the pickle is damaged, too large, asks for anything but plain values, or refers to
        itself.

    Examples
    --------
    >>> load_plain(pickle.dumps({"ranks": [0, 1]}, protocol=4), "dump")
    {'ranks': [0, 1]}
    """
    if len(data) > MOST_BYTES:
        raise InputError(name, f"a pickle of {len(data):,} bytes is not read", REMEDY)
    try:
        value = _built(data)
    except DAMAGE as error:
        raise InputError(name, f"not a pickle of plain values ({first_line(error)})", REMEDY) from (
            error
        )
    if _count(value) > MOST_VALUES:
        raise InputError(
            name, "a pickle without end: it nests or refers to itself again and again", REMEDY
        )
    return value


def _built(data: bytes) -> Any:
    """Do what the opcodes say; the first that is not plain ends it."""
    stream, values = io.BytesIO(data), _Values([], [], {})
    while True:
        code = stream.read(1)
        if not code:
            raise pickle.UnpicklingError("it ends early")
        if code not in PLAIN:
            raise pickle.UnpicklingError(f"it holds the opcode {code!r}")
        opcode, act = PLAIN[code]
        argument = None if opcode.arg is None else opcode.arg.reader(stream)
        if opcode.name == "STOP":
            return values.stack.pop()
        act(values, argument)


def _push(values: _Values, argument: Any) -> None:
    values.stack.append(argument)


def _constant(*, value: Any) -> Callable[[_Values, Any], None]:
    return lambda values, _: values.stack.append(value)


def _cut(values: _Values, n: int | None = None) -> list[Any]:
    """Take the last `n` values off the stack, or those after the last mark."""
    begin = values.marks.pop() if n is None else len(values.stack) - n
    if begin < 0:
        raise IndexError("it takes more values than there are")
    found = values.stack[begin:]
    del values.stack[begin:]
    return found


def _tuple(n: int | None) -> Callable[[_Values, Any], None]:
    return lambda values, _: values.stack.append(tuple(_cut(values, n)))


def _append(n: int | None) -> Callable[[_Values, Any], None]:
    def act(values: _Values, _: Any) -> None:
        items = _cut(values, n)
        if type(values.stack[-1]) is not list:
            raise TypeError("it appends to what is no list")
        values.stack[-1].extend(items)

    return act


def _set(n: int | None) -> Callable[[_Values, Any], None]:
    def act(values: _Values, _: Any) -> None:
        items = _cut(values, n)
        if type(values.stack[-1]) is not dict:
            raise TypeError("it sets items of what is no dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if type(key) is not str and (type(key) is not int or abs(key) >= MOST_KEY):
                raise TypeError("it has a key that is neither text nor a usual number")
            values.stack[-1][key] = value

    return act


def _put(values: _Values, place: int | None) -> None:
    values.memo[len(values.memo) if place is None else place] = values.stack[-1]


ACTIONS: dict[str, Callable[[_Values, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), lambda *_: None),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _push),
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"), _push),
    "NONE": _constant(value=None),
    "NEWTRUE": _constant(value=True),
    "NEWFALSE": _constant(value=False),
    "EMPTY_TUPLE": _constant(value=()),
    "EMPTY_DICT": lambda values, _: values.stack.append({}),
    "EMPTY_LIST": lambda values, _: values.stack.append([]),
    "MARK": lambda values, _: values.marks.append(len(values.stack)),
    "TUPLE": _tuple(None),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "APPEND": _append(1),
    "APPENDS": _append(None),
    "SETITEM": _set(2),
    "SETITEMS": _set(None),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), _put),
    **dict.fromkeys(
        ("BINGET", "LONG_BINGET"), lambda values, k: values.stack.append(values.memo[k])
    ),
}
"""What the opcodes do that make containers, texts, numbers and references to them."""
PLAIN = {
    opcode.code.encode("latin-1"): (opcode, ACTIONS[opcode.name])
    for opcode in pickletools.opcodes
    if opcode.name in ACTIONS
}


def _count(value: Any) -> int:
    """Count values as a reader of all of them would meet them; a cycle counts as too many."""
    total: dict[int, int] = {}
    open_: set[int] = set()
    stack = [(value, False)]
    while stack:
        item, done = stack.pop()
        if not isinstance(item, (dict, list, tuple)) or (id(item) in total and not done):
            continue
        parts = [*item.keys(), *item.values()] if isinstance(item, dict) else item
        if done:
            open_.discard(id(item))
            total[id(item)] = 1 + sum(total.get(id(part), 1) for part in parts)
            continue
        if id(item) in open_ or len(open_) > DEEPEST:
            return MOST_VALUES + 1
        open_.add(id(item))
        stack.append((item, True))
        stack.extend((part, False) for part in parts)
    return total.get(id(value), 1)
