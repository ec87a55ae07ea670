"""Forecast of one step: durations from the design, a coupled graph, and its replay."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from msgspec import Struct

from loadpath.errors import UsageError
from loadpath.forecast.design import Design, Transformer
from loadpath.forecast.devices import Device, measured_priors, shipped_devices
from loadpath.forecast.layout import Layout, lay_out
from loadpath.forecast.memory import Memory, memory_of, weights_of
from loadpath.forecast.pass_time import Machine, PassTimes, pass_times, transfer
from loadpath.forecast.pipeline import Form, OpKind, Skeleton, skeleton
from loadpath.forecast.priors import Prior, assume
from loadpath.forecast.rates import COMPONENTS, FloatArray, fabric_of, rates_of
from loadpath.forecast.transformer import flop_per_token
from loadpath.replay import replay, step_time_ns
from loadpath.units import NS_PER_S

__all__ = ["Durations", "StepForecast", "durations_of", "replayed_s", "step_time"]

SEGMENTS = 8
"""Buckets of a chunk, at most one for each of its layers."""

UPDATE_BYTES = 30
"""Bytes that Adam moves for one weight: master copy, moments, gradient, and the weight itself."""


class StepForecast(Struct, frozen=True, kw_only=True):
    """One step of a job that need not exist.

    Attributes
    ----------
    step_s : float
        Time of a step.
    tokens_per_s : float
        Tokens (cells of a stencil) that all accelerators together finish in a second.
    mfu_ratio : float
        Useful operations over those that all accelerators could do at the peak.
    limitation : dict of str to float
        Shares of the step, which sum to 1: compute, memory, intra_node, inter_node, latency,
        waiting, bubble, host.
    memory : Memory or None
        What the fullest accelerator holds; None where the design does not say.
    fits_memory : bool or None
        Whether that is no more than it has.
    priors : tuple of Prior
        What the design left open.
    """

    step_s: float
    tokens_per_s: float
    mfu_ratio: float
    limitation: dict[str, float]
    memory: Memory | None
    fits_memory: bool | None
    priors: tuple[Prior, ...]


@dataclass(frozen=True, slots=True)
class Durations:
    """Seconds of every kind of op at every place, and the graph that they belong to.

    Attributes
    ----------
    form : Form
        Shape of the graph.
    seconds : (9, stages, chunks, 6) array
        By `OpKind`, stage, chunk and component, on a device of mean speed.
    slowest : float
        Time of computation on the slowest device, to that on one of mean speed: all wait for it.
    """

    form: Form
    seconds: FloatArray
    slowest: float = 1.0

    def replayed(self) -> FloatArray:
        """Give the durations that the slowest device sets, as a new array."""
        slowed = self.seconds.copy()
        slowed[..., 0] *= self.slowest
        return slowed


def step_time(design: Design) -> StepForecast:
    """Forecast one step of a design.

    Parameters
    ----------
    design : Design
        A design that the checks passed.

    Returns
    -------
    StepForecast
        By replay of its coupled graph.

    Raises
    ------
    UsageError
        If the design names an unknown device or prior, or a precision that its device lacks.
    """
    device = _device(design)
    priors = assume(design.priors, measured_priors(device))
    model = design.model
    if model is None:
        raise UsageError("The design has no [model]. Describe the job there.")
    layout = lay_out(design)
    machine = _machine(design, device, priors)
    durations = durations_of(design, layout, machine, priors)
    return _forecast(design, layout, durations, (device, priors))


def _forecast(
    design: Design, layout: Layout, durations: Durations, assumed: tuple[Device, dict[str, Prior]]
) -> StepForecast:
    model, batch = design.model, design.batch
    if model is None or batch is None:
        raise UsageError("The design has no [model] or no [batch]. Describe the job there.")
    device, priors = assumed
    step = replayed_s(durations)
    tokens = batch.sequences * model.sequence
    peak = device.tflops[design.software.precision] * 1e12 * design.cluster.accelerators
    held = memory_of(design, layout)
    room = design.cluster.memory or device.memory_gb * 1e9
    return StepForecast(
        step_s=step,
        tokens_per_s=tokens / step,
        mfu_ratio=flop_per_token(model) * tokens / step / peak,
        limitation=_limitation(durations, step),
        memory=held,
        fits_memory=held.total <= room,
        priors=tuple(p for name, p in priors.items() if name not in design.priors),
    )


def _device(design: Design) -> Device:
    devices = shipped_devices()
    device = devices.get(design.cluster.device)
    if device is None:
        raise UsageError(
            f"Device {design.cluster.device!r} is unknown. Use one of {', '.join(devices)}."
        )
    if design.software.precision not in device.tflops:
        raise UsageError(
            f"{device.name} has no {design.software.precision}. Use one of "
            f"{', '.join(device.tflops)}."
        )
    return device


def _machine(design: Design, device: Device, priors: dict[str, Prior]) -> Machine:
    p, everything = design.parallelism, design.cluster.accelerators
    spans = {
        "tensor": p.tensor,
        "context": p.tensor * p.context,
        "expert": p.expert,
        "gradient": everything // p.pipeline,
        "stages": everything,
    }
    fabrics = {name: fabric_of(design, device, priors, span) for name, span in spans.items()}
    return Machine(rates_of(design, device, priors), fabrics)


def durations_of(
    design: Design, layout: Layout, machine: Machine, priors: dict[str, Prior]
) -> Durations:
    """Time every op of a training step.

    Parameters
    ----------
    design : Design
        A transformer design with a batch.
    layout : Layout
        Its groups.
    machine : Machine
        What it runs on.
    priors : dict of str to Prior
        Result of `assume`.

    Returns
    -------
    Durations
        Of its graph.
    """
    model, p = design.model, design.parallelism
    if model is None:
        raise TypeError("only a transformer has passes")
    passes = pass_times(design, layout, machine, priors["eager_ratio"].value)
    form = _form(design, layout, model)
    table = np.zeros((len(OpKind), p.pipeline, p.chunks, len(COMPONENTS)))
    table[OpKind.OVERHEAD, :, 0, 5] = priors["step_overhead"].value
    table[OpKind.FORWARD], table[OpKind.BACKWARD] = passes.forward, passes.backward
    _time_transfers(design, layout, machine, table)
    _slow_beside(form, machine.rates.contention, table)
    slowest = 1 + priors["device_spread"].value * expected_maximum(design.cluster.accelerators)
    return Durations(form, table, slowest)


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


def _form(design: Design, layout: Layout, model: Transformer) -> Form:
    p = design.parallelism
    many = layout.gradient.size > 1
    beside = "beside" if p.data_overlap else "after"
    every = p.sharding == "full" and many
    layers = max(1, int(model.layers / (p.pipeline * p.chunks)))
    overlap = p.chunks > 1 if p.stage_overlap is None else p.stage_overlap
    return Form(
        stages=p.pipeline,
        chunks=p.chunks,
        microbatches=layout.microbatches,
        segments=min(layers, SEGMENTS),
        stage_overlap=overlap,
        reduce=("beside" if every else beside) if many else "none",
        gather=("beside" if every else beside) if many and p.sharding != "none" else "none",
        every_pass=every,
        tied=model.tied_embeddings,
    )


def _time_transfers(
    design: Design, layout: Layout, machine: Machine, table: FloatArray
) -> None:
    """Time what travels between ranks outside a layer, and what the optimiser does."""
    model, p = design.model, design.parallelism
    if model is None or design.batch is None:
        raise TypeError("only training has gradients")
    held = weights_of(design, model)
    table[OpKind.SEND] = _send(design, layout, machine)
    fabric, gradient_bytes = machine.fabrics["gradient"], design.software.gradient_bytes
    dense, experts = held.dense / p.chunks, held.experts / p.chunks
    groups = ((dense, layout.gradient), (experts, layout.expert_gradient))
    if p.sharding == "full":
        groups = ((dense, layout.shard), (experts, layout.expert_gradient))
    kind = "all_reduce" if p.sharding == "none" else "reduce_scatter"
    for weights, group in groups:
        if weights:
            table[OpKind.REDUCE] += transfer(kind, gradient_bytes * weights, group, fabric)
            table[OpKind.GATHER] += transfer("all_gather", 2 * weights, group, fabric)
    words = model.vocabulary * model.hidden / p.tensor
    pair = layout.stages
    table[OpKind.TIE] = transfer("all_reduce", gradient_bytes * words, pair, machine.fabrics["stages"])
    owned = held.dense + held.experts
    if p.sharding != "none":
        owned = held.dense / layout.gradient.size + held.experts / layout.expert_gradient.size
    table[OpKind.CLIP, :, 0, 1] = 4 * owned / machine.rates.memory
    table[OpKind.CLIP, :, 0, :] += transfer("all_reduce", 4.0, layout.gradient, fabric)
    table[OpKind.UPDATE, :, 0, 1] = UPDATE_BYTES * owned / machine.rates.memory


def _send(design: Design, layout: Layout, machine: Machine) -> FloatArray:
    """Time activations on their way to the next stage: each tensor-parallel rank sends its part."""
    model, p = design.model, design.parallelism
    if model is None or design.batch is None:
        raise TypeError("only training sends activations")
    whole = 2 * design.batch.microbatch * model.sequence / p.context * model.hidden
    sent = transfer("send", whole / p.tensor, layout.stages, machine.fabrics["stages"])
    if p.tensor > 1 and not p.sequence_parallel:
        sent += transfer("all_gather", whole, layout.tensor, machine.fabrics["tensor"])
    return sent


def _slow_beside(form: Form, contention: float, table: FloatArray) -> None:
    """Slow passes down while gradients or parameters travel beside them."""
    if not form.every_pass:
        return
    for kind, others in ((OpKind.FORWARD, (OpKind.GATHER,)), (OpKind.BACKWARD, (OpKind.GATHER, OpKind.REDUCE))):
        busy = table[kind].sum(axis=-1)
        beside = sum(table[other].sum(axis=-1) for other in others)
        table[kind, :, :, 0] += contention * np.minimum(busy, beside)


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
    frame = skeleton(durations.form)
    return _replayed_s(frame, durations.replayed().sum(axis=-1))


def _replayed_s(frame: Skeleton, seconds: FloatArray) -> float:
    work = seconds[frame.kind, frame.stage, frame.chunk] * frame.share * NS_PER_S
    return float(step_time_ns(frame.graph, replay(frame.graph, work))[0]) / NS_PER_S


_BETWEEN = (OpKind.SEND, OpKind.REDUCE, OpKind.GATHER, OpKind.TIE)


def _limitation(durations: Durations, step_s: float) -> dict[str, float]:
    """Split a step: what each accelerator does itself, then what it waits for, by replays.

    Own work counts by component, as the mean over stages. The rest is exposed transfers (what the
    step loses when they vanish, the network first), waiting (what it then loses when all stages
    do the same) and the bubble.
    """
    frame, table = skeleton(durations.form), durations.replayed()
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
    return {name: value / step_s for name, value in shares.items()}


def _own_work(frame: Skeleton, table: FloatArray) -> FloatArray:
    mine = ~np.isin(frame.kind, _BETWEEN)
    parts = table[frame.kind[mine], frame.stage[mine], frame.chunk[mine]]
    total: FloatArray = (parts * frame.share[mine, None]).sum(axis=0) / table.shape[1]
    return total
