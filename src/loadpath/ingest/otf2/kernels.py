"""Compiled scan of OTF2 events, and their nesting."""

from typing import Any

import numpy as np

from loadpath.compiled import kernel

__all__ = ["ENTER", "LEAVE", "N_FIELD", "nest", "scan_events"]

END_OF_CHUNK, END_OF_FILE, CHUNK_HEADER, TIMESTAMP, ATTRIBUTES = 1, 2, 3, 5, 6
"""Types of records; a chunk that is not full ends with zeros, or with `END_OF_CHUNK`."""
ENTER, LEAVE = 12, 13
BARE = np.array([12, 13, 16, 17, 20, 21, 24, 28, 29, 30], np.uint8)
"""Events of one number, which have no length."""
COMMUNICATES = np.array([14, 23], np.uint8)
THREADS = np.array([53, 65], np.uint8)
"""First and last kind of events whose fields are read: of MPI, and of threads."""
LED_BY_BYTE = np.array([23, 53, 54, 57, 58], np.uint8)
"""Events whose first field is a plain byte: which collective, or which paradigm."""
N_FIELD = 6
LITTLE, BIG = ord("B"), ord("#")


@kernel
def _number(content: Any, at: int, is_big: Any) -> Any:
    """Read a compressed number: value and where it ends, -2 if it is none."""
    size = np.int64(content[at])
    at += 1
    if size == 255:
        return np.int64(-1), at
    if size > 8 or at + size > content.size:
        return np.int64(0), -2
    value = np.uint64(0)
    for k in range(size):
        c = np.uint64(content[at + k if is_big else at + size - 1 - k])
        value = (value << np.uint64(8)) | c
    return np.int64(value), at + size


@kernel
def _whole(content: Any, at: int, is_big: Any) -> Any:
    value = np.uint64(0)
    for k in range(8):
        c = np.uint64(content[at + k if is_big else at + 7 - k])
        value = (value << np.uint64(8)) | c
    return np.int64(value)


@kernel
def scan_events(content: Any, chunk_bytes: int, time: Any, kind: Any, field: Any) -> Any:
    """Read events; fields that an event does not have are -1.

    `field` (n, N_FIELD). `content` is padded with 16 zeros. Returns the number of events and the byte at which the file is damaged, -1 if it is
    sound; what came before is sound.
    """
    end = content.size - 16
    at: Any = 0
    chunk = 0
    n = 0
    now = np.int64(0)
    is_big = False
    while at < end:
        what = content[at]
        if what == END_OF_FILE:
            return n, -1
        if what == CHUNK_HEADER:
            is_big = content[at + 1] == BIG
            if not is_big and content[at + 1] != LITTLE:
                return n, at
            at += 18
            continue
        if what <= END_OF_CHUNK:
            chunk += chunk_bytes
            at = chunk
            continue
        if what == TIMESTAMP:
            now = _whole(content, at + 1, is_big)
            at += 9
            continue
        if what < ATTRIBUTES:
            return n, at
        bare = False
        for k in range(BARE.size):
            bare |= what == BARE[k]
        begin = at
        at += 1
        if n >= time.size:
            return n, begin
        for k in range(N_FIELD):
            field[n, k] = -1
        if bare:
            value, at = _number(content, at, is_big)
            if at < 0 or at > end:
                return n, begin
            field[n, 0] = value
        else:
            size = np.int64(content[at])
            at += 1
            if size == 255:
                size = _whole(content, at, is_big)
                at += 8
            if size < 0 or at + size > end:
                return n, begin
            stop = at + size
            if (what >= COMMUNICATES[0] and what <= COMMUNICATES[1]) or (
                what >= THREADS[0] and what <= THREADS[1]
            ):
                k = 0
                led = False
                for j in range(LED_BY_BYTE.size):
                    led |= what == LED_BY_BYTE[j]
                if led and at < stop:
                    field[n, 0] = content[at]
                    at += 1
                    k = 1
                while at < stop and k < N_FIELD:
                    value, at = _number(content, at, is_big)
                    if at < 0 or at > stop:
                        return n, begin
                    field[n, k] = value
                    k += 1
            at = stop
            if what == ATTRIBUTES:
                continue
        time[n] = now
        kind[n] = what
        n += 1
    return n, end


@kernel
def nest(kind: Any, region: Any) -> Any:
    """Pair enters with leaves: leave and enclosing enter of each enter, innermost open one of others.

    Returns where each enter is left (-1 if never), the event that encloses each event (-1 for none),
    and how many leaves have no enter of their region.
    """
    n = kind.size
    leave = np.full(n, -1, np.int64)
    within = np.full(n, -1, np.int64)
    stack = np.empty(n, np.int64)
    depth = 0
    lone = 0
    for i in range(n):
        within[i] = stack[depth - 1] if depth > 0 else -1
        if kind[i] == ENTER:
            stack[depth] = i
            depth += 1
        elif kind[i] == LEAVE:
            if depth > 0 and region[stack[depth - 1]] == region[i]:
                depth -= 1
                leave[stack[depth]] = i
            else:
                lone += 1
    return leave, within, lone
