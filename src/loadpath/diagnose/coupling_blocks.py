r"""Blocks of the coupling matrix: ranks that wait for each other more than for others.

A division is measured by its modularity, the share of waiting within blocks less what blocks of the
same causes and waiters would have by chance,

.. math:: Q = \sum_b \left( \frac{W_{bb}}{W} - \frac{W_{b\cdot} W_{\cdot b}}{W^2} \right) .
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple import CoupledJob
from loadpath.diagnose.coupling_matrix import BLOCK
from loadpath.diagnose.labels import compact, numbered
from loadpath.diagnose.places import rank_index
from loadpath.tables.results import COUPLING_BLOCK

__all__ = ["coupling_blocks", "find_blocks", "modularity"]

ROUNDING = 1e-12
"""A gain in modularity below this is none."""

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]


class Modularity(NamedTuple):
    """How well a division fits.

    Attributes
    ----------
    ratio : float
        Modularity, below 1; 0 for blocks that chance would give, and where nobody waits.
    within_ratio : float
        Share of the waiting within blocks.
    """

    ratio: float
    within_ratio: float


def coupling_blocks(job: CoupledJob, coupling: pl.DataFrame) -> pl.DataFrame:
    """Divide the ranks by what is known of them, and by their waits, and measure each division.

    Parameters
    ----------
    job : CoupledJob
        Coupled job.
    coupling : polars.DataFrame
        Table `COUPLING`.

    Returns
    -------
    polars.DataFrame
        Table `COUPLING_BLOCK`, the best division first; divisions into one block are left out, and
        ``found`` for more than `BLOCK` ranks. Empty where nobody waits for another.
    """
    rank = job.rank["rank"].to_numpy()
    between = coupling.filter((pl.col("cause") != pl.col("waiter")) & (pl.col("transitive_s") > 0))
    if between.is_empty():
        return COUPLING_BLOCK.empty()
    row_of = dict(zip(rank.tolist(), range(rank.size), strict=True))
    cause, waiter = (
        between[name].replace_strict(row_of, return_dtype=pl.Int64).to_numpy()
        for name in ("cause", "waiter")
    )
    seconds = between["transitive_s"].to_numpy()
    divisions = _known(job)
    if rank.size <= BLOCK:
        matrix = np.zeros((rank.size, rank.size))
        np.add.at(matrix, (cause, waiter), seconds)
        divisions = {**divisions, "found": find_blocks(matrix)}
    rows = []
    for by, block in divisions.items():
        fit = modularity(block, (cause, waiter), seconds)
        rows.append((by, rank, block, np.full(rank.size, fit.ratio), np.full(rank.size, fit[1])))
    rows.sort(key=lambda row: (-row[3][0], row[0]))
    columns = COUPLING_BLOCK.schema
    parts = [pl.DataFrame(dict(zip(columns, row, strict=True))) for row in rows if row[2].max() > 0]
    return COUPLING_BLOCK.build(pl.concat(parts)) if parts else COUPLING_BLOCK.empty()


def modularity(
    block: Int64Array, pair: tuple[Int64Array, Int64Array], seconds: FloatArray
) -> Modularity:
    """Measure a division of the ranks.

    Parameters
    ----------
    block : (n_rank,) array of int64
        Block of each rank.
    pair : pair of (n_pair,) arrays of int64
        Cause and waiter.
    seconds : (n_pair,) array of float64
        Waiting of each pair.

    Returns
    -------
    Modularity
        Its fit.

    References
    ----------
    .. [1] E. A. Leicht, M. E. J. Newman, "Community structure in directed networks", Physical
       Review Letters 100, 118703, 2008.

    Examples
    --------
    Two pairs of ranks, each waiting only for its own:

    >>> one, two = np.array([0, 1, 2, 3]), np.array([1, 0, 3, 2])
    >>> modularity(np.array([0, 0, 1, 1]), (one, two), np.ones(4))
    Modularity(ratio=0.5, within_ratio=1.0)
    """
    cause, waiter = (block[side] for side in pair)
    total = seconds.sum()
    if total <= 0:
        return Modularity(0.0, 0.0)
    within = float(seconds[cause == waiter].sum() / total)
    n_block = int(block.max()) + 1
    out, into = (np.bincount(side, seconds, n_block) / total for side in (cause, waiter))
    return Modularity(within - float(out @ into), within)


def find_blocks(matrix: FloatArray) -> Int64Array:
    """Join ranks to blocks, best pair first, as long as that raises the modularity.

    Parameters
    ----------
    matrix : (n_rank, n_rank) array of float64
        Waiting by cause and waiter.

    Returns
    -------
    (n_rank,) array of int64
        Block of each rank, numbered from that of the first rank.

    References
    ----------
    .. [1] A. Clauset, M. E. J. Newman, C. Moore, "Finding community structure in very large
       networks", Physical Review E 70, 066111, 2004.

    Examples
    --------
    >>> find_blocks(np.kron(np.eye(2), np.array([[0.0, 3.0], [2.0, 0.0]])))
    array([0, 0, 1, 1])
    """
    total = matrix.sum()
    block = np.arange(len(matrix))
    if total <= 0:
        return block
    chance = np.outer(matrix.sum(axis=1), matrix.sum(axis=0)) / total**2
    gain = (matrix / total - chance) + (matrix / total - chance).T
    np.fill_diagonal(gain, -np.inf)
    for _ in range(len(matrix) - 1):
        low, high = np.unravel_index(int(gain.argmax()), gain.shape)
        if gain[low, high] <= ROUNDING:
            break
        block[block == high] = low
        gain[low] = gain[:, low] = gain[low] + gain[high]
        gain[high] = gain[:, high] = -np.inf
    return compact(block)[1].astype(np.int64)


def _known(job: CoupledJob) -> Mapping[str, Int64Array]:
    """Divisions that the record tells: by stage, replica, host, rack."""
    known = {}
    for name in ("stage", "replica"):
        place = np.zeros(job.rank.height, np.int64)
        place[rank_index(job)] = job.op[name].to_numpy()
        known[name] = compact(place)[1]
    for name in ("host", "rack"):
        if not (job.rank[name] == "").any():
            known[name] = numbered(job.rank[name])[0]
    return {name: block.astype(np.int64) for name, block in known.items()}
