"""A recording of flight-recorder dumps alone."""

import polars as pl

from loadpath.diagnose.flight_groups import group_members
from loadpath.ingest.flight_recorder import Flights
from loadpath.tables import COMMUNICATOR, LANE, OP, RANK, STEP, Recording, caveat_table

__all__ = ["FLIGHT_SOURCE", "recording_of_dumps"]

FLIGHT_SOURCE = "flight_recorder"


def recording_of_dumps(flights: Flights) -> Recording:
    """Make a recording without ops: ranks, groups, and what flight recorders noted.

    Parameters
    ----------
    flights : Flights
        Dumps of a job.

    Returns
    -------
    Recording
        Source ``flight_recorder``; ranks are those with a dump and those that a group lists.
    """
    groups = group_members(flights.flight, flights.group)
    listed = {rank for ranks in groups["members"] for rank in ranks}
    n_assumed = int((~groups["is_listed"]).sum())
    text = (
        "process groups whose members no dump lists: taken to be the ranks that used them, and all "
        "ranks up to the highest with a dump for the group of all"
    )
    doubts = caveat_table([("group_members_assumed", text, n_assumed)])
    return Recording(
        source=FLIGHT_SOURCE,
        op=OP.empty(),
        lane=LANE.empty(),
        communicator=COMMUNICATOR.build(
            groups.select(
                communicator=pl.int_range(pl.len(), dtype=pl.Int32),
                name="group",
                n_members=pl.col("members").list.len().cast(pl.Int32),
                members="members",
                description="description",
            )
        ),
        rank=RANK.build({"rank": sorted(listed | set(flights.ranks))}),
        step=STEP.empty(),
        caveat=pl.concat([flights.caveat, doubts]),
        inputs=flights.inputs,
        flight=flights.flight,
    )
