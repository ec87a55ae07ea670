"""Steps of a trace of an MPI job: what all ranks repeat."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.trace.patterns import Turns, find_turns, mix
from loadpath.couple.trace.steps import agree, repeated_turns

__all__ = ["find_steps"]

FEWEST_STEPS = 3
"""What stands twice may be two phases of a program; a stated policy."""
LEAST_RATIO = 0.5
"""Regions that are steps take at least this share of the time from the first to the last of them."""

Int64Array = NDArray[np.int64]


def find_steps(regions: pl.DataFrame, op: pl.DataFrame, member: pl.DataFrame) -> Int64Array | None:
    """Say in which step each op is.

    MPI marks none. Either a region of the program is entered equally often on all ranks, holds all that
    they communicate from the first time to the last, takes most of that time, and every communication
    lies in the same of its times on all its members: of such the one that takes longest. Or the
    communications of each rank repeat, one by one, with what is computed between them.

    Parameters
    ----------
    regions : polars.DataFrame
        Table `OP`, with ``row``: regions of the first thread of each rank, on the times of `op`.
    op : polars.DataFrame
        What each rank did, one after another.
    member : polars.DataFrame
        What `call_members` returned.

    Returns
    -------
    (n_op,) array of int64, or None
        Number of the step, -1 outside all; None where fewer than `FEWEST_STEPS` are found.
    """
    instance = np.full(op.height, -1, np.int32)
    instance[member["op"].to_numpy()] = member["instance"].to_numpy()
    turns, place = _turns(regions, op, instance)
    if len(turns) == 1:
        # one rank talks to nobody
        return next((_within(op, *body) for body in _bodies(regions)), None)
    if not turns or any(not mine.row.size for mine in turns.values()):
        return None
    for begin, end in _bodies(regions):
        step = _within(op, begin, end)
        cut = {rank: step[at] for rank, at in place.items()}
        if min(np.unique(s[s >= 0]).size for s in cut.values()) == begin[0].size and agree(
            turns, cut
        ):
            return step
    repeated = _repeated_by_each(turns) or repeated_turns(turns)
    if repeated is None or max(int(s.max()) for s in repeated.values()) + 1 < FEWEST_STEPS:
        return None
    return _until_turns(op, place, repeated)


def _turns(
    regions: pl.DataFrame, op: pl.DataFrame, instance: NDArray[np.int32]
) -> tuple[dict[int, Turns], dict[int, Int64Array]]:
    """Communications of each rank, and which ops they are."""
    said = op.select(
        pl.col("name", "collective").cast(pl.String).rank("dense").cast(pl.Int64),
        "communicator", "peer", "bytes",
    ).to_numpy()  # fmt: skip
    signature = mix(said)
    talks = (op["collective"] != "").to_numpy()
    rank, start = op["rank"].to_numpy(), op["start_ns"].to_numpy()
    end = start + op["duration_ns"].to_numpy()
    # computations before each op
    n_computed = np.cumsum(np.append(0, op["kind"].cast(pl.String) == "compute"))
    work = _work(regions)
    turns, place = {}, {}
    for mine, low, high in _of_ranks(rank):
        at = low + np.flatnonzero(talks[low:high])
        done = n_computed[at]
        turns[mine] = Turns(
            row=at.astype(np.int32),
            signature=signature[at] ^ _between(work.get(mine), start[at]),
            start=start[at],
            end=end[at],
            instance=instance[at],
            is_optimiser=np.zeros(at.size, np.bool_),
            settled=np.full(at.size, -1),
            # a step holds a computation
            takes_input=np.diff(done, prepend=n_computed[low]) > 0,
        )
        place[mine] = at
    return turns, place


def _of_ranks(rank: NDArray[np.integer]) -> Iterator[tuple[int, int, int]]:
    """Each rank, and where its rows begin and end; rows are in the order of ranks."""
    border = np.flatnonzero(np.diff(rank, prepend=-1, append=-1)).tolist()
    yield from ((int(rank[low]), low, high) for low, high in pairwise(border))


def _work(regions: pl.DataFrame) -> dict[int, tuple[Int64Array, NDArray[np.uint64]]]:
    """Begins and names of the innermost regions of the program on each rank."""
    outer = regions["parent"].unique()
    inner = regions.filter(
        ~pl.col("row").cast(pl.Int64).is_in(outer.implode())
        & ~pl.col("name").cast(pl.String).str.starts_with("MPI_")
        & (pl.col("kind").cast(pl.String) != "communicate")
    )
    name = mix(inner.select(pl.col("name").cast(pl.String).rank("dense").cast(pl.Int64)).to_numpy())
    rank, start = inner["rank"].to_numpy(), inner["start_ns"].to_numpy()
    return {mine: (start[low:high], name[low:high]) for mine, low, high in _of_ranks(rank)}


def _between(
    work: tuple[Int64Array, NDArray[np.uint64]] | None, turn_ns: Int64Array
) -> NDArray[np.uint64]:
    """Mix the names of what a rank entered since the turn before, however often."""
    mixed = np.zeros(turn_ns.size, np.uint64)
    if work is not None:
        turn = np.searchsorted(turn_ns, work[0], "right")
        pairs = np.unique(np.stack([turn.astype(np.uint64), work[1]]), axis=1)
        pairs = pairs[:, pairs[0] < turn_ns.size]
        np.add.at(mixed, pairs[0].astype(np.int64), pairs[1])
    return mixed


def _bodies(regions: pl.DataFrame) -> Iterator[tuple[list[Int64Array], list[Int64Array]]]:
    """Begins and ends, by rank, of regions that may be steps, the one that takes longest first."""
    end = pl.col("start_ns") + pl.col("duration_ns")
    named = regions.filter(~pl.col("name").cast(pl.String).str.starts_with("MPI_")).select(
        pl.col("name").cast(pl.String), "rank", "start_ns", end.alias("end_ns")
    )
    n_rank = regions["rank"].n_unique()
    of_rank = named.group_by("name", "rank").agg(
        n=pl.len(),
        taken=(pl.col("end_ns") - pl.col("start_ns")).sum(),
        lasts=pl.col("end_ns").max() - pl.col("start_ns").min(),
        apart=(pl.col("start_ns").sort().shift(-1) >= pl.col("end_ns").sort()).all(),
    )
    alike = of_rank.group_by("name").agg(
        pl.col("n").max(), pl.col("taken").sum(), pl.col("lasts").sum(), pl.col("apart").all(),
        same=(pl.col("n").n_unique() == 1) & (pl.len() == n_rank),
    )  # fmt: skip
    may = alike.filter(
        "same",
        "apart",
        pl.col("n") >= FEWEST_STEPS,
        pl.col("taken") >= LEAST_RATIO * pl.col("lasts"),
    )
    for name in may.sort("taken", "n", "name", descending=[True, False, False])["name"]:
        parts = named.filter(pl.col("name") == name).sort("rank", "start_ns").partition_by("rank")
        yield (
            [part["start_ns"].to_numpy() for part in parts],
            [part["end_ns"].to_numpy() for part in parts],
        )


def _within(op: pl.DataFrame, begin: list[Int64Array], end: list[Int64Array]) -> Int64Array:
    """Step of each op where steps last from begin to begin, the last to its end."""
    rank, start = op["rank"].to_numpy(), op["start_ns"].to_numpy()
    step = np.full(op.height, -1, np.int64)
    for (_, low, high), first, last in zip(_of_ranks(rank), begin, end, strict=True):
        found = np.searchsorted(first, start[low:high], "right") - 1
        step[low:high] = np.where(start[low:high] < last[-1], found, -1)
    return step


def _repeated_by_each(turns: dict[int, Turns]) -> dict[int, Int64Array] | None:
    """Cut the turns of every rank where its own repeat, if ranks agree on what belongs together."""
    found = {rank: find_turns(mine) for rank, mine in turns.items()}
    step = {rank: mine for rank, mine in found.items() if mine is not None}
    together = len(step) == len(turns) and len({int(mine.max()) for mine in step.values()}) == 1
    return step if together and agree(turns, step) else None


def _until_turns(
    op: pl.DataFrame, place: dict[int, Int64Array], repeated: dict[int, Int64Array]
) -> Int64Array:
    """Step of each op: that of the communication which it is or leads to."""
    rank = op["rank"].to_numpy()
    step = np.full(op.height, -1, np.int64)
    for mine, low, high in _of_ranks(rank):
        turn = np.searchsorted(place[mine], np.arange(low, high))
        step[low:high] = np.append(repeated[mine], -1)[turn]
    return step
