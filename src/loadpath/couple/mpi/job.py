"""Couple a trace of an MPI job.

The first thread of each rank is one chain of what its regions do themselves::

    rank 0   == compute == [ MPI_Send ] ===== compute ===== [ MPI_Allreduce ]
                               |                                  >-< sync
    rank 1   = compute = [ MPI_Recv . . . ] == compute == [ MPI_Allreduce . . . ]

Sends meet receives by communicator, ranks, tag and order; collectives by communicator and order.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.graph import Coupling, EdgeKind
from loadpath.couple.job import COUPLED_OP, CoupledJob, assemble_job
from loadpath.couple.mpi.own_ops import own_ops, placed
from loadpath.couple.mpi.regions import Regions, nested_regions
from loadpath.couple.mpi.steps import find_steps
from loadpath.couple.mpi.threads import Edges, Threads, couple_threads
from loadpath.couple.trace.roles import Members, Roles, member_roles
from loadpath.tables import INSTANCE, MEMBERSHIP, STEP, Recording, caveat_table

__all__ = ["call_members", "couple_calls", "couple_mpi"]

TOLERATED_RATIO = 0.005
"""Share of messages that may be there before they were sent; more, and clocks are not believed."""
LEAST_MET_RATIO = 0.5
"""Share of a rank's communications that meet another, if it is the rank that it says; a stated policy."""
PAIRS = ("send", "recv")


def couple_mpi(recording: Recording) -> CoupledJob:
    """Couple the regions of all ranks.

    Parameters
    ----------
    recording : Recording
        Regions as ops; those that communicate say what, with whom and how much.

    Returns
    -------
    CoupledJob
        The coupled job. Where messages end before they begin its caveats say ``not_causal``.
    """
    regions = nested_regions(recording)
    op = own_ops(regions)
    member = call_members(op)
    doubted = _with_doubts(recording, op, member)
    recording, op, member = _cut(doubted, regions.region.filter(pl.col("lane") == 0), op, member)
    threads = couple_threads(regions, op, member)
    told = caveat_table(_thread_doubts(regions, threads))
    recording = replace(recording, caveat=pl.concat([recording.caveat, told]))
    return couple_calls(recording, threads.op, threads.member, threads.edges)


def couple_calls(
    recording: Recording,
    op: pl.DataFrame,
    member: pl.DataFrame,
    edges: Sequence[Edges] = (),
) -> CoupledJob:
    """Couple the calls of the threads of each rank.

    Parameters
    ----------
    recording : Recording
        Where ranks, steps, communicators, caveats and inputs come from.
    op : polars.DataFrame
        What each thread did, one after another: table `COUPLED_OP`, with ``tag``.
    member : polars.DataFrame
        What `call_members` returned.
    edges : sequence of Edges
        Couplings between threads of a rank.

    Returns
    -------
    CoupledJob
        The coupled job.
    """
    met = member["op"].to_numpy()
    coupled = op.select(*COUPLED_OP.schema)
    return assemble_job(
        recording,
        COUPLED_OP.build(coupled),
        _coupling(op, member, edges),
        instance=_instances(op, member, met),
        membership=MEMBERSHIP.build(member.select(*MEMBERSHIP.schema)),
    )


def call_members(op: pl.DataFrame) -> pl.DataFrame:
    """Match the calls of all ranks, and say what each does in its communication.

    Parameters
    ----------
    op : polars.DataFrame
        As `couple_calls` takes it.

    Returns
    -------
    polars.DataFrame
        ``op, instance, communicator, number, n, role, contributes, waits``, by instance.
    """
    member = _meetings(op)
    roles = _roles(op, member)
    return member.with_columns(
        pl.Series("role", roles.name.astype(str)),
        pl.Series("contributes", roles.contributes),
        pl.Series("waits", roles.waits),
    )


def _cut(
    recording: Recording, threads: pl.DataFrame, op: pl.DataFrame, member: pl.DataFrame
) -> tuple[Recording, pl.DataFrame, pl.DataFrame]:
    """Give ops their steps and leave out those outside; the same where no steps are found."""
    step = _steps(threads, op, member)
    if step is None:
        return recording, op, member
    inside = step >= 0
    number = np.cumsum(inside) - 1
    met = member["op"].to_numpy()
    kept = member.with_columns(op=pl.Series(number[met]).cast(pl.Int32)).filter(inside[met])
    cut = placed(op.with_columns(step=pl.Series(step)).filter(pl.Series(inside)))
    return (
        _with_steps(recording, cut, op),
        cut,
        kept.with_columns(instance=pl.col("instance").rank("dense").cast(pl.Int32) - 1),
    )


