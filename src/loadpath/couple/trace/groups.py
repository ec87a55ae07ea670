"""Groups that several sets of ranks share by name: which ranks belong together."""

import numpy as np

from loadpath.couple.trace.rows import Int32Array, Int64Array
from loadpath.tables import Recording

__all__ = ["split_groups"]


def split_groups(
    recording: Recording,
    communicator: Int32Array,
    member: tuple[Int32Array, Int64Array, Int64Array],
    sequence: Int64Array,
) -> Int64Array:
    """Split communicators that more ranks use than they have members.

    Old traces name a group by a pointer, so that equal groups of different ranks look alike. Ranks
    are either neighbours (tensor parallel) or equally spaced (data parallel): the split under which
    fewer communications have a member that ends before another starts is taken.

    Parameters
    ----------
    recording : Recording
        Communicators with the ranks that use them.
    communicator : (n,) array of int32
        Communicator of each communication op.
    member : tuple of (n,) arrays
        Rank, start and end of each op.
    sequence : (n,) array of int64
        Recorded sequence number of each op.

    Returns
    -------
    (n,) array of int64
        Number of the part; 0 where nothing is split.
    """
    part = np.zeros(communicator.size, np.int64)
    for number, size, ranks in recording.communicator.select(
        "communicator", "n_members", "members"
    ).rows():
        here = np.flatnonzero(communicator == number)
        if not 1 < size < len(ranks) or not here.size:
            continue
        start, end = member[1][here], member[2][here]
        place = np.searchsorted(np.array(ranks), member[0][here])
        splits = [place // size, place % max(1, len(ranks) // size)]
        wrong = [_n_impossible(split, sequence[here], start, end) for split in splits]
        part[here] = splits[int(np.argmin(wrong))]
    return part


def _n_impossible(
    part: Int64Array, sequence: Int64Array, start: Int64Array, end: Int64Array
) -> int:
    """Count communications in which a member ends before another starts."""
    _, group = np.unique(np.stack([part, sequence], axis=1), axis=0, return_inverse=True)
    group = group.ravel()
    n = int(group.max(initial=-1)) + 1
    last_start = np.full(n, np.iinfo(np.int64).min)
    np.maximum.at(last_start, group, start)
    first_end = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(first_end, group, end)
    return int((first_end < last_start).sum())
