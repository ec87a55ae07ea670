"""Small coupled jobs for tests of diagnosis, written op by op."""

from typing import NamedTuple

import hypothesis.strategies as st
import numpy as np
import polars as pl

from loadpath.couple import COUPLED_OP, CoupledJob, assemble_job
from loadpath.couple.graph import Coupling, EdgeKind, build_graph
from loadpath.diagnose.exposure import exposed
from loadpath.diagnose.root_cause import wait_tables, walk_back
from loadpath.diagnose.sinks import sink_keys
from loadpath.replay import op_end_ns, op_start_ns, replay
from loadpath.tables import CAVEAT, COMMUNICATOR, INSTANCE, LANE, MEMBERSHIP, RANK, STEP, Recording


class Op(NamedTuple):
    """One op; ops of one lane follow each other in the order in which they are written."""

    rank: int
    name: str
    work: int
    kind: str = "compute"
    lane: int = 0
    step: int = 0
    lag: int = 0


def compute(rank, work, name="compute", **further) -> Op:
    return Op(rank, name, work, **further)


def communicate(rank, transfer, name="all_reduce", **further) -> Op:
    return Op(rank, name, transfer, "communicate", **further)


def walked(small, ideal_ns, lag_ns=None):
    """Sinks, couplings by rank and by communicator, and every wait of a replay."""
    timeline = replay(small.graph, small.work_ns, lag_ns=lag_ns)
    exposure = exposed(small, timeline, small.work_ns)
    bubble = exposed(small, replay(small.graph, ideal_ns), ideal_ns).wait_ns
    keys, deviation = sink_keys(small), np.subtract(small.work_ns, ideal_ns)
    found, waits = walk_back(
        small, timeline, deviation, keys=keys, waits=(exposure, bubble), lag_ns=lag_ns
    )
    return *wait_tables(small, keys.keys, found), waits


def job(ops, meetings=(), edges=(), *, hosts=(), chained=True, releases=()) -> CoupledJob:
    """Return a job of `ops`, recorded as it would run.

    `meetings` are lists of ops that all wait for each other, `edges` are (source, target) or
    (source, target, kind), `hosts` the lanes that are host threads; without `chained` lanes are
    not coupled from step to step; `releases` are (op, ns).
    """
    order = list(_program_order(ops, chained=chained))
    full = order + [edge if len(edge) == 3 else (*edge, EdgeKind.DATA) for edge in edges]
    coupling = _coupling(ops, full, meetings, releases)
    graph = build_graph(coupling)
    work = np.array([op.work for op in ops])
    timeline = replay(graph, work, lag_ns=np.array([op.lag for op in ops]))
    start = op_start_ns(graph, timeline, work)
    table = COUPLED_OP.build(
        {
            "rank": [op.rank for op in ops],
            "lane": [op.lane for op in ops],
            "step": [op.step for op in ops],
            "kind": [op.kind for op in ops],
            "name": [op.name for op in ops],
            "start_ns": start,
            "duration_ns": op_end_ns(graph, timeline) - start,
            "op_class": [op.name for op in ops],
            "position": [0] * len(ops),
            "mechanism": ["unknown"] * len(ops),
            "stage": [0] * len(ops),
            "replica": [0] * len(ops),
        }
    )
    return assemble_job(
        _recording(ops, hosts),
        table,
        coupling,
        instance=INSTANCE.empty(),
        membership=MEMBERSHIP.empty(),
    )


def all_reduce_job(works, *, transfer=20, ideal=None):
    """Return a job whose ranks compute `works`, then meet; and the ideal of its ops."""
    n = len(works)
    ops = [op for r, w in enumerate(works) for op in (compute(r, w), communicate(r, transfer))]
    small = job(ops, [range(1, 2 * n, 2)])
    return small, np.where(np.arange(2 * n) % 2, transfer, works[0] if ideal is None else ideal)


@st.composite
def random_jobs(draw):
    """Draw jobs of computations on two lanes, with meetings across all ranks and in pairs."""
    n_rank, n_turn = draw(st.integers(2, 4)), draw(st.integers(1, 5))
    ops, meetings = [], []
    for turn in range(n_turn):
        ops += [
            compute(rank, draw(st.integers(0, 9)), lane=draw(st.integers(0, 1)), step=turn // 2)
            for rank in range(n_rank)
        ]
        size = draw(st.sampled_from([0, 2, n_rank]))
        first = draw(st.integers(0, n_rank - size)) if size else 0
        lane = draw(st.integers(0, 2))
        met = range(len(ops), len(ops) + size)
        ops += [
            communicate(first + k, draw(st.integers(0, 5)), lane=lane, step=turn // 2)
            for k in range(size)
        ]
        if size:
            meetings.append(met)
    chained = draw(st.booleans())
    return job(ops, meetings, chained=chained)


def _program_order(ops, *, chained):
    last: dict[tuple[int, int], int] = {}
    for number, op in enumerate(ops):
        before = last.get((op.rank, op.lane), -1)
        last[op.rank, op.lane] = number
        if before >= 0 and (chained or ops[before].step == op.step):
            yield before, number, EdgeKind.PROGRAM


def _coupling(ops, edges, meetings, releases) -> Coupling:
    members = [(op, k) for k, met in enumerate(meetings) for op in met]
    begins = {(op.rank, op.step): k for k, op in reversed(list(enumerate(ops)))}
    ends = {(op.rank, op.lane, op.step): k for k, op in enumerate(ops)}
    return Coupling(
        n_op=len(ops),
        edge_source=_column(edges, 0, np.int32),
        edge_target=_column(edges, 1, np.int32),
        edge_kind=_column(edges, 2, np.uint8),
        member_op=_column(members, 0, np.int32),
        member_instance=_column(members, 1, np.int32),
        member_contributes=np.ones(len(members), bool),
        member_waits=np.ones(len(members), bool),
        begin_op=np.array(list(begins.values()), np.int32),
        begin_step=np.array([key[1] for key in begins], np.int64),
        end_op=np.array(list(ends.values()), np.int32),
        end_step=np.array([key[2] for key in ends], np.int64),
        release_op=_column(releases, 0, np.int32),
        release_ns=_column(releases, 1, np.int64),
    )


def _column(rows, k, dtype):
    return np.array([row[k] for row in rows], dtype)


def _recording(ops, hosts) -> Recording:
    ranks = sorted({op.rank for op in ops})
    lanes = sorted({(op.rank, op.lane) for op in ops})
    return Recording(
        source="op_table",
        op=pl.DataFrame(),
        lane=LANE.build(
            {
                "rank": [rank for rank, _ in lanes],
                "lane": [lane for _, lane in lanes],
                "kind": ["host" if lane in hosts else "device" for _, lane in lanes],
                "name": [f"lane {lane}" for _, lane in lanes],
            }
        ),
        communicator=COMMUNICATOR.empty(),
        rank=RANK.build({"rank": ranks}),
        step=STEP.empty(),
        caveat=CAVEAT.empty(),
    )
