"""The coupled execution graph of all ranks: nodes, typed edges, topological numbering.

A plain op is one node (its end). An op that others may follow from its *start* (a launch call), or
that waits inside itself (a member of a communication, a synchronising host call), is two: *arrive*
and *complete*::

    rank 0   --- arrive ---.             .--- complete ---
                            >-- sync --<
    rank 1   --- arrive ---'             '--- complete ---

One *sync* node stands for each communication instance, so k members cost 2k edges.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadpath.couple import kernels
from loadpath.errors import StructureError

__all__ = [
    "Coupling",
    "CouplingGraph",
    "EdgeKind",
    "Int32Array",
    "Int64Array",
    "NodeRole",
    "UInt8Array",
    "build_graph",
]

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
UInt8Array = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]


class EdgeKind(IntEnum):
    """Why one op waits for another."""

    PROGRAM = 0
    """Next in the program order of one host thread or compute lane."""
    STREAM = 1
    """Next on the same device stream or communication channel."""
    LAUNCH = 2
    """A device op starts after the *start* of the call that launched it, plus a latency."""
    CROSS_STREAM = 3
    """An op waits for an op of another stream of its rank."""
    HOST_WAIT = 4
    """A host call that began earlier *completes* only after the source op ended."""
    DATA = 5
    """The target needs what the source made."""
    STEP = 6
    """Boundary between two adjacent steps of a lane."""
    INCIDENTAL = 7
    """Service order of a shared resource: a counterfactual may change it."""
    MEMBER = 8
    """An arrival counts towards its communication (arrive to sync)."""
    SYNC = 9
    """A member completes once its communication is ready (sync to complete)."""
    INSIDE = 10
    """From the arrive node of an op to its own complete node."""
    RELEASE = 11
    """A recorded boundary: nothing before it was recorded."""


class NodeRole(IntEnum):
    """What a node's time stands for."""

    WORK = 0
    """End of a plain op; its weight is the op's duration."""
    ARRIVE = 1
    """Start of a two-node op: its data is ready and its lane free; weight 0."""
    COMPLETE = 2
    """End of a two-node op; its weight is the transfer, or what remains after the wait."""
    SYNC = 3
    """All members that others wait for have arrived; weight 0."""
    LAUNCH = 4
    """A launch has reached the device; its weight is the launch latency."""
    RELEASE = 5
    """The recorded boundary of an op: it cannot start before this time."""


@dataclass(frozen=True, slots=True)
class Coupling:
    """Who waits for whom, before nodes are numbered: what each builder of `couple` produces.

    Op ids are rows of the op table. All arrays of one group have the same length.

    Attributes
    ----------
    n_op : int
        Number of ops.
    edge_source, edge_target : (n_edge,) arrays of int32
        Ops.
    edge_kind : (n_edge,) array of uint8
        `EdgeKind`: PROGRAM ... INCIDENTAL. LAUNCH leaves the source's start, all others its end;
        HOST_WAIT enters the target's completion, all others its start.
    member_op, member_instance : (n_member,) arrays of int32
        An op's part in a communication; instances are numbered from 0.
    member_contributes, member_waits : (n_member,) arrays of bool
        Whether the others wait for it, and whether it waits for them.
    begin_op, begin_step : (n_begin,) arrays of int32 and int64
        First op of each rank in each step; the step begins when the earliest of them starts.
    end_op, end_step : (n_end,) arrays of int32 and int64
        Ops whose end may be the end of a step (the last of each lane of each rank).
    release_op, release_ns : arrays of int32 and int64
        Ops that cannot start before a time (ns after the recording's first start), because what
        they waited for was not recorded.
    launch_latency_ns : (n_op,) array of int64 or None
        Latency between the start of a launch call and the op it launched; 0 where None.
    """

    n_op: int
    edge_source: Int32Array
    edge_target: Int32Array
    edge_kind: UInt8Array
    member_op: Int32Array
    member_instance: Int32Array
    member_contributes: BoolArray
    member_waits: BoolArray
    begin_op: Int32Array
    begin_step: Int64Array
    end_op: Int32Array
    end_step: Int64Array
    release_op: Int32Array = field(default_factory=lambda: np.empty(0, np.int32))
    release_ns: Int64Array = field(default_factory=lambda: np.empty(0, np.int64))
    launch_latency_ns: Int64Array | None = None


