r"""Couple the threads of each rank: forks and joins, barriers of teams, tasks, creation, locks.

::

    thread 0   == compute == fork == loop ==== [ barrier . . ] == join == [ MPI_Allreduce ]
                               \                    >-< sync
    thread 1                    start = loop ======= [ barrier ]
"""

from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.graph import EdgeKind
from loadpath.couple.mpi.regions import Regions
from loadpath.couple.mpi.tasks import Tasks, find_tasks

__all__ = ["Edges", "Threads", "couple_threads"]

Int32Array = NDArray[np.int32]


class Edges(NamedTuple):
    """Couplings of one kind.

    Attributes
    ----------
    source, target : (n,) arrays of int32
        Ops.
    kind : EdgeKind
        Why the target waits.
    """

    source: Int32Array
    target: Int32Array
    kind: EdgeKind


class Threads(NamedTuple):
    """Ops of all threads, and what couples them.

    Attributes
    ----------
    op, member : polars.DataFrame
        Ops, and members of communications: those of threads that meet at barriers among them.
    edges : tuple of Edges
        Couplings between threads.
    n_lone : int
        Barriers that not all threads of a team reach.
    n_task, n_lone_task : int
        Tasks, and those of them that no thread began.
    """

    op: pl.DataFrame
    member: pl.DataFrame
    edges: tuple[Edges, ...]
    n_lone: int
    n_task: int
    n_lone_task: int


def couple_threads(regions: Regions, op: pl.DataFrame, member: pl.DataFrame) -> Threads:
    """Find the couplings between threads of each rank.

    Parameters
    ----------
    regions : Regions
        What threads say of each other.
    op : polars.DataFrame
        Ops that are kept, by thread and time, with ``row`` and ``team``.
    member : polars.DataFrame
        What `call_members` returned of them.

    Returns
    -------
    Threads
        Ops and their couplings.
    """
    span, tasks = regions.span, find_tasks(regions.said)
    if span.is_empty():
        return Threads(op, member, (), 0, tasks.n, tasks.n_lone)
    met, n_lone = _barriers(regions, op)
    is_met = pl.int_range(pl.len()).is_in(met["op"].implode())
    told = {"kind": "communicate", "mechanism": "communication", "collective": "barrier"}
    changed = op.with_columns(
        pl.when(is_met).then(pl.lit(text)).otherwise(pl.col(name).cast(pl.String)).alias(name)
        for name, text in told.items()
    )
    last = int(member["instance"].max()) + 1 if member.height else 0  # type: ignore[arg-type]
    joined = pl.concat(
        [member, met.with_columns(pl.col("instance") + last)], how="diagonal_relaxed"
    )
    timed = _timed(op)
    own = span.filter(~pl.col("forks"))
    held = op["team"].gather(met["op"].to_numpy()).unique()
    open_end = own.filter(~pl.col("team").is_in(held.implode()), pl.col("join_ns").is_not_null())
    edges = [
        _follow(timed, _moment(own, "fork"), own.select("rank", "lane", at="start_ns")),
        *_waits(timed, _moment(open_end, "end"), _moment(open_end, "join")),
        *_locks(regions.said, timed),
        *_tasks(tasks, timed),
    ]
    joined = joined.select(*member.columns)
    return Threads(changed, joined, tuple(edges), n_lone, tasks.n, tasks.n_lone)


