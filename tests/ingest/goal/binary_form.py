"""GOAL schedules written in binary form, field by field as `txt2bin` of LogGOPSim does."""

import struct

import numpy as np

COOKIE = 4223
ANY = (1 << 32) - 1


def binary(schedule):
    """Write a schedule; compared byte by byte with what txt2bin makes of the shared files."""
    head = 4 + 2 + 16 * schedule.n_rank
    parts, spans, at = [], [], head
    for rank in range(schedule.n_rank):
        part = rank_part(schedule, rank)
        spans.append((at, at + len(part)))
        parts.append(part)
        at += len(part)
    jump = b"".join(struct.pack("<QQ", *span) for span in spans)
    ports = schedule.cpu.max(initial=0), schedule.nic.max(initial=0)
    return struct.pack("<QIBB", COOKIE, schedule.n_rank, *ports) + jump + b"".join(parts)


def rank_part(schedule, rank):
    low, high = schedule.rank_start[rank : rank + 2]
    after: list[list[list[int]]] = [[[], []] for _ in range(high - low)]
    required = np.zeros(high - low, np.int64)
    edges = (schedule.edge_source, schedule.edge_target, schedule.edge_on_start)
    for source, target, on_start in zip(*edges, strict=True):
        if low <= source < high:
            after[source - low][int(on_start)].append(target - low)
            required[target - low] += 1
    free = np.flatnonzero(required == 0)
    out = [struct.pack(f"<II{free.size}I", high - low, free.size, *free)]
    listed: list[int] = []
    for v in range(low, high):
        ended, started = after[v - low]
        is_calc = schedule.kind[v] == 3
        out.append(
            struct.pack(
                "<IbIQIBBIIII",
                required[v - low],
                schedule.kind[v],
                0 if is_calc else int(schedule.peer[v]) & ANY,
                schedule.size[v],
                int(schedule.tag[v]) & ANY,
                schedule.cpu[v],
                schedule.nic[v],
                len(ended),
                len(listed),
                len(started),
                len(listed) + len(ended),
            )
        )
        listed += [*ended, *started]
    return b"".join(out) + struct.pack(f"<{len(listed)}I", *listed)
