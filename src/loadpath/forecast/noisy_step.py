"""Steps of a job whose ranks are laid out one by one, under noise that tells them apart."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from loadpath.errors import UsageError
from loadpath.forecast.conditions import noise_ratio
from loadpath.forecast.design import Design
from loadpath.forecast.devices import measured_priors, shipped_devices
from loadpath.forecast.durations import Durations, replayed_s
from loadpath.forecast.layout import lay_out
from loadpath.forecast.operation import Noise as DesignNoise
from loadpath.forecast.priors import assume
from loadpath.forecast.skeleton import OpKind, Skeleton
from loadpath.forecast.step import refuse_unsound, step_durations
from loadpath.replay import replay
from loadpath.replay.noise import Noise, Quiet, replay_noise
from loadpath.units import NS_PER_S

__all__ = [
    "COMPUTED",
    "RelativeNoise",
    "draw_steps_s",
    "noise_gain",
    "noise_of",
    "noise_share",
    "noisy_steps_s",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

POOL, FINER = 4096, 8
"""Values of a noise that is given as a distribution, at even steps: so many, and so many for each rank."""
MOST_OPS, N_STEP = 4_000_000, 64
"""Ops of all ranks that are replayed to see what noise costs, at most, and steps that are drawn."""

COMPUTED = (OpKind.FORWARD, OpKind.BACKWARD, OpKind.UPDATE)
"""Kinds whose durations are a rank's own."""


@dataclass(frozen=True, slots=True)
class RelativeNoise:
    """By how much ops take longer than expected, in rows that are drawn from at one place together.

    Attributes
    ----------
    excess : (n_row, n_turn) array
        Excess over the expected duration, as a share of it. A rank draws one turn for all its ops.
    row : (n_op,) array of int
        Row of each op of a skeleton; -1 for an op without noise.
    together : (n_op,) array of bool
        Ops for which all ranks draw one turn: transfers at which they meet.
    factor : (n_op,) array
        By which the computation of an op is slower for good, 1 on a device of mean speed.
    """

    excess: FloatArray
    row: IntArray
    together: NDArray[np.bool_]
    factor: FloatArray


def draw_steps_s(
    durations: Durations, noise: RelativeNoise, rng: np.random.Generator, *, n_scenario: int
) -> FloatArray:
    """Replay steps under noise drawn anew for every rank.

    Parameters
    ----------
    durations : Durations
        Of a frame whose replicas are laid out one by one; condensed ones cannot be told apart.
    noise : RelativeNoise
        Of its ops.
    rng : numpy.random.Generator
        Source of the draws.
    n_scenario : int
        Steps to draw.

    Returns
    -------
    (n_scenario,) array
        Step times in s.

    Raises
    ------
    UsageError
        If the durations are condensed.
    """
    if durations.shorter is not None:
        raise UsageError("Noise needs every microbatch of a pipeline: replay it uncondensed.")
    frame = durations.frame
    expected = NS_PER_S * durations.seconds.sum(axis=-1).ravel()[frame.place] * frame.share
    computed = NS_PER_S * durations.seconds[..., 0].ravel()[frame.place] * frame.share
    work = expected + computed * (noise.factor - 1)
    quiet = Quiet(frame.graph, replay(frame.graph, work), work)
    laid = _lay_out(frame, expected, noise)
    drawn: FloatArray = replay_noise(quiet, laid, rng, n_scenario=n_scenario)[0] / NS_PER_S
    return drawn


def _lay_out(frame: Skeleton, expected: FloatArray, noise: RelativeNoise) -> Noise:
    """Turn shares into ns: a series for every row and duration, a block for every rank."""
    n_turn = noise.excess.shape[1]
    noisy = np.flatnonzero(noise.row >= 0)
    keys = np.stack([noise.row[noisy].astype(np.float64), expected[noisy]])
    series, of = np.unique(keys, axis=1, return_inverse=True)
    values = noise.excess[series[0].astype(np.int64)] * series[1][:, None]
    rank = frame.replica.astype(np.int64) * (int(frame.stage.max()) + 1) + frame.stage
    place = np.zeros(frame.kind.size, np.int32)
    place[noisy] = 1 + n_turn * of.ravel()
    last = int(rank.max()) + 1
    block = np.where(noise.together, last, rank)
    return Noise(
        np.concatenate([[0.0], values.ravel()]).astype(np.float32),
        place,
        block.astype(np.int32),
        np.full(last + 1, n_turn, np.int32),
    )


