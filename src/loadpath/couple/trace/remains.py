"""Work that was launched before a recording began, and ran on while it had begun."""

import dataclasses

import numpy as np

from loadpath.couple.trace.rows import BoolArray, Rows

__all__ = ["are_remains", "without_remains"]

NO_STEP = -1
NEVER = np.iinfo(np.int64).max
"""Start of what did not happen."""


def are_remains(rows: Rows) -> BoolArray:
    """Find device ops that were launched before the recording began.

    A host that runs ahead has filled the queues of its device when a profiler starts. What ran then
    is recorded without a launch, at the begin of its stream and nowhere else.

    Parameters
    ----------
    rows : Rows
        Recorded ops.

    Returns
    -------
    (n,) array of bool
        Device ops without a recorded launch that precede all ops of their stream with one. None on
        streams that have ops without a launch later as well, or nothing but those.
    """
    remains = np.zeros(rows.rank.size, np.bool_)
    device = np.flatnonzero(rows.on_device)
    lane = rows.rank[device].astype(np.int64) << 32 | rows.lane[device]
    called, start = rows.call[device] >= 0, rows.start[device]
    lanes, place = np.unique(lane, return_inverse=True)
    first, last = np.full(lanes.size, NEVER), np.full(lanes.size, -NEVER)
    np.minimum.at(first, place[called], start[called])
    np.maximum.at(last, place[~called], start[~called])
    remains[device] = ~called & ((first < NEVER) & (last <= first))[place]
    return remains


def without_remains(rows: Rows) -> Rows:
    """Take what was launched before the recording out of all steps.

    Parameters
    ----------
    rows : Rows
        Recorded ops.

    Returns
    -------
    Rows
        The same, such ops in no step: which one they belong to was not recorded, and neither was
        what they waited for.
    """
    return dataclasses.replace(rows, step=np.where(are_remains(rows), NO_STEP, rows.step))
