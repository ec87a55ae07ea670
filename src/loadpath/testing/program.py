"""What a synthetic job will do: tasks of all ranks, and what each must wait for."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["Draft", "Program", "Task", "add_task", "finish_program", "wait_until"]

Int64Array = NDArray[np.int64]


class Task(NamedTuple):
    """One thing that one lane of one rank does.

    Attributes
    ----------
    rank, stage, replica : int
        Who.
    lane : str
        Where: a stream or the host thread.
    step : int
        Index of the step, 0 first.
    kind : str
        ``compute``, ``host``, ``input``, ``sync`` or the communication's name.
    name : str
        Name it is recorded under.
    work_ns : float
        Mean duration; of a communication the transfer once all have arrived.
    group : str
        Communication it is a member of, empty for none.
    sequence, chunk, microbatch, model_chunk : int
        Number within its name, model chunk, microbatch and chunk of the whole model; -1 none.
    communicator : str
        Process group of a communication.
    peer : int
        Other rank of a point-to-point transfer, -1 none.
    launcher : int
        Task of the host that launches it (or of the device, that a host task waits for), -1 none.
    """

    rank: int
    stage: int
    replica: int
    lane: str
    step: int
    kind: str
    name: str
    work_ns: float
    group: str = ""
    sequence: int = 0
    chunk: int = -1
    microbatch: int = -1
    model_chunk: int = -1
    communicator: str = ""
    peer: int = -1
    launcher: int = -1


TASK_SCHEMA = {
    "rank": pl.Int32,
    "stage": pl.Int32,
    "replica": pl.Int32,
    "lane": pl.String,
    "step": pl.Int64,
    "kind": pl.String,
    "name": pl.String,
    "work_ns": pl.Float64,
    "group": pl.String,
    "sequence": pl.Int32,
    "chunk": pl.Int32,
    "microbatch": pl.Int32,
    "model_chunk": pl.Int32,
    "communicator": pl.String,
    "peer": pl.Int32,
    "launcher": pl.Int32,
}


@dataclass(slots=True)
class Draft:
    """A program being written.

    Attributes
    ----------
    tasks : list of Task
        Tasks so far; their position is their id.
    edges : list of (int, int, int)
        Source, target, and ns between the source's end and the target's earliest start.
    waits : list of (int, int)
        Source and target: the target, already begun, ends only after the source did.
    """

    tasks: list[Task] = field(default_factory=list)
    edges: list[tuple[int, int, int]] = field(default_factory=list)
    waits: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Program:
    """Tasks and couplings of a whole job.

    Attributes
    ----------
    task : polars.DataFrame
        One row per `Task`, in order of id.
    edge : (n_edge, 3) array of int64
        Source, target, ns between.
    wait : (n_wait, 2) array of int64
        Source and target of waits inside a task.
    """

    task: pl.DataFrame
    edge: Int64Array
    wait: Int64Array


def add_task(draft: Draft, task: Task, after: Iterable[int] = (), lag_ns: int = 0) -> int:
    """Write one task down.

    Parameters
    ----------
    draft : Draft
        Program being written; changed.
    task : Task
        The task.
    after : iterable of int
        Tasks that must end before; negative ids stand for none.
    lag_ns : int
        Time between those ends and the earliest start, in ns.

    Returns
    -------
    int
        Id of the task.
    """
    number = len(draft.tasks)
    draft.tasks.append(task)
    draft.edges.extend((source, number, lag_ns) for source in after if source >= 0)
    return number


def wait_until(draft: Draft, task: int, ended: Iterable[int]) -> None:
    """Let a task, once begun, end only after others did.

    Parameters
    ----------
    draft : Draft
        Program being written; changed.
    task : int
        Task that waits.
    ended : iterable of int
        Tasks it waits for.
    """
    draft.waits.extend((source, task) for source in ended if source >= 0)


def finish_program(draft: Draft) -> Program:
    """Freeze a program.

    Parameters
    ----------
    draft : Draft
        Program as written.

    Returns
    -------
    Program
        The same as tables and arrays.
    """
    return Program(
        task=pl.DataFrame(draft.tasks, schema=TASK_SCHEMA, orient="row"),
        edge=np.array(draft.edges, dtype=np.int64).reshape(-1, 3),
        wait=np.array(draft.waits, dtype=np.int64).reshape(-1, 2),
    )
