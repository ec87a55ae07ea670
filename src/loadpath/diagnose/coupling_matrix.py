"""The coupling matrix: how long each rank waited because of each other rank."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.tables.results import COUPLING
from loadpath.units import NS_PER_S

__all__ = ["BLOCK", "CauseBlock", "coupling_table", "merged_causes", "nonzero_causes"]

BLOCK = 512
"""Up to this many ranks every pair has a row; beyond, pairs that wait."""

FloatArray = NDArray[np.float64]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]


class CauseBlock(NamedTuple):
    """Nonzero entries of some columns of the matrix.

    Attributes
    ----------
    cause, waiter : (n_pair,) arrays of int64
        Rows of the rank table.
    wait_ns : (n_pair,) array of float64
        Waiting of `waiter` that ends at `cause`, in ns.
    """

    cause: Int64Array
    waiter: Int64Array
    wait_ns: FloatArray


def nonzero_causes(matrix_ns: FloatArray, first: int) -> CauseBlock:
    """Keep what is not zero of a block of columns.

    Parameters
    ----------
    matrix_ns : (n_rank, n_waiter) array of float64
        Waiting by cause and waiter, in ns.
    first : int
        Row of the rank table of the first waiter.

    Returns
    -------
    CauseBlock
        Its nonzero entries, by cause, then waiter.
    """
    cause, column = np.nonzero(matrix_ns)
    return CauseBlock(cause, column + first, matrix_ns[cause, column])


def merged_causes(blocks: Sequence[CauseBlock]) -> CauseBlock:
    """Add up what several blocks say of the same pairs.

    Parameters
    ----------
    blocks : sequence of CauseBlock
        At least one; a pair may stand several times.

    Returns
    -------
    CauseBlock
        Each pair once, by cause, then waiter.
    """
    cause, waiter, wait_ns = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    n_rank = int(waiter.max(initial=0)) + 1
    pair, position = np.unique(cause * n_rank + waiter, return_inverse=True)
    total = np.bincount(position, wait_ns, pair.size)
    return CauseBlock(pair // n_rank, pair % n_rank, np.asarray(total, np.float64))


def coupling_table(
    rank: NDArray[np.int32], direct: CauseBlock, transitive: CauseBlock
) -> pl.DataFrame:
    """Make the coupling matrix of all ranks.

    Parameters
    ----------
    rank : (n_rank,) array of int32
        Rank numbers.
    direct : CauseBlock
        Exposed wait beyond the bubble by the rank that arrived last; ranks are rows of `rank`, and
        each pair stands once.
    transitive : CauseBlock
        The same waiting by the rank where the walk back ends.

    Returns
    -------
    polars.DataFrame
        Table `COUPLING`, by cause, then waiter; every pair up to `BLOCK` ranks, beyond only those
        that wait.

    Examples
    --------
    Rank 1 waits 2 s for rank 0, who was late because of rank 1:

    >>> direct = nonzero_causes(np.array([[0.0, 2e9], [0.0, 0.0]]), 0)
    >>> ends = nonzero_causes(np.array([[0.0, 0.0], [0.0, 2e9]]), 0)
    >>> table = coupling_table(np.array([0, 1], np.int32), direct, ends)
    >>> table.filter(pl.col("waiter") == 1).rows()
    [(0, 1, 2.0, 0.0), (1, 1, 0.0, 2.0)]
    """
    n_rank = rank.size
    pairs = [block.cause * n_rank + block.waiter for block in (direct, transitive)]
    waits = [block.wait_ns > 0 for block in (direct, transitive)]
    shown = [pair[some] for pair, some in zip(pairs, waits, strict=True)]
    every = np.arange(n_rank * n_rank) if n_rank <= BLOCK else np.unique(np.concatenate(shown))
    seconds = np.zeros((2, every.size))
    for row, pair, block, some in zip(seconds, shown, (direct, transitive), waits, strict=True):
        row[np.searchsorted(every, pair)] = block.wait_ns[some] / NS_PER_S
    return COUPLING.build(
        {
            "cause": rank[every // n_rank],
            "waiter": rank[every % n_rank],
            "direct_s": seconds[0],
            "transitive_s": seconds[1],
        }
    )
