"""Couple a job of which nothing but its communications was logged.

What a rank does between two of its communications is one op: computation, launches and input are
not told apart::

    rank 0   ===== between =====[ all_reduce . . . ]== between ==[ all_gather ]
    rank 1   === between ===[ all_reduce . . . . . ]== between ==[ all_gather ]
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.job import COUPLED_OP, CoupledJob
from loadpath.couple.logged.calls import Ends, common_ends, count_unlogged, whole_calls
from loadpath.couple.logged.cycles import Cycles, calls_of_all, find_cycles
from loadpath.couple.logged.polled import level_ends
from loadpath.couple.mpi import call_members, couple_calls
from loadpath.tables import LANE, STEP, Recording, caveat_table

__all__ = ["couple_logged", "is_timed"]

TOLERATED_RATIO = 0.005
"""Share of a rank's time in which two of its communications may run at once; more is not one chain."""
Int64Array = NDArray[np.int64]
LEFT_OUT = (
    "logged communications of which another member's entry is missing or has no duration: left out, "
    "their time counts as what lies around them"
)


UNLOGGED = (
    "collectives between those logged are in no log (only large ones, or the last of each interval, were): "
    "what ranks waited in them counts as their work, so that who is slow seems less so"
)


def is_timed(recording: Recording) -> bool:
    """Tell a log that holds durations.

    Parameters
    ----------
    recording : Recording
        With table `FLIGHT`.

    Returns
    -------
    bool
        Whether any communication was logged by all members that logged at all, with its duration on each.
    """
    return whole_calls(recording.flight)[0].height > 0


def couple_logged(recording: Recording) -> CoupledJob:
    """Couple the communications of all ranks, and what lies between them.

    Parameters
    ----------
    recording : Recording
        A log for which `is_timed` holds.

    Returns
    -------
    CoupledJob
        The coupled job. Where the log does not tell when communications ended, or those of a rank
        overlap, its caveats say so and conclusions across ranks are refused.
    """
    call, n_left = whole_calls(recording.flight)
    ends = common_ends(call)
    n_rank = call["rank"].n_unique()
    of_all = calls_of_all(ends.call, n_rank)
    cycles = find_cycles(of_all)
    polled = not ends.is_stamped
    level = level_ends(ends.call, of_all, cycles) if polled else None
    if level is not None:
        placed = calls_of_all(level, n_rank)["end_ns"].to_numpy()
        cycles = cycles._replace(border_ns=placed[:: cycles.length])
    op, overlap = _ops(ends.call if level is None else level, cycles, recording.communicator)
    told = _Told(polled, level is not None, overlap, n_left, count_unlogged(recording.flight))
    job = _with_lanes(recording, op, _doubts(ends, cycles, told))
    return couple_calls(job, op, call_members(op))


def _with_lanes(
    recording: Recording, op: pl.DataFrame, doubts: list[tuple[str, str, int]]
) -> Recording:
    """Give the ranks that logged anything their lanes and steps; name the others."""
    ranks = op["rank"].unique().sort().to_list()
    here = recording.rank["rank"].is_in(ranks)
    doubts = [*doubts, _silence(recording.rank.filter(~here))]
    ended = (pl.col("start_ns") + pl.col("duration_ns")).max()
    steps = op.group_by("step", "rank").agg(pl.col("start_ns").min(), end_ns=ended)
    return replace(
        recording,
        rank=recording.rank.filter(here),
        lane=LANE.build({
            "rank": ranks, "lane": [0] * len(ranks), "kind": ["host"] * len(ranks),
            "name": ["between communications"] * len(ranks),
        }),
        step=STEP.build(steps.sort("step", "rank")),
        caveat=pl.concat([recording.caveat, caveat_table(doubts)]),
    )  # fmt: skip


def _ops(call: pl.DataFrame, cycles: Cycles, groups: pl.DataFrame) -> tuple[pl.DataFrame, float]:
    """Alternate what lies between with the communications; and the share of time that overlaps."""
    begin, end = _span(call, cycles)
    inside = call.filter((pl.col("end_ns") > begin) & (pl.col("end_ns") <= end))
    rank = inside["rank"].to_numpy()
    stop = inside["end_ns"].to_numpy()
    new = np.diff(rank, prepend=-1) != 0
    before = np.where(new, begin, np.roll(stop, 1))
    start = np.minimum(np.maximum(inside["start_ns"].to_numpy(), before), stop)
    late = np.maximum(before - inside["start_ns"].to_numpy(), 0)
    n_rank = int(new.sum())
    overlap = float(late[~new].sum() / max((end - begin) * n_rank, 1))
    numbers = groups.select(group="name", communicator="communicator").unique("group")
    talk = inside.join(numbers, on="group", how="left", maintain_order="left").with_columns(
        pl.Series("start_ns", start),
        pl.Series("duration_ns", stop - start),
        step=pl.Series(_steps(stop, cycles)),
        order=pl.int_range(pl.len()) * 2 + 1,
        op_class=_kind(),
        kind=pl.lit("communicate"),
        mechanism=pl.lit("communication"),
    )
    gap = talk.select(
        "rank", "step",
        order=pl.col("order") - 1,
        op_class=pl.lit("before ") + pl.col("op_class"),
        kind=pl.lit("compute"),
        mechanism=pl.lit("unknown"),
    ).with_columns(
        pl.Series("start_ns", before), pl.Series("duration_ns", np.maximum(start - before, 0))
    )  # fmt: skip
    rows = pl.concat([gap, talk], how="diagonal_relaxed").sort("order")
    return _described(rows), overlap


