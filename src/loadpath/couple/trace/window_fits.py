"""Windows of two ranks laid beside each other: in which ways they fit, and which of these is the nearest."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.trace.groups import FALSE_SPLITS, REFUSED_RATIO, TOLERANCE_NS, at_most
from loadpath.couple.trace.patterns import UInt64Array
from loadpath.couple.trace.rows import BoolArray, Int64Array

__all__ = ["Laid", "Window", "lay_beside"]

LEAST_RATIO = 0.5
"""Windows must share at least this part of the communications of the shorter one."""
BASE = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Window:
    """Collectives of one rank, in order of their calls.

    Attributes
    ----------
    said : (n,) array of uint64
        Collective, group and payload: equal on all members.
    meets : (n,) array of bool
        No member leaves it before all have come.
    called, start, end : (n,) arrays of int64
        When it was asked for, began and ended, in ns.
    """

    said: UInt64Array
    meets: BoolArray
    called: Int64Array
    start: Int64Array
    end: Int64Array


@dataclass(frozen=True, slots=True)
class Laid:
    """The best way to lay one window beside another.

    Attributes
    ----------
    shift : int
        Place in the second window less place in the first.
    apart_ns : float
        How far ends of what the two share lie apart, median.
    is_sure : bool
        No other way fits as well.
    """

    shift: int
    apart_ns: float
    is_sure: bool


@dataclass(frozen=True, slots=True)
class _Fit:
    """One way to lay two windows beside each other.

    Attributes
    ----------
    shift : int
        Place in the second window less place in the first.
    first : int
        Place in the first window of the first shared communication.
    apart_ns : (n,) array of float64
        How far the ends of each lie apart.
    is_held : (n,) array of bool
        It may be one communication of both: of its like hardly any is left by one before the other comes.
    """

    shift: int
    first: int
    apart_ns: NDArray[np.float64]
    is_held: BoolArray


def lay_beside(a: Window, b: Window, *, is_one_clock: bool) -> Laid | None:
    """Find how one window lies beside another.

    Parameters
    ----------
    a, b : Window
        Windows of two ranks.
    is_one_clock : bool
        Whether both read one clock; else they may differ by any offset.

    Returns
    -------
    Laid or None
        None if they fit in no way.

    Notes
    -----
    Ranks that run one program do the same, one after the other, also in groups of their own: the order
    leaves the shifts by whole steps. Of these fit those in which some communications (of one collective,
    group and payload) may be common: no rank leaves before the other comes in at least 95 % of them. If
    several fit, the one whose ends lie nearest to each other is taken if chance would not have it so.
    """
    fits = [
        fit for s in _alike(a.said, b.said) if (fit := _fit(a, b, s, is_one_clock=is_one_clock))
    ]
    if not fits:
        return None
    best = min(fits, key=lambda fit: (_apart(fit), abs(fit.shift)))
    others = [fit for fit in fits if fit.shift != best.shift]
    stride = int(np.gcd.reduce([fit.shift - best.shift for fit in others])) if others else 1
    rivals = [fit for fit in others if not _is_nearer(best, fit, stride, len(others))]
    # what began and ended with the same communication needs a reason to be shifted
    whole = [fit for fit in (best, *rivals) if fit.shift == 0 and a.said.size == b.said.size]
    chosen = whole[0] if rivals and whole else best
    return Laid(chosen.shift, _apart(chosen), not rivals or bool(whole))


def _alike(a: UInt64Array, b: UInt64Array) -> list[int]:
    """List the shifts at which two sequences agree in all that both have, and share enough."""
    least = max(1, int(np.ceil(LEAST_RATIO * min(a.size, b.size))))
    n = max(a.size, b.size)
    powers = np.multiply.accumulate(np.concatenate([[np.uint64(1)], np.full(n, BASE)]))
    sums = [np.concatenate([[np.uint64(0)], np.cumsum(s * powers[: s.size])]) for s in (a, b)]
    shift = np.arange(least - a.size, b.size - least + 1)
    low, high = np.maximum(0, -shift), np.minimum(a.size, b.size - shift)
    ours, theirs = sums[0][high] - sums[0][low], sums[1][high + shift] - sums[1][low + shift]
    equal = ours * powers[np.maximum(shift, 0)] == theirs * powers[np.maximum(-shift, 0)]
    # equal sums may be chance; equal sequences are not
    return [
        s
        for s, i, j in zip(*(x[equal].tolist() for x in (shift, low, high)), strict=True)
        if np.array_equal(a[i:j], b[i + s : j + s])
    ]


def _fit(a: Window, b: Window, shift: int, *, is_one_clock: bool) -> _Fit | None:
    """Lay two windows beside each other; None if times forbid it."""
    low, high = max(0, -shift), min(a.said.size, b.said.size - shift)
    mine, other = slice(low, high), slice(low + shift, high + shift)
    of = np.unique(a.said[mine], return_inverse=True)[1].ravel()
    of[~a.meets[mine]] = -1
    # clock of b less that of a lies between these, in each communication of both
    least, most = b.start[other] - a.end[mine], b.end[other] - a.start[mine]
    offsets = [0.0] if is_one_clock else _offsets(of, least)
    held = [_held(of, least - offset, most - offset) for offset in offsets]
    if not any(is_held.any() for is_held in held):
        return None
    is_held = max(held, key=np.count_nonzero)
    away = (b.end[other] - a.end[mine]).astype(float)
    off = 0.0 if is_one_clock else float(np.median(away[is_held]))
    return _Fit(shift, low, np.abs(away - off), is_held)


def _offsets(of: Int64Array, least: Int64Array) -> list[float]:
    """Offsets of two clocks at which communications of one kind are just possible."""
    tail = REFUSED_RATIO / 2
    return [float(np.quantile(least[of == kind], 1 - tail)) for kind in np.unique(of[of >= 0])]


def _held(
    of: Int64Array, least: NDArray[np.floating[Any]], most: NDArray[np.floating[Any]]
) -> BoolArray:
    """Say which communications both ranks may have met in, each kind as a whole."""
    wrong = (least > TOLERANCE_NS) | (most < -TOLERANCE_NS)
    n = np.bincount(of + 1, minlength=2)
    ratio = np.bincount(of + 1, wrong, minlength=2) / np.maximum(n, 1)
    is_possible = ratio <= REFUSED_RATIO
    is_possible[0] = False
    return np.asarray(is_possible[of + 1], np.bool_)


def _apart(fit: _Fit) -> float:
    return float(np.median(fit.apart_ns[fit.is_held]))


def _is_nearer(best: _Fit, other: _Fit, stride: int, n_other: int) -> bool:
    """Say whether ends lie nearer to each other than chance would have them."""
    first = max(best.first, other.first)
    last = min(fit.first + fit.apart_ns.size for fit in (best, other))
    ours, theirs = (fit.apart_ns[first - fit.first : last - fit.first] for fit in (best, other))
    held = best.is_held[first - best.first : last - best.first]
    # of the communications between two shifts one alone: they are late together
    lone = np.flatnonzero(held)[:1].sum() + np.arange(0, held.size, stride)
    lone = lone[lone < held.size]
    wins, losses = (int((x < y)[lone].sum()) for x, y in ((ours, theirs), (theirs, ours)))
    return at_most(losses, wins + losses, 0.5) <= FALSE_SPLITS / n_other
