"""Collectives fitted to measured times: latency by depth or hops, bytes by bandwidth."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import InputError
from loadpath.forecast.least_squares import Fit, fit_parts
from loadpath.units import NS_PER_S

__all__ = [
    "BULK_BYTES",
    "FORMS",
    "CollectiveFit",
    "fit_collective",
    "usable_points",
]

Array = NDArray[np.float64]
BULK_BYTES = 16 << 20
"""From here on NCCL moves bulk (Simple protocol); smaller sizes are fitted apart."""
VOLUME = {"all_reduce": 2.0, "all_gather": 1.0, "reduce_scatter": 1.0}
"""Times (n - 1) / n of its size a rank sends; an all-to-all sends each peer its part, others all."""
FEW_NODE_COUNTS = 3
"""Below this many node counts the form is chosen by sizes left out, else by node counts."""


def _tree(sent: Array, ranks: Array, nodes: Array) -> Array:
    depth = np.log2(nodes) + 0 * ranks
    return np.stack([np.ones_like(sent), depth, sent, np.sqrt(sent * (1 + depth))], axis=-1)


def _ring(sent: Array, ranks: Array, nodes: Array) -> Array:
    return np.stack([np.ones_like(sent), ranks - 1 + 0 * nodes, sent, np.sqrt(sent)], axis=-1)


FORMS: dict[str, Callable[[Array, Array, Array], Array]] = {"tree": _tree, "ring": _ring}
"""Parts of the time of a collective by algorithm, from bytes a rank sends, ranks and nodes."""


@dataclass(frozen=True, slots=True)
class CollectiveFit:
    """One collective on one group shape.

    Attributes
    ----------
    collective : str
        What was measured.
    n_rank_per_node : int
        Ranks on each node.
    form : str
        A key of `FORMS`.
    small, bulk : Fit
        Seconds per unit of each part below `BULK_BYTES`, and from there on.
    n_node : tuple of int
        Node counts measured; beyond them is extrapolation.
    """

    collective: str
    n_rank_per_node: int
    form: str
    small: Fit
    bulk: Fit
    n_node: tuple[int, ...]

    def time_s(self, size_bytes: ArrayLike, n_rank: ArrayLike) -> Array:
        """Predict the time.

        Parameters
        ----------
        size_bytes, n_rank : array_like
            Size of the collective and ranks; broadcast against each other.

        Returns
        -------
        ndarray of float
            Seconds.
        """
        size, parts = self._parts(size_bytes, n_rank)
        small, bulk = (parts @ fit.coefficients for fit in (self.small, self.bulk))
        return np.where(size >= BULK_BYTES, bulk, small)

    def band_factor(self, size_bytes: ArrayLike, n_rank: ArrayLike, level: float = 0.9) -> Array:
        """Say by which factor the time may be off.

        Parameters
        ----------
        size_bytes, n_rank : array_like
            As in `time_s`.
        level : float
            Share of times that lie within time / factor to time x factor.

        Returns
        -------
        ndarray of float
            Factors; infinite where too little was measured to tell, as beyond the measured node
            counts where there are fewer than three.
        """
        size, parts = self._parts(size_bytes, n_rank)
        small, bulk = (fit.band_factor(parts, level) for fit in (self.small, self.bulk))
        nodes = np.asarray(n_rank) / self.n_rank_per_node
        is_known = (nodes >= min(self.n_node)) & (nodes <= max(self.n_node))
        is_known |= len(self.n_node) >= FEW_NODE_COUNTS
        return np.where(is_known, np.where(size >= BULK_BYTES, bulk, small), np.inf)

    def _parts(self, size_bytes: ArrayLike, n_rank: ArrayLike) -> tuple[Array, Array]:
        size, ranks = np.broadcast_arrays(np.asarray(size_bytes, float), np.asarray(n_rank, float))
        sent = _sent_bytes(self.collective, size, ranks, self.n_rank_per_node)
        nodes = np.maximum(ranks / self.n_rank_per_node, 1.0)
        return size, FORMS[self.form](sent, ranks, nodes)


def usable_points(points: pl.DataFrame) -> pl.DataFrame:
    """Leave out what tells nothing of a collective: wrong values, what is there twice, uneven nodes.

    Parameters
    ----------
    points : polars.DataFrame
        Table `COLLECTIVE_POINT`.

    Returns
    -------
    polars.DataFrame
        Without times of wrong values, in-place ones where there are both, and ranks that do not
        spread evenly over nodes.
    """
    return points.filter(
        ~pl.col("in_place") | pl.col("in_place").all().over("collective", "n_rank", "n_node"),
        pl.col("n_wrong").fill_null(0) == 0,
        pl.col("n_rank") % pl.col("n_node") == 0,
    )


def fit_collective(points: pl.DataFrame) -> CollectiveFit:
    """Fit one collective on one group shape; the form is the one that predicts what is left out.

    Parameters
    ----------
    points : polars.DataFrame
        Rows of table `COLLECTIVE_POINT` with one collective and one number of ranks per node, all on
        one node or all on several.

    Returns
    -------
    CollectiveFit
        With the errors that its form made on node counts (or sizes) left out.

    Raises
    ------
    InputError
        If there are no points, several collectives or shapes, or times that are not above 0.
    """
    problems = _problems(points)
    if problems:
        remedy = "Give times above 0 of one collective with equally many ranks on each node."
        raise InputError("measured collectives", problems, remedy)
    tried = {form: _fit(points, form) for form in FORMS}
    return min(tried.values(), key=lambda fit: _score(fit.bulk.errors))


def _problems(points: pl.DataFrame) -> list[str]:
    if points.is_empty():
        return ["no points"]
    uneven = points.filter(pl.col("n_rank") % pl.col("n_node") != 0).height
    shapes = points.select((pl.col("n_rank") / pl.col("n_node")).n_unique()).item()
    bad = points.filter((pl.col("duration_ns") <= 0) | (pl.col("bytes") <= 0)).height
    checks = {
        f"{points['collective'].n_unique()} collectives": points["collective"].n_unique() > 1,
        f"{uneven} points whose ranks do not spread evenly over nodes": bool(uneven),
        f"{shapes} numbers of ranks per node": shapes > 1,
        "groups of one node and of several": (points["n_node"] > 1).n_unique() > 1,
        f"{bad} sizes or times that are not above 0": bool(bad),
    }
    return [text for text, is_wrong in checks.items() if is_wrong]


def _fit(points: pl.DataFrame, form: str) -> CollectiveFit:
    collective = str(points["collective"][0])
    per_node = int(points["n_rank"][0]) // int(points["n_node"][0])
    size, ranks, nodes = (
        points[name].cast(pl.Float64).to_numpy() for name in ("bytes", "n_rank", "n_node")
    )
    times = points["duration_ns"].to_numpy() / NS_PER_S
    parts = FORMS[form](_sent_bytes(collective, size, ranks, per_node), ranks, nodes)
    counts = np.unique(nodes)
    groups = nodes if len(counts) >= FEW_NODE_COUNTS else size
    ranges = [part if part.any() else ~part for part in (size < BULK_BYTES, size >= BULK_BYTES)]
    small, bulk = (fit_parts(parts[r], times[r], groups[r].tolist()) for r in ranges)
    measured = tuple(int(count) for count in counts)
    return CollectiveFit(collective, per_node, form, small, bulk, measured)


def _score(errors: Array) -> float:
    """Median size of the errors on what was left out; equal scores keep the first form."""
    return float(np.round(np.median(np.abs(errors)), 9))


def _sent_bytes(collective: str, size: Array, ranks: Array, per_node: int) -> Array:
    """Bytes that one rank sends; of an all-to-all across nodes only what leaves the node."""
    if collective == "all_to_all":
        here = np.where(ranks > per_node, float(per_node), 1.0)
        return size * (ranks - here) / ranks
    return VOLUME[collective] * size * (ranks - 1) / ranks if collective in VOLUME else size