def noise_of(
    design: Design, frame: Skeleton, spread: float, rng: np.random.Generator
) -> RelativeNoise:
    """Read the noise of a design: scatter of a rank's step, its tail, and ranks slow for good.

    Parameters
    ----------
    design : Design
        With a table ``[noise]``; what that leaves out is taken as none.
    frame : Skeleton
        Graph, with its replicas one by one.
    spread : float
        Standard deviation of the speed of equal devices, as a share of it.
    rng : numpy.random.Generator
        Decides which ranks are slow, and how fast each device is.

    Returns
    -------
    RelativeNoise
        All computation of a rank's step is slowed alike. A rank stands for those that share its tensors
        and sequences, and is as slow as the slowest of them.
    """
    given, p = design.noise, design.parallelism
    computes = np.isin(frame.kind, COMPUTED)
    rank = frame.replica.astype(np.int64) * (int(frame.stage.max()) + 1) + frame.stage
    device = (int(rank.max()) + 1, p.tensor * p.context)
    slow = rng.random(device) < (given.slow_ratio or 0.0)
    speed = 1 + spread * rng.standard_normal(device) + slow * (given.slow_excess_ratio or 0.0)
    factor = np.where(computes, speed.max(axis=1)[rank], 1.0)
    row = np.where(computes, 0, -1)
    quantiles = _quantiles(given, p.tensor * p.context, int(rank.max()) + 1)
    return RelativeNoise(quantiles[None, :], row, np.zeros_like(computes), factor)


def _quantiles(given: DesignNoise, group: int, n_rank: int) -> FloatArray:
    """Give even quantiles of the slowest of a group of accelerators, of which each has mean 0."""
    # Of a normal tail the variation is the deviation, else the mean beyond the least: as of `noise_ratio`.
    n = max(POOL, FINER * n_rank)
    probability = ((np.arange(n) + 0.5) / n) ** (1 / group)
    if given.tail == "pareto":
        index = given.tail_shape or 2.0
        values = (index - 1) * ((1 - probability) ** (-1 / index) - 1) - 1
    elif given.tail == "exponential":
        values = -np.log1p(-probability) - 1
    else:
        values = np.array([NormalDist().inv_cdf(p) for p in probability.tolist()])
    return np.asarray((given.variation_ratio or 0.0) * values)


def noise_gain(durations: Durations, *, variation: float = 0.01, n_scenario: int = 256) -> float:
    """Say by how many percent a step grows for one percent of variation of each rank.

    Parameters
    ----------
    durations : Durations
        Of a frame whose replicas are laid out one by one.
    variation : float
        Normal, of all computation of a rank in a step together.
    n_scenario : int
        Steps to draw, the same at every call.

    Returns
    -------
    float
        Ratio of the two.
    """
    computes = np.isin(durations.frame.kind, COMPUTED)
    noise = RelativeNoise(
        _quantiles(DesignNoise(variation_ratio=variation), 1, 1)[None, :],
        np.where(computes, 0, -1),
        np.zeros_like(computes),
        np.ones(computes.size),
    )
    rng = np.random.default_rng(0)
    drawn = draw_steps_s(durations, noise, rng, n_scenario=n_scenario)
    # A step is convex in its durations: in expectation noise never shortens it.
    return max(0.0, float(drawn.mean() / replayed_s(durations) - 1) / variation)


def noise_share(design: Design, variation: float) -> float | None:
    """Say how much of what noise costs where all ranks wait for the slowest reaches the end of a step.

    In a pipeline some of it is absorbed and some is met more than once, which no closed form says: all ranks
    are replayed.

    Parameters
    ----------
    design : Design
        A sound design.
    variation : float
        Of each rank, above 0.

    Returns
    -------
    float or None
        Excess of the mean replayed step, over that of `noise_ratio`; None where a step has no pipeline, for
        which that is exact, or more than 4 million ops.
    """
    p = design.parallelism
    if design.model is None or design.serving is not None or p.pipeline == 1:
        return None
    layout = lay_out(design)
    if 4 * layout.data * p.pipeline * p.chunks * layout.microbatches > MOST_OPS:
        return None
    device = shipped_devices()[design.cluster.device]
    priors = assume(design.priors, measured_priors(device))
    durations = step_durations(design, device, priors, replicas=layout.data)
    given = replace(design.noise, variation_ratio=variation, slow_ratio=None)
    rng = np.random.default_rng(0)
    noise = noise_of(replace(design, noise=given), durations.frame, 0.0, rng)
    drawn = draw_steps_s(durations, noise, rng, n_scenario=N_STEP)
    calm = replayed_s(Durations(durations.frame, durations.seconds))
    closed = noise_ratio(given, variation, design.cluster.accelerators) - 1
    return max(0.0, float(drawn.mean()) / calm - 1) / closed


def noisy_steps_s(design: Design, rng: np.random.Generator, *, n_scenario: int = 256) -> FloatArray:
    """Draw steps of a design with all its ranks, or one for those that share tensors, laid out.

    The spread of equal devices, which a replay of one pipeline stands for by its expected maximum, is
    drawn instead.

    Parameters
    ----------
    design : Design
        A sound training design.
    rng : numpy.random.Generator
        Source of the draws.
    n_scenario : int
        Steps to draw.

    Returns
    -------
    (n_scenario,) array
        Step times in s.
    """
    refuse_unsound(design)
    device = shipped_devices()[design.cluster.device]
    priors = assume(design.priors, measured_priors(device))
    replicas = lay_out(design).data
    durations = step_durations(design, device, priors, replicas=replicas)
    noise = noise_of(design, durations.frame, priors["device_spread"].value, rng)
    return draw_steps_s(durations, noise, rng, n_scenario=n_scenario)
