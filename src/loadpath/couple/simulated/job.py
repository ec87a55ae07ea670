"""A schedule and its frozen service order, coupled.

One message between two ranks; `=` takes a processor, `-` an interface, `~` the wire::

    sender     === send === pack ===
               --- gap --- inject ---
    wire                ~~~ transit ~~~> arrival
    receiver   post . . . . . wait . . . . . === stream === receive ===

A send of more than S bytes ends when it meets its receive: `release` (of the processor) and `clear` (of
the interface). Who took a processor or interface after whom is *incidental* order, where the schedule does
not require it.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loadpath.couple.graph import Coupling, EdgeKind
from loadpath.couple.job import CoupledJob, assemble_job
from loadpath.couple.kernels import group_by_key
from loadpath.couple.loggops import LogGOPS
from loadpath.couple.service_order import ServiceOrder
from loadpath.couple.simulated import kernels
from loadpath.couple.simulated.ops import (
    SimulatedOps,
    coupled_ops,
    lane_numbers,
    split_ops,
)
from loadpath.tables import COMMUNICATOR, INSTANCE, LANE, MEMBERSHIP, STEP, Recording, caveat_table
from loadpath.tables.schedule import Schedule

__all__ = ["couple_simulated"]

Int32Array = NDArray[np.int32]

ORDER = (
    "times a processor or interface went to an op that the schedule does not put after the one "
    "before: replays keep this order, which other times might change"
)
MODELLED = (
    "no times were recorded: all are simulated, with L={model.L}, o={model.o}, g={model.g}, "
    "G={model.G:g}, O={model.O:g}, S={model.S}; every figure is modelled"
)
ITERATIONS = (
    "steps are iterations: as often every rank repeats one list of ops; the schedule marks no steps"
)
BROKEN = (
    "requirements across processors of a rank were not kept by the simulator, which lets an op "
    "begin when its own processor is free: the graph leaves them out"
)


def couple_simulated(
    recording: Recording, schedule: Schedule, served: ServiceOrder, model: LogGOPS
) -> CoupledJob:
    """Couple a schedule that was simulated to its end.

    Replaying the graph gives the times of the simulation, to the ns; it stays right under changes as
    long as they do not change who takes a processor or interface after whom.

    Parameters
    ----------
    recording : Recording
        Where the ranks and doubts come from.
    schedule : Schedule
        What was run.
    served : ServiceOrder
        What happened when; every op ended.
    model : LogGOPS
        Costs of messages.

    Returns
    -------
    CoupledJob
        The coupled job, whose times are modelled; its steps are iterations, or it is one step.
    """
    ops = split_ops(schedule, served, model)
    edges, n_broken = _edges(schedule, served, ops)
    member = _members(served, ops)
    op = coupled_ops(schedule, ops, served.match)
    step = op["step"].to_numpy()
    n_step = op["step"].n_unique()
    n_incidental = int((edges[2] == EdgeKind.INCIDENTAL).sum())
    begin, last = _borders(op, lane_numbers(schedule)["wire"])
    _mark_steps(op, edges, begin)
    coupling = Coupling(
        n_op=op.height,
        edge_source=edges[0],
        edge_target=edges[1],
        edge_kind=edges[2],
        member_op=member["op"].to_numpy(),
        member_instance=member["instance"].to_numpy(),
        member_contributes=member["contributes"].to_numpy(),
        member_waits=member["waits"].to_numpy(),
        begin_op=begin,
        begin_step=step[begin],
        end_op=last,
        end_step=step[last],
    )
    doubts = caveat_table([
        ("simulated", MODELLED.format(model=model), 1),
        ("iterations", ITERATIONS, n_step if n_step > 1 else 0),
        ("service_order", ORDER, n_incidental),
        ("requirement_not_kept", BROKEN, n_broken),
    ])  # fmt: skip
    return assemble_job(
        _completed(recording, schedule, op, doubts),
        op,
        coupling,
        instance=_instances(op, member),
        membership=member,
    )


def _edges(
    schedule: Schedule, served: ServiceOrder, ops: SimulatedOps
) -> tuple[tuple[Any, Any, Any], int]:
    """Edges, and requirements that were not kept."""
    by_target, order = group_by_key(schedule.edge_target, schedule.n_op)
    n_edge = 18 * int((ops.sort == kernels.SENDING).sum()) + 5 * schedule.n_op + 2 * order.size
    edges = tuple(np.empty(n_edge, kind) for kind in (np.int32, np.int32, np.uint8))
    n, n_broken = kernels.link_served(
        (schedule.kind, schedule.rank, ops.waits),
        _ports(schedule),
        (by_target, schedule.edge_source[order], schedule.edge_on_start[order]),
        _successors(schedule, ~schedule.edge_on_start),
        _successors(schedule, schedule.edge_on_start),
        (served.order, served.start_ns, served.match),
        ops.graph_op,
        (ops.begin_ns, ops.end_ns),
        edges,
    )
    source, target, kind = (column[:n].copy() for column in edges)
    return (source, target, kind), n_broken


def _ports(schedule: Schedule) -> tuple[Any, ...]:
    """Processor and interfaces of each op, over all ranks, and how many a rank has."""
    host, peer = schedule.rank, schedule.peer
    cpu, nic = schedule.cpu.astype(np.int32), schedule.nic.astype(np.int32)
    n_cpu, n_nic = int(cpu.max(initial=0)) + 1, int(nic.max(initial=0)) + 1
    out, into = host * n_nic + nic, peer * n_nic + nic
    return host * n_cpu + cpu, out, into, peer * n_cpu + cpu, n_cpu, n_nic


def _successors(schedule: Schedule, chosen: NDArray[np.bool_]) -> tuple[Any, Any]:
    start, order = group_by_key(schedule.edge_source[chosen], schedule.n_op)
    return start, schedule.edge_target[chosen][order]


def _members(served: ServiceOrder, ops: SimulatedOps) -> pl.DataFrame:
    """List what is on the wire for each message, and who waits: the receiver, and the sender of a long one."""
    sent = np.flatnonzero(ops.graph_op[kernels.SENDING] >= 0)
    receiver = np.full(ops.waits.size, -1, np.int64)
    taken = served.match >= 0
    receiver[served.match[taken]] = np.flatnonzero(taken)
    number = np.arange(sent.size)
    long = np.flatnonzero(ops.waits[sent])
    of_long = receiver[sent[long]]
    n_op = ops.waits.size
    # a receive posted after its message had come is what the sender waited for, in an instance of its own
    late = _served_after(served, of_long, n_op + sent[long])
    own = np.where(late, sent.size + np.cumsum(late) - 1, number[long])
    injected = np.flatnonzero(ops.graph_op[kernels.INJECT, sent] >= 0)
    parts = [
        (ops.graph_op[kernels.INJECT, sent[injected]], injected, "sender", False, False),
        (ops.graph_op[kernels.TRANSIT, sent], number, "receiver", False, False),
        (ops.graph_op[kernels.ARRIVAL, sent], number, "sender", True, False),
        (ops.graph_op[kernels.STREAM, sent], number, "receiver", True, True),
        (ops.graph_op[kernels.RELEASE, sent[long]], own, "sender", False, True),
        (ops.graph_op[kernels.POST, of_long[late]], own[late], "receiver", True, False),
    ]
    return MEMBERSHIP.build(
        pl.concat(
            pl.DataFrame({"op": op, "instance": instance.astype(np.int32)}).with_columns(
                pl.lit(role).alias("role"),
                pl.lit(gives).alias("contributes"),
                pl.lit(takes).alias("waits"),
            )
            for op, instance, role, gives, takes in parts
        )
    )


def _served_after(
    served: ServiceOrder, event: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.bool_]:
    place = np.zeros(served.start_ns.size, np.int64)
    place[served.order] = np.arange(served.order.size)
    return place[event] > place[other]


def _instances(op: pl.DataFrame, member: pl.DataFrame) -> pl.DataFrame:
    first = member.unique("instance", keep="first", maintain_order=True).sort("instance")
    row = first["op"].to_numpy()
    return INSTANCE.build(
        op.select("collective", "communicator", "step", "bytes")[row].with_columns(
            first["instance"],
            pl.lit(2, pl.Int32).alias("n_members"),
            pl.lit(value=True).alias("matched"),
        )
    )


def _borders(op: pl.DataFrame, wire: int) -> tuple[Int32Array, Int32Array]:
    """Graph ops with which each rank begins each step, and the last of each processor and interface.

    A step begins with the earliest op on a processor, or on a wire to the rank.
    """  # noqa: DOC201
    timed = op.with_row_index().with_columns(end=pl.col("start_ns") + pl.col("duration_ns"))
    place = ["step", "rank"]
    first = timed.sort(*place, "start_ns", "lane", "index").unique(
        place, keep="first", maintain_order=True
    )
    ends = timed.filter(pl.col("lane") < wire).sort(*place, "lane", "end", "index")
    last = ends.unique([*place, "lane"], keep="last", maintain_order=True)
    begin, end = (found["index"].to_numpy().astype(np.int32) for found in (first, last))
    return begin, end


def _mark_steps(op: pl.DataFrame, edges: tuple[Any, Any, Any], begin: Int32Array) -> None:
    """Make edges of kind STEP, in place, of those by which a rank enters a step from an earlier one."""
    source, target, kind = edges
    begins = np.zeros(op.height, np.bool_)
    begins[begin] = True
    rank, step = op["rank"].to_numpy(), op["step"].to_numpy()
    enters = begins[target] & (rank[source] == rank[target]) & (step[source] < step[target])
    kind[enters] = EdgeKind.STEP


def _completed(
    recording: Recording, schedule: Schedule, op: pl.DataFrame, doubts: pl.DataFrame
) -> Recording:
    """Fill what the simulation tells: lanes, the step, the one group, and doubts."""
    first = lane_numbers(schedule)
    lanes = op.select("rank", "lane").unique().sort("rank", "lane")
    number = lanes["lane"].to_numpy()
    kind = np.where(number < first["out"], "host", "communication")
    borders = [first[name] for name in ("out", "in", "wire")]
    names = np.array(["processor", "interface out", "interface in", "wire"])
    which = np.searchsorted(borders, number, "right")
    ranks = recording.rank["rank"]
    return replace(
        recording,
        lane=LANE.build(lanes.with_columns(pl.Series("kind", kind), pl.Series("name", names[which]))),
        step=_step_table(op, ranks),
        communicator=COMMUNICATOR.build(
            {"communicator": [0], "name": ["all ranks"], "n_members": [ranks.len()], "members": [ranks.to_list()]}
        ),
        caveat=pl.concat([recording.caveat, doubts]),
    )  # fmt: skip


def _step_table(op: pl.DataFrame, ranks: pl.Series) -> pl.DataFrame:
    """When each rank is in each step; a job of one step lasts from 0 to its end on all."""
    end = pl.col("start_ns") + pl.col("duration_ns")
    if op["step"].n_unique() > 1:
        spans = op.group_by("rank", "step").agg(pl.col("start_ns").min(), end_ns=end.max())
        return STEP.build(spans.sort("rank", "step"))
    whole = op.select(step=0, start_ns=0, end_ns=end.max().fill_null(0))
    return STEP.build(pl.DataFrame({"rank": ranks}).join(whole.head(1), how="cross"))
