"""GOAL schedules in binary form, as `txt2bin` of LogGOPSim writes them."""

import struct

import numpy as np
from numpy.typing import NDArray

from loadpath.errors import InputError
from loadpath.tables.schedule import ANY, CALC, RECV, SEND, Schedule

__all__ = ["COOKIE", "read_binary"]

COOKIE = struct.pack("<Q", 4223)
SPENT = struct.pack("<Q", 2342)
"""Cookie of a file that a simulation in place has used up."""
REMEDY = "Write the file again from its text."
NODE = np.dtype(
    [
        ("n_required", "<u4"),
        ("kind", "i1"),
        ("peer", "<u4"),
        ("size", "<u8"),
        ("tag", "<u4"),
        ("cpu", "u1"),
        ("nic", "u1"),
        ("n_after", "<u4"),
        ("first_after", "<u4"),
        ("n_started", "<u4"),
        ("first_started", "<u4"),
    ]
)
"""One op: 39 bytes, packed; then come the ops that wait for its end, and those for its start."""
HEAD = len(COOKIE) + 4 + 2
LEAST_PART = 8
"""Bytes of a part without ops."""
ANY_CODE = (1 << 32) - 1
LARGEST = (1 << 62) - 1


def read_binary(name: str, content: bytes) -> Schedule:
    """Read a schedule from binary GOAL.

    Parameters
    ----------
    name : str
        Name of the file, for messages.
    content : bytes
        All of it.

    Returns
    -------
    Schedule
        Ops of all ranks; those free at the start are taken in the order of their numbers.

    Raises
    ------
    InputError
        If sizes, places or counts contradict each other or the length of the file.
    """
    spans = _spans(name, content)
    n_rank, parts, edges, first = len(spans), [], [], 0
    for rank, (low, high) in enumerate(spans.tolist()):
        where = f"{name}, rank {rank}"
        node, successors = _node_table(where, content[low:high])
        _check_nodes(where, node, n_rank)
        source, target, on_start = _edges(where, node, successors)
        parts.append(node)
        edges.append((source + first, target + first, on_start))
        first += node.size
    return _schedule(name, parts, edges)


def _spans(name: str, content: bytes) -> NDArray[np.int64]:
    """Begin and end of the part of each rank; no byte belongs to two of them."""
    n_rank = _n_rank(name, content)
    told = np.frombuffer(content, "<u8", 2 * n_rank, HEAD).reshape(-1, 2)
    low, high = told.astype(np.float64).T + len(COOKIE)
    outside = (low < HEAD + 16 * n_rank) | (high > len(content)) | (high - low < LEAST_PART)
    if outside.any():
        where = f"{name}, rank {int(np.argmax(outside))}"
        raise InputError(where, "its place is not within the file", REMEDY)
    spans = told.astype(np.int64) + len(COOKIE)
    order = np.argsort(spans[:, 0], kind="stable")
    shared = spans[order[1:], 0] < spans[order[:-1], 1]
    if shared.any():
        first, second = sorted(order[np.argmax(shared) :][:2].tolist())
        what = f"its place is also that of rank {first}"
        raise InputError(f"{name}, rank {second}", what, REMEDY)
    return spans


def _n_rank(name: str, content: bytes) -> int:
    if content[:8] == SPENT:
        raise InputError(name, "a simulation in place has used up this schedule", REMEDY)
    if len(content) < HEAD:
        raise InputError(name, f"ends after {len(content)} bytes, within its head", REMEDY)
    n_rank: int = struct.unpack_from("<I", content, 8)[0]
    if n_rank < 1 or HEAD + 16 * n_rank > len(content):
        what = f"{n_rank} ranks do not fit into {len(content)} bytes"
        raise InputError(name, what, REMEDY)
    return n_rank


