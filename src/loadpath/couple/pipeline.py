"""Couple op tables: the dependency model of pipeline and data parallelism, put into edges.

One worker (replica, stage) in one step::

    all-gather --> first forward of its chunk
    forward 0 -> forward 1 -> backward 0 -> ...           program order
    recv i  --> compute i,  compute i-1 --> recv i         (same direction)
    compute i --> send i                                   four streams, one per direction and role
    last compute -> gc -> layernorm -> embedding -> reduce-scatters -> clip -> optimizer

Sends and receives of neighbours, data-parallel collectives over replicas, the embedding all-reduce
of first and last stage, and the gradient clip of all workers are communication instances.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.graph import Coupling, EdgeKind
from loadpath.couple.job import COUPLED_OP, CoupledJob, assemble_job
from loadpath.tables import COMMUNICATOR, INSTANCE, MEMBERSHIP, Recording, caveat_table

__all__ = ["couple_pipeline"]

WORKER = ["step", "replica", "stage"]
COMPUTE = ["forward-compute", "backward-compute"]
POINT_TO_POINT = ["forward-send", "forward-recv", "backward-send", "backward-recv"]
DATA_PARALLEL = ["params-all-gather", "grads-reduce-scatter", "separate-grads-all-reduce"]
TAIL = {
    "gc": 0,
    "layernorm-grads-all-reduce": 1,
    "embedding-grads-all-reduce": 2,
    "grads-reduce-scatter": 3,
    "separate-grads-all-reduce": 4,
    "optimizer-clip-main-grad": 5,
    "optimizer": 6,
}
"""Order of what follows the last computation of a worker."""
EPSILON_NS = 50_000
"""Start and end times closer than this are one moment, when sends and receives that were recorded
but never launched are told from real ones."""
TOWARDS = {"forward-send": 1, "forward-recv": -1, "backward-send": -1, "backward-recv": 1}
"""Neighbour of each point-to-point op, in stages (and in model chunks over all stages)."""


@dataclass(frozen=True, slots=True)
class _Edges:
    source: NDArray[np.int32]
    target: NDArray[np.int32]
    kind: EdgeKind


def couple_pipeline(recording: Recording) -> CoupledJob:
    """Couple the ops of a pipeline-parallel, data-parallel job recorded as an op table.

    Parameters
    ----------
    recording : Recording
        Recording of source ``op_table``.

    Returns
    -------
    CoupledJob
        The coupled job; steps are not connected, because they need not be adjacent.

    Raises
    ------
    StructureError
        If the order of ops contradicts itself.

    References
    ----------
    .. [1] J. Lin et al., "Understanding Stragglers in Large Model Training Using What-if
       Analysis", OSDI 2025, arXiv:2505.05713.
    """
    op = _place(recording)
    sizes = recording.layout
    uses_dp = sizes["dp_size"] * sizes["dsp_size"] > 1
    transfers, doubts = _match_compute(op, sizes)
    edges = [
        *_program(op),
        *_transfer_edges(op, transfers),
        *_data_parallel_stream(op, uses_dp=uses_dp),
        *_tail(op, uses_dp=uses_dp),
    ]
    member = _members(op, transfers, sizes, uses_dp=uses_dp)
    doubts.append(
        (
            "lone_transfer",
            "sends or receives have no recorded partner: their wait is unknown and counts as work",
            member.filter(pl.col("alone") & pl.col("pair")).height,
        )
    )
    member = member.filter(~pl.col("alone"))
    coupling = _coupling(op, edges, member)
    communicator, op = _communicators(op, member)
    full = _with_caveats(recording, doubts, communicator)
    return assemble_job(
        full,
        COUPLED_OP.validate(op),
        coupling,
        instance=_instances(op, member),
        membership=_membership(member),
    )


def _place(recording: Recording) -> pl.DataFrame:
    """Add what a graph op has beyond a recorded one."""
    place = recording.rank.select(
        "rank", pl.col("dp").alias("replica"), pl.col("pp").alias("stage")
    )
    chunked = pl.col("name").cast(pl.String) + pl.when(pl.col("chunk") > 0).then(
        pl.format(" chunk {}", "chunk")
    ).otherwise(pl.lit(""))
    return (
        recording.op.join(place, on="rank", how="left", maintain_order="left")
        .with_columns(
            chunked.cast(pl.Categorical).alias("op_class"),
            pl.lit(0, pl.Int32).alias("position"),
            pl.when(pl.col("kind") == "communicate")
            .then(pl.lit("communication"))
            .otherwise(pl.lit("unknown"))
            .cast(COUPLED_OP.schema["mechanism"])
            .alias("mechanism"),
        )
        .select(*COUPLED_OP.schema)
    )


def _numbered(op: pl.DataFrame) -> pl.LazyFrame:
    """Op ids, plain names and ends beside what the model needs, in worker and start order."""
    return (
        op.lazy()
        .select(
            pl.int_range(pl.len(), dtype=pl.Int32).alias("op"),
            *WORKER,
            "rank",
            pl.col("name").cast(pl.String),
            "sequence",
            "chunk",
            "start_ns",
            (pl.col("start_ns") + pl.col("duration_ns")).alias("end_ns"),
        )
        .sort(*WORKER, "start_ns", "sequence", "name")
    )


def _chain(ops: pl.LazyFrame, by: list[str], kind: EdgeKind) -> _Edges:
    """Edges between neighbours within each group, in the order of the rows."""
    pairs = (
        ops.with_columns(pl.col("op").shift(1).over(by).alias("before"))
        .filter(pl.col("before").is_not_null())
        .select("before", "op")
        .collect()
    )
    return _Edges(pairs["before"].to_numpy(), pairs["op"].to_numpy(), kind)


def _join_edges(
    sources: pl.LazyFrame, targets: pl.LazyFrame, on: list[str], kind: EdgeKind
) -> _Edges:
    pairs = (
        sources.select(*on, pl.col("op").alias("before"))
        .join(targets.select(*on, "op"), on=on)
        .select("before", "op")
        .sort("before", "op")
        .collect()
    )
    return _Edges(pairs["before"].to_numpy(), pairs["op"].to_numpy(), kind)


def _program(op: pl.DataFrame) -> list[_Edges]:
    """Program order of computations, and of each point-to-point stream."""
    ops = _numbered(op)
    compute = ops.filter(pl.col("name").is_in(COMPUTE))
    transfer = ops.filter(pl.col("name").is_in(POINT_TO_POINT))
    backward = pl.col("name") == "backward-compute"
    before_backward = (
        compute.with_columns(
            pl.int_range(pl.len()).over(WORKER).alias("place"),
            pl.when(backward)
            .then(pl.int_range(pl.len()).over(WORKER))
            .min()
            .over(WORKER)
            .alias("b"),
        )
        .filter((pl.col("b") >= 2) & (pl.col("place") == pl.col("b") - 2))
        .select(*WORKER, "op")
    )
    first_transfer = transfer.filter(
        pl.col("name").is_in(["backward-recv", "backward-send"]) & (pl.col("sequence") == 0)
    )
    return [
        _chain(compute, WORKER, EdgeKind.PROGRAM),
        _chain(transfer, [*WORKER, "name"], EdgeKind.STREAM),
        _join_edges(before_backward, first_transfer, WORKER, EdgeKind.DATA),
    ]


def _match_compute(
    op: pl.DataFrame, sizes: Mapping[str, int]
) -> tuple[pl.DataFrame, list[tuple[str, str, int]]]:
    """Say for each send and receive which computation it serves, and which have a partner."""
    ops = _numbered(op).with_columns(pl.col("name").str.split("-").list.first().alias("direction"))
    compute = ops.filter(pl.col("name").is_in(COMPUTE))
    n_stage, n_chunk = sizes["pp_size"], sizes["vpp_size"]
    served = compute.select(
        *WORKER,
        "direction",
        pl.col("sequence").alias("serves"),
        pl.col("op").alias("compute"),
        (pl.col("chunk").clip(lower_bound=0) * n_stage + pl.col("stage")).alias("global_chunk"),
    )
    towards = pl.col("name").replace_strict(TOWARDS, return_dtype=pl.Int64)
    reach = pl.col("global_chunk") + towards
    matched = (
        _launched(ops, compute)
        .join(served, on=[*WORKER, "direction", "serves"], how="left", maintain_order="left")
        .with_columns(
            pl.when(pl.col("compute").is_null())
            .then(pl.lit(value=False))
            .otherwise((reach >= 0) & (reach < n_stage * n_chunk))
            .alias("real"),
            ((pl.col("stage") + towards) % n_stage).alias("peer_stage"),
        )
        .collect()
    )
    short = pl.col("n_compute").cast(pl.Int64) - pl.col("n_real")
    uneven = matched.filter((pl.col("n_real") > 0) & ~short.is_in([0, 1]))
    text = "a worker's sends or receives do not match its computations in number: some are missing"
    return matched, [("uneven_transfers", text, uneven.select(*WORKER, "name").unique().height)]


def _launched(ops: pl.LazyFrame, compute: pl.LazyFrame) -> pl.LazyFrame:
    """Find for each launched send and receive the number of the computation it serves.

    A receive posted after the last computation of its direction, or a send that ended before the
    first, was recorded but never launched. Where one receive is missing, it is the first one's.
    """  # noqa: DOC201
    is_recv = pl.col("name").str.ends_with("recv")
    of_type = [*WORKER, "name"]
    bounds = compute.group_by(*WORKER, "direction").agg(
        pl.col("start_ns").max().alias("last_start"),
        pl.col("end_ns").min().alias("first_end"),
        pl.len().alias("n_compute"),
    )
    idle = (
        pl.when(is_recv)
        .then(pl.col("start_ns") > pl.col("last_start") + EPSILON_NS)
        .otherwise(pl.col("end_ns") < pl.col("first_end") - EPSILON_NS)
    )
    late = (is_recv & (pl.col("n_real") + 1 == pl.col("n_compute"))).cast(pl.Int64)
    number = (~pl.col("idle")).cum_sum().over(of_type).cast(pl.Int64) - 1
    return (
        ops.filter(pl.col("name").is_in(POINT_TO_POINT))
        .join(bounds, on=[*WORKER, "direction"], how="left", maintain_order="left")
        .with_columns(idle.fill_null(value=True).alias("idle"))
        .with_columns((~pl.col("idle")).sum().over(of_type).cast(pl.Int64).alias("n_real"))
        .with_columns(pl.when(~pl.col("idle")).then(number + late).alias("serves"))
    )


def _transfer_edges(op: pl.DataFrame, transfer: pl.DataFrame) -> list[_Edges]:
    """Join computation to send, receive to computation, and the computation before to receive."""
    served = transfer.filter(pl.col("compute").is_not_null())
    recv = served.filter(pl.col("name").str.ends_with("recv"))
    send = served.filter(pl.col("name").str.ends_with("send"))
    compute = (
        _numbered(op)
        .filter(pl.col("name").is_in(COMPUTE))
        .with_columns(
            pl.col("name").str.split("-").list.first().alias("direction"),
            (pl.col("sequence") + 1).alias("serves"),
        )
    )
    on = [*WORKER, "direction", "serves"]
    return [
        _Edges(send["compute"].to_numpy(), send["op"].to_numpy(), EdgeKind.DATA),
        _Edges(recv["op"].to_numpy(), recv["compute"].to_numpy(), EdgeKind.DATA),
        _join_edges(compute, recv.lazy(), on, EdgeKind.DATA),
    ]


def _data_parallel_stream(op: pl.DataFrame, *, uses_dp: bool) -> list[_Edges]:
    """All-gathers and reduce-scatters share a stream; a chunk's parameters precede its forward."""
    if not uses_dp:
        return []
    ops = _numbered(op)
    stream = ops.filter(pl.col("name").is_in(["params-all-gather", "grads-reduce-scatter"]))
    by_chunk = [*WORKER, "chunk"]
    gathers = (
        ops.filter(pl.col("name") == "params-all-gather")
        .sort(*WORKER, "sequence")
        .group_by(by_chunk, maintain_order=True)
        .agg(pl.col("op").last())
    )
    forwards = (
        ops.filter(pl.col("name") == "forward-compute")
        .group_by(by_chunk, maintain_order=True)
        .agg(pl.col("op").first())
    )
    return [
        _chain(stream, WORKER, EdgeKind.STREAM),
        _join_edges(gathers, forwards, by_chunk, EdgeKind.DATA),
    ]