def _steps(
    regions: pl.DataFrame, op: pl.DataFrame, member: pl.DataFrame
) -> NDArray[np.int64] | None:
    """Find the steps of first threads; further threads are in the step in which theirs is at that time."""
    first = (op["lane"] == 0).to_numpy()
    met = member["op"].to_numpy()
    number = np.cumsum(first) - 1
    theirs = member.with_columns(op=pl.Series(number[met]).cast(pl.Int32)).filter(first[met])
    main = op.filter(pl.Series(first))
    step = find_steps(regions, main, theirs)
    if step is None or first.all():
        return step
    when = main.select("rank", "start_ns", step=pl.Series(step))
    others = op.with_row_index("op").filter(~pl.Series(first)).select("op", "rank", "start_ns")
    found = others.sort("start_ns").join_asof(
        when.sort("start_ns"), on="start_ns", by="rank", check_sortedness=False
    )
    every = np.full(op.height, -1, np.int64)
    every[first] = step
    every[found["op"].to_numpy()] = found["step"].fill_null(-1).to_numpy()
    return every


def _with_steps(recording: Recording, cut: pl.DataFrame, op: pl.DataFrame) -> Recording:
    end = (pl.col("start_ns") + pl.col("duration_ns")).max()
    spans = cut.group_by("rank", "step").agg(pl.col("start_ns").min(), end_ns=end)
    whole = int(op["duration_ns"].sum())
    share = 1 - int(cut["duration_ns"].sum()) / max(whole, 1)
    text = (
        "steps without marks, cut where regions or communications of the ranks repeat; "
        f"{share:.1%} of their time lies before, between or after and is left out"
    )
    said = caveat_table([("steps_from_pattern", text, cut["step"].n_unique())])
    step = STEP.build(spans.sort("rank", "step"))
    return replace(recording, step=step, caveat=pl.concat([recording.caveat, said]))


def _meetings(op: pl.DataFrame) -> pl.DataFrame:
    """Ops that meet, and the number of their communication; those that meet nobody are left out."""
    talks = op.with_row_index("op").filter(pl.col("collective") != "")
    talks = talks.sort("rank", "start_ns", maintain_order=True)
    pair = pl.col("collective").is_in(PAIRS)
    sends = pl.col("collective") == "send"
    ends = talks.with_columns(
        pair=pair,
        source=pl.when(pair & sends).then("rank").when(pair).then("peer").otherwise(-1),
        target=pl.when(pair & sends).then("peer").when(pair).then("rank").otherwise(-1),
        tag=pl.when(pair).then("tag").otherwise(-1),
        what=pl.when(pair).then(pl.lit("message")).otherwise("collective"),
    )
    key = ["communicator", "what", "source", "target", "tag"]
    numbered = ends.with_columns(
        number=pl.when(pair)
        .then(pl.int_range(pl.len()).over(*key, "rank", "collective"))
        .otherwise("sequence")
    )
    met = numbered.with_columns(n=pl.col("rank").len().over(*key, "number")).filter(pl.col("n") > 1)
    order = pl.struct(*key, "number").rank("dense").cast(pl.Int32) - 1
    return met.select(
        pl.col("op").cast(pl.Int32), order.alias("instance"), "communicator", "number", "n"
    ).sort("instance", "op")


def _roles(op: pl.DataFrame, member: pl.DataFrame) -> Roles:
    rows = op[member["op"].to_numpy()]
    start = rows["start_ns"].to_numpy()
    every = np.ones(rows.height, np.bool_)
    return member_roles(
        Members(
            instance=member["instance"].to_numpy(),
            rank=rows["rank"].to_numpy(),
            peer=rows["peer"].cast(pl.Int32).to_numpy(),
            collective=rows["collective"].cast(pl.String).to_numpy().astype(object),
            start=start,
            end=start + rows["duration_ns"].to_numpy(),
            bytes=rows["bytes"].to_numpy(),
            on_device=~every,
            may_give=every,
            may_take=every,
        ),
        tolerance_ns=0,
    )


def _coupling(op: pl.DataFrame, member: pl.DataFrame, edges: Sequence[Edges]) -> Coupling:
    thread = op["rank"].to_numpy().astype(np.int64) << 32 | op["lane"].to_numpy()
    step = np.maximum(op["step"].to_numpy(), 0)
    changes = (np.diff(thread) != 0) | (np.diff(step) != 0)
    first = np.flatnonzero(np.concatenate([np.ones(min(1, thread.size), np.bool_), changes]))
    last = np.flatnonzero(np.concatenate([changes, np.ones(min(1, thread.size), np.bool_)]))
    follows = np.flatnonzero(thread[1:] == thread[:-1]).astype(np.int32)
    return Coupling(
        n_op=op.height,
        edge_source=np.concatenate([follows, *(e.source for e in edges)]),
        edge_target=np.concatenate([follows + np.int32(1), *(e.target for e in edges)]),
        edge_kind=np.concatenate(
            [
                np.full(follows.size, EdgeKind.PROGRAM, np.uint8),
                *(np.full(e.source.size, e.kind, np.uint8) for e in edges),
            ]
        ),
        member_op=member["op"].to_numpy(),
        member_instance=member["instance"].to_numpy(),
        member_contributes=member["contributes"].to_numpy(),
        member_waits=member["waits"].to_numpy(),
        begin_op=first.astype(np.int32),
        begin_step=step[first],
        end_op=last.astype(np.int32),
        end_step=step[last],
    )