def _kind() -> pl.Expr:
    sized = pl.col("bytes").cast(pl.String) + " B"
    return pl.col("collective") + pl.when(pl.col("bytes") >= 0).then(" " + sized).otherwise(
        pl.lit("")
    )


def _described(rows: pl.DataFrame) -> pl.DataFrame:
    filled = rows.with_columns(
        *(pl.col(n).fill_null(-1) for n in ("communicator", "peer", "bytes", "sequence")),
        pl.col("collective").fill_null(""),
        pl.col("start_ns") - pl.col("start_ns").min(),
        name="op_class",
        lane=pl.lit(0),
        stage=pl.lit(0),
        replica=pl.lit(0),
        tag=pl.lit(-1, pl.Int64),
        position=pl.int_range(pl.len()).over("rank", "step", "op_class"),
    )
    known = [name for name in COUPLED_OP.schema if name in filled.columns]
    return COUPLED_OP.build(filled.select(known)).with_columns(filled["tag"])


def _span(call: pl.DataFrame, cycles: Cycles) -> tuple[int, int]:
    """From which end to which end ranks are compared: whole cycles, or what all of them logged."""
    if cycles.border_ns.size:
        return int(cycles.border_ns[0]), int(cycles.border_ns[-1])
    of = call.group_by("rank").agg(first=pl.col("end_ns").min(), last=pl.col("end_ns").max())
    return int(of["first"].max()), int(of["last"].max())  # type: ignore[arg-type]


def _steps(end: Int64Array, cycles: Cycles) -> Int64Array:
    """Find the cycle in which each communication ends; 0 without cycles."""
    if not cycles.border_ns.size:
        return np.zeros(end.size, np.int64)
    return np.searchsorted(cycles.border_ns, end, "left").astype(np.int64) - 1


def _spacing_ns(call: pl.DataFrame) -> int:
    """Typical time from one communication of a rank to the next."""
    return int(call.select(pl.col("end_ns").diff().over("rank").median()).item() or 0)


class _Told(NamedTuple):
    """How well the log tells its times.

    Whether ends were seen at polls, and spaced anew since; how long communications of a rank ran at
    once, as a share; entries left out; collectives between those logged that nobody logged.
    """

    polled: bool
    levelled: bool
    overlap: float
    n_left: int
    n_unlogged: int


def _silence(silent: pl.DataFrame) -> tuple[str, str, int]:
    """Name the ranks of which nothing was logged that can be timed."""
    listed = ", ".join(map(str, silent["rank"][:8])) + (", ..." if silent.height > 8 else "")
    plural = "s" if silent.height > 1 else ""
    return "missing_rank", f"nothing timed was logged of rank{plural} {listed}", silent.height


def _doubts(ends: Ends, cycles: Cycles, told: _Told) -> list[tuple[str, str, int]]:
    n_cycle = max(cycles.border_ns.size - 1, 0)
    period = int(np.median(np.diff(cycles.border_ns))) if n_cycle else _spacing_ns(ends.call)
    at_once = told.overlap > TOLERATED_RATIO
    unknown = ends.moved_ns > period or (told.polled and not told.levelled)
    why = (
        f"ends that follow from durations differ by {ends.moved_ns / 1e6:.3g} ms from those written, a cycle "
        f"or call takes {period / 1e6:.3g} ms"
        if ends.moved_ns > period
        else "they were seen at polls, and not all of them are of all ranks and in cycles, by which they "
        "could be spaced"
    )
    calls = f"{cycles.length} communication{'s' if cycles.length > 1 else ''}"
    counted = f"steps are cycles of {calls} of all ranks; a training step may hold several"
    return [
        ("partly_logged", LEFT_OUT, told.n_left),
        ("unlogged_calls", UNLOGGED, told.n_unlogged),
        ("steps_from_cycles", counted, n_cycle),
        ("no_cycles", "communications of all ranks repeat in no cycle: the log is one step", int(not n_cycle)),
        ("outside_cycles", "communications of all ranks before the first cycle and after the last: left out", cycles.n_left if n_cycle else 0),
        ("ends_levelled", "ends were written later than they happened: the work of the middle rank is taken to be the same in every cycle; what ranks differ by is as logged", int(told.levelled)),
        ("ends_moved", f"ends had to be moved by up to {ends.moved_ns / 1e6:.3g} ms to come one after another: that close are times within a step known", int(ends.moved_ns > 0 and not told.levelled)),
        ("ends_unknown", f"the log does not tell when communications ended: {why} (an Inspector log tells with NCCL_INSPECTOR_DUMP_VERBOSE=1)", int(unknown)),
        ("overlapping_calls", f"communications of a rank run at once for {told.overlap:.1%} of the time: what it does beside them is not logged (traces of all ranks tell)", int(at_once and not told.polled)),
    ]  # fmt: skip