def _tail(op: pl.DataFrame, *, uses_dp: bool) -> list[_Edges]:
    """Chain what follows the last computation; reduce-scatters may overlap with it."""
    ops = _numbered(op)
    overlaps = uses_dp and bool((op["name"] == "separate-grads-all-reduce").any())
    phases = {name: phase for name, phase in TAIL.items() if not overlaps or phase != 3}
    tail = (
        ops.filter(pl.col("name").is_in(list(phases)))
        .with_columns(pl.col("name").replace_strict(phases, return_dtype=pl.Int32).alias("phase"))
        .sort(*WORKER, "phase", "sequence")
    )
    compute = ops.filter(pl.col("name").is_in(COMPUTE))
    last = compute.group_by(WORKER, maintain_order=True).agg(
        pl.col("op").sort_by("end_ns", descending=True, maintain_order=True).first()
    )
    first = tail.group_by(WORKER, maintain_order=True).agg(pl.col("op").first())
    edges = [
        _chain(tail, WORKER, EdgeKind.PROGRAM),
        _join_edges(last, first, WORKER, EdgeKind.PROGRAM),
    ]
    return [*edges, *_overlapped(ops, compute, tail)] if overlaps else edges


def _overlapped(ops: pl.LazyFrame, compute: pl.LazyFrame, tail: pl.LazyFrame) -> list[_Edges]:
    """Put a chunk's first reduce-scatter after its last backward, the last one before the tail."""
    by_chunk = [*WORKER, "chunk"]
    scatter = ops.filter(pl.col("name") == "grads-reduce-scatter").sort(*WORKER, "sequence")
    backward = (
        compute.filter(pl.col("name") == "backward-compute")
        .group_by(by_chunk, maintain_order=True)
        .agg(pl.col("op").sort_by("end_ns", descending=True, maintain_order=True).first())
    )
    first = scatter.group_by(by_chunk, maintain_order=True).agg(pl.col("op").first())
    last = scatter.group_by(WORKER, maintain_order=True).agg(pl.col("op").last())
    after_gc = (
        tail.filter(pl.col("phase") > 0)
        .group_by(WORKER, maintain_order=True)
        .agg(pl.col("op").first())
    )
    return [
        _join_edges(backward, first, by_chunk, EdgeKind.DATA),
        _join_edges(last, after_gc, WORKER, EdgeKind.DATA),
    ]


