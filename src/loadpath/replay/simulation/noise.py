"""Noise of a simulation: lengths drawn for each event, or a trace in which each rank begins elsewhere."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from loadpath.couple.loggops import LogGOPS
from loadpath.errors import UsageError
from loadpath.tables.schedule import CALC, RECV, Schedule

__all__ = ["Noise", "drawn_noise", "trace_noise"]

Int64Array = NDArray[np.int64]


def _none() -> Int64Array:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Noise:
    """By how much events take longer; nothing by default.

    Attributes
    ----------
    extra_ns : (2 * n_op,) array of int64, or empty
        For each op and each message, see `ServiceOrder`.
    start_ns : (n,) array of int64, or empty
        Begins of the noise events of a trace, ascending.
    total_ns : (n + 1,) array of int64, or empty
        Length of all noise events before each.
    period_ns : int
        Length of the trace, which repeats.
    offset_ns : (n_rank,) array of int64, or empty
        Where in the trace each rank begins.
    """

    extra_ns: Int64Array = field(default_factory=_none)
    start_ns: Int64Array = field(default_factory=_none)
    total_ns: Int64Array = field(default_factory=_none)
    period_ns: int = 1
    offset_ns: Int64Array = field(default_factory=_none)


def drawn_noise(
    schedule: Schedule,
    model: LogGOPS,
    length_ns: float | NDArray[np.float64],
    *,
    period_ns: float,
    rng: np.random.Generator,
) -> Noise:
    """Draw noise events that begin at random, one per `period_ns` of work on average.

    Parameters
    ----------
    schedule : Schedule
        What is to run.
    model : LogGOPS
        How long sends and receives take.
    length_ns : float or (n,) array of float64
        Mean of exponential lengths, or lengths to draw from, in ns.
    period_ns : float
        Mean time between the begins of noise events, in ns.
    rng : numpy.random.Generator
        Source of the draws.

    Returns
    -------
    Noise
        A length for each computation, send and message.

    Raises
    ------
    UsageError
        If the period or a length is no positive time, or the draws would not fit into memory.
    """
    lengths = np.atleast_1d(np.asarray(length_ns, np.float64))
    if not (0 < period_ns < np.inf and lengths.size and ((lengths >= 0) & (lengths < 1e15)).all()):
        raise UsageError("noise needs a positive period and lengths under 10^15 ns. Check them.")
    span = np.where(schedule.kind == CALC, schedule.size, model.costs[1]).astype(np.float64)
    span[schedule.kind == RECV] = 0.0
    message = np.where(schedule.kind == CALC, 0.0, span)
    rate = np.concatenate([span, message]) / period_ns
    if rate.sum() > 1e8:
        raise UsageError(f"{rate.sum():.2g} noise events are too many to draw. Make them rarer.")
    n_event = rng.poisson(rate)
    if lengths.size == 1 and np.ndim(length_ns) == 0:
        extra = rng.standard_gamma(n_event) * lengths[0]
    else:
        owner = np.repeat(np.arange(n_event.size), n_event)
        extra = np.bincount(owner, rng.choice(lengths, owner.size), n_event.size)
    return Noise(extra_ns=np.rint(extra).astype(np.int64))


def trace_noise(
    start_ns: Int64Array,
    length_ns: Int64Array,
    n_rank: int,
    *,
    rng: np.random.Generator,
    together: bool = False,
) -> Noise:
    """Read noise off a trace that repeats, in which each rank begins at a place of its own.

    Every noise event that begins while an op takes its processor adds its whole length to it.

    Parameters
    ----------
    start_ns, length_ns : (n,) arrays of int64
        Begin and length of each noise event, in ns; the trace ends where the last one does.
    n_rank : int
        Number of ranks.
    rng : numpy.random.Generator
        Source of the places at which ranks begin.
    together : bool
        Whether all ranks begin at the same place.

    Returns
    -------
    Noise
        The trace.

    Raises
    ------
    UsageError
        If there are no events, begins do not ascend from 0, or lengths are negative.
    """
    ascend = start_ns.size > 0 and int(start_ns[0]) >= 0 and bool((np.diff(start_ns) >= 0).all())
    if not ascend or (length_ns < 0).any() or max(start_ns[-1], length_ns.max()) > 1 << 50:
        raise UsageError("noise events must begin in ascending order and last 0 to 10^15 ns.")
    period = int(start_ns[-1] + length_ns[-1]) or 1
    total = np.concatenate([[0], np.cumsum(length_ns)]).astype(np.int64)
    offset = rng.integers(period, size=1 if together else n_rank)
    return Noise(
        start_ns=start_ns,
        total_ns=total,
        period_ns=period,
        offset_ns=np.broadcast_to(offset, n_rank).astype(np.int64),
    )
