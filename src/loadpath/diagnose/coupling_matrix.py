"""The coupling matrix: how long each rank waited because of each other rank."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.tables.results import COUPLING, COUPLING_GROUP
from loadpath.units import NS_PER_S

__all__ = ["BLOCK", "CauseBlock", "coupling_table", "group_table", "nonzero_causes"]

BLOCK = 512
"""Up to this many ranks every pair has a row; beyond, pairs that wait."""

_FILLED = pl.col("direct_s", "transitive_s").fill_null(0.0)
FloatArray = NDArray[np.float64]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]


class CauseBlock(NamedTuple):
    """Nonzero entries of some columns of the matrix.

    Attributes
    ----------
    cause : (n_pair,) array of int64
        Rows of the rank table.
    waiter : (n_pair,) array of int64
        Who waited: rows of the rank table, or groups that ranks wait in.
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


def coupling_table(
    rank: NDArray[np.int32],
    last_and_waiter: tuple[Int32Array, Int32Array | Int64Array],
    wait_ns: FloatArray,
    causes: Sequence[CauseBlock],
) -> pl.DataFrame:
    """Make the coupling matrix of all ranks.

    Parameters
    ----------
    rank : (n_rank,) array of int32
        Rank numbers.
    last_and_waiter : pair of (n_wait,) arrays of int64
        For each wait the rank that arrived last and the one that waited, as rows of `rank`.
    wait_ns : (n_wait,) array of float64
        Exposed wait beyond the bubble, in ns.
    causes : sequence of CauseBlock
        Waiting by the rank where the walk back ends.

    Returns
    -------
    polars.DataFrame
        Table `COUPLING`, by cause, then waiter; every pair up to `BLOCK` ranks, beyond only those
        that wait.

    Examples
    --------
    Rank 1 waits 2 s for rank 0, who was late because of rank 1:

    >>> one, two = np.array([0]), np.array([1])
    >>> block = nonzero_causes(np.array([[0.0, 0.0], [0.0, 2e9]]), np.arange(2))
    >>> table = coupling_table(np.array([0, 1], np.int32), (one, two), np.array([2e9]), [block])
    >>> table.filter(pl.col("waiter") == 1).rows()
    [(0, 1, 2.0, 0.0), (1, 1, 0.0, 2.0)]
    """
    n_rank = rank.size
    both = _both(n_rank, last_and_waiter, wait_ns, causes)
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


def group_table(
    rank: NDArray[np.int32],
    last_and_group: tuple[Int32Array, Int64Array],
    wait_ns: FloatArray,
    causes: Sequence[CauseBlock],
) -> pl.DataFrame:
    """Make the coupling matrix of ranks and communicators.

    Parameters
    ----------
    rank : (n_rank,) array of int32
        Rank numbers.
    last_and_group : pair of (n_wait,) arrays of int64
        For each wait the rank that arrived last, as row of `rank`, and 1 + the communicator, 0 for
        none.
    wait_ns : (n_wait,) array of float64
        Exposed wait beyond the bubble, in ns.
    causes : sequence of CauseBlock
        Waiting by the rank where the walk back ends; ``waiter`` is 1 + the communicator.

    Returns
    -------
    polars.DataFrame
        Table `COUPLING_GROUP`, by cause, then communicator; only pairs that wait.
    """
    waited = [last_and_group[1], *(block.waiter for block in causes)]
    n_group = 1 + max(int(group.max(initial=0)) for group in waited)
    both = _both(n_group, last_and_group, wait_ns, causes)
    pair = both["pair"].to_numpy()
    return COUPLING_GROUP.build(
        both.select(
            pl.Series("cause", rank[pair // n_group]),
            pl.Series("communicator", pair % n_group - 1),
            "direct_s",
            "transitive_s",
        )
    )


def _both(
    n_waiter: int,
    last_and_waiter: tuple[Int32Array, Int32Array | Int64Array],
    wait_ns: FloatArray,
    causes: Sequence[CauseBlock],
) -> pl.DataFrame:
    """Direct and transitive waiting of each pair that has either, by pair."""
    last, waiter = last_and_waiter
    direct = _pairs(last.astype(np.int64) * n_waiter + waiter, wait_ns, "direct_s")
    transitive = _pairs(
        np.concatenate([block.cause * n_waiter + block.waiter for block in causes]),
        np.concatenate([block.wait_ns for block in causes]),
        "transitive_s",
    )
    joined = direct.join(transitive, on="pair", how="full", coalesce=True)
    return joined.with_columns(_FILLED).sort("pair")


def _pairs(pair: Int64Array, wait_ns: FloatArray, name: str) -> pl.DataFrame:
    """Sum by pair, in the order of the rows: sums are then the same on any number of threads."""
    unique, position = np.unique(pair, return_inverse=True)
    total = np.bincount(position, weights=wait_ns, minlength=unique.size) / NS_PER_S
    return pl.DataFrame({"pair": unique.astype(np.int64), name: total}).filter(pl.col(name) > 0)