def _members(
    op: pl.DataFrame, transfer: pl.DataFrame, sizes: Mapping[str, int], *, uses_dp: bool
) -> pl.DataFrame:
    """Who meets whom: rows (op, key of its communication, whether a pair, whether alone)."""
    name = pl.col("name")
    group = pl.format("{}|{}", name, "sequence")
    ops = _numbered(op)
    real = transfer.lazy().filter(pl.col("real"))
    sender = pl.when(name.str.ends_with("send")).then("stage").otherwise("peer_stage")
    number = pl.int_range(pl.len()).over([*WORKER, "name"])
    pairs = real.select(
        "op",
        "step",
        pl.col("replica").cast(pl.Int32),
        pl.format("{}|{}|{}", "direction", sender, number).alias("meeting"),
        pl.lit(value=True).alias("pair"),
    )
    over_replicas = DATA_PARALLEL if uses_dp else []
    everyone = pl.lit(-1, pl.Int32).alias("replica")
    replicas = ops.filter(name.is_in(over_replicas)).select(
        "op", "step", everyone, pl.format("{}|{}", group, "stage").alias("meeting"),
        pl.lit(value=False).alias("pair"),
    )  # fmt: skip
    ends = pl.col("stage").is_in([0, sizes["pp_size"] - 1])
    embedding = ops.filter((name == "embedding-grads-all-reduce") & ends).select(
        "op", "step", pl.col("replica").cast(pl.Int32), group.alias("meeting"),
        pl.lit(value=False).alias("pair"),
    )  # fmt: skip
    clip = ops.filter(name == "optimizer-clip-main-grad").select(
        "op", "step", everyone, group.alias("meeting"), pl.lit(value=False).alias("pair")
    )
    key = ["step", "replica", "meeting"]
    return (
        pl.concat([pairs, replicas, embedding, clip])
        .with_columns((pl.len().over(key) == 1).alias("alone"))
        .sort(*key, "op")
        .collect()
    )