def _barriers(regions: Regions, op: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """Members of barriers of teams: the last op of each region of that kind; and how many lack others."""
    rows = regions.said.filter(kind="barrier")["correlation"]
    size = regions.span.filter(pl.col("team") >= 0).group_by("team").agg(size=pl.len())
    ends = (
        op.with_row_index("op")
        .filter(pl.col("row").is_in(rows.implode()), pl.col("team") >= 0)
        .unique("row", keep="last", maintain_order=True)
        .with_columns(number=pl.int_range(pl.len()).over("team", "lane"))
        .join(size, on="team", maintain_order="left")
        .with_columns(n=pl.len().over("team", "number"))
    )
    met = ends.filter(pl.col("n") == pl.col("size"), pl.col("n") > 1)
    lone = ends.filter(pl.col("n") != pl.col("size")).height
    said = met.select(
        pl.col("op").cast(pl.Int32),
        pl.struct("team", "number").rank("dense").cast(pl.Int32).alias("instance") - 1,
        "communicator", "number", "n",
        role=pl.lit("all"), contributes=pl.lit(value=True), waits=pl.lit(value=True),
    )  # fmt: skip
    return said.sort("instance", "op"), lone


def _moment(span: pl.DataFrame, what: str) -> pl.DataFrame:
    lane = "lane" if what == "end" else f"{what}_lane"
    return span.select("rank", lane=lane, at=f"{what}_ns")


def _timed(op: pl.DataFrame) -> pl.DataFrame:
    """When ops begin and end, those of no length left out."""
    end = pl.col("start_ns") + pl.col("duration_ns")
    timed = op.with_row_index("op").filter(pl.col("duration_ns") > 0)
    return timed.select(pl.col("op").cast(pl.Int32), "rank", "lane", "start_ns", end_ns=end)


def _before(timed: pl.DataFrame, at: pl.DataFrame) -> pl.DataFrame:
    """Find the op of a thread that ends at a moment, or the last that ends before it."""
    return _found(timed, at, "end_ns", "backward")


def _after(timed: pl.DataFrame, at: pl.DataFrame) -> pl.DataFrame:
    """Find the op of a thread that begins at a moment, or the first that begins after it."""
    return _found(timed, at, "start_ns", "forward")


def _found(
    timed: pl.DataFrame, at: pl.DataFrame, time: str, strategy: Literal["backward", "forward"]
) -> pl.DataFrame:
    found = at.with_row_index("wanted").sort("at").join_asof(
        timed.sort(time), left_on="at", right_on=time, by=["rank", "lane"],
        strategy=strategy, coalesce=False, check_sortedness=False,
    )  # fmt: skip
    return found.sort("wanted")


def _follow(timed: pl.DataFrame, source: pl.DataFrame, target: pl.DataFrame) -> Edges:
    """Let what begins at one moment follow what ended at another."""
    return _edges(_before(timed, source)["op"], _after(timed, target)["op"], EdgeKind.DATA)


def _waits(timed: pl.DataFrame, source: pl.DataFrame, target: pl.DataFrame) -> tuple[Edges, Edges]:
    """Let ops that end at a moment wait inside themselves; where none does, the next begins after."""
    ended = _before(timed, source)["op"]
    waiting, later = _before(timed, target), _after(timed, target)
    holds = waiting["end_ns"].eq_missing(waiting["at"])
    inside = waiting["op"].set(~holds, None)
    return (
        _edges(ended, inside, EdgeKind.HOST_WAIT),
        _edges(ended, later["op"].set(holds, None), EdgeKind.DATA),
    )


def _edges(source: pl.Series, target: pl.Series, kind: EdgeKind) -> Edges:
    known = source.is_not_null() & target.is_not_null() & (source != target)
    found = [side.filter(known).to_numpy().astype(np.int32) for side in (source, target)]
    return Edges(found[0], found[1], kind)


def _locks(said: pl.DataFrame, timed: pl.DataFrame) -> tuple[Edges, Edges]:
    """Let who takes a lock follow who gave it back before; the order is the recorded one."""
    key = ["rank", "event", "record"]
    turns = said.select(*key, pl.col("kind").cast(pl.String), "lane", at="start_ns")
    taken = turns.filter(kind="acquire").with_columns(pl.col("record") - 1)
    given = turns.filter(kind="release").unique(key, keep="none", maintain_order=True)
    both = taken.unique(key, keep="none", maintain_order=True).join(
        given, on=key, suffix="_before", maintain_order="left"
    )
    other = both.filter(pl.col("lane") != pl.col("lane_before"))
    before = other.select("rank", lane="lane_before", at="at_before")
    return _waits(timed, before, other.select("rank", "lane", "at"))


def _tasks(tasks: Tasks, timed: pl.DataFrame) -> tuple[Edges, ...]:
    """Let tasks begin after their creation on another thread, and who waits for them go on after their end."""
    begun, ended = tasks.begun, tasks.ended
    return (
        *_waits(
            timed,
            begun.select("rank", "lane", "at"),
            begun.select("rank", lane="runner", at="begun"),
        ),
        *_waits(
            timed,
            ended.select("rank", lane="runner", at="ended"),
            ended.select("rank", "lane", "at"),
        ),
    )
