"""A job known by traces at one size: its step, what limits it, what an improvement or a change would do."""

from math import log
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from loadpath.forecast.audited_point import SLOW_RANKS
from loadpath.forecast.measured_steps import LEAST_ERROR
from loadpath.forecast.priors import shipped_priors
from loadpath.forecast.scaling import StepPoint
from loadpath.forecast.shifts import NORMAL_95
from loadpath.forecast.traced_job import TracedJob, calm_step_s, drawn_lateness_s
from loadpath.forecast.traced_work import Resized

__all__ = [
    "HOP",
    "LEAVING",
    "TracedSize",
    "elasticities_of",
    "improvements_of",
    "named_priors",
    "traced_point",
]

FloatArray = NDArray[np.float64]
N_WORLD, SEED = 32, 0
PERCENT = 1.01
HOP, LEAVING = "network_latency", "leaving_host_ratio"
OF_KERNELS = {"gemm_ramp": "ramp_s", "kernel_serial_ratio": "serial_ratio"}
"""Priors of kernels that have less work than recorded, and what they set."""
OF_WIDTHS = {"link_latency": "link_s", "tensor_alike_ratio": "alike_ratio"}
"""Priors of another tensor width, and what they set."""


class TracedSize(Struct, frozen=True, kw_only=True):
    """How large a traced job is to be.

    Attributes
    ----------
    replicas, tensor : int
        Data-parallel replicas; tensor width, 0 as recorded.
    batch_ratio : float
        Samples of a replica to those that it had.
    """

    replicas: int
    tensor: int = 0
    batch_ratio: float = 1.0


class _World(NamedTuple):
    """What a size is replayed with, and what waiting for its latest replicas adds."""

    to: Resized
    late_s: float


def named_priors(traced: TracedJob, size: TracedSize) -> dict[str, tuple[str, ...]]:
    """Name the priors that a size rests on beside how late replicas are.

    Parameters
    ----------
    traced : TracedJob
        Result of `measure_traces`.
    size : TracedSize
        How large it is to be.

    Returns
    -------
    dict of str to tuple of str
        Fields of `Resized` that each sets.
    """
    ratio = _tensor_ratio(traced, size)
    found: dict[str, tuple[str, ...]] = {}
    if size.replicas != traced.replicas:
        found[HOP] = ("hop_s",)
    leaves = tuple(
        name
        for name, outside in (
            ("slower", _leaves(traced, size)),
            ("tensor_slower", _tensor_leaves(traced, size)),
        )
        if outside
    )
    found |= {LEAVING: leaves} if leaves else {}
    if ratio != 1 or size.batch_ratio != 1:
        found |= {name: (sets,) for name, sets in OF_KERNELS.items()}
    if ratio != 1:
        found |= {name: (sets,) for name, sets in OF_WIDTHS.items()}
    return found


def _tensor_ratio(traced: TracedJob, size: TracedSize) -> float:
    return size.tensor / traced.work.tensor if size.tensor and traced.work.tensor else 1.0


def _leaves(traced: TracedJob, size: TracedSize) -> bool:
    """Say whether replicas of a job on one host have no more room on it."""
    each = traced.accelerators / traced.replicas * _tensor_ratio(traced, size)
    return traced.hosts == 1 and size.replicas * each > traced.accelerators


def _tensor_leaves(traced: TracedJob, size: TracedSize) -> bool:
    return traced.hosts > 0 and size.tensor > traced.accelerators / traced.hosts


def _world(traced: TracedJob, size: TracedSize, late_s: float) -> _World:
    """Give the middle world of a size."""
    known = shipped_priors()
    ratios = {
        "replicas_ratio": size.replicas / traced.replicas,
        "tensor_ratio": _tensor_ratio(traced, size),
        "batch_ratio": size.batch_ratio,
    }
    sets = named_priors(traced, size)
    middle = {field: known[name].value for name, fields in sets.items() for field in fields}
    return _World(Resized(**ratios, **middle), late_s)


def _step_s(traced: TracedJob, world: _World) -> float:
    return calm_step_s(traced, world.to) + world.late_s


def _alone(traced: TracedJob, to: Resized) -> float:
    """Replay one replica without all others."""
    return calm_step_s(traced, to._replace(replicas_ratio=1 / traced.replicas, hop_s=0.0))