def _coupling(op: pl.DataFrame, edges: list[_Edges], member: pl.DataFrame) -> Coupling:
    instance = member.select(pl.struct("step", "replica", "meeting").rle_id()).to_series()
    number = pl.int_range(pl.len(), dtype=pl.Int32).alias("op")
    ends = op.select(
        number, "step", "rank", "lane", (pl.col("start_ns") + pl.col("duration_ns")).alias("end_ns")
    )
    begin = (
        op.select(number, "step", "rank", "start_ns")
        .sort("step", "rank", "start_ns", "op")
        .group_by("step", "rank", maintain_order=True)
        .agg(pl.col("op").first())
    )
    last = _last_of_worker(op, ends)
    every = np.ones(member.height, np.bool_)
    return Coupling(
        n_op=op.height,
        edge_source=np.concatenate([e.source for e in edges]).astype(np.int32),
        edge_target=np.concatenate([e.target for e in edges]).astype(np.int32),
        edge_kind=np.concatenate([np.full(e.source.size, e.kind, np.uint8) for e in edges]),
        member_op=member["op"].to_numpy().astype(np.int32),
        member_instance=instance.to_numpy().astype(np.int32),
        member_contributes=every,
        member_waits=every,
        begin_op=begin["op"].to_numpy(),
        begin_step=begin["step"].to_numpy(),
        end_op=last["op"].to_numpy(),
        end_step=last["step"].to_numpy(),
    )


