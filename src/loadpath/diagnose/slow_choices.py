"""Which ranks are slow, and in which part of a step: all choices, or a sample that is nested.

A sample consists of chains: an order of the ranks and a part of the step. The k slow ranks of a
chain are its first k, its window of a duration the one that holds the part; so more ranks or a longer
time are never better for a chain, nor for the mean, the least and the most over all chains.
"""

from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["DURATIONS", "N_PART", "Choices", "choose"]

N_PART = 8
"""Parts of a step in which work may begin."""
DURATIONS = (1, 2, 4, 8)
"""Parts of a step that the slowness lasts; it begins at a multiple of that."""
MOST_CHOICES = 1700
"""Choices that are replayed for all numbers of ranks and durations together; a stated policy."""
FEWEST_CHAINS = 12
"""Chains of a sample, however large the job."""

BoolArray = NDArray[np.bool_]


class Choices(NamedTuple):
    """Choices of ranks and of a window for one number of ranks and one duration.

    Attributes
    ----------
    n_rank, duration : int
        How many ranks are slow, and for how many parts of a step.
    member : (n_different, n_all * N_PART) array of bool
        Different choices: whether a rank is slow in what begins in a part.
    number : (n_choice,) array of int
        Place in `member` of each choice; those of a sample may repeat.
    n_possible : int
        Different choices that there are.
    """

    n_rank: int
    duration: int
    member: BoolArray
    number: NDArray[np.intp]
    n_possible: int


def choose(
    counts: Sequence[int], own_ns: NDArray[np.float64], n_most: int, rng: np.random.Generator
) -> list[Choices]:
    """Choose slow ranks and windows for each number of slow ranks and each duration.

    Parameters
    ----------
    counts : sequence of int
        Numbers of slow ranks.
    own_ns : (n_rank,) array of float64
        Own work of each rank: chains begin at ranks spread evenly over its order, most first.
    n_most : int
        Choices that may be replayed; all are if there are no more.
    rng : numpy.random.Generator
        Source of a sample.

    Returns
    -------
    list of Choices
        By number of ranks, then by duration.

    Examples
    --------
    >>> few = choose([1, 2], np.ones(2), 100, np.random.default_rng(0))
    >>> [(one.n_rank, one.duration, len(one.member), one.n_possible) for one in few][:5]
    [(1, 1, 16, 16), (1, 2, 8, 8), (1, 4, 4, 4), (1, 8, 2, 2), (2, 1, 8, 8)]
    """
    n = own_ns.size
    possible = {(k, d): comb(n, k) * (N_PART // d) for k in counts for d in DURATIONS}
    if sum(possible.values()) <= n_most:
        return [_all(k, d, n) for k, d in possible]
    n_chain = min(max(FEWEST_CHAINS, n_most // len(possible)), N_PART * n)
    order, part = _chains(own_ns, n_chain, rng)
    return [_sampled(k, d, (order, part), n_possible=number) for (k, d), number in possible.items()]


def _all(k: int, duration: int, n_rank: int) -> Choices:
    windows = np.repeat(np.eye(N_PART // duration, dtype=np.bool_), duration, axis=1)
    slow = np.zeros((comb(n_rank, k), n_rank), np.bool_)
    for row, ranks in enumerate(combinations(range(n_rank), k)):
        slow[row, ranks] = True
    member = (slow[:, None, :, None] & windows[None, :, None, :]).reshape(-1, n_rank * N_PART)
    return Choices(k, duration, member, np.arange(len(member)), len(member))


def _chains(
    own_ns: NDArray[np.float64], n_chain: int, rng: np.random.Generator
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Draw orders of ranks, whose first ones take turns, and parts, which take turns for each rank."""
    n = own_ns.size
    turn = np.lexsort((rng.permutation(n), -own_ns))
    chain = np.arange(n_chain)
    first = turn[chain * n // n_chain if n_chain < n else chain % n]
    order = np.argsort(rng.random((n_chain, n)), axis=1)
    order[np.nonzero(order == first[:, None])] = order[:, 0]
    order[:, 0] = first
    parts = np.argsort(rng.random((n, N_PART)), axis=1)
    return order, parts[first, chain // n if n_chain >= n else 0]


def _sampled(
    k: int,
    duration: int,
    chains: tuple[NDArray[np.intp], NDArray[np.intp]],
    *,
    n_possible: int,
) -> Choices:
    order, part = chains
    n_chain, n = order.shape
    slow = np.zeros((n_chain, n), np.bool_)
    slow[np.arange(n_chain)[:, None], order[:, :k]] = True
    window = np.arange(N_PART) // duration == (part // duration)[:, None]
    member = (slow[:, :, None] & window[:, None, :]).reshape(n_chain, -1)
    packed = [row.tobytes() for row in np.packbits(member, axis=1)]
    place = {row: at for at, row in enumerate(dict.fromkeys(packed))}
    first = [packed.index(row) for row in place]
    number = np.array([place[row] for row in packed])
    return Choices(k, duration, member[first], number, n_possible)
