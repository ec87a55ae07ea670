"""What flight-recorder dumps beside traces say of a hang: a doubt, for traces are what is audited."""

import polars as pl

from loadpath.audit.hang import hang_sentence
from loadpath.diagnose.hang import find_hangs
from loadpath.ingest.flight_recorder import Flights
from loadpath.tables import Recording, caveat_table

__all__ = ["hang_caveat"]

TEXT = (
    "the dumps beside the traces hold communications that cannot end, asked for after the recorded steps. "
    "If the job stood still then (audit the dumps alone): {}"
)


def hang_caveat(recording: Recording, flights: Flights) -> pl.DataFrame:
    """Say that the dumps beside traces show a hang that came after the recorded steps.

    Parameters
    ----------
    recording : Recording
        Traces of the job, with steps.
    flights : Flights
        Dumps of the same job.

    Returns
    -------
    polars.DataFrame
        Table `CAVEAT`; empty where nothing hangs, or its call came within a step of those recorded: a job
        that goes on while it is dumped has such calls.
    """
    hang = find_hangs(flights.flight, flights.group, flights.unreadable)
    ends = recording.step.select(
        last=pl.col("end_ns").max(), longest=(pl.col("end_ns") - pl.col("start_ns")).max()
    )
    last, longest = ends.row(0)
    if not hang.height or last is None or hang["created_ns"][0] <= last + longest:
        return caveat_table([])
    said = hang_sentence(hang.row(0, named=True), hang, flights)
    return caveat_table([("dumps_hang", TEXT.format(said), hang.height)])
