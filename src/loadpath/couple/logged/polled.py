"""Ends that were written when somebody looked, not when they happened.

Durations stay exact, and with them every difference between ranks. What lies between two ends is
then estimated: the work of the middle rank is taken to be the same in every cycle.
"""

import numpy as np
import polars as pl

from loadpath.couple.logged.cycles import Cycles

__all__ = ["level_ends"]


def level_ends(call: pl.DataFrame, cycles: Cycles) -> pl.DataFrame | None:
    """Space the ends of a log's communications by what cycles have in common.

    Parameters
    ----------
    call : polars.DataFrame
        Calls of `Ends`.
    cycles : Cycles
        Its cycles.

    Returns
    -------
    polars.DataFrame or None
        The same calls from the first border to the last, which stay; None where there are no
        cycles, or communications of other groups too, whose ends would not move along.
    """
    if not cycles.length or call["group"].n_unique() > 1 or (call["what"] == "message").any():
        return None
    first, last = int(cycles.border_ns[0]), int(cycles.border_ns[-1])
    inside = call.filter((pl.col("end_ns") > first) & (pl.col("end_ns") <= last))
    took = pl.col("end_ns") - pl.col("start_ns")
    of = inside.group_by("instance").agg(
        pl.col("sequence").first(), end=pl.col("end_ns").max(), middle=took.median()
    ).sort("sequence")  # fmt: skip
    end = of["end"].to_numpy()
    middle = of["middle"].to_numpy()
    phase = np.arange(end.size) % cycles.length
    between = np.diff(end, prepend=first) - middle
    mean = np.bincount(phase, between) / np.bincount(phase)
    # a middle rank cannot have worked for less than no time
    spacing = np.maximum(mean, 0.0)[phase] + middle
    placed = first + np.cumsum(spacing * (last - first) / spacing.sum())
    moved = of.select("instance", by=pl.Series(np.rint(placed).astype(np.int64) - end))
    joined = inside.join(moved, on="instance", how="left", maintain_order="left")
    return joined.with_columns(pl.col("start_ns", "end_ns") + pl.col("by")).drop("by")