def _lateness(traced: TracedJob, size: TracedSize) -> tuple[FloatArray, float]:
    """Draw what the latest replicas add, which shrinks as their own time does; and how far that shrinks."""
    late = drawn_lateness_s(traced, size.replicas, np.random.default_rng(SEED), N_WORLD)
    if size.batch_ratio == 1 and _tensor_ratio(traced, size) == 1:
        return late, 1.0
    own = _alone(traced, _world(traced, size, 0.0).to) / _alone(traced, Resized())
    return own * late, own


def traced_point(traced: TracedJob, size: TracedSize) -> StepPoint:
    """Extrapolate to one size, and once more with each prior at the edges of its band.

    Parameters
    ----------
    traced : TracedJob
        Result of `measure_traces`.
    size : TracedSize
        How large it is to be.

    Returns
    -------
    StepPoint
        Its work counted in what a recorded replica does in a step.
    """
    known, band = shipped_priors(), float(np.exp(NORMAL_95 * LEAST_ERROR))
    late, own = _lateness(traced, size)
    world = _world(traced, size, float(np.median(late)))
    here, sets = _step_s(traced, world), named_priors(traced, size)
    edges = {
        name: [
            world._replace(to=world.to._replace(**dict.fromkeys(fields, edge)))
            for edge in (known[name].low, known[name].high)
        ]
        for name, fields in sets.items()
    }
    if size.replicas != traced.replicas:
        both = np.quantile(late, [0.05, 0.95]).tolist()
        edges[SLOW_RANKS] = [world._replace(late_s=edge) for edge in both]
    if edges:
        band *= known["scale_error"].high
    shifts = {
        name: (log(_step_s(traced, low) / here), log(_step_s(traced, high) / here))
        for name, (low, high) in edges.items()
    }
    limits = _limits(traced, world, here, own)
    return StepPoint(here, size.replicas * size.batch_ratio, band, None, limits, shifts)


def _limits(traced: TracedJob, world: _World, here: float, own: float) -> dict[str, float]:
    """Split a step: transfers by the link they take, waits for the latest, and the rest as it was recorded."""
    to, calm = world.to, here - world.late_s
    between = "intra_node" if traced.hosts == 1 and to.slower == 1 else "inter_node"
    parts = {between: calm - _alone(traced, to)}
    if traced.work.peers.any():
        link = "intra_node" if to.tensor_slower == 1 else "inter_node"
        bare = to._replace(tensor_slower=0.0, link_s=0.0)
        parts[link] = parts.get(link, 0.0) + calm - calm_step_s(traced, bare)
    parts["waiting"] = own * traced.waited_s + world.late_s
    left = here
    for name, value in parts.items():
        parts[name] = min(max(value, 0.0), left)
        left -= parts[name]
    return {name: value / here for name, value in parts.items()} | {
        name: share * left / here for name, share in traced.shares.items()
    }


def _faster(world: _World, times: float) -> _World:
    """Let bytes between ranks take less time."""
    to = world.to
    faster = to._replace(slower=to.slower / times, tensor_slower=to.tensor_slower / times)
    return world._replace(to=faster)


def _usual(traced: TracedJob, size: TracedSize) -> tuple[_World, float, float]:
    """Take the median lateness: its world, its step, and what of that is waiting, in s."""
    late, own = _lateness(traced, size)
    world = _world(traced, size, float(np.median(late)))
    return world, _step_s(traced, world), max(own * traced.waited_s + world.late_s, 0.0)


def improvements_of(traced: TracedJob, size: TracedSize) -> dict[str, float]:
    """Replay improvements at one size.

    Parameters
    ----------
    traced : TracedJob
        Result of `measure_traces`.
    size : TracedSize
        How large it is.

    Returns
    -------
    dict of str to float
        The step over that without the improvement.
    """
    world, before, waited = _usual(traced, size)
    return {
        "network twice as fast": _step_s(traced, _faster(world, 2)) / before,
        "no noise, equal ranks": max(before - waited, 0.0) / before,
    }


def elasticities_of(traced: TracedJob, size: TracedSize) -> dict[str, float]:
    """Say by how many percent the step follows one percent of a lever.

    Parameters
    ----------
    traced : TracedJob
        Result of `measure_traces`.
    size : TracedSize
        How large it is.

    Returns
    -------
    dict of str to float
        By lever.
    """
    world, before, waited = _usual(traced, size)
    more = {
        "network_bandwidth": _step_s(traced, _faster(world, PERCENT)),
        "noise": before + (PERCENT - 1) * waited,
    }
    return {name: log(after / before) / log(PERCENT) for name, after in more.items()}
