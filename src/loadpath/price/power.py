"""Power of nodes between idle and busy, learnt from runs on one node."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import InputError

__all__ = ["IDLE_SHARE", "NodePower", "fit_node_power"]

IDLE_SHARE = 0.5
"""Readings under this share of the highest are taken for a node that does not work."""
REMEDY = "Give at least one run on one node with its mean, lowest and highest power."


@dataclass(frozen=True, slots=True)
class NodePower:
    """Power of one node.

    Attributes
    ----------
    idle_w : float
        While no accelerator of it works, W.
    busy_w : float
        While all work as in the runs on one node, W.
    """

    idle_w: float
    busy_w: float

    def power_w(
        self, busy_ratio: ArrayLike, n_node: ArrayLike = 1, fabric_w: ArrayLike = 0.0
    ) -> NDArray[np.float64]:
        """Predict the power of a job.

        Parameters
        ----------
        busy_ratio : array_like
            Share of the throughput per accelerator of a run on one node; 1 is as busy as that.
        n_node : array_like
            Nodes.
        fabric_w : array_like
            Power of switches and links, W.

        Returns
        -------
        ndarray of float
            W.

        Examples
        --------
        >>> NodePower(3000.0, 7000.0).power_w([1.0, 0.5], n_node=8).tolist()
        [56000.0, 40000.0]
        """
        ratio = np.clip(np.asarray(busy_ratio, dtype=np.float64), 0.0, 1.0)
        node = self.idle_w + (self.busy_w - self.idle_w) * ratio
        return np.asarray(np.asarray(n_node) * node + np.asarray(fabric_w), dtype=np.float64)


def fit_node_power(runs: pl.DataFrame) -> dict[str, NodePower]:
    """Learn the power of a kind of node from runs on one of them.

    Parameters
    ----------
    runs : polars.DataFrame
        One row per run with ``benchmark``, ``mean_w``, ``low_w`` (first percentile) and ``high_w`` (highest
        reading).

    Returns
    -------
    dict of str to NodePower
        By benchmark, and under ``""`` their mean for work that never ran on one node. Idle power is common
        to all: the mean over benchmarks of their lowest power, where it is under `IDLE_SHARE` of the
        highest; where none is, the lowest power of all stands for it, an upper bound.

    Raises
    ------
    InputError
        If there are no runs, or a power is not above 0.
    """
    problems = []
    if runs.is_empty():
        problems.append("no runs on one node")
    if runs.filter(pl.any_horizontal(pl.col("mean_w", "low_w", "high_w") <= 0)).height:
        problems.append("a power that is not above 0")
    if problems:
        raise InputError("power of nodes", problems, REMEDY)
    by_work = runs.group_by("benchmark", maintain_order=True).agg(
        pl.col("mean_w", "low_w").median(), pl.col("high_w").max()
    )
    is_idle = pl.col("low_w") < IDLE_SHARE * pl.col("high_w").max()
    seen = by_work.filter(is_idle)
    idle = float((seen if seen.height else by_work.filter(pl.col("low_w") == pl.col("low_w").min()))
                 ["low_w"].to_numpy().mean())  # fmt: skip
    fitted = {name: NodePower(idle, busy) for name, busy, *_ in by_work.iter_rows()}
    return {**fitted, "": NodePower(idle, float(by_work["mean_w"].to_numpy().mean()))}
