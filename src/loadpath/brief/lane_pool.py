"""Bars of a timeline pooled to the pixels shown: the dominant kind of each pixel column."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bar", "pooled_bars"]

_N_EXACT = 1500
_N_COLUMNS = 195
"""So many that a column of a timeline is four units wide: whole numbers keep pages small."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A stretch of one kind on one rank.

    Attributes
    ----------
    rank : int
        Rank.
    kind : str
        What it does.
    start, end : float
        Extent in user units.
    """

    rank: int
    kind: str
    start: float
    end: float


def pooled_bars(found: list[Bar], extent: tuple[float, float]) -> dict[str, list[Bar]]:
    """Group bars by kind; too many to be seen are pooled first.

    Parameters
    ----------
    found : list of Bar
        Bars of all ranks; those of one rank do not overlap.
    extent : (float, float)
        Left and right edge of the drawing.

    Returns
    -------
    dict of str to list of Bar
        Bars to draw, by kind.

    Examples
    --------
    >>> pooled_bars([Bar(0, "wait", 1.0, 2.0)], (0.0, 10.0))
    {'wait': [Bar(rank=0, kind='wait', start=1.0, end=2.0)]}
    """
    kinds = sorted({bar.kind for bar in found})
    kept = found
    if len(found) > _N_EXACT:
        edges = np.linspace(*extent, _N_COLUMNS + 1)
        ranks = sorted({bar.rank for bar in found})
        kept = [bar for rank in ranks for bar in _pool(found, rank, kinds, edges)]
    return {kind: [bar for bar in kept if bar.kind == kind] for kind in kinds}


def _pool(found: list[Bar], rank: int, kinds: list[str], edges: NDArray[np.float64]) -> list[Bar]:
    own = [bar for bar in found if bar.rank == rank]
    covered = np.stack([_covered([bar for bar in own if bar.kind == k], edges) for k in kinds])
    busy = covered.sum(axis=0) > 0.5 * np.diff(edges)
    winner = np.where(busy, covered.argmax(axis=0), -1)
    turns = np.flatnonzero(np.diff(winner, prepend=-2, append=-2))
    return [
        Bar(rank, kinds[winner[a]], float(edges[a]), float(edges[b]))
        for a, b in pairwise(turns)
        if winner[a] >= 0
    ]


def _covered(own: list[Bar], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    # Length of bars within each column: differences of their cumulative length.
    if not own:
        return np.zeros(len(edges) - 1)
    ordered = sorted((bar.start, bar.end) for bar in own)
    knots = np.array(ordered).ravel()
    lengths = np.cumsum([end - start for start, end in ordered])
    cumulative = np.stack([np.r_[0.0, lengths[:-1]], lengths], axis=1).ravel()
    return np.diff(np.interp(edges, knots, cumulative))
