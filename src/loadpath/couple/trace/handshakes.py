"""Handshakes of clocks: which of them tell anything, what they tell, and which are overruled."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from loadpath.couple.trace.clock_lines import RESOLUTION_NS, Sightings
from loadpath.couple.trace.clocks import Clocks, set_clocks
from loadpath.tables import Recording

__all__ = ["handshake_doubts", "handshake_sightings", "usable_handshakes"]

DAY_NS = 86_400 * 10**9
UNUSED = (
    "handshakes of clocks are not used: of ranks without a trace, of a rank with itself, or over a "
    "day away from the steps and so on another clock than the traces"
)
OVERRULED = (
    "handshakes contradict the clocks as they are used (a message would arrive before it was sent): "
    "they are overruled by the communications"
)


def usable_handshakes(recording: Recording) -> pl.DataFrame:
    """Choose the handshakes that tell of the clocks of the traces.

    Parameters
    ----------
    recording : Recording
        Handshakes and steps.

    Returns
    -------
    polars.DataFrame
        Table `HANDSHAKE`, without ranks that were not recorded, and without times more than a day
        away from those of their rank's steps: these are on another clock than the recording.
    """
    begin = recording.step.group_by("rank").agg(pl.col("start_ns").min().alias("begin"))
    near = pl.lit(value=True)
    known = recording.handshake
    for rank, time in (("rank", "sent_ns"), ("peer", "arrived_ns")):
        known = known.join(
            begin.rename({"rank": rank, "begin": f"{rank}_begin"}), on=rank, maintain_order="left"
        )
        near &= (pl.col(time) - pl.col(f"{rank}_begin")).abs() < DAY_NS
    known = known.filter(near & (pl.col("rank") != pl.col("peer")))
    return known.select(recording.handshake.columns)


def handshake_sightings(handshake: pl.DataFrame) -> Sightings:
    """Collect what handshakes tell.

    Parameters
    ----------
    handshake : polars.DataFrame
        What `usable_handshakes` returned.

    Returns
    -------
    Sightings
        Question and answer, each a delay of one way.
    """
    up = pl.col("rank") < pl.col("peer")
    ways = [
        # the clock of the peer after that of the rank, with the way there and less the way back
        handshake.select(
            low=pl.min_horizontal("rank", "peer"),
            high=pl.max_horizontal("rank", "peer"),
            time=pl.when(up).then(mine).otherwise(theirs),
            value=(pl.col(theirs) - pl.col(mine)) * pl.when(up).then(1).otherwise(-1),
            direction=pl.when(up).then(way).otherwise(-way),
            is_delay=pl.lit(value=True),
        )
        for mine, theirs, way in (("sent_ns", "arrived_ns", 1), ("received_ns", "returned_ns", -1))
    ]
    table = pl.concat(ways)
    return Sightings(**{name: table[name].to_numpy() for name in Sightings.__slots__})


def handshake_doubts(
    recording: Recording, clocks: Clocks, residual_ns: Mapping[int, int]
) -> list[tuple[str, str, int]]:
    """Say which handshakes tell nothing, and which contradict the clocks as they are used.

    Parameters
    ----------
    recording : Recording
        Handshakes and steps.
    clocks : Clocks
        What was taken off the recorded times.
    residual_ns : mapping of int to int
        By rank: what its clock still disagrees by. A contradiction is larger.

    Returns
    -------
    list of (str, str, int)
        Code, text and count of each doubt; counts of 0 say that it did not occur.
    """
    known = usable_handshakes(recording)
    n_unused = recording.handshake.height - known.height
    open_ns = max(residual_ns.values(), default=0) + RESOLUTION_NS
    overruled = np.zeros(known.height, np.bool_)
    for source, sent, target, taken in (
        ("rank", "sent_ns", "peer", "arrived_ns"),
        ("peer", "returned_ns", "rank", "received_ns"),
    ):
        begun, ended = (
            set_clocks(clocks, known[rank].to_numpy(), known[time].to_numpy())
            for rank, time in ((source, sent), (target, taken))
        )
        overruled |= ended - begun < -open_ns
    return [
        ("handshakes_unused", UNUSED, n_unused),
        ("handshakes_overruled", OVERRULED, int(overruled.sum())),
    ]
