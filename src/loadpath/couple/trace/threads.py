"""Threads of one process: work that the main thread hands to another thread and waits for."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from loadpath.couple.trace.rows import BoolArray, Int32Array, Int64Array
from loadpath.couple.trace.segments import Segments

__all__ = ["Handover", "hand_over"]

SECOND_PART = 1 << 61
"""Marks the position of what a main thread's segment does after the other thread is done."""


@dataclass(frozen=True, slots=True)
class Handover:
    """Segments with other threads' idle time taken out, and who hands work to whom.

    Attributes
    ----------
    segments : Segments
        Segments; one of the main thread that encloses a burst of another thread is cut in two.
    source, target : (n_edge,) arrays of int32
        Segments: the target begins when the source ended.
    """

    segments: Segments
    source: Int32Array
    target: Int32Array


@dataclass(frozen=True, slots=True)
class _Bursts:
    """Runs of segments of other threads without idle time; with the main segments around them."""

    first: Int64Array
    last: Int64Array
    opens: Int64Array
    closes: Int64Array


def hand_over(segments: Segments) -> Handover:
    """Couple the threads of each rank through its main thread.

    A thread such as autograd's works in bursts while the main thread sits inside one segment. Time
    between its calls is work of its own as long as the main thread stays in that segment, and idle
    otherwise. A burst inside one main segment splits it: the part before hands over, the part
    after waits for the burst.

    Parameters
    ----------
    segments : Segments
        Parts of host threads; the first lane of a rank is its main thread.

    Returns
    -------
    Handover
        Segments and couplings between threads.
    """
    if not segments.rank.size:
        return Handover(segments, np.empty(0, np.int32), np.empty(0, np.int32))
    idle = np.zeros(segments.rank.size, np.bool_)
    found = []
    for low, split, high in _ranges(segments):
        if split < high:
            found.append(_bursts(segments, idle, (low, split, high)))
    first, last, opens, closes = (
        np.concatenate([np.empty(0, np.int64), *(getattr(part, name) for part in found)])
        for name in ("first", "last", "opens", "closes")
    )
    return _rebuilt(segments, idle, _Bursts(first, last, opens, closes))


def _ranges(segments: Segments) -> list[tuple[int, int, int]]:
    """Per rank: where its main thread begins, where other threads begin, where they end."""
    ranks, low = np.unique(segments.rank, return_index=True)
    high = np.append(low[1:], segments.rank.size)
    return [
        (int(a), int(a + np.searchsorted(segments.lane[a:b], segments.lane[a], "right")), int(b))
        for a, b in zip(low[: ranks.size], high, strict=True)
    ]


def _bursts(segments: Segments, idle: BoolArray, place: tuple[int, int, int]) -> _Bursts:
    low, split, high = place
    main = segments.start[low:split]
    other = np.arange(split, high)
    opens = np.searchsorted(main, segments.start[other], "right") - 1
    closes = np.searchsorted(main, segments.end[other], "left") - 1
    waits = (segments.call[other] < 0) & (opens != closes)
    idle[other[waits]] = True
    works = other[~waits]
    lane = segments.lane[works]
    new = np.ones(works.size, np.bool_)
    new[1:] = (lane[1:] != lane[:-1]) | (works[1:] != works[:-1] + 1)
    first = works[new]
    last = works[np.append(np.flatnonzero(new)[1:] - 1, works.size - 1)] if works.size else first
    return _Bursts(
        first=first,
        last=last,
        opens=low + opens[first - split],
        closes=low + np.maximum(closes[last - split], opens[first - split]),
    )


def _rebuilt(segments: Segments, idle: BoolArray, bursts: _Bursts) -> Handover:
    """Leave idle time out, cut segments around bursts, and couple the parts."""
    inside = (bursts.opens == bursts.closes) & (
        segments.end[bursts.last] <= segments.end[bursts.opens]
    )
    inside &= segments.start[bursts.first] >= segments.start[bursts.opens]
    cut = np.unique(bursts.opens[inside])
    kept = np.flatnonzero(~idle)
    order = np.argsort(np.concatenate([kept, cut]), kind="stable")
    old, is_second = np.concatenate([kept, cut])[order], order >= kept.size
    first, second = (np.full(segments.rank.size, -1, np.int32) for _ in range(2))
    first[old[~is_second]] = np.flatnonzero(~is_second)
    second[old[is_second]] = np.flatnonzero(is_second)
    begun = _ended_before(segments, bursts, np.flatnonzero(~inside))
    source = [bursts.opens[inside], bursts.last[inside], bursts.opens[begun] - 1]
    target = [bursts.first[inside], bursts.opens[inside], bursts.first[begun]]
    return Handover(
        _parts(segments, bursts, old, is_second),
        np.concatenate([first[i] for i in source]),
        np.concatenate([first[target[0]], second[target[1]], first[target[2]]]),
    )


def _parts(segments: Segments, bursts: _Bursts, old: Int64Array, is_second: BoolArray) -> Segments:
    """Segments by their old numbers; a cut one ends at the first burst, goes on after the last."""
    starts, ends = segments.end.copy(), segments.start.copy()
    whole = bursts.opens == bursts.closes
    np.minimum.at(starts, bursts.opens[whole], segments.start[bursts.first[whole]])
    np.maximum.at(ends, bursts.opens[whole], segments.end[bursts.last[whole]])
    is_cut = np.zeros(segments.rank.size, np.bool_)
    is_cut[old[is_second]] = True
    fields = {f.name: getattr(segments, f.name)[old] for f in dataclasses.fields(Segments)}
    fields["start"] = np.where(is_second, ends[old], fields["start"])
    fields["end"] = np.where(is_cut[old] & ~is_second, starts[old], fields["end"])
    fields["position"] = fields["position"] | (is_second * SECOND_PART)
    return Segments(**fields)


def _ended_before(segments: Segments, bursts: _Bursts, burst: Int64Array) -> Int64Array:
    """Which of these bursts follow an ended segment of the main thread."""
    main = bursts.opens[burst] - 1
    first = bursts.first[burst]
    known = (main >= 0) & (segments.rank[main] == segments.rank[first])
    follows: Int64Array = burst[known & (segments.end[main] <= segments.start[first])]
    return follows
