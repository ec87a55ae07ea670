"""Schedules of collectives and of a stencil, as GOAL text."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from loadpath.errors import UsageError

__all__ = ["all_to_all", "dissemination", "recursive_doubling", "ring", "stencil"]

Exchange = tuple[int, int, int]
"""Rank to send to, rank to receive from, bytes."""
HALO_BYTES = 1024
"""What neighbours in a stencil exchange."""


def dissemination(n_rank: int, n_bytes: int) -> str:
    """Write a dissemination barrier: in round k, rank r sends to r + 2^k and receives from r - 2^k.

    Parameters
    ----------
    n_rank : int
        Number of ranks.
    n_bytes : int
        Bytes of a message.

    Returns
    -------
    str
        GOAL text.

    Examples
    --------
    >>> print(dissemination(2, 8).partition("}")[0])
    num_ranks 2
    rank 0 {
    l1: send 8b to 1 tag 0
    l2: recv 8b from 1 tag 0
    <BLANKLINE>
    """
    hops = [1 << k for k in range(max(0, n_rank - 1).bit_length())]

    def rounds(rank: int) -> Iterable[Exchange]:
        return (((rank + hop) % n_rank, (rank - hop) % n_rank, n_bytes) for hop in hops)

    return _exchanges(n_rank, rounds)


def recursive_doubling(n_rank: int, n_bytes: int) -> str:
    """Write an all-reduce that halves what is exchanged while doubling the distance, and back.

    Parameters
    ----------
    n_rank : int
        Number of ranks, a power of 2.
    n_bytes : int
        Bytes that are reduced, at least one for each rank.

    Returns
    -------
    str
        GOAL text.

    Raises
    ------
    UsageError
        If the number of ranks is no power of 2.
    """
    if n_rank & (n_rank - 1) or n_rank < 1:
        raise UsageError(f"{n_rank} ranks are no power of 2. Give 2, 4, 8, ...")
    there = [(1 << k, n_bytes >> (k + 1)) for k in range(n_rank.bit_length() - 1)]

    def rounds(rank: int) -> Iterable[Exchange]:
        return ((rank ^ hop, rank ^ hop, size) for hop, size in [*there, *reversed(there)])

    return _exchanges(n_rank, rounds)


def ring(n_rank: int, n_bytes: int) -> str:
    """Write a ring all-reduce: 2 (n - 1) rounds, each to the next rank.

    Parameters
    ----------
    n_rank : int
        Number of ranks.
    n_bytes : int
        Bytes of a message.

    Returns
    -------
    str
        GOAL text.
    """

    def rounds(rank: int) -> Iterable[Exchange]:
        return [((rank + 1) % n_rank, (rank - 1) % n_rank, n_bytes)] * (2 * (n_rank - 1))

    return _exchanges(n_rank, rounds)


def all_to_all(n_rank: int, n_bytes: int) -> str:
    """Write an all-to-all whose sends and receives require nothing: their order is a race.

    Parameters
    ----------
    n_rank : int
        Number of ranks.
    n_bytes : int
        Bytes of a message.

    Returns
    -------
    str
        GOAL text.
    """
    return _text(
        [f"send {n_bytes}b to {(rank + k) % n_rank} tag 0" for k in range(1, n_rank)]
        + [f"recv {n_bytes}b from {(rank - k) % n_rank} tag 0" for k in range(1, n_rank)]
        for rank in range(n_rank)
    )


def stencil(
    n_rank: int,
    n_iteration: int,
    calc_ns: int,
    *,
    slow: Mapping[int, float] | None = None,
    jitter: float = 0.0,
    seed: int = 0,
) -> str:
    """Write a stencil in one dimension: each rank computes, then exchanges with both neighbours.

    Parameters
    ----------
    n_rank, n_iteration : int
        Ranks, on a ring, and iterations.
    calc_ns : int
        Length of a computation, in ns.
    slow : mapping of int to float, optional
        Ranks and by which factor they compute longer.
    jitter : float
        Standard deviation of the lengths of computations, relative.
    seed : int
        Seed of the jitter.

    Returns
    -------
    str
        GOAL text.
    """
    rng = np.random.default_rng(seed)
    varied = calc_ns * np.maximum(0.1, 1 + jitter * rng.standard_normal((n_rank, n_iteration)))
    return _text(
        _stencil_rank((rank - 1) % n_rank, (rank + 1) % n_rank, row * (slow or {}).get(rank, 1.0))
        for rank, row in enumerate(varied)
    )  # fmt: skip


def _stencil_rank(left: int, right: int, calc_ns: Iterable[float]) -> list[str]:
    lines = []
    for i, length in enumerate(calc_ns):
        lines.append(f"c{i}: calc {round(length)}")
        lines += [f"c{i} requires {side}{i - 1}" for side in "rs" if i]
        for k, (way, back) in enumerate(((left, right), (right, left))):
            lines += [f"x{i}_{k}: send {HALO_BYTES}b to {way} tag {k}", f"x{i}_{k} requires c{i}"]
            lines += [f"{'rs'[k]}{i}: recv {HALO_BYTES}b from {back} tag {k}"]
            lines += [f"{'rs'[k]}{i} requires c{i}"]
    return lines


def _exchanges(n_rank: int, rounds: Callable[[int], Iterable[Exchange]]) -> str:
    """Write rounds of one send and one receive; a send requires the receive of the round before."""
    return _text(_exchange_rank(rounds(rank)) for rank in range(n_rank))


def _exchange_rank(rounds: Iterable[Exchange]) -> list[str]:
    lines = []
    for k, (target, source, n_bytes) in enumerate(rounds):
        lines.append(f"l{2 * k + 1}: send {n_bytes}b to {target} tag 0")
        lines += [f"l{2 * k + 1} requires l{2 * k}"] if k else []
        lines.append(f"l{2 * k + 2}: recv {n_bytes}b from {source} tag 0")
    return lines


def _text(ranks: Iterable[list[str]]) -> str:
    blocks = [
        "".join(f"{line}\n" for line in (f"rank {rank} {{", *lines, "}"))
        for rank, lines in enumerate(ranks)
    ]
    return f"num_ranks {len(blocks)}\n" + "".join(blocks)
