r"""When tasks begin and end on threads that did not create them, and who waits for their end.

::

    thread 0   = create = create ======= [ task wait . . . . . ] ==
                     \               >                       /
    thread 1   [ barrier . ] = task = task ==== task completes
"""

from typing import NamedTuple

import polars as pl

__all__ = ["Tasks", "find_tasks"]


TASK = ("rank", "event", "record")
WAITER = ("rank", "lane", "parent")


class Tasks(NamedTuple):
    """Tasks that another thread began or ended than the one that created them.

    Attributes
    ----------
    begun : polars.DataFrame
        ``rank``; ``lane, at`` of the creation; ``runner, begun`` of the begin.
    ended : polars.DataFrame
        ``rank``; ``lane, at`` of the end of a wait for tasks; ``runner, ended`` of the end of a task that it
        waits for.
    n : int
        All tasks that were created.
    n_lone : int
        Those that no thread began.
    """

    begun: pl.DataFrame
    ended: pl.DataFrame
    n: int
    n_lone: int


def find_tasks(said: pl.DataFrame) -> Tasks:
    """Follow tasks from their creation to the wait for their end.

    A task is told by its team, its creator and its number; one that is named again is a new one from its
    next creation on. A thread that waits for tasks waits for those that were created, on it and within
    the same task, since it did so before.

    Parameters
    ----------
    said : polars.DataFrame
        Table `SYNCHRONISATION`.

    Returns
    -------
    Tasks
        What couples threads.
    """
    moment = said.with_columns(pl.col("kind").cast(pl.String)).select(
        *TASK, "lane", "kind", at=pl.col("start_ns") + pl.col("duration_ns")
    )
    created = moment.filter(kind="task_create").with_row_index("task")
    switch = moment.filter(kind="task_switch")
    begun = _of_task(created, switch).rename({"lane": "runner", "at": "begun"})
    ended = _of_task(created, moment.filter(kind="task_complete"))
    ended = ended.rename({"lane": "runner", "at": "ended"})
    task = created.join(begun, on="task", how="left").join(
        ended, on="task", how="left", suffix="_last"
    )
    wait = _within(moment.filter(kind="task_wait"), switch, begun["record"])
    child = _within(task, switch, begun["record"]).filter(pl.col("ended").is_not_null())
    met = child.sort("at").join_asof(
        wait.select(*WAITER, pl.col("at").alias("until")).sort("until"),
        left_on="at", right_on="until", by=[*WAITER], strategy="forward", check_sortedness=False,
    )  # fmt: skip
    waited = met.filter(pl.col("ended") <= pl.col("until")).select(
        "rank", "lane", "ended", at="until", runner="runner_last"
    )
    elsewhere = pl.col("runner") != pl.col("lane")
    return Tasks(
        task.filter(elsewhere).select("rank", "lane", "at", "runner", "begun"),
        waited.filter(elsewhere),
        created.height,
        int(task["begun"].null_count()),
    )


def _of_task(created: pl.DataFrame, event: pl.DataFrame) -> pl.DataFrame:
    """Find the first event of each task: the last creation of its name before it tells which task it is."""
    found = event.sort("at").join_asof(
        created.select(*TASK, "task", "at").sort("at"), on="at", by=[*TASK], check_sortedness=False
    )
    first = found.filter(pl.col("task").is_not_null()).unique(
        "task", keep="first", maintain_order=True
    )
    return first.select("task", "lane", "at", "record")


def _within(moment: pl.DataFrame, switch: pl.DataFrame, task: pl.Series) -> pl.DataFrame:
    """Say within which task of its thread something is, -1 for that of the thread itself."""
    inside = pl.col("record").is_in(task.implode())
    went_on = switch.select(
        "rank", "lane", "at", parent=pl.when(inside).then("record").otherwise(-1)
    )
    found = moment.sort("at").join_asof(
        went_on.sort("at"), on="at", by=["rank", "lane"], check_sortedness=False
    )
    return found.with_columns(pl.col("parent").fill_null(-1))
