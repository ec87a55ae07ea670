"""Ranks recorded at another time than the others: one run on clocks that err, or another run."""

import numpy as np
import polars as pl

from loadpath.couple.trace.alignment import Aligned
from loadpath.couple.trace.clock_hosts import NEAR_NS
from loadpath.couple.trace.collectives import LEAST_TOLERANCE_NS
from loadpath.tables import Recording
from loadpath.units import format_seconds

__all__ = ["run_doubts"]

FAR_NS = 60 * 10**9
"""No clock that a network sets is off by a minute."""
LEAST_EPOCH_NS = 10**18
"""Times before September 2001 count from no epoch: from the boot of a host, or from zero."""
SHOWN = 4


def run_doubts(recording: Recording, aligned: Aligned) -> list[tuple[str, str, int]]:
    """Say which ranks were recorded at another time than the others.

    Parameters
    ----------
    recording : Recording
        Steps of all ranks, with times as recorded.
    aligned : Aligned
        The same ranks on one clock.

    Returns
    -------
    list of (str, str, int)
        Code, text and count of each doubt.

    Notes
    -----
    Ranks over a minute away are of the same run only if, once their clocks are set, their
    communications end as those of the others do: the middle one of their ends lies as near to the
    middle of the others' as twice what these lie apart, or 25 us (100 us where threads mark ends).
    Durations of two runs differ by more. Where they do not fit, or nothing tells, the traces are of
    different runs.
    """
    far = _far_ranks(recording)
    if not far:
        return []
    shown = list(far.items())[:SHOWN]
    listed = ", ".join(f"rank {rank} by {format_seconds(ns / 1e9)}" for rank, ns in shown)
    listed += ", ..." if len(far) > SHOWN else ""
    if _fit(aligned, list(far)):
        text = (
            f"clocks over a minute away from the others ({listed}): their communications fit, so "
            "they are taken as one run on clocks that err"
        )
        return [("clocks_far", text, len(far))]
    text = (
        f"ranks recorded at another time than the others ({listed}), and their communications do not "
        "fit: traces of different runs, across which nothing is concluded; give those of one run"
    )
    return [("other_run", text, len(far))]


def _fit(aligned: Aligned, far: list[int]) -> bool:
    """Say whether communications of far ranks end when those of the others do."""
    parts = np.unique(aligned.clocks.part)
    if aligned.timed.instances.is_refused or aligned.faults or parts.size > 1:
        return False
    first = pl.col("end").min().over("instance")
    met = aligned.member.filter("one_moment", "waits").with_columns(
        is_far=pl.col("rank").is_in(far), end=pl.col("end") - first
    )
    near = pl.col("end").filter(~pl.col("is_far"))
    ends = met.with_columns(
        gap=(pl.col("end") - near.median().over("instance")).abs(), n=near.len().over("instance")
    )
    usual = ends.filter(~pl.col("is_far") & (pl.col("n") > 1))["gap"].median()
    least = LEAST_TOLERANCE_NS if ends["threaded"].any() else NEAR_NS
    limit = max(least, 2 * usual) if isinstance(usual, float) else least
    gaps = ends.filter("is_far", pl.col("n") > 0).group_by("rank").agg(pl.col("gap").median())
    return bool((gaps["gap"] <= limit).all())


def _far_ranks(recording: Recording) -> dict[int, int]:
    """Ranks apart from the largest set that was recorded together, and how far they are, in ns."""
    span = (
        recording.step.group_by("rank")
        .agg(pl.col("start_ns").min(), pl.col("end_ns").max())
        .filter(pl.col("start_ns") > LEAST_EPOCH_NS)
        .sort("start_ns", "rank")
    )
    later = pl.col("start_ns") - pl.col("end_ns").cum_max().shift(1) > FAR_NS
    span = span.with_columns(group=later.fill_null(value=False).cum_sum())
    if not span.height or span["group"].max() == 0:
        return {}
    sizes = span.group_by("group").agg(pl.len(), pl.col("start_ns").min().alias("begin"))
    most = sizes.sort("len", "group", descending=[True, False]).row(0, named=True)
    others = span.filter(pl.col("group") != most["group"]).sort("rank")
    away = (pl.col("start_ns") - most["begin"]).abs()
    return dict(others.select("rank", away).rows())
