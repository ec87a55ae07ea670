"""The causal path over a timeline: stretches on a rank, changes of rank, and what is late."""

from collections.abc import Container
from dataclasses import dataclass

import polars as pl

from loadpath.brief.lane_pool import Bar, pooled_bars

__all__ = ["MOST_HOPS", "WIDE", "Hop", "few_hops", "trace_path"]

WIDE = 780.0
"""Width of a timeline, in user units."""
MOST_HOPS = 160
"""Changes of rank, and stretches, that are drawn one by one; of more, neighbours are drawn as one."""
_NARROW = 0.5


@dataclass(frozen=True, slots=True)
class Hop:
    """A change of rank.

    Attributes
    ----------
    source, target : int
        Ranks.
    start, end : float
        Where the path leaves one and enters the other, in user units.
    """

    source: int
    target: int
    start: float
    end: float


def trace_path(
    path: pl.DataFrame, ranks: Container[int], axis: tuple[float, float]
) -> tuple[list[Bar], list[Bar], list[Hop]]:
    """Follow the path over the ranks that are drawn.

    Parameters
    ----------
    path : polars.DataFrame
        Rows of table ``path`` of one scenario, in order.
    ranks : container of int
        Ranks that are drawn.
    axis : (float, float)
        Left edge, and user units for a second.

    Returns
    -------
    runs : list of Bar
        Stretches on one rank.
    late : list of Bar
        What lies beyond the peers, at the end of each op.
    hops : list of Hop
        Changes of rank.
    """
    left, scale = axis
    runs: list[Bar] = []
    late: list[Bar] = []
    hops: list[Hop] = []
    ops = path.select("rank", "start_s", "end_s", "excess_s")
    for rank, start, end, excess in ops.iter_rows():
        if rank not in ranks:
            continue
        x = left + start * scale
        right = x + max((end - start) * scale, _NARROW)
        if runs and runs[-1].rank == rank:
            runs[-1] = Bar(rank, "path", runs[-1].start, right)
        else:
            hops += [Hop(runs[-1].rank, rank, runs[-1].end, x)] if runs else []
            runs.append(Bar(rank, "path", x, right))
        if excess * scale >= _NARROW:
            late.append(Bar(rank, "late", right - excess * scale, right))
    pooled = pooled_bars(late, (left, left + WIDE)).get("late", [])
    return _joined(runs), pooled, few_hops(hops)


def _joined(runs: list[Bar]) -> list[Bar]:
    """Join stretches of a rank that lie too close to be told apart, where there are many."""
    if len(runs) <= MOST_HOPS:
        return runs
    joined: list[Bar] = []
    for run in sorted(runs, key=lambda run: (run.rank, run.start)):
        last = joined[-1] if joined else None
        if last and last.rank == run.rank and run.start - last.end < WIDE / MOST_HOPS:
            joined[-1] = Bar(run.rank, "path", last.start, max(last.end, run.end))
        else:
            joined.append(run)
    return joined


def few_hops(hops: list[Hop]) -> list[Hop]:
    """Leave out changes of rank that lie too close to others to be seen, where there are many.

    Parameters
    ----------
    hops : list of Hop
        In the order of the path.

    Returns
    -------
    list of Hop
        At most so many as can be seen.

    Examples
    --------
    >>> dense = [Hop(k % 2, 1 - k % 2, k / 10, k / 10) for k in range(5000)]
    >>> len(few_hops(dense)), len(few_hops(dense[:9]))
    (103, 9)
    """
    if len(hops) <= MOST_HOPS:
        return hops
    kept: list[Hop] = []
    for hop in hops:
        if not kept or hop.end - kept[-1].end >= WIDE / MOST_HOPS:
            kept.append(hop)
    return kept