def _last_of_worker(op: pl.DataFrame, ends: pl.DataFrame) -> pl.DataFrame:
    """Ops that may end a step: the last of each name on each rank (names share lanes)."""
    return (
        ends.with_columns(op["name"])
        .sort("step", "rank", "name", "end_ns", "op")
        .group_by("step", "rank", "name", maintain_order=True)
        .agg(pl.col("op").last())
        .sort("op")
    )


def _communicators(op: pl.DataFrame, member: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Name each set of ranks that meet; the same set under one name is one communicator."""
    joined = member.with_columns(
        pl.struct("step", "replica", "meeting").rle_id().alias("instance"),
        op["rank"].gather(member["op"]).alias("rank"),
        op["name"].cast(pl.String).gather(member["op"]).alias("name"),
    )
    label = (
        pl.when(pl.col("pair").first())
        .then(pl.lit("point to point "))
        .otherwise(pl.col("name").first() + " ")
    )
    sets = joined.group_by("instance", maintain_order=True).agg(
        (label + pl.col("rank").sort().cast(pl.String).str.join(",")).alias("label"),
        pl.col("rank").sort().alias("members"),
    )
    groups = (
        sets.group_by("label", maintain_order=True)
        .agg(pl.col("members").first())
        .sort("label")
        .with_row_index("communicator")
    )
    numbers = sets.join(groups.select("label", "communicator"), on="label").select(
        "instance", pl.col("communicator").cast(pl.Int32)
    )
    of_op = joined.join(numbers, on="instance").select("op", "communicator").sort("op")
    column = np.full(op.height, -1, np.int32)
    column[of_op["op"].to_numpy()] = of_op["communicator"].to_numpy()
    table = COMMUNICATOR.build(
        groups.select(
            "communicator",
            pl.col("label").alias("name"),
            pl.col("members").list.len().alias("n_members"),
            "members",
        )
    )
    return table, op.with_columns(pl.Series("communicator", column))


def _instances(op: pl.DataFrame, member: pl.DataFrame) -> pl.DataFrame:
    ids = member["op"]
    return INSTANCE.build(
        member.with_columns(
            pl.struct("step", "replica", "meeting").rle_id().cast(pl.Int32).alias("instance"),
            op["collective"].gather(ids).alias("collective"),
            op["communicator"].gather(ids).alias("communicator"),
            op["sequence"].gather(ids).alias("sequence"),
        )
        .group_by("instance", maintain_order=True)
        .agg(
            pl.col("collective").first(),
            pl.col("communicator").first(),
            pl.col("sequence").first(),
            pl.col("step").first(),
            pl.len().alias("n_members"),
        )
        .with_columns(pl.lit(value=True).alias("matched"))
    )


def _membership(member: pl.DataFrame) -> pl.DataFrame:
    return MEMBERSHIP.build(
        member.select(
            "op",
            pl.struct("step", "replica", "meeting").rle_id().alias("instance"),
            pl.lit("all").alias("role"),
            pl.lit(value=True).alias("contributes"),
            pl.lit(value=True).alias("waits"),
        )
    )


def _with_caveats(
    recording: Recording, doubts: list[tuple[str, str, int]], communicator: pl.DataFrame
) -> Recording:
    return Recording(
        source=recording.source,
        op=recording.op,
        lane=recording.lane,
        communicator=communicator,
        rank=recording.rank,
        step=recording.step,
        caveat=pl.concat([recording.caveat, caveat_table(doubts)]),
        inputs=recording.inputs,
        layout=recording.layout,
    )
