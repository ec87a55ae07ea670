"""The coupling matrix: how long each rank waited because of each other rank."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.diagnose.labels import compact
from loadpath.tables.results import COUPLING, COUPLING_GROUP
from loadpath.units import NS_PER_S

__all__ = [
    "BLOCK",
    "CauseBlock",
    "coupling_table",
    "group_table",
    "merged_causes",
    "nonzero_causes",
]

BLOCK = 512
"""Up to this many ranks every pair has a row; beyond, pairs that wait."""

_FILLED = pl.col("direct_s", "transitive_s").fill_null(0.0)
FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]


class CauseBlock(NamedTuple):
    """Entries of the matrix.

    Attributes
    ----------
    cause : (n_pair,) array of int64
        Rows of the rank table.
    waiter : (n_pair,) array of int64
        Who waited: rows of the rank table, groups that ranks wait in, or pairs of both.
    wait_ns : (n_pair,) array of float64
        Waiting of `waiter` that ends at `cause`, in ns.
    """

    cause: Int64Array
    waiter: Int64Array
    wait_ns: FloatArray


def nonzero_causes(matrix_ns: FloatArray, waiter: Int64Array) -> CauseBlock:
    """Keep what is not zero of a block of columns.

    Parameters
    ----------
    matrix_ns : (n_rank, n_waiter) array of float64
        Waiting by cause and waiter, in ns.
    waiter : (n_waiter,) array of int64
        Who waits in each column.

    Returns
    -------
    CauseBlock
        Its nonzero entries, by cause, then waiter.
    """
    cause, column = np.nonzero(matrix_ns)
    return CauseBlock(cause, waiter[column], matrix_ns[cause, column])


def merged_causes(blocks: Sequence[CauseBlock]) -> CauseBlock:
    """Add up what several blocks say of the same pairs.

    Parameters
    ----------
    blocks : sequence of CauseBlock
        At least one; a pair may stand several times.

    Returns
    -------
    CauseBlock
        Each pair once, by cause, then waiter: sums are the same on any number of threads.
    """
    cause, waiter, wait_ns = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    n_waiter = int(waiter.max(initial=0)) + 1
    pair, position = compact(cause * n_waiter + waiter)
    total = np.bincount(position, wait_ns, pair.size)
    return CauseBlock(*np.divmod(pair, n_waiter), total.astype(np.float64))


def coupling_table(rank: NDArray[np.int32], direct: CauseBlock, causes: CauseBlock) -> pl.DataFrame:
    """Make the coupling matrix of all ranks.

    Parameters
    ----------
    rank : (n_rank,) array of int32
        Rank numbers.
    direct : CauseBlock
        Exposed waiting beyond the bubble, by the rank that arrived last.
    causes : CauseBlock
        The same by the rank where the walk back ends.

    Returns
    -------
    polars.DataFrame
        Table `COUPLING`, by cause, then waiter; every pair up to `BLOCK` ranks, beyond only those
        that wait.

    Examples
    --------
    Rank 1 waits 2 s for rank 0, who was late because of rank 1:

    >>> one, two = np.array([0]), np.array([1])
    >>> direct, causes = (
    ...     CauseBlock(one, two, np.array([2e9])),
    ...     CauseBlock(two, two, np.array([2e9])),
    ... )
    >>> table = coupling_table(np.array([0, 1], np.int32), direct, causes)
    >>> table.filter(pl.col("waiter") == 1).rows()
    [(0, 1, 2.0, 0.0), (1, 1, 0.0, 2.0)]
    """
    n_rank = rank.size
    both = _both(n_rank, direct, causes)
    if n_rank <= BLOCK:
        every = pl.DataFrame({"pair": np.arange(n_rank * n_rank)})
        both = every.join(both, on="pair", how="left").with_columns(_FILLED).sort("pair")
    pair = both["pair"].to_numpy()
    return COUPLING.build(
        both.select(
            pl.Series("cause", rank[pair // n_rank]),
            pl.Series("waiter", rank[pair % n_rank]),
            "direct_s",
            "transitive_s",
        )
    )


def group_table(rank: NDArray[np.int32], direct: CauseBlock, causes: CauseBlock) -> pl.DataFrame:
    """Make the coupling matrix of ranks and communicators.

    Parameters
    ----------
    rank : (n_rank,) array of int32
        Rank numbers.
    direct : CauseBlock
        Exposed waiting beyond the bubble, by the rank that arrived last; ``waiter`` is 1 + the
        communicator, 0 for none.
    causes : CauseBlock
        The same by the rank where the walk back ends.

    Returns
    -------
    polars.DataFrame
        Table `COUPLING_GROUP`, by cause, then communicator; only pairs that wait.
    """
    n_group = 1 + max(int(block.waiter.max(initial=0)) for block in (direct, causes))
    both = _both(n_group, direct, causes)
    pair = both["pair"].to_numpy()
    return COUPLING_GROUP.build(
        both.select(
            pl.Series("cause", rank[pair // n_group]),
            pl.Series("communicator", pair % n_group - 1),
            "direct_s",
            "transitive_s",
        )
    )


def _both(n_waiter: int, direct: CauseBlock, causes: CauseBlock) -> pl.DataFrame:
    """Direct and transitive waiting of each pair that has either, by pair."""
    ours, theirs = (
        _pairs(n_waiter, block, name)
        for block, name in ((direct, "direct_s"), (causes, "transitive_s"))
    )
    joined = ours.join(theirs, on="pair", how="full", coalesce=True)
    return joined.with_columns(_FILLED).sort("pair")


def _pairs(n_waiter: int, block: CauseBlock, name: str) -> pl.DataFrame:
    cause, waiter, wait_ns = merged_causes([block])
    pairs = {"pair": cause * n_waiter + waiter, name: wait_ns / NS_PER_S}
    return pl.DataFrame(pairs).filter(pl.col(name) > 0)
