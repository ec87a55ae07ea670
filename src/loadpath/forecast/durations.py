"""Durations on a graph: replay, and what limits the step."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from loadpath.forecast.rates import COMPONENTS, FloatArray
from loadpath.forecast.skeleton import OpKind, Skeleton
from loadpath.replay import replay, step_time_ns
from loadpath.units import NS_PER_S

__all__ = ["Durations", "expected_maximum", "limitation", "replayed_s"]


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds of every kind of op at every place, and the graph that they belong to.

    Attributes
    ----------
    frame : Skeleton
        The graph.
    seconds : (9, stages, chunks, 6) array
        By `OpKind`, stage, chunk and component, on a device of mean speed.
    slowest : float
        Time of computation on the slowest device, to that on one of mean speed: all wait for it.
    """

    frame: Skeleton
    seconds: FloatArray
    slowest: float = 1.0

    def replayed(self) -> FloatArray:
        """Give the durations that the slowest device sets, as a new array."""
        slowed = self.seconds.copy()
        slowed[..., 0] *= self.slowest
        return slowed


def expected_maximum(n: int) -> float:
    """Expect the largest of `n` normal values of mean 0 and deviation 1.

    Parameters
    ----------
    n : int
        How many, at least 1.

    Returns
    -------
    float
        By Blom's plotting position.

    References
    ----------
    .. [1] G. Blom, "Statistical estimates and transformed beta-variables", Wiley, 1958.

    Examples
    --------
    >>> [round(expected_maximum(n), 2) for n in (1, 2, 4, 1000)]
    [0.0, 0.59, 1.05, 3.23]
    """
    return NormalDist().inv_cdf((n - 0.375) / (n + 0.25))


def replayed_s(durations: Durations) -> float:
    """Replay a step.

    Parameters
    ----------
    durations : Durations
        Of its ops.

    Returns
    -------
    float
        Seconds from the earliest rank's begin to the latest rank's end.
    """
    return _replayed_s(durations.frame, durations.replayed().sum(axis=-1))


def _replayed_s(frame: Skeleton, seconds: FloatArray) -> float:
    work = (seconds * NS_PER_S).ravel()[frame.place] * frame.share
    return float(step_time_ns(frame.graph, replay(frame.graph, work))[0]) / NS_PER_S


_BETWEEN = (OpKind.SEND, OpKind.REDUCE, OpKind.GATHER, OpKind.TIE)


def limitation(durations: Durations, step_s: float) -> dict[str, float]:
    """Split a step: what each accelerator does itself, then what it waits for, by replays.

    Own work counts by component, as the mean over stages. The rest is exposed transfers (what the
    step loses when they vanish, the network first), waiting (what it then loses when all stages
    do the same) and the bubble.

    Parameters
    ----------
    durations : Durations
        Of a step.
    step_s : float
        Its replayed time.

    Returns
    -------
    dict of str to float
        Shares that sum to 1.
    """
    frame, table = durations.frame, durations.replayed()
    own = _own_work(frame, durations.seconds)
    shares = dict(zip(COMPONENTS, own.tolist(), strict=True))
    last, reduced = step_s, table.copy()
    for component, name in ((3, "inter_node"), (2, "intra_node"), (4, "latency")):
        for kind in _BETWEEN:
            reduced[kind, ..., component] = 0
        now = _replayed_s(frame, reduced.sum(axis=-1))
        shares[name] += last - now
        last = now
    reduced[..., 0] /= durations.slowest
    even = reduced.sum(axis=-1)
    even[...] = even.mean(axis=(1, 2), keepdims=True)
    level = _replayed_s(frame, even)
    shares["waiting"] = last - level
    shares["bubble"] = level - own.sum()
    return {name: float(value / step_s) for name, value in shares.items()}


def _own_work(frame: Skeleton, table: FloatArray) -> FloatArray:
    mine = np.ones(len(OpKind), np.bool_)
    mine[list(_BETWEEN)] = False
    spent = frame.passed[mine, :, :, None] * table[mine]
    total: FloatArray = spent.sum(axis=(0, 1, 2)) / table.shape[1]
    return total