def _node_table(where: str, part: bytes) -> tuple[NDArray[np.void], NDArray[np.uint32]]:
    """Ops of one rank and the list of ops that wait for them."""
    n_node, n_root = struct.unpack_from("<II", part)
    begin = 8 + 4 * n_root
    after = begin + NODE.itemsize * n_node
    if after > len(part):
        what = f"{n_node} ops and {n_root} free ones do not fit into its {len(part)} bytes"
        raise InputError(where, what, REMEDY)
    node = np.frombuffer(part, NODE, n_node, begin)
    free = np.sort(np.frombuffer(part, "<u4", n_root, 8))
    if not np.array_equal(free, np.flatnonzero(node["n_required"] == 0)):
        raise InputError(where, "the ops that may start at once are not those listed", REMEDY)
    return node, np.frombuffer(part, "<u4", (len(part) - after) // 4, after)


def _check_nodes(where: str, node: NDArray[np.void], n_rank: int) -> None:
    kind, peer, tag = node["kind"], node["peer"], node["tag"]
    talks, takes = kind != CALC, kind == RECV
    problems = [
        ("an op is neither calc, send nor recv", (kind < SEND) | (kind > CALC)),
        ("a peer is not among the ranks", talks & (peer >= n_rank) & ~(takes & (peer == ANY_CODE))),
        ("a send has no tag of its own", (kind == SEND) & (tag == ANY_CODE)),
        ("a size is too large", node["size"] > LARGEST),
    ]
    found = [f"{text} (op {int(np.argmax(wrong))})" for text, wrong in problems if wrong.any()]
    if found:
        raise InputError(where, found, REMEDY)


def _edges(
    where: str, node: NDArray[np.void], successors: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Pairs of ops of one rank, in the order of the file."""
    count = np.stack([node["n_after"], node["n_started"]], axis=1).astype(np.int64).ravel()
    place = np.stack([node["first_after"], node["first_started"]], axis=1).astype(np.int64).ravel()
    place[count == 0] = 0
    n_edge = int(count.sum())
    if n_edge > successors.size or (place + count > successors.size).any():
        raise InputError(where, "its list of requirements is cut", REMEDY)
    begins = np.cumsum(count) - count
    within = np.arange(n_edge) - np.repeat(begins, count)
    target = successors[np.repeat(place, count) + within].astype(np.int64)
    owner = np.repeat(np.arange(count.size), count)
    if (target >= node.size).any():
        raise InputError(where, "an op that is not there requires another", REMEDY)
    if not np.array_equal(np.bincount(target, minlength=node.size), node["n_required"]):
        raise InputError(where, "ops do not say how many others they require", REMEDY)
    return owner // 2, target, owner % 2 == 1


def _schedule(name: str, parts: list, edges: list) -> Schedule:  # type: ignore[type-arg]
    n_op = [part.size for part in parts]
    if sum(n_op) >= 1 << 31:
        raise InputError(name, f"{sum(n_op)} ops are more than 2^31", "Split the job.")
    node = np.concatenate(parts)
    source, target, on_start = (np.concatenate(column) for column in zip(*edges, strict=True))
    own = np.repeat(np.arange(len(parts)), n_op)
    is_calc = node["kind"] == CALC
    wild = node["kind"] == RECV
    peer = np.where(wild & (node["peer"] == ANY_CODE), ANY, node["peer"].astype(np.int64))
    tag = np.where(wild & (node["tag"] == ANY_CODE), ANY, node["tag"].astype(np.int64))
    return Schedule(
        name=name,
        rank_start=np.concatenate([[0], np.cumsum(n_op)]).astype(np.int64),
        kind=node["kind"].astype(np.uint8),
        size=node["size"].astype(np.int64),
        peer=np.where(is_calc, own, peer).astype(np.int32),
        tag=np.where(is_calc, 0, tag),
        cpu=node["cpu"].copy(),
        nic=node["nic"].copy(),
        edge_source=source.astype(np.int32),
        edge_target=target.astype(np.int32),
        edge_on_start=on_start,
        line=np.zeros(node.size, np.int32),
    )
