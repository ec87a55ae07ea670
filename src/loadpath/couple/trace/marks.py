"""Step marks that do not agree between ranks: numbered apart, or there on some ranks only."""

from dataclasses import replace

import numpy as np
import polars as pl

from loadpath.couple.trace.alignment import UNMARKED, align_ranks
from loadpath.couple.trace.clock_lines import Sightings
from loadpath.couple.trace.clock_network import coarse_offsets
from loadpath.couple.trace.groups import REFUSED_RATIO
from loadpath.couple.trace.rows import Int32Array, Int64Array, rows_of
from loadpath.couple.trace.steps import steps_of_peers
from loadpath.errors import InputError
from loadpath.tables import STEP, Recording, caveat_table

__all__ = ["renumber_steps", "share_marks"]

SHOWN = 8
MARK = "ProfilerStep#"


def renumber_steps(recording: Recording) -> Recording:
    """Give steps the same numbers on all ranks, where the numbers of communications tell how.

    Parameters
    ----------
    recording : Recording
        A trace recording with groups and numbers of communications, where they are known.

    Returns
    -------
    Recording
        The same where step marks agree, or where no shift of whole ranks brings 95 % of the numbered
        communications into one step each. Elsewhere with the numbers that most ranks have.
    """
    shift = _shifts(recording)
    if not any(shift.values()):
        return recording
    by = pl.col("rank").replace_strict(shift, return_dtype=pl.Int64)
    moved = {rank: n for rank, n in shift.items() if n}
    listed = ", ".join(f"rank {rank} by {n:+d}" for rank, n in list(moved.items())[:SHOWN])
    text = (
        f"step marks numbered otherwise than the others' ({listed}), as the numbers of communications "
        "show; they are numbered alike"
    )
    step = pl.when(pl.col("step") >= 0).then(pl.col("step") - by).otherwise("step")
    return replace(
        recording,
        op=recording.op.with_columns(step),
        step=recording.step.with_columns(pl.col("step") - by),
        caveat=pl.concat(
            [recording.caveat, caveat_table([("steps_renumbered", text, len(moved))])]
        ),
    )


def _shifts(recording: Recording) -> dict[int, int]:
    """By how much each rank numbers its steps apart from the others."""
    rank = recording.rank["rank"].to_numpy()
    seen = _differences(recording, rank)
    shift = coarse_offsets(rank.size, seen)
    explained = seen.value == shift[seen.high] - shift[seen.low]
    if not explained.size or explained.mean() < 1 - REFUSED_RATIO:
        return {}
    usual, count = np.unique(shift, return_counts=True)
    shift = shift - usual[int(np.argmax(count))]
    return dict(zip(rank.tolist(), shift.tolist(), strict=True))


def _differences(recording: Recording, rank: Int32Array) -> Sightings:
    """Compare the step of each numbered communication on its members with that on the lowest."""
    key = ["communicator", "sequence"]
    numbered = (pl.col("sequence") >= 0) & (pl.col("communicator") >= 0) & (pl.col("step") >= 0)
    one_way = pl.col("collective").cast(pl.String).is_in(["send", "recv"])
    # text of few rows is cheap, of all of them it is not
    said = recording.op.filter(numbered).filter(~one_way).select(*key, "rank", "step")
    said = said.unique([*key, "rank"], keep="first", maintain_order=True).sort(*key, "rank")
    lowest = said.unique(key, keep="first", maintain_order=True)
    met = said.join(lowest, on=key, suffix="_low").filter(pl.col("rank") != pl.col("rank_low"))
    low, high = (np.searchsorted(rank, met[of].to_numpy()) for of in ("rank_low", "rank"))
    still = np.zeros(met.height, np.int64)
    value = (met["step"] - met["step_low"]).to_numpy()
    return Sightings(
        low.astype(np.int32), high.astype(np.int32), still, value, still.astype(np.int32), still > 0
    )


def share_marks(recording: Recording) -> Recording:
    """Cut ranks without step marks by the communications that they share with marked ones.

    Parameters
    ----------
    recording : Recording
        A trace recording.

    Returns
    -------
    Recording
        The same where all ranks have marks, or none has. Elsewhere with the steps of the marked ranks
        on all of them.

    Raises
    ------
    InputError
        If communications do not tell the steps of the ranks without marks.
    """
    n_lacking = recording.caveat.filter(pl.col("code") == UNMARKED)["n"].sum()
    if n_lacking in {0, recording.rank.height}:
        return recording
    marks = recording.op.filter(pl.col("name").cast(pl.String).str.starts_with(MARK))
    marked = set(marks["rank"].unique().to_list())
    lacking = [rank for rank in recording.rank["rank"].to_list() if rank not in marked]
    whole = _as_one_step(recording)
    timed = align_ranks(whole, rows_of(whole), [0]).timed
    cut = steps_of_peers(recording, timed, marked, _common_steps(recording, sorted(marked)))
    if cut is None:
        listed = ", ".join(map(str, lacking[:SHOWN])) + (", ..." if len(lacking) > SHOWN else "")
        raise InputError(
            "recording",
            f"ranks {listed} have no step marks (ProfilerStep#N), the others have, and communications "
            "do not tell where the steps of these ranks begin",
            "Call profiler.step() on all ranks, or on none.",
        )
    text = (
        "ranks without step marks, cut into steps by the communications that they share with ranks "
        "that have them"
    )
    other = cut.caveat.filter(pl.col("code") != UNMARKED)
    shared = caveat_table([("steps_from_peers", text, len(lacking))])
    return replace(cut, caveat=pl.concat([other, shared]))


def _common_steps(recording: Recording, marked: list[int]) -> Int64Array:
    """List the steps that all marked ranks have."""
    held = recording.step.filter(pl.col("rank").is_in(marked)).group_by("step")
    counts = held.agg(pl.col("rank").n_unique().alias("n")).filter(pl.col("n") == len(marked))
    return np.sort(counts["step"].to_numpy())


def _as_one_step(recording: Recording) -> Recording:
    """Take all that each rank recorded as one step."""
    span = recording.op.group_by("rank").agg(
        pl.col("start_ns").min(), end_ns=(pl.col("start_ns") + pl.col("duration_ns")).max()
    )
    step = STEP.build(span.sort("rank").with_columns(step=pl.lit(0, pl.Int64)))
    return replace(recording, op=recording.op.with_columns(step=pl.lit(0, pl.Int64)), step=step)
