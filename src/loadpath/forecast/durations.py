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
    seconds : (9, stages, chunks, 7) array
        By `OpKind`, stage, chunk and component, on a device of mean speed.
    slowest : float
        Time of computation on the slowest device, to that on one of mean speed: all wait for it.
    shorter : Skeleton or None
        The same graph with a period of microbatches less, where `frame` stands for a longer one.
    periods : float
        Such periods that `frame` lacks. A pipeline soon repeats itself, so that each of them takes
        what the last one took.
    """

    frame: Skeleton
    seconds: FloatArray
    slowest: float = 1.0
    shorter: Skeleton | None = None
    periods: float = 0.0


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
    return _replayed_s(durations, _slowed(durations).sum(axis=-1))


def _slowed(durations: Durations) -> FloatArray:
    """Give the durations that the slowest device sets, as a new array."""
    slowed = durations.seconds.copy()
    slowed[..., 0] *= durations.slowest
    return slowed


def _replayed_s(durations: Durations, seconds: FloatArray) -> float:
    """Replay durations by kind, stage and chunk."""
    step = _framed_s(durations.frame, seconds)
    if durations.shorter is None:
        return step
    return step + durations.periods * (step - _framed_s(durations.shorter, seconds))


def _framed_s(frame: Skeleton, seconds: FloatArray) -> float:
    work = (seconds * NS_PER_S).ravel()[frame.place] * frame.share
    return float(step_time_ns(frame.graph, replay(frame.graph, work))[0]) / NS_PER_S


def _passed(durations: Durations) -> FloatArray:
    """Count how often each duration is spent on a pipeline."""
    frame, shorter = durations.frame, durations.shorter
    if shorter is None:
        return frame.passed
    return frame.passed + durations.periods * (frame.passed - shorter.passed)


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
    passed, reduced = _passed(durations), _slowed(durations)
    own = _own_work(passed, durations.seconds)
    shares = dict(zip(COMPONENTS, own.tolist(), strict=True))
    last = step_s
    for component, name in ((3, "inter_node"), (2, "intra_node"), (4, "latency")):
        for kind in _BETWEEN:
            reduced[kind, ..., component] = 0
        now = _replayed_s(durations, reduced.sum(axis=-1))
        shares[name] += last - now
        last = now
    reduced[..., 0] /= durations.slowest
    level = _replayed_s(durations, _evened(passed, reduced.sum(axis=-1)))
    shares["waiting"] += last - level
    shares["bubble"] = level - own.sum()
    return {name: float(value / step_s) for name, value in shares.items()}


def _evened(passed: FloatArray, seconds: FloatArray) -> FloatArray:
    """Let all stages and chunks take the mean of their kind."""
    spent, times = (passed * seconds).sum(axis=(1, 2)), passed.sum(axis=(1, 2))
    mean = np.divide(spent, times, out=np.zeros_like(spent), where=times > 0)
    return np.broadcast_to(mean[:, None, None], seconds.shape)


def _own_work(passed: FloatArray, table: FloatArray) -> FloatArray:
    mine = np.ones(len(OpKind), np.bool_)
    mine[list(_BETWEEN)] = False
    spent = passed[mine, :, :, None] * table[mine]
    total: FloatArray = spent.sum(axis=(0, 1, 2)) / table.shape[1]
    return total