@dataclass(frozen=True, slots=True)
class CouplingGraph:
    """Coupled ops in topological order, two fixed predecessors each and the rest in an overflow.

    Node ids are a topological order. Predecessor entries are *shifted by one*: entry 0 is the
    root, whose time is always 0, and entry ``v + 1`` is node ``v``; so a kernel keeps times in an
    array of ``n_node + 1`` entries and needs no test for missing predecessors.

    Attributes
    ----------
    first, second : (n_node,) arrays of int32
        Shifted predecessors; 0 where a node has none.
    first_kind, second_kind : (n_node,) arrays of uint8
        `EdgeKind` of those edges.
    overflow_node : (n_overflow,) array of int32
        Nodes with more than two predecessors, ascending.
    overflow_start : (n_overflow + 1,) array of int64
        Where each one's further predecessors begin in `overflow_pred`.
    overflow_pred : array of int32
        Further shifted predecessors.
    overflow_kind : array of uint8
        `EdgeKind` of those edges.
    role : (n_node,) array of uint8
        `NodeRole`.
    op : (n_node,) array of int32
        Op of the node; the instance number of a SYNC node; the released or launched op of a
        RELEASE or LAUNCH node.
    start_node, end_node : (n_op,) arrays of int32
        ARRIVE and COMPLETE node of each op; the same node for a plain op.
    fixed_ns : (n_node,) array of int64
        Weight of LAUNCH nodes (latency) and RELEASE nodes (time after the first start of the
        recording); 0 elsewhere.
    begin_node, end_step_node : arrays of int32
        Nodes where a rank begins a step, and where it may end.
    begin_step, end_step : arrays of int32
        Index of their step in `step`.
    step : (n_step,) array of int64
        Step numbers, ascending.
    """

    first: Int32Array
    second: Int32Array
    first_kind: UInt8Array
    second_kind: UInt8Array
    overflow_node: Int32Array
    overflow_start: Int64Array
    overflow_pred: Int32Array
    overflow_kind: UInt8Array
    role: UInt8Array
    op: Int32Array
    start_node: Int32Array
    end_node: Int32Array
    fixed_ns: Int64Array
    begin_node: Int32Array
    begin_step: Int32Array
    end_step_node: Int32Array
    end_step: Int32Array
    step: Int64Array

    @property
    def n_node(self) -> int:
        """Number of nodes."""
        return int(self.first.size)

    @property
    def n_op(self) -> int:
        """Number of ops."""
        return int(self.start_node.size)

    @property
    def n_edge(self) -> int:
        """Number of edges, those from the root not counted."""
        return int(
            np.count_nonzero(self.first)
            + np.count_nonzero(self.second)
            + np.count_nonzero(self.overflow_pred)
        )


def build_graph(
    coupling: Coupling, describe: Callable[[int], str] = lambda op: f"op {op}"
) -> CouplingGraph:
    """Turn couplings into nodes and edges, and number the nodes topologically.

    Parameters
    ----------
    coupling : Coupling
        Who waits for whom.
    describe : callable of int to str
        Names an op in an error message.

    Returns
    -------
    CouplingGraph
        The same couplings, ready for replay.

    Raises
    ------
    StructureError
        If the couplings form a cycle: no execution can satisfy them. The cycle is named.

    Examples
    --------
    Two ranks compute (ops 0 and 1), then meet in an all-reduce (ops 2 and 3):

    >>> import numpy as np
    >>> graph = build_graph(
    ...     Coupling(
    ...         n_op=4,
    ...         edge_source=np.array([0, 1], np.int32),
    ...         edge_target=np.array([2, 3], np.int32),
    ...         edge_kind=np.zeros(2, np.uint8),
    ...         member_op=np.array([2, 3], np.int32),
    ...         member_instance=np.zeros(2, np.int32),
    ...         member_contributes=np.ones(2, bool),
    ...         member_waits=np.ones(2, bool),
    ...         begin_op=np.empty(0, np.int32),
    ...         begin_step=np.empty(0, np.int64),
    ...         end_op=np.empty(0, np.int32),
    ...         end_step=np.empty(0, np.int64),
    ...     )
    ... )
    >>> graph.n_node, graph.n_edge  # two computations, 2 x (arrive, complete), one sync
    (7, 6)
    """
    split = _two_node_ops(coupling)
    end_raw = (np.cumsum(1 + split.astype(np.int64)) - 1).astype(np.int32)
    start_raw = (end_raw - split).astype(np.int32)
    role, op, fixed = _nodes(coupling, split, start_raw, end_raw)
    source, target, kind = _edges(coupling, split, start_raw, end_raw)
    number, by_target = _number(source, target, op, role, describe=describe)
    packed = kernels.pack_predecessors(number, source, kind, *by_target)
    back = np.empty_like(number)
    back[number] = np.arange(number.size, dtype=np.int32)
    step = np.unique(np.concatenate([coupling.begin_step, coupling.end_step]))
    return CouplingGraph(
        first=packed[0],
        second=packed[1],
        first_kind=packed[2],
        second_kind=packed[3],
        overflow_node=packed[4],
        overflow_start=packed[5],
        overflow_pred=packed[6],
        overflow_kind=packed[7],
        role=role[back],
        op=op[back],
        start_node=number[start_raw],
        end_node=number[end_raw],
        fixed_ns=fixed[back],
        begin_node=number[start_raw[coupling.begin_op]],
        begin_step=np.searchsorted(step, coupling.begin_step).astype(np.int32),
        end_step_node=number[end_raw[coupling.end_op]],
        end_step=np.searchsorted(step, coupling.end_step).astype(np.int32),
        step=step,
    )


def _two_node_ops(coupling: Coupling) -> BoolArray:
    split = np.zeros(coupling.n_op, np.bool_)
    split[coupling.member_op] = True
    split[coupling.begin_op] = True
    split[coupling.edge_source[coupling.edge_kind == EdgeKind.LAUNCH]] = True
    split[coupling.edge_target[coupling.edge_kind == EdgeKind.HOST_WAIT]] = True
    return split


