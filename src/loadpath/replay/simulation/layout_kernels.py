"""Compiled layout of a schedule for the event loop, and its results in the order of the schedule."""

from typing import Any

import numpy as np
from numba import njit

__all__ = ["collect", "lay_out", "number_channels", "number_ops"]

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
SEND, RECV, CALC = 1, 2, 3
KIND, FIRST, NEAR, OUT, FAR, IN, CHANNEL, HOST = range(8)
"""Columns of ops: kind with the number of ops that require its end, the first of them, processor,
interface out, processor and interface of its message, channel, rank."""
NUMBER, AFTER, UNMET, MATCH, DONE = 0, 2, 4, 5, 6
"""Columns of what becomes of ops; `NUMBER` and `AFTER` are there twice, for the op and its message."""


@njit(**OPTIONS)
def number_ops(rank_start: Any) -> Any:
    """Give numbers to ops by their place in their rank, then by rank: ranks mostly do the same at a time.

    Returns the new number of each op and the op of each new number, int32.
    """
    n_op = rank_start[-1]
    n_rank = rank_start.size - 1
    most = 0
    for h in range(n_rank):
        most = max(most, rank_start[h + 1] - rank_start[h])
    fill = np.zeros(most + 1, np.int64)
    for h in range(n_rank):
        fill[rank_start[h + 1] - rank_start[h]] += 1
    # ranks with more than k ops each have a k-th one
    n_more = n_rank
    begin = 0
    for k in range(most + 1):
        n_more -= fill[k]
        fill[k] = begin
        begin += n_more
    new = np.empty(n_op, np.int32)
    old = np.empty(n_op, np.int32)
    for h in range(n_rank):
        for k in range(rank_start[h + 1] - rank_start[h]):
            u = fill[k]
            new[rank_start[h] + k] = u
            old[u] = rank_start[h] + k
            fill[k] += 1
    return new, old


@njit(**OPTIONS)
def lay_out(rank_start: Any, new: Any, ops: Any, edges: Any, ports: Any, into: Any) -> None:
    """Fill `into`, row, length and state, which are in the new order; `edges`, starts and targets, are too.

    `ops` is kind, size, peer, processor, interface, channel; `ports` how many of the last two a rank has.
    """
    kind, size, peer, cpu, nic, channel = ops
    first, target = edges
    n_cpu, n_nic = ports
    row, length, state = into
    for h in range(rank_start.size - 1):
        for v in range(rank_start[h], rank_start[h + 1]):
            u = new[v]
            row[u, KIND] = kind[v] | (first[u + 1] - first[u]) << 2
            row[u, FIRST] = first[u]
            length[u] = size[v]
            row[u, NEAR] = h * n_cpu + cpu[v]
            row[u, OUT] = h * n_nic + nic[v]
            row[u, FAR] = peer[v] * n_cpu + cpu[v]
            row[u, IN] = peer[v] * n_nic + nic[v]
            row[u, CHANNEL] = channel[v]
            row[u, HOST] = h
            state[u, MATCH] = -1
    for e in range(target.size):
        state[target[e], UNMET] += 1


@njit(**OPTIONS)
def collect(new: Any, old: Any, state: Any, begun: Any) -> Any:
    """Give start of ops and messages, match and done in the order of the schedule."""
    n_op = new.size
    start = np.empty(2 * n_op, np.int64)
    match = np.empty(n_op, np.int32)
    ended = np.empty(n_op, np.bool_)
    for v in range(n_op):
        u = new[v]
        start[v] = begun[u]
        start[n_op + v] = begun[n_op + u]
        w = state[u, MATCH]
        match[v] = old[w] if w >= 0 else -1
        ended[v] = state[u, DONE] == 1
    return start, match, ended


@njit(**OPTIONS)
def number_channels(kind: Any, peer: Any, tag: Any, rank_start: Any) -> Any:
    """Give numbers to the queues in which messages meet receives: one per sender, receiver and tag.

    A rank that receives from any sender or with any tag has one queue for all. Returns the number of
    each op's, how many there are, and the first of such ranks.
    """
    n_rank = rank_start.size - 1
    is_wild = np.zeros(n_rank, np.bool_)
    source = np.empty(kind.size, np.int32)
    target = np.empty(kind.size, np.int32)
    for h in range(n_rank):
        for v in range(rank_start[h], rank_start[h + 1]):
            takes = kind[v] == RECV
            source[v] = peer[v] if takes else h
            target[v] = h if takes else peer[v]
            is_wild[h] |= takes and (peer[v] == -1 or tag[v] == -1)
    wild_channel = np.full(n_rank, -1, np.int32)
    size = 8
    while size < 2 * kind.size:
        size *= 2
    slot = np.full(size, -1, np.int32)
    channel = np.full(kind.size, -1, np.int32)
    n = 0
    for v in range(kind.size):
        if kind[v] == CALC:
            continue
        if is_wild[target[v]]:
            continue
        code = np.uint64(source[v] + 1) * np.uint64(11400714819323198485)
        code ^= np.uint64(target[v]) * np.uint64(14029467366897019727)
        code ^= np.uint64(tag[v] + 1) * np.uint64(1609587929392839161)
        code ^= code >> np.uint64(32)
        s = np.int64(code & np.uint64(size - 1))
        while slot[s] >= 0:
            w = slot[s]
            if target[w] == target[v] and source[w] == source[v] and tag[w] == tag[v]:
                break
            s = (s + 1) & (size - 1)
        if slot[s] < 0:
            slot[s] = v
            channel[v] = n
            n += 1
        else:
            channel[v] = channel[slot[s]]
    first_wild = n
    for v in range(kind.size):
        if kind[v] != CALC and is_wild[target[v]]:
            if wild_channel[target[v]] < 0:
                wild_channel[target[v]] = n
                n += 1
            channel[v] = wild_channel[target[v]]
    return channel, n, first_wild