def _instances(op: pl.DataFrame, member: pl.DataFrame, met: NDArray[np.int32]) -> pl.DataFrame:
    rows = op[met].select("collective", "step", "bytes")
    first = member.with_columns(rows).unique("instance", keep="first", maintain_order=True)
    return INSTANCE.build(
        first.select(
            "instance", "collective", "communicator", "step", "bytes",
            sequence=pl.col("number").cast(pl.Int64), n_members=pl.col("n").cast(pl.Int32),
            matched=pl.lit(value=True),
        )
    )  # fmt: skip


def _with_doubts(recording: Recording, op: pl.DataFrame, member: pl.DataFrame) -> Recording:
    """Count what met nobody, came before it was sent, or was left out."""
    talks = int((op["collective"] != "").sum())
    early, n_message = _early(op, member)
    buffered = member.filter((pl.col("role") == "sender") & ~pl.col("waits")).height
    causal = early <= TOLERATED_RATIO * n_message
    whole = not recording.caveat["code"].is_in(["missing_rank", "cut_off"]).any()
    strangers = _strangers(op, member) if whole else []
    shown = ", ".join(map(str, strangers[:8]))
    doubts = [
        ("wrong_ranks", f"most communications of ranks {shown} meet no other: their files are not of these ranks, or not of this run; conclusions across ranks are refused", len(strangers)),
        ("lone_transfer", "communications that met no other: their waiting counts as work", talks - member.height),
        ("buffered_sends", "sends that ended before their receive began: those of their size wait for nobody", buffered),
        ("early_messages", "messages received before they were sent: the clocks are that far apart", early if causal else 0),
        ("not_causal", "messages were received before they were sent, so the clocks are not set; conclusions across ranks are refused", 0 if causal else early),
    ]  # fmt: skip
    return replace(recording, caveat=pl.concat([recording.caveat, caveat_table(doubts)]))


def _thread_doubts(regions: Regions, threads: Threads) -> list[tuple[str, str, int]]:
    """Count what further threads do that nothing couples to the first one."""
    left = (
        "regions of further threads that no recorded fork or creation couples to the first one of their "
        "rank: left out"
    )
    lone = "barriers that not all threads of their team reach: their waiting counts as work"
    alone = (
        "one rank: its threads are compared with each other; what all of them do alike has no peer"
    )
    kept = (
        "tasks stay on the threads that ran them, in the recorded order: what a change would return if "
        "threads shared them anew is not told"
    )
    never = "tasks that no thread is recorded to begin: nothing couples them to their creation"
    return [
        ("tasks", kept, threads.n_task),
        ("lone_task", never, threads.n_lone_task),
        ("other_threads", left, regions.n_left),
        ("lone_barrier", lone, threads.n_lone),
        (
            "one_rank",
            alone,
            int(threads.op["rank"].n_unique() == 1 < threads.op["lane"].n_unique()),
        ),
    ]


def _strangers(op: pl.DataFrame, member: pl.DataFrame) -> list[int]:
    """Ranks that communicate, but mostly with nobody."""
    talks = op.with_row_index("op").filter(pl.col("collective") != "")
    met = talks.with_columns(met=pl.col("op").is_in(member["op"].cast(pl.UInt32).implode()))
    share = met.group_by("rank").agg(pl.col("met").mean())
    return sorted(share.filter(pl.col("met") < LEAST_MET_RATIO)["rank"].to_list())


def _early(op: pl.DataFrame, member: pl.DataFrame) -> tuple[int, int]:
    """Messages that were received before they were sent, and all messages."""
    rows = op[member["op"].to_numpy()].select(
        "collective", "start_ns", end_ns=pl.col("start_ns") + pl.col("duration_ns")
    )
    told = member.select("instance").with_columns(rows)
    sent = told.filter(pl.col("collective") == "send").select("instance", sent="start_ns")
    taken = told.filter(pl.col("collective") == "recv").select("instance", taken="end_ns")
    both = sent.join(taken, on="instance")
    return int((both["taken"] < both["sent"]).sum()), both.height