def _nodes(
    coupling: Coupling, split: BoolArray, start_raw: Int32Array, end_raw: Int32Array
) -> tuple[UInt8Array, Int32Array, Int64Array]:
    """Role, op and fixed weight of each node: ops first, then sync, launch, release nodes."""
    n_instance = int(coupling.member_instance.max(initial=-1)) + 1
    launched = coupling.edge_target[coupling.edge_kind == EdgeKind.LAUNCH]
    n_own = int(coupling.n_op + split.sum())
    own_role = np.zeros(n_own, np.uint8)
    own_role[start_raw[split]] = NodeRole.ARRIVE
    own_role[end_raw[split]] = NodeRole.COMPLETE
    own_op = np.zeros(n_own, np.int32)
    own_op[start_raw] = np.arange(coupling.n_op)
    own_op[end_raw] = np.arange(coupling.n_op)
    role = np.concatenate(
        [
            own_role,
            np.full(n_instance, NodeRole.SYNC, np.uint8),
            np.full(launched.size, NodeRole.LAUNCH, np.uint8),
            np.full(coupling.release_op.size, NodeRole.RELEASE, np.uint8),
        ]
    )
    op = np.concatenate(
        [own_op, np.arange(n_instance, dtype=np.int32), launched, coupling.release_op]
    )
    latency = coupling.launch_latency_ns
    fixed = np.concatenate(
        [
            np.zeros(n_own + n_instance, np.int64),
            np.zeros(launched.size, np.int64) if latency is None else latency[launched],
            coupling.release_ns,
        ]
    )
    return role, op.astype(np.int32), fixed


def _edges(  # noqa: PLR0914 - one list of all kinds of edges reads best
    coupling: Coupling, split: BoolArray, start_raw: Int32Array, end_raw: Int32Array
) -> tuple[Int32Array, Int32Array, UInt8Array]:
    """Edges between raw nodes."""
    kind = coupling.edge_kind
    launch, wait = kind == EdgeKind.LAUNCH, kind == EdgeKind.HOST_WAIT
    plain = ~(launch | wait)
    n_own = int(coupling.n_op + split.sum())
    sync = n_own + coupling.member_instance
    further = n_own + int(coupling.member_instance.max(initial=-1)) + 1
    launch_node = further + np.arange(int(launch.sum()), dtype=np.int32)
    release_node = further + launch_node.size + np.arange(coupling.release_op.size, dtype=np.int32)
    begin, end, member = coupling.edge_source, coupling.edge_target, coupling.member_op
    gives, takes = coupling.member_contributes, coupling.member_waits
    inside = split.copy()
    inside[member[gives & takes]] = False
    parts: list[tuple[Any, Any, Any]] = [
        (end_raw[begin[plain]], start_raw[end[plain]], kind[plain]),
        (start_raw[begin[launch]], launch_node, EdgeKind.LAUNCH),
        (launch_node, start_raw[end[launch]], EdgeKind.LAUNCH),
        (end_raw[begin[wait]], end_raw[end[wait]], EdgeKind.HOST_WAIT),
        (start_raw[member[gives]], sync[gives], EdgeKind.MEMBER),
        (sync[takes], end_raw[member[takes]], EdgeKind.SYNC),
        (start_raw[inside], end_raw[inside], EdgeKind.INSIDE),
        (release_node, start_raw[coupling.release_op], EdgeKind.RELEASE),
    ]
    source = np.concatenate([part[0] for part in parts]).astype(np.int32)
    target = np.concatenate([part[1] for part in parts]).astype(np.int32)
    kinds = np.concatenate(
        [np.broadcast_to(np.asarray(part[2], np.uint8), part[0].shape) for part in parts]
    )
    return source, target, kinds


def _number(
    source: Int32Array,
    target: Int32Array,
    op: Int32Array,
    role: UInt8Array,
    *,
    describe: Callable[[int], str],
) -> tuple[Int32Array, tuple[Int64Array, Int64Array]]:
    """Find a topological number for each node; give edges grouped by target too."""
    n_node = role.size
    by_source = kernels.group_by_key(source, n_node)
    by_target = kernels.group_by_key(target, n_node)
    order, n_done, unmet = kernels.breadth_first_order(n_node, target, *by_source)
    if n_done < n_node:
        cycle = kernels.one_cycle(source, unmet, *by_target)
        named = [describe(int(op[v])) for v in cycle if role[v] != NodeRole.SYNC]
        chain = list(dict.fromkeys(named))
        shown = chain if len(chain) <= 8 else [*chain[:4], "...", *chain[-3:]]
        raise StructureError(
            "coupled graph",
            f"ops wait for each other in a cycle: {' -> '.join([*shown, shown[0]])}",
            "Check the order of these ops in the recording; no execution can satisfy it.",
        )
    number = np.empty(n_node, np.int32)
    number[order] = np.arange(n_node, dtype=np.int32)
    return number, by_target
