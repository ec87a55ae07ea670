"""Device work of which no launch was recorded: launched before the recording began, or not linked to a call."""

import dataclasses

import numpy as np

from loadpath.couple.trace.groups import REFUSED_RATIO
from loadpath.couple.trace.rows import BoolArray, Rows

__all__ = ["are_remains", "unlaunched_doubts", "without_remains"]

NO_STEP = -1
NEVER = np.iinfo(np.int64).max
"""Start of what did not happen."""
LINKS = {
    "nsys": "correlationId of CUPTI_ACTIVITY_KIND_RUNTIME and of the tables of device work",
    "kineto": "args.correlation of calls and of device ops",
}
"""What links a call with what it launched, in the words of the record."""
UNLINKED = (
    "{n} of {total} device ops have no recorded call that launched them, so which stream waits for which "
    "is not known ({link} is absent or 0, or calls were not traced): conclusions across ranks are "
    "refused; record again with calls of the runtime"
)


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


def unlaunched_doubts(rows: Rows, inside: BoolArray, source: str) -> list[tuple[str, str, int]]:
    """Say of how many device ops the launch is not known, and whether that leaves too little.

    Parameters
    ----------
    rows : Rows
        Recorded ops, without what was launched before the recording.
    inside : (n,) array of bool
        Those of the steps that all ranks recorded.
    source : str
        As of `Recording`.

    Returns
    -------
    list of (code, text, count)
        ``launches_unknown`` where over 5 % lack it of ranks whose device ops run on several streams:
        the order of launches is all that tells how those wait for each other.
    """
    device = rows.on_device & inside
    orphan = device & (rows.call < 0)
    lanes = np.unique(np.stack([rows.rank[device], rows.lane[device]]), axis=1)
    rank, n_lane = np.unique(lanes[0], return_counts=True)
    apart = device & np.isin(rows.rank, rank[n_lane > 1])
    n, total = int((orphan & apart).sum()), int(apart.sum())
    link = LINKS.get(source, "what links them")
    text = UNLINKED.format(n=n, total=total, link=link)
    return [
        (
            "unknown_launch",
            "device ops without a recorded launch; stream order only",
            int(orphan.sum()),
        ),
        ("launches_unknown", text, n if n > REFUSED_RATIO * total else 0),
    ]
