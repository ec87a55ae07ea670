"""What threads of a rank say of each other: forks, teams, barriers, tasks, creation and locks."""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.ingest.otf2.definitions import MPI, Definitions
from loadpath.tables import SYNCHRONISATION

__all__ = ["ThreadEvents", "thread_table"]

Int64Array = NDArray[np.int64]

KINDS = {
    53: "fork", 54: "join", 55: "team_begin", 56: "team_end", 57: "acquire", 58: "release",
    59: "task_create", 60: "task_switch", 61: "task_complete",
    62: "thread_create", 63: "thread_begin", 64: "thread_wait", 65: "thread_end",
}  # fmt: skip
"""Events by their number in the trace."""
PLAIN, LOCKS, TASKS, COUNTED = (53, 54), (57, 58), (59, 60, 61), (62, 63, 64, 65)
"""Events that name no team, that name a lock, that name a task by its creator's number and its own, and
that number the thread they speak of."""
WAITS = {15: "barrier", 16: "barrier", 22: "task_wait"}
"""Regions by their role: in which the threads of a team wait for each other, asked for or implied, and in
which one waits for the tasks that it created."""


class ThreadEvents(NamedTuple):
    """Events of one thread.

    Attributes
    ----------
    kind : (n,) array of uint8
        Types of the events.
    time_ns : (n,) array of int64
        Their times.
    field : (n, n_field) array of int64
        What they say.
    communicator : (n,) array of int64
        Their first field, as a communicator of the whole trace.
    within : (n,) array of int64
        Row of the region around each, -1 for none.
    """

    kind: NDArray[np.uint8]
    time_ns: Int64Array
    field: Int64Array
    communicator: Int64Array
    within: Int64Array


def thread_table(
    events: ThreadEvents, regions: pl.DataFrame, region: Int64Array, definitions: Definitions
) -> pl.DataFrame:
    """List what one thread says of the other threads of its rank.

    Parameters
    ----------
    events : ThreadEvents
        Events of the thread.
    regions : polars.DataFrame
        Its regions: ``start_ns, duration_ns``.
    region : (n_region,) array of int64
        Which region each is, by its number in the trace.
    definitions : Definitions
        Those of the whole trace.

    Returns
    -------
    polars.DataFrame
        Table `SYNCHRONISATION`, in the order of the trace, regions in which threads wait last. ``event``
        is the team, the set of threads or the lock; ``record`` the number of the thread, of the task or
        of the acquisition; ``correlation`` the row of the region around an event, of a barrier or a wait
        for tasks of its own region.
    """
    at = np.flatnonzero(np.isin(events.kind, tuple(KINDS)))
    kind, field = events.kind[at], events.field[at]
    locks = np.isin(kind, LOCKS)
    lock = (field[:, 0] << 32) | field[:, 1]
    event = np.where(locks, lock, events.communicator[at])
    numbered = np.where(locks, field[:, 2], field[:, 1])
    tasks = np.isin(kind, TASKS)
    numbered = np.where(tasks, (field[:, 1] << 32) | field[:, 2], numbered)
    said = pl.DataFrame(
        {
            "kind": [KINDS[k] for k in kind.tolist()],
            "event": np.where(np.isin(kind, PLAIN), -1, event),
            "record": np.where(locks | tasks | np.isin(kind, COUNTED), numbered, -1),
            "start_ns": events.time_ns[at],
            "correlation": events.within[at],
        },
        schema_overrides={"kind": pl.String},
    ).with_columns(duration_ns=pl.lit(0, pl.Int64))
    holds = pl.Series([_waits(definitions, number) for number in region.tolist()], dtype=pl.String)
    waits = regions.with_row_index("correlation").select(
        "start_ns", "duration_ns", kind=holds, correlation=pl.col("correlation").cast(pl.Int64)
    ).filter(pl.col("kind") != "")  # fmt: skip
    both = pl.concat([said, waits], how="diagonal")
    filled = both.with_columns(pl.col("event", "record").fill_null(-1), rank=pl.lit(0))
    return SYNCHRONISATION.build(filled)


def _waits(definitions: Definitions, region: int) -> str:
    """In what threads wait in a region; empty where they do not."""
    _, role, paradigm = definitions.region.get(region, (-1, 0, MPI))
    return WAITS.get(role, "") if paradigm != MPI else ""
