"""Nodes of Chakra's own files: protocol buffers (``.et``), and what its ``jsonizer`` makes of them.

Inputs and outputs stand in them as the text of a Python list; a kernel's node repeats the number of the
operator that launched it, and is left out.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from loadpath.ingest.execution_trace.wire import fields, messages

__all__ = ["ChakraNode", "chakra_nodes", "is_chakra", "jsonized_nodes"]

ID, NAME, TYPE, INPUTS, OUTPUTS, ATTRIBUTES = 1, 2, 3, 8, 9, 10
KNOWN = frozenset(range(1, 12))
VALUES = 1
"""Field of an attribute's or of a side's text."""
WHOLE, SIGNED, TEXT = frozenset({7, 9, 11, 13, 27}), frozenset({15, 17}), 29
"""Fields of an attribute that hold a number, one folded with its sign, or text."""
LONGEST_TEXT = 1 << 20
MOST_BAD = 10_000
"""Nodes that are none, after which a file is none either."""
PYTHON = re.compile(
    r"'((?:[^'\\]|\\.?)*+)(?:'|$)|\"((?:[^\"\\]|\\.?)*+)(?:\"|$)|\b(True|False|None|nan|inf)\b|-inf",
    re.DOTALL,
)
"""A string that nothing closes goes to the end, or each of its quotes would be tried as a begin."""
JSON_NUMBERS = {"int64Val", "int32Val", "uint64Val", "uint32Val", "boolVal", "sint64Val"}


class ChakraNode(msgspec.Struct, frozen=True):
    """One node, as the reader of PyTorch's own execution traces has it.

    Attributes
    ----------
    name : str
        Operator.
    rf_id : int
        Number that it shares with the profiler; -1 for none.
    op_schema : str
        Schema of the operator.
    inputs, outputs : list
        Values, tensors as lists.
    """

    name: str
    rf_id: int = -1
    op_schema: str = ""
    inputs: list[Any] = []
    outputs: list[Any] = []


def is_chakra(head: bytes) -> bool:
    r"""Tell a Chakra file by its first messages: what it is of, and a node.

    Parameters
    ----------
    head : bytes
        First bytes of the file, unpacked.

    Returns
    -------
    bool
        True where a Chakra file can begin so; also for the jsonizer's text.

    Examples
    --------
    >>> is_chakra(b"\x07\n\x050.0.4\x08\x08\x01\x12\x02op\x18\x04")
    True
    >>> is_chakra(b'{"traceEvents": []}')
    False
    """
    if head[:1] == b"{":
        return b'"type"' in head and b'_NODE"' in head and b'"traceEvents"' not in head
    try:
        found = messages([head])
        about, node = list(fields(next(found))), list(fields(next(found)))
    except (ValueError, StopIteration):
        return False
    told = {number for number, _ in node}
    named = [value for number, value in node if number == NAME]
    return (
        all(number <= 2 and isinstance(value, bytes) for number, value in about)
        and {NAME} <= told <= KNOWN
        and isinstance(named[0], bytes)
    )


def chakra_nodes(blocks: Iterable[bytes]) -> Iterator[ChakraNode | None]:
    """Read the operators of a Chakra file.

    Parameters
    ----------
    blocks : iterable of bytes
        The file, unpacked.

    Yields
    ------
    ChakraNode or None
        Operators; None for a node that is none.

    Raises
    ------
    ValueError
        Where the file is damaged beyond a node, or has too many that are none.
    """
    n_bad = 0
    for i, message in enumerate(messages(blocks)):
        if not i:
            continue
        try:
            yield from _node(message)
        except (ValueError, msgspec.MsgspecError, RecursionError):
            n_bad += 1
            yield None
        if n_bad > MOST_BAD:
            raise ValueError(f"more than {MOST_BAD:,} nodes that are none")


def jsonized_nodes(text: bytes) -> Iterator[ChakraNode | None]:
    """Read the operators of a Chakra file that was turned into text: objects behind each other.

    Parameters
    ----------
    text : bytes
        The file, unpacked.

    Yields
    ------
    ChakraNode or None
        Operators; None for an object that is none.
    """
    for part in re.split(rb"(?m)(?<=^\})\s*(?=\{)", text):
        try:
            told = msgspec.json.decode(part, type=dict[str, Any])
            if "name" in told:
                yield from _from_text(told)
        except (ValueError, TypeError, AttributeError, RecursionError):
            yield None


def _node(message: bytes) -> Iterator[ChakraNode]:
    told: dict[int, Any] = {}
    said: dict[str, int | str] = {}
    for number, value in fields(message):
        if number == ATTRIBUTES:
            said |= _attribute(value)
        else:
            told[number] = value
    if NAME not in told:
        raise ValueError("a node without a name")
    yield from _operator(_text(told[NAME]), said, *(
        _side(told.get(side, b"")) for side in (INPUTS, OUTPUTS)
    ))  # fmt: skip


def _attribute(message: Any) -> dict[str, int | str]:
    """Name and value; one that is not written is the default."""
    told = dict(fields(_bytes(message)))
    name = _text(told.get(VALUES, b""))
    for number, value in told.items():
        if number in WHOLE and isinstance(value, int):
            return {name: value - (1 << 64) if value >> 63 else value}
        if number in SIGNED and isinstance(value, int):
            return {name: (value >> 1) ^ -(value & 1)}
        if number == TEXT:
            return {name: _text(value)}
    return {name: 0}


def _side(message: Any) -> str:
    return _text(dict(fields(_bytes(message))).get(VALUES, b""))


def _from_text(told: dict[str, Any]) -> Iterator[ChakraNode]:
    said: dict[str, int | str] = {}
    for item in told.get("attr", []):
        key = next((key for key in item if key in JSON_NUMBERS), "")
        said[str(item.get("name"))] = int(item[key]) if key else item.get("stringVal", 0)
    sides = (str(told.get(side, {}).get("values", "")) for side in ("inputs", "outputs"))
    yield from _operator(str(told["name"]), said, *sides)


def _operator(name: str, said: dict[str, int | str], given: str, made: str) -> Iterator[ChakraNode]:
    """One operator; a kernel yields nothing."""
    number, schema = said.get("rf_id", -1), said.get("op_schema", "")
    if said.get("is_cpu_op", 1) == 0:
        return
    yield ChakraNode(
        name,
        number if isinstance(number, int) else -1,
        schema if isinstance(schema, str) else "",
        _listed(given),
        _listed(made),
    )


def _listed(text: str) -> list[Any]:
    """Read the text of a Python list."""
    if not text:
        return []
    if len(text) > LONGEST_TEXT:
        raise ValueError("values of more than a million characters")
    return msgspec.json.decode(PYTHON.sub(_as_json, text), type=list[Any])


def _as_json(found: re.Match[str]) -> str:
    if found[3] or found[0] == "-inf":
        return {"True": "true", "False": "false"}.get(found[0], "null")
    text = found[1] if found[1] is not None else found[2]
    return msgspec.json.encode(text).decode()


def _text(value: Any) -> str:
    return _bytes(value).decode()


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number in the place of a text")  # noqa: TRY004 - damage, as any other
    return value
