"""A schedule: what the ranks of a job are to do, without any time but that of computations."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ANY", "CALC", "RECV", "SEND", "Schedule"]

SEND, RECV, CALC = 1, 2, 3
"""Kinds of ops; ops of one rank that become free at once are issued in this order."""

ANY = -1
"""Peer or tag of a receive that takes any."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Ops of all ranks and what they require; there is no other order between them.

    Attributes
    ----------
    name : str
        Name of the file, without folders.
    rank_start : (n_rank + 1,) array of int64
        Where the ops of each rank begin.
    kind : (n_op,) array of uint8
        `SEND`, `RECV` or `CALC`.
    size : (n_op,) array of int64
        Length of a computation in ns, else bytes of the message.
    peer : (n_op,) array of int32
        Other rank of a send or receive, or `ANY`; own rank of a computation.
    tag : (n_op,) array of int64
        Tag of a send or receive, or `ANY`; 0 of a computation.
    cpu, nic : (n_op,) arrays of uint8
        Which processor and network interface of the rank is used.
    edge_source, edge_target : (n_edge,) arrays of int32
        The target requires the source; in the order in which the file says so.
    edge_on_start : (n_edge,) array of bool
        Whether the source need only have started, not have ended.
    line : (n_op,) array of int32
        Line of the file that says so; 0 in a binary file.
    inputs : tuple of (str, str, int)
        Name, SHA-256 and size in bytes of the file.
    """

    name: str
    rank_start: NDArray[np.int64]
    kind: NDArray[np.uint8]
    size: NDArray[np.int64]
    peer: NDArray[np.int32]
    tag: NDArray[np.int64]
    cpu: NDArray[np.uint8]
    nic: NDArray[np.uint8]
    edge_source: NDArray[np.int32]
    edge_target: NDArray[np.int32]
    edge_on_start: NDArray[np.bool_]
    line: NDArray[np.int32]
    inputs: tuple[tuple[str, str, int], ...] = ()

    @property
    def n_rank(self) -> int:
        """Number of ranks."""
        return int(self.rank_start.size - 1)

    @property
    def n_op(self) -> int:
        """Number of ops of all ranks."""
        return int(self.kind.size)

    @property
    def rank(self) -> NDArray[np.int32]:
        """Rank of each op."""
        ranks = np.arange(self.n_rank, dtype=np.int32)
        return np.repeat(ranks, np.diff(self.rank_start))
