"""Discrete-event simulation of a schedule in the LogGOPS model."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.loggops import LogGOPS
from loadpath.couple.service_order import ServiceOrder
from loadpath.errors import InputError
from loadpath.replay.simulation import kernels, layout_kernels
from loadpath.replay.simulation.noise import Noise
from loadpath.tables.schedule import CALC, RECV, SEND, Schedule

__all__ = ["Simulation", "simulate_schedule"]

Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]

MOST_PORTS = 1 << 26
MOST_OPS = 1 << 29
LONGEST_NS = 1 << 61
"""Schedules whose work adds up to more are refused: times would not fit into 64 bits."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """When a schedule would end, and what was done when.

    Attributes
    ----------
    finish_ns : (n_rank,) array of int64
        Time at which the last processor of each rank is free.
    n_event : int
        Ops and messages that were to be served; messages count apart.
    served : ServiceOrder
        What was served when.
    """

    finish_ns: Int64Array
    n_event: int
    served: ServiceOrder

    @property
    def makespan_ns(self) -> int:
        """Time at which the last rank ends."""
        return int(self.finish_ns.max(initial=0))


def simulate_schedule(
    schedule: Schedule, model: LogGOPS | None = None, noise: Noise | None = None
) -> Simulation:
    r"""Run a schedule, event by event.

    Per rank, a processor is free from `nexto`, and a network interface may send from `ngs` and
    receive from `ngr`; b is a message's bytes less one. A computation begins at `nexto` and takes its
    size. A send begins at :math:`t = \max(nexto, ngs)`, takes the processor for :math:`o + bO` and
    the interface for :math:`g + bG`; its message is at the receiver at :math:`t + o + L`, is served at
    :math:`\max(nexto, ngr)` or later, and takes the processor for :math:`o + \max(bO, bG)` and the
    interface for :math:`g + bG`. A message of more than S bytes ends its send when it meets its
    receive; smaller ones at once. Events of one time are served in the order of their making; ops
    that become free together in the order send, receive, computation.

    Parameters
    ----------
    schedule : Schedule
        What the ranks do.
    model : LogGOPS, optional
        Costs of messages.
    noise : Noise, optional
        By how much events take longer.

    Returns
    -------
    Simulation
        Times; ops that never ended are those without `done`.

    Raises
    ------
    InputError
        If the times of the schedule do not fit into 64 bits.

    References
    ----------
    .. [1] T. Hoefler, T. Schneider, A. Lumsdaine, "LogGOPSim - Simulating Large-Scale Applications
       in the LogGOPS Model", HPDC workshop LSAP, 2010.

    Examples
    --------
    Rank 0 computes for 1000 ns and sends 11 bytes; rank 1 receives them and computes for 300 ns:

    >>> from loadpath.ingest.goal.text import read_text
    >>> text = b'''num_ranks 2
    ... rank 0 {
    ... a: calc 1000
    ... b: send 11b to 1
    ... b requires a
    ... }
    ... rank 1 {
    ... a: recv 11b from 0
    ... b: calc 300
    ... b requires a
    ... }'''
    >>> simulate_schedule(read_text("a.goal", text)).finish_ns
    array([2500, 6860])
    """
    model, noise = model or LogGOPS(), noise or Noise()
    _check_times(schedule, model, noise)
    laid = _laid_out(schedule)
    n_op = schedule.n_op
    out = (
        np.empty(2 * n_op, np.int32),
        np.full(2 * n_op, -1, np.int64),
        np.zeros(2 * n_op if noise.extra_ns.size + noise.start_ns.size else 0, np.int64),
        np.full(n_op, -1, np.int32),
        np.zeros(n_op, np.bool_),
    )
    room = _room_for(schedule, laid.counts)
    n_served, n_event = kernels.run_events(
        laid.column,
        laid.wide,
        laid.several,
        schedule.rank_start,
        laid.after,
        laid.counts,
        model.costs,
        (noise.extra_ns, noise.start_ns, noise.total_ns, noise.period_ns, noise.offset_ns),
        tuple(room),
        out,
    )
    order, start, late, match, done = out
    late_ns = late if late.size else np.zeros(2 * n_op, np.int64)
    served = ServiceOrder(order[:n_served], start, late_ns, match, done)
    return Simulation(room.busy.reshape(schedule.n_rank, -1).max(axis=1), n_event, served)


class _LaidOut(NamedTuple):
    """A schedule as the loop takes it; see `kernels.run_events`."""

    column: Int32Array
    wide: Int64Array
    several: tuple[Any, Any, Any]
    after: tuple[Any, Any, Any]
    counts: tuple[int, ...]


def _laid_out(schedule: Schedule) -> _LaidOut:
    """Put what the loop needs of an op beside each other."""
    n_op = schedule.n_op
    (cpu, n_cpu), (nic, n_nic) = _without_gaps(schedule.cpu), _without_gaps(schedule.nic)
    column = np.empty((n_op + 1, layout_kernels.N_COLUMN), np.int32)
    wide = column.view(np.int64)
    n_start = int(schedule.edge_on_start.sum())
    after = (
        np.empty(schedule.edge_source.size - n_start, np.int32),
        np.zeros(n_op + 1 if n_start else 1, np.int32),
        np.empty(n_start, np.int32),
    )
    ops = (schedule.kind, schedule.size, schedule.peer, cpu, nic)
    edges = (schedule.edge_source, schedule.edge_target, schedule.edge_on_start)
    layout_kernels.lay_out(schedule.rank_start, ops, edges, (column, wide, *after))
    is_any = (schedule.kind == RECV) & ((schedule.peer == -1) | (schedule.tag == -1))
    n_several = n_op if is_any.any() else 0
    several = (
        np.full((n_several, 4), -1, np.int32),
        np.empty(4 * n_several, np.int32),
        np.empty(n_several, np.int32),
    )
    n_channel = layout_kernels.number_channels(
        schedule.kind, schedule.peer, schedule.tag, schedule.rank_start, column, several[0]
    )
    return _LaidOut(column, wide, several, after, (n_cpu, n_nic, n_channel))


def _without_gaps(port: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
    """Give processors or interfaces numbers without gaps, and count them: one alone may be 255."""
    used = np.bincount(port, minlength=1) > 0
    code = np.cumsum(used, dtype=np.int64) - 1
    return code.astype(np.uint8)[port], max(int(used.sum()), 1)


class _Room(NamedTuple):
    """Memory that the loop works in: arrays beside each other, as kernels that are kept take them.

    Until when processors, sending and receiving interfaces are taken; ends of the lists of each channel;
    queues; number of each event, the one after it, and its branches; ops that become free, or are so from
    the start; rings of events in the order of their making: messages, and ops; and a heap.
    """

    busy: Int64Array
    sending: Int64Array
    receiving: Int64Array
    ends: Int32Array
    queue: Int32Array
    number: Int32Array
    after: Int32Array
    branch: Int32Array
    freed: Int32Array
    beginning: Int32Array
    sent: Int64Array
    made: Int64Array
    heap: Int64Array


def _room_for(schedule: Schedule, counts: tuple[int, ...]) -> _Room:
    n_op, n_rank = schedule.n_op, schedule.n_rank
    n_cpu, n_nic, n_channel = counts
    n_queue = n_rank * n_cpu * (1 + 2 * n_nic)
    n_slot = 1 << max(10, (4 * n_rank - 1).bit_length())
    return _Room(
        busy=np.zeros(n_rank * n_cpu, np.int64),
        sending=np.zeros(n_rank * n_nic, np.int64),
        receiving=np.zeros(n_rank * n_nic, np.int64),
        ends=np.full((n_channel, 4), -1, np.int32),
        queue=np.full((n_queue, 3), -1, np.int32),
        number=np.empty(2 * n_op, np.int32),
        after=np.empty(2 * n_op, np.int32),
        branch=np.empty((2 * n_op, 2), np.int32),
        freed=np.empty(n_op, np.int32),
        beginning=np.empty(n_op, np.int32),
        sent=np.empty((n_slot, 2), np.int64),
        made=np.empty((n_slot, 2), np.int64),
        # each event stands in it once, and each queue in which some wait once more
        heap=np.empty((2 * n_op + 2 * min(n_queue, 2 * n_op) + 16, 2), np.int64),
    )


def _check_times(schedule: Schedule, model: LogGOPS, noise: Noise) -> None:
    latency, overhead, gap, per_byte, cpu_per_byte, _ = model.costs
    size = schedule.size.astype(np.float64)
    talks = schedule.kind == SEND
    fixed = latency + 2 * overhead + 2 * gap
    moved = size[talks] * 3e-3 * max(per_byte, cpu_per_byte)
    total = size[schedule.kind == CALC].sum() + fixed * talks.sum() + moved.sum()
    total += noise.extra_ns.sum(dtype=np.float64)
    if noise.start_ns.size:
        total *= 2.0 + float(noise.total_ns[-1]) / noise.period_ns
        total += float(noise.total_ns[-1]) * schedule.n_op
    ports = _without_gaps(schedule.cpu)[1] * _without_gaps(schedule.nic)[1]
    if schedule.n_rank * 2 * ports > MOST_PORTS:
        what = f"{schedule.n_rank} ranks of {ports} pairs of processor and interface are too many"
        raise InputError(schedule.name, what, "Use fewer of the numbers of cpu and nic.")
    if schedule.n_op >= MOST_OPS:
        raise InputError(schedule.name, f"{schedule.n_op} ops are too many", "Split the job.")
    largest = size[talks].max(initial=0.0) * max(per_byte, cpu_per_byte)
    if total > LONGEST_NS or largest > LONGEST_NS:
        what = f"its work adds up to {total / 1e9:.3g} s, which does not fit into 64 bits of ns"
        raise InputError(schedule.name, what, "Check the sizes in the file and the parameters.")
