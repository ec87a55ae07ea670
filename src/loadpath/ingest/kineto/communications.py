"""What Kineto writes about a communication: collective, group, sequence, payload, peer."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import msgspec

from loadpath.decode import collective_of

__all__ = [
    "Communication",
    "collective_of",
    "is_communication",
    "parse_communication",
    "whole_number",
    "without_impossible",
]

ITEM_BYTES = {
    "double": 8, "float64": 8, "long": 8, "longint": 8, "int64": 8, "int64_t": 8,
    "float": 4, "float32": 4, "int": 4, "int32": 4,
    "half": 2, "bfloat16": 2, "float16": 2, "short": 2, "shortint": 2,
    "byte": 1, "char": 1, "bool": 1, "uint8": 1, "unsignedchar": 1, "signedchar": 1,
}  # fmt: skip
PREFIXES = ("record_param_comms", "nccl:", "gloo:", "ucc:", "mpi:", "c10d::")
ROOTED = frozenset({"broadcast", "reduce", "gather", "scatter"})
SHORTENED = ", ..., "
MAX_RANKS = 1 << 20
MAX_BYTES = 1 << 62
MOST_KNOWN = 256
"""Shapes of tensors that are remembered: a program sends few."""
BAD = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class Communication:
    """Recorded facts about one communication; -1 or empty where a trace does not say.

    Attributes
    ----------
    collective : str
        Collective as loadpath names it.
    group : str
        Process group as named on its rank (in old traces a pointer of that process).
    members : tuple of int
        Ranks of the group.
    size : int
        Number of members.
    sequence : int
        Number within the group.
    bytes : int
        Payload of this rank.
    peer : int
        Other rank of a send or receive; root of a broadcast, reduce, gather or scatter; by number
        in the group where a call (``c10d::``) does not say the group's members.
    tag : int
        Tag of a send or receive.
    comms_id : int
        Number that all members of one communication share (2026), as a signed int64; 0 unknown.
    own : int
        Rank that runs it, where the call names it.
    listed : tuple of int
        Of a group whose list of ranks was shortened the first ones and the last.
    description : str
        What the group is for.
    """

    collective: str = ""
    group: str = ""
    members: tuple[int, ...] = ()
    size: int = -1
    sequence: int = -1
    bytes: int = -1
    peer: int = -1
    tag: int = -1
    comms_id: int = 0
    own: int = -1
    listed: tuple[int, ...] = ()
    description: str = ""


def is_communication(name: str) -> bool:
    """Tell by name whether a host span may speak of a communication.

    Parameters
    ----------
    name : str
        Name of the span.

    Returns
    -------
    bool
        True for c10d calls, backend annotations and `record_param_comms`.
    """
    return name.startswith(PREFIXES)


def parse_communication(name: str, args: Any) -> Communication:
    """Read the facts from a span's arguments.

    Parameters
    ----------
    name : str
        Name of the span.
    args : Args
        Its arguments.

    Returns
    -------
    Communication
        What they say.
    """
    inputs = _old_inputs(args) if name == "record_param_comms" else ()
    sequence = whole_number(args.sequence)
    size = whole_number(args.group_size)
    group = str(args.group) or str(args.group_number)
    if inputs:
        sequence = sequence if sequence >= 0 else whole_number(inputs[1])
        group = group or str(inputs[2])
        size = size if size >= 0 else whole_number(inputs[-1])
    members, listed = _members(args.group_ranks)
    known = members or listed[:-1]
    collective = collective_of(args.collective or name)
    peer, tag = _peer(name, args)
    return Communication(
        collective=collective,
        group=group,
        members=members,
        size=size if size >= 0 else len(members) or -1,
        sequence=sequence,
        bytes=_payload(name, args),
        peer=_root(name, args, known) if collective in ROOTED else peer,
        tag=tag,
        comms_id=_signed(args.comms_id),
        own=_own(collective, args, known),
        listed=listed,
        description=str(args.group_use),
    )


def without_impossible(fact: Communication) -> Communication:
    """Drop members, sizes, peers and payloads that no job can have.

    Parameters
    ----------
    fact : Communication
        As recorded.

    Returns
    -------
    Communication
        The same object if nothing had to be dropped.

    Examples
    --------
    >>> without_impossible(Communication(members=(0, 99999999999), peer=1)).members
    ()
    """
    changes: dict[str, Any] = {}
    for name in ("members", "listed"):
        ranks = getattr(fact, name)
        if ranks and not 0 <= min(ranks) <= max(ranks) < MAX_RANKS:
            changes[name] = ()
    changes |= {name: -1 for name in ("size", "peer") if getattr(fact, name) > MAX_RANKS}
    if fact.bytes >= MAX_BYTES:
        changes["bytes"] = -1
    return replace(fact, **changes) if changes else fact


def _old_inputs(args: Any) -> tuple[str, ...]:
    """Concrete inputs with the payload first; the call without payload marks the wait after it."""
    inputs = _json(args.inputs, list[Any])
    if not inputs or len(inputs) < 8 or inputs[0] != "":
        return ()
    return tuple(str(item) for item in inputs)


def _payload(name: str, args: Any) -> int:
    n_item = max(whole_number(args.n_in), whole_number(args.n_out))
    width = _item_bytes(args.dtype)
    if n_item >= 0 and width > 0:
        return n_item * width
    # of a call, the tensors that it takes: output and input, or one of them
    return _tensor_bytes(bytes(args.dims), bytes(args.types), 1 + name.endswith("_base_"))


@lru_cache(MOST_KNOWN)
def _tensor_bytes(dims: bytes, types: bytes, n_tensor: int) -> int:
    """Bytes of the largest of the first tensors; -1 if they are not told."""
    shapes, named = _json(dims, list[Any]), _json(types, list[Any])
    if not shapes or not named:
        return -1
    width = _item_bytes(str(named[0]))
    n_item = max(map(_n_item, shapes[:n_tensor]))
    return n_item * (width if width > 0 else 4) if n_item >= 0 else -1


@lru_cache(MOST_KNOWN)
def _item_bytes(named: str) -> int:
    """Bytes of an element of a type, -1 of an unknown one."""
    return ITEM_BYTES.get(re.sub(r"^c10::|[ ]", "", named).lower(), -1)


def _n_item(shape: Any) -> int:
    """Elements of a tensor, or of a list of tensors."""
    if isinstance(shape, list) and shape and all(isinstance(part, list) for part in shape):
        return sum(_n_item(part) for part in shape)
    if not isinstance(shape, list) or not all(isinstance(part, int) for part in shape):
        return -1
    n_item = 1
    for part in shape:
        n_item *= part
    return n_item


def _peer(name: str, args: Any) -> tuple[int, int]:
    """Other rank and tag of a send or receive."""
    if name.startswith(("c10d::send", "c10d::recv")):
        inputs = _json(args.inputs, list[Any]) or []
        if name.startswith("c10d::recv_any"):
            return -1, whole_number(inputs[2]) if len(inputs) > 2 else -1
        peer, tag = (*inputs[2:4], -1, -1)[:2]
        return whole_number(peer), whole_number(tag)
    is_send = collective_of(args.collective) == "send"
    return whole_number(args.target if is_send else args.source), -1


def _root(name: str, args: Any, members: tuple[int, ...]) -> int:
    """Root, which calls name by its place in the group."""
    if name.startswith("c10d::"):
        inputs = _json(args.inputs, list[Any]) or []
        place = 2 if name.startswith("c10d::broadcast") else 3
        root = whole_number(inputs[place]) if len(inputs) > place else -1
    else:
        root = whole_number(args.rank)
    return members[root] if 0 <= root < len(members) else root


def _own(collective: str, args: Any, members: tuple[int, ...]) -> int:
    """Rank of the caller, whose place in the group is named by calls that have no other rank."""
    place = -1 if collective in {*ROOTED, "send", "recv", ""} else whole_number(args.rank)
    return members[place] if 0 <= place < len(members) else -1


def _signed(value: Any) -> int:
    """Unsigned number of 64 bits as a signed one."""
    text = str(value)
    number = int(text) if text.isdecimal() and len(text) <= 20 else 0
    return number - (1 << 64) if 1 << 63 <= number < 1 << 64 else number if number < 1 << 63 else 0


def _members(raw: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ranks, written as a list or its text; of one that Kineto shortened the first and the last."""
    text = _json(raw, str)
    if text and SHORTENED in text:
        return (), tuple(_json(text.replace(SHORTENED, ", ").encode(), list[int]) or ())
    ranks = _json(text.encode(), list[int]) if text else _json(raw, list[int])
    return tuple(ranks or ()), ()


def _json(raw: Any, kind: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind) if bytes(raw) else None
    except BAD:
        return None


def whole_number(value: Any) -> int:
    """Read a recorded number.

    Parameters
    ----------
    value : int, float or str
        As recorded.

    Returns
    -------
    int
        -1 where it is no whole number of at least -1, or beyond 2**62.

    Examples
    --------
    >>> whole_number("17"), whole_number("?")
    (17, -1)
    """
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return -1
    return number if -1 <= number < 2**62 else -1
