"""What is said of the clocks of the ranks: in table `RANK`, and as doubts."""

import numpy as np
import polars as pl

from loadpath.couple.trace.alignment import Aligned
from loadpath.tables import Recording
from loadpath.units import format_seconds

__all__ = ["clock_columns", "clock_doubts"]

Doubt = tuple[str, str, int]
SHOWN = 4


def clock_columns(recording: Recording, aligned: Aligned) -> pl.DataFrame:
    """Give every rank its clock.

    Parameters
    ----------
    recording : Recording
        Ranks.
    aligned : Aligned
        Their clocks.

    Returns
    -------
    polars.DataFrame
        Table `RANK`.
    """
    residual = aligned.residual_ns
    return recording.rank.with_columns(
        clock_offset_ns=pl.Series(aligned.clocks.offset_ns),
        clock_drift_ppb=pl.Series(aligned.clocks.drift_ppb),
        clock_residual_ns=pl.Series(
            [residual.get(rank, -1) for rank in recording.rank["rank"]], dtype=pl.Int64
        ),
    )


def clock_doubts(aligned: Aligned) -> list[Doubt]:
    """Say which clocks were set, and which cannot be.

    Parameters
    ----------
    aligned : Aligned
        Ranks on one clock.

    Returns
    -------
    list of (str, str, int)
        Code, text and count of each doubt; counts of 0 say that it did not occur.
    """
    clocks, moved = aligned.clocks, aligned.clocks.are_moved
    most = format_seconds(np.abs(clocks.offset_ns).max(initial=0) / 1e9)
    drift = np.abs(clocks.drift_ppb).max(initial=0) / 1e3
    was_set = (
        f"clocks of ranks set by up to {most} and {drift:.3g} ppm, from "
        f"{' and '.join(aligned.told.by)}; {_remainder(aligned.residual_ns)}"
    )
    listed = "; ".join(aligned.faults[:4]) + ("; ..." if len(aligned.faults) > 4 else "")
    bad = (
        f"clocks cannot be brought together ({listed}): conclusions across ranks are refused; "
        "record again with steady clocks"
    )
    parted = aligned.told.shared.parted
    differ = (
        f"hosts whose ranks read different clocks ({', '.join(parted[:SHOWN])}): one name stands for "
        "several machines, or times were changed; these clocks are told apart rank by rank"
    )
    apart = np.unique(clocks.part).size - 1
    lone = (
        "parts of the job share no communication that tells their clocks apart: times between "
        "these parts are as recorded"
    )
    unsure = aligned.unsure_ns
    shown = ", ".join(
        f"{rank} by {format_seconds(ns / 1e9)}" for rank, ns in [*unsure.items()][:SHOWN]
    )
    by_name = (
        f"ranks taken to read the clock of their host by its name alone, though their ends lie apart from "
        f"the others' in the middle ({shown}): this much is left open; if one name stands for several "
        "machines, name them with --hosts"
    )
    return [
        ("clocks_by_name", by_name, len(unsure)),
        ("clocks_set", was_set, int(moved.sum())),
        ("bad_clocks", bad, len(aligned.faults)),
        ("clocks_apart", lone, apart),
        ("host_clocks_differ", differ, len(parted)),
    ]


def _remainder(residual_ns: dict[int, int]) -> str:
    if not residual_ns:
        return "no communication tells what they still disagree by"
    left = format_seconds(max(residual_ns.values()) / 1e9)
    return f"they still disagree by up to {left}, within which arrivals are ties"
