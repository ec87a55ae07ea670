"""A recorded job at another size: measured durations, spread over other stages, replicas and widths."""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from loadpath.errors import UsageError
from loadpath.forecast.durations import Durations
from loadpath.forecast.measured_pipeline import ENDS, PASSES, MeasuredPipeline
from loadpath.forecast.noisy_step import RelativeNoise, draw_steps_s
from loadpath.forecast.pipeline import Form, skeleton
from loadpath.forecast.priors import Prior, shipped_priors
from loadpath.forecast.rates import COMPONENTS
from loadpath.forecast.skeleton import OpKind, Skeleton

__all__ = [
    "ASSUMED",
    "N_WORLD",
    "TRAVELS",
    "JobSize",
    "overhead_s",
    "resized",
    "resized_noise",
    "resized_steps_s",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ASSUMED = ("tensor_serial_ratio", "network_latency")
"""Priors that stand for what a record at one size cannot tell."""

N_WORLD = 16
"""Draws of which ranks are slow for good; steps are shared out among them."""


class JobSize(Struct, frozen=True, kw_only=True):
    """How large a recorded job is to be; 0 keeps what was recorded.

    Attributes
    ----------
    replicas, stages, chunks, tensor : int
        Data-parallel replicas, pipeline stages, chunks of a stage, tensor width.
    microbatches : int
        Of a replica in a step.
    """

    replicas: int = 0
    stages: int = 0
    chunks: int = 0
    tensor: int = 0
    microbatches: int = 0


def resized(
    measured: MeasuredPipeline,
    size: JobSize,
    *,
    overhead: float = 0.0,
    priors: Mapping[str, Prior] | None = None,
    replicas_apart: bool = False,
) -> Durations:
    r"""Give the durations of a recorded job at another size.

    Layers are shared out evenly: a pass of one chunk is what the inner chunks took, times their number
    over the new one; the first and the last keep what they took more (embedding, loss). Gradients and
    parameters take :math:`V (R - 1) / R + \alpha (R - 1)` over `R` replicas, `V` from the record,
    :math:`\alpha` the prior ``network_latency``. Of a pass the share ``tensor_serial_ratio`` is not
    shortened by a wider tensor. What ends a step shrinks with the weights of a rank.

    Parameters
    ----------
    measured : MeasuredPipeline
        Result of `measure_pipeline`.
    size : JobSize
        How large it is to be.
    overhead : float
        Time of a step beyond its ops; result of `overhead_s`.
    priors : mapping of str to Prior, optional
        In place of the shipped ones.
    replicas_apart : bool
        Whether replicas are laid out one by one, for noise.

    Returns
    -------
    Durations
        Ready to be replayed.

    Raises
    ------
    UsageError
        If no job has that size, or it is to have replicas, but one alone was recorded: nothing tells what
        their gradients cost.
    """
    to = _whole(measured, size)
    if to.replicas > 1 and measured.replicas == 1:
        raise UsageError(
            "One replica was recorded, which tells nothing of what gradients cost between replicas. "
            "Record two, or give a design."
        )
    known = priors or shipped_priors()
    seconds = np.zeros((len(OpKind), to.stages, to.chunks))
    narrower = measured.tensor / to.tensor
    serial = known["tensor_serial_ratio"].value
    for kind in PASSES:
        seconds[kind] = _shared_out(measured.seconds[kind], to) * (serial + (1 - serial) * narrower)
    hop = known["network_latency"].value
    for kind in (OpKind.REDUCE, OpKind.GATHER):
        volume = _volume(measured.seconds[kind], measured.replicas, hop)
        spread = _shared_out(volume, to) * narrower
        seconds[kind] = (spread * (to.replicas - 1) / to.replicas + hop * (to.replicas - 1)) * (
            spread > 0
        )
    of_rank = narrower * (measured.replicas / to.replicas if measured.reduces else 1.0)
    update = _shared_out(measured.seconds[OpKind.UPDATE, :, :1], replace(to, chunks=1))
    seconds[OpKind.UPDATE, :, :1] = update * of_rank
    for kind in (OpKind.SEND, OpKind.TIE, OpKind.CLIP):
        seconds[kind] = _kept(measured.seconds[kind], to)
    seconds[OpKind.OVERHEAD, :, 0] = overhead
    table = np.zeros((*seconds.shape, len(COMPONENTS)))
    component = [5 if k == OpKind.OVERHEAD else 3 if k in TRAVELS else 0 for k in OpKind]
    for kind, place in zip(OpKind, component, strict=True):
        table[kind, ..., place] = seconds[kind]
    return Durations(skeleton(_form(measured, to, apart=replicas_apart)), table)


TRAVELS = (OpKind.SEND, OpKind.REDUCE, OpKind.GATHER, OpKind.TIE, OpKind.CLIP)


def _whole(measured: MeasuredPipeline, size: JobSize) -> JobSize:
    """Fill in what was recorded, and refuse what no pipeline can be."""
    names = JobSize.__struct_fields__
    to = JobSize(**{name: getattr(size, name) or getattr(measured, name) for name in names})
    problems = [f"{name} is {getattr(to, name)}" for name in names if getattr(to, name) < 1]
    if to.chunks > 1 and (to.stages == 1 or to.microbatches % to.stages):
        problems.append(
            f"{to.chunks} chunks of a stage need more than one stage, and microbatches in multiples of "
            f"the stages: {to.microbatches} on {to.stages}"
        )
    if problems:
        raise UsageError(f"No job has this size: {'; '.join(problems)}.")
    return to


def _form(measured: MeasuredPipeline, to: JobSize, *, apart: bool) -> Form:
    def travels(kind: OpKind) -> str:
        return "after" if measured.seconds[kind].any() and to.replicas > 1 else "none"

    return Form(
        stages=to.stages,
        chunks=to.chunks,
        microbatches=to.microbatches,
        segments=1,
        stage_overlap=True,
        reduce=travels(OpKind.REDUCE),
        gather=travels(OpKind.GATHER),
        every_pass=False,
        tied=bool(measured.seconds[OpKind.TIE].any()),
        replicas=to.replicas if apart else 1,
    )


def _shared_out(seconds: FloatArray, to: JobSize) -> FloatArray:
    """Share (stages, chunks) of work out over others; the ends keep what they have beyond the rest."""
    along = seconds.T.ravel()
    inner = along[1:-1].mean() if along.size > 2 else along.min()
    ends = along[0] - inner, along[-1] - inner
    n = to.stages * to.chunks
    found = np.full(n, inner * along.size / n)
    found[0] += ends[0]
    # A job of one chunk has both ends in it.
    found[-1] += ends[1] if along.size > 1 else 0.0
    shared: FloatArray = np.maximum(found, 0.0).reshape(to.chunks, to.stages).T
    return shared


def _volume(seconds: FloatArray, replicas: int, hop: float) -> FloatArray:
    """Take hops and the ring's share off a transfer; no hop takes all of it."""
    if replicas == 1:
        return np.zeros_like(seconds)
    moved = np.maximum(seconds - hop * (replicas - 1), 0.5 * seconds)
    return moved * replicas / (replicas - 1)


def _kept(seconds: FloatArray, to: JobSize) -> FloatArray:
    """Keep first, inner and last stages as they are; of a chunk that was not recorded, the first's."""
    stage = _stage_of(seconds.shape[0], to.stages)
    chunk = np.arange(to.chunks) % seconds.shape[1]
    kept: FloatArray = seconds[np.ix_(stage, chunk)]
    return kept


def _stage_of(recorded: int, stages: int) -> IntArray:
    """Say which recorded stage stands for each: ends for ends, inner ones in turn."""
    place = np.arange(stages)
    inner = 1 + (place - 1) % (recorded - 2) if recorded > 2 else np.minimum(place, recorded - 1)
    found = np.where(place == 0, 0, inner)
    return np.where((place == stages - 1) & (stages > 1), recorded - 1, found)


def overhead_s(measured: MeasuredPipeline, step_s: FloatArray) -> float:
    """Take what recorded steps last beyond the replay of their ops.

    Parameters
    ----------
    measured : MeasuredPipeline
        Of these steps.
    step_s : (n_step,) array
        Recorded times of steps.

    Returns
    -------
    float
        Median over the steps, not below 0, in s.
    """
    rng = np.random.default_rng(0)
    drawn = resized_steps_s(measured, JobSize(), rng, n_scenario=64)
    return max(0.0, float(np.median(step_s) - drawn.mean()))


def resized_noise(
    measured: MeasuredPipeline, size: JobSize, frame: Skeleton, rng: np.random.Generator
) -> RelativeNoise:
    """Give the recorded residuals and lasting differences to the ranks of another size.

    Parameters
    ----------
    measured : MeasuredPipeline
        Of a recorded job.
    size : JobSize
        Size of `frame`.
    frame : Skeleton
        Its graph, with its replicas one by one.
    rng : numpy.random.Generator
        Decides which recorded rank a rank is as slow as, where there are others than recorded.

    Returns
    -------
    RelativeNoise
        A rank draws a recorded step of a recorded rank of its stage, all its passes together.
    """
    to = _whole(measured, size)
    recorded = _stage_of(measured.stages, to.stages)[frame.stage]
    passes, ends = np.isin(frame.kind, PASSES), np.isin(frame.kind, ENDS)
    turn = _turns(frame) % measured.microbatches
    direction = (frame.kind == OpKind.BACKWARD).astype(np.int64)
    shape = measured.excess.shape[:4]
    of_pass = np.ravel_multi_index(
        (direction, recorded, frame.chunk % measured.chunks, turn), shape
    )
    of_end = np.prod(shape) + frame.kind.astype(np.int64) * measured.stages + recorded
    like = np.tile(np.arange(to.replicas)[:, None], (1, to.stages))
    if (to.replicas, to.stages) != measured.factor.shape:
        like = rng.integers(0, measured.replicas, like.shape)
    factor = measured.factor[like[frame.replica, frame.stage], recorded]
    n_turn = measured.excess.shape[-1]
    return RelativeNoise(
        np.concatenate(
            [measured.excess.reshape(-1, n_turn), measured.end_excess.reshape(-1, n_turn)]
        ),
        np.where(passes, of_pass, np.where(ends, of_end, -1)),
        ends,
        np.where(passes, factor, 1.0),
    )


def _turns(frame: Skeleton) -> IntArray:
    """Count the ops of one kind and place on a rank, in program order."""
    key = frame.place.astype(np.int64) * (int(frame.replica.max()) + 1) + frame.replica
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    begins = np.concatenate([[0], np.flatnonzero(np.diff(ordered)) + 1])
    length = np.diff(np.concatenate([begins, [key.size]]))
    turn = np.empty(key.size, np.int64)
    turn[order] = np.arange(key.size) - np.repeat(begins, length)
    return turn


def resized_steps_s(
    measured: MeasuredPipeline,
    size: JobSize,
    rng: np.random.Generator,
    *,
    n_scenario: int = 256,
    overhead: float = 0.0,
) -> FloatArray:
    """Draw steps of a recorded job at another size.

    Parameters
    ----------
    measured : MeasuredPipeline
        Of a recorded job.
    size : JobSize
        How large it is to be.
    rng : numpy.random.Generator
        Source of the draws.
    n_scenario : int
        Steps; at another size they are shared out among draws of which ranks are slow for good.
    overhead : float
        Time of a step beyond its ops.

    Returns
    -------
    (n_scenario,) array
        Step times in s.
    """
    to = _whole(measured, size)
    durations = resized(measured, size, overhead=overhead, replicas_apart=True)
    same = (to.replicas, to.stages) == measured.factor.shape
    each = n_scenario if same else -(-n_scenario // N_WORLD)
    drawn: list[FloatArray] = []
    while sum(map(len, drawn)) < n_scenario:
        noise = resized_noise(measured, size, durations.frame, rng)
        drawn.append(draw_steps_s(durations, noise, rng, n_scenario=each))
    return np.concatenate(drawn)[:n_scenario]
