"""Compiled layout of a schedule for the event loop."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = ["IN_SEVERAL", "SEVERAL", "lay_out", "number_channels"]

SEND, RECV, CALC = 1, 2, 3
N_COLUMN = 8
"""Columns of 32 bits: two ops are one cache line."""
SIZE = 0
"""Size of an op: the first 64 bits."""
KIND, FIRST, HOST, PEER, CHANNEL, UNMET = range(2, 8)
"""Kind with processor and interface, the first of those that require its end (they last until the first
of the next op), rank, the other rank, channel, and how much it requires that is still to come."""
FEWEST_SLOTS = 1 << 10
SEVERAL, IN_SEVERAL = -2, -3
"""Channels of messages to ranks that receive from any, and of the first of such a rank's receives."""


@kernel
def lay_out(rank_start: Any, ops: Any, edges: Any, into: Any) -> None:
    """Fill `into`: columns (one row more than ops), the same as 64 bits, and the ops that require an end
    or, with where they begin, a start.

    `ops` is kind, size, peer, processor, interface; `edges` source, target, and whether only a start is
    required; ops that require another stay in the order of the file.
    """  # noqa: D205
    kind, size, peer, cpu, nic = ops
    source, target, on_start = edges
    column, wide, after_end, start_first, after_start = into
    n_op = kind.size
    for h in range(rank_start.size - 1):
        for v in range(rank_start[h], rank_start[h + 1]):
            wide[v, SIZE] = size[v]
            column[v, KIND] = kind[v] | np.int32(cpu[v]) << 2 | np.int32(nic[v]) << 10
            column[v, FIRST] = 0
            column[v, HOST] = h
            column[v, PEER] = peer[v]
            column[v, UNMET] = 0
    column[n_op, FIRST] = 0
    for e in range(source.size):
        column[target[e], UNMET] += 1
        if on_start[e]:
            start_first[source[e] + 1] += 1
        else:
            column[source[e] + 1, FIRST] += 1
    for v in range(n_op):
        column[v + 1, FIRST] += column[v, FIRST]
    if after_start.size > 0:
        for v in range(n_op):
            start_first[v + 1] += start_first[v]
    # from the last edge on, so that ends of lists become their begins
    for e in range(source.size - 1, -1, -1):
        s = source[e]
        if on_start[e]:
            start_first[s + 1] -= 1
            after_start[start_first[s + 1]] = target[e]
        else:
            column[s + 1, FIRST] -= 1
            after_end[column[s + 1, FIRST]] = target[e]
    for v in range(n_op):
        column[v, FIRST] = column[v + 1, FIRST]
    column[n_op, FIRST] = after_end.size
    if after_start.size > 0:
        for v in range(n_op):
            start_first[v] = start_first[v + 1]
        start_first[n_op] = after_start.size


@kernel
def _wild_ranks(kind: Any, peer: Any, tag: Any, rank_start: Any) -> Any:
    is_wild = np.zeros(rank_start.size - 1, np.bool_)
    for h in range(rank_start.size - 1):
        for v in range(rank_start[h], rank_start[h + 1]):
            is_wild[h] |= kind[v] == RECV and (peer[v] == -1 or tag[v] == -1)
    return is_wild


@kernel(borrows=True, wraps=True)
def _slot(slot: Any, pair: int, tag: int) -> Any:
    """Find the slot of a sender, receiver and tag, or a free one."""
    code = np.uint64(pair) * np.uint64(11400714819323198485)
    code ^= np.uint64(tag + 1) * np.uint64(1609587929392839161)
    code ^= code >> np.uint64(32)
    s = np.int64(code & np.uint64(slot.shape[0] - 1))
    while slot[s, 2] >= 0 and (slot[s, 0] != pair or slot[s, 1] != tag):
        s = (s + 1) & (slot.shape[0] - 1)
    return s


@kernel
def _more_slots(slot: Any) -> Any:
    more = np.full((4 * slot.shape[0], 3), -1, np.int64)
    for k in range(slot.shape[0]):
        if slot[k, 2] >= 0:
            s = _slot(more, slot[k, 0], slot[k, 1])
            for i in range(3):
                more[s, i] = slot[k, i]
    return more


@kernel
def number_channels(
    kind: Any, peer: Any, tag: Any, rank_start: Any, column: Any, channels: Any
) -> Any:
    """Give numbers to the channels in which messages meet receives: one per sender, receiver and tag.

    Fills `CHANNEL` of each op. At a rank that receives from any sender or with any tag there is a channel
    for each such wish: its receives have `IN_SEVERAL` less the number of theirs, a message to it has `SEVERAL`,
    and `channels` (n_op, 4) the channels in which it may be wished, -1 for none. Returns how many there are.
    """
    n_rank = rank_start.size - 1
    is_wild = _wild_ranks(kind, peer, tag, rank_start)
    # sender (one more than its number) and receiver, tag, number
    slot = np.full((FEWEST_SLOTS, 3), -1, np.int64)
    n = 0
    for h in range(n_rank):
        for v in range(rank_start[h], rank_start[h + 1]):
            takes = kind[v] == RECV
            into = h if takes else np.int64(peer[v])
            column[v, CHANNEL] = -1
            if kind[v] == CALC:
                continue
            if is_wild[into] and not takes:
                column[v, CHANNEL] = SEVERAL
                continue
            pair = (np.int64(peer[v]) if takes else h) + 1 << 32 | into
            s = _slot(slot, pair, tag[v])
            if slot[s, 2] < 0:
                slot[s, 0] = pair
                slot[s, 1] = tag[v]
                slot[s, 2] = n
                n += 1
                if 2 * n > slot.shape[0]:
                    slot = _more_slots(slot)
                    s = _slot(slot, pair, tag[v])
            column[v, CHANNEL] = IN_SEVERAL - slot[s, 2] if is_wild[into] else slot[s, 2]
    if channels.shape[0] == 0:
        return n
    for h in range(n_rank):
        for v in range(rank_start[h], rank_start[h + 1]):
            if column[v, CHANNEL] == SEVERAL:
                for k in range(4):
                    sender = np.int64(h if k < 2 else -1)
                    wished = tag[v] if k % 2 == 0 else np.int64(-1)
                    pair = sender + 1 << 32 | np.int64(peer[v])
                    channels[v, k] = slot[_slot(slot, pair, wished), 2]
    return n
