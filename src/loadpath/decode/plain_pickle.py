"""Pickles of plain containers and scalars, and nothing else: no name in them is ever looked up."""

import io
import pickle
import pickletools
from typing import Any

from loadpath.errors import InputError, first_line

__all__ = ["is_pickle", "load_plain"]

_NAMES = frozenset({
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE",
    "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
    "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3",
    "SETITEM", "SETITEMS", "APPEND", "APPENDS",
    "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET",
})  # fmt: skip
PLAIN: dict[bytes, Any] = {
    opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes if opcode.name in _NAMES
}
"""Opcodes that make containers, texts, numbers and references to them."""
PUTS = frozenset({"BINPUT", "LONG_BINPUT"})
MOST_BYTES = 1 << 28
MOST_VALUES = 1 << 25
"""Values after all references are followed; a list of lists of one list grows without end."""
REMEDY = "Give the dump as the framework wrote it; nothing but plain values is read from a pickle."
DAMAGE = (ValueError, EOFError, IndexError, KeyError, TypeError, pickle.UnpicklingError,
          UnicodeDecodeError, OverflowError, AttributeError)  # fmt: skip


class _NoNames(pickle.Unpickler):  # noqa: S301 - it looks up nothing, and opcodes are checked
    """An unpickler that knows no class and no function."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError(f"it refers to {pid!r} outside itself")


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
        The pickle; opcodes and memo are checked before anything is built.
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
        _check(data)
        value = _NoNames(io.BytesIO(data)).load()
    except DAMAGE as error:
        raise InputError(name, f"not a pickle of plain values ({first_line(error)})", REMEDY) from (
            error
        )
    if _count(value) > MOST_VALUES:
        raise InputError(name, "a pickle that refers to itself again and again", REMEDY)
    return value


def _check(data: bytes) -> None:
    """Refuse opcodes that are not plain, before what follows them is looked at, and huge memos."""
    stream = io.BytesIO(data)
    n_put = 0
    name = ""
    while name != "STOP":
        code = stream.read(1)
        if not code:
            raise pickle.UnpicklingError("it ends early")
        if code not in PLAIN:
            raise pickle.UnpicklingError(f"it holds the opcode {code!r}")
        name, argument = PLAIN[code].name, 0
        if PLAIN[code].arg is not None:
            argument = PLAIN[code].arg.reader(stream)
        if name in PUTS:
            n_put += 1
            if argument > 2 * n_put + 256:
                raise pickle.UnpicklingError(f"it numbers a value {argument:,}")


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
        if id(item) in open_:
            return MOST_VALUES + 1
        open_.add(id(item))
        stack.append((item, True))
        stack.extend((part, False) for part in parts)
    return total.get(id(value), 1)
