"""Event by event execution of a synthetic job."""

from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from loadpath.errors import StructureError
from loadpath.testing.program import Program

__all__ = ["execute"]

Int64Array = NDArray[np.int64]
Links = list[list[tuple[int, int]]]

ENDS, STARTS = 0, 1
"""Events; at one time ends come first."""


@dataclass(slots=True)
class _Execution:
    """A running execution: couplings, and how far each task and communication has come."""

    duration: list[int]
    followers: Links
    waiters: Links
    group: list[int]
    members: list[list[int]]
    start: list[int]
    end: list[int]
    ready: list[int]
    missing: list[int]
    waits_left: list[int]
    absent: list[int]
    events: list[tuple[int, int, int]]


def execute(program: Program, duration_ns: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Run a program, each task as early as what it waits for allows.

    A heap of events in order of time: a task starts when its last predecessor has ended (plus the
    edge's lag); a communication ends its own transfer after its last member has started; a task
    that waits inside ends its own duration after the last thing it waits for.

    Parameters
    ----------
    program : Program
        `n_task` tasks and their couplings.
    duration_ns : (n_task,) array of int64
        Duration or transfer of each task, in ns.

    Returns
    -------
    tuple of (n_task,) arrays of int64
        Start and end, in ns after the job's begin.

    Raises
    ------
    StructureError
        If tasks wait for each other.
    """
    run = _begin(program, duration_ns)
    while run.events:
        now, what, task = heappop(run.events)
        if what == STARTS:
            _start(run, now, task)
        else:
            _end(run, now, task)
    stuck = run.end.count(-1)
    if stuck:
        raise StructureError(
            "synthetic job", f"{stuck} tasks wait for each other", "Check the schedule."
        )
    return np.array(run.start, dtype=np.int64), np.array(run.end, dtype=np.int64)


def _start(run: _Execution, now: int, task: int) -> None:
    run.start[task] = now
    group = run.group[task]
    if group < 0:
        if run.waits_left[task] == 0:
            heappush(run.events, (now + run.duration[task], ENDS, task))
        return
    run.absent[group] -= 1
    if run.absent[group] == 0:
        for member in run.members[group]:
            heappush(run.events, (now + run.duration[member], ENDS, member))


def _end(run: _Execution, now: int, task: int) -> None:
    run.end[task] = now
    for target, lag in run.followers[task]:
        run.ready[target] = max(run.ready[target], now + lag)
        run.missing[target] -= 1
        if run.missing[target] == 0:
            heappush(run.events, (run.ready[target], STARTS, target))
    for target, _ in run.waiters[task]:
        run.waits_left[target] -= 1
        if run.waits_left[target] == 0 and run.start[target] >= 0:
            heappush(run.events, (now + run.duration[target], ENDS, target))


def _begin(program: Program, duration_ns: Int64Array) -> _Execution:
    size = program.task.height
    group, members = _groups(program)
    missing = np.bincount(program.edge[:, 1], minlength=size).tolist()
    return _Execution(
        duration=duration_ns.tolist(),
        followers=_followers(program.edge, size),
        waiters=_followers(np.insert(program.wait, 2, 0, axis=1), size),
        group=group,
        members=members,
        start=[-1] * size,
        end=[-1] * size,
        ready=[0] * size,
        missing=missing,
        waits_left=np.bincount(program.wait[:, 1], minlength=size).tolist(),
        absent=[len(tasks) for tasks in members],
        events=[(0, STARTS, task) for task, n in enumerate(missing) if n == 0],
    )


def _groups(program: Program) -> tuple[list[int], list[list[int]]]:
    # Group number of each task (-1 none) and tasks of each group.
    numbers: dict[str, int] = {}
    members: list[list[int]] = []
    group = []
    for task, key in enumerate(program.task["group"].to_list()):
        if key and key not in numbers:
            numbers[key] = len(members)
            members.append([])
        group.append(numbers[key] if key else -1)
        if key:
            members[numbers[key]].append(task)
    return group, members


def _followers(edge: Int64Array, size: int) -> Links:
    followers: Links = [[] for _ in range(size)]
    for source, target, lag in edge.tolist():
        followers[source].append((target, lag))
    return followers
