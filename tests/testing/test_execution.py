"""Execution of hand-drawn programs."""

import numpy as np
import pytest

from loadpath.errors import StructureError
from loadpath.testing.execution import execute
from loadpath.testing.program import Draft, Task, add_task, finish_program, wait_until


def task(rank, group="", kind="compute"):
    return Task(rank, 0, rank, "stream", 0, kind, kind, 0.0, group)


def test_tasks_that_wait_for_each_other_are_refused():
    draft = Draft()
    first, second = add_task(draft, task(0)), add_task(draft, task(0))
    draft.edges += [(first, second, 0), (second, first, 0)]
    with pytest.raises(StructureError, match="2 tasks wait"):
        execute(finish_program(draft), np.array([1, 1]))


def test_waiting_call_ends_after_what_it_waits_for_and_not_before_its_own_time():
    # host    call 5 ..........| (ends 5 after the kernel)
    # stream  kernel 30 .......|
    draft = Draft()
    call, kernel = add_task(draft, task(0, kind="sync")), add_task(draft, task(0))
    wait_until(draft, call, [kernel])
    start, end = execute(finish_program(draft), np.array([5, 30]))
    assert start.tolist() == [0, 0]
    assert end.tolist() == [35, 30]


def test_lag_of_an_edge_delays_the_start():
    draft = Draft()
    first = add_task(draft, task(0))
    add_task(draft, task(0), (first,), lag_ns=7)
    start, _ = execute(finish_program(draft), np.array([10, 1]))
    assert start.tolist() == [0, 17]


def test_each_member_of_a_communication_has_its_own_transfer():
    draft = Draft()
    for rank in (0, 1):
        work = add_task(draft, task(rank))
        add_task(draft, task(rank, group="g"), (work,))
    _, end = execute(finish_program(draft), np.array([10, 3, 40, 4]))
    assert end.tolist() == [10, 43, 40, 44]
