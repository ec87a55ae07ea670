"""Jobs over gloo as an agent records them: no step marks, no groups, no numbers of communications."""

import json
from typing import Any

import numpy as np

from loadpath.couple.trace import couple_trace
from loadpath.ingest.kineto import read_kineto

SIZES = (1000, 1000, 1)
"""Numbers that a step adds up, one communication after the other."""
SLOW, SLOW_US = 1, 8000.0
OPTIMISER = "Optimizer.step#SGD.step"


def event(name, category, thread, start, end, size=0):
    """One span; a call is given its block as a list of tensors, an execution the block alone."""
    is_call = name.startswith("c10d::")
    shape = {"Input Dims": [[[size]]] if is_call else [[size]]}
    kind = {"Input type": ["TensorList" if is_call else "float"]}
    return {
        "ph": "X", "cat": category, "name": name, "pid": 1, "tid": thread,
        "ts": round(start, 3), "dur": round(end - start, 3),
        "args": (shape | kind) if size else {},
    }  # fmt: skip


def added_up(began, done, marked, size, inside):
    """One rank's part in a sum, awaited by what reads it or inside a call."""
    around = [event(inside, "cpu_op", 1, began + 2, done + 8)] if inside else []
    return [
        *around,
        event("c10d::allreduce_", "cpu_op", 1, began + 5, began + 15, size),
        event("gloo:all_reduce", "user_annotation", 2, began + 20, marked, size),
        event("aten::item", "cpu_op", 1, done + 10, done + 20),
    ]


ROWS, COLUMNS = ((0, 1), (2, 3)), ((0, 2), (1, 3))
TENSOR_AND_DATA = ((1000, ROWS), (1000, ROWS), (300, COLUMNS))
"""A step of four ranks: neighbours add up twice, then those that hold the same part."""


def job(*, ranks=3, steps=20, jitter_us=300.0, seed=0, late_us=0.0, plan=(), inside=""):
    """Run a job: work, then (without a plan) two blocks and a number, which all ranks add up.

        rank 0  work |-- all --|-- all --|- all -| work ...
        rank 1  work ........ |- all --|-- all --|- all -| work ...

    Every second time the slow rank marks the end of the first one late. A plan lists sizes, and the groups
    that add up; `inside` names a call in which each is asked for and awaited.
    """
    plan = plan or tuple((size, (tuple(range(ranks)),)) for size in SIZES)
    chance = np.random.default_rng(seed)
    events: list[list[dict[str, Any]]] = [[] for _ in range(ranks)]
    now = np.full(ranks, 1e6)
    for step in range(steps):
        work = 2000 + jitter_us * chance.random(ranks) + SLOW_US * (np.arange(ranks) == SLOW)
        for rank, began in enumerate(now):
            events[rank].append(event("aten::mm", "cpu_op", 1, began + 5, began + work[rank]))
        now = now + work
        for place, (size, groups) in enumerate(plan):
            for members in map(list, groups):
                done = now[members].max() + 100
                for rank in members:
                    is_late = rank == SLOW and place == 0 and step % 2
                    marked = done + (late_us if is_late else 0.0)
                    events[rank] += added_up(now[rank], done, marked, size, inside)
                now[members] = done + 30
        for rank, began in enumerate(now):
            events[rank].append(event(OPTIMISER, "user_annotation", 1, began + 1, began + 9))
        now = now + 10
    return events


def record(folder, events, spans, *, hosts=None, clocks_us=None):
    """Write what each rank saw between two times, as its clock had it."""
    folder.mkdir()
    for rank, (low, high) in enumerate(spans):
        ahead = clocks_us[rank] if clocks_us else 0.0
        seen = [
            e | {"ts": round(e["ts"] + ahead, 3)}
            for e in events[rank]
            if low <= e["ts"] and e["ts"] + e["dur"] <= high
        ]
        host = hosts[rank] if hosts else "a"
        text = json.dumps({"host_name": host, "baseTimeNanoseconds": 0, "traceEvents": seen})
        (folder / f"rank{rank}.json").write_text(text)
    return couple_trace(read_kineto([folder]))
