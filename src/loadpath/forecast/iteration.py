"""Time of one iteration of a served model: prompts and answers side by side through the layers."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace as changed
from numpy.typing import ArrayLike, NDArray

from loadpath.errors import UsageError
from loadpath.forecast.design import Design, Serving
from loadpath.forecast.devices import measured_priors, shipped_devices
from loadpath.forecast.durations import replayed_s
from loadpath.forecast.layer_work import KernelKind
from loadpath.forecast.layout import lay_out
from loadpath.forecast.machine import machine_of
from loadpath.forecast.memory import memory_of
from loadpath.forecast.priors import assume
from loadpath.forecast.step import refuse_unsound, step_durations
from loadpath.forecast.transformer import head_width, model_of

__all__ = [
    "MEMORY_RATIO",
    "IterationTimes",
    "Work",
    "iteration_s",
    "iteration_times",
]

FloatArray = NDArray[np.float64]

GRID = np.unique(np.geomspace(1, 16384, 57).round())
"""Tokens of an iteration at which a design is timed; between them times are interpolated."""

MEMORY_RATIO = 0.9
"""Share of the memory that weights and caches may take, as serving frameworks set it by default."""


class Work(NamedTuple):
    """What iterations do.

    Attributes
    ----------
    tokens, emitted : array_like
        Tokens that go through the layers, and sequences that get a token.
    cached : array_like
        Tokens in the caches of the sequences that answer.
    pairs : array_like
        Pairs of a prompt's token and one that it attends to.
    """

    tokens: ArrayLike
    emitted: ArrayLike
    cached: ArrayLike = 0
    pairs: ArrayLike = 0


@dataclass(frozen=True, slots=True)
class IterationTimes:
    """What one replica needs for an iteration: a sum of four parts.

    Attributes
    ----------
    tokens : (n_grid,) array
        Tokens that go through the layers, growing from 1.
    body_s : (n_grid,) array
        Their time in the layers, attention to what is cached left out.
    head_s : (n_grid,) array
        Time of the logits of as many sequences that each get a token.
    cached_token_s : float
        Reading one token of one answering sequence from the cache.
    pair_s : float
        Attention of one token of a prompt to one token before it.
    cache_tokens : int
        Tokens of all sequences that fit into the cache together.
    """

    tokens: FloatArray
    body_s: FloatArray
    head_s: FloatArray
    cached_token_s: float
    pair_s: float
    cache_tokens: int


def iteration_times(design: Design, memory_ratio: float = MEMORY_RATIO) -> IterationTimes:
    """Time iterations of a design of any composition, by replay of its stages.

    Parameters
    ----------
    design : Design
        A transformer on one machine; a batch or `Serving` it has plays no part. Where it has more
        accelerators than tensor times pipeline, they are further replicas.
    memory_ratio : float
        Share of the memory that weights and caches may take.

    Returns
    -------
    IterationTimes
        Of one replica.

    Raises
    ------
    UsageError
        If it is not sound, or its weights leave no room for a cache.

    Examples
    --------
    >>> from importlib.resources import files
    >>> from loadpath.forecast import parse_design
    >>> text = (
    ...     files("loadpath.forecast").joinpath("examples/serving.toml").read_text(encoding="utf-8")
    ... )
    >>> times = iteration_times(parse_design(text))
    >>> one, many = (float(iteration_s(times, Work(n, n, 4096 * n))) for n in (1, 64))
    >>> one < many < 2 * one
    True
    """
    design = changed(design, batch=None, serving=Serving(concurrent=1, context=1))
    refuse_unsound(design)
    device = shipped_devices()[design.cluster.device]
    priors = assume(design.priors, measured_priors(device))
    # One token of context: attention to the cache is a part of its own.
    job = changed(design, model=changed(model_of(design), sequence=1))
    bare = changed(job, model=changed(model_of(job), vocabulary=design.parallelism.tensor))

    def step_s(of: Design, tokens: float, context: int = 1) -> float:
        serving = Serving(concurrent=int(tokens), context=context)
        return replayed_s(step_durations(changed(of, serving=serving), device, priors))

    body = np.array([step_s(bare, t) for t in GRID])
    whole = np.array([step_s(job, t) for t in GRID])
    far = 1 << 20
    cached = (step_s(bare, 1, far) - step_s(bare, 1, 1)) / (far - 1)
    return IterationTimes(
        GRID,
        np.maximum.accumulate(body - cached * GRID),
        np.maximum.accumulate(np.maximum(whole - body, 0.0)),
        cached,
        _pair_s(design),
        _cache_tokens(design, memory_ratio * (design.cluster.memory or device.memory_gb * 1e9)),
    )


def _pair_s(design: Design) -> float:
    """Time two products of a query with a key and a value, in all layers."""
    model = model_of(design)
    device = shipped_devices()[design.cluster.device]
    machine = machine_of(design, device, assume(design.priors, measured_priors(device)))
    width = model.heads * head_width(model) / design.parallelism.tensor
    return 4 * width * model.layers / machine.rates.flop_per_s[KernelKind.ATTENTION]


def _cache_tokens(design: Design, room: float) -> int:
    held = memory_of(design, lay_out(design))
    left = room - held.weights
    if left < held.activations:
        raise UsageError(
            f"Design {design.name!r}: weights of {held.weights / 1e9:.1f} GB leave no room for a cache "
            f"in {room / 1e9:.1f} GB. Raise tensor or pipeline parallelism."
        )
    return int(left / held.activations)


def iteration_s(times: IterationTimes, work: Work) -> FloatArray:
    """Time iterations.

    Parameters
    ----------
    times : IterationTimes
        Of a replica.
    work : Work
        What the iterations do.

    Returns
    -------
    ndarray of float
        Seconds; beyond the grid as its last two points go on.
    """
    return np.asarray(
        _interpolated(times.tokens, times.body_s, work.tokens)
        + _interpolated(times.tokens, times.head_s, work.emitted)
        + times.cached_token_s * np.asarray(work.cached, np.float64)
        + times.pair_s * np.asarray(work.pairs, np.float64)
    )


def _interpolated(grid: FloatArray, seconds: FloatArray, at: ArrayLike) -> FloatArray:
    x = np.asarray(at, np.float64)
    slope = (seconds[-1] - seconds[-2]) / (grid[-1] - grid[-2])
    beyond = slope * np.maximum(x - grid[-1], 0.0)
    return np.asarray(np.where(x > 0, np.interp(x, grid, seconds) + beyond, 0.0))
