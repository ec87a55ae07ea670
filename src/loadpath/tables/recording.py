"""What a reader returns: the recorded tables of one job."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.tables.condensed import Coupled
from loadpath.tables.recorded import CAVEAT, EXECUTION, FLIGHT, HANDSHAKE, SYNCHRONISATION
from loadpath.tables.schedule import Schedule

__all__ = ["AlikeSteps", "Recording", "caveat_table", "unroll"]


@dataclass(frozen=True, slots=True)
class AlikeSteps:
    """Times of steps that hold the same ops: one row per step, one column per op of the first.

    Attributes
    ----------
    step : (n_step,) array of int64
        Step numbers, ascending.
    start_ns, duration_ns : (n_step, n_op) arrays of int64
        Start after the begin of the step, and length, in ns.
    """

    step: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    duration_ns: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Recording:
    """One job as recorded, in declared tables.

    Attributes
    ----------
    source : {"op_table", "kineto", "goal", "otf2"}
        Kind of record; it decides which builder couples the ops.
    op, lane, communicator, rank, step, caveat : polars.DataFrame
        Tables of `loadpath.tables`; `op` holds the ops of the first step alone where `alike` says
        when those of all steps ran.
    inputs : tuple of (str, str, int)
        Name, SHA-256 and size in bytes of every file read.
    handshake : polars.DataFrame
        Table `HANDSHAKE`, empty where none was recorded.
    layout : mapping of str to int
        Declared parallel sizes (``dp_size``, ``pp_size``, ...), empty if unknown.
    alike : AlikeSteps, optional
        Times of all steps, where they hold the same ops.
    synchronisation : polars.DataFrame
        Recorded waits between streams and of hosts; empty where none are recorded.
    flight : polars.DataFrame
        What flight recorders noted; empty where none did.
    execution : polars.DataFrame
        Operators of execution traces, and what they touch; empty where none are recorded.
    schedule : Schedule, optional
        What is to run, where no time was recorded: `op` is empty then.
    coupled : Coupled, optional
        Who waits for whom, where the recording was compressed after it had been coupled.
    """

    source: str
    op: pl.DataFrame
    lane: pl.DataFrame
    communicator: pl.DataFrame
    rank: pl.DataFrame
    step: pl.DataFrame
    caveat: pl.DataFrame
    inputs: tuple[tuple[str, str, int], ...] = ()
    layout: Mapping[str, int] = field(default_factory=dict)
    alike: AlikeSteps | None = None
    synchronisation: pl.DataFrame = field(default_factory=SYNCHRONISATION.empty)
    flight: pl.DataFrame = field(default_factory=FLIGHT.empty)
    handshake: pl.DataFrame = field(default_factory=HANDSHAKE.empty)
    execution: pl.DataFrame = field(default_factory=EXECUTION.empty)
    schedule: Schedule | None = None
    coupled: Coupled | None = None

    def __repr__(self) -> str:
        """Count what was recorded; tables are long."""
        n_op = self.op.height if self.alike is None else self.alike.start_ns.size
        counts = f"{self.rank.height:,} ranks, {n_op:,} ops; caveats: {self.caveat.height:,}"
        return f"Recording({self.source}: {counts})"


def unroll(recording: Recording) -> Recording:
    """List every op of every step.

    Parameters
    ----------
    recording : Recording
        Any recording.

    Returns
    -------
    Recording
        The same without `alike`: ops by step, in the order of the first.
    """
    alike = recording.alike
    if alike is None:
        return recording
    n_op = recording.op.height
    op = pl.concat([recording.op] * alike.step.size, rechunk=True).with_columns(
        pl.Series("step", np.repeat(alike.step, n_op)),
        pl.Series("start_ns", alike.start_ns.ravel()),
        pl.Series("duration_ns", alike.duration_ns.ravel()),
    )
    return replace(recording, op=op, alike=None)


def caveat_table(rows: Iterable[tuple[str, str, int]]) -> pl.DataFrame:
    """Make a caveat table.

    Parameters
    ----------
    rows : iterable of (str, str, int)
        Code, text and count of each doubt.

    Returns
    -------
    polars.DataFrame
        Table of schema `CAVEAT`; doubts that never occurred are left out.
    """
    kept = [row for row in rows if row[2] > 0]
    return CAVEAT.validate(pl.DataFrame(kept, schema=CAVEAT.schema, orient="row"))
