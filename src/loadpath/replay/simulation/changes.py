"""A schedule whose ops take other times than it says."""

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.loggops import LogGOPS
from loadpath.replay.simulation.noise import Noise
from loadpath.tables.schedule import CALC, SEND, Schedule

__all__ = ["changed_schedule"]

ON_PROCESSOR = ("send", "pack", "stream", "receive")
"""Graph ops of a message that take a processor."""


def changed_schedule(
    schedule: Schedule, model: LogGOPS, name: pl.Series, work_ns: NDArray[np.int64]
) -> tuple[Schedule, Noise]:
    """Put the work of graph ops back into their schedule.

    Parameters
    ----------
    schedule : Schedule
        Schedule that was simulated to its end.
    model : LogGOPS
        Costs of messages.
    name : (n_graph_op,) series of str
        What each op of its coupled graph is: ``calc``, ``send``, ``receive``, ...; those of one name
        in the order of the schedule.
    work_ns : (n_graph_op,) array of int64
        Work of each.

    Returns
    -------
    schedule : Schedule
        With the lengths of its computations changed.
    noise : Noise
        What sends and messages take beyond the model.
    """
    overhead = model.costs[1]
    calc, send = (np.flatnonzero(schedule.kind == kind) for kind in (CALC, SEND))
    taken = {word: work_ns[(name == word).to_numpy()] for word in ("calc", *ON_PROCESSOR)}
    size = schedule.size.copy()
    size[calc] = taken["calc"]
    b = np.maximum(size[send] - 1, 0)
    own, wire = b * model.costs[4] // 1000, b * model.costs[3] // 1000
    # only where every message has one, or those whose bytes take a processor
    packed = send if taken["pack"].size == send.size else send[own > 0]
    extra = np.zeros(2 * schedule.n_op, np.int64)
    extra[packed] += taken["pack"]
    extra[send] += taken["send"] - overhead - own
    received = taken["stream"] + taken["receive"]
    extra[schedule.n_op + send] = received - overhead - np.maximum(own, wire)
    return replace(schedule, size=size), Noise(extra_ns=extra)
