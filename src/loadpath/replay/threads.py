"""Blocks of scenarios in threads, where there is enough of them."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_threads", "threads_used"]

Item = TypeVar("Item")
Result = TypeVar("Result")
WORTH_THREADS = 1 << 25
"""Nodes times scenarios that a processor replays in some 30 ms, many times what threads cost."""


def in_threads(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    n_node_scenario: int,
    n_thread: int | None = None,
) -> Iterator[Result]:
    """Call a function for each item, in threads if the work is worth them.

    Parameters
    ----------
    function : callable
        What to call; its results do not depend on the thread.
    items : iterable
        What to call it with.
    n_node_scenario : int
        Nodes times scenarios of all items together.
    n_thread : int, optional
        Most threads; the processors there are if left out.

    Yields
    ------
    object
        Results in the order of the items.
    """
    n_thread = threads_used(n_node_scenario, n_thread)
    if n_thread == 1:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(n_thread) as pool:
        yield from pool.map(function, items)


def threads_used(n_node_scenario: int, n_thread: int | None = None) -> int:
    """Say in how many threads `in_threads` works.

    Parameters
    ----------
    n_node_scenario : int
        Nodes times scenarios of all items together.
    n_thread : int, optional
        Most threads; the processors there are if left out.

    Returns
    -------
    int
        1 where the work is not worth more.
    """
    return (n_thread or os.cpu_count() or 1) if n_node_scenario >= WORTH_THREADS else 1
