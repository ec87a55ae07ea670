"""Ends that were written when somebody looked, not when they happened.

Durations stay exact, and with them every difference between ranks. What lies between two ends is
then estimated: the work of the middle rank is taken to be the same in every cycle.
"""

import numpy as np
import polars as pl

from loadpath.couple.logged.cycles import Cycles

__all__ = ["level_ends"]


def level_ends(call: pl.DataFrame, of_all: pl.DataFrame, cycles: Cycles) -> pl.DataFrame | None:
    """Space the ends of a log's communications by what cycles have in common.

    Parameters
    ----------
    call : polars.DataFrame
        Calls of `Ends`.
    of_all : polars.DataFrame
        Those in which all ranks take part, as `calls_of_all` lists them.
    cycles : Cycles
        Their cycles.

    Returns
    -------
    polars.DataFrame or None
        The calls from the first border to the last, which stay; None where there are no cycles, or
        communications of some ranks only, whose ends would not move along.
    """
    if not cycles.length or call["instance"].n_unique() > of_all.height:
        return None
    first = int(np.flatnonzero(of_all["end_ns"].to_numpy() == cycles.border_ns[0])[-1])
    part = of_all[first : first + (cycles.border_ns.size - 1) * cycles.length + 1]
    end, middle = part["end_ns"].to_numpy(), part["middle_ns"].to_numpy()[1:]
    phase = np.arange(middle.size) % cycles.length
    mean = np.bincount(phase, np.diff(end) - middle) / np.bincount(phase)
    # a middle rank cannot have worked for less than no time
    spacing = np.maximum(mean, 0.0)[phase] + middle
    placed = end[0] + np.cumsum(spacing * ((end[-1] - end[0]) / max(spacing.sum(), 1.0)))
    moved = part[1:].select("instance", by=pl.Series(np.rint(placed).astype(np.int64) - end[1:]))
    inside = call.join(moved, on="instance", how="inner", maintain_order="left")
    border = call.filter(pl.col("instance") == part["instance"][0])
    kept = pl.concat([border.with_columns(by=pl.lit(0, pl.Int64)), inside])
    levelled = kept.with_columns(pl.col("start_ns", "end_ns") + pl.col("by")).drop("by")
    return levelled.sort("rank", "end_ns", "instance")
