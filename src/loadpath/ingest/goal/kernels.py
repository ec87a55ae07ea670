"""Compiled scan of GOAL text: one pass over the bytes, labels in a hash table per rank."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel
from loadpath.ingest.goal.word_kernels import (
    NEWLINE,
    SPACE,
    TAB,
    after_blank,
    after_comment,
    after_word,
    begins,
    is_letter,
    is_word,
    number_at,
)

__all__ = ["count_text", "scan_text"]


RETURN, COLON, SLASH, MINUS, OPEN, CLOSE, BYTE = (ord(c) for c in "\r:/-{}b")
PADDING = 16
"""Newlines behind the text, so that no look ahead leaves it; longer than any keyword."""

(
    SOUND,
    STATEMENT,
    NUMBER,
    TOO_LARGE,
    BYTES,
    TO,
    FROM,
    END_OF_LINE,
    COLON_OR_REQUIRES,
    OPERATION,
    LABEL,
    UNKNOWN_LABEL,
    SAME_LABEL,
    BRACE,
    NO_RANKS,
    RANK_ORDER,
    OUTSIDE,
    CUT,
    PEER,
    ANY_SENDER,
    BEYOND,
    NESTED,
    TWICE,
    OPEN_COMMENT,
    NO_ROOM,
) = range(25)
"""What a scan may end with."""


def _word(text: str) -> Any:
    return np.frombuffer(text.encode(), np.uint8).copy()


W_SEND, W_RECV, W_CALC = _word("send"), _word("recv"), _word("calc")
W_RANK, W_RANKS = _word("rank"), _word("num_ranks")
W_REQUIRES, W_IREQUIRES = _word("requires"), _word("irequires")
W_TO, W_FROM, W_TAG, W_CPU, W_NIC = (_word(w) for w in ("to", "from", "tag", "cpu", "nic"))


@kernel
def count_text(text: Any) -> Any:
    """Count lines and opened ranks, and guess the most labels that a rank has: comments may mislead."""
    n_line = 1
    n_open = 0
    most = 0
    since = 0
    for i in range(text.size):
        c = text[i]
        if c == NEWLINE:
            n_line += 1
        elif c == COLON:
            since += 1
        elif c == OPEN:
            n_open += 1
            since = 0
        elif c == CLOSE:
            most = max(most, since)
    return n_line, n_open, max(most, since)


@kernel(wraps=True)
def _slot(text: Any, i: int, end: int, rank: int, table: Any) -> Any:
    """Find the slot of a label: that of this rank if there is one, else a free one."""
    code = np.uint64(14695981039346656037)
    for k in range(i, end):
        code = (code ^ np.uint64(text[k])) * np.uint64(1099511628211)
    code ^= code >> np.uint64(29)
    s = np.int64(code & np.uint64(table.shape[0] - 1))
    while table[s, 0] == rank:
        low = table[s, 1]
        if table[s, 2] == end - i:
            same = True
            for k in range(end - i):
                if text[low + k] != text[i + k]:
                    same = False
                    break
            if same:
                return s
        s = (s + 1) & (table.shape[0] - 1)
    return s


@kernel
def scan_text(text: Any, table: Any, ops: Any, edges: Any, rank_start: Any) -> Any:
    """Read all statements.

    `text` ends with `PADDING` newlines. `table` (2^k, 4) int64 of -1; `ops` is kind, size, peer, tag, cpu, nic,
    line and `edges` source, target, on_start, each long enough for every line. Returns what ended
    the scan, where, in which line, a detail, and the numbers of ranks, ops and edges; `NO_ROOM` where
    a rank has more labels than half of the table.
    """
    kind, size, peer, tag, cpu, nic, op_line = ops
    source, target, on_start = edges
    n_rank = -1
    rank = -1
    done = 0
    n_op = 0
    n_edge = 0
    n_label = 0
    i = 0
    line = 1
    stop = text.size - PADDING
    while True:
        while i < stop and (
            text[i] == SPACE or text[i] == TAB or text[i] == RETURN or text[i] == NEWLINE
        ):
            line += text[i] == NEWLINE
            i += 1
        if i >= stop:
            break
        if text[i] == SLASH:
            k, lines = after_comment(text, i)
            if k < 0:
                return (OPEN_COMMENT if k == -1 else STATEMENT), i, line, 0, n_rank, n_op, n_edge
            line += lines
            i = k
            continue
        if done == n_rank:
            return BEYOND, i, line, 0, n_rank, n_op, n_edge
        if text[i] == CLOSE:
            if rank < 0:
                return OUTSIDE, i, line, 0, n_rank, n_op, n_edge
            rank = -1
            done += 1
            rank_start[done] = n_op
            i += 1
            continue
        if not is_letter(text[i]):
            return STATEMENT, i, line, 0, n_rank, n_op, n_edge
        end = after_word(text, i)
        if is_word(text, i, end, W_RANKS):
            k = after_blank(text, end)
            value, k2 = number_at(text, k)
            if k2 < 0:
                return (NUMBER if k2 == -1 else TOO_LARGE), k, line, 0, n_rank, n_op, n_edge
            if n_rank >= 0:
                return TWICE, i, line, 0, n_rank, n_op, n_edge
            if value < 1:
                return NO_RANKS, i, line, 0, n_rank, n_op, n_edge
            n_rank = value
            i = k2
            continue
        if is_word(text, i, end, W_RANK):
            if n_rank < 0:
                return NO_RANKS, i, line, 0, n_rank, n_op, n_edge
            if rank >= 0:
                return NESTED, i, line, rank, n_rank, n_op, n_edge
            k = after_blank(text, end)
            value, k2 = number_at(text, k)
            if k2 < 0:
                return (NUMBER if k2 == -1 else TOO_LARGE), k, line, 0, n_rank, n_op, n_edge
            if value != done:
                return RANK_ORDER, k, line, done, n_rank, n_op, n_edge
            k = after_blank(text, k2)
            if text[k] != OPEN:
                return BRACE, k, line, 0, n_rank, n_op, n_edge
            rank = done
            n_label = 0
            i = k + 1
            continue
        if rank < 0:
            return (NO_RANKS if n_rank < 0 else OUTSIDE), i, line, 0, n_rank, n_op, n_edge
        what = 0
        if is_word(text, i, end, W_SEND):
            what = 1
        elif is_word(text, i, end, W_RECV):
            what = 2
        elif is_word(text, i, end, W_CALC):
            what = 3
        if what > 0:
            i = end
        else:
            label = i
            label_end = end
            i = after_blank(text, end)
            if text[i] == COLON:
                i = after_blank(text, i + 1)
                if begins(text, i, W_SEND):
                    what = 1
                elif begins(text, i, W_RECV):
                    what = 2
                elif begins(text, i, W_CALC):
                    what = 3
                else:
                    return OPERATION, i, line, 0, n_rank, n_op, n_edge
                i += 4
                s = _slot(text, label, label_end, rank, table)
                if table[s, 0] == rank:
                    first = op_line[table[s, 3]]
                    return SAME_LABEL, label, line, first, n_rank, n_op, n_edge
                n_label += 1
                if 2 * n_label > table.shape[0]:
                    return NO_ROOM, label, line, 0, n_rank, n_op, n_edge
                table[s, 0] = rank
                table[s, 1] = label
                table[s, 2] = label_end - label
                table[s, 3] = n_op
            else:
                end = after_word(text, i)
                starts = is_word(text, i, end, W_IREQUIRES)
                if not starts and not is_word(text, i, end, W_REQUIRES):
                    return COLON_OR_REQUIRES, i, line, 0, n_rank, n_op, n_edge
                s = _slot(text, label, label_end, rank, table)
                if table[s, 0] != rank:
                    return UNKNOWN_LABEL, label, line, 0, n_rank, n_op, n_edge
                target[n_edge] = table[s, 3]
                i = after_blank(text, end)
                end = after_word(text, i)
                if not is_letter(text[i]):
                    return LABEL, i, line, 0, n_rank, n_op, n_edge
                s = _slot(text, i, end, rank, table)
                if table[s, 0] != rank:
                    return UNKNOWN_LABEL, i, line, 0, n_rank, n_op, n_edge
                source[n_edge] = table[s, 3]
                on_start[n_edge] = starts
                n_edge += 1
                i = end
        if what > 0:
            i = after_blank(text, i)
            value, k = number_at(text, i)
            if k < 0:
                return (NUMBER if k == -1 else TOO_LARGE), i, line, 0, n_rank, n_op, n_edge
            kind[n_op] = what
            size[n_op] = value
            peer[n_op] = rank
            tag[n_op] = 0
            cpu[n_op] = 0
            nic[n_op] = 0
            op_line[n_op] = line
            i = after_blank(text, k)
            if what < 3:
                if text[i] != BYTE:
                    return BYTES, i, line, 0, n_rank, n_op, n_edge
                i = after_blank(text, i + 1)
                word = W_TO if what == 1 else W_FROM
                if not begins(text, i, word):
                    return (TO if what == 1 else FROM), i, line, 0, n_rank, n_op, n_edge
                i = after_blank(text, i + word.size)
                if what == 2 and text[i] == MINUS and text[i + 1] == 49:
                    peer[n_op] = -1
                    i += 2
                else:
                    value, k = number_at(text, i)
                    if k < 0:
                        return (NUMBER if k == -1 else TOO_LARGE), i, line, 0, n_rank, n_op, n_edge
                    if value >= n_rank:
                        return PEER, i, line, 0, n_rank, n_op, n_edge
                    peer[n_op] = value
                    i = k
            seen = 0
            while True:
                i = after_blank(text, i)
                which = 0
                largest = 255
                if what < 3 and begins(text, i, W_TAG):
                    which = 1
                    largest = 4294967294
                elif begins(text, i, W_CPU):
                    which = 2
                elif what < 3 and begins(text, i, W_NIC):
                    which = 4
                if which == 0:
                    break
                if seen & which:
                    return END_OF_LINE, i, line, 0, n_rank, n_op, n_edge
                seen |= which
                i = after_blank(text, i + 3)
                if which == 1 and what == 2 and text[i] == MINUS and text[i + 1] == 49:
                    tag[n_op] = -1
                    i += 2
                    continue
                if which == 1 and what == 1 and text[i] == MINUS:
                    return ANY_SENDER, i, line, 0, n_rank, n_op, n_edge
                value, k = number_at(text, i)
                if k == -1:
                    return NUMBER, i, line, 0, n_rank, n_op, n_edge
                if k == -2 or value > largest:
                    return TOO_LARGE, i, line, largest, n_rank, n_op, n_edge
                if which == 1:
                    tag[n_op] = value
                elif which == 2:
                    cpu[n_op] = value
                else:
                    nic[n_op] = value
                i = k
            n_op += 1
        i = after_blank(text, i)
        k, lines = after_comment(text, i)
        if k == -1:
            return OPEN_COMMENT, i, line, 0, n_rank, n_op, n_edge
        if k >= 0:
            line += lines
            i = after_blank(text, k)
        if text[i] == RETURN:
            i += 1
        if text[i] != NEWLINE:
            return END_OF_LINE, i, line, 0, n_rank, n_op, n_edge
    if n_rank < 0:
        return NO_RANKS, i, line, 0, n_rank, n_op, n_edge
    if done < n_rank:
        return CUT, i, line, done, n_rank, n_op, n_edge
    return SOUND, i, line, 0, n_rank, n_op, n_edge
