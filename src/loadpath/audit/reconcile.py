"""Two records of the same communications or steps: where they disagree, and by how much."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.tables import Recording, caveat_table

__all__ = ["reconciled", "steps_reconciled", "unrecorded_caveat"]

TWO_SIDED = 1.96
"""Standard deviations of a 95 % interval."""
LEAST = 8
"""Communications of a kind below which a median has no interval worth comparing."""
Medians = dict[tuple[int, str], tuple[float, float, float]]


def reconciled(recording: Recording, beside: pl.DataFrame, what: str) -> Recording:
    """Compare what a record says of communications with another one of them.

    Parameters
    ----------
    recording : Recording
        Traces or logs of the job: what is audited.
    beside : polars.DataFrame
        Table `FLIGHT` of the other record, perhaps of other steps of the same job.
    what : str
        What the other record is called.

    Returns
    -------
    Recording
        With a caveat where medians of a rank's collective differ beyond their 95 % intervals, and
        one that says how many were compared.
    """
    source = "logs" if recording.flight.height else "traces"
    of_both = _medians(_calls(recording)), _medians(beside.filter(pl.col("duration_ns") > 0))
    return _with_doubts(recording, of_both, (source, what), "collectives")


def steps_reconciled(recording: Recording, beside: pl.DataFrame, what: str) -> Recording:
    """Compare how long steps of each rank take by another record of the job.

    Parameters
    ----------
    recording : Recording
        Traces of the job: what is audited.
    beside : polars.DataFrame
        Table `STEP` of the other record, perhaps of other steps.
    what : str
        What the other record is called.

    Returns
    -------
    Recording
        With the same caveats as `reconciled`.
    """
    of_both = _medians(_lengths(recording.step)), _medians(_lengths(beside))
    return _with_doubts(recording, of_both, ("traces", what), "steps")


def unrecorded_caveat(recording: Recording, ranks: Iterable[int], what: str) -> pl.DataFrame:
    """Say of which ranks only another record beside the traces tells.

    Parameters
    ----------
    recording : Recording
        Traces of the job: what is audited.
    ranks : iterable of int
        Ranks of the other record.
    what : str
        What the other record is called.

    Returns
    -------
    polars.DataFrame
        Table `CAVEAT`: such ranks are of another job, or their traces are missing.
    """
    more = sorted(set(ranks) - set(recording.rank["rank"]))
    listed = ", ".join(map(str, more[:6])) + (", ..." if len(more) > 6 else "")
    text = (
        f"{what} tell of ranks of which there is no trace ({listed}): they are of another job, or these "
        "traces are missing"
    )
    return caveat_table([("unrecorded_ranks", text, len(more))])


def _lengths(step: pl.DataFrame) -> pl.DataFrame:
    return step.select(
        "rank", collective=pl.lit("step"), duration_ns=pl.col("end_ns") - pl.col("start_ns")
    )


def _with_doubts(
    recording: Recording, of_both: tuple[Medians, Medians], names: tuple[str, str], things: str
) -> Recording:
    one, other = of_both
    both = sorted(one.keys() & other.keys())
    apart = {key: _ratio(one[key], other[key]) for key in both if _differ(one[key], other[key])}
    text = f"{things} of ranks whose durations {names[0]} and {names[1]} both tell"
    doubts = caveat_table([
        ("records_compared", text, len(both)),
        ("records_disagree", _worst(apart, one, other, names), len(apart)),
    ])  # fmt: skip
    return replace(recording, caveat=pl.concat([recording.caveat, doubts]))


def _calls(recording: Recording) -> pl.DataFrame:
    """Communications with their durations: those of traces, else those of the log itself."""
    if recording.flight.height:
        return recording.flight.filter(pl.col("duration_ns") > 0)
    talks = pl.col("kind").cast(pl.String) == "communicate"
    name = pl.col("collective").cast(pl.String)
    return recording.op.filter(talks).select("rank", name, "duration_ns")


def _medians(calls: pl.DataFrame) -> Medians:
    """Median duration by rank and collective, with the order statistics that bound it."""
    found: Medians = {}
    for (rank, collective), part in calls.group_by("rank", "collective"):
        values = np.sort(part["duration_ns"].to_numpy())
        if values.size >= LEAST and collective:
            found[int(str(rank)), str(collective)] = _with_interval(values)
    return found


def _with_interval(ordered: NDArray[np.int64]) -> tuple[float, float, float]:
    """Median and its 95 % interval, free of any law: ranks n/2 +- 1.96 sqrt(n)/2."""
    n = ordered.size
    half = TWO_SIDED * math.sqrt(n) / 2
    low, high = max(math.floor(n / 2 - half), 0), min(math.ceil(n / 2 + half), n - 1)
    return float(np.median(ordered)), float(ordered[low]), float(ordered[high])


def _differ(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
    return one[1] > other[2] or other[1] > one[2]


def _ratio(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    return max(one[0], other[0]) / max(min(one[0], other[0]), 1.0)


def _worst(
    apart: Mapping[tuple[int, str], float], traced: Medians, logged: Medians, names: tuple[str, str]
) -> str:
    if not apart:
        return ""
    key = max(apart, key=lambda pair: (apart[pair], pair))
    here, there = traced[key][0] / 1e6, logged[key][0] / 1e6
    return (
        f"{names[0]} and {names[1]} differ: the median {key[1]} of rank {key[0]} takes {here:.3g} ms in "
        f"{names[0]} and {there:.3g} ms there; {names[0]} are audited"
    )
