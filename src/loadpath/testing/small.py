"""Jobs of a few ops, written in one line: ``job(ranks=4).compute(70).all_reduce(20)``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from loadpath.errors import UsageError
from loadpath.tables import CAVEAT, COMMUNICATOR, LANE, OP, RANK, STEP, Recording
from loadpath.testing.execution import execute
from loadpath.testing.program import Draft, Program, Task, add_task, finish_program

__all__ = ["SmallJob", "job"]

NAMES = {"compute": "work", "all_reduce": "ncclDevKernel_AllReduce"}


@dataclass(frozen=True, slots=True)
class SmallJob:
    """Some ranks with one stream each, and what they do, phase by phase.

    Attributes
    ----------
    n_rank : int
        Number of ranks.
    phases : tuple of (str, tuple of int)
        What all ranks do, and how long each of them takes, in ns.
    """

    n_rank: int
    phases: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def compute(self, work_ns: int | Sequence[int]) -> "SmallJob":
        """Let every rank compute.

        Parameters
        ----------
        work_ns : int or sequence of int
            Duration of all ranks, or of each.

        Returns
        -------
        SmallJob
            The longer job.
        """
        return _longer(self, "compute", work_ns)

    def all_reduce(self, transfer_ns: int) -> "SmallJob":
        """Let all ranks meet in an all-reduce.

        Parameters
        ----------
        transfer_ns : int
            Duration once all have arrived.

        Returns
        -------
        SmallJob
            The longer job.
        """
        return _longer(self, "all_reduce", transfer_ns)

    def recording(self) -> Recording:
        """Execute the job and record it as one step.

        Returns
        -------
        Recording
            Tables of a trace.

        Examples
        --------
        >>> recording = job(ranks=2).compute([70, 100]).all_reduce(20).recording()
        >>> recording.op["duration_ns"].to_list()
        [70, 50, 100, 20]
        """
        program = _program(self)
        duration = program.task["work_ns"].cast(pl.Int64).to_numpy()
        start, end = execute(program, duration)
        timed = program.task.with_columns(start=pl.Series(start), end=pl.Series(end))
        return _recorded(self.n_rank, timed)


def job(ranks: int) -> SmallJob:
    """Begin a small job.

    Parameters
    ----------
    ranks : int
        Number of ranks.

    Returns
    -------
    SmallJob
        A job that does nothing yet.

    Examples
    --------
    >>> len(job(ranks=4).compute(70).all_reduce(20).phases)
    2
    """
    return SmallJob(ranks)


def _longer(small: SmallJob, what: str, duration_ns: int | Sequence[int]) -> SmallJob:
    spread = np.broadcast_to(np.asarray(duration_ns, dtype=np.int64), small.n_rank).tolist()
    if min(spread) < 0:
        raise UsageError(f"Durations of {what} must not be negative; got {duration_ns}.")
    return replace(small, phases=(*small.phases, (what, tuple(spread))))


def _program(small: SmallJob) -> Program:
    draft = Draft()
    for rank in range(small.n_rank):
        last = -1
        for number, (what, duration) in enumerate(small.phases):
            meets = what == "all_reduce"
            sequence = sum(before == what for before, _ in small.phases[:number])
            task = Task(rank, 0, rank, "stream", 0, what, NAMES[what], float(duration[rank]))
            labelled = task._replace(group=str(number) if meets else "", sequence=sequence)
            last = add_task(draft, labelled, (last,))
    return finish_program(draft)


def _recorded(n_rank: int, timed: pl.DataFrame) -> Recording:
    meets = pl.col("kind") == "all_reduce"
    op = timed.select(
        "rank",
        "name",
        "sequence",
        lane=pl.lit(0),
        step=pl.lit(0),
        kind=pl.when(meets).then(pl.lit("communicate")).otherwise(pl.lit("compute")),
        start_ns="start",
        duration_ns=pl.col("end") - pl.col("start"),
        communicator=pl.when(meets).then(0).otherwise(-1),
        collective=pl.when(meets).then(pl.lit("all_reduce")).otherwise(pl.lit("")),
    )
    ranks = list(range(n_rank))
    bounds = op.group_by("rank", maintain_order=True).agg(
        start_ns=pl.lit(0), end_ns=(pl.col("start_ns") + pl.col("duration_ns")).max()
    )
    return Recording(
        source="kineto",
        op=OP.build(op),
        lane=LANE.build({"rank": ranks, "lane": 0, "kind": "device", "name": "stream 7"}),
        communicator=COMMUNICATOR.build(
            {"communicator": [0], "name": ["0"], "n_members": [n_rank], "members": [ranks]}
        ),
        rank=RANK.build({"rank": ranks}),
        step=STEP.build(bounds.with_columns(step=pl.lit(0))),
        caveat=CAVEAT.empty(),
    )
