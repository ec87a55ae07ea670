"""Discrete-event simulation of a schedule in the LogGOPS model."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.kernels import group_by_key
from loadpath.couple.loggops import LogGOPS
from loadpath.couple.service_order import ServiceOrder
from loadpath.errors import InputError
from loadpath.replay.simulation import kernels, layout_kernels
from loadpath.replay.simulation.noise import Noise
from loadpath.tables.schedule import CALC, SEND, Schedule

__all__ = ["Simulation", "simulate_schedule"]

MOST_PORTS = 1 << 28
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

    finish_ns: NDArray[np.int64]
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
    order, begun = np.empty(2 * n_op, np.int32), np.full(2 * n_op, -1, np.int64)
    late = np.zeros(2 * n_op if noise.extra_ns.size + noise.start_ns.size else 0, np.int64)
    busy, n_served, n_event = kernels.run_events(
        laid.row,
        laid.length,
        laid.state,
        laid.wild,
        (schedule.rank_start, laid.new, laid.old),
        laid.after,
        laid.counts,
        model.costs,
        _laid_noise(noise, laid.old),
        (order, begun, late),
    )
    late_ns = np.zeros(2 * n_op, np.int64)
    if late.size:
        late_ns[np.concatenate([laid.old, laid.old + n_op])] = late
    start, *ends = layout_kernels.collect(laid.new, laid.old, laid.state, begun)
    served = ServiceOrder(order[:n_served], start, late_ns, *ends)
    return Simulation(busy.reshape(schedule.n_rank, -1).max(axis=1), n_event, served)


def _laid_noise(noise: Noise, old: NDArray[np.int32]) -> tuple[Any, ...]:
    """Put the noise of events into the new order; a trace belongs to ranks."""
    extra = noise.extra_ns
    if extra.size:
        extra = extra.reshape(2, -1)[:, old].ravel()
    return extra, noise.start_ns, noise.total_ns, noise.period_ns, noise.offset_ns


class _LaidOut(NamedTuple):
    """A schedule as the loop takes it, numbered anew; see `kernels.run_events`."""

    new: NDArray[np.int32]
    old: NDArray[np.int32]
    row: NDArray[np.int32]
    length: NDArray[np.int64]
    state: NDArray[np.int32]
    wild: tuple[Any, Any]
    after: tuple[Any, Any, Any]
    counts: tuple[int, ...]


def _laid_out(schedule: Schedule) -> _LaidOut:
    """Put what the loop needs of an op into one row, the k-th ops of all ranks beside each other."""
    n_op = schedule.n_op
    ports = (int(schedule.cpu.max(initial=0)) + 1, int(schedule.nic.max(initial=0)) + 1)
    channel, *n_channel = layout_kernels.number_channels(
        schedule.kind, schedule.peer, schedule.tag, schedule.rank_start
    )
    new, old = layout_kernels.number_ops(schedule.rank_start)
    edges = new[schedule.edge_source], new[schedule.edge_target]
    first, after_end = _successors(edges, ~schedule.edge_on_start, n_op)
    into = np.empty((n_op, 8), np.int32), np.empty(n_op, np.int64), np.zeros((n_op, 8), np.int32)
    ops = (schedule.kind, schedule.size, schedule.peer, schedule.cpu, schedule.nic, channel)
    layout_kernels.lay_out(schedule.rank_start, new, ops, (first, edges[1]), ports, into)
    after = (after_end, *_successors(edges, schedule.edge_on_start, n_op))
    # which receive takes what is only asked in ranks that receive from any
    chosen = old if n_channel[1] < n_channel[0] else old[:0]
    taken = (schedule.peer[chosen], schedule.tag[chosen])
    return _LaidOut(new, old, *into, taken, after, (*ports, *n_channel))


def _successors(edges: tuple[Any, Any], chosen: NDArray[np.bool_], n_op: int) -> tuple[Any, Any]:
    """Ops that require each op, in the order of the file: starts, and the ops."""
    start, order = group_by_key(edges[0][chosen], n_op)
    return start, edges[1][chosen][order]


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
    ports = (1 + int(schedule.cpu.max(initial=0))) * (1 + int(schedule.nic.max(initial=0)))
    if schedule.n_rank * 2 * ports > MOST_PORTS:
        what = f"{schedule.n_rank} ranks of {ports} processors and interfaces are too many"
        raise InputError(schedule.name, what, "Number cpu and nic from 0, without gaps.")
    largest = size[talks].max(initial=0.0) * max(per_byte, cpu_per_byte)
    if total > LONGEST_NS or largest > LONGEST_NS:
        what = f"its work adds up to {total / 1e9:.3g} s, which does not fit into 64 bits of ns"
        raise InputError(schedule.name, what, "Check the sizes in the file and the parameters.")
