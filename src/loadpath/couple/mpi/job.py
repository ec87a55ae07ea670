"""Couple a trace of an MPI job.

The first thread of each rank is one chain of what its regions do themselves::

    rank 0   == compute == [ MPI_Send ] ===== compute ===== [ MPI_Allreduce ]
                               |                                  >-< sync
    rank 1   = compute = [ MPI_Recv . . . ] == compute == [ MPI_Allreduce . . . ]

Sends meet receives by communicator, ranks, tag and order; collectives by communicator and order.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.graph import Coupling, EdgeKind
from loadpath.couple.job import BETWEEN_CALLS, COUPLED_OP, CoupledJob, assemble_job
from loadpath.couple.mpi import kernels
from loadpath.couple.mpi.steps import find_steps
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
    threads = _threads(recording)
    op = _own_ops(threads)
    member = call_members(op)
    return couple_calls(*_cut(_with_doubts(recording, op, member), threads, op, member))


def couple_calls(recording: Recording, op: pl.DataFrame, member: pl.DataFrame) -> CoupledJob:
    """Couple the calls of one thread of each rank.

    Parameters
    ----------
    recording : Recording
        Where ranks, steps, communicators, caveats and inputs come from.
    op : polars.DataFrame
        What each rank did, one after another: table `COUPLED_OP`, with ``tag``.
    member : polars.DataFrame
        What `call_members` returned.

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
        _coupling(op, member),
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


def _threads(recording: Recording) -> pl.DataFrame:
    """Regions of the first thread of each rank, the outer before the inner; times from 0 on."""
    threads = recording.op.with_row_index("row").filter(pl.col("lane") == 0)
    earliest = pl.min_horizontal(pl.col("start_ns").min(), 0)
    threads = threads.with_columns(pl.col("start_ns") - earliest)
    return threads.sort("rank", "start_ns", pl.col("duration_ns").neg(), "row")


def _own_ops(threads: pl.DataFrame) -> pl.DataFrame:
    """Parts of the first thread of each rank, in order."""
    start = threads["start_ns"].to_numpy()
    end = start + threads["duration_ns"].to_numpy()
    talks = (threads["kind"].cast(pl.String) == "communicate").to_numpy()
    rank = threads["rank"].to_numpy()
    borders = np.flatnonzero(np.diff(rank, prepend=-1, append=-1))
    parts = [
        np.stack(kernels.own_times(start, end, talks, np.arange(low, high)))
        for low, high in pairwise(borders)
    ]
    region, begin, stop = np.concatenate([np.empty((3, 0), np.int64), *parts], axis=1)
    chosen = np.repeat(rank[borders[:-1]], [part.shape[1] for part in parts])
    return _described(threads, region, (begin, stop), chosen)


def _described(
    threads: pl.DataFrame,
    region: NDArray[np.int64],
    span: tuple[NDArray[np.int64], NDArray[np.int64]],
    rank: NDArray[np.int32],
) -> pl.DataFrame:
    """Give each part the columns of its region; time outside all regions is between calls."""
    begin, stop = span
    inside = pl.Series(region >= 0)
    part = threads[np.maximum(region, 0)].with_columns(
        pl.Series("rank", rank),
        pl.Series("start_ns", begin),
        pl.Series("duration_ns", stop - begin),
        pl.lit(-1, pl.Int32).alias("parent"),
        pl.lit(0, pl.Int32).alias("stage"),
        pl.lit(0, pl.Int32).alias("replica"),
        name=pl.when(inside).then(pl.col("name").cast(pl.String)).otherwise(pl.lit("outside")),
    )
    talks = inside & (pl.col("kind").cast(pl.String) == "communicate")
    calls = pl.col("name").str.starts_with("MPI_")
    kind = pl.when(talks).then(pl.lit("communicate"))
    mechanism = pl.when(talks).then(pl.lit("communication"))
    sized = pl.col("name") + " " + pl.col("bytes").cast(pl.String) + " B"
    classed = part.with_columns(
        kind=kind.when(calls | ~inside).then(pl.lit("host")).otherwise(pl.lit("compute")),
        mechanism=mechanism.when(calls | ~inside).then(pl.lit("host")).otherwise(pl.lit("unknown")),
        op_class=pl.when(talks)
        .then(sized)
        .when(inside)
        .then("name")
        .otherwise(pl.lit(BETWEEN_CALLS)),
        collective=pl.when(talks).then(pl.col("collective").cast(pl.String)).otherwise(pl.lit("")),
        **{
            name: pl.when(talks).then(name).otherwise(-1)
            for name in ("communicator", "peer", "tag", "bytes", "sequence")
        },
    )
    return _placed(classed)


def _placed(op: pl.DataFrame) -> pl.DataFrame:
    return op.with_columns(position=pl.int_range(pl.len()).over("rank", "step", "op_class"))


def _cut(
    recording: Recording, threads: pl.DataFrame, op: pl.DataFrame, member: pl.DataFrame
) -> tuple[Recording, pl.DataFrame, pl.DataFrame]:
    """Give ops their steps and leave out those outside; the same where no steps are found."""
    step = find_steps(threads, op, member)
    if step is None:
        return recording, op, member
    inside = step >= 0
    number = np.cumsum(inside) - 1
    met = member["op"].to_numpy()
    kept = member.with_columns(op=pl.Series(number[met]).cast(pl.Int32)).filter(inside[met])
    cut = _placed(op.with_columns(step=pl.Series(step)).filter(pl.Series(inside)))
    return (
        _with_steps(recording, cut, op),
        cut,
        kept.with_columns(instance=pl.col("instance").rank("dense").cast(pl.Int32) - 1),
    )


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


def _coupling(op: pl.DataFrame, member: pl.DataFrame) -> Coupling:
    rank = op["rank"].to_numpy()
    step = np.maximum(op["step"].to_numpy(), 0)
    changes = (np.diff(rank) != 0) | (np.diff(step) != 0)
    first = np.flatnonzero(np.concatenate([np.ones(min(1, rank.size), np.bool_), changes]))
    last = np.flatnonzero(np.concatenate([changes, np.ones(min(1, rank.size), np.bool_)]))
    follows = np.flatnonzero(rank[1:] == rank[:-1]).astype(np.int32)
    return Coupling(
        n_op=op.height,
        edge_source=follows,
        edge_target=follows + np.int32(1),
        edge_kind=np.full(follows.size, EdgeKind.PROGRAM, np.uint8),
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
    others = recording.op.filter(pl.col("lane") > 0).height
    whole = not recording.caveat["code"].is_in(["missing_rank", "cut_off"]).any()
    strangers = _strangers(op, member) if whole else []
    shown = ", ".join(map(str, strangers[:8]))
    doubts = [
        ("wrong_ranks", f"most communications of ranks {shown} meet no other: their files are not of these ranks, or not of this run; conclusions across ranks are refused", len(strangers)),
        ("lone_transfer", "communications that met no other: their waiting counts as work", talks - member.height),
        ("buffered_sends", "sends that ended before their receive began: those of their size wait for nobody", buffered),
        ("other_threads", "regions of further threads of ranks: left out, the first thread stands for its rank", others),
        ("early_messages", "messages received before they were sent: the clocks are that far apart", early if causal else 0),
        ("not_causal", "messages were received before they were sent, so the clocks are not set; conclusions across ranks are refused", 0 if causal else early),
    ]  # fmt: skip
    return replace(recording, caveat=pl.concat([recording.caveat, caveat_table(doubts)]))


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
